//! What the table counts that belongs to no realm and no server.

use super::counts::Counts;
use super::series::Anomaly;
use crate::clock::Timestamp;
use crate::state::image::persist;
use crate::wire::Traffic;

/// Counters of the table as a whole. They only rise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    /// When the table began to count; [`Timestamp::ZERO`] before its first moment, and where an image of format 1 did not tell.
    pub(crate) created: Timestamp,
    /// Client-leg traffic of sessions that got no allocation.
    pub(crate) unallocated: Traffic,
    anomalies: Counts<{ Anomaly::ALL.len() }>,
    /// Allocations refused because the table was full.
    pub(crate) refused: u64,
    /// Records of ended allocations that gave way because the table was full.
    pub(crate) evicted: u64,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            created: Timestamp::ZERO,
            unallocated: Traffic::ZERO,
            anomalies: Counts::default(),
            refused: 0,
            evicted: 0,
        }
    }

    pub(crate) fn count_anomaly(&mut self, anomaly: Anomaly) {
        self.anomalies.add(anomaly as usize);
    }

    pub(crate) const fn anomalies(&self) -> Counts<{ Anomaly::ALL.len() }> {
        self.anomalies
    }
}

persist! { Counters { since 2 created = Timestamp::ZERO, unallocated, anomalies, refused, evicted } }
