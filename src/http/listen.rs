//! Listen addresses: binding them, and accepting without ever giving up or spinning.
//!
//! Knows nothing of HTTP.

use crate::config::ListenAddress;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::sleep;

/// How long to leave the listeners alone when the machine lacks what a connection needs (file handles, memory).
/// Long enough to cost nothing, short enough for a scraper not to notice.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listen address that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; {}", advice(.source))]
pub struct BindError {
    address: String,
    source: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "stop what uses the port or set another --web.listen-address",
        io::ErrorKind::PermissionDenied => {
            "this user may not use the port (below 1024?); set another --web.listen-address"
        }
        _ => "set a --web.listen-address that this machine has",
    }
}

/// Binds one address: every interface needs up to two sockets, a name one for each address it has.
pub(super) async fn bind(address: &ListenAddress) -> Result<Vec<TcpListener>, BindError> {
    let bound = match address {
        ListenAddress::Any { port } => bind_all_interfaces(*port).await,
        ListenAddress::Socket(address) => TcpListener::bind(address).await.map(|listener| vec![listener]),
        ListenAddress::Name { host, port } => match lookup_host((host.as_str(), *port)).await {
            Ok(found) => bind_found(found).await,
            Err(error) => Err(error),
        },
    };
    bound.map_err(|source| BindError { address: address.to_string(), source })
}

async fn bind_all_interfaces(port: u16) -> io::Result<Vec<TcpListener>> {
    let v6 = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(v6) => v6,
        Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {
            return Err(error);
        }
        // A machine without IPv6.
        Err(_) => return Ok(vec![TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?]),
    };
    // An IPv6 socket takes IPv4 too, unless the system is set otherwise (`bindv6only`). In the first case this
    // second bind fails because the port is in use, by us; in the second it is needed.
    let v4 = TcpListener::bind((Ipv4Addr::UNSPECIFIED, v6.local_addr()?.port())).await;
    Ok(std::iter::once(v6).chain(v4.ok()).collect())
}

async fn bind_found(found: impl Iterator<Item = SocketAddr>) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut tried = Vec::new();
    let mut missing = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in found {
        if tried.contains(&address) {
            continue;
        }
        tried.push(address);
        match TcpListener::bind(address).await {
            Ok(listener) => listeners.push(listener),
            // `localhost` names ::1 also on machines without IPv6: one that can be bound is enough.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => missing = error,
            Err(error) => return Err(error),
        }
    }
    if listeners.is_empty() { Err(missing) } else { Ok(listeners) }
}

/// Where connections come from; a trait so that its failures can be played.
pub(super) trait Accept {
    type Stream;
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Stream, IpAddr)>>;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, IpAddr)>> {
        TcpListener::poll_accept(self, cx).map_ok(|(stream, peer)| (stream, peer.ip()))
    }
}

/// Accepts from several listeners in turn.
#[derive(Debug)]
pub(super) struct Acceptor<L> {
    listeners: Vec<L>,
    failing: bool,
}

impl<L: Accept> Acceptor<L> {
    pub(super) fn new(listeners: Vec<L>) -> Self {
        Self { listeners, failing: false }
    }

    /// The next connection and who made it. Cancel safe: no accepted connection is lost.
    pub(super) async fn next(&mut self) -> (L::Stream, IpAddr) {
        loop {
            match poll_fn(|cx| self.poll(cx)).await {
                Ok(accepted) => {
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("accepting connections again");
                    }
                    return accepted;
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(%error, "cannot accept connections, retrying; raise the limit of open files?");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(L::Stream, IpAddr)>> {
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
    use tokio::time::timeout;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn every_interface_means_both_families() {
        let listeners = bind(&":0".parse().unwrap()).await.unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap().port() == port));
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("IPv4");
        if listeners[0].local_addr().unwrap().is_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.expect("IPv6");
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_that_names_the_address() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = taken.local_addr().unwrap();
        for text in [address.to_string(), format!(":{}", address.port())] {
            let error = bind(&text.parse().unwrap()).await.unwrap_err().to_string();
            assert!(error.contains(&text) && error.contains("--web.listen-address"), "{error}");
        }
    }

    /// Gives what it was told to give, then the last thing for ever.
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

        fn poll_accept(&self, _: &mut Context<'_>) -> Poll<io::Result<(&'static str, IpAddr)>> {
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
        assert!(!acceptor.failing);
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
