//! The listener as a source: coturn's connections come and go, and what they say goes into the table at once.

use std::time::Duration;

use tokio::task::{JoinSet, yield_now};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::ingest::Shared;
use super::watch::Board;
use crate::config::{RedisSource, Statsdb};
use crate::source::backoff::Backoff;
use crate::source::forward::Forward;
use crate::source::statsdb::{Caller, Connection, Ended, Heard, Listener, Reception};
use crate::state::{Carrier, SourceId};

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
        Self { statsdb, listener, desk: Desk { id, shared, forward }, board }
    }

    /// Never ends by itself; may be dropped at any time.
    pub(super) async fn run(self) {
        let Self { statsdb, listener, desk, board } = self;
        let address = listener.address().map(|address| address.to_string()).unwrap_or_default();
        tracing::info!(source = %statsdb.name, statsdb = %address, "waiting for coturn");
        {
            let now = desk.shared.now();
            let mut ingest = desk.shared.lock();
            ingest.listens(now, desk.id);
        }
        board.set(desk.id, None);
        let mut talks = JoinSet::new();
        if let (Some(to), Some(forward)) = (statsdb.forward.clone(), desk.forward.clone()) {
            talks.spawn(pass_on(forward, to));
        }
        let passing_on = talks.len();
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
                    let mut ingest = desk.shared.lock();
                    ingest.heard_until(desk.id, heard);
                    ingest.forwarded(desk.id, desk.forward.as_ref().map(Forward::state));
                }
                Some(ended) = talks.join_next() => if let Err(error) = ended
                    && let Ok(panic) = error.try_into_panic()
                {
                    // Half of the truth is none.
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
}

impl Desk {
    async fn receive(self, reception: Reception, caller: Caller) {
        let peer = caller.peer;
        let mut connection = match reception.receive(caller).await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::debug!(%peer, %error, "no talk");
                return;
            }
        };
        self.shared.lock().connections(self.id, 1);
        let mut carrier = None;
        let ended = self.listen(&mut connection, &mut carrier).await;
        self.shared.lock().connections(self.id, -1);
        tracing::debug!(%peer, ?ended, "connection closed");
        if let Some(carrier) = carrier {
            self.part(carrier, ended).await;
        }
    }

    async fn listen(&self, connection: &mut Connection, carrier: &mut Option<Carrier>) -> Ended {
        let mut taken = 0;
        loop {
            if let Err(ended) = connection.ready().await {
                return ended;
            }
            taken += self.take_in(connection, carrier);
            // One that is always ready must not keep the thread.
            if taken >= TURN {
                taken = 0;
                yield_now().await;
            }
        }
    }

    fn take_in(&self, connection: &mut Connection, carrier: &mut Option<Carrier>) -> usize {
        let now = self.shared.now();
        let mut ingest = self.shared.lock();
        connection.take(|heard, bytes| {
            match heard {
                Heard::Published { channel, payload } => {
                    let carrier = *carrier.get_or_insert_with(|| ingest.carrier_opens());
                    // One that was not understood is counted with its reason.
                    let _ = ingest.message_from(now, self.id, carrier, channel, payload);
                }
                Heard::Stored | Heard::Nothing | Heard::Bye => {}
                Heard::Refused(reason) => ingest.refused_command(self.id, reason.as_str()),
            }
            if let (Heard::Published { .. } | Heard::Stored, Some(forward)) = (heard, &self.forward) {
                forward.offer(bytes);
            }
        })
    }

    /// A connection that told of allocations is gone.
    async fn part(&self, carrier: Carrier, ended: Ended) {
        self.shared.lock().carrier_closes(carrier);
        if ended != Ended::ByThem {
            let now = self.shared.now();
            self.shared.lock().interrupted(now, self.id);
            return;
        }
        let mut from = Some(0);
        while let Some(place) = from {
            let now = self.shared.now();
            from = self.shared.lock().abandon(now, carrier, place);
            yield_now().await;
        }
    }
}

/// Keeps the other Redis told.
async fn pass_on(forward: Forward, to: RedisSource) {
    let mut backoff = Backoff::new();
    let mut complaint = None;
    loop {
        let error = forward.run(&to, || tracing::info!(to = %to.name, "passing on")).await;
        let said = Some(error.to_string());
        if complaint != said {
            tracing::warn!(to = %to.name, %error, "not passing on; trying again");
            complaint = said;
        }
        sleep(backoff.next_wait(fastrand::f64())).await;
    }
}
