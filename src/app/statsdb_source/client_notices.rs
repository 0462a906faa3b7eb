//! What is known of one connection of the listener as a client, and what the log says when that changes.

use std::net::{IpAddr, SocketAddr};

use crate::source::statsdb::{ClientCommand, CommandRefusal};

/// One connection, as far as it matters here.
#[derive(Debug)]
pub(super) struct ClientState {
    pub(super) peer: IpAddr,
    /// A command was refused for want of a login, and it has not logged in since.
    pub(super) is_refused: bool,
    /// It has published, or asked for the keys that a starting coturn asks for.
    pub(super) is_coturn: bool,
}

/// What is to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientNotice {
    /// An episode begins: an address has no password, or a wrong one.
    Refused { peer: IpAddr, password: &'static str },
    /// It ends: the address has logged in.
    LoggedIn { peer: IpAddr },
    /// It ends: the address does not come any more.
    RefusedGone { peer: IpAddr },
    /// An address has its first connection of a coturn.
    Connected { peer: IpAddr },
    /// It has had none for a while.
    Disconnected { peer: IpAddr },
    /// No coturn has connected since the start, for a while.
    NoCoturn,
}

impl ClientState {
    /// A connection of this peer.
    pub(super) const fn new(peer: SocketAddr) -> Self {
        // An IPv4 client of a socket for both families is the client of an IPv4 socket.
        Self { peer: peer.ip().to_canonical(), is_refused: false, is_coturn: false }
    }

    /// Whether [`ListenerClients::note`](super::listener_clients::ListenerClients::note) is to be called; cheap, for it is
    /// asked of every command.
    pub(super) const fn is_changed_by(&self, command: &ClientCommand<'_>) -> bool {
        match command {
            ClientCommand::Published { .. } | ClientCommand::Starting => !self.is_coturn,
            ClientCommand::Refused(CommandRefusal::Login | CommandRefusal::Password) => !self.is_refused,
            ClientCommand::LoggedIn => true,
            _ => false,
        }
    }
}

impl ClientNotice {
    /// Writes its line.
    pub(super) fn log(self, source: &str) {
        match self {
            Self::Refused { peer, password } => tracing::warn!(
                source,
                %peer,
                password,
                "a client is refused for its password, and nothing that it reports is counted; give the password of \
                 --statsdb.password-file in coturn's redis-statsdb: password=..."
            ),
            Self::LoggedIn { peer } => {
                tracing::info!(source, %peer, "a client that was refused has logged in");
            }
            Self::RefusedGone { peer } => {
                tracing::info!(source, %peer, "a client that was refused is not connected any more");
            }
            Self::Connected { peer } => tracing::info!(source, %peer, "coturn has connected"),
            Self::Disconnected { peer } => tracing::info!(
                source,
                %peer,
                "coturn has had no connection for a minute; one that lives connects again with its next event"
            ),
            Self::NoCoturn => tracing::warn!(
                source,
                "no coturn has connected since the exporter started; is its redis-statsdb set to this address? `doctor` \
                 with the same --statsdb flags prints the line (a coturn that already runs connects with its next event)"
            ),
        }
    }
}
