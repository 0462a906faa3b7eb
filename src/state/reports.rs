//! The last report of each live allocation: its present rate follows from it. Kept only where somebody may ask.

use std::time::Duration;

use super::free::shrunk;
use crate::wire::{Leg, Traffic};

/// Both legs report in the same moment, the client's first; what the peer's tells takes its place.
const SAME_MOMENT: Duration = Duration::from_secs(1);

/// One report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// Both directions together.
    pub(super) bytes: u32,
    /// Since the report before.
    pub(super) millis: u32,
}

/// Reports by the number of the record.
#[derive(Debug)]
pub(super) struct Reports(Option<Vec<Report>>);

impl Reports {
    pub(super) fn new(are_kept: bool) -> Self {
        Self(are_kept.then(Vec::new))
    }

    pub(super) fn get(&self, record: u32) -> Report {
        self.0.as_ref().and_then(|all| all.get(record as usize)).copied().unwrap_or_default()
    }

    /// The record is a new one's.
    pub(super) fn clear(&mut self, record: u32) {
        let report = self.0.as_mut().and_then(|all| all.get_mut(record as usize));
        if let Some(report) = report {
            *report = Report::default();
        }
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.0.as_ref().map_or(0, Vec::capacity)
    }

    /// There are only so many places for records any more.
    pub(super) fn cut(&mut self, places: usize) {
        let Some(all) = &mut self.0 else { return };
        all.truncate(places);
        if let Some(room) = shrunk(all.len(), all.capacity()) {
            all.shrink_to(room);
        }
    }

    /// A live allocation reported what passed on a leg, `since` its report before.
    pub(super) fn note(&mut self, record: u32, since: Duration, leg: Leg, traffic: &Traffic) {
        let Some(all) = &mut self.0 else { return };
        let place = record as usize;
        if place >= all.len() {
            all.resize(place + 1, Report::default());
        }
        let Some(report) = all.get_mut(place) else { return };
        if leg == Leg::Client || since > SAME_MOMENT {
            report.millis = u32::try_from(since.as_millis()).unwrap_or(u32::MAX);
        }
        report.bytes = u32::try_from(traffic.bytes()).unwrap_or(u32::MAX);
    }
}
