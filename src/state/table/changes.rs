//! What a store should know of the table: records that changed, records that ended, sessions that are over.
//!
//! Noted while the table works, taken when the store wants it. Nothing is noted until [`Table::track_changes`].

use std::sync::Arc;

use super::Table;
use crate::clock::Timestamp;
use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::model::allocation::{Flag, Phase};
use crate::state::model::ids::RecordId;
use crate::state::model::key::SourceKey;
use crate::state::model::source::Source;
use crate::state::record::{AllocationRecord, EndedRecords, SessionRecord};
use crate::state::storage::free_list::shrunk;
use crate::state::storage::recent_keys::RecentKeys;

/// More than so many allocations, and so many sessions, do not wait for a store; the next ones are lost to the ledger.
pub(super) const MAX_ENDED: usize = 200_000;

/// Gives out serial numbers, and notes what a store has not been given yet, where there is one.
#[derive(Debug)]
pub(super) struct Changes {
    /// The number of the next record or session.
    next_serial: u64,
    tracked: Option<Tracked>,
}

/// What has not been given to the store yet.
#[derive(Debug, Default)]
struct Tracked {
    /// Places of records that changed since they were taken, each once.
    changed: Vec<RecordId>,
    /// Whether a place is in `changed`.
    is_noted: Vec<bool>,
    ended: EndedRecords,
    /// Keys whose records went without coturn's word: should they be met again, something of them has been exported. Overdue
    /// ones stay for a day before, so an allocation may be silent for two days and still be known.
    forgotten: RecentKeys,
}

impl Changes {
    pub(super) const fn new() -> Self {
        Self { next_serial: 1, tracked: None }
    }

    /// From now on changes are noted.
    fn track(&mut self, first_serial: u64) {
        *self = Self { next_serial: first_serial, tracked: Some(Tracked::default()) };
    }

    /// A number for a new record or session.
    pub(super) const fn next_serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial - 1
    }

    /// A record changed in a way that a store should know.
    pub(super) fn note(&mut self, at: RecordId) {
        let Some(tracked) = &mut self.tracked else { return };
        let place = at.place() as usize;
        if place >= tracked.is_noted.len() {
            tracked.is_noted.resize(place + 1, false);
        }
        if !std::mem::replace(&mut tracked.is_noted[place], true) {
            tracked.changed.push(at);
        }
    }

    /// What is noted is in the store already.
    pub(super) fn forget_notes(&mut self) {
        if let Some(tracked) = &mut self.tracked {
            tracked.changed.clear();
            tracked.is_noted.clear();
        }
    }

    /// Places of records that changed since this was last asked; the table has so many places.
    fn take_changed(&mut self, places: usize) -> Vec<RecordId> {
        let Some(tracked) = &mut self.tracked else { return Vec::new() };
        tracked.is_noted.clear();
        if let Some(room) = shrunk(places, tracked.is_noted.capacity()) {
            tracked.is_noted.shrink_to(room);
        }
        std::mem::take(&mut tracked.changed)
    }

    /// Whether one more allocation that ended can wait; if not it is lost.
    fn has_room_for_ended(&mut self) -> bool {
        let Some(Tracked { ended, .. }) = &mut self.tracked else { return false };
        let has_room = ended.allocations.len() < MAX_ENDED;
        ended.lost += usize::from(!has_room);
        has_room
    }

    fn add_ended(&mut self, record: AllocationRecord) {
        if let Some(Tracked { ended, .. }) = &mut self.tracked {
            ended.allocations.push(record);
        }
    }

    /// A session is over.
    pub(super) fn add_ended_session(&mut self, session: SessionRecord) {
        let Some(Tracked { ended, .. }) = &mut self.tracked else { return };
        if ended.sessions.len() >= MAX_ENDED {
            ended.lost += 1;
        } else {
            ended.sessions.push(session);
        }
    }

    /// A record leaves the table though its allocation may live, of which something has been exported.
    pub(super) fn remember_forgotten(&mut self, now: Timestamp, id: impl FnOnce() -> u64) {
        if let Some(tracked) = &mut self.tracked {
            tracked.forgotten.renew(now, id());
        }
    }

    /// Changes are noted, and no record of that key has left without coturn's word.
    // docs/semantics.md#what-the-store-proves
    fn is_never_met(&self, id: impl FnOnce() -> u64) -> bool {
        self.tracked.as_ref().is_some_and(|tracked| !tracked.forgotten.contains(id))
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        if let Some(tracked) = &mut self.tracked {
            tracked.forgotten.expire(now);
        }
    }
}

