//! How long to wait before the next attempt to connect. Pure: it neither sleeps nor makes random numbers.
//!
//! The n-th attempt in a row that fails is followed by a wait of at most `0.25 s * 2^n`, 30 s at the longest (or what else
//! the schedule says), and of at least half of that. Where in that half is up to a random number, so that the exporters of many hosts do not come
//! back to a restarted Redis in the same moment. A connection that held for 30 s ends the row; one that breaks at once,
//! such as that to a server which accepts and hangs up, does not.

use std::time::Duration;

/// The longest first wait.
pub const FIRST: Duration = Duration::from_millis(250);
/// The longest wait of all.
pub const LONGEST: Duration = Duration::from_secs(30);
/// How long a connection must have held for the next wait to be a first one.
pub const LASTED: Duration = Duration::from_secs(30);

/// The schedule of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    /// The longest that the next wait may be.
    ceiling: Duration,
}

impl Backoff {
    /// At the start of the row, with the waits of a connection to a Redis.
    pub const fn new() -> Self {
        Self::between(FIRST, LONGEST)
    }

    /// At the start of the row; the first wait is `first` at most, and none is longer than `longest`.
    pub const fn between(first: Duration, longest: Duration) -> Self {
        Self { first, longest, ceiling: first }
    }

    /// The next wait is a first one.
    pub const fn restart(&mut self) {
        self.ceiling = self.first;
    }

    /// The wait after a failure. `random` lies in 0..1 and decides between half of the ceiling and all of it; what lies
    /// outside counts as the nearer end.
    pub fn next_wait(&mut self, random: f64) -> Duration {
        // A product with NaN would panic.
        let random = if random.is_nan() { 0.0 } else { random.clamp(0.0, 1.0) };
        let wait = self.ceiling.mul_f64(0.5 + random / 2.0);
        self.ceiling = (self.ceiling * 2).min(self.longest);
        wait
    }

    /// Says that a connection was made and held for `lasted`; begins anew if that was long.
    pub fn connected_for(&mut self, lasted: Duration) {
        if lasted >= LASTED {
            self.restart();
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..10).map(|_| backoff.next_wait(1.0).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn a_schedule_of_its_own_begins_anew_as_it_began() {
        let mut backoff = Backoff::between(Duration::from_secs(1), Duration::from_secs(5));
        for _ in 0..2 {
            let waits: Vec<_> = (0..5).map(|_| backoff.next_wait(1.0).as_secs()).collect();
            assert_eq!(waits, [1, 2, 4, 5, 5]);
            backoff.restart();
        }
    }

    #[test]
    fn only_a_success_that_lasted_begins_anew() {
        let mut backoff = Backoff::new();
        for _ in 0..5 {
            backoff.next_wait(0.5);
        }
        backoff.connected_for(LASTED.saturating_sub(Duration::from_millis(1)));
        assert_eq!(backoff.next_wait(1.0), Duration::from_secs(8));
        backoff.connected_for(LASTED);
        assert_eq!(backoff.next_wait(0.0), FIRST / 2);
    }

    proptest! {
        #[test]
        fn every_wait_is_between_half_of_the_ceiling_and_all_of_it(randoms in prop::collection::vec(any::<f64>(), 1..50)) {
            let mut backoff = Backoff::new();
            for random in randoms {
                let ceiling = backoff.ceiling;
                let wait = backoff.next_wait(random);
                prop_assert!((ceiling / 2..=ceiling).contains(&wait), "{wait:?}, at most {ceiling:?}");
            }
        }
    }
}
