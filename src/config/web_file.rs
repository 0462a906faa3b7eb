//! The web config file that all exporters share (`exporter-toolkit`), from its text: what it may say, and what goes together.
//!
//! Opens no file: paths stay as they are written. Names of cipher suites and curves are those of whoever speaks TLS, who
//! knows which there are.

mod headers;
mod yaml;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use headers::WebHeader;

use super::Secret;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebFile {
    /// TLS; without it connections are plain.
    pub tls: Option<WebTls>,
    /// Offer HTTP/2 where TLS is spoken.
    pub http2: bool,
    /// Headers of every answer.
    pub headers: Vec<(WebHeader, String)>,
    /// Users and the bcrypt hashes of their passwords; without any, nobody has to say who they are.
    pub users: BTreeMap<String, Secret>,
    /// How many requests are answered.
    pub rate_limit: Option<RateLimit>,
}

/// How TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebTls {
    /// The certificate, and those between it and its CA.
    pub certificate: PemSource,
    /// Its key.
    pub key: PemSource,
    /// What clients must show.
    pub clients: ClientCertificates,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// The newest version that is spoken; never older than the oldest.
    pub max_version: TlsVersion,
    /// Cipher suites of TLS 1.2 by the names of Go; empty for all.
    pub cipher_suites: Vec<String>,
    /// Curves by the names of Go, the best first; empty for all.
    pub curve_preferences: Vec<String>,
    /// Choose the cipher suite by our order and not by the client's.
    pub prefer_server_cipher_suites: bool,
}

/// Where PEM is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PemSource {
    /// In a file, relative to the folder of the web config file.
    File(PathBuf),
    /// In the web config file itself.
    Inline {
        /// The key that it stands at.
        at: &'static str,
        /// The PEM.
        text: Secret,
    },
}

/// What clients must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Nothing: they are not asked.
    NotAsked,
    /// They are asked for a certificate, which nobody looks at.
    Asked,
    /// They need a certificate, whoever signed it.
    Any,
    /// A certificate, if they have one, must be signed by a CA of these.
    VerifiedIfGiven(TrustedClients),
    /// They need a certificate that a CA of these has signed.
    Verified(TrustedClients),
}

/// Whose certificates are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedClients {
    /// The CAs.
    pub cas: PemSource,
    /// One of these must be among the certificate's alternative names; empty for whatever names.
    pub names: Vec<String>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

/// How many requests are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// One request may come each time this has passed.
    pub interval: Duration,
    /// So many may come at once after a pause; at least 1.
    pub burst: u32,
}

/// Why the text is not a web config file that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebFileError {
    /// Not UTF-8.
    #[error("it is not UTF-8 text")]
    NotText,
    /// Not YAML, or not of this form.
    #[error("{reason}")]
    Yaml {
        /// What, and where.
        reason: String,
    },
    /// A certificate, a key or CAs given twice.
    #[error("tls_server_config has both {inline} and {file}; leave one of them out")]
    Twice {
        /// The key with the PEM.
        inline: &'static str,
        /// The key with the file.
        file: &'static str,
    },
    /// A key without its certificate or the other way round.
    #[error(
        "tls_server_config has no {missing}; a certificate and its key come together: give {missing} or {file}"
    )]
    Half {
        /// The key that is not there.
        missing: &'static str,
        /// The key that could be there in its place.
        file: &'static str,
    },
    /// Something of TLS without a certificate.
    #[error(
        "tls_server_config has {given}, but no certificate; give cert_file and key_file, or leave it out"
    )]
    NoCertificate {
        /// A key that is there.
        given: &'static str,
    },
    /// A word that is none of those that are known.
    #[error("{key}: {value:?} is not accepted; it must be one of {accepted}")]
    Choice {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What is accepted.
        accepted: &'static str,
    },
    /// A version that rustls does not speak.
    #[error("{key}: {value} is not supported, for it is not safe; write TLS12 or TLS13")]
    OldVersion {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// A newest version before the oldest.
    #[error("max_version is older than min_version: no client could connect")]
    NoVersion,
    /// CAs that nobody would ask.
    #[error(
        "tls_server_config has CAs for clients, but client_auth_type {kind} does not use them; write \
         RequireAndVerifyClientCert, or leave client_ca_file out"
    )]
    CasUnused {
        /// The type.
        kind: &'static str,
    },
    /// Certificates of clients that nothing could verify.
    #[error("client_auth_type {kind} needs the CA of the clients; give client_ca_file")]
    NoCas {
        /// The type.
        kind: &'static str,
    },
    /// Names that would be those of unverified certificates.
    #[error(
        "client_allowed_sans needs certificates that are verified; write client_auth_type: RequireAndVerifyClientCert \
         and client_ca_file"
    )]
    NamesUnverified,
    /// A header that is not among those that may be set.
    #[error("http_server_config: header {name:?} cannot be set; those that can are {}", WebHeader::NAMES)]
    Header {
        /// Its name.
        name: String,
    },
    /// A value that a header cannot have.
    #[error("http_server_config: {name}: {value:?} is not accepted; {accepted}")]
    HeaderValue {
        /// The header.
        name: &'static str,
        /// The value.
        value: String,
        /// What would be.
        accepted: &'static str,
    },
    /// A user name that no client can send.
    #[error("basic_auth_users: {name:?} cannot be a user: a name has no colon and no control characters")]
    UserName {
        /// The name.
        name: String,
    },
    /// A user without a hash.
    #[error("basic_auth_users: {name:?} has no hash; htpasswd -nBC 10 {name:?} makes one")]
    NoHash {
        /// The user.
        name: String,
    },
    /// Not a duration.
    #[error(
        "rate_limit: interval: {value:?} is not a duration; write a number with its unit, for example 1s or 100ms"
    )]
    Interval {
        /// The value.
        value: String,
    },
    /// A limit that lets nothing through.
    #[error("rate_limit: burst must be at least 1 where an interval is set, or no request would be answered")]
    NoBurst,
}

impl WebFile {
    /// What `text` says.
    ///
    /// # Errors
    ///
    /// [`WebFileError`].
    pub fn parse(text: &[u8]) -> Result<Self, WebFileError> {
        let text = std::str::from_utf8(text).map_err(|_| WebFileError::NotText)?;
        yaml::read(text)?.checked()
    }
}

impl ClientCertificates {
    /// How strict it is: a higher number lets fewer in.
    pub const fn strictness(&self) -> u8 {
        match self {
            Self::NotAsked => 0,
            Self::Asked => 1,
            Self::VerifiedIfGiven(_) => 2,
            Self::Any => 3,
            Self::Verified(_) => 4,
        }
    }

    /// Whether a certificate must be for one of certain names.
    pub const fn has_names(&self) -> bool {
        match self {
            Self::NotAsked | Self::Asked | Self::Any => false,
            Self::VerifiedIfGiven(trusted) | Self::Verified(trusted) => !trusted.names.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests;
