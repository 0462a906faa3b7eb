//! What the table holds, and the rules that need one kind of it: allocations, sessions, gatherings, realms, servers, sources.
//!
//! Uses `storage`; knows nothing of the table. `pub(crate)` reaches no further than `state`, whose modules are private.

pub(super) mod allocation;
pub(super) mod allocation_image;
pub(super) mod connection;
pub(super) mod counters;
pub(super) mod counts;
pub(super) mod discovery;
pub(super) mod end_records;
pub(super) mod ended_queues;
pub(super) mod gatherings;
pub(super) mod histogram;
pub(super) mod ids;
pub(super) mod key;
pub(super) mod key_ids;
pub(super) mod key_memory;
pub(super) mod key_scan;
pub(super) mod label;
pub(super) mod long_lifetime;
pub(super) mod native;
pub(super) mod plausible;
pub(super) mod process_totals;
pub(super) mod rates;
pub(super) mod realms;
pub(super) mod records;
pub(super) mod seen_ids;
pub(super) mod series;
pub(super) mod servers;
pub(super) mod session;
pub(super) mod session_owner;
pub(super) mod sessions;
pub(super) mod settings;
pub(super) mod source;
pub(super) mod source_stats;
pub(super) mod sources;
pub(super) mod sums;
pub(super) mod timers;
pub(super) mod totals;
pub(super) mod unclaimed;
