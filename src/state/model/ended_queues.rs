//! The records of one source that have ended, in the order in which they give way to others in a full table.

use super::allocation::{Allocation, Phase};
use super::ids::{OfAllocation, RecordId};
use crate::clock::Timestamp;
use crate::state::image::{persist, persist_words};
use crate::state::storage::queue::Queue;
use crate::state::storage::slab::Slab;
use crate::state::storage::timer_queue::TimerEntry;

/// Left-overs are cleared out once they may be half of a queue that is longer than this.
const LEAST: usize = 1024;

/// Why a record is kept though its allocation has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndedKind {
    /// An event of it may still come: its server lives after all, or a report is late.
    Lapsed,
    /// Its totals may still come.
    Closing,
}

/// Records in the order of their ends, each with the moment at which it goes by itself. An entry whose record has another
/// moment by now is a left-over.
#[derive(Debug)]
pub(crate) struct EndedQueue {
    of: EndedKind,
    in_order: Queue<TimerEntry<OfAllocation>>,
    tidy_at: usize,
}

impl EndedQueue {
    const fn new(of: EndedKind) -> Self {
        Self { of, in_order: Queue::new(), tidy_at: LEAST }
    }

    fn is_current(
        of: EndedKind,
        allocations: &Slab<OfAllocation, Allocation>,
        entry: TimerEntry<OfAllocation>,
    ) -> bool {
        let (moment, at) = entry.get();
        allocations.get(at).is_some_and(|record| {
            record.deadline.get() == moment
                && match of {
                    EndedKind::Lapsed => matches!(record.phase, Phase::Overdue | Phase::Gone),
                    EndedKind::Closing => record.phase == Phase::Closing,
                }
        })
    }

    pub(crate) fn push(
        &mut self,
        allocations: &Slab<OfAllocation, Allocation>,
        moment: Timestamp,
        at: RecordId,
    ) {
        self.in_order.push_back(TimerEntry::new(moment, at));
        if self.in_order.len() >= self.tidy_at {
            let of = self.of;
            self.in_order.retain(|&entry| Self::is_current(of, allocations, entry));
            self.tidy_at = LEAST.max(self.in_order.len() * 2);
        }
    }

    /// The one that ended first; those before it that are gone are dropped.
    pub(crate) fn first(&mut self, allocations: &Slab<OfAllocation, Allocation>) -> Option<RecordId> {
        while let Some(&entry) = self.in_order.front() {
            if Self::is_current(self.of, allocations, entry) {
                return Some(entry.get().1);
            }
            self.in_order.pop_front();
            if self.in_order.len() < self.tidy_at / 4 {
                self.tidy_at = LEAST.max(self.in_order.len() * 2);
            }
        }
        None
    }
}

/// The records of one source: how many there are, and which have ended.
#[derive(Debug)]
pub(crate) struct SourceRecords {
    pub(crate) taken: usize,
    lapsed: EndedQueue,
    closing: EndedQueue,
}

impl SourceRecords {
    pub(crate) const fn new() -> Self {
        Self {
            taken: 0,
            lapsed: EndedQueue::new(EndedKind::Lapsed),
            closing: EndedQueue::new(EndedKind::Closing),
        }
    }

    pub(crate) fn queue(&mut self, of: EndedKind) -> &mut EndedQueue {
        match of {
            EndedKind::Lapsed => &mut self.lapsed,
            EndedKind::Closing => &mut self.closing,
        }
    }

    /// Drops entries of records that are gone.
    pub(crate) fn expire(&mut self, allocations: &Slab<OfAllocation, Allocation>) {
        self.lapsed.first(allocations);
        self.closing.first(allocations);
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.taken == 0 && self.lapsed.in_order.is_empty() && self.closing.in_order.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.lapsed.in_order.room() + self.closing.in_order.room()
    }
}

persist_words! { EndedKind { Lapsed = 0, Closing = 1 } }
persist! { EndedQueue { of, in_order, tidy_at } }
persist! { SourceRecords { taken, lapsed, closing } }

impl EndedQueue {
    fn share(&mut self) -> Self {
        Self { of: self.of, in_order: self.in_order.share(), tidy_at: self.tidy_at }
    }
}

impl SourceRecords {
    /// The same once more, to be written only.
    pub(crate) fn share(&mut self) -> Self {
        let Self { taken, lapsed, closing } = self;
        Self { taken: *taken, lapsed: lapsed.share(), closing: closing.share() }
    }
}
