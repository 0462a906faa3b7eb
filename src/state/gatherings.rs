//! Which allocations one peer connection asked for at once.
//!
//! Browsers gather several relays and use one, so a spare allocation looks leaked by itself; a whole gathering without
//! traffic is. A user name cannot decide: a static one may have a live connection beside a leaked one.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::ages::Links;
use super::allocation::Allocation;
use super::free::shrunk;
use super::slab::{NONE, Slab};
use crate::clock::Timestamp;

/// Opened within so long of the one before …
const STEP: Duration = Duration::from_secs(10);
/// … and within so long of the first.
const SPAN: Duration = Duration::from_secs(30);
/// More allocations than this are no single peer connection's: bounds the walk around the circle.
const MAX_MEMBERS: u32 = 64;

#[derive(Debug)]
struct Recent {
    /// The hash of source, realm, user and (where it counts) client host.
    key: u64,
    first: Timestamp,
    last: Timestamp,
    /// When a member came, by the present clock (an adopted one is dated earlier).
    touched: Timestamp,
    /// One of the members that still live, or none.
    member: u32,
    members: u32,
    /// The one before it of the same key, or none.
    older: u32,
}

/// The gatherings that may still grow.
#[derive(Debug)]
pub(super) struct Gatherings {
    recent: Slab<Recent>,
    /// The youngest of each key.
    by_key: HashMap<u64, u32, ahash::RandomState>,
    in_order: VecDeque<(Timestamp, u32)>,
}

impl Gatherings {
    pub(super) fn new() -> Self {
        Self { recent: Slab::new(), by_key: HashMap::default(), in_order: VecDeque::new() }
    }

    /// Puts an allocation that started at `started` into its circle.
    pub(super) fn join(
        &mut self,
        allocations: &mut Slab<Allocation>,
        at: u32,
        key: u64,
        started: Timestamp,
        now: Timestamp,
    ) {
        let youngest = self.by_key.get(&key).copied().unwrap_or(NONE);
        let found = self.of_key(youngest).find(|&number| self.recent[number].fits(started));
        let number = found.unwrap_or_else(|| {
            let alone = Recent {
                key,
                first: started,
                last: started,
                touched: now,
                member: NONE,
                members: 0,
                older: youngest,
            };
            let number = self.recent.insert(alone);
            self.by_key.insert(key, number);
            number
        });
        self.in_order.push_back((now, number));
        let found = &mut self.recent[number];
        found.first = found.first.min(started);
        found.last = found.last.max(started);
        found.touched = now;
        found.members += 1;
        let neighbour = std::mem::replace(&mut found.member, at);
        let allocation = &mut allocations[at];
        (allocation.gathering, allocation.gathered) = (Links { prev: at, next: at }, number);
        if neighbour != NONE {
            let next = allocations[neighbour].gathering.next;
            allocations[neighbour].gathering.next = at;
            allocations[next].gathering.prev = at;
            allocations[at].gathering.prev = neighbour;
            allocations[at].gathering.next = next;
        }
    }

    /// Takes an allocation out; those that stay remember what it relayed last.
    pub(super) fn leave(&mut self, allocations: &mut Slab<Allocation>, at: u32) {
        let allocation = &mut allocations[at];
        let (gathered, quiet_since) = (allocation.gathered, allocation.quiet_since.get());
        let links = std::mem::replace(&mut allocation.gathering, Links::ALONE);
        let heir = if links.next == at { NONE } else { links.next };
        if heir != NONE {
            allocations[links.prev].gathering.next = links.next;
            allocations[links.next].gathering.prev = links.prev;
            let heir = &mut allocations[heir];
            heir.quiet_since = heir.quiet_since.get().max(quiet_since).into();
        }
        // The number may be another gathering's by now: that one names no member of this one.
        if let Some(recent) = self.recent.get_mut(gathered).filter(|recent| recent.member == at) {
            recent.member = heir;
        }
    }

    /// Forgets gatherings that cannot grow any more.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some(&(touched, number)) = self.in_order.front()
            && now.since(touched) > STEP
        {
            self.in_order.pop_front();
            if self.recent.get(number).is_some_and(|recent| now.since(recent.touched) > STEP) {
                self.forget(number);
            }
            if let Some(room) = shrunk(self.in_order.len(), self.in_order.capacity()) {
                self.in_order.shrink_to(room);
            }
        }
    }

    fn forget(&mut self, number: u32) {
        let Some(Recent { key, older, .. }) = self.recent.remove(number) else { return };
        let youngest = self.by_key.get(&key).copied().unwrap_or(NONE);
        if youngest != number {
            let younger = self.of_key(youngest).find(|&younger| self.recent[younger].older == number);
            if let Some(younger) = younger {
                self.recent[younger].older = older;
            }
        } else if older != NONE {
            self.by_key.insert(key, older);
        } else {
            self.by_key.remove(&key);
            if let Some(room) = shrunk(self.by_key.len(), self.by_key.capacity()) {
                self.by_key.shrink_to(room);
            }
        }
    }

    /// The gatherings of a key, the youngest first.
    fn of_key(&self, youngest: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(youngest), |&number| Some(self.recent.get(number)?.older))
            .take_while(|&number| number != NONE)
    }

    /// Gatherings and the members that they name.
    #[cfg(test)]
    pub(super) fn named(&self) -> impl Iterator<Item = (u32, u32)> {
        let members = self.recent.iter().map(|(number, recent)| (number, recent.member));
        members.filter(|&(_, member)| member != NONE)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.recent.len() == 0 && self.by_key.is_empty() && self.in_order.is_empty()
    }
}

impl Recent {
    fn fits(&self, started: Timestamp) -> bool {
        let near = started >= self.first.minus(STEP) && started <= self.last.plus(STEP);
        near && self.last.max(started).since(self.first.min(started)) <= SPAN && self.members < MAX_MEMBERS
    }
}

/// The numbers of an allocation's gathering, itself first.
pub(super) fn members(allocations: &Slab<Allocation>, at: u32) -> impl Iterator<Item = u32> {
    let mut next = Some(at);
    std::iter::from_fn(move || {
        let present = next?;
        let following = allocations.get(present)?.gathering.next;
        next = (following != at && following != NONE).then_some(following);
        Some(present)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_ten_seconds_and_a_span_of_thirty() {
        let at = |s: u64| Timestamp::from_millis(s * 1000);
        let (first, last) = (at(100), at(125));
        let recent = Recent { key: 0, first, last, touched: last, member: 0, members: 2, older: NONE };
        assert!(recent.fits(at(130)));
        assert!(!recent.fits(at(131)));
        assert!(recent.fits(at(95)));
        assert!(!recent.fits(at(94)));
        let young = Recent { last: at(105), ..recent };
        assert!(young.fits(at(115)));
        assert!(!young.fits(at(116)));
    }
}
