//! Sums that outlive allocations: one set for each realm, each server. They only rise, except the gauges, which the
//! table keeps in step with its records.

use std::time::Duration;

use super::allocation::Cause;
use crate::wire::{Leg, Traffic, Transport};

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
    const EMPTY: Self = Self { counts: [0; N], above: 0, sum: 0 };

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

/// A histogram of durations, kept in milliseconds.
pub type Durations = Histogram<16>;

impl Durations {
    pub(super) fn observe_duration(&mut self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.observe(&DURATION_BUCKETS, 1000, millis);
    }
}

/// A histogram of bytes.
pub type Bytes = Histogram<13>;

impl Bytes {
    pub(super) fn observe_bytes(&mut self, bytes: u64) {
        self.observe(&BYTES_BUCKETS, 1, bytes);
    }
}

/// A histogram of counts of allocations.
pub type Allocations = Histogram<9>;

impl Allocations {
    pub(super) fn observe_allocations(&mut self, allocations: u64) {
        self.observe(&ALLOCATIONS_BUCKETS, 1, allocations);
    }
}

/// What a session came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// One of its allocations relayed.
    Relayed,
    /// None did: it found another path, or none.
    Unrelayed,
}

impl Outcome {
    /// Both, in the order of their discriminants.
    pub const ALL: [Self; 2] = [Self::Relayed, Self::Unrelayed];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relayed => "relayed",
            Self::Unrelayed => "unrelayed",
        }
    }
}

/// Why an allocation is an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphan {
    /// Refreshed for ever, relaying nothing: the unclosed web client.
    Idle,
    /// Past its lifetime without a word of its end: its server is gone, or the word was lost.
    Overdue,
}

impl Orphan {
    /// Both, in the order of their discriminants.
    pub const ALL: [Self; 2] = [Self::Idle, Self::Overdue];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Overdue => "overdue",
        }
    }
}

/// The client and the peer leg's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByLeg<T> {
    /// Between client and coturn.
    pub client: T,
    /// Between the relay and the peers.
    pub peer: T,
}

impl<T> ByLeg<T> {
    /// The value of one leg.
    pub const fn get(&self, leg: Leg) -> &T {
        match leg {
            Leg::Client => &self.client,
            Leg::Peer => &self.peer,
        }
    }

    pub(super) const fn get_mut(&mut self, leg: Leg) -> &mut T {
        match leg {
            Leg::Client => &mut self.client,
            Leg::Peer => &mut self.peer,
        }
    }
}

/// A number for each transport, cause, … in the order of its `ALL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally<const N: usize>([u64; N]);

impl<const N: usize> Tally<N> {
    const ZERO: Self = Self([0; N]);

    /// The number at a place.
    pub fn get(&self, at: usize) -> u64 {
        self.0.get(at).copied().unwrap_or(0)
    }

    /// All numbers together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn add(&mut self, at: usize) {
        if let Some(number) = self.0.get_mut(at) {
            *number += 1;
        }
    }

    pub(super) fn sub(&mut self, at: usize) {
        if let Some(number) = self.0.get_mut(at) {
            *number = number.saturating_sub(1);
        }
    }
}

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Self::ZERO
    }
}

/// Everything told about a realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealmSeries {
    /// Live allocations by [`Transport`].
    pub live: Tally<{ Transport::ALL.len() }>,
    /// Births witnessed, by [`Transport`].
    pub opened: Tally<{ Transport::ALL.len() }>,
    /// Allocations first met otherwise than by their birth.
    pub adopted: u64,
    /// Ends, by [`Cause`].
    pub closed: Tally<{ Cause::ALL.len() }>,
    /// Allocations that passed the threshold of relayed packets.
    pub relayed_allocations: u64,
    /// Refreshes with a lifetime other than 0.
    pub refreshes: u64,
    /// How long allocations lasted, of those witnessed from birth to end.
    pub allocation_durations: Durations,
    /// Live allocations older than the largest grant.
    pub over_max_lifetime: u64,
    /// Present orphans, by [`Orphan`].
    pub orphans: Tally<{ Orphan::ALL.len() }>,
    /// Allocations that became an orphan, by [`Orphan`].
    pub orphaned: Tally<{ Orphan::ALL.len() }>,
    /// Open sessions.
    pub sessions: u64,
    /// Sessions whose first allocation's birth was witnessed.
    pub sessions_opened: u64,
    /// Sessions whose first allocation was adopted.
    pub sessions_adopted: u64,
    /// Settled sessions, by [`Outcome`].
    pub sessions_closed: Tally<{ Outcome::ALL.len() }>,
    /// How long sessions lasted: relayed, unrelayed.
    pub session_durations: [Durations; 2],
    /// How long relayed sessions relayed.
    pub session_relay_durations: Durations,
    /// What relayed sessions relayed.
    pub session_bytes: Bytes,
    /// How many allocations sessions had.
    pub session_allocations: Allocations,
    /// What was relayed.
    pub relayed: ByLeg<Traffic>,
    /// The part of `relayed` that only totals revealed.
    pub recovered: ByLeg<Traffic>,
    /// What adopted allocations relayed before they were adopted; not part of `relayed`.
    pub unseen: ByLeg<Traffic>,
}

impl Default for RealmSeries {
    fn default() -> Self {
        const NOTHING: ByLeg<Traffic> = ByLeg { client: Traffic::ZERO, peer: Traffic::ZERO };
        Self {
            live: Tally::ZERO,
            opened: Tally::ZERO,
            adopted: 0,
            closed: Tally::ZERO,
            relayed_allocations: 0,
            refreshes: 0,
            allocation_durations: Histogram::EMPTY,
            over_max_lifetime: 0,
            orphans: Tally::ZERO,
            orphaned: Tally::ZERO,
            sessions: 0,
            sessions_opened: 0,
            sessions_adopted: 0,
            sessions_closed: Tally::ZERO,
            session_durations: [Histogram::EMPTY; 2],
            session_relay_durations: Histogram::EMPTY,
            session_bytes: Histogram::EMPTY,
            session_allocations: Histogram::EMPTY,
            relayed: NOTHING,
            recovered: NOTHING,
            unseen: NOTHING,
        }
    }
}

/// What a reading of totals against sums found odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// A total below what the deltas had already told: nothing was added.
    TotalBelowSum,
    /// A peer total too far from the sum to lift from 32 bits, with no client total to help: nothing was added.
    AmbiguousTotal,
    /// One key used by two servers: its totals add nothing for 24 h.
    SharedKey,
    /// A report or a total of more than can have been relayed in the time: nothing was added.
    Implausible,
}

impl Anomaly {
    /// Every anomaly, in the order of its discriminant.
    pub const ALL: [Self; 4] =
        [Self::TotalBelowSum, Self::AmbiguousTotal, Self::SharedKey, Self::Implausible];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TotalBelowSum => "total_below_sum",
            Self::AmbiguousTotal => "ambiguous_total",
            Self::SharedKey => "shared_key",
            Self::Implausible => "implausible",
        }
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
