//! Traffic of keys that have no allocation (yet): kept for a moment, for a status may come and claim it.
//!
//! STUN probes, refused logins and resuming sessions report traffic and never get a status; what nobody claims is counted
//! apart from what was relayed.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::state::image::persist;
use crate::state::storage::queue::Queue;
use crate::state::storage::slab_map::SlabMap;
use crate::wire::Traffic;

/// How long a status may be late.
const HOLD: Duration = Duration::from_secs(10);

/// More than so many keys are not held; the oldest gives way and counts as unclaimed.
const MAX_KEYS: usize = 65_536;

/// Client-leg traffic by the number of its key.
#[derive(Debug, Default)]
pub(crate) struct Unclaimed {
    by_key: SlabMap<u64, Traffic>,
    in_order: Queue<(Timestamp, u64)>,
}

impl Unclaimed {
    /// Adds a report; gives what had to make room.
    pub(crate) fn add(&mut self, now: Timestamp, key: u64, traffic: &Traffic) -> Traffic {
        let mut unclaimed = Traffic::ZERO;
        if let Some(sum) = self.by_key.get_mut(&key) {
            sum.add(traffic);
            return unclaimed;
        }
        if self.in_order.len() >= MAX_KEYS
            && let Some((_, oldest)) = self.in_order.pop_front()
        {
            unclaimed = self.claim(|| oldest);
        }
        self.by_key.insert(key, *traffic);
        self.in_order.push_back((now.plus(HOLD), key));
        unclaimed
    }

    /// What a key has reported; it is the caller's now.
    pub(crate) fn claim(&mut self, key: impl FnOnce() -> u64) -> Traffic {
        // The entry in `in_order` stays and finds nothing when its time comes. Should the key be held again before
        // that, it is given up a little early: the allocation it belonged to has come and gone meanwhile.
        if self.by_key.is_empty() {
            Traffic::ZERO
        } else {
            self.by_key.remove(&key()).unwrap_or(Traffic::ZERO)
        }
    }

    /// What nobody claimed in time.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Traffic {
        let mut unclaimed = Traffic::ZERO;
        while let Some(&(until, key)) = self.in_order.front()
            && until <= now
        {
            self.in_order.pop_front();
            unclaimed.add(&self.claim(|| key));
        }
        unclaimed
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_key.is_empty() && self.in_order.is_empty()
    }
}

persist! { Unclaimed { by_key, in_order } }

impl Unclaimed {
    /// The same once more, to be written only.
    pub(crate) fn share(&mut self) -> Self {
        Self { by_key: self.by_key.share(), in_order: self.in_order.share() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Volume;

    fn one(bytes: u64) -> Traffic {
        Traffic { received: Volume { packets: 1, bytes }, sent: Volume::ZERO }
    }

    #[test]
    fn is_claimed_once_or_expires() {
        let mut held = Unclaimed::default();
        let t0 = Timestamp::from_millis(5);
        held.add(t0, 1, &one(10));
        held.add(t0.plus(HOLD / 2), 1, &one(20));
        held.add(t0, 2, &one(40));
        assert_eq!(held.claim(|| 1).received, Volume { packets: 2, bytes: 30 });
        assert!(held.claim(|| 1).is_zero());
        assert!(held.expire(t0.plus(HOLD).minus(Duration::from_millis(1))).is_zero());
        assert_eq!(held.expire(t0.plus(HOLD)), one(40));
        assert!(held.is_empty());
    }

    #[test]
    fn is_bounded_and_loses_nothing() {
        let mut held = Unclaimed::default();
        let mut total = Traffic::ZERO;
        let keys = MAX_KEYS as u64 + 10;
        for key in 0..keys {
            total.add(&held.add(Timestamp::ZERO, key, &one(1)));
        }
        assert_eq!(total.packets(), 10);
        total.add(&held.expire(Timestamp::MAX));
        assert_eq!(total.packets(), keys);
    }
}
