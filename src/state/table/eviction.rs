//! Who gives way in a full table, and who gets a place.
//!
//! Half of the places are kept for the sources, in equal parts; the other half is for whoever comes first. So one source
//! that fills the table, by an attack or by its size, leaves the others their part. With one source all places are its own.
//!
//! When there is no place left, records of allocations that have ended give way to what is met now: those that nobody
//! will report again, most likely (overdue, or ended with their process), then those that wait for their totals; each the
//! earlier the sooner it ended. What is live never gives way: what is met then is refused.

use super::Table;
use crate::clock::Timestamp;
use crate::state::model::allocation::Phase;
use crate::state::model::ended_queues::EndedKind;
use crate::state::model::key::SourceKey;
use crate::state::model::source::Source;

impl Table {
    /// A record that has ended goes at `moment`, or sooner if its place is wanted.
    pub(super) fn note_lingering(&mut self, at: u32, moment: Timestamp) {
        let record = &self.allocations[at];
        let of = match record.phase {
            Phase::Live => return,
            Phase::Overdue | Phase::Gone => EndedKind::Lapsed,
            Phase::Closing => EndedKind::Closing,
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
    pub(super) fn make_room(&mut self, name: &SourceKey<'_>) -> bool {
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
        for of in [EndedKind::Lapsed, EndedKind::Closing] {
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
