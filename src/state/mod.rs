//! The table of allocations and sessions, and every sum that is told about them.
//!
//! Pure and single-handed: no I/O, no clock (`now` is an argument), no logging. It knows nothing of Redis or
//! Prometheus. Calls give back what happened; a scrape takes a [`Snapshot`].
//!
//! No event, tick or scrape scans all allocations (a resync does, in slices): each has one entry in a heap of deadlines,
//! gauges are kept in step where records enter and leave, and the oldest is the first of a list. Only a table that grows
//! or shrinks a great deal is moved as a whole.

#![allow(
    clippy::indexing_slicing,
    reason = "a slab is asked for its own numbers only; a wrong one must not go unseen"
)]

mod accounting;
mod ages;
mod allocation;
mod alone;
mod clients;
mod compact;
mod connections;
mod deadlines;
pub mod details;
mod endings;
mod eviction;
mod findings;
mod free;
mod gatherings;
mod grants;
mod heard;
mod held;
mod ids;
mod keeping;
mod life;
mod names;
mod orphans;
mod plausible;
mod reports;
mod restarts;
mod restore;
mod scan;
mod series;
mod session;
mod settings;
mod settle;
mod shared;
mod slab;
mod snapshot;
#[cfg(test)]
mod tests;
pub mod turn_rest;
mod users;

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hashbrown::HashTable;

use crate::clock::Timestamp;
use crate::wire::{AllocationId, Event, Grant, Key, Traffic};
use allocation::{Allocation, Granted, Phase};

pub use allocation::{Cause, Origin};
pub use connections::{ClosedBy, ConnectionId, EndedConnections, ProcessVerdict, VERDICT_AFTER};
pub use findings::Discovery;
pub use grants::LongLifetime;
pub use heard::{Heard, Whose};
pub use keeping::{Concluded, Ended, Kept, Stage};
pub use names::OTHER;
pub use restore::{Restored, Saved, SavedAllocation, SavedSession, SavedSource};
pub use scan::{Look, Scanned, Sweep};
pub use series::{
    ALLOCATIONS_BUCKETS, Allocations, Anomaly, BYTES_BUCKETS, ByLeg, Bytes, DURATION_BUCKETS, Durations,
    Histogram, Orphan, Outcome, RealmSeries, Tally,
};
pub use settings::{SessionBy, Settings};
pub use snapshot::{Beyond, RealmView, ServerView, Snapshot, SourceView};

/// The user under which allocations go whose name coturn before 4.13 mangled: a `%` in it went through printf, and
/// differently so in each event of one allocation (advisory GHSA-4g7c-p5wg-j4hp). Blanks betray it: coturn accepts none.
pub const MANGLED: &[u8] = b"<mangled>";

/// Which source a message came from: its place in the list given to [`Table::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceId(pub u32);

/// What a message did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// An allocation was born.
    Opened,
    /// An allocation was met in the middle of its life, or at its end.
    Adopted,
    /// A known allocation was touched.
    Updated,
    /// A live allocation ended.
    Closed(Cause),
    /// It belongs to no allocation (yet), or repeats what was known.
    SetAside,
    /// The table is full.
    Refused,
}

/// An allocation's key with its source, as looked up.
#[derive(Clone, Copy, Debug)]
struct Name<'a> {
    source: u32,
    realm: &'a [u8],
    user: &'a [u8],
    id: AllocationId,
}

/// One stream of events.
#[derive(Debug)]
struct Source {
    name: Arc<str>,
    /// Subscribed, and resynced once; nothing becomes due otherwise.
    up: bool,
    /// It was up before.
    known: bool,
    /// A store remembers it: whatever allocation it does not know has told nothing.
    is_remembered: bool,
    /// How far it had been heard when it was lost.
    lost_at: Timestamp,
    left_overs: scan::LeftOvers,
    /// When it came back from its last gap; [`Timestamp::ZERO`] if there was none.
    resumed_at: Timestamp,
    /// How far it has been heard without a gap; nothing becomes due beyond. [`Timestamp::MAX`] where the source does
    /// not tell: up to the present then.
    heard_until: Timestamp,
    live: u64,
    places: eviction::Places,
    /// Grants above the largest that the settings name.
    long_lifetimes: Tally<{ LongLifetime::ALL.len() }>,
    /// When the last of them came; [`Timestamp::ZERO`] if none did.
    last_long_lifetime: Timestamp,
    /// The scan of its keys that goes on.
    scan: Option<scan::Progress>,
    /// Of the present scan.
    mark: connections::Mark,
}

