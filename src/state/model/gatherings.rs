//! Which allocations one peer connection asked for at once.
//!
//! Browsers gather several relays and use one, so a spare allocation looks leaked by itself; a whole gathering without
//! traffic is. A user name cannot decide: a static one may have a live connection beside a leaked one.

use super::ids::{OfAllocation, RecordId};
use crate::state::storage::id::Id;
use std::collections::HashSet;
use std::num::NonZeroU8;
use std::time::Duration;

use hashbrown::HashTable;

use super::allocation::Allocation;
use crate::clock::Timestamp;
use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::storage::age_list::Links;
use crate::state::storage::free_list::rehashed;
use crate::state::storage::packed::PackedTime;
use crate::state::storage::queue::Queue;
use crate::state::storage::slab::Slab;
use crate::state::storage::timer_queue::TimerEntry;

/// Opened within so long of the one before …
const STEP: Duration = Duration::from_secs(10);
/// … and within so long of the first.
const SPAN: Duration = Duration::from_secs(30);
/// More allocations than this are no single peer connection's: bounds the walk around the circle.
const MAX_MEMBERS: u8 = 64;

/// One that may still grow. After a resync there is one for each allocation, so it is kept small.
#[derive(Clone, Debug)]
struct Recent {
    /// The number of source, realm, user and (where it counts) client host.
    key: [u8; 8],
    first: PackedTime,
    /// Milliseconds from the first to the last; [`SPAN`] at most.
    span: u16,
    /// One of the members that still live, or none.
    member: Option<RecordId>,
    /// The one before it of the same key, or none.
    older: Option<Id<Recent>>,
    /// All that ever joined.
    members: NonZeroU8,
    /// Of them those that came less than [`STEP`] ago by the present clock (an adopted one is dated earlier).
    fresh: u8,
}

/// The gatherings that may still grow.
#[derive(Debug)]
pub(crate) struct Gatherings {
    recent: Slab<Recent, Recent>,
    /// The youngest of each key, which is as good as a hash.
    by_key: HashTable<Id<Recent>>,
    /// The one that names a member.
    by_member: HashTable<Id<Recent>>,
    hasher: ahash::RandomState,
    in_order: Queue<TimerEntry<Recent>>,
    /// So many are coming: room for them is not given back.
    expected: usize,
}

impl Gatherings {
    pub(crate) fn new() -> Self {
        Self {
            recent: Slab::new(),
            by_key: HashTable::new(),
            by_member: HashTable::new(),
            hasher: ahash::RandomState::new(),
            in_order: Queue::new(),
            expected: 0,
        }
    }

    /// So many more may come soon; none, and room may be given back again.
    pub(crate) fn expect(&mut self, more: usize) {
        self.expected = if more == 0 { 0 } else { self.recent.len() + more };
        let (recent, hasher) = (&self.recent, &self.hasher);
        self.by_key.reserve(more, |&number| recent[number].key());
        self.by_member.reserve(more, |&number| member_hash(hasher, &recent[number]));
    }

    /// Puts an allocation that started at `started` into its circle.
    pub(crate) fn join(
        &mut self,
        allocations: &mut Slab<OfAllocation, Allocation>,
        at: RecordId,
        key: u64,
        started: Timestamp,
        now: Timestamp,
    ) {
        let youngest = self.youngest(key);
        let found = self.of_key(youngest).find(|&number| self.recent[number].fits(started));
        let number = if let Some(number) = found {
            self.recent[number].add(started);
            number
        } else {
            let number = self.recent.insert(Recent::new(key, started, youngest));
            self.name_youngest(key, number);
            number
        };
        self.in_order.push_back(TimerEntry::new(now, number));
        self.recent[number].fresh += 1;
        let neighbour = self.name_member(number, Some(at));
        allocations[at].gathering = Links { prev: Some(at), next: Some(at) };
        if let Some(neighbour) = neighbour
            && let Some(next) = allocations[neighbour].gathering.next
        {
            allocations[neighbour].gathering.next = Some(at);
            allocations[next].gathering.prev = Some(at);
            allocations[at].gathering = Links { prev: Some(neighbour), next: Some(next) };
        }
    }

    /// Takes an allocation out; those that stay remember what it relayed last.
    pub(crate) fn leave(&mut self, allocations: &mut Slab<OfAllocation, Allocation>, at: RecordId) {
        let allocation = &mut allocations[at];
        let quiet_since = allocation.quiet_since.get();
        let links = std::mem::replace(&mut allocation.gathering, Links::ALONE);
        let successor = links.next.filter(|&next| next != at);
        if let (Some(next), Some(prev)) = (successor, links.prev) {
            allocations[prev].gathering.next = links.next;
            allocations[next].gathering.prev = links.prev;
            let successor = &mut allocations[next];
            successor.quiet_since = successor.quiet_since.get().max(quiet_since).into();
        }
        let named_by =
            self.by_member.find(self.hasher.hash_one(at), |&number| self.recent[number].member == Some(at));
        if let Some(&number) = named_by {
            self.name_member(number, successor);
        }
    }

