//! What is remembered of keys apart from their records, by their hashes.

use super::unclaimed::Unclaimed;
use crate::clock::Timestamp;
use crate::state::image::persist;
use crate::state::storage::recent_keys::RecentKeys;
use crate::wire::Traffic;

/// Keys of which something is remembered for a while. Each of the three is bounded and forgets the oldest first.
#[derive(Debug, Default)]
pub(crate) struct KeyMemory {
    /// Traffic of keys without an allocation, which a status may still claim.
    pub(crate) unclaimed: Unclaimed,
    /// Keys that two servers use at once: whose their totals are, nobody knows.
    pub(crate) shared: RecentKeys,
    /// Keys refused for lack of room, so that each counts once.
    pub(crate) refused: RecentKeys,
}

impl KeyMemory {
    /// Forgets what is old; gives the traffic that nobody claimed in time.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Traffic {
        self.shared.expire(now);
        self.refused.expire(now);
        self.unclaimed.expire(now)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.unclaimed.is_empty() && self.shared.is_empty()
    }
}

persist! { KeyMemory { unclaimed, shared, refused } }

impl KeyMemory {
    /// The same once more, to be written only.
    pub(crate) fn share(&mut self) -> Self {
        let Self { unclaimed, shared, refused } = self;
        Self { unclaimed: unclaimed.share(), shared: shared.share(), refused: refused.share() }
    }
}
