//! A server that coturn takes for its Redis: whatever is published there comes straight to us. It answers as a Redis
//! would and keeps nothing; what messages mean is `wire`'s business.

mod answer;
mod connection;
mod foreign;
pub mod probe;
mod standing;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::dial::Duplex;
use super::tls::{self, TlsError};
use crate::config::{Secret, Statsdb};
use crate::net::{Acceptor, BindError, bind};

pub use answer::{Heard, Refusal};
pub use connection::{Connection, ConnectionRefusal, Ended};
pub use foreign::ForeignProtocol;
pub use standing::Standing;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a connection is silent before its other end is asked whether it is there; coturn may be silent for days.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Bytes of answers that the system keeps for a client that does not read them. Linux takes twice as much, and, where it is
/// not told, megabytes.
const SEND_BUFFER: usize = 16 << 10;

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Accepts coturn's connections.
pub struct Listener {
    acceptor: Acceptor<TcpListener>,
    addresses: Vec<SocketAddr>,
    tls: Option<TlsAcceptor>,
    password: Option<Secret>,
    standing: Arc<Standing>,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("addresses", &self.addresses).finish_non_exhaustive()
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
        let sockets = bind(&statsdb.listen, "--statsdb.listen-address").await?;
        let addresses = sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        Ok(Self {
            acceptor: Acceptor::new(sockets),
            addresses,
            tls,
            password: statsdb.password.clone(),
            standing: Arc::default(),
        })
    }

    /// Where it listens: one address, or those of both families.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The next caller. May be dropped at any time.
    pub async fn accept(&mut self) -> Caller {
        let (stream, peer) = self.acceptor.next().await;
        Caller { stream, peer }
    }

    /// Tells a caller that there is no room, as Redis does.
    pub fn turn_away(caller: &Caller) {
        // Whether it fits does not matter.
        let _ = caller.stream.try_write(b"-ERR max number of clients reached\r\n");
    }

    /// What it takes to talk to callers.
    pub fn reception(&self) -> Reception {
        Reception { tls: self.tls.clone(), password: self.password.clone(), standing: self.standing() }
    }

    /// What INFO says of the clients, to be kept up to date.
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing)
    }
}

/// See [`Listener::reception`].
#[derive(Clone)]
pub struct Reception {
    tls: Option<TlsAcceptor>,
    password: Option<Secret>,
    standing: Arc<Standing>,
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
        let socket = SockRef::from(&stream);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_send_buffer_size(SEND_BUFFER)?;
        let stream: Box<dyn Duplex> = match self.tls {
            Some(tls) => Box::new(timeout(HANDSHAKE, tls.accept(stream)).await??),
            None => Box::new(stream),
        };
        Ok(Connection::new(stream, self.password, self.standing))
    }
}
