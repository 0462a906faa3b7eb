//! When to look at an allocation again: a heap of moments, soonest first.
//!
//! A moment may come too early (the allocation was refreshed meanwhile), never too late: whoever is woken looks at the
//! record and sets the next moment. So a refresh and a traffic report, the common events, do not touch the heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::marker::PhantomData;

use super::free_list::shrunk;
use super::id::Id;
use super::packed::PackedTime;
use crate::clock::Timestamp;
use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;

/// A moment and the number of the record it belongs to, in ten bytes.
#[derive(Debug)]
pub(crate) struct TimerEntry<Of>(PackedTime, [u8; 4], PhantomData<fn() -> Of>);

impl<Of> TimerEntry<Of> {
    pub(crate) fn new(at: Timestamp, record: Id<Of>) -> Self {
        Self(at.into(), record.place().to_le_bytes(), PhantomData)
    }

    pub(crate) fn get(self) -> (Timestamp, Id<Of>) {
        (self.0.get(), Id::of_place(u32::from_le_bytes(self.1)))
    }
}

impl<Of> Clone for TimerEntry<Of> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Of> Copy for TimerEntry<Of> {}

impl<Of> PartialEq for TimerEntry<Of> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<Of> Eq for TimerEntry<Of> {}

impl<Of> Ord for TimerEntry<Of> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.get().cmp(&other.get())
    }
}

impl<Of> PartialOrd for TimerEntry<Of> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<Of> Persist for TimerEntry<Of> {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.get().write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let (moment, record) = Persist::read(from)?;
        Ok(Self::new(moment, record))
    }
}

impl<Of> FromIterator<TimerEntry<Of>> for TimerQueue<Of> {
    fn from_iter<I: IntoIterator<Item = TimerEntry<Of>>>(entries: I) -> Self {
        Self { heap: entries.into_iter().map(Reverse).collect::<Vec<_>>().into() }
    }
}

/// Moments with the number of the record each belongs to. A record remembers the moment that is its own; others of the
/// same number are left-overs.
#[derive(Debug)]
pub(crate) struct TimerQueue<Of> {
    heap: BinaryHeap<Reverse<TimerEntry<Of>>>,
}

impl<Of> TimerQueue<Of> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    pub(crate) fn push(&mut self, at: Timestamp, record: Id<Of>) {
        self.heap.push(Reverse(TimerEntry::new(at, record)));
    }

    /// The soonest, if it has come.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, Id<Of>)> {
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
    pub(crate) fn tidy(&mut self, records: usize, is_current: impl Fn(Timestamp, Id<Of>) -> bool) {
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
