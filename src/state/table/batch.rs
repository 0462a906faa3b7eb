//! Events by the handful. One event waits for a bucket, then for a record, then for a name to come from memory, which
//! takes longer than all that is done with them; the waits of a handful overlap.

use super::{Applied, Table};
use crate::clock::Timestamp;
use crate::state::model::allocation::{Allocation, Phase};
use crate::state::model::ids::SourceId;
use crate::state::model::key::SourceKey;
use crate::state::storage::slab::NONE;
use crate::wire::{Event, Key};

/// A key of a source, ready to be looked up.
#[derive(Clone, Copy, Debug)]
pub struct PreparedKey<'a> {
    name: SourceKey<'a>,
    hash: u64,
}

/// An event that was heard, and is to be taken in.
#[derive(Debug)]
pub struct BatchEvent<'a> {
    whose: PreparedKey<'a>,
    event: Event<'a>,
    /// Its record, most likely; what comes before it may still change that.
    likely: u32,
    /// The first of some in a row with one key, as far as its hash tells.
    is_first: bool,
}

impl<'a> BatchEvent<'a> {
    /// Nothing is done with it before it is [taken in](Table::take).
    pub const fn new(whose: PreparedKey<'a>, event: Event<'a>) -> Self {
        Self { whose, event, likely: NONE, is_first: false }
    }
}

impl Table {
    /// Makes a key ready to be looked up.
    pub fn whose<'a>(&self, source: SourceId, key: &Key<'a>) -> PreparedKey<'a> {
        let name = SourceKey::of(source, key);
        PreparedKey { name, hash: self.key_hash(&name) }
    }

    /// Has the memory of a handful brought near. Changes nothing else.
    pub fn fetch(&self, handful: &mut [Option<BatchEvent<'_>>]) {
        let mut before = (0, NONE);
        for heard in handful.iter_mut().flatten() {
            // Both legs report together.
            if heard.whose.hash != before.0 {
                // The first of a like hash: a few are another key's.
                let likely = self.by_key.find(heard.whose.hash, |_| true);
                before = (heard.whose.hash, likely.copied().unwrap_or(NONE));
                heard.is_first = true;
            }
            heard.likely = before.1;
        }
        // A processor looks so many instructions ahead, and no further: the shorter a loop, the more of its waits overlap.
        let firsts = handful.iter().flatten().filter(|heard| heard.is_first);
        let records = || firsts.clone().filter_map(|heard| self.allocations.get(heard.likely));
        let seen = records().fold(0, |seen, record| seen ^ record.glimpse());
        let named = records().fold(0, |seen, record| seen ^ self.users.glimpse(record.user));
        std::hint::black_box((seen, named));
    }

    /// Takes one event in.
    pub fn take(&mut self, now: Timestamp, heard: &BatchEvent<'_>) -> Applied {
        self.advance(now);
        let BatchEvent { whose: PreparedKey { name, hash }, event, likely, .. } = heard;
        if let Event::Traffic(leg, traffic) = event
            && self.allocations.get(*likely).is_some_and(|record| self.is_live_and_its_own(record, name))
        {
            self.count(*likely, *leg, traffic);
            return Applied::Updated;
        }
        self.on_event(name, *hash, event)
    }

    /// Whether it is what [`Self::find_open`] would find, and lives.
    fn is_live_and_its_own(&self, record: &Allocation, name: &SourceKey<'_>) -> bool {
        record.phase == Phase::Live && self.connections.is_told(record) && self.is_named(record, name)
    }
}
