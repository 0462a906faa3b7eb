//! The table of allocations and sessions: the rules that need several of its parts.
//!
//! Pure and single-handed: no I/O, no clock (`now` is an argument), no logging. It knows nothing of Redis or
//! Prometheus. Calls give back what happened; a scrape takes a [`Snapshot`](snapshot::Snapshot).
//!
//! No event, tick or scrape scans all allocations (a resync does, in slices): each has one entry in a heap of deadlines,
//! gauges are kept in step where records enter and leave, and the oldest is the first of a list. Only a table that grows
//! or shrinks a great deal is moved as a whole.

pub(super) mod batch;
pub(super) mod changes;
pub(super) mod connections;
pub(super) mod eviction;
pub(super) mod expiry;
pub(super) mod findings;
pub(super) mod grants;
pub(super) mod lifecycle;
pub(super) mod restarts;
pub(super) mod restore;
pub(super) mod resync;
pub mod rows;
pub(super) mod sessions;
pub(super) mod snapshot;
pub(super) mod traffic;

use batch::BatchEvent;
use changes::Changes;
use std::collections::VecDeque;
use std::net::IpAddr;

use hashbrown::HashTable;

use crate::clock::Timestamp;
use crate::state::model::allocation::{Allocation, Cause, Granted, Phase};
use crate::state::model::connection::StatsdbConnections;
use crate::state::model::counts::Counts;
use crate::state::model::discovery::Discoveries;
use crate::state::model::end_records::EndRecords;
use crate::state::model::gatherings::Gatherings;
use crate::state::model::ids::{Mark, Marks, SourceId};
use crate::state::model::key::{SourceKey, address, key_hash, session_hash};
use crate::state::model::rates::Rates;
use crate::state::model::realms::Realms;
use crate::state::model::seen_ids::SeenIds;
use crate::state::model::series::Anomaly;
use crate::state::model::servers::Servers;
use crate::state::model::session::Session;
use crate::state::model::session_owner::Owners;
use crate::state::model::settings::Settings;
use crate::state::model::source::Source;
use crate::state::model::unclaimed::Unclaimed;
use crate::state::storage::addresses::Addresses;
use crate::state::storage::interner::Interner;
use crate::state::storage::recent_keys::RecentKeys;
use crate::state::storage::slab::Slab;
use crate::state::storage::timer_queue::TimerQueue;
use crate::wire::{Event, Grant, Key, Traffic};

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

/// The table. One writer; every call takes the present moment, which never steps back.
#[derive(Debug)]
pub struct Table {
    pub(super) settings: Settings,
    pub(super) hasher: ahash::RandomState,
    pub(super) now: Timestamp,
    /// The moment that time passes to; `now` follows it through what falls due.
    pub(super) passing_to: Timestamp,
    pub(super) sources: Vec<Source>,
    pub(super) connections: StatsdbConnections,
    pub(super) allocations: Slab<Allocation>,
    pub(super) by_key: HashTable<u32>,
    /// Allocations that there will soon be, as a scan says: their room is not given back.
    pub(super) expected: usize,
    pub(super) sessions: Slab<Session>,
    pub(super) sessions_by_owner: Owners,
    pub(super) lingering: VecDeque<(Timestamp, u32)>,
    pub(super) deadlines: TimerQueue,
    pub(super) gatherings: Gatherings,
    pub(super) held: Unclaimed,
    /// Keys that two servers use at once: their totals belong to nobody.
    pub(super) shared: RecentKeys,
    /// Keys refused for lack of room, so that each counts once.
    pub(super) refused_keys: RecentKeys,
    pub(super) endings: EndRecords,
    pub(super) seen_ids: SeenIds,
    pub(super) findings: Discoveries,
    pub(super) clients: Addresses,
    pub(super) reports: Rates,
    pub(super) marks: Marks,
    pub(super) realms: Realms,
    pub(super) servers: Servers,
    pub(super) users: Interner,
    pub(super) unallocated: Traffic,
    pub(super) anomalies: Counts<{ Anomaly::ALL.len() }>,
    pub(super) refused: u64,
    /// Records that gave way in a full table.
    pub(super) evicted: u64,
    /// The number of the next record or session.
    pub(super) next_serial: u64,
    /// What a store has not been told yet; `None` where there is none.
    pub(super) keeping: Option<Changes>,
}