/// The table. One writer; every call takes the present moment, which never steps back.
#[derive(Debug)]
pub struct Table {
    settings: Settings,
    hasher: ahash::RandomState,
    now: Timestamp,
    /// The moment that time passes to; `now` follows it through what falls due.
    passing_to: Timestamp,
    sources: Vec<Source>,
    connections: connections::StatsdbConnections,
    allocations: slab::Slab<Allocation>,
    by_key: HashTable<u32>,
    /// Allocations that there will soon be, as a scan says: their room is not given back.
    expected: usize,
    sessions: slab::Slab<session::Session>,
    sessions_by_owner: alone::Owners,
    lingering: VecDeque<(Timestamp, u32)>,
    deadlines: deadlines::Deadlines,
    gatherings: gatherings::Gatherings,
    held: held::Held,
    /// Keys that two servers use at once: their totals belong to nobody.
    shared: shared::RecentKeys,
    /// Keys refused for lack of room, so that each counts once.
    refused_keys: shared::RecentKeys,
    endings: endings::Endings,
    seen_ids: ids::SeenIds,
    findings: findings::Discoveries,
    clients: clients::Clients,
    reports: reports::Reports,
    marks: connections::Marks,
    realms: names::Realms,
    servers: names::Servers,
    users: users::Users,
    unallocated: Traffic,
    anomalies: Tally<{ Anomaly::ALL.len() }>,
    refused: u64,
    /// Records that gave way in a full table.
    evicted: u64,
    /// The number of the next record or session.
    next_serial: u64,
    /// What a store has not been told yet; `None` where there is none.
    keeping: Option<keeping::Keeping>,
}

impl Table {
    /// An empty table for the sources of these names, all of them down.
    pub fn new<S: AsRef<str>>(settings: Settings, sources: &[S]) -> Self {
        let source = |name: &S| Source {
            name: name.as_ref().into(),
            up: false,
            known: false,
            is_remembered: false,
            lost_at: Timestamp::ZERO,
            left_overs: scan::LeftOvers::default(),
            resumed_at: Timestamp::ZERO,
            heard_until: Timestamp::MAX,
            live: 0,
            places: eviction::Places::new(),
            long_lifetimes: Tally::default(),
            last_long_lifetime: Timestamp::ZERO,
            scan: None,
            mark: connections::Mark::NONE,
        };
        Self {
            hasher: ahash::RandomState::new(),
            now: Timestamp::ZERO,
            passing_to: Timestamp::ZERO,
            sources: sources.iter().map(source).collect(),
            connections: connections::StatsdbConnections::default(),
            allocations: slab::Slab::new(),
            by_key: HashTable::new(),
            expected: 0,
            sessions: slab::Slab::new(),
            sessions_by_owner: HashTable::new(),
            lingering: VecDeque::new(),
            deadlines: deadlines::Deadlines::default(),
            gatherings: gatherings::Gatherings::new(),
            held: held::Held::default(),
            shared: shared::RecentKeys::default(),
            refused_keys: shared::RecentKeys::default(),
            endings: endings::Endings::default(),
            seen_ids: ids::SeenIds::default(),
            findings: findings::Discoveries::default(),
            clients: clients::Clients::new(),
            reports: reports::Reports::new(settings.are_rates_kept),
            marks: connections::Marks::new(),
            realms: names::Realms::new(settings.max_realms, &settings.realms),
            servers: names::Servers::new(settings.max_servers),
            users: users::Users::new(),
            unallocated: Traffic::ZERO,
            anomalies: Tally::default(),
            refused: 0,
            evicted: 0,
            next_serial: 1,
            keeping: None,
            settings,
        }
    }

