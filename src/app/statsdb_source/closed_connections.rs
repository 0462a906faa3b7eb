//! Closed connections, and what each says about the process that held it: one that ended takes its allocations along.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use tokio::task::{JoinSet, yield_now};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::listener_context::ListenerContext;
use crate::app::supervise::propagate;
use crate::state::{ConnectionId, EndedConnections, ProcessVerdict, VERDICT_AFTER};

/// How often closed connections are judged. Ending what a process reported looks at the whole table: once for all of them,
/// and not more often than this, so that the end of a process is noticed within two seconds and many cost little.
pub(super) const JUDGE: Duration = Duration::from_millis(250);

/// After so many rounds of this a closed connection is judged. The first may come at once.
pub(super) const ROUNDS: u64 = 5;

const _: () = assert!(JUDGE.as_millis() * 4 >= VERDICT_AFTER.as_millis(), "what it is judged by has come");

/// Connections judged at a time: the table is locked for that many.
const JUDGED_TOGETHER: usize = 16;

/// A connection that reported allocations, and was closed by the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClosedConnection {
    pub(super) id: ConnectionId,
    pub(super) peer: IpAddr,
}

/// Connections that have closed and are still to be judged.
#[derive(Debug)]
pub(super) struct ClosedConnections {
    context: ListenerContext,
    /// In the order of their ends, each with the round in which it is due.
    waiting: VecDeque<(u64, ClosedConnection)>,
    round: u64,
    rounds: Interval,
    /// One at a time.
    judgement: JoinSet<()>,
}

impl ClosedConnections {
    pub(super) fn new(context: ListenerContext) -> Self {
        let mut rounds = interval(JUDGE);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { context, waiting: VecDeque::new(), round: 0, rounds, judgement: JoinSet::new() }
    }

    /// One more.
    pub(super) fn add(&mut self, connection: ClosedConnection) {
        self.waiting.push_back((self.round + ROUNDS, connection));
    }

    /// Waits for the next thing to do, and does it; for ever where nothing waits. May be dropped and called again.
    pub(super) async fn work(&mut self) {
        if let Some(judged) = self.judgement.join_next().await {
            propagate(judged);
            return;
        }
        if self.waiting.is_empty() {
            return std::future::pending().await;
        }
        self.rounds.tick().await;
        self.round += 1;
        let count = self.waiting.iter().take_while(|(due, _)| *due <= self.round).count();
        let due: Vec<_> = self.waiting.drain(..count).map(|(_, connection)| connection).collect();
        if !due.is_empty() {
            self.judgement.spawn(judge(self.context.clone(), due));
        }
    }
}

/// Ends what these closed connections reported, where their process ended with them.
async fn judge(context: ListenerContext, closed: Vec<ClosedConnection>) {
    let shared = &context.shared;
    let mut ended = EndedConnections::default();
    for some in closed.chunks(JUDGED_TOGETHER) {
        {
            let now = shared.now();
            let mut ingest = shared.lock();
            for &ClosedConnection { id, peer } in some {
                let verdict = ingest.judge_closed(now, id);
                ended.insert(id, verdict);
                if verdict == ProcessVerdict::Died {
                    context.clients().die(shared.process_now(), peer);
                }
            }
        }
        yield_now().await;
    }
    let mut from = (!ended.is_empty()).then_some(0);
    while let Some(place) = from {
        let now = shared.now();
        from = shared.lock().end_reported_by(now, &ended, place);
        yield_now().await;
    }
}
