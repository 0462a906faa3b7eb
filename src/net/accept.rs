//! Accepting connections from several listeners without ever giving up or spinning.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

/// How long to leave the listeners alone when the machine lacks what a connection needs (file handles, memory).
/// Long enough to cost nothing, short enough for a scraper not to notice.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long accepting must have gone well before its failures are over: at the limit of open files one connection that ends
/// lets one in, and the next fails again.
const CALM: Duration = Duration::from_secs(60);

/// Where connections come from; a trait so that tests can make it fail.
pub trait Accept {
    /// What is accepted.
    type Stream;
    /// The next connection and who made it, once there is one.
    ///
    /// # Errors
    ///
    /// What the system says; the next attempt may succeed.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Stream, SocketAddr)>>;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        TcpListener::poll_accept(self, cx)
    }
}

/// Accepts from several listeners in turn.
#[derive(Debug)]
pub struct Acceptor<L> {
    listeners: Vec<L>,
    failing: Option<AcceptFailures>,
}

/// Accepting fails, or did a moment ago.
#[derive(Debug)]
struct AcceptFailures {
    failures: u64,
    /// Ends when it has gone well for long enough.
    calm: Pin<Box<Sleep>>,
}

impl<L: Accept> Acceptor<L> {
    /// Accepts from these.
    pub const fn new(listeners: Vec<L>) -> Self {
        Self { listeners, failing: None }
    }

    /// The next connection and who made it. Cancel safe: no accepted connection is lost.
    pub async fn next(&mut self) -> (L::Stream, SocketAddr) {
        loop {
            match poll_fn(|cx| self.poll(cx)).await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    self.note(&error);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn note(&mut self, error: &io::Error) {
        if self.failing.is_none() {
            tracing::warn!(%error, "cannot accept connections, retrying; raise the limit of open files?");
        }
        let failures = self.failing.take().map_or(0, |failing| failing.failures);
        self.failing =
            Some(AcceptFailures { failures: failures.saturating_add(1), calm: Box::pin(sleep(CALM)) });
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(L::Stream, SocketAddr)>> {
        if let Some(failing) = &mut self.failing
            && failing.calm.as_mut().poll(cx).is_ready()
        {
            tracing::info!(failures = failing.failures, "accepting connections again");
            self.failing = None;
        }
        for turn in 0..self.listeners.len() {
            let polled = self.listeners.get(turn).map(|listener| listener.poll_accept(cx));
            if let Some(Poll::Ready(result)) = polled {
                // The next listener comes first next time: a busy one must not starve the others.
                self.listeners.rotate_left(turn + 1);
                return Poll::Ready(result);
            }
        }
        Poll::Pending
    }
}

/// Whether only the connection failed that was about to be accepted; the next may be fine.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;
    use std::net::{Ipv4Addr, SocketAddrV4};
    use tokio::time::timeout;

    const HERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7));

    /// Gives the results of its script, then nothing.
    struct Scripted {
        script: RefCell<VecDeque<io::Result<&'static str>>>,
        polls: Cell<u32>,
    }

    impl Scripted {
        fn new(script: impl IntoIterator<Item = io::Result<&'static str>>) -> Self {
            Self { script: RefCell::new(script.into_iter().collect()), polls: Cell::new(0) }
        }
    }

    impl Accept for Scripted {
        type Stream = &'static str;

        fn poll_accept(&self, _: &mut Context<'_>) -> Poll<io::Result<(&'static str, SocketAddr)>> {
            self.polls.set(self.polls.get() + 1);
            match self.script.borrow_mut().pop_front() {
                Some(result) => Poll::Ready(result.map(|stream| (stream, HERE))),
                None => Poll::Pending,
            }
        }
    }

    fn no_more_files() -> io::Error {
        io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error())
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_without_file_handles_is_asked_now_and_then() {
        let endless = (0..1_000).map(|_| Err(no_more_files()));
        let mut acceptor = Acceptor::new(vec![Scripted::new(endless)]);
        timeout(Duration::from_secs(1), acceptor.next()).await.unwrap_err();
        let polls = acceptor.listeners[0].polls.get();
        assert!((5..=11).contains(&polls), "{polls} attempts in a second");
    }

    #[tokio::test(start_paused = true)]
    async fn accepting_goes_on_after_failures() {
        let aborted = io::Error::from(io::ErrorKind::ConnectionAborted);
        let script = [Err(no_more_files()), Err(aborted), Ok("served")];
        let mut acceptor = Acceptor::new(vec![Scripted::new(script)]);
        assert_eq!(acceptor.next().await, ("served", HERE));
        assert!(acceptor.failing.is_some(), "the next may fail again");
    }

    /// At the limit of open files every connection that ends lets one in.
    #[tokio::test(start_paused = true)]
    async fn failures_are_one_episode_until_it_has_gone_well_for_a_while() {
        let turns = (0..1_000).flat_map(|_| [Err(no_more_files()), Ok("served")]);
        let mut acceptor = Acceptor::new(vec![Scripted::new(turns)]);
        for turn in 1..=1_000 {
            acceptor.next().await;
            assert_eq!(acceptor.failing.as_ref().map(|failing| failing.failures), Some(turn));
        }
        timeout(CALM / 2, acceptor.next()).await.unwrap_err();
        assert!(acceptor.failing.is_some());
        timeout(CALM, acceptor.next()).await.unwrap_err();
        assert!(acceptor.failing.is_none());
    }

    #[tokio::test]
    async fn a_busy_listener_does_not_starve_the_other() {
        let busy = Scripted::new((0..10).map(|_| Ok("busy")));
        let calm = Scripted::new([Ok("calm")]);
        let mut acceptor = Acceptor::new(vec![busy, calm]);
        let first_two = [acceptor.next().await.0, acceptor.next().await.0];
        assert_eq!(first_two, ["busy", "calm"]);
    }
}
