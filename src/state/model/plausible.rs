//! How much one allocation can have relayed in a time. What claims more is no count of a coturn's, and is not added: one
//! report of 2^64-1 would hold a counter at its top for ever.
//!
//! The rate is that of the fastest Ethernet that a TURN server is put on, 100 Gbit/s, in each direction of each leg:
//! 12.5 GB, or 148.8 million of the smallest frames, a second. One allocation is served by one thread of coturn, which
//! reaches a tenth of that.
//!
//! - A report holds what passed since the report before: 4096 packets (before 4.5.1.2: 2048) of 64 KiB at most, both legs
//!   together, so 256 MiB, whatever was lost before it and however late it comes. A second of the rate is 46 times that.
//! - What a total reveals may have been lost in all of the allocation's life, as far as it was watched: the rate over its
//!   age. A minute more, for all of a short life may come in one moment behind a link that stood still.
//! - What an adopted allocation relayed before is not known by its age: a day more. A total of a petabyte is what a
//!   stream of 1 Gbit/s adds up to in a hundred days.

use std::time::Duration;

use crate::wire::{Traffic, Volume};

const BYTES_PER_MILLI: u64 = 12_500_000;

const PACKETS_PER_MILLI: u64 = 150_000;

/// A report is never taken to stand for less.
pub(crate) const LEAST_REPORT: Duration = Duration::from_secs(1);

/// A life is never taken to be shorter.
pub(crate) const LEAST_LIFE: Duration = Duration::from_secs(60);

/// How long an allocation may have relayed at the full rate before it was met.
pub(crate) const UNKNOWN_PAST: Duration = Duration::from_secs(24 * 3600);

/// Whether so much can pass in each direction within the time.
pub(crate) fn can_pass(traffic: &Traffic, within: Duration) -> bool {
    let millis = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    let (bytes, packets) = (millis.saturating_mul(BYTES_PER_MILLI), millis.saturating_mul(PACKETS_PER_MILLI));
    let fits = |volume: Volume| volume.bytes <= bytes && volume.packets <= packets;
    fits(traffic.received) && fits(traffic.sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest honest report, and the largest that is believed at once.
    #[test]
    fn the_largest_report_of_a_coturn_fits_many_times() {
        let of = |packets, bytes| Traffic { received: Volume::ZERO, sent: Volume { packets, bytes } };
        let largest = of(4096, 4096 * 65_535);
        assert!(can_pass(&largest, LEAST_REPORT / 40) && !can_pass(&largest, LEAST_REPORT / 60));
        let second = Duration::from_secs(1);
        assert!(can_pass(&of(150_000_000, 12_500_000_000), second));
        assert!(!can_pass(&of(150_000_001, 0), second) && !can_pass(&of(0, 12_500_000_001), second));
        // No time is so long that the numbers go round.
        assert!(can_pass(&of(u64::MAX, u64::MAX), Duration::MAX));
    }
}
