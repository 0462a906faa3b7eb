//! When to look at an allocation again: a heap of moments, soonest first.
//!
//! A moment may come too early (the allocation was refreshed meanwhile), never too late: whoever is woken looks at the
//! record and sets the next moment. So a refresh and a traffic report, the common events, do not touch the heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Timestamp;

/// Moments with the number of the record each belongs to. A record remembers the moment that is its own; others of the
/// same number are left-overs.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(Timestamp, u32)>>,
}

impl Deadlines {
    pub(super) fn push(&mut self, at: Timestamp, record: u32) {
        self.heap.push(Reverse((at, record)));
    }

    /// The soonest, if it has come.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, u32)> {
        let &Reverse((at, _)) = self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Drops left-overs once they are more than the records: short allocations would otherwise leave theirs for the
    /// length of a lifetime.
    pub(super) fn tidy(&mut self, records: usize, is_current: impl Fn(Timestamp, u32) -> bool) {
        const SLACK: usize = 1024;
        if self.heap.len() > 2 * records + SLACK {
            self.heap.retain(|&Reverse((at, record))| is_current(at, record));
            self.heap.shrink_to(2 * records + SLACK);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}
