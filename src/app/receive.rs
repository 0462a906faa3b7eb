//! The listener as a source: coturn's connections come and go, and what they say goes into the table at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::callers::{CallerState, Callers, Notice};
use super::complaint::Complaint;
use super::ingest::Shared;
use super::watch::Board;
use crate::config::{RedisSource, Statsdb};
use crate::source::backoff::{Backoff, LASTED};
use crate::source::forward::Forward;
use crate::source::statsdb::{Caller, Connection, Ended, Heard, Listener, Reception, Standing};
use crate::state::{ClosedBy, ConnectionId, ProcessVerdict, SourceId, VERDICT_AFTER};

/// How often it is said how far coturn has been heard.
const TICK: Duration = Duration::from_secs(1);

/// After so many commands others get their turn.
const TURN: usize = 1024;

/// Receives for as long as the program runs.
#[derive(Debug)]
pub(super) struct Receiver {
    statsdb: Statsdb,
    listener: Listener,
    desk: Desk,
    board: Board,
}

/// What a connection needs.
#[derive(Clone, Debug)]
struct Desk {
    id: SourceId,
    shared: Shared,
    forward: Option<Forward>,
    /// A closed connection says nothing about its coturn.
    is_behind_proxy: bool,
    /// The source's name.
    name: Arc<str>,
    callers: Arc<Mutex<Callers>>,
    standing: Arc<Standing>,
}

impl Receiver {
    pub(super) fn new(
        statsdb: Statsdb,
        listener: Listener,
        id: SourceId,
        shared: Shared,
        board: Board,
    ) -> Self {
        let forward = statsdb.forward.as_ref().map(|_| Forward::default());
        let desk = Desk {
            id,
            forward,
            is_behind_proxy: statsdb.is_behind_proxy,
            name: statsdb.name.as_str().into(),
            callers: Arc::new(Mutex::new(Callers::new(shared.now()))),
            standing: listener.standing(),
            shared,
        };
        Self { statsdb, listener, desk, board }
    }

    /// Never ends by itself; may be dropped at any time.
    pub(super) async fn run(self) {
        let Self { statsdb, mut listener, desk, board } = self;
        for address in listener.addresses() {
            tracing::info!(source = %statsdb.name, statsdb = %address, "waiting for coturn");
        }
        {
            let now = desk.shared.now();
            let mut ingest = desk.shared.lock();
            ingest.listens(now, desk.id);
        }
        board.set(desk.id, None);
        let mut talks = JoinSet::new();
        if let (Some(to), Some(forward)) = (statsdb.forward.clone(), desk.forward.clone()) {
            let shared = desk.shared.clone();
            talks.spawn(async move {
                pass_on(forward, to, shared).await;
                None
            });
        }
        let passing_on = talks.len();
        // Connections that have closed and are still to be judged take no place of open ones.
        let mut closings = JoinSet::new();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_tick = desk.shared.now();
        loop {
            tokio::select! {
                caller = listener.accept() => {
                    if talks.len() - passing_on < statsdb.max_connections {
                        talks.spawn(desk.clone().receive(listener.reception(), caller));
                    } else {
                        Listener::turn_away(&caller);
                        desk.shared.lock().turned_away(desk.id);
                    }
                }
                _ = ticks.tick() => {
                    // All that came before the tick before has had its turn, also if this process stood still since.
                    let now = desk.shared.now();
                    let heard = std::mem::replace(&mut last_tick, now);
                    {
                        let mut ingest = desk.shared.lock();
                        ingest.heard_until(desk.id, heard);
                        ingest.forwarded(desk.id, desk.forward.as_ref().map(Forward::state));
                    }
                    let notices = desk.callers().advance(now);
                    desk.report(&notices);
                }
                Some(ended) = talks.join_next() => {
                    if let Some(closed) = propagate(ended).flatten() {
                        closings.spawn(desk.clone().judge(closed));
                    }
                }
                Some(judged) = closings.join_next() => {
                    propagate(judged);
                }
            }
        }
    }
}

