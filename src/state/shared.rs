//! Keys of which something is remembered for a day: shared by two servers, refused for lack of room.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use crate::clock::Timestamp;

/// How long a key is remembered.
const MEMORY: Duration = Duration::from_secs(24 * 3600);

/// More than so many keys are not remembered; the oldest is forgotten.
const MAX_KEYS: usize = 65_536;

/// Keys by their 64-bit seeded hash.
#[derive(Debug, Default)]
pub(super) struct RecentKeys {
    keys: HashSet<u64, ahash::RandomState>,
    in_order: VecDeque<(Timestamp, u64)>,
}

impl RecentKeys {
    /// Remembers a key; true if it was not remembered.
    pub(super) fn insert(&mut self, now: Timestamp, key: u64) -> bool {
        if !self.keys.insert(key) {
            return false;
        }
        self.in_order.push_back((now.plus(MEMORY), key));
        if self.in_order.len() > MAX_KEYS
            && let Some((_, oldest)) = self.in_order.pop_front()
        {
            self.keys.remove(&oldest);
        }
        true
    }

    pub(super) fn contains(&self, key: u64) -> bool {
        !self.keys.is_empty() && self.keys.contains(&key)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.in_order.is_empty()
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some(&(until, key)) = self.in_order.front()
            && until <= now
        {
            self.in_order.pop_front();
            self.keys.remove(&key);
        }
    }
}
