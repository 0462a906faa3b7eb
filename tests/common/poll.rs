//! Waiting for something to become true, with a deadline and a word about what was seen last.
//!
//! The only place in the tests that waits.

use std::time::Duration;

use coturn_exporter::clock::{Clock, SystemClock, Timestamp};

/// For anything that merely has to happen: far longer than it takes, for the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks: short, so that tests are fast; not nothing, so that what they wait for gets the processor.
pub const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Looks until `look` answers `Ok`; after `within`, panics with what was awaited and what the last look saw.
#[track_caller]
pub fn until<T>(within: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let watch = Stopwatch::start();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => {
                assert!(watch.elapsed() < within, "waited {within:?} for {what}; last seen:\n{seen}");
            }
        }
        pause();
    }
}

/// Lets others run for a moment before the next look.
pub fn pause() {
    std::thread::park_timeout(BETWEEN_LOOKS);
}

/// Lets so much time pass, for who does something again and again.
pub fn pass(time: Duration) {
    let watch = Stopwatch::start();
    while let Some(rest) = time.checked_sub(watch.elapsed()).filter(|rest| !rest.is_zero()) {
        std::thread::park_timeout(rest);
    }
}

/// Time passed since a moment.
#[derive(Debug)]
pub struct Stopwatch {
    clock: SystemClock,
    started: Timestamp,
}

impl Stopwatch {
    pub fn start() -> Self {
        let clock = SystemClock::new();
        let started = clock.now();
        Self { clock, started }
    }

    pub fn elapsed(&self) -> Duration {
        self.clock.now().since(self.started)
    }
}
