//! Numbers of records and sessions, and what ends on its way to the ledger, where there is one.

use super::Table;
use super::outputs::{Output, OutputKind, Outputs};
use crate::clock::Timestamp;
use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::model::allocation::{Flag, Phase};
use crate::state::model::ids::RecordId;
use crate::state::model::key::SourceKey;
use crate::state::model::series::Orphan;
use crate::state::model::source::Source;
use crate::state::record::events::{AllocationNames, OpenedSession, OrphanedAllocation};
use crate::state::record::{AllocationRecord, SessionRecord};
use crate::state::storage::recent_keys::RecentKeys;

/// Gives out serial numbers, and keeps what a store's ledger has not confirmed, where there is one.
#[derive(Debug)]
pub(super) struct Changes {
    /// The number of the next record or session.
    next_serial: u64,
    tracked: Option<Tracked>,
}

/// What there is with a store only.
#[derive(Debug)]
struct Tracked {
    outputs: Outputs,
    /// Keys whose records went without coturn's word: should they be met again, something of them has been exported. Overdue
    /// ones stay for a day before, so an allocation may be silent for two days and still be known.
    forgotten: RecentKeys,
}

impl Tracked {
    fn new(first_output: u64) -> Self {
        Self { outputs: Outputs::new(first_output), forgotten: RecentKeys::default() }
    }
}

impl Changes {
    pub(super) const fn new() -> Self {
        Self { next_serial: 1, tracked: None }
    }

    /// From now on there is a store.
    fn track(&mut self, first_serial: u64, first_output: u64) {
        *self = Self { next_serial: first_serial, tracked: Some(Tracked::new(first_output)) };
    }

    /// What waits for the ledger, where there is one.
    pub(super) fn outputs(&self) -> Option<&Outputs> {
        self.tracked.as_ref().map(|tracked| &tracked.outputs)
    }

    pub(super) fn outputs_mut(&mut self) -> Option<&mut Outputs> {
        self.tracked.as_mut().map(|tracked| &mut tracked.outputs)
    }

    /// The number of the next record or session.
    pub(super) const fn peek_serial(&self) -> u64 {
        self.next_serial
    }

    /// A number for a new record or session.
    pub(super) const fn next_serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial - 1
    }

    /// A session is over.
    pub(super) fn add_ended_session(&mut self, session: SessionRecord) {
        if let Some(outputs) = self.outputs_mut() {
            outputs.add(OutputKind::Session, || Output::Session(session));
        }
    }

    /// A record leaves the table though its allocation may live, of which something has been exported.
    pub(super) fn remember_forgotten(&mut self, now: Timestamp, id: impl FnOnce() -> u64) {
        if let Some(tracked) = &mut self.tracked {
            tracked.forgotten.renew(now, id());
        }
    }

    /// There is a store, and no record of that key has left without coturn's word.
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
        let share = |tracked: &mut Tracked| Tracked {
            outputs: tracked.outputs.share(),
            forgotten: tracked.forgotten.share(),
        };
        Self { next_serial: self.next_serial, tracked: self.tracked.as_mut().map(share) }
    }
}

impl Persist for Changes {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.next_serial.write(to);
        self.tracked.is_some().write(to);
        if let Some(tracked) = &self.tracked {
            tracked.forgotten.write(to);
            tracked.outputs.write(to);
        }
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let next_serial = Persist::read(from)?;
        let known: Option<(RecentKeys, Outputs)> = Persist::read(from)?;
        let tracked = known.map(|(forgotten, outputs)| Tracked { outputs, forgotten });
        Ok(Self { next_serial, tracked })
    }
}

impl Table {
    /// There is a store from now on, whose ledger has neither records nor outputs of these numbers or above. Of a new table.
    pub fn begin_store(&mut self, first_serial: u64, first_output: u64) {
        self.changes.track(first_serial, first_output);
    }

    /// Gives a record to the ledger for the last time, or as overdue.
    pub(super) fn give_ended(&mut self, at: RecordId) {
        let allocation = &mut self.records[at];
        if self.changes.tracked.is_none() || allocation.is(Flag::Stored) {
            return;
        }
        // One that is overdue, or whose process ended, may live again.
        let is_final = !matches!(allocation.phase, Phase::Overdue | Phase::Gone);
        allocation.set(Flag::Stored, is_final);
        let record = || {
            AllocationRecord::of(at, is_final, &self.records, (&self.realms, &self.servers, &self.sessions))
        };
        if let Some(outputs) = self.changes.outputs_mut() {
            outputs.add(OutputKind::Allocation, || Output::Allocation(record()));
        }
    }

    /// Tells of a session that begins with the allocation at `at`.
    pub(super) fn give_opened(&mut self, at: RecordId, is_adopted: bool) {
        let names = || AllocationNames::of(at, &self.records, (&self.realms, &self.servers, &self.sessions));
        if let Some(outputs) = self.changes.outputs_mut() {
            outputs.add(OutputKind::Notice, || Output::Opened(OpenedSession { first: names(), is_adopted }));
        }
    }

    /// Tells of the allocation at `at`, which became an orphan now; `session` is the number of its session.
    pub(super) fn give_orphaned(&mut self, at: RecordId, session: Option<u64>, reason: Orphan) {
        let names = || AllocationNames::of(at, &self.records, (&self.realms, &self.servers, &self.sessions));
        if let Some(outputs) = self.changes.outputs_mut() {
            outputs.add(OutputKind::Notice, || {
                let allocation = AllocationNames { session: session.unwrap_or(0), ..names() };
                Output::Orphaned(OrphanedAllocation { allocation, reason, since: self.now })
            });
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
}
