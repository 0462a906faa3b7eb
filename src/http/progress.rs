//! What a connection is doing, since when, and whether it is to end: written by the connection, read by those who choose
//! which one gives way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::metrics::WebRefusal;
use crate::net::ClientNetwork;

/// What the connection is doing, as far as time limits are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionStage {
    /// A request's head is awaited: the connection is new, or the first bytes of the head have come. The handshake of TLS
    /// is one of these, with time of its own.
    Head,
    /// A request is being answered; `handed` over to hyper means only writing is left.
    Answer { handed: bool },
    /// The answer is out, nothing of the next request has come. On HTTP/2: of no stream.
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

#[derive(Debug)]
struct Now {
    stage: ConnectionStage,
    turn: u64,
    since: u64,
    ended: Option<WebRefusal>,
    is_cut: bool,
    /// Requests of HTTP/2 that are being answered, by their order.
    streams: BTreeMap<u64, StreamProgress>,
}

#[derive(Debug)]
struct StreamProgress {
    /// When its answer must be out.
    due: Instant,
    is_handed: bool,
}

/// A request of HTTP/2 that is being answered, until this is dropped.
#[derive(Debug)]
pub(super) struct OpenStream {
    number: u64,
    connection: Arc<ConnectionProgress>,
}

impl ConnectionProgress {
    pub(super) fn new(network: ClientNetwork, order: Arc<AtomicU64>) -> Self {
        let since = order.fetch_add(1, Ordering::Relaxed);
        let stage = ConnectionStage::Head;
        let now = Now { stage, turn: 0, since, ended: None, is_cut: false, streams: BTreeMap::new() };
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
        (now.stage, now.turn, now.since) = (stage, now.turn.wrapping_add(1), since);
    }

    /// A stream of HTTP/2 has a request, whose answer must be out by then. The connection is in the stage of its streams:
    /// it answers as long as there is one, in the time of the oldest, and is idle without any.
    pub(super) fn begin_stream(self: &Arc<Self>, due: Instant) -> OpenStream {
        let number = self.order.fetch_add(1, Ordering::Relaxed);
        let mut now = self.now();
        if now.streams.is_empty() {
            (now.turn, now.since) = (now.turn.wrapping_add(1), number);
        }
        now.streams.insert(number, StreamProgress { due, is_handed: false });
        now.stage = ConnectionStage::Answer { handed: false };
        drop(now);
        OpenStream { number, connection: Arc::clone(self) }
    }

    fn end_stream(&self, number: u64) {
        let mut now = self.now();
        let was_oldest = now.streams.first_key_value().is_some_and(|(oldest, _)| *oldest == number);
        now.streams.remove(&number);
        if now.streams.is_empty() {
            drop(now);
            return self.begin(ConnectionStage::Idle);
        }
        if was_oldest {
            now.turn = now.turn.wrapping_add(1);
        }
        now.stage = now.stage_of_streams();
    }

    /// When the oldest answer must be out, where streams have one each.
    pub(super) fn due(&self) -> Option<Instant> {
        self.now().streams.first_key_value().map(|(_, stream)| stream.due)
    }

    /// What was written and not yet sent is to be forgotten when the connection is closed.
    pub(super) fn cut(&self) {
        self.now().is_cut = true;
    }

    pub(super) fn is_cut(&self) -> bool {
        self.now().is_cut
    }

    /// hyper has taken the response: writing goes on within the time that answering has.
    pub(super) fn handed(&self) {
        self.now().stage = ConnectionStage::Answer { handed: true };
    }

    /// Bytes of a request have come from the client; after an answer they begin the next one.
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

impl Now {
    fn stage_of_streams(&self) -> ConnectionStage {
        ConnectionStage::Answer { handed: self.streams.values().all(|stream| stream.is_handed) }
    }
}

impl OpenStream {
    /// The answer, which keeps the stream open until its last byte is written.
    pub(super) fn hand(self, body: Bytes) -> Bytes {
        let mut now = self.connection.now();
        if let Some(stream) = now.streams.get_mut(&self.number) {
            stream.is_handed = true;
        }
        now.stage = now.stage_of_streams();
        drop(now);
        Bytes::from_owner(StreamBody { body, _stream: self })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.connection.end_stream(self.number);
    }
}

struct StreamBody {
    body: Bytes,
    _stream: OpenStream,
}

impl AsRef<[u8]> for StreamBody {
    fn as_ref(&self) -> &[u8] {
        &self.body
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
    async fn streams_share_a_connection_in_the_time_of_the_oldest() {
        let progress = ConnectionProgress::of("192.0.2.1");
        let now = tokio::time::sleep(std::time::Duration::ZERO).deadline();
        let due = [1, 2, 3].map(|seconds| now + std::time::Duration::from_secs(seconds));
        let [first, second] = [due[0], due[1]].map(|due| progress.begin_stream(due));
        let answers = |handed| ConnectionStage::Answer { handed };
        assert_eq!((progress.get(), progress.due()), ((answers(false), 1), Some(due[0])));
        let second = second.hand(Bytes::from("page"));
        assert_eq!(progress.get(), (answers(false), 1), "the first is still being made");
        let first = first.hand(Bytes::from("page"));
        assert_eq!(progress.get(), (answers(true), 1));
        let third = progress.begin_stream(due[2]);
        assert_eq!(progress.get(), (answers(false), 1), "a new one does not give the first more time");
        drop(second);
        assert_eq!((progress.get(), progress.due()), ((answers(false), 1), Some(due[0])));
        drop(first);
        assert_eq!((progress.get(), progress.due()), ((answers(false), 2), Some(due[2])));
        drop(third);
        assert_eq!((progress.get(), progress.due()), ((ConnectionStage::Idle, 3), None));
        drop(progress.begin_stream(now).hand(Bytes::new()));
        assert_eq!(progress.get(), (ConnectionStage::Idle, 5));
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
