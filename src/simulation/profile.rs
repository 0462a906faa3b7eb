//! What a service is like.

use std::time::Duration;

/// By the exporter's clock, whatever the speed: after so long a lower id proves a restart, remembered or not.
const LOGIN: Duration = Duration::from_secs(100);

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
    /// One in which all that can go wrong does within minutes of the clock.
    pub fn of_demo(calls: usize, speed: u32) -> Self {
        Self {
            servers: 3,
            calls,
            speed: speed.into(),
            crash_every: Duration::from_secs(90) * speed,
            cut_every: Duration::from_secs(45) * speed,
            leak_one_in: 40,
            ..Self::default()
        }
    }

    /// Relay threads of each server: so many that none gives 1024 ids, as far as the exporter remembers them one by one,
    /// within [`LOGIN`]. By an id that comes again it knows a restart.
    pub(super) fn threads(&self) -> usize {
        /// Allocations of a call, and its length in seconds, on average (`Service::call`).
        const OF_CALL: (usize, usize) = (2, 428);
        let (allocations, seconds) = OF_CALL;
        let meanwhile = usize::try_from(self.service_time(LOGIN).as_secs()).unwrap_or(usize::MAX);
        let born =
            self.calls.saturating_mul(allocations).saturating_mul(meanwhile) / seconds / self.servers.max(1);
        // Half of what is remembered: chance has its ups and downs.
        born.div_ceil(512).clamp(4, 512)
    }

    /// The service's time after so much time of the clock.
    pub(super) fn service_time(&self, passed: Duration) -> Duration {
        passed.mul_f64(self.speed)
    }

    /// A lifetime in seconds as coturn publishes it, in the exporter's time.
    pub(super) fn published(&self, lifetime: Duration) -> u64 {
        lifetime.div_f64(self.speed.max(0.001)).as_secs().max(1)
    }
}
