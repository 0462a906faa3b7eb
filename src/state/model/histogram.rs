//! Histograms over fixed edges.

use std::sync::Arc;
use std::time::Duration;

use super::native::{BYTES_SCALE, MILLIS_SCALE, NativeBuckets, NativeScale};
use crate::clock::Timestamp;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::image::{Persist, persist};
use crate::wire::AllocationId;

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

/// What is observed in histograms of one type.
pub(in crate::state) trait Measured {
    /// The edges that are shown.
    const EDGES: &'static [u64];
    /// What an edge of 1 is in the unit of the observations.
    const UNIT: u64 = 1;
    /// Where its native buckets lie, if it has any.
    const NATIVE: Option<NativeScale>;
}

/// One observation, as an example of those of its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// The allocation that was observed, or one of the session that was.
    pub allocation: AllocationId,
    /// What was observed, in the unit of the histogram's sum.
    pub value: u64,
    /// When it was observed.
    pub at: Timestamp,
}

persist! { Exemplar { allocation, value, at } }

/// What a histogram has beside its counts, once something was observed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Observations<const N: usize> {
    native: NativeBuckets,
    /// The last observation up to each edge and above the one before.
    exemplars: [Option<Exemplar>; N],
    /// The last observation above the last edge.
    above: Option<Exemplar>,
}

/// A histogram of whole numbers over fixed edges; those of durations and bytes have native buckets and exemplars as well.
///
/// A copy shares these until one of both observes something: a scrape copies all histograms under the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram<const N: usize> {
    /// Observations up to each edge and above the one before.
    counts: [u64; N],
    /// Observations above the last edge.
    above: u64,
    sum: u64,
    observations: Option<Arc<Observations<N>>>,
}

impl<const N: usize> Histogram<N> {
    pub(in crate::state) const EMPTY: Self = Self { counts: [0; N], above: 0, sum: 0, observations: None };

    /// Observations up to each edge and above the one before.
    pub const fn counts(&self) -> &[u64; N] {
        &self.counts
    }

    /// All observations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.above
    }

    /// Sum of all observations, in the unit they were made in (durations: milliseconds).
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// The same observations in native buckets (durations: in seconds). `None` before the first one, and for counts of
    /// allocations, which have none.
    pub fn native(&self) -> Option<&NativeBuckets> {
        self.observations.as_deref().map(|observations| &observations.native)
    }

    /// The last observation in each bucket by the edges, in their order, and at the end the last above all of them.
    pub fn exemplars(&self) -> impl Iterator<Item = Option<&Exemplar>> {
        let observations = self.observations.as_deref();
        (0..=N).map(move |at| {
            let Observations { exemplars, above, native: _ } = observations?;
            exemplars.get(at).unwrap_or(above).as_ref()
        })
    }

    /// Counts an observation; gives the place of its bucket.
    fn count_one(&mut self, value: u64) -> usize
    where
        Self: Measured,
    {
        let edges = Self::EDGES.iter().map(|edge| edge.saturating_mul(Self::UNIT));
        let place = edges.take_while(|&edge| edge < value).count();
        *self.counts.get_mut(place).unwrap_or(&mut self.above) += 1;
        self.sum = self.sum.saturating_add(value);
        place
    }

    fn observe(&mut self, exemplar: Exemplar)
    where
        Self: Measured,
    {
        let place = self.count_one(exemplar.value);
        let Some(scale) = Self::NATIVE else { return };
        let observations = Arc::make_mut(self.observations.get_or_insert_default());
        observations.native.add(&scale, exemplar.value, 1);
        *observations.exemplars.get_mut(place).unwrap_or(&mut observations.above) = Some(exemplar);
    }
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const N: usize> Default for Observations<N> {
    fn default() -> Self {
        Self { native: NativeBuckets::default(), exemplars: [None; N], above: None }
    }
}

/// A histogram of durations, kept in milliseconds.
pub type Durations = Histogram<{ DURATION_BUCKETS.len() }>;

impl Measured for Durations {
    const EDGES: &'static [u64] = &DURATION_BUCKETS;
    const UNIT: u64 = 1000;
    const NATIVE: Option<NativeScale> = Some(MILLIS_SCALE);
}