    /// Takes one event in.
    pub fn apply(&mut self, now: Timestamp, source: SourceId, key: &Key<'_>, event: &Event<'_>) -> Applied {
        self.take(now, &Heard::new(self.whose(source, key), *event))
    }

    fn on_event(&mut self, name: &Name<'_>, hash: u64, event: &Event<'_>) -> Applied {
        match event {
            Event::New(grant) => self.on_new(name, hash, grant),
            Event::Refreshed(grant) if grant.lifetime == 0 => self.on_release(name, hash, grant),
            Event::Refreshed(grant) => self.on_refreshed(name, hash, grant),
            Event::Deleted => self.on_deleted(name, hash),
            Event::Traffic(leg, traffic) => self.on_traffic(name, hash, *leg, traffic),
            Event::Total(leg, total) => self.on_total(name, hash, *leg, total),
        }
    }

    /// Lets time pass: what is due becomes due.
    pub fn advance(&mut self, now: Timestamp) {
        let (now, before) = (self.now.max(now), self.now);
        self.passing_to = now;
        // Each at its own moment, however long nobody asked: what follows from it is counted from there.
        while let Some((moment, at)) = self.deadlines.pop(now) {
            self.now = self.now.max(moment);
            self.wake(at, moment);
        }
        self.now = now;
        if now == before {
            // All else waits for longer than no time.
            return;
        }
        self.unallocated.add(&self.held.expire(self.now));
        self.gatherings.expire(self.now);
        self.close_lingering();
        self.shared.expire(self.now);
        self.refused_keys.expire(self.now);
        if let Some(keeping) = &mut self.keeping {
            keeping.expire(self.now);
        }
        let allocations = &self.allocations;
        for source in &mut self.sources {
            source.places.expire(allocations);
        }
        self.deadlines.tidy(allocations.len(), |moment, at| {
            allocations.get(at).is_some_and(|allocation| allocation.deadline.get() == moment)
        });
    }

    /// The source's link is lost: from now on nothing of it becomes due.
    pub fn link_down(&mut self, now: Timestamp, source: SourceId) {
        self.advance(now);
        let now = self.now;
        if let Some(source) = self.sources.get_mut(source.0 as usize) {
            if source.up {
                source.lost_at = source.heard_until.min(now);
            }
            source.up = false;
        }
        self.scan_ends(source);
    }

    /// The source is subscribed and resynced (or cannot be resynced for lack of rights).
    pub fn link_up(&mut self, now: Timestamp, source: SourceId) {
        self.advance(now);
        let now = self.now;
        if let Some(source) = self.sources.get_mut(source.0 as usize) {
            if source.known && !source.up {
                source.resumed_at = now;
            }
            (source.up, source.known) = (true, true);
        }
    }

    /// All that the source published up to `moment` has been taken in. A source that says so is believed: what seems
    /// due later waits for the next word, for a refresh may be on the way (a stalled link, a stopped process).
    pub fn heard_until(&mut self, source: SourceId, moment: Timestamp) {
        if let Some(source) = self.sources.get_mut(source.0 as usize) {
            source.heard_until = moment;
        }
    }

    /// The record of a key that satisfies `wanted`.
    fn find(&self, hash: u64, name: &Name<'_>, wanted: impl Fn(&Allocation) -> bool) -> Option<u32> {
        let connections = &self.connections;
        let its_own = self.find_any(hash, name, |record| connections.is_told(record) && wanted(record));
        if its_own.is_some() || connections.speaking == connections::Mark::NONE {
            return its_own;
        }
        self.find_any(hash, name, |record| connections.may_be_told(record) && wanted(record))
    }

