//! Events in batches. One event waits for a bucket, then for a record, then for a name to come from memory, which takes
//! longer than all that is done with them; within a batch these cache misses overlap.

use super::{Applied, Table};
use crate::clock::Timestamp;
use crate::state::model::allocation::{Allocation, Phase};
use crate::state::model::ids::{RecordId, SourceId};
use crate::state::model::key::SourceKey;
use crate::wire::{Event, Key, Kind, Leg, Traffic};

/// A key of a source, ready to be looked up.
#[derive(Clone, Copy, Debug)]
pub struct PreparedKey<'a> {
    key: SourceKey<'a>,
    hash: u64,
}

/// An event that is to be applied.
#[derive(Debug)]
pub struct BatchEvent<'a> {
    key: PreparedKey<'a>,
    event: Event<'a>,
    /// Its record, most likely; an event before it may still change that.
    likely: Option<RecordId>,
    /// The first of some in a row with one key, as far as its hash tells.
    is_first: bool,
}

impl<'a> BatchEvent<'a> {
    /// An event of that key.
    pub const fn new(key: PreparedKey<'a>, event: Event<'a>) -> Self {
        Self { key, event, likely: None, is_first: false }
    }
}

impl Table {
    /// Makes a key ready to be looked up.
    pub fn prepare<'a>(&self, source: SourceId, key: &Key<'a>) -> PreparedKey<'a> {
        let key = SourceKey::of(source, key);
        PreparedKey { key, hash: self.records.key_hash(&key) }
    }

    /// Applies the events in their order; gives how many they are. Batches of up to 16 are the quickest.
    pub fn apply_batch(&mut self, now: Timestamp, batch: &mut [Option<BatchEvent<'_>>]) -> usize {
        self.prefetch(batch);
        let mut applied = 0;
        for event in batch.iter().flatten() {
            self.apply_prepared(now, event);
            applied += 1;
        }
        applied
    }

    /// Has the memory of a batch brought near. Changes nothing of the table.
    pub(in crate::state) fn prefetch(&self, batch: &mut [Option<BatchEvent<'_>>]) {
        let mut before = (0, None);
        for event in batch.iter_mut().flatten() {
            // Both legs report together.
            if event.key.hash != before.0 {
                // The first of a like hash: a few are another key's.
                let likely = self.records.likely_of(event.key.hash);
                before = (event.key.hash, likely);
                event.is_first = true;
            }
            event.likely = before.1;
        }
        // A processor looks so many instructions ahead, and no further: the shorter a loop, the more of its waits overlap.
        let firsts = batch.iter().flatten().filter(|event| event.is_first);
        let records = || firsts.clone().filter_map(|event| self.records.get(event.likely?));
        let seen = records().fold(0, |seen, record| seen ^ record.glimpse());
        let named = records().fold(0, |seen, record| seen ^ self.records.users.glimpse(record.user));
        std::hint::black_box((seen, named));
    }

    /// Applies one event.
    pub(in crate::state) fn apply_prepared(&mut self, now: Timestamp, event: &BatchEvent<'_>) -> Applied {
        let later = now.since(self.now);
        self.pass(now);
        let BatchEvent { key: PreparedKey { key, hash }, event, likely, .. } = event;
        if let Event::Traffic(leg, traffic) = event
            && let Some(likely) = *likely
            && self.records.get(likely).is_some_and(|record| self.is_live_and_own(record, key))
        {
            self.note_report(later, likely, *leg, traffic);
            self.count_report(key.source, likely, *leg, traffic);
            return Applied::Updated;
        }
        self.note_event(later, key, *hash, None, event);
        self.take_event(key, *hash, event)
    }

    /// Takes in an event that came over no connection.
    pub(super) fn take_event(&mut self, key: &SourceKey<'_>, hash: u64, event: &Event<'_>) -> Applied {
        self.accepted(key.source, event.kind());
        self.on_event(key, hash, event)
    }

    /// Takes in a report of a live record.
    pub(super) fn count_report(&mut self, source: SourceId, at: RecordId, leg: Leg, traffic: &Traffic) {
        self.accepted(source, if leg == Leg::Client { Kind::Traffic } else { Kind::TrafficPeer });
        self.count(at, leg, traffic);
    }

    /// Counts a message that was understood.
    pub(super) fn accepted(&mut self, source: SourceId, kind: Kind) {
        let now = self.now;
        if let Some(source) = self.sources.get_mut(source) {
            source.stats.accepted(now, kind);
        }
    }

    /// Whether it is what [`Self::find_open`] would find, and lives.
    fn is_live_and_own(&self, record: &Allocation, key: &SourceKey<'_>) -> bool {
        record.phase == Phase::Live
            && self.connections.is_own(record)
            && self.records.has_key(&self.realms, record, key)
    }
}
