//! From a configuration to a session of `PostgreSQL`: dials, TLS, login.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::config::{Place, PostgresConfig, TlsWanted, Verification, socket};
use super::error::PostgresError;
use crate::config::Endpoint;
use crate::net::tls::{
    LaxVerifier, PemText, TlsPair, certificates, pair_error, private_key, roots, system_roots,
};
use crate::net::{ByteStream, connect_tcp};

/// How long a connection with its TLS and its login may take.
const CONNECT: Duration = Duration::from_secs(10);

/// `SSLRequest` of the protocol: its length, its number.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A session of the database; its connection ends with it.
pub(super) struct PostgresSession {
    pub(super) client: Client,
    connection: JoinHandle<()>,
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// A new session, with the password and the certificates as they are in their files now.
pub(super) async fn connect(config: &PostgresConfig) -> Result<PostgresSession, PostgresError> {
    let silent = |_| PostgresError::Silent {
        server: config.place.to_string(),
        what: "connecting",
        seconds: CONNECT.as_secs(),
    };
    timeout(CONNECT, dial(config)).await.map_err(silent)?
}

async fn dial(config: &PostgresConfig) -> Result<PostgresSession, PostgresError> {
    let failed = |error| PostgresError::Connect { server: config.place.to_string(), error };
    let stream: ByteStream = match (&config.place, &config.tls) {
        (Place::Unix(folder, port), _) => {
            Box::new(UnixStream::connect(socket(folder, *port)).await.map_err(failed)?)
        }
        (Place::Tcp(endpoint), None) => {
            Box::new(connect_tcp(&endpoint.host, endpoint.port).await.map_err(failed)?)
        }
        (Place::Tcp(endpoint), Some(wanted)) => {
            // The files first: what is wrong with them is wrong with every server.
            let tls = client_config(wanted)?;
            let stream = connect_tcp(&endpoint.host, endpoint.port).await.map_err(failed)?;
            Box::new(encrypt(stream, endpoint, wanted, tls).await?)
        }
    };
    log_in(config, stream).await
}

/// Asks for TLS, and shakes hands.
async fn encrypt(
    mut stream: TcpStream,
    endpoint: &Endpoint,
    wanted: &TlsWanted,
    tls: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, PostgresError> {
    let server = endpoint.to_string();
    let failed = |error| PostgresError::Connect { server: server.clone(), error };
    stream.write_all(&SSL_REQUEST).await.map_err(failed)?;
    // One byte, and not one more: what a stranger has sent behind it is no TLS.
    match stream.read_u8().await.map_err(failed)? {
        b'S' => {}
        b'N' => return Err(PostgresError::NoTls { server }),
        _ => {
            let reason = "it does not speak the protocol of PostgreSQL; check host and port".to_owned();
            return Err(PostgresError::Tls { server, reason });
        }
    }
    let name = ServerName::try_from(endpoint.host.clone());
    let no_name = |_| PostgresError::Tls {
        server: server.clone(),
        reason: format!("{:?} is no name that a certificate could be for", endpoint.host),
    };
    let shaken = TlsConnector::from(tls).connect(name.map_err(no_name)?, stream).await;
    shaken.map_err(|error| PostgresError::Tls { reason: handshake_text(&error, wanted), server })
}

/// What ended a handshake, and what to do.
fn handshake_text(error: &io::Error, wanted: &TlsWanted) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let advice = match cause {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
            if wanted.root_cert.is_none() =>
        {
            "; name the CA of PostgreSQL with sslrootcert in its URL"
        }
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "; the CA in the file of sslrootcert has not signed it"
        }
        Some(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "; use the host name that the certificate is for, or sslmode=verify-ca",
        _ => "",
    };
    format!("{error}{advice}")
}

fn client_config(wanted: &TlsWanted) -> Result<Arc<ClientConfig>, PostgresError> {
    let setup = |error: rustls::Error| PostgresError::Tls {
        server: "any server".to_owned(),
        reason: error.to_string(),
    };
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(setup)?;
    let cas = match (&wanted.root_cert, wanted.verification) {
        (_, Verification::None) => None,
        (Some(path), _) => Some(Arc::new(roots(&read("sslrootcert", path)?).map_err(PostgresError::Pem)?)),
        (None, _) => Some(system_roots().map_err(|reason| PostgresError::NoSystemCas { reason })?),
    };
    let builder = match (cas, wanted.verification) {
        (Some(cas), Verification::Full) => builder.with_root_certificates(cas),
        (cas, _) => {
            let by_ca = cas
                .map(|cas| WebPkiServerVerifier::builder_with_provider(cas, Arc::clone(&provider)).build());
            let by_ca =
                by_ca.transpose().map_err(|error| setup(rustls::Error::General(error.to_string())))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(LaxVerifier { by_ca, provider }))
        }
    };
    let Some((cert_file, key_file)) = &wanted.client else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let pair = TlsPair { certificate: read("sslcert", cert_file)?, key: read("sslkey", key_file)? };
    let chain = certificates(&pair.certificate).map_err(PostgresError::Pem)?;
    let key = private_key(&pair.key).map_err(PostgresError::Pem)?;
    let config = builder.with_client_auth_cert(chain, key);
    config.map(Arc::new).map_err(|error| PostgresError::Pem(pair_error(&pair, error)))
}

/// A few kilobytes: not worth a thread.
fn read(parameter: &'static str, path: &Path) -> Result<PemText, PostgresError> {
    PemText::read(parameter, path, |path| std::fs::read(path)).map_err(PostgresError::Pem)
}

async fn log_in(config: &PostgresConfig, stream: ByteStream) -> Result<PostgresSession, PostgresError> {
    let mut login = Config::new();
    // Of TLS this stream has what it will ever have.
    login
        .user(&config.user)
        .dbname(&config.database)
        .application_name("coturn-exporter")
        .ssl_mode(SslMode::Disable);
    if let Some(password) = &config.password {
        login.password(password.current().expose());
    }
    let (client, connection) = login.connect_raw(stream, NoTls).await?;
    // Its end shows as errors of the client.
    let connection = tokio::spawn(async move { drop(connection.await) });
    Ok(PostgresSession { client, connection })
}
