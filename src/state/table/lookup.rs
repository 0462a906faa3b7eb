//! Which record an event is about. Several records may have one key: of an id that came again, of two servers, of two
//! connections.

use super::Table;
use crate::state::model::allocation::{Allocation, Phase};
use crate::state::model::ids::RecordId;
use crate::state::model::key::SourceKey;

impl Table {
    /// The record of a key that satisfies `wanted`.
    pub(super) fn find(
        &self,
        hash: u64,
        key: &SourceKey<'_>,
        wanted: impl Fn(&Allocation) -> bool,
    ) -> Option<RecordId> {
        let connections = &self.connections;
        let its_own = self.find_any(hash, key, |record| connections.is_own(record) && wanted(record));
        if its_own.is_some() || connections.current.is_none() {
            return its_own;
        }
        self.find_any(hash, key, |record| connections.may_be_taken_over(record) && wanted(record))
    }

    /// The youngest record of a key that satisfies `wanted`, whichever connection reports it.
    pub(super) fn find_any(
        &self,
        hash: u64,
        key: &SourceKey<'_>,
        wanted: impl Fn(&Allocation) -> bool,
    ) -> Option<RecordId> {
        let of_key = self.records.of_key(&self.realms, hash, key).filter(|&at| wanted(&self.records[at]));
        of_key.max_by_key(|&at| self.records[at].serial.get())
    }

    /// The record of a key that has not ended, or not by coturn's word.
    pub(super) fn find_open(&self, hash: u64, key: &SourceKey<'_>) -> Option<RecordId> {
        self.find(hash, key, |allocation| allocation.phase != Phase::Closing)
    }

    /// The closing record of a key; of several the one that ended last, for an id can come again within the time that
    /// totals are waited for.
    pub(super) fn find_closing(&self, hash: u64, key: &SourceKey<'_>) -> Option<RecordId> {
        self.find_ended_last(hash, key, |_| true)
    }

    /// The closing record of a key that ended last among those that satisfy `wanted`. Those that the connection which
    /// speaks has reported come before those of connections that are closed.
    pub(super) fn find_ended_last(
        &self,
        hash: u64,
        key: &SourceKey<'_>,
        wanted: impl Fn(&Allocation) -> bool,
    ) -> Option<RecordId> {
        let closing = self.records.of_key(&self.realms, hash, key).filter(|&at| {
            let record = &self.records[at];
            record.phase == Phase::Closing && self.connections.may_be_own(record) && wanted(record)
        });
        closing.max_by_key(|&at| {
            let record = &self.records[at];
            (self.connections.is_own(record), self.records.ended_at(at), record.serial.get())
        })
    }
}