impl Table {
    /// An empty table for the sources of these names, all of them down.
    pub fn new<S: AsRef<str>>(settings: Settings, sources: &[S]) -> Self {
        Self {
            hasher: ahash::RandomState::new(),
            now: Timestamp::ZERO,
            passing_to: Timestamp::ZERO,
            sources: sources.iter().map(|name| Source::new(name.as_ref())).collect(),
            connections: StatsdbConnections::default(),
            allocations: Slab::new(),
            by_key: HashTable::new(),
            expected: 0,
            sessions: Slab::new(),
            sessions_by_owner: HashTable::new(),
            lingering: VecDeque::new(),
            deadlines: TimerQueue::default(),
            gatherings: Gatherings::new(),
            held: Unclaimed::default(),
            shared: RecentKeys::default(),
            refused_keys: RecentKeys::default(),
            endings: EndRecords::default(),
            seen_ids: SeenIds::default(),
            findings: Discoveries::default(),
            clients: Addresses::new(),
            reports: Rates::new(settings.are_rates_kept),
            marks: Marks::new(),
            realms: Realms::new(settings.max_realms, &settings.realms),
            servers: Servers::new(settings.max_servers),
            users: Interner::new(),
            unallocated: Traffic::ZERO,
            anomalies: Counts::default(),
            refused: 0,
            evicted: 0,
            next_serial: 1,
            keeping: None,
            settings,
        }
    }

    /// Takes one event in.
    pub fn apply(&mut self, now: Timestamp, source: SourceId, key: &Key<'_>, event: &Event<'_>) -> Applied {
        self.take(now, &BatchEvent::new(self.whose(source, key), *event))
    }

    fn on_event(&mut self, name: &SourceKey<'_>, hash: u64, event: &Event<'_>) -> Applied {
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
    fn find(&self, hash: u64, name: &SourceKey<'_>, wanted: impl Fn(&Allocation) -> bool) -> Option<u32> {
        let connections = &self.connections;
        let its_own = self.find_any(hash, name, |record| connections.is_told(record) && wanted(record));
        if its_own.is_some() || connections.speaking == Mark::NONE {
            return its_own;
        }
        self.find_any(hash, name, |record| connections.may_be_told(record) && wanted(record))
    }

    /// The youngest record of a key that satisfies `wanted`, whichever connection reports it.
    fn find_any(&self, hash: u64, name: &SourceKey<'_>, wanted: impl Fn(&Allocation) -> bool) -> Option<u32> {
        let records = self.all_of_key(hash, name).filter(|&at| wanted(&self.allocations[at]));
        records.max_by_key(|&at| self.allocations[at].serial.get())
    }

    /// All records of a key. Their order is the hash table's, by which nothing may be decided.
    fn all_of_key(&self, hash: u64, name: &SourceKey<'_>) -> impl Iterator<Item = u32> {
        let of_hash = self.by_key.iter_hash(hash).copied();
        of_hash.filter(move |&at| self.is_named(&self.allocations[at], name))
    }

    fn is_named(&self, allocation: &Allocation, name: &SourceKey<'_>) -> bool {
        allocation.id == name.id
            && allocation.source().0 == name.source
            && self.users.get(allocation.user) == name.user
            && self.realms.name(allocation.realm) == name.realm
    }

    /// The record of a key that has not ended, or not by coturn's word.
    fn find_open(&self, hash: u64, name: &SourceKey<'_>) -> Option<u32> {
        self.find(hash, name, |allocation| allocation.phase != Phase::Closing)
    }

    /// The closing record of a key; of several the one that ended last, for an id can come again within the time that
    /// totals are waited for.
    fn find_closing(&self, hash: u64, name: &SourceKey<'_>) -> Option<u32> {
        self.find_ended_last(hash, name, |_| true)
    }

    /// The closing record of a key that ended last among those that satisfy `wanted`. Those that the connection which
    /// speaks has reported come before those of connections that are closed.
    fn find_ended_last(
        &self,
        hash: u64,
        name: &SourceKey<'_>,
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

    pub(super) fn key_hash(&self, name: &SourceKey<'_>) -> u64 {
        key_hash(&self.hasher, name)
    }

    fn session_hash(&self, source: u32, realm: &[u8], user: &[u8], host: Option<IpAddr>) -> u64 {
        session_hash(&self.hasher, source, realm, user, host)
    }
}
