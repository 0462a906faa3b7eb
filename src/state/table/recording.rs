//! What the table takes is recorded, where somebody wants that; see [`crate::state::input`].

use std::time::Duration;

use super::Table;
use crate::clock::Timestamp;
use crate::state::input::{Input, KeyRef};
use crate::state::model::ids::{Mark, RecordId};
use crate::state::model::key::SourceKey;
use crate::wire::{Event, Leg, Traffic};

impl Table {
    /// From now on inputs are recorded.
    pub const fn begin_recording(&mut self) {
        self.recorder.switch(true);
    }

    /// The inputs since this was last asked, one batch for [`Self::replay`]; empty if there was none. The room of `spare`
    /// takes those that come.
    pub fn take_recorded(&mut self, spare: Vec<u8>) -> Vec<u8> {
        let mut recorder = std::mem::take(&mut self.recorder);
        let batch = recorder.take(spare, || self.digest());
        self.recorder = recorder;
        batch
    }

    /// Bytes recorded ever.
    pub const fn recorded(&self) -> u64 {
        self.recorder.written()
    }

    /// Records an input that comes at `now`, before it changes anything.
    pub(super) fn note(&mut self, now: Timestamp, input: &Input<'_>) {
        if self.recorder.is_on() {
            self.recorder.other(now.since(self.now), input);
        }
    }

    /// Records that time passes to `now`, if it does.
    pub(super) fn note_time(&mut self, later: Duration) {
        if self.recorder.is_on() && !later.is_zero() {
            self.recorder.other(later, &Input::TimePasses);
        }
    }

    /// Records a report of a live record.
    pub(super) fn note_report(&mut self, later: Duration, at: RecordId, leg: Leg, traffic: &Traffic) {
        if self.recorder.is_on() {
            self.recorder.report(later, at, self.connections.current, leg, traffic);
        }
    }

    /// Records an event, after time has passed to it.
    pub(super) fn note_event(
        &mut self,
        later: Duration,
        key: &SourceKey<'_>,
        hash: u64,
        connection: Option<Mark>,
        event: &Event<'_>,
    ) {
        if self.recorder.is_on() {
            let of = self.key_ref(key, hash);
            self.recorder.event(later, of, connection, event);
        }
    }

    /// A key as briefly as it can be named now: by a record that has it.
    pub(super) fn key_ref<'a>(&self, key: &SourceKey<'a>, hash: u64) -> KeyRef<'a> {
        // Any would do; the first is the same whatever the order of the hash table.
        let known = self.records.of_key(&self.realms, hash, key).min();
        known.map_or(KeyRef::Full(*key), KeyRef::Known)
    }

    /// A number that most likely differs between tables that differ.
    pub(super) fn digest(&self) -> u64 {
        let mut digest = Digest::default();
        digest.add(self.changes.peek_serial());
        digest.add(self.records.len() as u64);
        digest.add(self.sessions.slab.len() as u64);
        digest.add(self.counters.unallocated.bytes());
        for group in self.realms.groups() {
            let series = &group.series;
            for traffic in [&series.relayed, &series.unseen] {
                digest.add(traffic.client.bytes().wrapping_add(traffic.peer.packets()));
            }
            digest.add(series.live.total());
            digest.add(series.closed.total());
        }
        digest.0
    }
}

/// Numbers in one: FNV-1a, by whole words.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    const fn add(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x0100_0000_01b3);
        self.0 ^= self.0 >> 32;
    }
}
