//! Histograms over fixed edges.

use std::time::Duration;

use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;

/// Edges for how long allocations and sessions last, in seconds. From one gathering (a few seconds) to a day; 600 is
/// coturn's default lifetime, 3600 its largest grant.
pub const DURATION_BUCKETS: [u64; 16] =
    [1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400];

/// Edges for the bytes of a session: powers of four from 4 KiB to 64 GiB.
pub const BYTES_BUCKETS: [u64; 13] = [
    1 << 12,
    1 << 14,
    1 << 16,
    1 << 18,
    1 << 20,
    1 << 22,
    1 << 24,
    1 << 26,
    1 << 28,
    1 << 30,
    1 << 32,
    1 << 34,
    1 << 36,
];

/// Edges for the allocations of a session: a browser gathers one for each TURN URL and network.
pub const ALLOCATIONS_BUCKETS: [u64; 9] = [1, 2, 3, 4, 6, 8, 12, 16, 32];

/// A histogram of whole numbers over fixed edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram<const N: usize> {
    /// Observations up to each edge and above the one before.
    counts: [u64; N],
    /// Observations above the last edge.
    above: u64,
    sum: u64,
}

impl<const N: usize> Histogram<N> {
    pub(in crate::state) const EMPTY: Self = Self { counts: [0; N], above: 0, sum: 0 };

    fn observe(&mut self, edges: &[u64; N], scale: u64, value: u64) {
        let at = edges.iter().position(|&edge| value <= edge.saturating_mul(scale));
        match at.and_then(|at| self.counts.get_mut(at)) {
            Some(count) => *count += 1,
            None => self.above += 1,
        }
        self.sum = self.sum.saturating_add(value);
    }

    /// Observations at or below each edge in turn.
    pub fn cumulative(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().scan(0, |sum, &count| {
            *sum += count;
            Some(*sum)
        })
    }

    /// All observations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.above
    }

    /// Sum of all observations, in the unit they were made in (durations: milliseconds).
    pub const fn sum(&self) -> u64 {
        self.sum
    }
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// A histogram of durations, kept in milliseconds.
pub type Durations = Histogram<16>;

impl Durations {
    pub(in crate::state) fn observe_duration(&mut self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.observe(&DURATION_BUCKETS, 1000, millis);
    }
}

/// A histogram of bytes.
pub type Bytes = Histogram<13>;

impl Bytes {
    pub(in crate::state) fn observe_bytes(&mut self, bytes: u64) {
        self.observe(&BYTES_BUCKETS, 1, bytes);
    }
}

/// A histogram of counts of allocations.
pub type Allocations = Histogram<9>;

impl Allocations {
    pub(in crate::state) fn observe_allocations(&mut self, allocations: u64) {
        self.observe(&ALLOCATIONS_BUCKETS, 1, allocations);
    }
}

/// The edges are not in the image: if they change, so does the format.
impl<const N: usize> Persist for Histogram<N> {
    fn write(&self, to: &mut ImageWriter<'_>) {
        let Self { counts, above, sum } = self;
        counts.write(to);
        above.write(to);
        sum.write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        Ok(Self { counts: Persist::read(from)?, above: Persist::read(from)?, sum: Persist::read(from)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_on_the_edge_is_below_it() {
        let mut durations = Durations::EMPTY;
        for millis in [1000, 1001, 86_400_000, 86_400_001] {
            durations.observe_duration(Duration::from_millis(millis));
        }
        let cumulative: Vec<_> = durations.cumulative().collect();
        assert_eq!((cumulative[0], cumulative[1], cumulative[15]), (1, 2, 3));
        assert_eq!((durations.count(), durations.sum()), (4, 172_802_002));
    }
}
