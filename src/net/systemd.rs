//! The sockets that systemd hands over: `LISTEN_FDS` of them, to the process that `LISTEN_PID` names. `LISTEN_FDNAMES` says
//! what each is for: that of coturn is named `statsdb`, all others are for the web server.

use std::io;

use listenfd::ListenFd;
use tokio::net::TcpListener;

/// `FileDescriptorName=` of the socket that coturn reports to.
const STATSDB_SOCKET: &str = "statsdb";

/// Why there are no sockets of systemd.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// None was handed over for the web server.
    #[error(
        "--web.systemd-socket: systemd has handed over no socket (LISTEN_FDS, LISTEN_PID); start the exporter by its \
         .socket unit, or use --web.listen-address"
    )]
    None,
    /// None was handed over for coturn.
    #[error(
        "--statsdb.systemd-socket: systemd has handed over no socket of the name statsdb (LISTEN_FDS, LISTEN_PID, \
         LISTEN_FDNAMES); start its .socket unit, which has FileDescriptorName=statsdb, or leave the flag out"
    )]
    NoStatsdb,
    /// One that no flag asks for: who connects to it would wait for ever.
    #[error(
        "systemd has handed over a socket of the name {name:?}, which nothing is served on; say {flag}, or stop and disable \
         its .socket unit"
    )]
    Unused {
        /// What it is called.
        name: String,
        /// The flag that would use it.
        flag: &'static str,
    },
    /// One that is not for connections over TCP.
    #[error("socket {number} of systemd cannot be used: {error}; name TCP ports only, by ListenStream=")]
    Unusable {
        /// Its place among them, from 1.
        number: usize,
        /// What the system says.
        error: io::Error,
    },
}

/// Which of them are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantedSockets {
    /// Those of the web server (`--web.systemd-socket`).
    pub web: bool,
    /// That of coturn (`--statsdb.systemd-socket`).
    pub statsdb: bool,
}

/// The sockets, each kind empty where it is not asked for.
#[derive(Debug, Default)]
pub struct SystemdSockets {
    /// Of the web server.
    pub web: Vec<TcpListener>,
    /// Of coturn.
    pub statsdb: Vec<TcpListener>,
}

impl SystemdSockets {
    /// Takes them; once in the life of the process.
    ///
    /// # Errors
    ///
    /// One that is asked for is not there, one that is there is not asked for, or is not of TCP. What is there does not
    /// matter where none is asked for.
    pub fn take(wanted: WantedSockets) -> Result<Self, SystemdError> {
        if wanted == WantedSockets::default() {
            return Ok(Self::default());
        }
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let mut handed = ListenFd::from_env();
        let mut sockets = Self::default();
        for place in 0..handed.len() {
            let unusable = |error| SystemdError::Unusable { number: place + 1, error };
            let name = names.get(place).copied().unwrap_or_default();
            let (is_wanted, flag, of_its_kind) = if name == STATSDB_SOCKET {
                (wanted.statsdb, "--statsdb.systemd-socket", &mut sockets.statsdb)
            } else {
                (wanted.web, "--web.systemd-socket", &mut sockets.web)
            };
            if !is_wanted {
                return Err(SystemdError::Unused { name: name.to_owned(), flag });
            }
            if let Some(socket) = handed.take_tcp_listener(place).map_err(unusable)? {
                socket.set_nonblocking(true).map_err(unusable)?;
                of_its_kind.push(TcpListener::from_std(socket).map_err(unusable)?);
            }
        }
        match (wanted.web && sockets.web.is_empty(), wanted.statsdb && sockets.statsdb.is_empty()) {
            (true, _) => Err(SystemdError::None),
            (_, true) => Err(SystemdError::NoStatsdb),
            _ => Ok(sockets),
        }
    }
}
