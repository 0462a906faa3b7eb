//! When a status key is stale: the one definition, for the resync, `doctor` and `prune`.

use std::time::Duration;

/// The longest idle time that is believed. Redis keeps it modulo 2^24 s (194 days) of the wall clock (7.0.15): when that
/// clock is set back, a key that was just set seems to be idle for almost so long.
pub const MOST_IDLE: Duration = Duration::from_secs((1 << 24) - 24 * 3600);

/// Whether no live allocation can own a key that has been idle for so long; `limit` is the longest grant and the grace. One
/// whose idle time is not believed may be of a live allocation.
// docs/semantics.md#stale-keys
pub fn is_stale(idle: Duration, limit: Duration) -> bool {
    idle > limit && is_believed(idle)
}

/// Whether the idle time of a key says when it was set.
pub fn is_believed(idle: Duration) -> bool {
    idle < MOST_IDLE
}
