//! A stream of bytes, whatever carries it.

use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// TCP, TLS or a unix socket: one type, so that a protocol above it is compiled once.
pub type ByteStream = Box<dyn Duplex>;
