//! What is done now and then. Pure: time is an argument.

use std::time::Duration;

use crate::clock::Timestamp;

/// Something that is done now and then.
#[derive(Debug)]
pub(super) struct Due {
    every: Duration,
    last: Timestamp,
}

impl Due {
    /// So often; it was done at `last`.
    pub(super) const fn every(every: Duration, last: Timestamp) -> Self {
        Self { every, last }
    }

    /// Whether it is to be done; it counts as done then.
    pub(super) fn is_due(&mut self, now: Timestamp) -> bool {
        let is_due = now.since(self.last) >= self.every;
        if is_due {
            self.last = now;
        }
        is_due
    }
}
