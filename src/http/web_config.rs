//! What the web config file asks for, ready to be used: TLS, logins, headers, the rate of requests.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};
use rustls::ServerConfig;

use super::logins::{LoginHashError, Logins};
use super::rate::RequestRate;
use super::stream::HTTP2;
use crate::config::web_file::{ClientCertificates, PemSource, TlsVersion, WebFile, WebFileError, WebTls};
use crate::net::tls::{OwnCertificate, PemError, PemText, ServerTls, ServerTlsError, TlsPair, server_config};
use crate::reload::{FileReader, Reloaded, folder_of};

const FLAG: &str = "--web.config.file";

/// What the web config file asks for.
#[derive(Debug)]
pub struct WebConfig {
    pub(super) tls: Option<Arc<ServerConfig>>,
    certificate: Option<OwnCertificate>,
    pub(super) logins: Option<Logins>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) rate: Option<Arc<RequestRate>>,
    /// How strict it is with clients.
    strictness: ClientStrictness,
}

/// What a client must have to be let in.
#[derive(Clone, Copy, Debug, Default)]
struct ClientStrictness {
    /// [`ClientCertificates::strictness`].
    certificates: u8,
    /// The certificate must be for one of certain names.
    has_names: bool,
    min_version: Option<TlsVersion>,
}

