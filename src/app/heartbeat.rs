//! Whether the loops that take in what coturn reports still go round: what the watchdog of the service manager is fed by.
//!
//! Each loop has a turn of its own every second, whether there is anything to take in or not. So a Redis that says nothing
//! is no reason to restart, and neither is one that cannot be reached: while a loop waits for a connection, which has its
//! own limits of time, no turn is expected of it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a loop has a turn when nothing else gives it one.
pub(super) const TURN: Duration = Duration::from_secs(1);

const EXPECTED: u8 = 0;
const BEATEN: u8 = 1;
const EXCUSED: u8 = 2;

/// The sign of life of one loop.
#[derive(Clone, Debug)]
pub(super) struct Heartbeat(Arc<AtomicU8>);

impl Heartbeat {
    /// That of a loop that is not watched, or does not run yet.
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU8::new(EXCUSED)))
    }

    /// The loop has a turn; more are expected.
    pub(super) fn beat(&self) {
        self.0.store(BEATEN, Ordering::Relaxed);
    }

    /// The loop waits for something else than its next turn.
    pub(super) fn excuse(&self) {
        self.0.store(EXCUSED, Ordering::Relaxed);
    }
}

/// Those of all loops that are watched.
#[derive(Clone, Debug, Default)]
pub(super) struct Heartbeats(Arc<Mutex<Vec<(&'static str, Heartbeat)>>>);

impl Heartbeats {
    /// One more loop.
    pub(super) fn watch(&self, name: &'static str) -> Heartbeat {
        let heartbeat = Heartbeat::new();
        self.all().push((name, heartbeat.clone()));
        heartbeat
    }

    /// A loop that has had no turn since all of them last had. `None` when each has had one: from then on each is expected to
    /// have another.
    pub(super) fn stuck(&self) -> Option<&'static str> {
        let all = self.all();
        let stuck = all.iter().find(|(_, heartbeat)| heartbeat.0.load(Ordering::Relaxed) == EXPECTED);
        if let Some((name, _)) = stuck {
            return Some(name);
        }
        for (_, heartbeat) in &*all {
            // One that is excused stays so.
            let _ = heartbeat.0.compare_exchange(BEATEN, EXPECTED, Ordering::Relaxed, Ordering::Relaxed);
        }
        None
    }

    fn all(&self) -> MutexGuard<'_, Vec<(&'static str, Heartbeat)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_has_no_turn_is_named_and_one_that_waits_is_not() {
        let all = Heartbeats::default();
        assert_eq!(all.stuck(), None);
        let (one, two) = (all.watch("one"), all.watch("two"));
        assert_eq!(all.stuck(), None, "neither runs yet");
        one.beat();
        two.beat();
        assert_eq!(all.stuck(), None);
        assert_eq!(all.stuck(), Some("one"));
        one.beat();
        assert_eq!(all.stuck(), Some("two"));
        assert_eq!(all.stuck(), Some("two"), "asking excuses nobody");
        two.excuse();
        assert_eq!((all.stuck(), all.stuck()), (None, Some("one")));
    }
}
