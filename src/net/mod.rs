//! TCP sockets: binding addresses, accepting connections, keep-alive. The web server, the listener for coturn and the
//! connections to Redis use it. Of protocols it knows TLS only. And what systemd hands over and is told.

mod accept;
mod bind;
mod client_network;
mod dial;
mod duplex;
#[cfg(unix)]
mod notify;
mod options;
mod systemd;
pub mod tls;

pub use accept::{Accept, Acceptor};
pub use bind::{BindError, bind, stands_for};
pub(crate) use client_network::ClientNetwork;
pub use dial::connect_tcp;
pub use duplex::{ByteStream, Duplex};
#[cfg(unix)]
pub use notify::{NotifySocket, watchdog_patience};
pub use options::{fail_unconfirmed_after, keep_alive, set_send_buffer};
pub use systemd::{SystemdError, SystemdSockets, WantedSockets};

/// How many connections of one server may be closing. Each holds an open file until its task has run once more; at this
/// number no new connection is accepted until some have ended.
pub const MOST_ENDING: usize = 32;
