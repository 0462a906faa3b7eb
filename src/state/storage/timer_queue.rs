//! When to look at an allocation again: a heap of moments, soonest first.
//!
//! A moment may come too early (the allocation was refreshed meanwhile), never too late: whoever is woken looks at the
//! record and sets the next moment. So a refresh and a traffic report, the common events, do not touch the heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::free_list::shrunk;
use super::packed::PackedTime;
use crate::clock::Timestamp;

/// A moment and the number of the record it belongs to, in ten bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerEntry(PackedTime, [u8; 4]);

impl TimerEntry {
    pub(crate) fn new(at: Timestamp, record: u32) -> Self {
        Self(at.into(), record.to_le_bytes())
    }

    pub(crate) fn get(self) -> (Timestamp, u32) {
        (self.0.get(), u32::from_le_bytes(self.1))
    }
}

impl Ord for TimerEntry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.get().cmp(&other.get())
    }
}

impl PartialOrd for TimerEntry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Moments with the number of the record each belongs to. A record remembers the moment that is its own; others of the
/// same number are left-overs.
#[derive(Debug, Default)]
pub(crate) struct TimerQueue {
    heap: BinaryHeap<Reverse<TimerEntry>>,
}

impl TimerQueue {
    pub(crate) fn push(&mut self, at: Timestamp, record: u32) {
        self.heap.push(Reverse(TimerEntry::new(at, record)));
    }

    /// The soonest, if it has come.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, u32)> {
        let (at, record) = self.heap.peek()?.0.get();
        if at > now {
            return None;
        }
        self.heap.pop();
        if let Some(room) = shrunk(self.heap.len(), self.heap.capacity()) {
            self.heap.shrink_to(room);
        }
        Some((at, record))
    }

    /// Drops left-overs once they are more than the records: short allocations would otherwise leave theirs for the
    /// length of a lifetime.
    pub(crate) fn tidy(&mut self, records: usize, is_current: impl Fn(Timestamp, u32) -> bool) {
        const SLACK: usize = 1024;
        if self.heap.len() > 2 * records + SLACK {
            self.heap.retain(|&Reverse(entry)| {
                let (at, record) = entry.get();
                is_current(at, record)
            });
            self.heap.shrink_to(2 * records + SLACK);
        }
    }

    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.heap.capacity()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}
