//! The listener as a source: coturn's connections come and go, and what they say goes into the table at once.

mod connection;
mod connection_slots;
mod forwarding;
mod refused_clients;
mod suspicious_clients;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::{MissedTickBehavior, interval};

use super::ingest::SharedTable;
use super::readiness::SourceReadiness;
use crate::config::Statsdb;
use crate::net::MOST_ENDING;
use crate::source::forward::Forward;
use crate::source::statsdb::{ConnectionRefusal, ForeignProtocol, Listener, ListenerStatus};
use crate::state::{ConnectionId, EndedConnections, SourceId, VERDICT_AFTER};
use connection_slots::ListenerSlots;
use refused_clients::{ClientNotice, RefusedClients};
use suspicious_clients::{Suspicion, SuspiciousClients};

/// How often it is said how far coturn has been heard.
const TICK: Duration = Duration::from_secs(1);

/// How often closed connections are judged. A sweep for those whose process has died looks at the whole table: one for
/// all of them, and not more often than this, so that a death is noticed within two seconds and many cost little.
const JUDGE: Duration = Duration::from_millis(250);

/// After so many rounds of this a closed connection is judged. The first may come at once.
const ROUNDS: u64 = 5;

const _: () = assert!(JUDGE.as_millis() * 4 >= VERDICT_AFTER.as_millis(), "what it is judged by has come");

/// Connections judged at a time: the table is locked for that many.
const JUDGED_TOGETHER: usize = 16;

/// Receives for as long as the program runs.
#[derive(Debug)]
pub(super) struct StatsdbTask {
    statsdb: Statsdb,
    listener: Listener,
    desk: ListenerContext,
    readiness: SourceReadiness,
}

/// What a connection needs.
#[derive(Clone, Debug)]
struct ListenerContext {
    id: SourceId,
    shared: SharedTable,
    forward: Option<Forward>,
    /// A closed connection says nothing about its coturn.
    is_behind_proxy: bool,
    /// The source's name.
    name: Arc<str>,
    callers: Arc<Mutex<RefusedClients>>,
    strangers: Arc<Mutex<SuspiciousClients>>,
    places: Arc<Mutex<ListenerSlots>>,
    status: Arc<ListenerStatus>,
}

impl StatsdbTask {
    pub(super) fn new(
        statsdb: Statsdb,
        listener: Listener,
        id: SourceId,
        shared: SharedTable,
        readiness: SourceReadiness,
    ) -> Self {
        let forward = statsdb.forward.as_ref().map(|_| Forward::default());
        let desk = ListenerContext {
            id,
            forward,
            is_behind_proxy: statsdb.is_behind_proxy,
            name: statsdb.name.as_str().into(),
            callers: Arc::new(Mutex::new(RefusedClients::new(shared.now()))),
            strangers: Arc::default(),
            places: Arc::new(Mutex::new(ListenerSlots::new(statsdb.max_connections))),
            status: listener.status(),
            shared,
        };
        Self { statsdb, listener, desk, readiness }
    }

    /// Never ends by itself; may be dropped at any time.
    pub(super) async fn run(self) {
        let Self { statsdb, mut listener, desk, readiness } = self;
        for address in listener.addresses() {
            tracing::info!(source = %statsdb.name, statsdb = %address, "waiting for coturn");
        }
        {
            let now = desk.shared.now();
            let mut ingest = desk.shared.lock();
            ingest.listens(now, desk.id);
        }
        readiness.set(desk.id, None);
        let mut talks = JoinSet::new();
        let most_open = statsdb.max_connections.saturating_add(MOST_ENDING);
        if let (Some(to), Some(forward)) = (statsdb.forward.clone(), desk.forward.clone()) {
            let shared = desk.shared.clone();
            talks.spawn(async move {
                forwarding::forward(forward, to, shared).await;
                None
            });
        }
        // Connections that have closed and are still to be judged, in the order of their ends.
        let mut closed: VecDeque<(u64, ConnectionId)> = VecDeque::new();
        let mut round = 0;
        let mut sweep = JoinSet::new();
        let mut judgements = interval(JUDGE);
        judgements.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_tick = desk.shared.now();
        loop {
            tokio::select! {
                caller = listener.accept(), if talks.len() < most_open => {
                    let peer = caller.peer.ip().to_canonical();
                    let place = desk.places().admit(desk.shared.now(), peer);
                    if let Some(place) = place {
                        talks.spawn(desk.clone().receive(listener.setup(), caller, place));
                    } else {
                        Listener::turn_away(&caller);
                        desk.shared.lock().refused_connection(desk.id, ConnectionRefusal::Full);
                        desk.note_stranger(peer, Suspicion::Full, None);
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
                    let over = desk.strangers().advance(now);
                    for episode in over {
                        episode.log(&desk.name);
                    }
                }
                Some(ended) = talks.join_next() => {
                    if let Some(connection) = propagate(ended).flatten() {
                        closed.push_back((round + ROUNDS, connection));
                    }
                }
                _ = judgements.tick(), if sweep.is_empty() && !closed.is_empty() => {
                    round += 1;
                    let count = closed.iter().take_while(|(due, _)| *due <= round).count();
                    let due: Vec<_> = closed.drain(..count).map(|(_, connection)| connection).collect();
                    if !due.is_empty() {
                        sweep.spawn(desk.clone().judge(due));
                    }
                }
                Some(judged) = sweep.join_next() => {
                    propagate(judged);
                }
            }
        }
    }
}

impl ListenerContext {
    fn callers(&self) -> MutexGuard<'_, RefusedClients> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn strangers(&self) -> MutexGuard<'_, SuspiciousClients> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn places(&self) -> MutexGuard<'_, ListenerSlots> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs what has changed among the callers, and shows it on the page and in INFO.
    fn report(&self, notices: &[ClientNotice]) {
        if notices.is_empty() {
            return;
        }
        {
            // Counted and shown under one lock: of two connections the later has the last word.
            let mut ingest = self.shared.lock();
            let (refused, coturn_seen) = self.callers().count();
            ingest.callers(self.id, refused, coturn_seen);
            self.status.set(refused, coturn_seen);
        }
        for notice in notices {
            notice.log(&self.name);
        }
    }

    /// Logs a connection that is no coturn's, if it is the first of its kind from there.
    fn note_stranger(&self, peer: IpAddr, nuisance: Suspicion, speaks: Option<ForeignProtocol>) {
        if self.strangers().note(self.shared.now(), peer, nuisance) {
            nuisance.log(&self.name, peer, speaks);
        }
    }

    /// Ends what these closed connections reported, where their process ended with them.
    async fn judge(self, closed: Vec<ConnectionId>) {
        let mut ended = EndedConnections::default();
        for some in closed.chunks(JUDGED_TOGETHER) {
            {
                let now = self.shared.now();
                let mut ingest = self.shared.lock();
                for &connection in some {
                    let verdict = ingest.judge_closed(now, connection);
                    ended.insert(connection, verdict);
                }
            }
            yield_now().await;
        }
        let mut from = (!ended.is_empty()).then_some(0);
        while let Some(place) = from {
            let now = self.shared.now();
            from = self.shared.lock().end_reported_by(now, &ended, place);
            yield_now().await;
        }
    }
}

/// What a task gave; its panic goes on here, for partial state must not be served.
fn propagate<T>(ended: Result<T, JoinError>) -> Option<T> {
    ended.map_err(|error| error.try_into_panic().map(|panic| std::panic::resume_unwind(panic))).ok()
}

#[cfg(test)]
mod absence_tests;
#[cfg(test)]
mod tests;
