//! From an address to a stream of bytes: TCP or a unix socket, and TLS on top. It sends nothing but one PING after a TLS
//! handshake: a server that refuses the client's certificate may say so only then.
//!
//! The client library could dial too, but it drops what goes wrong on a subscription's stream; a refused certificate
//! would be a connection that closes without a reason.

use std::io;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::LinkError;
use super::server::RedisServer;
use super::tls::{self, TlsError};
use crate::config::Tls;
use crate::net::{ByteStream, connect_tcp};

/// How long the handshake may take: a plain port waits for more (7.0.15), and so would we.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// The longest answer to a PING that is read; it is a line, and what it says does not matter.
const LONGEST_LINE: u64 = 1024;

/// Connects, with the TLS handshake where `tls` is wanted and the server is not a socket of this host.
///
/// # Errors
///
/// [`LinkError::Connect`] and [`LinkError::Tls`].
pub(super) async fn dial(server: &RedisServer, tls: Option<&Tls>) -> Result<ByteStream, LinkError> {
    match (server, tls) {
        (RedisServer::Unix(path), _) => {
            Ok(Box::new(UnixStream::connect(path).await.map_err(LinkError::Connect)?))
        }
        (RedisServer::Tcp(endpoint), None) => {
            Ok(Box::new(connect_tcp(&endpoint.host, endpoint.port).await.map_err(LinkError::Connect)?))
        }
        (RedisServer::Tcp(endpoint), Some(tls)) => {
            // The files first: what is wrong with them is wrong with every server.
            let connector = TlsConnector::from(tls::client_config(tls)?);
            let name = ServerName::try_from(endpoint.host.clone());
            let name = name.map_err(|_| TlsError::NoName { host: endpoint.host.clone() })?;
            let stream = connect_tcp(&endpoint.host, endpoint.port).await.map_err(LinkError::Connect)?;
            let shaken = timeout(HANDSHAKE, async {
                let mut stream = connector.connect(name, stream).await?;
                ping(&mut stream).await.map(|()| stream)
            });
            let shaken = shaken.await.map_err(|_| TlsError::Silent { server: endpoint.clone() })?;
            Ok(Box::new(shaken.map_err(|error| TlsError::from_handshake(error, endpoint, tls))?))
        }
    }
}

/// Sends PING and reads one line, whatever it says: even an error shows that the server has accepted the connection. With
/// TLS 1.3 the handshake is over for the client before the server has looked at the client's certificate.
async fn ping(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.write_all(b"*1\r\n$4\r\nPING\r\n").await?;
    stream.flush().await?;
    let mut answer = stream.take(LONGEST_LINE);
    while answer.read_u8().await? != b'\n' {}
    Ok(())
}