    /// The youngest record of a key that satisfies `wanted`, whichever connection reports it.
    fn find_any(&self, hash: u64, name: &Name<'_>, wanted: impl Fn(&Allocation) -> bool) -> Option<u32> {
        let records = self.all_of_key(hash, name).filter(|&at| wanted(&self.allocations[at]));
        records.max_by_key(|&at| self.allocations[at].serial.get())
    }

    /// All records of a key. Their order is the hash table's, by which nothing may be decided.
    fn all_of_key(&self, hash: u64, name: &Name<'_>) -> impl Iterator<Item = u32> {
        let of_hash = self.by_key.iter_hash(hash).copied();
        of_hash.filter(move |&at| self.is_named(&self.allocations[at], name))
    }

    fn is_named(&self, allocation: &Allocation, name: &Name<'_>) -> bool {
        allocation.id == name.id
            && allocation.source().0 == name.source
            && self.users.get(allocation.user) == name.user
            && self.realms.name(allocation.realm) == name.realm
    }

    /// The record of a key that has not ended, or not by coturn's word.
    fn find_open(&self, hash: u64, name: &Name<'_>) -> Option<u32> {
        self.find(hash, name, |allocation| allocation.phase != Phase::Closing)
    }

    /// The closing record of a key; of several the one that ended last, for an id can come again within the time that
    /// totals are waited for.
    fn find_closing(&self, hash: u64, name: &Name<'_>) -> Option<u32> {
        self.find_ended_last(hash, name, |_| true)
    }

    /// The closing record of a key that ended last among those that satisfy `wanted`. Those that the connection which
    /// speaks has reported come before those of connections that are closed.
    fn find_ended_last(
        &self,
        hash: u64,
        name: &Name<'_>,
        wanted: impl Fn(&Allocation) -> bool,
    ) -> Option<u32> {
        let closing = self.all_of_key(hash, name).filter(|&at| {
            let record = &self.allocations[at];
            record.phase == Phase::Closing && self.connections.may_report(record) && wanted(record)
        });
        closing.max_by_key(|&at| {
            let record = &self.allocations[at];
            (self.connections.is_told(record), self.endings.moment(at), record.serial.get())
        })
    }

    /// A status in our own terms; meets its server.
    fn understand(&mut self, source: u32, grant: &Grant<'_>) -> Granted {
        let path = grant.path;
        let local = path.map_or(&[][..], |path| path.local);
        let server = self.servers.meet(self.now, source, local);
        let server_port = address(local).map_or(0, |address| address.port());
        if path.is_some() {
            self.connections.note_server(server, server_port);
        }
        Granted {
            lifetime: self.believe(source, grant.lifetime),
            transport: path.map_or_else(Default::default, |path| path.transport),
            server,
            server_port,
            client: path.and_then(|path| address(path.remote)),
            long_form: path.is_some(),
        }
    }

    fn key_hash(&self, name: &Name<'_>) -> u64 {
        key_hash(&self.hasher, name)
    }

    fn session_hash(&self, source: u32, realm: &[u8], user: &[u8], host: Option<IpAddr>) -> u64 {
        session_hash(&self.hasher, source, realm, user, host)
    }
}

impl<'a> Name<'a> {
    fn of(source: SourceId, key: &Key<'a>) -> Self {
        let user = if memchr::memchr(b' ', key.user).is_some() { MANGLED } else { key.user };
        Self { source: source.0, realm: key.realm.unwrap_or_default(), user, id: key.id }
    }
}

fn key_hash(hasher: &ahash::RandomState, name: &Name<'_>) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_u64(name.id.0);
    state.write_u32(name.source);
    name.realm.hash(&mut state);
    name.user.hash(&mut state);
    state.finish()
}

fn session_hash(
    hasher: &ahash::RandomState,
    source: u32,
    realm: &[u8],
    user: &[u8],
    host: Option<IpAddr>,
) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_u32(source);
    realm.hash(&mut state);
    user.hash(&mut state);
    host.hash(&mut state);
    state.finish()
}

/// An address as coturn prints it; `None` for anything else.
fn address(text: &[u8]) -> Option<SocketAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
