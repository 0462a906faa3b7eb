//! When to look at which record again.

use super::allocation::Allocation;
use super::ids::{OfAllocation, RecordId};
use crate::clock::Timestamp;
use crate::state::storage::slab::Slab;
use crate::state::storage::timer_queue::{TimerEntry, TimerQueue};

/// One timer of each record that has one, which the record knows as its deadline. Earlier timers of a record may still be
/// in the queue; they are recognized by not being its deadline.
#[derive(Debug)]
pub(crate) struct Timers {
    queue: TimerQueue<OfAllocation>,
    /// The moment that time passes to; the table's `now` follows it through what falls due.
    pub(crate) passing_to: Timestamp,
}

impl Timers {
    pub(crate) const fn new() -> Self {
        Self { queue: TimerQueue::new(), passing_to: Timestamp::ZERO }
    }

    /// What of them does not follow from the records.
    pub(crate) const fn share(&self) -> Self {
        Self { queue: TimerQueue::new(), passing_to: self.passing_to }
    }

    /// Sets the record's timer.
    pub(crate) fn set(&mut self, record: &mut Allocation, at: RecordId, moment: Timestamp) {
        record.deadline = moment.into();
        self.queue.push(moment, at);
    }

    /// The soonest timer that has come, with the number of its record.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<(Timestamp, RecordId)> {
        self.queue.pop(now)
    }

    /// The timers of records that were read.
    pub(crate) fn of_records(records: &Slab<OfAllocation, Allocation>, passing_to: Timestamp) -> Self {
        let timed = records.iter().filter(|(_, record)| record.deadline.get() < Timestamp::MAX);
        Self {
            queue: timed.map(|(at, record)| TimerEntry::new(record.deadline.get(), at)).collect(),
            passing_to,
        }
    }

    /// Drops timers that are no record's deadline, once they are many.
    pub(crate) fn tidy(&mut self, records: &Slab<OfAllocation, Allocation>) {
        self.queue.tidy(records.len(), |moment, at| {
            records.get(at).is_some_and(|record| record.deadline.get() == moment)
        });
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.queue.room()
    }
}
