//! Options of TCP connections that tokio does not have: how a peer is noticed that is gone without closing its connection,
//! and how much the system buffers for one that does not read.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Lets the system probe the peer after it was silent for `idle`, then every third of that; after three probes without an
/// answer the connection fails.
///
/// # Errors
///
/// What the system says.
pub fn keep_alive(stream: &TcpStream, idle: Duration) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(idle / 3).with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Lets the connection fail where the peer confirms nothing of what was sent for `limit`. Only Linux can.
///
/// # Errors
///
/// What the system says.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "the option exists on Linux only"))]
pub fn fail_unconfirmed_after(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_user_timeout(Some(limit))?;
    Ok(())
}

/// Bytes that the system keeps for a peer that does not read them. Linux takes twice as much.
///
/// # Errors
///
/// What the system says.
pub fn set_send_buffer(stream: &TcpStream, bytes: usize) -> io::Result<()> {
    SockRef::from(stream).set_send_buffer_size(bytes)
}
