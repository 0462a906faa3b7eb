//! What a service is like.

use std::time::Duration;

/// What a service is like. Times are the service's own, which passes `speed` times as fast as the clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Servers, each with a connection of its own; at least one.
    pub servers: usize,
    /// Calls that go on at one time.
    pub calls: usize,
    /// How fast its time passes.
    pub speed: f64,
    /// Time between two deaths of a server, on average; zero for none.
    pub crash_every: Duration,
    /// Time between two cuts of a connection, on average; zero for none.
    pub cut_every: Duration,
    /// One of so many clients never closes what it opened; 0 for none.
    pub leak_one_in: u32,
    /// How long such a page stays open.
    pub leak_lasts: Duration,
    /// What chance is made of.
    pub seed: u64,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            servers: 2,
            calls: 100,
            speed: 1.0,
            crash_every: Duration::from_secs(30 * 60),
            cut_every: Duration::ZERO,
            leak_one_in: 50,
            leak_lasts: Duration::from_secs(4 * 3600),
            seed: 1,
        }
    }
}

impl Profile {
    /// The service's time after so much time of the clock.
    pub(super) fn service_time(&self, passed: Duration) -> Duration {
        passed.mul_f64(self.speed)
    }

    /// A lifetime in seconds as coturn publishes it, in the exporter's time.
    pub(super) fn published(&self, lifetime: Duration) -> u64 {
        lifetime.div_f64(self.speed.max(0.001)).as_secs().max(1)
    }
}
