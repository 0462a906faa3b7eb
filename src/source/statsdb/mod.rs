//! A listener that coturn uses as its Redis: what coturn publishes comes straight to the exporter. It answers as a Redis
//! would and stores nothing; what messages mean is `wire`'s business.

mod answer;
mod connection;
mod foreign;
pub mod probe;
mod status;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::config::{Password, ServerCertificate, Statsdb};
use crate::net::tls::{OwnCertificate, PemError, PemText, ServerTls, ServerTlsError, TlsPair, server_config};
use crate::net::{Acceptor, BindError, ByteStream, bind, keep_alive, set_send_buffer, stands_for};
use crate::reload::{FileReader, Reloaded};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use answer::Client as AnsweredClient;
pub use answer::{ClientCommand, CommandRefusal};
pub use connection::{Connection, ConnectionRefusal, Disconnected};
pub use foreign::ForeignProtocol;
pub use status::ListenerStatus;
pub(super) use status::{NOBODY_IS_TOLD, OURS};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a connection is silent before its other end is asked whether it is there; coturn may be silent for days.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Bytes of answers that the system keeps for a client that does not read them. Linux takes twice as much; without a limit
/// it takes megabytes.
const SEND_BUFFER: usize = 16 << 10;

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] ServerTlsError),
    /// A socket that listens elsewhere.
    #[error(
        "--statsdb.systemd-socket: the socket of systemd listens on {found}, and --statsdb.listen-address says {listen}; \
         let ListenStream= of its .socket unit say the same"
    )]
    Elsewhere {
        /// Where it listens.
        found: String,
        /// Where it should.
        listen: String,
    },
}

/// Accepts coturn's connections.
pub struct Listener {
    acceptor: Acceptor<TcpListener>,
    addresses: Vec<SocketAddr>,
    tls: Option<Reloaded<ListenerTls>>,
    password: Option<Password>,
    status: Arc<ListenerStatus>,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

const CERT_FLAG: &str = "--statsdb.tls-cert-file";
const KEY_FLAG: &str = "--statsdb.tls-key-file";

/// TLS with a certificate of ours.
pub struct ListenerTls {
    acceptor: TlsAcceptor,
    certificate: Option<OwnCertificate>,
}

impl std::fmt::Debug for ListenerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListenerTls").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl ListenerTls {
    /// The certificate; `None` where it does not say when it is valid.
    pub const fn certificate(&self) -> Option<&OwnCertificate> {
        self.certificate.as_ref()
    }
}

/// The certificate that a listener with these files would show, without its key; `None` where it does not say when it is valid.
///
/// # Errors
///
/// [`PemError`].
pub fn own_certificate(files: &ServerCertificate) -> Result<Option<OwnCertificate>, PemError> {
    let path = &files.cert_file;
    let pem = PemText::read(CERT_FLAG, path, |path| FileReader::default().read(path))?;
    OwnCertificate::of(path.clone(), &pem)
}

/// TLS with this certificate, which may change.
fn listener_tls(certificate: ServerCertificate) -> Result<Reloaded<ListenerTls>, ServerTlsError> {
    let ServerCertificate { cert_file: path, key_file } = certificate;
    Reloaded::new(CERT_FLAG, move |files, _| {
        let sources = [(CERT_FLAG, &path), (KEY_FLAG, &key_file)];
        // Both, also where one cannot be read: each may become readable.
        let [certificate, key] =
            sources.map(|(flag, path)| PemText::read(flag, path, |path| files.read(path)));
        let pair = TlsPair { certificate: certificate?, key: key? };
        let own = OwnCertificate::of(path.clone(), &pair.certificate)?;
        let tls = ServerTls { pair, choices: None, client_cas: None, protocols: &[] };
        Ok(ListenerTls { acceptor: server_config(&tls)?.into(), certificate: own })
    })
}