    /// Forgets gatherings that cannot grow any more.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        while let Some((joined, number)) = self.in_order.front().map(|entry| entry.get())
            && now.since(joined) > STEP
        {
            self.in_order.pop_front();
            self.recent[number].fresh -= 1;
            if self.recent[number].fresh == 0 {
                self.forget(number);
            }
        }
    }

    fn forget(&mut self, number: Id<Recent>) {
        let (key, older) = (self.recent[number].key(), self.recent[number].older);
        let youngest = self.youngest(key);
        if youngest != Some(number) {
            let younger = self.of_key(youngest).find(|&younger| self.recent[younger].older == Some(number));
            if let Some(younger) = younger {
                self.recent[younger].older = older;
            }
        } else if let Some(older) = older {
            self.name_youngest(key, older);
        } else if let Ok(entry) = self.by_key.find_entry(key, |&other| other == number) {
            entry.remove();
            if let Some(room) = rehashed(self.by_key.len().max(self.expected), self.by_key.capacity()) {
                self.by_key.shrink_to(room, |&number| self.recent[number].key());
            }
        }
        self.name_member(number, None);
        self.recent.remove(number);
    }

    /// Names another member; gives the one that was named.
    fn name_member(&mut self, number: Id<Recent>, member: Option<RecordId>) -> Option<RecordId> {
        let before = std::mem::replace(&mut self.recent[number].member, member);
        let (recent, hasher) = (&self.recent, &self.hasher);
        let hash_of = |&number: &Id<Recent>| member_hash(hasher, &recent[number]);
        if let Some(before) = before
            && let Ok(entry) = self.by_member.find_entry(hasher.hash_one(before), |&other| other == number)
        {
            entry.remove();
        }
        if let Some(member) = member {
            self.by_member.insert_unique(hasher.hash_one(member), number, hash_of);
        } else if let Some(room) =
            rehashed(self.by_member.len().max(self.expected), self.by_member.capacity())
        {
            self.by_member.shrink_to(room, hash_of);
        }
        before
    }

    fn youngest(&self, key: u64) -> Option<Id<Recent>> {
        self.by_key.find(key, |&number| self.recent[number].key() == key).copied()
    }

    /// Puts a gathering in the place of the youngest of its key.
    fn name_youngest(&mut self, key: u64, number: Id<Recent>) {
        let recent = &self.recent;
        match self.by_key.find_mut(key, |&other| recent[other].key() == key) {
            Some(youngest) => *youngest = number,
            None => {
                self.by_key.insert_unique(key, number, |&number| recent[number].key());
            }
        }
    }

    /// The gatherings of a key, the youngest first.
    fn of_key(&self, youngest: Option<Id<Recent>>) -> impl Iterator<Item = Id<Recent>> {
        std::iter::successors(youngest, |&number| self.recent.get(number)?.older)
    }

    /// Members that gatherings name; each is found by its own number.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn named(&self) -> impl Iterator<Item = RecordId> {
        let named = self.recent.iter().filter(|(_, recent)| recent.member.is_some());
        named.filter_map(|(number, recent)| {
            let hash = self.hasher.hash_one(recent.member?);
            assert!(self.by_member.find(hash, |&other| other == number).is_some(), "{number}: {recent:?}");
            recent.member
        })
    }

    #[cfg(test)]
    pub(crate) fn room(&self) -> [usize; 4] {
        let Self { recent, by_key, by_member, in_order, .. } = self;
        [recent.room(), by_key.capacity(), by_member.capacity(), in_order.room()]
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.recent.len() == 0
            && self.by_key.is_empty()
            && self.by_member.is_empty()
            && self.in_order.is_empty()
    }
}

impl Persist for Recent {
    fn write(&self, to: &mut ImageWriter<'_>) {
        let Self { key, first, span, member, older, members, fresh } = self;
        to.raw(&u64::from_ne_bytes(*key).to_le_bytes());
        (*first, *span).write(to);
        (*member, *older).write(to);
        (*members, *fresh).write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let key = u64::from_le_bytes(from.array()?).to_ne_bytes();
        let (first, span) = Persist::read(from)?;
        let (member, older) = Persist::read(from)?;
        let (members, fresh) = Persist::read(from)?;
        Ok(Self { key, first, span, member, older, members, fresh })
    }
}

