//! A TCP connection to a host by name, with options by which a dead peer is noticed.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::select_ok;
use tokio::net::{TcpStream, lookup_host};

use super::{fail_unconfirmed_after, keep_alive};

/// Silence after which the system itself asks whether the other end is there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Connects to one of the addresses of the host, whichever answers first.
///
/// # Errors
///
/// A name without an address, or the error of the address that failed last.
pub async fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = lookup_host((host, port)).await?;
    // All of them at once: one that swallows packets must not hold up the others.
    let attempts: Vec<_> =
        addresses.map(|address: SocketAddr| Box::pin(TcpStream::connect(address))).collect();
    if attempts.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the host name has no address"));
    }
    let (stream, _) = select_ok(attempts).await?;
    stream.set_nodelay(true)?;
    // The first notices a peer that is gone while nothing is sent, the second while something is.
    keep_alive(&stream, KEEPALIVE)?;
    fail_unconfirmed_after(&stream, 2 * KEEPALIVE)?;
    Ok(stream)
}
