//! How many requests are answered, whoever asks: `rate_limit` of the web config file.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::web_file::RateLimit;

/// Lets a request through each interval, and as many as `burst` at once after a pause.
#[derive(Debug)]
pub(super) struct RequestRate {
    pub(super) limit: RateLimit,
    clock: Arc<dyn Clock>,
    /// When the next one could come if no more were let through at once.
    next: Mutex<Timestamp>,
}

impl RequestRate {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self::by(limit, Arc::new(SystemClock::new()))
    }

    fn by(limit: RateLimit, clock: Arc<dyn Clock>) -> Self {
        Self { limit, clock, next: Mutex::new(Timestamp::ZERO) }
    }

    /// Whether a request may be answered now.
    pub(super) fn admits(&self) -> bool {
        let now = self.clock.now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = (*next).max(now);
        if begin.since(now) > self.limit.interval * self.limit.burst.saturating_sub(1) {
            return false;
        }
        *next = begin.plus(self.limit.interval);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    #[derive(Debug)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn a_burst_and_then_one_each_interval() {
        let hand = Arc::new(Hand(AtomicU64::new(1_000_000)));
        let limit = RateLimit { interval: Duration::from_secs(1), burst: 3 };
        let rate = RequestRate::by(limit, hand.clone());
        let admitted = || (0..5).filter(|_| rate.admits()).count();
        assert_eq!(admitted(), 3);
        for (passed, expected) in [(999, 0), (1, 1), (2_000, 2), (60_000, 3)] {
            hand.0.fetch_add(passed, Ordering::Relaxed);
            assert_eq!(admitted(), expected, "after {passed} ms");
        }
    }
}
