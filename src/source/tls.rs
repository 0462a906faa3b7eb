//! TLS for a Redis: certificates from files or from the system, and what went wrong with what to change. Dials
//! nothing. A certificate that cannot be verified is never accepted.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, ClientConfig, Error, RootCertStore, ServerConfig};

use super::certificate::BadCertificate;
use crate::config::{ClientCertificate, Endpoint, RedisSource, ServerCertificate, Tls};

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file that cannot be read.
    #[error(
        "cannot read {path:?} ({flag}): {error}; check the path and the rights of the user that runs the exporter"
    )]
    Unreadable {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file without what it should hold.
    #[error("{path:?} ({flag}) holds no {wanted} in PEM that can be used{}", detail(.reason))]
    NotPem {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// More about it, perhaps nothing.
        reason: String,
    },
    /// A key that is not the certificate's.
    #[error("{cert:?} and {key:?} ({flags}) cannot be used together: {error}")]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The flags that name them.
        flags: &'static str,
        /// What is wrong with them.
        error: Box<Error>,
    },
    /// No CA that could vouch for any server.
    #[error("this system has no CA certificates that can be read{}; name the CA of Redis with --redis.tls-ca-file", detail(.reason))]
    NoSystemCas {
        /// More about it, perhaps nothing.
        reason: String,
    },
    /// The provider of the cryptography is not up to it.
    #[error("TLS cannot be set up: {0}")]
    Setup(Error),
    /// A host that no certificate could name.
    #[error("{host:?} is no name that a certificate could be for")]
    NoName {
        /// The host.
        host: String,
    },
    /// A server's certificate that is not accepted.
    #[error(transparent)]
    Certificate(BadCertificate),
    /// Bytes that are no TLS.
    #[error(
        "{server} does not answer in TLS; is this its plain port? Use redis:// there, or the port that redis.conf calls \
         tls-port"
    )]
    NotTls {
        /// The server.
        server: Endpoint,
    },
    /// No bytes at all.
    #[error(
        "{server} does not answer in TLS; either it hangs, or this is its plain port: use redis:// there, or the port \
         that redis.conf calls tls-port"
    )]
    Silent {
        /// The server.
        server: Endpoint,
    },
    /// A server that asked who we are.
    #[error("{server} wants a client certificate; give --redis.tls-cert-file and --redis.tls-key-file")]
    ClientCertificateWanted {
        /// The server.
        server: Endpoint,
    },
    /// A server that does not know us.
    #[error(
        "{server} refuses our client certificate ({alert:?}); it must be valid now and signed by a CA in the server's \
         tls-ca-cert-file"
    )]
    ClientCertificateRefused {
        /// The server.
        server: Endpoint,
        /// The reason that it gives.
        alert: AlertDescription,
    },
    /// Anything else that ended the handshake.
    #[error("the handshake with {server} failed: {error}")]
    Handshake {
        /// The server.
        server: Endpoint,
        /// What ended it.
        error: io::Error,
    },
}

fn detail(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

const CA_FLAG: &str = "--redis.tls-ca-file";
const CERT_FLAG: &str = "--redis.tls-cert-file";
const KEY_FLAG: &str = "--redis.tls-key-file";

/// Whether the files that a source names can be used; what they say about the server is seen when connecting.
///
/// # Errors
///
/// [`TlsError`] about the files.
pub fn check(source: &RedisSource) -> Result<(), TlsError> {
    source.tls.as_ref().map_or(Ok(()), |tls| client_config(tls).map(drop))
}

/// The client's side, from the files as they are now.
///
/// # Errors
///
/// [`TlsError`] about the files.
pub(super) fn client_config(tls: &Tls) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match &tls.ca_file {
        Some(path) => Arc::new(read_cas(path)?),
        None => system_cas()?,
    };
    // By name: rustls picks none by itself where several crates have brought their own, or none.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Setup)?;
    let builder = builder.with_root_certificates(roots);
    let Some(ClientCertificate { cert_file, key_file }) = &tls.client else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let chain = read_certificates(CERT_FLAG, cert_file)?;
    let key = PrivateKeyDer::from_pem_slice(&read(KEY_FLAG, key_file)?);
    let key = key.map_err(|error| not_pem(KEY_FLAG, key_file, "private key without a passphrase", &error))?;
    let flags = "--redis.tls-cert-file, --redis.tls-key-file";
    let pair = |error: Error| TlsError::Pair {
        cert: cert_file.clone(),
        key: key_file.clone(),
        flags,
        error: error.into(),
    };
    builder.with_client_auth_cert(chain, key).map(Arc::new).map_err(pair)
}