/// A connection that was accepted; nothing has been read from it yet.
#[derive(Debug)]
pub struct IncomingConnection {
    stream: TcpStream,
    /// The address of the client.
    pub peer: SocketAddr,
}

impl Listener {
    /// Binds.
    ///
    /// # Errors
    ///
    /// [`ListenError`].
    pub async fn bind(statsdb: &Statsdb) -> Result<Self, ListenError> {
        Self::serving(statsdb, bind(&statsdb.listen, "--statsdb.listen-address").await?)
    }

    /// Takes sockets that listen already, and at the address that these settings name: the name of the source, and whether it
    /// may do without a password, follow from that.
    ///
    /// # Errors
    ///
    /// [`ListenError`].
    pub async fn on(statsdb: &Statsdb, sockets: Vec<TcpListener>) -> Result<Self, ListenError> {
        for socket in &sockets {
            let bound = socket.local_addr();
            let is_meant = match &bound {
                Ok(bound) => stands_for(&statsdb.listen, *bound).await,
                Err(_) => false,
            };
            if !is_meant {
                let found = bound.map_or_else(|error| error.to_string(), |bound| bound.to_string());
                return Err(ListenError::Elsewhere { found, listen: statsdb.listen.to_string() });
            }
        }
        Self::serving(statsdb, sockets)
    }

    fn serving(statsdb: &Statsdb, sockets: Vec<TcpListener>) -> Result<Self, ListenError> {
        let tls = statsdb.tls.clone().map(listener_tls).transpose()?;
        let addresses = sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        Ok(Self {
            acceptor: Acceptor::new(sockets),
            addresses,
            tls,
            password: statsdb.password.clone(),
            status: Arc::default(),
        })
    }

    /// Where it listens: one address, or those of both families.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Its TLS, where it speaks that.
    pub fn tls(&self) -> Option<&Reloaded<ListenerTls>> {
        self.tls.as_ref()
    }

    /// The next connection. May be dropped at any time: no connection is lost by that.
    pub async fn accept(&mut self) -> IncomingConnection {
        let (stream, peer) = self.acceptor.next().await;
        IncomingConnection { stream, peer }
    }

    /// Tells a client that there is no room, in the words of Redis.
    pub fn turn_away(incoming: &IncomingConnection) {
        // The connection is closed anyway: it does not matter whether the client gets this.
        let _ = incoming.stream.try_write(b"-ERR max number of clients reached\r\n");
    }

    /// What is needed to set up a connection with a client.
    pub fn setup(&self) -> ConnectionSetup {
        ConnectionSetup { tls: self.tls.clone(), password: self.password.clone(), status: self.status() }
    }

    /// What INFO says about the clients; whoever knows them keeps it up to date.
    pub fn status(&self) -> Arc<ListenerStatus> {
        Arc::clone(&self.status)
    }
}

/// What is needed to set up a connection with a client; from [`Listener::setup`].
#[derive(Clone)]
pub struct ConnectionSetup {
    tls: Option<Reloaded<ListenerTls>>,
    password: Option<Password>,
    status: Arc<ListenerStatus>,
}

impl std::fmt::Debug for ConnectionSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionSetup").finish_non_exhaustive()
    }
}

impl ConnectionSetup {
    /// Sets up a connection, with the TLS handshake where TLS is configured.
    ///
    /// # Errors
    ///
    /// The handshake failed or took too long.
    pub async fn set_up(self, incoming: IncomingConnection) -> io::Result<Connection> {
        let stream = incoming.stream;
        stream.set_nodelay(true)?;
        keep_alive(&stream, KEEPALIVE)?;
        set_send_buffer(&stream, SEND_BUFFER)?;
        let stream: ByteStream = match self.tls {
            Some(tls) => Box::new(timeout(HANDSHAKE, tls.current().acceptor.accept(stream)).await??),
            None => Box::new(stream),
        };
        let password = self.password.map(|password| (*password.current()).clone());
        Ok(Connection::new(stream, password, self.status))
    }
}
