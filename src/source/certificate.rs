//! The certificate of a server that is not accepted: what is wrong with it, and what mends it.

use std::fmt;
use std::net::IpAddr;

use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use crate::clock::Timestamp;
use crate::config::{Endpoint, Tls};
use crate::doctor::shell_word;

/// A certificate with its flaw.
#[derive(Debug)]
pub struct BadCertificate {
    server: Endpoint,
    flaw: Flaw,
    /// The CA's file, as far as it is known.
    ca_file: Option<String>,
}

/// What is wrong with a certificate.
#[derive(Debug)]
enum Flaw {
    /// No CA that counts has signed it.
    Untrusted,
    /// It is that of a CA.
    Authority,
    /// It is of version 1 (or 2) of X.509.
    Version,
    Expired(Option<UnixTime>),
    NotValidYet(Option<UnixTime>),
    /// It is for these names, and the one that we connect to is not among them.
    OtherName(Vec<String>),
    /// Its extended key usage leaves out servers.
    Purpose,
    Other(CertificateError),
}

impl BadCertificate {
    pub(super) fn new(flaw: &CertificateError, server: Endpoint, tls: &Tls) -> Self {
        use CertificateError as Error;
        let flaw = match flaw {
            // A CA of the right name with another key makes a bad signature.
            Error::UnknownIssuer | Error::BadSignature => Flaw::Untrusted,
            Error::Expired => Flaw::Expired(None),
            Error::ExpiredContext { not_after, .. } => Flaw::Expired(Some(*not_after)),
            Error::NotValidYet => Flaw::NotValidYet(None),
            Error::NotValidYetContext { not_before, .. } => Flaw::NotValidYet(Some(*not_before)),
            Error::NotValidForName => Flaw::OtherName(vec!["others".to_owned()]),
            Error::NotValidForNameContext { presented, .. } => Flaw::OtherName(presented.clone()),
            Error::InvalidPurpose | Error::InvalidPurposeContext { .. } => Flaw::Purpose,
            other => Flaw::of_webpki(other).unwrap_or_else(|| Flaw::Other(other.clone())),
        };
        let ca_file = tls.ca_file.as_ref().map(|path| path.display().to_string());
        Self { server, flaw, ca_file }
    }

    /// What is wrong with which certificate.
    pub(super) fn problem(&self) -> String {
        let Self { server, flaw, ca_file } = self;
        let its = format!("the certificate of {server}");
        let by = |time: &Option<UnixTime>, word: &str| time.map(|time| format!("{word} {}", date(time)));
        match flaw {
            Flaw::Untrusted => match ca_file {
                Some(path) => format!(
                    "{its} is not signed by a CA in {path} (--redis.tls-ca-file); is it the right file, and does the \
                     server send its whole chain?"
                ),
                None => format!("{its} is not signed by a CA that this system trusts"),
            },
            Flaw::Authority => format!(
                "{its} is that of a CA (basicConstraints CA:TRUE, which `openssl req -x509` sets), and a CA's is never \
                 accepted as a server's own"
            ),
            Flaw::Version => format!(
                "{its} is of X.509 version 1, which cannot say whom it is for (`openssl x509 -req` without -extfile \
                 makes such); it must be of version 3 with a subjectAltName"
            ),
            Flaw::Expired(at) => format!(
                "{its}, or of a CA that it sends with it, has expired{}; renew it",
                by(at, " on").unwrap_or_default()
            ),
            Flaw::NotValidYet(from) => format!(
                "{its}, or of a CA that it sends with it, is not valid yet{}; check the clocks of both hosts",
                by(from, ", but from").unwrap_or_default()
            ),
            Flaw::OtherName(names) if names.is_empty() => {
                format!("{its} is not for that name, but for no name at all: it has no subjectAltName")
            }
            Flaw::OtherName(names) => format!(
                "{its} is not for that name, but for {}; connect by a name that its subjectAltName has, or have it \
                 issued for this one",
                names.join(", ")
            ),
            Flaw::Purpose => {
                format!("{its} is not for servers: its extendedKeyUsage does not have serverAuth")
            }
            Flaw::Other(error) => format!("{its} is not accepted: {error}"),
        }
    }

    /// What to do: the flag for the CA, where it is only not known; else the command that makes a certificate that is
    /// accepted, with what it needs and what to do with it as a comment.
    pub(super) fn fix(&self) -> String {
        let Self { server: server @ Endpoint { host, .. }, ca_file, flaw } = self;
        if let Flaw::Untrusted = flaw {
            return format!(
                "--redis.tls-ca-file FILE with the certificate of the CA that has signed that of {server}; on the host of \
                 Redis it is the file of tls-ca-cert-file in redis.conf, as a rule"
            );
        }
        let kind = if host.parse::<IpAddr>().is_ok() { "IP" } else { "DNS" };
        let ca = ca_file.as_deref().unwrap_or("ca.crt");
        // Without basicConstraints it is no CA's; with an extension it is of version 3.
        format!(
            "openssl req -new -newkey rsa:2048 -nodes -subj /CN={name} -keyout redis.key -out redis.csr && \
             echo subjectAltName={kind}:{name} > redis.ext && \
             openssl x509 -req -in redis.csr -CA {ca} -CAkey ca.key -set_serial 0x$(openssl rand -hex 16) -days 825 \
             -extfile redis.ext -out redis.crt # ca.key: the key of that CA; then tls-cert-file redis.crt, \
             tls-key-file redis.key in redis.conf",
            name = shell_word(host),
            ca = shell_word(ca),
        )
    }
}

impl Flaw {
    /// Flaws that rustls has no word of its own for.
    fn of_webpki(flaw: &CertificateError) -> Option<Self> {
        let CertificateError::Other(other) = flaw else { return None };
        match other.0.downcast_ref::<webpki::Error>()? {
            webpki::Error::CaUsedAsEndEntity => Some(Self::Authority),
            webpki::Error::UnsupportedCertVersion => Some(Self::Version),
            _ => None,
        }
    }
}

fn date(time: UnixTime) -> String {
    Timestamp::from_millis(time.as_secs().saturating_mul(1000)).rfc3339().replace(".000Z", "Z")
}

impl fmt::Display for BadCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joint = if matches!(self.flaw, Flaw::Untrusted) { "" } else { "a right one is made by: " };
        write!(f, "{}; {joint}{}", self.problem(), self.fix())
    }
}

impl std::error::Error for BadCertificate {}
