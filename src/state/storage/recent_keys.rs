//! Keys of which something is remembered for a day, by numbers that are theirs alone.

use std::collections::HashMap;
use std::time::Duration;

use super::queue::Queue;
use crate::clock::Timestamp;
use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;

/// How long a key is remembered.
const MEMORY: Duration = Duration::from_secs(24 * 3600);

/// More than so many keys are not remembered; the oldest is forgotten.
const MAX_KEYS: usize = 65_536;

/// Keys by their numbers.
#[derive(Debug, Default)]
pub(crate) struct RecentKeys {
    /// Until when each is remembered.
    keys: HashMap<u64, Timestamp, ahash::RandomState>,
    /// The keys in order, with left-overs of keys that are remembered for longer by now. No entry is there twice, so that
    /// the last one of a key is what `keys` has.
    in_order: Queue<(Timestamp, u64)>,
}

impl RecentKeys {
    /// Remembers a key; true if it was not remembered.
    pub(crate) fn insert(&mut self, now: Timestamp, key: u64) -> bool {
        let is_new = !self.keys.contains_key(&key);
        if is_new {
            self.renew(now, key);
        }
        is_new
    }

    /// Remembers a key from now on, whether it was remembered or not.
    pub(crate) fn renew(&mut self, now: Timestamp, key: u64) {
        let until = now.plus(MEMORY);
        if self.keys.insert(key, until) == Some(until) {
            return;
        }
        self.in_order.push_back((until, key));
        if self.in_order.len() > MAX_KEYS {
            self.forget_oldest();
        }
    }

    /// Whether a key is remembered. Its number is asked for only where some are.
    pub(crate) fn contains(&self, key: impl FnOnce() -> u64) -> bool {
        !self.keys.is_empty() && self.keys.contains_key(&key())
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.in_order.is_empty()
    }

    pub(crate) fn expire(&mut self, now: Timestamp) {
        while self.in_order.front().is_some_and(|&(until, _)| until <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((until, key)) = self.in_order.pop_front()
            && self.keys.get(&key) == Some(&until)
        {
            self.keys.remove(&key);
        }
    }
}

impl RecentKeys {
    /// A copy that is written only.
    pub(crate) fn share(&mut self) -> Self {
        Self { keys: HashMap::default(), in_order: self.in_order.share() }
    }
}

impl Persist for RecentKeys {
    fn write(&self, to: &mut ImageWriter<'_>) {
        let Self { keys: _, in_order } = self;
        in_order.write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let in_order = Queue::read(from)?;
        // The last entry of a key is the one that counts.
        let keys = in_order.iter().map(|&(until, key)| (key, until)).collect();
        Ok(Self { keys, in_order })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_renewed_stays_for_longer() {
        let mut keys = RecentKeys::default();
        let noon = Timestamp::ZERO.plus(MEMORY / 2);
        assert!(keys.insert(Timestamp::ZERO, 1) && keys.insert(Timestamp::ZERO, 2));
        assert!(!keys.insert(noon, 2), "remembered already");
        keys.renew(noon, 1);
        keys.expire(Timestamp::ZERO.plus(MEMORY));
        assert!(keys.contains(|| 1) && !keys.contains(|| 2));
        keys.expire(noon.plus(MEMORY));
        assert!(keys.is_empty());
    }

    #[test]
    fn the_oldest_gives_way() {
        let mut keys = RecentKeys::default();
        for key in 0..=MAX_KEYS as u64 {
            assert!(keys.insert(Timestamp::ZERO, key));
        }
        assert!(!keys.contains(|| 0) && keys.contains(|| 1));
    }
}
