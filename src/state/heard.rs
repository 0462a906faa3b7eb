//! Events by the handful. One event waits for a bucket, then for a record, then for a name to come from memory, which
//! takes longer than all that is done with them; the waits of a handful overlap.

use super::allocation::{Allocation, Phase};
use super::{Applied, Name, SourceId, Table, slab};
use crate::clock::Timestamp;
use crate::wire::{Event, Key};

/// An event that was heard, and is to be taken in.
#[derive(Debug)]
pub struct Heard<'a> {
    name: Name<'a>,
    hash: u64,
    event: Event<'a>,
    /// Its record, most likely; what comes before it may still change that.
    likely: u32,
}

impl Table {
    /// An event of a source. Nothing is done with it before it is [taken](Self::take).
    pub fn hear<'a>(&self, source: SourceId, key: &Key<'a>, event: Event<'a>) -> Heard<'a> {
        let name = Name::of(source, key);
        let hash = self.key_hash(&name);
        Heard { name, hash, event, likely: slab::NONE }
    }

    /// Has the memory of a handful brought near. Changes nothing else.
    pub fn fetch(&self, handful: &mut [Option<Heard<'_>>]) {
        let (mut hash, mut likely) = (0, slab::NONE);
        for heard in handful.iter_mut().flatten() {
            // Both legs report together.
            if heard.hash != hash {
                hash = heard.hash;
                // The first of a like hash: a few are another key's.
                likely = self.by_key.find(hash, |_| true).copied().unwrap_or(slab::NONE);
            }
            heard.likely = likely;
        }
        // Each of these loops waits for nothing but what it looks at.
        let records = || handful.iter().flatten().filter_map(|heard| self.allocations.get(heard.likely));
        let seen = records().fold(0, |seen, record| seen ^ record.glimpse());
        let named = records().fold(0, |seen, record| seen ^ glimpse(self.users.get(record.user)));
        std::hint::black_box((seen, named));
    }

    /// Takes one event in.
    pub fn take(&mut self, now: Timestamp, heard: &Heard<'_>) -> Applied {
        self.advance(now);
        let Heard { name, hash, event, likely } = heard;
        if let Event::Traffic(leg, traffic) = event
            && self.allocations.get(*likely).is_some_and(|record| self.is_open_and_told(record, name))
        {
            self.count(*likely, *leg, traffic);
            return Applied::Updated;
        }
        self.on_event(name, *hash, event)
    }

    /// Whether it is what [`Self::find_open`] would find.
    fn is_open_and_told(&self, record: &Allocation, name: &Name<'_>) -> bool {
        record.phase != Phase::Closing && self.carriers.is_told(record) && self.is_named(record, name)
    }
}

/// Something of its beginning and of its end: it may lie on two lines of the cache.
fn glimpse(name: &[u8]) -> u8 {
    name.first().copied().unwrap_or_default() ^ name.last().copied().unwrap_or_default()
}
