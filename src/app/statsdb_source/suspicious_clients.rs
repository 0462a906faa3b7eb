//! Addresses whose connections are not a coturn's, as far as the log says it: one line when they begin, one when there
//! have been none for a while. Pure: time is an argument.

use std::net::IpAddr;
use std::time::Duration;

use crate::app::log_once::Episodes;
use crate::clock::Timestamp;
use crate::source::statsdb::ForeignProtocol;

/// How long none of them may come before they are over.
const QUIET: Duration = Duration::from_secs(600);

/// Addresses that are followed at a time: beyond that the page alone counts.
const EPISODES: usize = 64;

/// What is wrong with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Suspicion {
    /// It was cut off: it speaks another protocol.
    Foreign,
    /// It was closed: it sent nothing in time, gave way to another, or did not read.
    Silent,
    /// There was no slot for it.
    NoSlot,
}

/// The suspicious clients of one listener.
#[derive(Debug)]
pub(super) struct SuspiciousClients(Episodes<(IpAddr, Suspicion)>);

impl SuspiciousClients {
    /// A connection of that kind; whether to log it.
    #[must_use]
    pub(super) fn is_news(&mut self, now: Timestamp, peer: IpAddr, suspicion: Suspicion) -> bool {
        self.0.is_news(now, (peer.to_canonical(), suspicion))
    }

    /// Logs of which addresses nothing has come for a while.
    pub(super) fn log_ended(&mut self, now: Timestamp, source: &str) {
        for ((peer, suspicion), connections) in self.0.ended(now) {
            suspicion.log_end(source, peer, connections);
        }
    }
}

impl Default for SuspiciousClients {
    fn default() -> Self {
        Self(Episodes::new(QUIET, EPISODES))
    }
}

impl Suspicion {
    /// Writes the line with which it begins.
    pub(super) fn log(self, source: &str, peer: IpAddr, speaks: Option<ForeignProtocol>) {
        let peer = peer.to_canonical();
        match self {
            Self::Foreign => tracing::warn!(
                source,
                %peer,
                protocol = speaks.map_or("unknown", ForeignProtocol::as_str),
                "a client that is no coturn was cut off, and nothing that it sent was taken; if programs of others, or \
                 web pages, can reach this address, set --statsdb.password-file"
            ),
            Self::Silent => tracing::warn!(
                source,
                %peer,
                "connections that do not log in, or say nothing, are closed after 10 s, or as soon as another needs \
                 the place"
            ),
            Self::NoSlot => tracing::warn!(
                source,
                %peer,
                "connections are turned away: --statsdb.max-connections are open, and all of them are in use; raise it \
                 if they are coturn's"
            ),
        }
    }

    /// Writes the line with which it is over.
    fn log_end(self, source: &str, peer: IpAddr, connections: u64) {
        match self {
            Self::Foreign => {
                tracing::info!(source, %peer, connections, "no client was cut off from there any more");
            }
            Self::Silent => {
                tracing::info!(source, %peer, connections, "no silent connection was closed from there any more");
            }
            Self::NoSlot => {
                tracing::info!(source, %peer, connections, "no connection was turned away from there any more");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing::{Lines, at};
    use std::net::Ipv4Addr;

    #[test]
    fn each_address_and_kind_is_logged_when_it_begins_and_when_it_is_over() {
        let lines = Lines::default();
        let _collecting = lines.collect();
        let mut suspicious = SuspiciousClients::default();
        let peer: IpAddr = Ipv4Addr::LOCALHOST.into();
        let mapped: IpAddr = Ipv4Addr::LOCALHOST.to_ipv6_mapped().into();
        assert!(suspicious.is_news(at(0), peer, Suspicion::Foreign));
        assert!(!suspicious.is_news(at(500), mapped, Suspicion::Foreign));
        assert!(suspicious.is_news(at(500), peer, Suspicion::Silent), "another thing");
        suspicious.log_ended(at(1099), "a");
        assert_eq!(lines.with("any more"), 0);
        suspicious.log_ended(at(1100), "a");
        let said =
            ["no client was cut off", "no silent connection", "connections=2", "connections=1", "any more"];
        assert_eq!(said.map(|words| lines.with(words)), [1, 1, 1, 1, 2], "{lines:?}");
        assert!(suspicious.is_news(at(1101), peer, Suspicion::Foreign));
    }

    #[test]
    fn addresses_without_end_make_no_lines_without_end() {
        let mut suspicious = SuspiciousClients::default();
        let lines = (0..5000_u32)
            .filter(|&host| suspicious.is_news(at(1), Ipv4Addr::from(host).into(), Suspicion::Foreign))
            .count();
        assert_eq!(lines, EPISODES);
    }
}
