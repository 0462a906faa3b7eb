//! One moment by three clocks, as whoever reads clocks hands it in.

use std::time::Duration;

use crate::clock::Timestamp;

/// A moment by the clock of the table, by the wall clock and by the clock that counts since the boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    /// On the table's time line.
    pub table: Timestamp,
    /// By the wall clock, which may step.
    pub wall: Timestamp,
    /// Since the machine was booted, with the time it was suspended (`CLOCK_BOOTTIME`).
    pub boot: Duration,
}

impl Moments {
    /// How much time passed between this moment and a later one: within one boot by the boot's clock, else by the wall
    /// clock. Never negative.
    pub fn elapsed_until(&self, later: &Self, is_same_boot: bool) -> Duration {
        if is_same_boot { later.boot.saturating_sub(self.boot) } else { later.wall.since(self.wall) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(wall: u64, boot: u64) -> Moments {
        Moments {
            table: Timestamp::ZERO,
            wall: Timestamp::from_millis(wall),
            boot: Duration::from_millis(boot),
        }
    }

    #[test]
    fn within_one_boot_a_step_of_the_wall_clock_does_not_count() {
        assert_eq!(at(9_000, 500).elapsed_until(&at(1_000, 700), true), Duration::from_millis(200));
        assert_eq!(at(1_000, 500).elapsed_until(&at(9_000, 700), true), Duration::from_millis(200));
    }

    #[test]
    fn over_a_boot_the_wall_clock_counts_and_never_goes_back() {
        assert_eq!(at(1_000, 90_000).elapsed_until(&at(5_000, 10), false), Duration::from_secs(4));
        assert_eq!(at(5_000, 90_000).elapsed_until(&at(1_000, 10), false), Duration::ZERO);
        assert_eq!(at(0, 90).elapsed_until(&at(0, 10), true), Duration::ZERO);
    }
}
