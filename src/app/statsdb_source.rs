//! The listener as a source: coturn's connections come and go, and what they report goes into the table at once.

mod before_the_table;
mod client_notices;
mod closed_connections;
mod connection;
mod connection_slots;
mod coturns;
mod forwarding;
mod listener_clients;
mod listener_context;
mod refused_clients;
mod suspicious_clients;

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::heartbeat::Heartbeat;
use super::ingest::SharedTable;
use super::readiness::SourceReadiness;
use super::supervise::propagate;
use crate::clock::Timestamp;
use crate::config::Statsdb;
use crate::net::MOST_ENDING;
use crate::source::forward::Forward;
use crate::source::statsdb::{ConnectionRefusal, IncomingConnection, Listener};
use crate::state::SourceId;
use closed_connections::{ClosedConnection, ClosedConnections};
use forwarding::Forwarder;
use listener_context::ListenerContext;
use suspicious_clients::Suspicion;

/// How often the table is given how far coturn has been received.
const TICK: Duration = Duration::from_secs(1);

/// Receives for as long as the program runs.
#[derive(Debug)]
pub(super) struct StatsdbTask {
    statsdb: Statsdb,
    listener: Listener,
    context: ListenerContext,
    readiness: SourceReadiness,
    heartbeat: Heartbeat,
    /// Each gives itself if what it reported is to be judged by its end.
    connections: JoinSet<Option<ClosedConnection>>,
}

impl StatsdbTask {
    pub(super) fn new(
        statsdb: Statsdb,
        listener: Listener,
        id: SourceId,
        shared: SharedTable,
        readiness: SourceReadiness,
    ) -> Self {
        let context = ListenerContext::new(&statsdb, listener.status(), id, shared);
        let heartbeat = Heartbeat::new();
        Self { statsdb, listener, context, readiness, heartbeat, connections: JoinSet::new() }
    }

    /// Says by this one that it has its turns.
    #[must_use]
    pub(super) fn with_heartbeat(self, heartbeat: Heartbeat) -> Self {
        Self { heartbeat, ..self }
    }

    /// Never ends by itself; may be dropped at any time.
    pub(super) async fn run(mut self) {
        for address in self.listener.addresses() {
            tracing::info!(source = %self.statsdb.name, statsdb = %address, "waiting for coturn");
        }
        let mut forwarding = JoinSet::new();
        if let (Some(to), Some(forward)) = (self.statsdb.forward.clone(), self.context.forward.clone()) {
            forwarding.spawn(Forwarder::new(forward, to, self.context.shared.clone()).run());
        }
        let most_open = self.statsdb.max_connections.saturating_add(MOST_ENDING);
        let mut closed = ClosedConnections::new(self.context.clone());
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Coturn is accepted and answered before the table is there; what it reports then waits.
        let mut last_tick = None;
        loop {
            self.heartbeat.beat();
            tokio::select! {
                () = self.context.shared.there(), if last_tick.is_none() => last_tick = Some(self.begin()),
                caller = self.listener.accept(), if self.connections.len() < most_open => self.open(caller),
                _ = ticks.tick() => self.tick(&mut last_tick),
                Some(ended) = self.connections.join_next() => {
                    if let Some(connection) = propagate(ended).flatten() {
                        closed.add(connection);
                    }
                }
                () = closed.work() => {}
                Some(ended) = forwarding.join_next() => {
                    propagate(ended);
                }
            }
        }
    }

    /// The table is there; gives when.
    fn begin(&self) -> Timestamp {
        let context = &self.context;
        let now = context.shared.now();
        context.open();
        self.readiness.set(context.id, None);
        now
    }

    /// Serves a connection if there is a slot for it.
    fn open(&mut self, caller: IncomingConnection) {
        let context = &self.context;
        let peer = caller.peer.ip().to_canonical();
        let slot = context.slots().admit(context.shared.process_now(), peer);
        if let Some(slot) = slot {
            self.connections.spawn(context.clone().serve(self.listener.setup(), caller, slot));
        } else {
            Listener::turn_away(&caller);
            context.refused_connection(ConnectionRefusal::Full);
            context.note_suspicious(peer, Suspicion::NoSlot, None);
        }
    }

    fn tick(&self, last_tick: &mut Option<Timestamp>) {
        let context = &self.context;
        if let Some(last_tick) = last_tick {
            // All that came before the tick before has had its turn, also if this process stood still since.
            let received_until = std::mem::replace(last_tick, context.shared.now());
            let last_event = {
                let mut ingest = context.shared.lock();
                ingest.received_until(context.id, received_until);
                ingest.forwarded(context.id, context.forward.as_ref().map(Forward::state));
                ingest.last_message(context.id)
            };
            context.show_status(last_event);
        }
        let now = context.shared.process_now();
        let notices = context.clients().advance(now);
        context.report(&notices);
        context.suspicious().log_ended(now, &context.name);
    }
}

#[cfg(test)]
mod tests;
