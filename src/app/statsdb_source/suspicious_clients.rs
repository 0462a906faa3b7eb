//! Addresses from which connections come that are no coturn's, as far as the log says it: one line when it begins, one
//! when it is over. Pure: time is an argument, and what is to be logged is given back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::source::statsdb::ForeignProtocol;

/// An episode is over when nothing of it has come for so long.
const QUIET: Duration = Duration::from_secs(600);

/// Episodes at one time, at most: beyond that the page alone counts.
const EPISODES: usize = 64;

/// What is wrong with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Suspicion {
    /// It was cut off: it speaks another protocol.
    Foreign,
    /// It was closed: it said nothing in time, gave way to another, or did not read.
    Silent,
    /// There was no room for it.
    Full,
}

/// The episodes of one listener.
#[derive(Debug, Default)]
pub(super) struct SuspiciousClients(HashMap<(IpAddr, Suspicion), SuspicionEpisode>);

#[derive(Debug)]
struct SuspicionEpisode {
    last: Timestamp,
    connections: u64,
}

/// An episode that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndedEpisode {
    peer: IpAddr,
    nuisance: Suspicion,
    connections: u64,
}

impl SuspiciousClients {
    /// A connection of that kind; whether an episode begins with it.
    pub(super) fn note(&mut self, now: Timestamp, peer: IpAddr, nuisance: Suspicion) -> bool {
        let peer = peer.to_canonical();
        if let Some(episode) = self.0.get_mut(&(peer, nuisance)) {
            episode.last = now;
            episode.connections += 1;
            return false;
        }
        let has_room = self.0.len() < EPISODES;
        if has_room {
            self.0.insert((peer, nuisance), SuspicionEpisode { last: now, connections: 1 });
        }
        has_room
    }

    /// Lets time pass; gives what is over.
    pub(super) fn advance(&mut self, now: Timestamp) -> Vec<EndedEpisode> {
        let over = self.0.extract_if(|_, episode| now.since(episode.last) >= QUIET);
        over.map(|((peer, nuisance), episode)| EndedEpisode {
            peer,
            nuisance,
            connections: episode.connections,
        })
        .collect()
    }
}

impl Suspicion {
    /// Writes the line with which an episode begins.
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
            Self::Full => tracing::warn!(
                source,
                %peer,
                "connections are turned away: --statsdb.max-connections are open, and all of them are in use; raise it \
                 if they are coturn's"
            ),
        }
    }
}

impl EndedEpisode {
    /// Writes its line.
    pub(super) fn log(self, source: &str) {
        let Self { peer, nuisance, connections } = self;
        match nuisance {
            Suspicion::Foreign => {
                tracing::info!(source, %peer, connections, "no client was cut off from there any more");
            }
            Suspicion::Silent => {
                tracing::info!(source, %peer, connections, "no silent connection was closed from there any more");
            }
            Suspicion::Full => {
                tracing::info!(source, %peer, connections, "no connection was turned away from there any more");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn an_episode_is_logged_when_it_begins_and_when_it_is_over() {
        let mut strangers = SuspiciousClients::default();
        let peer: IpAddr = Ipv4Addr::LOCALHOST.into();
        let mapped: IpAddr = Ipv4Addr::LOCALHOST.to_ipv6_mapped().into();
        assert!(strangers.note(at(0), peer, Suspicion::Foreign));
        assert!(!strangers.note(at(500), mapped, Suspicion::Foreign));
        assert!(strangers.note(at(500), peer, Suspicion::Silent), "another thing");
        assert_eq!(strangers.advance(at(1099)), []);
        let mut over = strangers.advance(at(1100));
        over.sort_by_key(|episode| episode.connections);
        let ended = |nuisance, connections| EndedEpisode { peer, nuisance, connections };
        assert_eq!(over, [ended(Suspicion::Silent, 1), ended(Suspicion::Foreign, 2)]);
        assert!(strangers.note(at(1101), peer, Suspicion::Foreign));
    }

    #[test]
    fn addresses_without_end_make_no_lines_without_end() {
        let mut strangers = SuspiciousClients::default();
        let lines = (0..5000_u32)
            .filter(|&host| strangers.note(at(1), Ipv4Addr::from(host).into(), Suspicion::Foreign))
            .count();
        assert_eq!((lines, strangers.0.len()), (EPISODES, EPISODES));
    }
}
