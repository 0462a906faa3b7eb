//! Sums that outlive allocations: one set for each realm, each server. They only rise, except the gauges, which the
//! table keeps in step with its records.

use super::allocation::Cause;
use super::counts::Counts;
use super::histogram::{Allocations, Bytes, Durations, Histogram};
use crate::state::image::persist;
use crate::wire::{ByLeg, Traffic, Transport};

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

/// Everything that is counted of a realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealmSeries {
    /// Live allocations by [`Transport`].
    pub live: Counts<{ Transport::ALL.len() }>,
    /// Births witnessed, by [`Transport`].
    pub opened: Counts<{ Transport::ALL.len() }>,
    /// Allocations first met otherwise than by their birth.
    pub adopted: u64,
    /// Ends, by [`Cause`].
    pub closed: Counts<{ Cause::ALL.len() }>,
    /// Allocations that passed the threshold of relayed packets.
    pub relayed_allocations: u64,
    /// Refreshes with a lifetime other than 0.
    pub refreshes: u64,
    /// How long allocations lasted, of those witnessed from birth to end.
    pub allocation_durations: Durations,
    /// Live allocations older than the largest grant.
    pub over_max_lifetime: u64,
    /// Present orphans, by [`Orphan`].
    pub orphans: Counts<{ Orphan::ALL.len() }>,
    /// Allocations that became an orphan, by [`Orphan`].
    pub orphaned: Counts<{ Orphan::ALL.len() }>,
    /// Open sessions.
    pub sessions: u64,
    /// Sessions whose first allocation's birth was witnessed.
    pub sessions_opened: u64,
    /// Sessions whose first allocation was adopted.
    pub sessions_adopted: u64,
    /// Settled sessions, by [`Outcome`].
    pub sessions_closed: Counts<{ Outcome::ALL.len() }>,
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
            live: Counts::ZERO,
            opened: Counts::ZERO,
            adopted: 0,
            closed: Counts::ZERO,
            relayed_allocations: 0,
            refreshes: 0,
            allocation_durations: Histogram::EMPTY,
            over_max_lifetime: 0,
            orphans: Counts::ZERO,
            orphaned: Counts::ZERO,
            sessions: 0,
            sessions_opened: 0,
            sessions_adopted: 0,
            sessions_closed: Counts::ZERO,
            session_durations: [const { Histogram::EMPTY }; 2],
            session_relay_durations: Histogram::EMPTY,
            session_bytes: Histogram::EMPTY,
            session_allocations: Histogram::EMPTY,
            relayed: NOTHING,
            recovered: NOTHING,
            unseen: NOTHING,
        }
    }
}

persist! {
    RealmSeries {
        live, opened, adopted, closed, relayed_allocations, refreshes, allocation_durations, over_max_lifetime, orphans,
        orphaned, sessions, sessions_opened, sessions_adopted, sessions_closed, session_durations,
        session_relay_durations, session_bytes, session_allocations, relayed, recovered, unseen
    }
}

/// What a reading of totals against sums found odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// A total below what the deltas had already reported: nothing was added.
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
