//! What a scrape takes along: copies of the sums, as of one moment. Its size goes by label sets, not by allocations.

use std::sync::Arc;

use super::Table;
use crate::clock::Timestamp;
use crate::state::model::allocation::Cause;
use crate::state::model::counts::Counts;
use crate::state::model::long_lifetime::LongLifetime;
use crate::state::model::process_totals::ProcessTotals;
use crate::state::model::series::{Anomaly, RealmSeries};
use crate::state::model::servers::TurnServer;
use crate::state::model::source_stats::SourceStats;
use crate::wire::Traffic;

/// The table as of one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The moment.
    pub now: Timestamp,
    /// When the table began to count, in this process or, with a store, an earlier one.
    pub created: Timestamp,
    /// Realms, in the order they were first seen.
    pub realms: Vec<RealmView>,
    /// Servers with live allocations or a sign within the last 24 h.
    pub servers: Vec<ServerView>,
    /// Sources, in the order given.
    pub sources: Vec<SourceView>,
    /// Client-leg traffic of sessions that got no allocation.
    pub unallocated: Traffic,
    /// Oddities of accounting, by [`Anomaly`].
    pub anomalies: Counts<{ Anomaly::ALL.len() }>,
    /// Realms that share `_other` for lack of room.
    pub folded_realms: u64,
    /// Servers that share `_other` for lack of room.
    pub folded_servers: u64,
    /// Allocations refused because the table was full.
    pub refused: u64,
    /// Records of ended allocations that gave way because the table was full.
    pub evicted: u64,
    /// Outputs that no ledger will have: too many waited.
    pub lost_outputs: u64,
    /// What this process and those before it came to.
    pub process: ProcessTotals,
}

/// Which caps of the settings have been reached, ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a cap each")]
pub struct CapsReached {
    /// Allocations were refused.
    pub allocations: bool,
    /// Records of ended allocations gave way to others.
    pub ended: bool,
    /// Realms share `_other`.
    pub realms: bool,
    /// Servers share `_other`.
    pub servers: bool,
}

/// One realm.
#[derive(Clone, Debug)]
pub struct RealmView {
    /// Its name, lossily decoded; `_other` for those past the cap.
    pub label: Arc<str>,
    /// When its series began.
    pub created: Timestamp,
    /// Its sums.
    pub series: RealmSeries,
    /// Start of its oldest live allocation.
    pub oldest_allocation: Option<Timestamp>,
    /// Start of its oldest open session.
    pub oldest_session: Option<Timestamp>,
}

/// One server.
#[derive(Clone, Debug)]
pub struct ServerView {
    /// The source it publishes to.
    pub source: Arc<str>,
    /// Its address; empty for coturn before 4.6, which does not tell.
    pub label: Arc<str>,
    /// When its series began: when it was met, or met again after it had left the page.
    pub created: Timestamp,
    /// Live allocations.
    pub live: u64,
    /// Ends, by [`Cause`].
    pub closed: Counts<{ Cause::ALL.len() }>,
    /// Its last event.
    pub last_seen: Timestamp,
}

/// One source.
#[derive(Clone, Debug)]
pub struct SourceView {
    /// Its name.
    pub name: Arc<str>,
    /// When its numbers began.
    pub created: Timestamp,
    /// Its link, and what came over it.
    pub stats: SourceStats,
    /// Subscribed and resynced.
    pub up: bool,
    /// Live allocations.
    pub live: u64,
    /// Grants above the largest that the settings name, by [`LongLifetime`].
    pub long_lifetimes: Counts<{ LongLifetime::ALL.len() }>,
}

impl Table {
    /// Which caps have been reached.
    pub const fn caps_reached(&self) -> CapsReached {
        CapsReached {
            allocations: self.counters.refused > 0,
            ended: self.counters.evicted > 0,
            realms: self.realms.folded() > 0,
            servers: self.servers.folded() > 0,
        }
    }

    /// Allocations that live.
    pub fn live(&self) -> usize {
        self.sources.live()
    }

    /// Copies everything that is counted.
    pub fn snapshot(&self) -> Snapshot {
        let began = self.counters.created;
        let realms = self.realms.groups().iter().map(|group| RealmView {
            label: Arc::clone(&group.label),
            created: group.created.max(began),
            series: group.series.clone(),
            oldest_allocation: group.oldest_allocation(&self.records.slab),
            oldest_session: group.oldest_session(&self.records.slab, &self.sessions.slab),
        });
        let present = self.servers.all().iter().filter(|server| !server.is_forgotten(self.now));
        let servers = present.filter_map(|server| {
            let TurnServer { source, ref label, live, closed, created, last_seen, .. } = *server;
            Some(ServerView {
                source: self.sources.watched_name(source)?,
                label: Arc::clone(label),
                created,
                live,
                closed,
                last_seen,
            })
        });
        let sources = self.sources.watched().map(|source| SourceView {
            name: Arc::clone(&source.name),
            created: source.created.max(began),
            stats: source.stats.clone(),
            up: source.up,
            live: source.live,
            long_lifetimes: source.long_lifetimes,
        });
        Snapshot {
            now: self.now,
            created: began,
            realms: realms.collect(),
            servers: servers.collect(),
            sources: sources.collect(),
            unallocated: self.counters.unallocated,
            anomalies: self.counters.anomalies(),
            folded_realms: self.realms.folded(),
            folded_servers: self.servers.folded(),
            refused: self.counters.refused,
            evicted: self.counters.evicted,
            lost_outputs: self.changes.outputs().map_or(0, |outputs| outputs.lost),
            process: self.process.clone(),
        }
    }
}
