//! The table of allocations and sessions, and every sum about them.
//!
//! Five wings, and nothing points back: `table` (the rules that need several parts) uses `record` (what a store keeps),
//! `model` (the data, and the rules that need one kind of it), `storage` (containers that know nothing of TURN) and `image`
//! (how values stand in an image of the table).

#![allow(
    clippy::indexing_slicing,
    reason = "a slab is asked for its own numbers only; a wrong one must not go unseen"
)]

mod image;
mod model;
mod record;
mod storage;
mod table;
#[cfg(test)]
mod tests;

pub use image::{IMAGE_VERSION, ImageError};
pub use model::allocation::{Cause, Flag, Flags, Origin, Phase};
pub use model::connection::{ClosedBy, EndedConnections, ProcessVerdict, VERDICT_AFTER};
pub use model::counts::Counts;
pub use model::discovery::Discovery;
pub use model::histogram::{
    ALLOCATIONS_BUCKETS, Allocations, BYTES_BUCKETS, Bytes, DURATION_BUCKETS, Durations, Histogram,
};
pub use model::ids::{ConnectionId, SourceId};
pub use model::key::MANGLED;
pub use model::label::OTHER;
pub use model::long_lifetime::LongLifetime;
pub use model::process_totals::{ProcessCounts, ProcessTotals};
pub use model::series::{Anomaly, Orphan, Outcome, RealmSeries};
pub use model::settings::{SessionBy, Settings};
pub use model::source_stats::{CountsByReason, ForwardStats, SourceStats, StatsdbStats, StatusKeys};
pub use record::{
    AllocationRecord, ColumnValue, END_REPORTED_BIT, EndedRecords, SavedAllocation, SavedSource, SavedTable,
    SessionRecord, sums_of_bytes, sums_to_bytes, sums_to_numbers,
};
pub use table::batch::{BatchEvent, PreparedKey};
pub use table::image::FrozenTable;
pub use table::restore::Restored;
pub use table::resync::{KeyCheck, Scanned, Sweep};
pub use table::rows;
pub use table::snapshot::{CapsReached, RealmView, ServerView, Snapshot, SourceView};
pub use table::source_numbers::{DBNAME_SETTING, ScanOutcome};
pub use table::{Applied, Table};
