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
pub(super) mod grants;
pub(super) mod image;
pub(super) mod lifecycle;
pub(super) mod links;
pub(super) mod lookup;
pub(super) mod outputs;
pub(super) mod process;
pub(super) mod recording;
pub(super) mod replay;
pub(super) mod restarts;
pub(super) mod restore;
pub(super) mod resync;
pub mod rows;
pub(super) mod sessions;
pub(super) mod snapshot;
pub(super) mod source_numbers;
pub(super) mod traffic;

use crate::clock::Timestamp;
use crate::state::input::Recorder;
use crate::state::model::allocation::Cause;
use crate::state::model::connection::StatsdbConnections;
use crate::state::model::counters::Counters;
use crate::state::model::discovery::{Discoveries, Discovery};
use crate::state::model::gatherings::Gatherings;
use crate::state::model::ids::SourceId;
use crate::state::model::key::SourceKey;
use crate::state::model::key_ids::KeyIds;
use crate::state::model::key_memory::KeyMemory;
use crate::state::model::process_totals::ProcessTotals;
use crate::state::model::realms::Realms;
use crate::state::model::records::Records;
use crate::state::model::servers::Servers;
use crate::state::model::sessions::Sessions;
use crate::state::model::settings::Settings;
use crate::state::model::sources::Sources;
use crate::state::model::timers::Timers;
use crate::wire::{Event, Key};
use batch::BatchEvent;
use changes::Changes;

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
///
/// Its fields are parts that keep their own invariants; the files of this module hold the rules that need several of them.
/// The order is that of an event's way: whose it is, which record, what follows for session, gathering and time, what is
/// counted, who must know.
#[derive(Debug)]
pub struct Table {
    settings: Settings,
    /// The present moment.
    pub(super) now: Timestamp,
    /// The streams of events: links, scans, what each has of the table.
    pub(super) sources: Sources,
    /// Connections of coturn's own, and which of them reports just now.
    pub(super) connections: StatsdbConnections,
    /// Allocations, found by key.
    pub(super) records: Records,
    /// The numbers of keys that are remembered.
    pub(super) key_ids: KeyIds,
    /// Traffic that no allocation has claimed, and keys that are remembered.
    pub(super) keys: KeyMemory,
    /// Sessions, found by owner.
    pub(super) sessions: Sessions,
    /// Allocations that one peer connection asked for at once.
    pub(super) gatherings: Gatherings,
    /// When to look at which record again.
    pub(super) timers: Timers,
    /// Names and series of realms.
    pub(super) realms: Realms,
    /// Servers, their series, and the ids that prove a restart.
    pub(super) servers: Servers,
    /// What belongs to no realm and no server.
    counters: Counters,
    /// What the processes came to.
    pub(super) process: ProcessTotals,
    /// What an operator should know of.
    discoveries: Discoveries,
    /// What a store should know of.
    changes: Changes,
    /// The inputs, for whoever wants to take them in again.
    recorder: Recorder,
}

impl Table {
    /// An empty table for the sources of these names, all of them down.
    pub fn new<S: AsRef<str>>(settings: Settings, sources: &[S]) -> Self {
        Self {
            now: Timestamp::ZERO,
            sources: Sources::new(sources),
            connections: StatsdbConnections::default(),
            records: Records::new(settings.are_rates_kept),
            key_ids: KeyIds::random(),
            keys: KeyMemory::default(),
            sessions: Sessions::new(),
            gatherings: Gatherings::new(),
            timers: Timers::new(),
            realms: Realms::new(settings.max_realms, &settings.realms),
            servers: Servers::new(settings.max_servers),
            counters: Counters::new(),
            process: ProcessTotals::default(),
            discoveries: Discoveries::default(),
            changes: Changes::new(),
            recorder: Recorder::default(),
            settings,
        }
    }

    /// The numbers of keys that it remembers depend on this secret, which a store keeps, from now on; of a new table.
    #[must_use]
    pub fn with_key_secret(self, secret: [u64; 2]) -> Self {
        Self { key_ids: KeyIds::with(secret), ..self }
    }

    /// The secret behind the numbers of keys.
    pub const fn key_secret(&self) -> [u64; 2] {
        self.key_ids.secret()
    }

    /// Takes one event in.
    pub fn apply(&mut self, now: Timestamp, source: SourceId, key: &Key<'_>, event: &Event<'_>) -> Applied {
        self.apply_prepared(now, &BatchEvent::new(self.prepare(source, key), *event))
    }

    fn on_event(&mut self, key: &SourceKey<'_>, hash: u64, event: &Event<'_>) -> Applied {
        match event {
            Event::New(grant) => self.on_new(key, hash, grant),
            Event::Refreshed(grant) if grant.lifetime == 0 => self.on_release(key, hash, grant),
            Event::Refreshed(grant) => self.on_refreshed(key, hash, grant),
            Event::Deleted => self.on_deleted(key, hash),
            Event::Traffic(leg, traffic) => self.on_traffic(key, hash, *leg, traffic),
            Event::Total(leg, total) => self.on_total(key, hash, *leg, total),
        }
    }

    /// Lets time pass: what is due becomes due.
    pub fn advance(&mut self, now: Timestamp) {
        self.note_time(now.since(self.now));
        self.pass(now);
    }

    /// Lets time pass before an input that comes at `now`.
    fn pass(&mut self, now: Timestamp) {
        let (now, before) = (self.now.max(now), self.now);
        if before == Timestamp::ZERO {
            self.counters.created = now;
        }
        self.timers.passing_to = now;
        // Each at its own moment, however long nobody asked: what follows from it is counted from there.
        while let Some((moment, at)) = self.timers.next(now) {
            self.now = self.now.max(moment);
            self.wake(at, moment);
        }
        self.now = now;
        if now == before {
            // All else waits for longer than no time.
            return;
        }
        self.counters.unallocated.add(&self.keys.expire(now));
        self.gatherings.expire(now);
        self.close_lingering();
        self.changes.expire(now);
        self.sources.expire(&self.records.slab);
        self.timers.tidy(&self.records.slab);
    }

    /// What was found out since this was last asked, in its order.
    pub fn take_discoveries(&mut self) -> Vec<Discovery> {
        self.discoveries.take()
    }
}
