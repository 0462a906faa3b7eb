//! A connection to a receiver: dialled, perhaps with TLS, kept from one request to the next.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::WebhookError;
use super::target::Target;
use crate::net::tls::{PemText, roots, system_roots};
use crate::net::{ByteStream, connect_tcp};

/// The name, the connection and the handshake together.
const CONNECT: Duration = Duration::from_secs(5);

/// What is read of the body of an answer; nobody looks at it.
const MOST_READ: usize = 64 * 1024;

/// How long the body of an answer may take. The head has said all: a slow body costs the connection, not the events.
const BODY: Duration = Duration::from_secs(1);

/// The longest head of an answer.
const MOST_HEAD: usize = 64 * 1024;

const CA_FLAG: &str = "--events.tls-ca-file";

/// See the file's head. Dropped, it is closed.
#[derive(Debug)]
pub(super) struct ReceiverConnection {
    sender: SendRequest<Full<Bytes>>,
    /// Moves the bytes; ends with this value.
    _task: JoinSet<()>,
}

impl ReceiverConnection {
    /// Dials.
    ///
    /// # Errors
    ///
    /// What is wrong on the way to the first byte of HTTP.
    pub(super) async fn open(target: &Target, ca_file: Option<&PathBuf>) -> Result<Self, WebhookError> {
        let late = |_| WebhookError::ConnectTimeout { receiver: target.to_string(), after: CONNECT };
        let stream = timeout(CONNECT, dial(target, ca_file)).await.map_err(late)??;
        let shaken = http1::Builder::new()
            .max_buf_size(MOST_HEAD)
            .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
            .await;
        let (sender, connection) = shaken.map_err(|error| broken(target, &error))?;
        let mut task = JoinSet::new();
        // How it ends is seen by the request that is under way.
        task.spawn(async move { drop(connection.await) });
        Ok(Self { sender, _task: task })
    }

    /// Whether it may take another request.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends, and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// The connection broke, or what came is no HTTP.
    pub(super) async fn send(
        &mut self,
        target: &Target,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, WebhookError> {
        let ready = self.sender.ready().await;
        ready.map_err(|error| broken(target, &error))?;
        self.sender.send_request(request).await.map_err(|error| broken(target, &error))
    }

    /// Reads the body of an answer to its end and throws it away; `None` where it is too long, too slow or broken.
    pub(super) async fn after(self, answer: Response<Incoming>) -> Option<Self> {
        let mut body = answer.into_body();
        let read = async {
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                length += frame.ok()?.data_ref().map_or(0, Bytes::len);
                if length > MOST_READ {
                    return None;
                }
            }
            Some(())
        };
        timeout(BODY, read).await.ok().flatten().map(|()| self)
    }
}

/// Whether TLS could be begun, as far as files say.
///
/// # Errors
///
/// What is wrong with them.
pub(super) fn check(target: &Target, ca_file: Option<&PathBuf>) -> Result<(), WebhookError> {
    if target.is_tls { client_config(target, ca_file).map(drop) } else { Ok(()) }
}

fn broken(target: &Target, error: &hyper::Error) -> WebhookError {
    let mut problem = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        problem = format!("{problem}: {error}");
        cause = error.source();
    }
    WebhookError::Broken { receiver: target.to_string(), problem }
}

async fn dial(target: &Target, ca_file: Option<&PathBuf>) -> Result<ByteStream, WebhookError> {
    // The files first: what is wrong with them is wrong with every connection.
    let tls = if target.is_tls { Some(client_config(target, ca_file)?) } else { None };
    let stream = connect_tcp(&target.host, target.port).await;
    let stream = stream.map_err(|error| WebhookError::Connect { receiver: target.to_string(), error })?;
    let Some(config) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(target.host.clone());
    let name = name.map_err(|_| WebhookError::Url { what: "no certificate could be for its host" })?;
    let shaken = TlsConnector::from(config).connect(name, stream).await;
    Ok(Box::new(shaken.map_err(|error| handshake_error(target, error))?))
}

fn handshake_error(target: &Target, error: io::Error) -> WebhookError {
    let receiver = target.to_string();
    match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(flaw)) => {
            WebhookError::Certificate { receiver, flaw: flaw.clone() }
        }
        _ => WebhookError::Handshake { receiver, error },
    }
}

/// From the files as they are now.
fn client_config(target: &Target, ca_file: Option<&PathBuf>) -> Result<Arc<ClientConfig>, WebhookError> {
    let cas = match ca_file {
        Some(path) => Arc::new(roots(&PemText::read(CA_FLAG, path, |path| std::fs::read(path))?)?),
        None => system_roots().map_err(|_| WebhookError::NoSystemCas { receiver: target.to_string() })?,
    };
    // By name: rustls picks none by itself where several crates have brought their own, or none.
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder
        .map_err(|error| WebhookError::Setup { receiver: target.to_string(), problem: error.to_string() })?;
    let mut config = builder.with_root_certificates(cas).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
