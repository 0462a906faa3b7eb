//! What a server of TLS is set up with, from PEM and from the choices of a web config file.

use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{Error, RootCertStore, ServerConfig, SupportedProtocolVersion, version};

use super::choice::{TlsChoiceError, provider};
use super::clients::{AnyCertificate, NamedClients};
use super::pem::{PemError, PemText, TlsPair, certificates, pair_error, private_key, roots};
use crate::config::web_file::{ClientCertificates, TlsVersion, TrustedClients, WebTls};

/// What a server shows, and what it wants to see.
#[derive(Debug)]
pub struct ServerTls<'a> {
    /// Its certificate.
    pub pair: TlsPair,
    /// What the web config file says of it; without it all is as rustls has it, and clients show nothing.
    pub choices: Option<&'a WebTls>,
    /// The CAs of clients, where those are verified.
    pub client_cas: Option<PemText>,
    /// The protocols that clients may choose from, the best first.
    pub protocols: &'a [&'a str],
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// A certificate or a key.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A name of a cipher suite or a curve.
    #[error(transparent)]
    Choice(#[from] TlsChoiceError),
    /// What was chosen does not go together.
    #[error("TLS cannot be set up: {0}")]
    Setup(Error),
    /// The CAs of clients cannot be used.
    #[error("clients cannot be verified: {0}")]
    Clients(VerifierBuilderError),
}

/// The server's side.
///
/// # Errors
///
/// [`ServerTlsError`].
pub fn server_config(tls: &ServerTls<'_>) -> Result<Arc<ServerConfig>, ServerTlsError> {
    let chain = certificates(&tls.pair.certificate)?;
    let key = private_key(&tls.pair.key)?;
    let (suites, curves) = tls.choices.map_or((&[][..], &[][..]), |choices| {
        (choices.cipher_suites.as_slice(), choices.curve_preferences.as_slice())
    });
    let provider = Arc::new(provider(suites, curves)?);
    let versions = versions(tls.choices);
    let has_suite = provider.cipher_suites.iter().any(|suite| versions.contains(&suite.version()));
    if !has_suite {
        return Err(TlsChoiceError::NoSuite.into());
    }
    let roots = tls.client_cas.as_ref().map(roots).transpose()?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&versions).map_err(ServerTlsError::Setup)?;
    let clients = tls.choices.map(|choices| &choices.clients);
    let builder = match clients.map(|clients| verifier(clients, roots, provider)).transpose()?.flatten() {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let config = builder.with_single_cert(chain, key);
    let mut config = config.map_err(|error| pair_error(&tls.pair, error))?;
    config.ignore_client_order = tls.choices.is_some_and(|choices| choices.prefer_server_cipher_suites);
    config.alpn_protocols = tls.protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

fn versions(choices: Option<&WebTls>) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(TlsVersion::Tls13, &version::TLS13), (TlsVersion::Tls12, &version::TLS12)];
    let is_spoken = |version: TlsVersion| {
        choices.is_none_or(|choices| (choices.min_version..=choices.max_version).contains(&version))
    };
    all.into_iter().filter(|(version, _)| is_spoken(*version)).map(|(_, version)| version).collect()
}

/// `None` where clients are not asked.
fn verifier(
    clients: &ClientCertificates,
    roots: Option<RootCertStore>,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, ServerTlsError> {
    let (trusted, is_needed): (&TrustedClients, bool) = match clients {
        ClientCertificates::NotAsked => return Ok(None),
        ClientCertificates::Asked => {
            return Ok(Some(Arc::new(AnyCertificate { is_needed: false, provider })));
        }
        ClientCertificates::Any => return Ok(Some(Arc::new(AnyCertificate { is_needed: true, provider }))),
        ClientCertificates::VerifiedIfGiven(trusted) => (trusted, false),
        ClientCertificates::Verified(trusted) => (trusted, true),
    };
    let roots = Arc::new(roots.unwrap_or_else(RootCertStore::empty));
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
    let builder = if is_needed { builder } else { builder.allow_unauthenticated() };
    let verifier = builder.build().map_err(ServerTlsError::Clients)?;
    if trusted.names.is_empty() {
        return Ok(Some(verifier));
    }
    Ok(Some(Arc::new(NamedClients::new(verifier, &trusted.names))))
}
