//! Who gives way in a full table, and who gets a place.
//!
//! Half of the places are kept for the sources, in equal parts; the other half is for whoever comes first. So one source
//! that fills the table, by an attack or by its size, leaves the others their part. With one source all places are its own.
//!
//! When there is no place left, records of allocations that have ended give way to what is met now: those that nobody
//! will report again, most likely (overdue, or ended with their process), then those that wait for their totals; each the
//! earlier the sooner it ended. What is live never gives way: what is met then is refused.

use std::collections::VecDeque;

use super::allocation::{Allocation, Phase};
use super::deadlines::Entry;
use super::free::shrunk;
use super::slab::Slab;
use super::{Name, Source, Table};
use crate::clock::Timestamp;

/// Left-overs are cleared out once they may be half of a queue that is longer than this.
const LEAST: usize = 1024;

/// Why a record is kept though its allocation has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lingers {
    /// It may still be heard of: a server that lives after all, a report that is late.
    Lapsed,
    /// Its totals may still come.
    Closing,
}

/// Records in the order of their ends, each with the moment at which it goes by itself. An entry whose record has another
/// moment by now is a left-over.
#[derive(Debug)]
struct Queue {
    of: Lingers,
    in_order: VecDeque<Entry>,
    tidy_at: usize,
}

impl Queue {
    const fn new(of: Lingers) -> Self {
        Self { of, in_order: VecDeque::new(), tidy_at: LEAST }
    }

    fn is_current(of: Lingers, allocations: &Slab<Allocation>, entry: Entry) -> bool {
        let (moment, at) = entry.get();
        allocations.get(at).is_some_and(|record| {
            record.deadline.get() == moment
                && match of {
                    Lingers::Lapsed => matches!(record.phase, Phase::Overdue | Phase::Gone),
                    Lingers::Closing => record.phase == Phase::Closing,
                }
        })
    }

    fn push(&mut self, allocations: &Slab<Allocation>, moment: Timestamp, at: u32) {
        self.in_order.push_back(Entry::new(moment, at));
        if self.in_order.len() >= self.tidy_at {
            let of = self.of;
            self.in_order.retain(|&entry| Self::is_current(of, allocations, entry));
            self.tidy_at = LEAST.max(self.in_order.len() * 2);
            self.in_order.shrink_to(self.tidy_at);
        }
    }

    /// The one that ended first; those before it that are gone are dropped.
    fn first(&mut self, allocations: &Slab<Allocation>) -> Option<u32> {
        while let Some(&entry) = self.in_order.front() {
            if Self::is_current(self.of, allocations, entry) {
                return Some(entry.get().1);
            }
            self.in_order.pop_front();
            if let Some(room) = shrunk(self.in_order.len(), self.in_order.capacity()) {
                self.in_order.shrink_to(room);
                self.tidy_at = LEAST.max(room);
            }
        }
        None
    }
}

/// The records of one source: how many there are, and which have ended.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) taken: usize,
    lapsed: Queue,
    closing: Queue,
}

impl Places {
    pub(super) const fn new() -> Self {
        Self { taken: 0, lapsed: Queue::new(Lingers::Lapsed), closing: Queue::new(Lingers::Closing) }
    }

    fn queue(&mut self, of: Lingers) -> &mut Queue {
        match of {
            Lingers::Lapsed => &mut self.lapsed,
            Lingers::Closing => &mut self.closing,
        }
    }

    /// Drops entries of records that are gone.
    pub(super) fn expire(&mut self, allocations: &Slab<Allocation>) {
        self.lapsed.first(allocations);
        self.closing.first(allocations);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.taken == 0 && self.lapsed.in_order.is_empty() && self.closing.in_order.is_empty()
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.lapsed.in_order.capacity() + self.closing.in_order.capacity()
    }
}

impl Table {
    /// A record that has ended goes at `moment`, or sooner if its place is wanted.
    pub(super) fn note_lingering(&mut self, at: u32, moment: Timestamp) {
        let record = &self.allocations[at];
        let of = match record.phase {
            Phase::Live => return,
            Phase::Overdue | Phase::Gone => Lingers::Lapsed,
            Phase::Closing => Lingers::Closing,
        };
        if let Some(source) = self.sources.get_mut(record.source().0 as usize) {
            source.places.queue(of).push(&self.allocations, moment, at);
        }
    }

    /// Whether a record of the source has a place without another giving way.
    pub(super) fn has_room(&self, source: u32) -> bool {
        self.allocations.len() < self.settings.max_allocations && !self.is_over_share(source)
    }

    /// Makes a place for a record of that name; false where nothing may give way.
    pub(super) fn make_room(&mut self, name: &Name<'_>) -> bool {
        let source = name.source;
        while !self.has_room(source) || !self.has_room_for_names(name) {
            let given = if self.is_over_share(source) {
                let own = [source as usize];
                self.first_lingering(&own)
            } else {
                self.first_lingering(&self.by_size())
            };
            let Some(at) = given else { return false };
            self.evicted += 1;
            self.finish(at);
        }
        true
    }

    /// Whether the source has its part, and what is left is kept for the others.
    fn is_over_share(&self, source: u32) -> bool {
        let max = self.settings.max_allocations;
        // As long as half of the table is free, so is a place.
        if self.sources.len() < 2 || self.allocations.len() < max / 2 {
            return false;
        }
        let share = max / 2 / self.sources.len();
        let mut kept_for_others = 0;
        let mut taken = 0;
        for (number, Source { places, .. }) in self.sources.iter().enumerate() {
            if number == source as usize {
                taken = places.taken;
            } else {
                kept_for_others += share.saturating_sub(places.taken);
            }
        }
        taken >= share && self.allocations.len() + kept_for_others >= max
    }

    /// The sources, those with the most records first.
    fn by_size(&self) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.sources.len()).collect();
        all.sort_by_key(|&number| std::cmp::Reverse(self.sources[number].places.taken));
        all
    }

    /// A record of these sources that has ended, of the first that has one.
    fn first_lingering(&mut self, sources: &[usize]) -> Option<u32> {
        for of in [Lingers::Lapsed, Lingers::Closing] {
            for &number in sources {
                let places = self.sources.get_mut(number).map(|source| &mut source.places);
                if let Some(at) = places.and_then(|places| places.queue(of).first(&self.allocations)) {
                    return Some(at);
                }
            }
        }
        None
    }
}
