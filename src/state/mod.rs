//! The table of allocations and sessions, and every sum about them.
//!
//! Six wings, and nothing points back: `table` (the rules that need several parts) uses `record` (what a store keeps),
//! `input` (what the table is a function of), `model` (the data, and the rules that need one kind of it), `storage` (containers
//! that know nothing of TURN) and `image` (how values stand in an image of the table).

#![allow(
    clippy::indexing_slicing,
    reason = "a slab is asked for its own numbers only; a wrong one must not go unseen"
)]

#[cfg(any(test, feature = "fuzzing"))]
mod audit;
mod image;
mod input;
mod model;
mod record;
mod storage;
mod table;
#[cfg(test)]
mod tests;

/// What equal inputs come to, and how they are written: raised whenever a rule of the table, the form of an input or that of an
/// image changes.
pub const RULES_VERSION: u32 = 7;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use audit::audit;
pub use image::{IMAGE_VERSION, ImageError};
pub use input::ScanOutcome;
pub use model::allocation::{Cause, Flag, Flags, Origin, Phase};
pub use model::connection::{ClosedBy, EndedConnections, ProcessVerdict, VERDICT_AFTER};
pub use model::counts::Counts;
pub use model::discovery::Discovery;
pub use model::histogram::{
    ALLOCATIONS_BUCKETS, Allocations, BYTES_BUCKETS, Bytes, DURATION_BUCKETS, Durations, Exemplar, Histogram,
};
pub use model::ids::{ConnectionId, SourceId};
pub use model::key::MANGLED;
pub use model::label::OTHER;
pub use model::long_lifetime::LongLifetime;
pub use model::native::{NATIVE_SCHEMA, NATIVE_ZERO_THRESHOLD, NativeBuckets};
pub use model::process_totals::{ProcessCounts, ProcessTotals};
pub use model::series::{Anomaly, Orphan, Outcome, RealmSeries};
pub use model::settings::{SessionBy, Settings};
pub use model::source_stats::{CountsByReason, ForwardStats, SourceStats, StatsdbStats, StatusKeys};
pub use record::events::{AllocationNames, OpenedSession, OrphanedAllocation};
pub use record::{
    AllocationRecord, ColumnValue, SavedAllocation, SavedSource, SavedTable, SessionRecord, sums_of_bytes,
    sums_to_bytes, sums_to_numbers,
};
pub use table::batch::{BatchEvent, PreparedKey};
pub use table::image::FrozenTable;
pub use table::outputs::Output;
pub use table::replay::ReplayError;
pub use table::restore::Restored;
pub use table::resync::{KeyCheck, Scanned, Sweep};
pub use table::rows;
pub use table::snapshot::{CapsReached, RealmView, ServerView, Snapshot, SourceView};
pub use table::source_numbers::{DBNAME_FIX, DBNAME_SETTING};
pub use table::{Applied, Table};
