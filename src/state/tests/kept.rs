//! What tests take out of a table: what ended, and all that is open.

use super::super::{AllocationRecord, Output, SessionRecord, Table};
use crate::clock::Timestamp;
use crate::state::model::allocation::Flag;
use crate::state::model::ids::RecordId;

/// Allocations and sessions that ended, each kind in its order.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) allocations: Vec<AllocationRecord>,
    pub(super) sessions: Vec<SessionRecord>,
}

impl Table {
    /// What ended since this was last asked.
    pub(super) fn take_ended(&mut self) -> Ended {
        let mut ended = Ended::default();
        for (_, output) in self.outputs(0, usize::MAX) {
            match output {
                Output::Allocation(record) => ended.allocations.push(record),
                Output::Session(record) => ended.sessions.push(record),
                Output::Opened(_) | Output::Orphaned(_) => {}
            }
        }
        self.ledger_written(self.now, self.last_output());
        ended
    }

    /// All records that have not ended for good.
    pub(super) fn take_all(&self) -> Vec<AllocationRecord> {
        let places = u32::try_from(self.records.places()).unwrap();
        let open = (0..places)
            .map(RecordId::of_place)
            .filter(|&at| self.records.get(at).is_some_and(|allocation| !allocation.is(Flag::Stored)));
        let parts = (&self.realms, &self.servers, &self.sessions);
        open.map(|at| AllocationRecord::of(at, false, &self.records, parts)).collect()
    }

    /// How far each source has been received.
    pub(super) fn received_by_source(&self) -> impl Iterator<Item = Timestamp> {
        let received = |up, until: Timestamp, lost_at| if up { until.min(self.now) } else { lost_at };
        self.sources
            .ids()
            .filter_map(|id| self.sources.get(id))
            .map(move |source| received(source.up, source.received_until, source.lost_at))
    }
}
