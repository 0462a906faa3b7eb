//! The keys of a web config file as they are written, and what goes together. A key that is not here is an error.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_saphyr::options::Options;

use super::{
    ClientCertificates, PemSource, RateLimit, TlsVersion, TrustedClients, WebFile, WebFileError, WebHeader,
    WebTls,
};
use crate::config::Secret;

/// More of anything is no web config file.
const MOST_EVENTS: usize = 20_000;

const CLIENT_AUTH_TYPES: &str = "NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven and \
                                 RequireAndVerifyClientCert";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileKeys {
    tls_server_config: Option<TlsKeys>,
    http_server_config: Option<HttpKeys>,
    basic_auth_users: Option<BTreeMap<String, Option<Secret>>>,
    rate_limit: Option<RateKeys>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TlsKeys {
    cert: Option<Secret>,
    key: Option<Secret>,
    client_ca: Option<Secret>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_ca_file: Option<PathBuf>,
    client_auth_type: Option<String>,
    client_allowed_sans: Option<Vec<String>>,
    min_version: Option<String>,
    max_version: Option<String>,
    cipher_suites: Option<Vec<String>>,
    curve_preferences: Option<Vec<String>>,
    prefer_server_cipher_suites: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HttpKeys {
    http2: Option<bool>,
    headers: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RateKeys {
    interval: Option<String>,
    burst: Option<u32>,
}

pub(super) fn read(text: &str) -> Result<FileKeys, WebFileError> {
    let mut budget = serde_saphyr::Budget::default();
    budget.max_events = MOST_EVENTS;
    budget.max_nodes = MOST_EVENTS;
    budget.max_aliases = 64;
    budget.max_anchors = 64;
    budget.max_depth = 16;
    budget.max_documents = 1;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.with_snippet = false;
    // A file of comments only has no value, and asks for nothing.
    let keys: Result<Option<FileKeys>, _> = serde_saphyr::from_str_with_options(text, options);
    let one_line = |reason: String| reason.split_whitespace().collect::<Vec<_>>().join(" ");
    keys.map(Option::unwrap_or_default)
        .map_err(|error| WebFileError::Yaml { reason: one_line(error.to_string()) })
}

impl FileKeys {
    pub(super) fn checked(self) -> Result<WebFile, WebFileError> {
        let Self { tls_server_config, http_server_config, basic_auth_users, rate_limit } = self;
        let HttpKeys { http2, headers } = http_server_config.unwrap_or_default();
        let header = |(name, value): (String, String)| {
            let header = WebHeader::named(&name)?;
            header.check(&value).map(|()| (header, value))
        };
        // An empty value asks for no header.
        let headers = headers.unwrap_or_default().into_iter().filter(|(_, value)| !value.is_empty());
        let users = basic_auth_users.unwrap_or_default();
        if let Some(name) = users.keys().find(|name| name.contains(|c: char| c == ':' || c.is_control())) {
            return Err(WebFileError::UserName { name: name.clone() });
        }
        let with_hash = |(name, hash): (String, Option<Secret>)| match hash {
            Some(hash) => Ok((name, hash)),
            None => Err(WebFileError::NoHash { name }),
        };
        let users = users.into_iter().map(with_hash).collect::<Result<_, _>>()?;
        Ok(WebFile {
            tls: tls_server_config.map(TlsKeys::checked).transpose()?.flatten(),
            http2: http2.unwrap_or(true),
            headers: headers.map(header).collect::<Result<_, _>>()?,
            users,
            rate_limit: rate_limit.unwrap_or_default().checked()?,
        })
    }
}

impl TlsKeys {
    /// `None` where nothing is set.
    fn checked(self) -> Result<Option<WebTls>, WebFileError> {
        let other = self.given();
        let certificate = source(self.cert, self.cert_file, "cert", "cert_file")?;
        let key = source(self.key, self.key_file, "key", "key_file")?;
        let cas = source(self.client_ca, self.client_ca_file, "client_ca", "client_ca_file")?;
        let (certificate, key) = match (certificate, key, other) {
            (Some(certificate), Some(key), _) => (certificate, key),
            (Some(_), None, _) => return Err(WebFileError::Half { missing: "key", file: "key_file" }),
            (None, Some(_), _) => return Err(WebFileError::Half { missing: "cert", file: "cert_file" }),
            (None, None, Some(given)) => return Err(WebFileError::NoCertificate { given }),
            (None, None, None) => return Ok(None),
        };
        let names = self.client_allowed_sans.unwrap_or_default();
        let clients = clients(self.client_auth_type.as_deref().unwrap_or_default(), cas, names)?;
        let min_version = version("min_version", self.min_version)?.unwrap_or(TlsVersion::Tls12);
        let max_version = version("max_version", self.max_version)?.unwrap_or(TlsVersion::Tls13);
        if min_version > max_version {
            return Err(WebFileError::NoVersion);
        }
        Ok(Some(WebTls {
            certificate,
            key,
            clients,
            min_version,
            max_version,
            cipher_suites: self.cipher_suites.unwrap_or_default(),
            curve_preferences: self.curve_preferences.unwrap_or_default(),
            prefer_server_cipher_suites: self.prefer_server_cipher_suites.unwrap_or(true),
        }))
    }

    /// A key beside those of the certificate.
    fn given(&self) -> Option<&'static str> {
        let keys = [
            ("client_ca", self.client_ca.is_some()),
            ("client_ca_file", self.client_ca_file.is_some()),
            ("client_auth_type", self.client_auth_type.is_some()),
            ("client_allowed_sans", self.client_allowed_sans.is_some()),
            ("min_version", self.min_version.is_some()),
            ("max_version", self.max_version.is_some()),
            ("cipher_suites", self.cipher_suites.is_some()),
            ("curve_preferences", self.curve_preferences.is_some()),
        ];
        keys.into_iter().find(|(_, is_given)| *is_given).map(|(key, _)| key)
    }
}

/// An empty text or path counts as not given.
fn source(
    text: Option<Secret>,
    file: Option<PathBuf>,
    inline_key: &'static str,
    file_key: &'static str,
) -> Result<Option<PemSource>, WebFileError> {
    let text = text.filter(|text| !text.expose().is_empty());
    let file = file.filter(|path| !path.as_os_str().is_empty());
    match (text, file) {
        (Some(_), Some(_)) => Err(WebFileError::Twice { inline: inline_key, file: file_key }),
        (Some(text), None) => Ok(Some(PemSource::Inline { at: inline_key, text })),
        (None, file) => Ok(file.map(PemSource::File)),
    }
}

fn clients(
    kind: &str,
    cas: Option<PemSource>,
    names: Vec<String>,
) -> Result<ClientCertificates, WebFileError> {
    let (kind, unverified) = match kind {
        "" | "NoClientCert" => ("NoClientCert", Some(ClientCertificates::NotAsked)),
        "RequestClientCert" => ("RequestClientCert", Some(ClientCertificates::Asked)),
        // `RequireClientCert` is an older name.
        "RequireAnyClientCert" | "RequireClientCert" => {
            ("RequireAnyClientCert", Some(ClientCertificates::Any))
        }
        "VerifyClientCertIfGiven" => ("VerifyClientCertIfGiven", None),
        "RequireAndVerifyClientCert" => ("RequireAndVerifyClientCert", None),
        other => {
            let (key, accepted) = ("client_auth_type", CLIENT_AUTH_TYPES);
            return Err(WebFileError::Choice { key, value: other.to_owned(), accepted });
        }
    };
    match (unverified, cas) {
        (Some(_), Some(_)) => Err(WebFileError::CasUnused { kind }),
        (Some(_), None) if !names.is_empty() => Err(WebFileError::NamesUnverified),
        (Some(clients), None) => Ok(clients),
        (None, None) => Err(WebFileError::NoCas { kind }),
        (None, Some(cas)) if kind == "VerifyClientCertIfGiven" => {
            Ok(ClientCertificates::VerifiedIfGiven(TrustedClients { cas, names }))
        }
        (None, Some(cas)) => Ok(ClientCertificates::Verified(TrustedClients { cas, names })),
    }
}

fn version(key: &'static str, value: Option<String>) -> Result<Option<TlsVersion>, WebFileError> {
    match value.as_deref() {
        None | Some("") => Ok(None),
        Some("TLS12") => Ok(Some(TlsVersion::Tls12)),
        Some("TLS13") => Ok(Some(TlsVersion::Tls13)),
        Some("TLS10" | "TLS11" | "SSL30") => {
            Err(WebFileError::OldVersion { key, value: value.unwrap_or_default() })
        }
        Some(other) => {
            Err(WebFileError::Choice { key, value: other.to_owned(), accepted: "TLS12 and TLS13" })
        }
    }
}

impl RateKeys {
    /// `None` where there is no interval: then there is no limit, whatever the burst.
    fn checked(self) -> Result<Option<RateLimit>, WebFileError> {
        let typed = self.interval.unwrap_or_default();
        // Go writes no unit for nothing.
        if matches!(typed.trim(), "" | "0") {
            return Ok(None);
        }
        let interval = crate::config::value::duration(&typed);
        let interval = interval.map_err(|_| WebFileError::Interval { value: typed })?;
        match self.burst.unwrap_or(0) {
            _ if interval.is_zero() => Ok(None),
            0 => Err(WebFileError::NoBurst),
            burst => Ok(Some(RateLimit { interval, burst })),
        }
    }
}
