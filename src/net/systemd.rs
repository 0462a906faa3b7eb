//! The sockets that systemd hands over: `LISTEN_FDS` of them, to the process that `LISTEN_PID` names.

use std::io;

use listenfd::ListenFd;
use tokio::net::TcpListener;

/// Why there are no sockets of systemd.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// None was handed over.
    #[error(
        "--web.systemd-socket: systemd has handed over no socket (LISTEN_FDS, LISTEN_PID); start the exporter by its \
         .socket unit, or use --web.listen-address"
    )]
    None,
    /// One that is not for connections over TCP.
    #[error(
        "--web.systemd-socket: socket {number} cannot be used: {error}; name TCP ports only, by ListenStream="
    )]
    Unusable {
        /// Its place among them, from 1.
        number: usize,
        /// What the system says.
        error: io::Error,
    },
}

/// All of them.
///
/// # Errors
///
/// There are none, or one is not of TCP.
pub fn systemd_sockets() -> Result<Vec<TcpListener>, SystemdError> {
    let mut handed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for place in 0..handed.len() {
        let unusable = |error| SystemdError::Unusable { number: place + 1, error };
        if let Some(socket) = handed.take_tcp_listener(place).map_err(unusable)? {
            socket.set_nonblocking(true).map_err(unusable)?;
            sockets.push(TcpListener::from_std(socket).map_err(unusable)?);
        }
    }
    if sockets.is_empty() { Err(SystemdError::None) } else { Ok(sockets) }
}
