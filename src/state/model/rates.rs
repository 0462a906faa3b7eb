//! The last report of each live allocation: its present rate follows from it. Kept only where somebody may ask.

use super::ids::RecordId;
use std::time::Duration;

use crate::state::storage::free_list::shrunk;
use crate::wire::{Leg, Traffic};

/// Both legs report in the same moment, the client's first; what the peer's reports takes its place.
const SAME_MOMENT: Duration = Duration::from_secs(1);

/// One report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastReport {
    /// Both directions together.
    pub(crate) bytes: u32,
    /// Since the report before.
    pub(crate) millis: u32,
}

/// Last reports by the number of the record.
#[derive(Debug)]
pub(crate) struct Rates(Option<Vec<LastReport>>);

impl Rates {
    pub(crate) fn new(are_kept: bool) -> Self {
        Self(are_kept.then(Vec::new))
    }

    /// They are kept from now on, or no more.
    pub(crate) fn keep(&mut self, are_kept: bool) {
        if are_kept != self.0.is_some() {
            *self = Self::new(are_kept);
        }
    }

    pub(crate) fn get(&self, record: RecordId) -> LastReport {
        self.0.as_ref().and_then(|all| all.get(record.place() as usize)).copied().unwrap_or_default()
    }

    /// The record is a new one's.
    pub(crate) fn clear(&mut self, record: RecordId) {
        let report = self.0.as_mut().and_then(|all| all.get_mut(record.place() as usize));
        if let Some(report) = report {
            *report = LastReport::default();
        }
    }

    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.0.as_ref().map_or(0, Vec::capacity)
    }

    /// There are only so many places for records any more.
    pub(crate) fn cut(&mut self, places: usize) {
        let Some(all) = &mut self.0 else { return };
        all.truncate(places);
        if let Some(room) = shrunk(all.len(), all.capacity()) {
            all.shrink_to(room);
        }
    }

    /// A live allocation reported what passed on a leg, `since` its report before.
    pub(crate) fn note(&mut self, record: RecordId, since: Duration, leg: Leg, traffic: &Traffic) {
        let Some(all) = &mut self.0 else { return };
        let place = record.place() as usize;
        if place >= all.len() {
            all.resize(place + 1, LastReport::default());
        }
        let Some(report) = all.get_mut(place) else { return };
        if leg == Leg::Client || since > SAME_MOMENT {
            report.millis = u32::try_from(since.as_millis()).unwrap_or(u32::MAX);
        }
        report.bytes = u32::try_from(traffic.bytes()).unwrap_or(u32::MAX);
    }
}
