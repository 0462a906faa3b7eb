//! TLS for a Redis: certificates from files or from the system, and what went wrong with what to change. Dials
//! nothing. A certificate that cannot be verified is never accepted.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::{AlertDescription, ClientConfig, Error};

use super::certificate::BadCertificate;
use crate::config::{ClientCertificate, Endpoint, RedisSource, Tls};
use crate::net::tls::{
    PemError, PemText, TlsPair, certificates, pair_error, private_key, roots, system_roots,
};

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file of certificates or a key.
    #[error(transparent)]
    Pem(#[from] PemError),
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
    let cas = match &tls.ca_file {
        Some(path) => Arc::new(roots(&read(CA_FLAG, path)?)?),
        None => system_roots().map_err(|reason| TlsError::NoSystemCas { reason })?,
    };
    // By name: rustls picks none by itself where several crates have brought their own, or none.
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Setup)?;
    let builder = builder.with_root_certificates(cas);
    let Some(ClientCertificate { cert_file, key_file }) = &tls.client else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let pair = TlsPair { certificate: read(CERT_FLAG, cert_file)?, key: read(KEY_FLAG, key_file)? };
    let (chain, key) = (certificates(&pair.certificate)?, private_key(&pair.key)?);
    let config = builder.with_client_auth_cert(chain, key);
    config.map(Arc::new).map_err(|error| pair_error(&pair, error).into())
}

/// A few kilobytes: not worth a thread.
fn read(flag: &'static str, path: &Path) -> Result<PemText, PemError> {
    PemText::read(flag, path, |path| std::fs::read(path))
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