impl Changes {
    /// The same once more, to be written only.
    pub(super) fn share(&mut self) -> Self {
        let forgotten =
            |tracked: &mut Tracked| Tracked { forgotten: tracked.forgotten.share(), ..Tracked::default() };
        Self { next_serial: self.next_serial, tracked: self.tracked.as_mut().map(forgotten) }
    }
}

impl Persist for Changes {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.next_serial.write(to);
        self.tracked.is_some().write(to);
        if let Some(tracked) = &self.tracked {
            tracked.forgotten.write(to);
        }
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let next_serial = Persist::read(from)?;
        let forgotten: Option<RecentKeys> = Persist::read(from)?;
        let tracked = forgotten.map(|forgotten| Tracked { forgotten, ..Tracked::default() });
        Ok(Self { next_serial, tracked })
    }
}

impl Table {
    /// From now on changes are noted for a store. Numbers begin with `first_serial`.
    pub fn track_changes(&mut self, first_serial: u64) {
        self.changes.track(first_serial);
    }

    /// Records that have not ended and changed since they were last taken, as of this moment.
    pub fn take_changed(&mut self) -> Vec<AllocationRecord> {
        let changed = self.changes.take_changed(self.records.places());
        changed.into_iter().filter_map(|at| self.present_record(at)).collect()
    }

    /// All records that have not ended, as of this moment; none of them counts as changed any more.
    pub fn take_all(&mut self) -> Vec<AllocationRecord> {
        drop(self.changes.take_changed(self.records.places()));
        let places = u32::try_from(self.records.places()).unwrap_or(u32::MAX);
        (0..places).map(RecordId::of_place).filter_map(|at| self.present_record(at)).collect()
    }

    /// What ended since it was last taken.
    pub fn take_ended(&mut self) -> EndedRecords {
        let tracked = self.changes.tracked.as_mut();
        tracked.map(|tracked| std::mem::take(&mut tracked.ended)).unwrap_or_default()
    }

    /// How far each source had been received, in the order of the sources. What is live at that moment is in the table.
    pub fn received_by_source(&self) -> impl Iterator<Item = Timestamp> {
        self.sources
            .iter()
            .map(|source| if source.up { source.received_until.min(self.now) } else { source.lost_at })
    }

    /// Labels of realms with live allocations or open sessions.
    pub fn realms_in_use(&self) -> impl Iterator<Item = Arc<str>> {
        let in_use = self
            .realms
            .groups()
            .iter()
            .filter(|group| group.series.live.total() > 0 || group.series.sessions > 0);
        in_use.map(|group| Arc::clone(&group.label))
    }

    /// Gives a record to the store for the last time, or as overdue.
    pub(super) fn give_ended(&mut self, at: RecordId) {
        let allocation = &mut self.records[at];
        if self.changes.tracked.is_none() || allocation.is(Flag::Stored) {
            return;
        }
        // One that is overdue, or whose process ended, may live again.
        let is_final = !matches!(allocation.phase, Phase::Overdue | Phase::Gone);
        allocation.set(Flag::Stored, is_final);
        if self.changes.has_room_for_ended() {
            self.changes.add_ended(self.record_of(at, is_final));
        }
    }

    /// Whether nothing was exported of an allocation that was never met: the source has been watched ever since the store
    /// began, by us or by those before us.
    pub(super) fn is_past_known(&self, key: &SourceKey<'_>) -> bool {
        let silence = self.settings.longest_silence();
        let is_remembered = |source: &Source| source.is_watched_for(silence, self.now);
        self.changes.tracked.is_some()
            && self.sources.get(key.source).is_some_and(is_remembered)
            && self.changes.is_never_met(|| self.key_ids.of_key(key))
    }

    /// The record as it is now; `None` where there is none, or the store has it for good.
    fn present_record(&self, at: RecordId) -> Option<AllocationRecord> {
        let allocation = self.records.get(at)?;
        (!allocation.is(Flag::Stored)).then(|| self.record_of(at, false))
    }

    fn record_of(&self, at: RecordId, is_final: bool) -> AllocationRecord {
        AllocationRecord::of(at, is_final, &self.records, (&self.realms, &self.servers, &self.sessions))
    }
}