impl ClientStrictness {
    const fn of(tls: &WebTls) -> Self {
        Self {
            certificates: tls.clients.strictness(),
            has_names: tls.clients.has_names(),
            min_version: Some(tls.min_version),
        }
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{FLAG}: {}: {problem}", path.display())]
pub struct WebConfigError {
    path: PathBuf,
    problem: Box<WebConfigProblem>,
}

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
enum WebConfigProblem {
    #[error("cannot read it: {0}; check the path and the rights of the user that runs the exporter")]
    Unreadable(io::Error),
    #[error("{0}")]
    File(WebFileError),
    #[error("{0}")]
    Tls(#[from] ServerTlsError),
    #[error("{0}")]
    Pem(#[from] PemError),
    #[error("{0}")]
    Login(#[from] LoginHashError),
    #[error(
        "{what}: that makes the running exporter less safe, and may be half of a file; restart the exporter if it is meant"
    )]
    Laxer { what: &'static str },
}

impl WebConfig {
    /// Reads the file, and the certificates that it names; they can be read again.
    ///
    /// # Errors
    ///
    /// [`WebConfigError`].
    pub fn load(path: &Path) -> Result<Reloaded<Self>, WebConfigError> {
        let path = path.to_owned();
        Reloaded::new(FLAG, move |files, used| {
            read(&path, files, used)
                .map_err(|problem| WebConfigError { path: path.clone(), problem: problem.into() })
        })
    }

    /// The certificate; `None` without TLS, or where it does not say when it is valid.
    pub const fn certificate(&self) -> Option<&OwnCertificate> {
        self.certificate.as_ref()
    }

    /// The certificate that a server with this file would show, without its key.
    ///
    /// # Errors
    ///
    /// [`WebConfigError`].
    pub fn certificate_of(path: &Path) -> Result<Option<OwnCertificate>, WebConfigError> {
        let mut files = FileReader::default();
        let found = parse(path, &mut files).and_then(|file| match &file.tls {
            Some(tls) => {
                let pem = pem(path, &mut files, &tls.certificate, CERT_FILE)?;
                Ok(OwnCertificate::of(place(path, &tls.certificate), &pem)?)
            }
            None => Ok(None),
        });
        found.map_err(|problem| WebConfigError { path: path.to_owned(), problem: problem.into() })
    }

    /// Whether connections are of TLS.
    pub(super) const fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Nothing that was asked for is given up while it is in use.
    fn no_laxer_than(self, used: &Self) -> Result<Self, WebConfigProblem> {
        let what = if self.speaks_tls() != used.speaks_tls() {
            "TLS is switched on or off"
        } else if self.strictness.certificates < used.strictness.certificates {
            "client_auth_type lets more clients in"
        } else if used.strictness.has_names && !self.strictness.has_names {
            "client_allowed_sans has no names any more"
        } else if self.strictness.min_version < used.strictness.min_version {
            "min_version lets older versions of TLS in"
        } else if self.logins.is_none() && used.logins.is_some() {
            "basic_auth_users has no users any more"
        } else if self.rate.is_none() && used.rate.is_some() {
            "rate_limit is not there any more"
        } else {
            return Ok(self);
        };
        Err(WebConfigProblem::Laxer { what })
    }
}

fn read(
    path: &Path,
    files: &mut FileReader,
    used: Option<&WebConfig>,
) -> Result<WebConfig, WebConfigProblem> {
    let WebFile { tls, http2, headers, users, rate_limit } = parse(path, files)?;
    let strictness = tls.as_ref().map(ClientStrictness::of).unwrap_or_default();
    let (tls, certificate) = match tls.map(|tls| read_tls(path, files, &tls, http2)).transpose()? {
        Some((tls, certificate)) => (Some(tls), certificate),
        None => (None, None),
    };
    let logins_before = used.and_then(|used| used.logins.as_ref());
    let logins = (!users.is_empty()).then(|| Logins::new(users, logins_before)).transpose()?;
    let header = |(header, value): (crate::config::web_file::WebHeader, String)| {
        let name = HeaderName::from_bytes(header.as_str().as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(&value).ok()?))
    };
    let same_rate = used.and_then(|used| used.rate.clone()).filter(|rate| Some(rate.limit) == rate_limit);
    let config = WebConfig {
        tls,
        certificate,
        logins,
        headers: headers.into_iter().filter_map(header).collect(),
        rate: same_rate.or_else(|| rate_limit.map(RequestRate::new).map(Arc::new)),
        strictness,
    };
    match used {
        Some(used) => config.no_laxer_than(used),
        None => Ok(config),
    }
}

fn parse(path: &Path, files: &mut FileReader) -> Result<WebFile, WebConfigProblem> {
    let text = files.read(path).map_err(WebConfigProblem::Unreadable)?;
    WebFile::parse(&text).map_err(WebConfigProblem::File)
}

/// The key of a web config file that names the certificate.
const CERT_FILE: &str = "cert_file";

/// What stands in the web config file `path`, or in the file that it names.
fn pem(
    path: &Path,
    files: &mut FileReader,
    source: &PemSource,
    named_by: &'static str,
) -> Result<PemText, PemError> {
    match source {
        PemSource::File(_) => PemText::read(named_by, &place(path, source), |path| files.read(path)),
        PemSource::Inline { at, text } => Ok(PemText::inline(at, text.expose())),
    }
}

/// The file that it stands in.
fn place(path: &Path, source: &PemSource) -> PathBuf {
    match source {
        PemSource::File(named) => folder_of(path).join(named),
        PemSource::Inline { .. } => path.to_owned(),
    }
}

fn read_tls(
    path: &Path,
    files: &mut FileReader,
    tls: &WebTls,
    http2: bool,
) -> Result<(Arc<ServerConfig>, Option<OwnCertificate>), WebConfigProblem> {
    let mut text = |source: &PemSource, named_by: &'static str| pem(path, files, source, named_by);
    // All of them, also where one cannot be read: each may become readable.
    let (certificate, key) = (text(&tls.certificate, CERT_FILE), text(&tls.key, "key_file"));
    let client_cas = match &tls.clients {
        ClientCertificates::VerifiedIfGiven(trusted) | ClientCertificates::Verified(trusted) => {
            Some(text(&trusted.cas, "client_ca_file"))
        }
        _ => None,
    };
    let pair = TlsPair { certificate: certificate?, key: key? };
    let own = OwnCertificate::of(place(path, &tls.certificate), &pair.certificate)?;
    let protocols: &[&str] = if http2 { &[HTTP2, "http/1.1"] } else { &["http/1.1"] };
    let tls = ServerTls { pair, choices: Some(tls), client_cas: client_cas.transpose()?, protocols };
    Ok((server_config(&tls)?, own))
}
