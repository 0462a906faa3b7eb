//! A server that coturn takes for its Redis: whatever is published there comes straight to us. It answers as a Redis
//! would and keeps nothing; what messages mean is `wire`'s business.

mod answer;
mod connection;

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::dial::Duplex;
use super::tls::{self, TlsError};
use crate::config::{ListenAddress, Secret, Statsdb};

pub use answer::{Heard, Refusal};
pub use connection::{Connection, Ended};

/// How long to leave the listener alone when the machine lacks what a connection needs.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a connection is silent before its other end is asked whether it is there; coturn may be silent for days.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Callers who wait to be accepted: a coturn that starts has a connection for each of its threads.
const BACKLOG: u32 = 4096;

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for coturn: {error}; set another --statsdb.listen-address")]
    Bind {
        /// The address.
        address: ListenAddress,
        /// What the system says.
        error: io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Accepts coturn's connections.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    password: Option<Secret>,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// A connection of which nothing has been read yet.
#[derive(Debug)]
pub struct Caller {
    stream: TcpStream,
    /// Who called.
    pub peer: SocketAddr,
}

impl Listener {
    /// Binds.
    ///
    /// # Errors
    ///
    /// [`ListenError`].
    pub async fn bind(statsdb: &Statsdb) -> Result<Self, ListenError> {
        let tls = statsdb.tls.as_ref().map(tls::server_config).transpose()?.map(TlsAcceptor::from);
        let bound = bind(&statsdb.listen).await;
        let socket = bound.map_err(|error| ListenError::Bind { address: statsdb.listen.clone(), error })?;
        Ok(Self { socket, tls, password: statsdb.password.clone() })
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// The next caller.
    pub async fn accept(&self) -> Caller {
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => return Caller { stream, peer },
                // Gone again, or nothing left to take it with: it waits in the queue.
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    /// Tells a caller that there is no room, as Redis does.
    pub fn turn_away(caller: &Caller) {
        // Whether it fits does not matter.
        let _ = caller.stream.try_write(b"-ERR max number of clients reached\r\n");
    }

    /// What it takes to talk to callers.
    pub fn reception(&self) -> Reception {
        Reception { tls: self.tls.clone(), password: self.password.clone() }
    }
}

async fn bind(address: &ListenAddress) -> io::Result<TcpListener> {
    let addresses: Vec<SocketAddr> = match address {
        // Takes IPv4 too.
        ListenAddress::Any { port } => vec![(Ipv6Addr::UNSPECIFIED, *port).into()],
        ListenAddress::Socket(address) => vec![*address],
        ListenAddress::Name { host, port } => lookup_host((host.as_str(), *port)).await?.collect(),
    };
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let listen = |socket: TcpSocket| {
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        };
        match socket.and_then(listen) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// See [`Listener::reception`].
#[derive(Clone)]
pub struct Reception {
    tls: Option<TlsAcceptor>,
    password: Option<Secret>,
}

impl std::fmt::Debug for Reception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reception").finish_non_exhaustive()
    }
}

impl Reception {
    /// A talk with a caller, after the TLS handshake where TLS is spoken.
    ///
    /// # Errors
    ///
    /// The handshake failed or took too long.
    pub async fn receive(self, caller: Caller) -> io::Result<Connection> {
        let stream = caller.stream;
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(3);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        let stream: Box<dyn Duplex> = match self.tls {
            Some(tls) => Box::new(timeout(HANDSHAKE, tls.accept(stream)).await??),
            None => Box::new(stream),
        };
        Ok(Connection::new(stream, self.password))
    }
}