impl Desk {
    /// Serves a connection to its end; gives it if what it reported is to be judged by that.
    async fn receive(self, reception: Reception, caller: Caller) -> Option<ConnectionId> {
        let peer = caller.peer;
        let mut connection = match reception.receive(caller).await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::debug!(%peer, %error, "no talk");
                return None;
            }
        };
        let id = self.shared.lock().connection_opened(self.shared.now(), self.id, peer.ip());
        let mut state = CallerState::new(peer);
        let ended = self.listen(&mut connection, id, &mut state).await;
        let notice = self.callers().leave(self.shared.now(), &state);
        self.report(notice.as_slice());
        tracing::debug!(%peer, ?ended, "connection closed");
        self.close(id, ended)
    }

    async fn listen(&self, connection: &mut Connection, id: ConnectionId, state: &mut CallerState) -> Ended {
        let mut taken = 0;
        loop {
            if let Err(ended) = connection.ready().await {
                return ended;
            }
            taken += self.take_in(connection, id, state);
            // One that is always ready must not keep the thread.
            if taken >= TURN {
                taken = 0;
                yield_now().await;
            }
        }
    }

    fn take_in(&self, connection: &mut Connection, id: ConnectionId, state: &mut CallerState) -> usize {
        let now = self.shared.now();
        let mut ingest = self.shared.lock();
        ingest.connection_active(now, id);
        let mut notices = Vec::new();
        let taken = connection.take(|heard, bytes| {
            if state.is_news(&heard) {
                notices.extend(self.callers().hear(now, state, &heard));
            }
            match heard {
                Heard::Published { channel, payload } => {
                    // One that was not understood is counted with its reason.
                    let _ = ingest.message_from(now, self.id, id, channel, payload);
                }
                Heard::Starting => ingest.process_started(now, id),
                Heard::Stored | Heard::LoggedIn | Heard::Nothing | Heard::Bye => {}
                Heard::Refused(reason) => ingest.refused_command(self.id, reason.as_str()),
            }
            if let (Heard::Published { .. } | Heard::Stored, Some(forward)) = (heard, &self.forward) {
                forward.offer(bytes);
            }
        });
        drop(ingest);
        self.report(&notices);
        taken
    }

    fn callers(&self) -> MutexGuard<'_, Callers> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs what has changed among the callers, and shows it on the page and in INFO.
    fn report(&self, notices: &[Notice]) {
        if notices.is_empty() {
            return;
        }
        {
            // Counted and shown under one lock: of two connections the later has the last word.
            let mut ingest = self.shared.lock();
            let (refused, coturn_seen) = self.callers().count();
            ingest.callers(self.id, refused, coturn_seen);
            self.standing.set(refused, coturn_seen);
        }
        for notice in notices {
            notice.log(&self.name);
        }
    }

    /// A connection is gone, and perhaps the process that held it.
    fn close(&self, id: ConnectionId, ended: Ended) -> Option<ConnectionId> {
        let by =
            if ended == Ended::ByThem && !self.is_behind_proxy { ClosedBy::Peer } else { ClosedBy::Other };
        let now = self.shared.now();
        let mut ingest = self.shared.lock();
        let reports = ingest.connection_closed(now, self.id, id, by);
        if reports && ended != Ended::ByThem {
            ingest.interrupted(now, self.id);
        }
        (reports && by == ClosedBy::Peer).then_some(id)
    }

    /// Ends what the connection reported, if its process ended with it.
    async fn judge(self, closed: ConnectionId) {
        sleep(VERDICT_AFTER).await;
        let verdict = self.shared.lock().judge_closed(self.shared.now(), closed);
        let mut from = (verdict != ProcessVerdict::Lives).then_some(0);
        while let Some(place) = from {
            let now = self.shared.now();
            from = self.shared.lock().end_reported_by(now, closed, verdict, place);
            yield_now().await;
        }
    }
}

/// What a task gave; its panic goes on here, for partial state must not be served.
fn propagate<T>(ended: Result<T, JoinError>) -> Option<T> {
    ended.map_err(|error| error.try_into_panic().map(|panic| std::panic::resume_unwind(panic))).ok()
}

/// Keeps the other Redis told.
async fn pass_on(forward: Forward, to: RedisSource, shared: Shared) {
    let mut backoff = Backoff::new();
    let mut complaint = Complaint::none();
    loop {
        let mut connected = None;
        let note = || {
            connected = Some(shared.now());
            tracing::info!(to = %to.name, "passing on");
        };
        let error = forward.run(&to, note).await;
        // One that takes connections and nothing else is not well again.
        let lasted = connected.map_or(Duration::ZERO, |connected| shared.now().since(connected));
        backoff.connected_for(lasted);
        if lasted >= LASTED {
            complaint.is_over();
        }
        if complaint.is_new(&error) {
            tracing::warn!(to = %to.name, %error, "not passing on; trying again");
        }
        sleep(backoff.next_wait(fastrand::f64())).await;
    }
}

#[cfg(test)]
mod callers_tests;
#[cfg(test)]
mod tests;
