//! The other side of the health paths: asks the web server of an exporter, as a supervisor without an HTTP client does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::HealthCheck;
use crate::net::tls::LaxVerifier;
use crate::net::{ByteStream, connect_tcp};

/// What is read of an answer; those of the health paths are a line.
const MOST_READ: usize = 64 * 1024;

/// Why an exporter is not healthy, or nobody can tell.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthError {
    /// No connection.
    #[error(
        "cannot connect to {check}: {error}; is the exporter running, and is --url that of its --web.listen-address?"
    )]
    Connect {
        /// What was asked.
        check: HealthCheck,
        /// What the system says.
        error: io::Error,
    },
    /// No TLS.
    #[error(
        "no TLS with {check}: {error}; does the exporter's --web.config.file have tls_server_config, and lets it in who \
         has no client certificate (VerifyClientCertIfGiven)?"
    )]
    Handshake {
        /// What was asked.
        check: HealthCheck,
        /// What ended it.
        error: io::Error,
    },
    /// Nothing that is HTTP.
    #[error(
        "{check} gave no answer that can be read: {problem}; is it the exporter's web server, and {advice}?"
    )]
    Broken {
        /// What was asked.
        check: HealthCheck,
        /// What is wrong.
        problem: String,
        /// What may be wrong with the URL.
        advice: &'static str,
    },
    /// No answer in time.
    #[error("no answer of {check} within {}; it hangs, or the host is too busy (--timeout)", seconds(*after))]
    Timeout {
        /// What was asked.
        check: HealthCheck,
        /// The time that it had.
        after: Duration,
    },
    /// A login is wanted.
    #[error("{check} wants a login; let the health paths be asked without one: --web.open-health-paths")]
    Login {
        /// What was asked.
        check: HealthCheck,
    },
    /// It says that it is not well.
    #[error("{check} answers {status}: {text}")]
    Unwell {
        /// What was asked.
        check: HealthCheck,
        /// The status.
        status: StatusCode,
        /// The first line of the answer, as it came.
        text: String,
    },
}

/// The first line of a good answer, as it came. The certificate of the server is not verified: it is asked by an address
/// that no certificate names, is sent nothing that is secret, and is not believed anything but that it is there.
///
/// # Errors
///
/// [`HealthError`].
pub async fn ask(check: &HealthCheck) -> Result<String, HealthError> {
    let late = |_| HealthError::Timeout { check: check.clone(), after: check.timeout };
    timeout(check.timeout, connect_and_ask(check)).await.map_err(late)?
}

async fn connect_and_ask(check: &HealthCheck) -> Result<String, HealthError> {
    let stream = connect_tcp(&check.host, check.port).await;
    let stream = stream.map_err(|error| HealthError::Connect { check: check.clone(), error })?;
    if !check.is_tls {
        return exchange(check, Box::new(stream)).await;
    }
    let failed = |error| HealthError::Handshake { check: check.clone(), error };
    let name = ServerName::try_from(check.host.clone()).map_err(|error| failed(io::Error::other(error)))?;
    let config = client_config().map_err(|error| failed(io::Error::other(error)))?;
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(failed)?;
    exchange(check, Box::new(shaken)).await
}

fn client_config() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions()?.dangerous();
    let verifier = Arc::new(LaxVerifier { by_ca: None, provider });
    Ok(builder.with_custom_certificate_verifier(verifier).with_no_client_auth())
}

async fn exchange(check: &HealthCheck, stream: ByteStream) -> Result<String, HealthError> {
    let broken = |error: &(dyn std::error::Error + 'static)| HealthError::Broken {
        check: check.clone(),
        problem: with_causes(error),
        advice: if check.is_tls {
            "does it let in who has no client certificate"
        } else {
            "is it http and not https"
        },
    };
    let authority = check.to_string();
    let authority = authority.split('/').nth(2).unwrap_or_default();
    let request = Request::get(check.path.as_str()).header(HOST, authority).header(CONNECTION, "close");
    let request = request.body(Full::<Bytes>::default()).map_err(|error| broken(&error))?;
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| broken(&error))?;
    let asked = async {
        let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST_READ).collect().await;
        Ok((status, body.map(http_body_util::Collected::to_bytes).unwrap_or_default()))
    };
    // The connection moves the bytes; how it ends is seen by the request.
    let moved = async {
        let _ = connection.await;
        std::future::pending().await
    };
    let (status, body) = tokio::select! {
        asked = asked => asked?,
        never = moved => never,
    };
    let text = String::from_utf8_lossy(&body).lines().next().unwrap_or_default().to_owned();
    match status {
        status if status.is_success() => Ok(text),
        StatusCode::UNAUTHORIZED => Err(HealthError::Login { check: check.clone() }),
        status => Err(HealthError::Unwell { check: check.clone(), status, text }),
    }
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut problem = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        problem = format!("{problem}: {error}");
        cause = error.source();
    }
    problem
}

/// `3 s`, `0.5 s`.
fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}
