//! The sources, and which of them gives way in a full table.

use std::cmp::Reverse;
use std::sync::Arc;

use super::allocation::Allocation;
use super::ended_queues::EndedKind;
use super::ids::{OfAllocation, RecordId, SourceId};
use super::source::Source;
use crate::clock::Timestamp;
use crate::state::image::persist;
use crate::state::storage::slab::Slab;

/// The sources under numbers that stay the same for ever, from process to process. A number that is none of theirs is no
/// source.
#[derive(Debug)]
pub(crate) struct Sources {
    all: Vec<Source>,
    /// Those that the running process watches, in the order of the page. The others keep what is known of them for when they
    /// come back.
    watched: Vec<SourceId>,
}

impl Sources {
    pub(crate) fn new<S: AsRef<str>>(names: &[S]) -> Self {
        let mut sources = Self { all: Vec::new(), watched: Vec::new() };
        for name in names {
            sources.watched.push(SourceId(u32::try_from(sources.all.len()).unwrap_or(u32::MAX)));
            sources.all.push(Source::new(name.as_ref(), Timestamp::ZERO));
        }
        sources
    }

    /// Live records of all sources.
    pub(crate) fn live(&self) -> usize {
        self.all.iter().map(|source| usize::try_from(source.live).unwrap_or(usize::MAX)).sum()
    }

    pub(crate) fn get(&self, source: SourceId) -> Option<&Source> {
        self.all.get(source.0 as usize)
    }

    pub(crate) fn get_mut(&mut self, source: SourceId) -> Option<&mut Source> {
        self.all.get_mut(source.0 as usize)
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.all.iter()
    }

    /// Those that the running process watches, in the order of the page.
    pub(crate) fn watched(&self) -> impl Iterator<Item = &Source> {
        self.watched_ids().filter_map(|source| self.get(source))
    }

    /// The numbers of those that the running process watches, in the order of the page.
    pub(crate) fn watched_ids(&self) -> impl Iterator<Item = SourceId> {
        self.watched.iter().copied()
    }

    /// Its name on the page.
    pub(crate) fn watched_name(&self, source: SourceId) -> Option<Arc<str>> {
        self.get(source).filter(|_| self.is_watched(source)).map(|source| Arc::clone(&source.name))
    }

    pub(crate) fn is_watched(&self, source: SourceId) -> bool {
        self.watched.contains(&source)
    }

    /// The numbers of all.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SourceId> + use<> {
        (0..).map(SourceId).take(self.all.len())
    }

    /// From now on those of these names are watched, in this order; gives their numbers. A name that is known keeps its
    /// number.
    pub(crate) fn watch(&mut self, now: Timestamp, names: &[&str]) -> Vec<SourceId> {
        self.watched.clear();
        for name in names {
            let known = self.all.iter().position(|source| *source.name == **name);
            let place = known.unwrap_or_else(|| {
                self.all.push(Source::new(name, now));
                self.all.len() - 1
            });
            self.watched.push(SourceId(u32::try_from(place).unwrap_or(u32::MAX)));
        }
        self.watched.clone()
    }

    /// Whether a scan of some source's keys goes on.
    pub(crate) fn is_any_scanned(&self) -> bool {
        self.all.iter().any(|source| source.scan.is_some())
    }

    /// Drops queue entries of records that are gone.
    pub(crate) fn expire(&mut self, records: &Slab<OfAllocation, Allocation>) {
        for source in &mut self.all {
            source.records.expire(records);
        }
    }

    /// Whether the source has its part of a table of `max` records that has `taken`, and what is left is kept for the
    /// others.
    pub(crate) fn is_over_share(&self, source: SourceId, taken: usize, max: usize) -> bool {
        // As long as half of the table is free, so is a place.
        if self.watched.len() < 2 || taken < max / 2 {
            return false;
        }
        let share = max / 2 / self.watched.len();
        let mut kept_for_others = 0;
        let mut own = 0;
        for number in self.watched_ids() {
            let taken = self.get(number).map_or(0, |source| source.records.taken);
            if number == source {
                own = taken;
            } else {
                kept_for_others += share.saturating_sub(taken);
            }
        }
        own >= share && taken + kept_for_others >= max
    }

    /// A record of an allocation of this source that has ended, the first to give way.
    pub(crate) fn first_ended_of(
        &mut self,
        source: SourceId,
        records: &Slab<OfAllocation, Allocation>,
    ) -> Option<RecordId> {
        self.first_ended(&[source.0 as usize], records)
    }

    /// A record of a source that is not watched any more, which has ended as all of those have.
    pub(crate) fn first_ended_of_unwatched(
        &mut self,
        records: &Slab<OfAllocation, Allocation>,
    ) -> Option<RecordId> {
        let unwatched: Vec<usize> =
            self.ids().filter(|&source| !self.is_watched(source)).map(|source| source.0 as usize).collect();
        self.first_ended(&unwatched, records)
    }

    /// A record of an allocation that has ended, the first to give way: of the source with the most records that has one.
    pub(crate) fn first_ended_of_all(
        &mut self,
        records: &Slab<OfAllocation, Allocation>,
    ) -> Option<RecordId> {
        let mut by_size: Vec<usize> = (0..self.all.len()).collect();
        by_size.sort_by_key(|&number| Reverse(self.all[number].records.taken));
        self.first_ended(&by_size, records)
    }

    fn first_ended(
        &mut self,
        sources: &[usize],
        records: &Slab<OfAllocation, Allocation>,
    ) -> Option<RecordId> {
        for kind in [EndedKind::Lapsed, EndedKind::Closing] {
            for &number in sources {
                let of_source = self.all.get_mut(number).map(|source| &mut source.records);
                if let Some(at) = of_source.and_then(|of_source| of_source.queue(kind).first(records)) {
                    return Some(at);
                }
            }
        }
        None
    }
}

persist! { Sources { all, watched } }

impl Sources {
    /// The same once more, to be written only.
    pub(crate) fn share(&mut self) -> Self {
        let Self { all, watched } = self;
        Self { all: all.iter_mut().map(Source::share).collect(), watched: watched.clone() }
    }
}
