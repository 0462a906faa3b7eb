//! The sources, and which of them gives way in a full table.

use std::cmp::Reverse;

use super::allocation::Allocation;
use super::ended_queues::EndedKind;
use super::ids::{OfAllocation, RecordId, SourceId};
use super::source::Source;
use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::storage::slab::Slab;

/// The sources in the order given at the start. A number that is none of theirs is no source.
#[derive(Debug)]
pub(crate) struct Sources(Vec<Source>);

impl Sources {
    pub(crate) fn new<S: AsRef<str>>(names: &[S]) -> Self {
        Self(names.iter().map(|name| Source::new(name.as_ref())).collect())
    }

    /// Live records of all sources.
    pub(crate) fn live(&self) -> usize {
        self.0.iter().map(|source| usize::try_from(source.live).unwrap_or(usize::MAX)).sum()
    }

    pub(crate) fn get(&self, source: SourceId) -> Option<&Source> {
        self.0.get(source.0 as usize)
    }

    pub(crate) fn get_mut(&mut self, source: SourceId) -> Option<&mut Source> {
        self.0.get_mut(source.0 as usize)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }

    /// Whether a scan of some source's keys goes on.
    pub(crate) fn is_any_scanned(&self) -> bool {
        self.0.iter().any(|source| source.scan.is_some())
    }

    /// Drops queue entries of records that are gone.
    pub(crate) fn expire(&mut self, records: &Slab<OfAllocation, Allocation>) {
        for source in &mut self.0 {
            source.records.expire(records);
        }
    }

    /// Whether the source has its part of a table of `max` records that has `taken`, and what is left is kept for the
    /// others.
    pub(crate) fn is_over_share(&self, source: SourceId, taken: usize, max: usize) -> bool {
        // As long as half of the table is free, so is a place.
        if self.0.len() < 2 || taken < max / 2 {
            return false;
        }
        let share = max / 2 / self.0.len();
        let mut kept_for_others = 0;
        let mut own = 0;
        for (number, Source { records, .. }) in self.0.iter().enumerate() {
            if number == source.0 as usize {
                own = records.taken;
            } else {
                kept_for_others += share.saturating_sub(records.taken);
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

    /// A record of an allocation that has ended, the first to give way: of the source with the most records that has one.
    pub(crate) fn first_ended_of_all(
        &mut self,
        records: &Slab<OfAllocation, Allocation>,
    ) -> Option<RecordId> {
        let mut by_size: Vec<usize> = (0..self.0.len()).collect();
        by_size.sort_by_key(|&number| Reverse(self.0[number].records.taken));
        self.first_ended(&by_size, records)
    }

    fn first_ended(
        &mut self,
        sources: &[usize],
        records: &Slab<OfAllocation, Allocation>,
    ) -> Option<RecordId> {
        for kind in [EndedKind::Lapsed, EndedKind::Closing] {
            for &number in sources {
                let of_source = self.0.get_mut(number).map(|source| &mut source.records);
                if let Some(at) = of_source.and_then(|of_source| of_source.queue(kind).first(records)) {
                    return Some(at);
                }
            }
        }
        None
    }
}

impl Sources {
    /// The same once more, to be written only.
    pub(crate) fn share(&mut self) -> Self {
        Self(self.0.iter_mut().map(Source::share).collect())
    }
}

impl Persist for Sources {
    fn write(&self, to: &mut ImageWriter<'_>) {
        to.list(self.0.len(), &self.0);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let mut sources = Vec::new();
        from.list(|source| sources.push(source))?;
        Ok(Self(sources))
    }
}