impl Gatherings {
    /// The same once more, to be written only.
    pub(crate) fn share(&mut self) -> Self {
        let Self { recent, by_key: _, by_member: _, hasher, in_order, expected } = self;
        Self {
            recent: recent.share(),
            by_key: HashTable::new(),
            by_member: HashTable::new(),
            hasher: hasher.clone(),
            in_order: in_order.share(),
            expected: *expected,
        }
    }
}

impl Persist for Gatherings {
    fn write(&self, to: &mut ImageWriter<'_>) {
        let Self { recent, by_key: _, by_member: _, hasher: _, in_order, expected } = self;
        recent.write(to, |_, recent, to| recent.write(to));
        in_order.write(to);
        expected.write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let mut read = Self::new();
        read.recent = Slab::read(from, |_, from| Recent::read(from))?;
        read.in_order = Persist::read(from)?;
        read.expected = Persist::read(from)?;
        let Self { recent, by_key, by_member, hasher, in_order, expected: _ } = &mut read;
        let is_there = |number: &Id<Recent>| recent.get(*number).is_some();
        let older: HashSet<Id<Recent>, ahash::RandomState> =
            recent.iter().filter_map(|(_, recent)| recent.older).collect();
        if !older.iter().all(is_there) || !in_order.iter().all(|entry| is_there(&entry.get().1)) {
            return Err(Unreadable::Malformed("a gathering is not there"));
        }
        by_key.reserve(recent.len(), |&number| recent[number].key());
        by_member.reserve(recent.len(), |&number| member_hash(hasher, &recent[number]));
        for (number, one) in recent.iter() {
            if !older.contains(&number) {
                by_key.insert_unique(one.key(), number, |&number| recent[number].key());
            }
            if one.member.is_some() {
                let hash_of = |&number: &Id<Recent>| member_hash(hasher, &recent[number]);
                by_member.insert_unique(hash_of(&number), number, hash_of);
            }
        }
        Ok(read)
    }
}

impl Recent {
    /// One of a single member, which is named later.
    fn new(key: u64, started: Timestamp, older: Option<Id<Recent>>) -> Self {
        let (key, first) = (key.to_ne_bytes(), started.into());
        Self { key, first, span: 0, member: None, older, members: NonZeroU8::MIN, fresh: 0 }
    }

    const fn key(&self) -> u64 {
        u64::from_ne_bytes(self.key)
    }

    /// The first and the last start, with one more.
    fn bounds_with(&self, started: Timestamp) -> (Timestamp, Timestamp) {
        let (first, last) = self.bounds();
        (first.min(started), last.max(started))
    }

    fn bounds(&self) -> (Timestamp, Timestamp) {
        let first = self.first.get();
        (first, first.plus(Duration::from_millis(self.span.into())))
    }

    // docs/semantics.md#gatherings
    fn fits(&self, started: Timestamp) -> bool {
        let (first, last) = self.bounds();
        let near = started >= first.minus(STEP) && started <= last.plus(STEP);
        let (first, last) = self.bounds_with(started);
        near && last.since(first) <= SPAN && self.members.get() < MAX_MEMBERS
    }

    /// One more, which [fits](Self::fits).
    fn add(&mut self, started: Timestamp) {
        let (first, last) = self.bounds_with(started);
        self.first = first.into();
        self.span = u16::try_from(last.since(first).as_millis()).unwrap_or(u16::MAX);
        self.members = self.members.saturating_add(1);
    }
}

/// What a gathering is found by that names a member.
fn member_hash(hasher: &ahash::RandomState, recent: &Recent) -> u64 {
    recent.member.map_or(0, |member| hasher.hash_one(member))
}

/// The numbers of an allocation's gathering, itself first.
pub(crate) fn members(
    allocations: &Slab<OfAllocation, Allocation>,
    at: RecordId,
) -> impl Iterator<Item = RecordId> {
    let mut next = Some(at);
    std::iter::from_fn(move || {
        let present = next?;
        let following = allocations.get(present)?.gathering.next;
        next = following.filter(|&following| following != at);
        Some(present)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_ten_seconds_and_a_span_of_thirty() {
        let at = |s: u64| Timestamp::from_millis(s * 1000);
        let of = |starts: [u64; 3]| {
            let mut recent = Recent::new(7, at(starts[0]), None);
            starts[1..].iter().for_each(|&start| recent.add(at(start)));
            recent
        };
        let recent = of([110, 100, 125]);
        assert!(recent.fits(at(130)));
        assert!(!recent.fits(at(131)));
        assert!(recent.fits(at(95)));
        assert!(!recent.fits(at(94)));
        let young = of([105, 100, 104]);
        assert!(young.fits(at(115)));
        assert!(!young.fits(at(116)));
        assert_eq!((young.bounds(), young.key()), ((at(100), at(105)), 7));
        assert_eq!(size_of::<Option<Recent>>(), 28);
    }
}
