//! The client's side of TLS, as a scraper that trusts one CA.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use super::certificates::Pair;
use super::http::{self, Response};

/// A loopback server that takes longer than this to say anything is broken.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What a client shows and wants to see.
#[derive(Clone, Debug)]
pub struct TlsClient {
    pub config: Arc<ClientConfig>,
}

/// One that asks for pages: plainly, or over TLS, with a login or without.
#[derive(Clone, Debug, Default)]
pub struct Scraper {
    pub tls: Option<TlsClient>,
    /// User and password, with a colon between them.
    pub login: Option<String>,
}

impl Scraper {
    /// Asks for a path on a connection of its own.
    pub fn get(&self, address: SocketAddr, path: &str) -> Result<Response, String> {
        let login =
            self.login.as_ref().map(|login| format!("\r\nAuthorization: Basic {}", STANDARD.encode(login)));
        let header = format!("Accept: text/plain{}", login.unwrap_or_default());
        match &self.tls {
            None => http::get_with(address, path, &header),
            Some(tls) => tls.get(address, path, &header),
        }
    }
}

/// A connection after its handshake.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

impl TlsClient {
    /// One that trusts this CA and shows nothing.
    pub fn trusting(ca: &Path) -> Self {
        Self::new(ca, None, &[], rustls::DEFAULT_VERSIONS)
    }

    /// The same with a certificate.
    pub fn showing(ca: &Path, pair: &Pair) -> Self {
        Self::new(ca, Some(pair), &[], rustls::DEFAULT_VERSIONS)
    }

    /// One that speaks these protocols in these versions.
    pub fn new(
        ca: &Path,
        pair: Option<&Pair>,
        protocols: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let certificates = |path: &Path| CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap);
        let mut roots = RootCertStore::empty();
        certificates(ca).for_each(|certificate| roots.add(certificate).unwrap());
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
        let mut config = match pair {
            None => builder.with_no_client_auth(),
            Some(Pair { cert_file, key_file }) => {
                let key = PrivateKeyDer::from_pem_file(key_file).unwrap();
                builder.with_client_auth_cert(certificates(cert_file).collect(), key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        // Each connection has a handshake of its own.
        config.resumption = rustls::client::Resumption::disabled();
        Self { config: Arc::new(config) }
    }

    pub fn name() -> ServerName<'static> {
        ServerName::try_from("localhost").unwrap()
    }

    /// Connects; the handshake is done with the first bytes.
    pub fn connect(&self, address: SocketAddr) -> io::Result<TlsStream> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        self.over(stream)
    }

    /// The same over a stream that is there.
    pub fn over(&self, stream: TcpStream) -> io::Result<TlsStream> {
        let connection = ClientConnection::new(Arc::clone(&self.config), Self::name());
        Ok(StreamOwned::new(connection.map_err(io::Error::other)?, stream))
    }

    /// Asks for `path` on a connection of its own, with one more header.
    pub fn get(&self, address: SocketAddr, path: &str, header: &str) -> Result<Response, String> {
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n{header}\r\n\r\n");
        let answer = self.connect(address).and_then(|stream| http::exchange_over(stream, &request));
        answer.and_then(http::text).map_err(|error| format!("GET https://{address}{path}: {error}"))
    }
}
