//! What a client is connected by: plain, or TLS after its handshake.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The name of HTTP/2 in a handshake.
pub(super) const HTTP2: &str = "h2";

/// The first byte of a handshake.
const HANDSHAKE: u8 = 0x16;

/// What a client gets that speaks no TLS where it must, as from any server written in Go.
const PLAIN: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
                       Client sent an HTTP request to an HTTPS server.\n";

/// A connection with a client.
#[derive(Debug)]
pub(super) enum ClientStream {
    /// Without TLS.
    Plain(TcpStream),
    /// With.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why there was no handshake.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// No TLS at all.
    #[error("the client does not speak TLS")]
    Plain,
    /// It ended before it said anything.
    #[error("the client closed the connection")]
    Closed,
    /// It failed.
    #[error("{0}")]
    Failed(io::Error),
}

impl ClientStream {
    /// With TLS, after the handshake.
    pub(super) async fn accept(
        mut stream: TcpStream,
        config: Arc<ServerConfig>,
    ) -> Result<Self, HandshakeError> {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(0) => return Err(HandshakeError::Closed),
            Ok(_) if first != [HANDSHAKE] => {
                // What is left unread would make the system forget the answer. And the client may be gone.
                let _ = stream.try_read(&mut [0; 4096]);
                let _ = stream.write_all(PLAIN).await;
                let _ = stream.shutdown().await;
                return Err(HandshakeError::Plain);
            }
            Ok(_) => {}
            Err(error) => return Err(HandshakeError::Failed(error)),
        }
        let accepted = TlsAcceptor::from(config).accept(stream).await;
        accepted.map(|stream| Self::Tls(Box::new(stream))).map_err(HandshakeError::Failed)
    }

    /// Whether it has chosen HTTP/2, which needs TLS.
    pub(super) fn is_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(HTTP2.as_bytes()),
        }
    }

    /// What was written and not yet sent is dropped when this is.
    pub(super) fn forget_unsent(&self) {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        let _ = stream.set_zero_linger();
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