impl Durations {
    pub(in crate::state) fn observe_duration(
        &mut self,
        at: Timestamp,
        allocation: AllocationId,
        duration: Duration,
    ) {
        let value = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.observe(Exemplar { allocation, value, at });
    }
}

/// A histogram of bytes.
pub type Bytes = Histogram<{ BYTES_BUCKETS.len() }>;

impl Measured for Bytes {
    const EDGES: &'static [u64] = &BYTES_BUCKETS;
    const NATIVE: Option<NativeScale> = Some(BYTES_SCALE);
}

impl Bytes {
    pub(in crate::state) fn observe_bytes(&mut self, at: Timestamp, allocation: AllocationId, value: u64) {
        self.observe(Exemplar { allocation, value, at });
    }
}

/// A histogram of counts of allocations.
pub type Allocations = Histogram<{ ALLOCATIONS_BUCKETS.len() }>;

/// The edges are whole numbers beside each other: native buckets would tell no more.
impl Measured for Allocations {
    const EDGES: &'static [u64] = &ALLOCATIONS_BUCKETS;
    const NATIVE: Option<NativeScale> = None;
}

impl Allocations {
    pub(in crate::state) fn observe_allocations(&mut self, allocations: u64) {
        self.count_one(allocations);
    }
}

impl<const N: usize> Persist for Observations<N> {
    fn write(&self, to: &mut ImageWriter<'_>) {
        let Self { native, exemplars, above } = self;
        native.write(to);
        exemplars.write(to);
        above.write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            native: Persist::read(from)?,
            exemplars: Persist::read(from)?,
            above: Persist::read(from)?,
        })
    }
}

/// The edges are not in the image: if they change, so does the format.
impl<const N: usize> Persist for Histogram<N>
where
    Self: Measured,
{
    fn write(&self, to: &mut ImageWriter<'_>) {
        let Self { counts, above, sum, observations } = self;
        counts.write(to);
        above.write(to);
        sum.write(to);
        if Self::NATIVE.is_some() {
            observations.is_some().write(to);
            if let Some(observations) = observations {
                observations.write(to);
            }
        }
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let (counts, above, sum) = (Persist::read(from)?, Persist::read(from)?, Persist::read(from)?);
        let mut histogram = Self { counts, above, sum, observations: None };
        let Some(scale) = Self::NATIVE else { return Ok(histogram) };
        histogram.observations = if from.version() >= 2 {
            Option::<Observations<N>>::read(from)?.map(Arc::new)
        } else {
            histogram.observations_of_counts(&scale)
        };
        let counts = histogram.counts.iter().chain([&histogram.above]);
        let counted = counts.fold(0_u64, |sum, &count| sum.saturating_add(count));
        if counted == histogram.native().map_or(0, NativeBuckets::count) {
            Ok(histogram)
        } else {
            Err(Unreadable::Malformed("native buckets hold another number of observations"))
        }
    }
}

