//! What a connection is doing, since when, and whether it is to end: written by the connection, read by those who choose
//! which one gives way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::network::ClientNetwork;
use crate::metrics::WebRefusal;

/// What the connection is doing, as far as time limits are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionStage {
    /// A request's head is awaited: the connection is new, or the first bytes of the head have come.
    Head,
    /// A request is being answered; `handed` over to hyper means only writing is left.
    Answer { handed: bool },
    /// The answer is out, nothing of the next request has come.
    Idle,
}

/// The stage, how often one began (a stage that begins anew gets its full time), and the order for it to end.
#[derive(Debug)]
pub(super) struct ConnectionProgress {
    /// Whose connection it is.
    pub(super) network: ClientNetwork,
    now: Mutex<Now>,
    /// Counts up with each stage that begins on any connection: what began earlier has a lower number.
    order: Arc<AtomicU64>,
    end: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Now {
    stage: ConnectionStage,
    turn: u64,
    since: u64,
    ended: Option<WebRefusal>,
}

impl ConnectionProgress {
    pub(super) fn new(network: ClientNetwork, order: Arc<AtomicU64>) -> Self {
        let since = order.fetch_add(1, Ordering::Relaxed);
        let now = Now { stage: ConnectionStage::Head, turn: 0, since, ended: None };
        Self { network, now: Mutex::new(now), order, end: Notify::new() }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self) -> (ConnectionStage, u64) {
        let now = self.now();
        (now.stage, now.turn)
    }

    pub(super) fn begin(&self, stage: ConnectionStage) {
        let since = self.order.fetch_add(1, Ordering::Relaxed);
        let mut now = self.now();
        *now = Now { stage, turn: now.turn.wrapping_add(1), since, ..*now };
    }

    /// hyper has taken the response: writing goes on within the time that answering has.
    pub(super) fn handed(&self) {
        self.now().stage = ConnectionStage::Answer { handed: true };
    }

    /// Bytes have come from the client; after an answer they begin the next request.
    pub(super) fn bytes_came(&self) {
        if self.get().0 == ConnectionStage::Idle {
            self.begin(ConnectionStage::Head);
        }
    }

    pub(super) fn writes(&self) {
        // hyper flushed earlier answers before it took up this one (pipelining).
        if self.get().0 == ConnectionStage::Idle {
            self.begin(ConnectionStage::Answer { handed: true });
        }
    }

    pub(super) fn flushed(&self) {
        // hyper also flushes while the answer is still being made.
        if self.get().0 == (ConnectionStage::Answer { handed: true }) {
            self.begin(ConnectionStage::Idle);
        }
    }

    /// Orders connections by how little is lost with them: idle ones, half-asked ones, slow readers, those that wait for us;
    /// of each the one that has been so for longest.
    pub(super) fn rank(&self) -> (u8, u64) {
        let now = self.now();
        let rank = match now.stage {
            ConnectionStage::Idle => 0,
            ConnectionStage::Head => 1,
            ConnectionStage::Answer { handed: true } => 2,
            ConnectionStage::Answer { handed: false } => 3,
        };
        (rank, now.since)
    }

    /// The connection must end; the first reason counts.
    pub(super) fn end(&self, why: WebRefusal) {
        self.now().ended.get_or_insert(why);
        self.end.notify_one();
    }

    /// A new connection from this address.
    #[cfg(test)]
    pub(super) fn of(address: &str) -> Arc<Self> {
        let address: std::net::IpAddr = address.parse().unwrap();
        Arc::new(Self::new(address.into(), Arc::default()))
    }

    /// Resolves once the connection must end. Only one task may wait for it.
    pub(super) async fn ended(&self) -> WebRefusal {
        loop {
            let ended = self.now().ended;
            match ended {
                Some(why) => return why,
                None => self.end.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_of_two_requests() {
        let progress = ConnectionProgress::of("192.0.2.1");
        progress.bytes_came();
        progress.bytes_came();
        assert_eq!(progress.get(), (ConnectionStage::Head, 0), "a dripping head gets no new time");
        progress.begin(ConnectionStage::Answer { handed: false });
        progress.flushed();
        assert_eq!(progress.get(), (ConnectionStage::Answer { handed: false }, 1), "nothing was written yet");
        progress.handed();
        progress.writes();
        progress.writes();
        assert_eq!(
            progress.get(),
            (ConnectionStage::Answer { handed: true }, 1),
            "writing shares the time of answering"
        );
        progress.flushed();
        progress.flushed();
        assert_eq!(progress.get(), (ConnectionStage::Idle, 2));
        progress.bytes_came();
        assert_eq!(progress.get(), (ConnectionStage::Head, 3), "the next head has its own time");
    }

    #[test]
    fn an_answer_held_back_by_pipelining_is_still_limited() {
        let progress = ConnectionProgress::of("192.0.2.1");
        progress.begin(ConnectionStage::Answer { handed: true });
        progress.flushed();
        progress.writes();
        assert_eq!(progress.get(), (ConnectionStage::Answer { handed: true }, 3));
    }

    #[tokio::test]
    async fn the_first_order_to_end_counts_whenever_it_is_asked_for() {
        let progress = ConnectionProgress::of("192.0.2.1");
        progress.end(WebRefusal::AddressLimit);
        progress.end(WebRefusal::UnsentLimit);
        assert_eq!(progress.ended().await, WebRefusal::AddressLimit);
        assert_eq!(progress.ended().await, WebRefusal::AddressLimit);
    }
}
