//! What is known of an end, while the record stays: of one that settles, of one that is overdue, of one that lives again.

use std::collections::HashMap;

use super::free::rehashed;
use crate::clock::Timestamp;
use crate::wire::Traffic;

/// The last end of an allocation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ending {
    /// When it was.
    pub(super) at: Timestamp,
    /// Bytes of the deciding leg that its session has accounted for: it may live again, and join another.
    pub(super) accounted_bytes: u64,
    /// What the client leg's total had beyond its sum.
    pub(super) client_loss: Option<Traffic>,
}

/// Endings by the number of the record; most live, and have none.
#[derive(Debug, Default)]
pub(super) struct Endings(HashMap<u32, Ending, ahash::RandomState>);

impl Endings {
    pub(super) fn get(&self, record: u32) -> Option<&Ending> {
        self.0.get(&record)
    }

    /// When the record ended; [`Timestamp::ZERO`] if it never did.
    pub(super) fn moment(&self, record: u32) -> Timestamp {
        self.get(record).map_or(Timestamp::ZERO, |ending| ending.at)
    }

    pub(super) fn of(&mut self, record: u32) -> &mut Ending {
        self.0.entry(record).or_default()
    }

    pub(super) fn remove(&mut self, record: u32) {
        self.0.remove(&record);
        if let Some(room) = rehashed(self.0.len(), self.0.capacity()) {
            self.0.shrink_to(room);
        }
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.0.capacity()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
