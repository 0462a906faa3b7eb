//! Who gives way in a full table, and who gets a place.
//!
//! Half of the places are kept for the sources, in equal parts; the other half is for whoever comes first. So one source
//! that fills the table, by an attack or by its size, leaves the others their part. With one source all places are its own.
//! A quarter of the places is kept likewise for the connections that report straight to us.
//!
//! When there is no place left, records of allocations that have ended give way to what is met now: those that nobody
//! will report again, most likely (overdue, or ended with their process), then those that wait for their totals; each the
//! earlier the sooner it ended, and before all others those of a source that is not watched any more. What is live never gives way: what is met then is refused.

use super::Table;
use crate::clock::Timestamp;
use crate::state::model::allocation::Phase;
use crate::state::model::ended_queues::EndedKind;
use crate::state::model::ids::{RecordId, SourceId};
use crate::state::model::key::SourceKey;

/// Bytes of names (users, and realms without a label of their own) that the table holds for each of
/// `Settings::max_allocations`. TURN REST names have some 20 to 55; coturn cuts at 508.
const NAME_BYTES: usize = 128;

/// A small table holds so many in any case.
const LEAST_NAME_BYTES: usize = 64 << 10;

impl Table {
    /// A record that has ended goes at `moment`, or sooner if its place is wanted.
    pub(super) fn queue_ended(&mut self, at: RecordId, moment: Timestamp) {
        let record = &self.records[at];
        let kind = match record.phase {
            Phase::Live => return,
            Phase::Overdue | Phase::Gone => EndedKind::Lapsed,
            Phase::Closing => EndedKind::Closing,
        };
        if let Some(source) = self.sources.get_mut(record.source()) {
            source.records.queue(kind).push(&self.records.slab, moment, at);
        }
    }

    /// Whether a record of the source has a place without another giving way.
    pub(super) fn has_room(&self, source: SourceId) -> bool {
        self.records.len() < self.settings.max_allocations && !self.is_over_share(source)
    }

    /// Makes a place for a record of that key; false where nothing may give way.
    // docs/semantics.md#a-full-table
    pub(super) fn make_room(&mut self, key: &SourceKey<'_>) -> bool {
        if self.connections.is_over_share(self.sources.live(), self.settings.max_allocations) {
            return false;
        }
        while !self.has_room(key.source) || !self.has_room_for_names(key) {
            let records = &self.records.slab;
            let given = self.sources.first_ended_of_unwatched(records).or_else(|| {
                if self.sources.is_over_share(key.source, records.len(), self.settings.max_allocations) {
                    self.sources.first_ended_of(key.source, records)
                } else {
                    self.sources.first_ended_of_all(records)
                }
            });
            let Some(at) = given else { return false };
            self.counters.evicted += 1;
            self.finish(at);
        }
        true
    }

    fn is_over_share(&self, source: SourceId) -> bool {
        self.sources.is_over_share(source, self.records.len(), self.settings.max_allocations)
    }

    /// Whether names of a new record fit: there are so many bytes for each place of the table.
    fn has_room_for_names(&self, key: &SourceKey<'_>) -> bool {
        let budget = self.settings.max_allocations.saturating_mul(NAME_BYTES).max(LEAST_NAME_BYTES);
        let taken = self.records.users.name_bytes() + self.realms.name_bytes();
        taken + key.realm.len() + key.user.len() <= budget
    }
}
