//! What goes wrong with a web hook, with what to do. Paths and logins of URLs may be secrets, so that only hosts are named.

use std::io;
use std::time::Duration;

use hyper::StatusCode;
use rustls::CertificateError;

use crate::net::tls::PemError;
use crate::sinks::SinkError;

/// Why events were not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// A URL that is none.
    #[error("the URL of a web hook (--events.url) cannot be used: {what}")]
    Url {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A line that says that it is base64.
    #[error("line {line} of --events.secret-file begins with whsec_, but what follows is not base64")]
    Secret {
        /// The number of the line.
        line: usize,
    },
    /// A file of CAs.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// No CA that could vouch for any receiver.
    #[error(
        "this system has no CA certificates that can be read; name the CA of {receiver} with --events.tls-ca-file"
    )]
    NoSystemCas {
        /// Host and port.
        receiver: String,
    },
    /// TLS that cannot be begun.
    #[error("TLS to {receiver} cannot be set up: {problem}")]
    Setup {
        /// Host and port.
        receiver: String,
        /// What is wrong.
        problem: String,
    },
    /// No connection.
    #[error("cannot connect to {receiver}: {error}; is the receiver running, and is --events.url right?")]
    Connect {
        /// Host and port.
        receiver: String,
        /// What the system says.
        error: io::Error,
    },
    /// No connection within the time.
    #[error("{receiver} does not accept a connection within {} s; is it up, and does a firewall drop packets?", .after.as_secs())]
    ConnectTimeout {
        /// Host and port.
        receiver: String,
        /// The time that it had.
        after: Duration,
    },
    /// A certificate that is not accepted.
    #[error("the certificate of {receiver} is not accepted: {flaw}; {}", advice(.flaw))]
    Certificate {
        /// Host and port.
        receiver: String,
        /// What is wrong with it.
        flaw: CertificateError,
    },
    /// Any other end of the handshake.
    #[error("the TLS handshake with {receiver} failed: {error}; is this a port for https?")]
    Handshake {
        /// Host and port.
        receiver: String,
        /// What ended it.
        error: io::Error,
    },
    /// No answer within the time.
    #[error("{receiver} did not answer within {} s; it should answer first and work on events afterwards", .after.as_secs())]
    Timeout {
        /// Host and port.
        receiver: String,
        /// The time that it had.
        after: Duration,
    },
    /// A connection that broke, or bytes that are no HTTP.
    #[error(
        "{receiver} gave no answer that can be read: {problem}; is it an HTTP server, and did it restart?"
    )]
    Broken {
        /// Host and port.
        receiver: String,
        /// What the client says.
        problem: String,
    },
    /// An answer that is not of success.
    #[error("{receiver} answered {status}{}", meaning(*.status))]
    Status {
        /// Host and port.
        receiver: String,
        /// Its answer.
        status: StatusCode,
        /// How long it asks to be left alone.
        wait: Duration,
    },
    /// An answer that says that the event itself is not wanted.
    #[error(
        "{receiver} refuses the event of number {number} ({status}), {times} times in a row; at {most} the event is given \
         up. See in the receiver's log what is wrong with it"
    )]
    Refused {
        /// Host and port.
        receiver: String,
        /// Its answer.
        status: StatusCode,
        /// The number of the event.
        number: u64,
        /// How often.
        times: u32,
        /// How often is the last time.
        most: u32,
        /// How long it asks to be left alone.
        wait: Duration,
    },
}

impl SinkError for WebhookError {
    fn wait(&self) -> Duration {
        match self {
            Self::Status { wait, .. } | Self::Refused { wait, .. } => *wait,
            _ => Duration::ZERO,
        }
    }
}

fn advice(flaw: &CertificateError) -> &'static str {
    use CertificateError as Error;
    match flaw {
        Error::UnknownIssuer | Error::BadSignature => {
            "name the CA that signed it with --events.tls-ca-file, and let the receiver send its whole chain"
        }
        Error::Expired | Error::ExpiredContext { .. } => "renew it",
        Error::NotValidYet | Error::NotValidYetContext { .. } => "check the clocks of both hosts",
        Error::NotValidForName | Error::NotValidForNameContext { .. } => {
            "use a name that it is for in --events.url, or have it issued for this one"
        }
        _ => {
            "let the receiver show one that is for servers, valid now and signed by a CA that is trusted here"
        }
    }
}

/// What is said of an answer beside its number.
fn meaning(status: StatusCode) -> &'static str {
    match status.as_u16() {
        300..=399 => "; redirects are not followed: give --events.url the address that it points to",
        401 | 403 => {
            "; is the login in --events.url right, or the secret in --events.secret-file the receiver's, and is its clock?"
        }
        404 | 405 => "; is the path in --events.url right?",
        410 => "; it wants no events any more: remove its --events.url, or set the receiver up again",
        429 => "; it gets more than it wants: a larger --events.batch-size makes fewer requests",
        500..=599 => "; see the receiver's log",
        _ => "; see the receiver's log and what --events.url should be",
    }
}
