//! What the table found out that an operator should know of when it happens.

use std::net::IpAddr;
use std::sync::Arc;

use super::ids::SourceId;
use super::long_lifetime::LongLifetime;

/// One thing found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// Ids that came again prove that the process behind a server address is new.
    ServerRestarted {
        /// Where it reports.
        source: SourceId,
        /// Its label: the host of its address.
        server: Arc<str>,
        /// The port of its address.
        port: u16,
        /// Live allocations that ended with the old process.
        allocations: u64,
    },
    /// An allocation that should have ended with an old process lives: two processes report one server address.
    AddressShared {
        /// Where they report.
        source: SourceId,
        /// The label: the host of the address.
        server: Arc<str>,
        /// The port of the address.
        port: u16,
    },
    /// The connections of a coturn closed as those of a process that ended do.
    ProcessEnded {
        /// The listener.
        source: SourceId,
        /// Where they came from.
        peer: IpAddr,
        /// A new process has started there.
        restarted: bool,
        /// Open allocations that it had reported last, those whose release it had begun among them.
        allocations: u64,
    },
    /// A lifetime was granted that is longer than the largest of the settings; the first of an episode.
    LongLifetime {
        /// Where it was reported.
        source: SourceId,
        /// The lifetime, in seconds, as it was granted.
        seconds: u32,
        /// What became of it.
        outcome: LongLifetime,
    },
    /// Connections were closed as those of a process that ended, and the process lives.
    ConnectionsCut {
        /// The listener.
        source: SourceId,
        /// Where they came from.
        peer: IpAddr,
    },
}

impl Discovery {
    /// The source that it concerns.
    pub const fn source(&self) -> SourceId {
        match *self {
            Self::ServerRestarted { source, .. }
            | Self::AddressShared { source, .. }
            | Self::ProcessEnded { source, .. }
            | Self::LongLifetime { source, .. }
            | Self::ConnectionsCut { source, .. } => source,
        }
    }
}

/// More than so many do not wait to be taken; the page counts what they are about.
const MAX_WAITING: usize = 64;

/// Discoveries that wait to be taken, in their order, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Discoveries(Vec<Discovery>);

impl Discoveries {
    /// Adds one, unless it waits already: each connection of a process says the same.
    pub(crate) fn add(&mut self, discovery: Discovery) {
        if let Some((known, allocations)) = self.same_process(&discovery) {
            *known += allocations;
            return;
        }
        if self.0.len() < MAX_WAITING && !self.0.contains(&discovery) {
            self.0.push(discovery);
        }
    }

    /// The allocations of a process that is known to have ended, and those of another of its connections.
    fn same_process(&mut self, discovery: &Discovery) -> Option<(&mut u64, u64)> {
        let Discovery::ProcessEnded { source, peer, restarted, allocations } = discovery else { return None };
        self.0.iter_mut().find_map(|known| match known {
            Discovery::ProcessEnded { source: at, peer: from, restarted: again, allocations: known }
                if (*at, *from, *again) == (*source, *peer, *restarted) =>
            {
                Some((known, *allocations))
            }
            _ => None,
        })
    }

    pub(crate) fn take(&mut self) -> Vec<Discovery> {
        std::mem::take(&mut self.0)
    }
}