impl<const N: usize> Histogram<N> {
    /// For a histogram of format 1, which had its counts alone: each observation is taken to be at the edge of its bucket, or just
    /// above the last one. That is as exact as its counts are.
    fn observations_of_counts(&self, scale: &NativeScale) -> Option<Arc<Observations<N>>>
    where
        Self: Measured,
    {
        let mut native = NativeBuckets::default();
        let last = Self::EDGES.last().map_or(0, |edge| edge * Self::UNIT);
        let values = Self::EDGES.iter().map(|edge| edge * Self::UNIT).chain([last + 1]);
        let counts = self.counts.iter().chain([&self.above]);
        for (value, &count) in values.zip(counts).filter(|&(_, &count)| count > 0) {
            native.add(scale, value, count);
        }
        (native.count() > 0).then(|| Arc::new(Observations { native, ..Observations::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_on_the_edge_is_below_it() {
        let mut durations = Durations::EMPTY;
        for millis in [1000, 1001, 86_400_000, 86_400_001] {
            durations.observe_duration(Timestamp::ZERO, AllocationId(1), Duration::from_millis(millis));
        }
        let counts = durations.counts();
        assert_eq!((counts[0], counts[1], counts[15], counts.iter().sum::<u64>()), (1, 1, 1, 3));
        assert_eq!((durations.count(), durations.sum()), (4, 172_802_002));
    }

    fn durations(of: &[(u64, u64)]) -> Durations {
        let mut durations = Durations::EMPTY;
        for &(id, millis) in of {
            let at = Timestamp::from_millis(100 + id);
            durations.observe_duration(at, AllocationId(id), Duration::from_millis(millis));
        }
        durations
    }

    #[test]
    fn each_bucket_keeps_its_last_observation() {
        let durations =
            durations(&[(1, 0), (2, 1000), (3, 1001), (4, 86_400_001), (5, 5000), (6, 90_000_000)]);
        let kept: Vec<_> = durations.exemplars().collect();
        assert_eq!(kept.len(), DURATION_BUCKETS.len() + 1);
        let exemplar = |id, value| Exemplar {
            allocation: AllocationId(id),
            value,
            at: Timestamp::from_millis(100 + id),
        };
        let (first, second, above) = (exemplar(2, 1000), exemplar(5, 5000), exemplar(6, 90_000_000));
        assert_eq!((kept[0], kept[1], kept[16]), (Some(&first), Some(&second), Some(&above)));
        assert!(kept[2..16].iter().all(Option::is_none));
    }

    #[test]
    fn native_buckets_hold_what_the_others_hold() {
        let durations = durations(&[(1, 0), (2, 1000), (3, 1001), (4, 600_000)]);
        let native = durations.native().unwrap();
        assert_eq!((native.zero_count(), native.count(), native.schema()), (1, 4, 3));
        // 1 s, just above it, and 600 s: 2^(73/8) is 558, 2^(74/8) is 609.
        assert_eq!(native.iter().collect::<Vec<_>>(), [(0, 1), (1, 1), (74, 1)]);
        let mut bytes = Bytes::EMPTY;
        bytes.observe_bytes(Timestamp::ZERO, AllocationId(1), 1 << 20);
        assert_eq!(bytes.native().unwrap().iter().collect::<Vec<_>>(), [(160, 1)]);
    }

    #[test]
    fn what_observed_nothing_and_what_counts_allocations_has_counts_alone() {
        let mut allocations = Allocations::EMPTY;
        allocations.observe_allocations(3);
        assert!(allocations.native().is_none() && allocations.exemplars().flatten().next().is_none());
        assert_eq!((allocations.count(), allocations.exemplars().count()), (1, 10));
        assert!(
            Durations::EMPTY.native().is_none() && Durations::EMPTY.exemplars().flatten().next().is_none()
        );
    }

    #[test]
    fn a_copy_stays_as_it_is() {
        let mut live = durations(&[(1, 10)]);
        let copy = live.clone();
        live.observe_duration(Timestamp::ZERO, AllocationId(2), Duration::from_millis(20));
        assert_eq!(copy, durations(&[(1, 10)]));
        assert_eq!(live.native().map(NativeBuckets::count), Some(2));
    }

    #[test]
    fn the_counts_of_format_1_become_native_buckets_that_hold_as_many() {
        let exact = durations(&[(1, 1), (2, 900), (3, 299_000), (4, 86_400_001)]);
        let observations = exact.observations_of_counts(&MILLIS_SCALE).unwrap();
        // At the edges of 1 s and 300 s, and just above that of a day.
        let day = i32::from(MILLIS_SCALE.index(86_400_001));
        assert_eq!(observations.native.iter().collect::<Vec<_>>(), [(0, 2), (66, 1), (day, 1)]);
        assert_eq!(observations.native.count(), exact.count());
        assert!(Durations::EMPTY.observations_of_counts(&MILLIS_SCALE).is_none());
        let mut bytes = Bytes::EMPTY;
        for value in [1 << 36, (1 << 36) + 1] {
            bytes.observe_bytes(Timestamp::ZERO, AllocationId(1), value);
        }
        let observations = bytes.observations_of_counts(&BYTES_SCALE).unwrap();
        assert_eq!(observations.native.iter().collect::<Vec<_>>(), [(288, 1), (289, 1)]);
    }
}