/// The server's side, for coturn to connect to.
///
/// # Errors
///
/// [`TlsError`] about the files.
pub(super) fn server_config(certificate: &ServerCertificate) -> Result<Arc<ServerConfig>, TlsError> {
    let ServerCertificate { cert_file, key_file } = certificate;
    let (cert_flag, key_flag) = ("--statsdb.tls-cert-file", "--statsdb.tls-key-file");
    let chain = read_certificates(cert_flag, cert_file)?;
    let key = PrivateKeyDer::from_pem_slice(&read(key_flag, key_file)?);
    let key = key.map_err(|error| not_pem(key_flag, key_file, "private key without a passphrase", &error))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Setup)?;
    let flags = "--statsdb.tls-cert-file, --statsdb.tls-key-file";
    let pair = |error: Error| TlsError::Pair {
        cert: cert_file.clone(),
        key: key_file.clone(),
        flags,
        error: error.into(),
    };
    builder.with_no_client_auth().with_single_cert(chain, key).map(Arc::new).map_err(pair)
}

fn read_cas(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(CA_FLAG, path)? {
        roots.add(certificate).map_err(|error| not_pem(CA_FLAG, path, "certificate", &error))?;
    }
    Ok(roots)
}

/// Read once: there are hundreds, and a system seldom changes them.
fn system_cas() -> Result<Arc<RootCertStore>, TlsError> {
    static READ: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = READ.get() {
        return Ok(Arc::clone(roots));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // One that is odd, or of a directory that may not be read, does not spoil the others.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = found.errors.first().map(ToString::to_string).unwrap_or_default();
        return Err(TlsError::NoSystemCas { reason });
    }
    Ok(Arc::clone(READ.get_or_init(|| Arc::new(roots))))
}

fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    // A few kilobytes: not worth a thread.
    std::fs::read(path).map_err(|error| TlsError::Unreadable { flag, path: path.to_owned(), error })
}

fn read_certificates(flag: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(flag, path)?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| not_pem(flag, path, "certificate", &error))?;
    if certificates.is_empty() {
        return Err(TlsError::NotPem {
            flag,
            path: path.to_owned(),
            wanted: "certificate",
            reason: String::new(),
        });
    }
    Ok(certificates)
}

fn not_pem(flag: &'static str, path: &Path, wanted: &'static str, error: &dyn std::error::Error) -> TlsError {
    TlsError::NotPem { flag, path: path.to_owned(), wanted, reason: error.to_string() }
}

impl TlsError {
    /// What an error of the handshake, or of the first words after it, means.
    pub(super) fn from_handshake(error: io::Error, server: &Endpoint, tls: &Tls) -> Self {
        use AlertDescription as Alert;
        let server = server.clone();
        let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) else {
            return Self::Handshake { server, error };
        };
        match cause {
            Error::InvalidCertificate(flaw) => Self::Certificate(BadCertificate::new(flaw, server, tls)),
            Error::InvalidMessage(_) => Self::NotTls { server },
            Error::AlertReceived(Alert::CertificateRequired) => Self::ClientCertificateWanted { server },
            // What TLS 1.2 says instead, and also for many other reasons.
            Error::AlertReceived(Alert::HandshakeFailure) if tls.client.is_none() => {
                Self::ClientCertificateWanted { server }
            }
            Error::AlertReceived(
                alert @ (Alert::AccessDenied
                | Alert::BadCertificate
                | Alert::CertificateExpired
                | Alert::CertificateRevoked
                | Alert::CertificateUnknown
                | Alert::DecryptError
                | Alert::UnknownCA
                | Alert::UnsupportedCertificate),
            ) if tls.client.is_some() => Self::ClientCertificateRefused { server, alert: *alert },
            _ => Self::Handshake { server, error },
        }
    }

    /// What is wrong.
    pub(super) fn problem(&self) -> String {
        match self {
            Self::Certificate(bad) => bad.problem(),
            other => other.to_string(),
        }
    }

    /// The command that makes a certificate that is accepted, where it is the server's that is not.
    pub(super) fn fix(&self) -> Option<String> {
        match self {
            Self::Certificate(bad) => Some(bad.fix()),
            _ => None,
        }
    }
}
