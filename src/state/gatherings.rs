//! Which allocations one peer connection asked for at once.
//!
//! Browsers gather several relays and use one, so a spare allocation looks leaked by itself; a whole gathering without
//! traffic is. A user name cannot decide: a static one may have a live connection beside a leaked one.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::ages::Links;
use super::allocation::Allocation;
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
    first: Timestamp,
    last: Timestamp,
    /// When a member came, by the present clock (an adopted one is dated earlier).
    touched: Timestamp,
    /// One of the members that still live, or none.
    member: u32,
    members: u32,
}

/// The gatherings that may still grow, by the hash of source, realm, user and (where it counts) client host.
#[derive(Debug, Default)]
pub(super) struct Gatherings {
    recent: HashMap<u64, Vec<Recent>, ahash::RandomState>,
    in_order: VecDeque<(Timestamp, u64)>,
}

impl Gatherings {
    /// Puts an allocation that started at `started` into its circle.
    pub(super) fn join(
        &mut self,
        allocations: &mut Slab<Allocation>,
        at: u32,
        key: u64,
        started: Timestamp,
        now: Timestamp,
    ) {
        let allocation = &mut allocations[at];
        (allocation.gathering, allocation.gathering_key) = (Links { prev: at, next: at }, key);
        self.in_order.push_back((now, key));
        let of_key = self.recent.entry(key).or_default();
        let mut fitting = of_key.iter_mut().rev();
        let Some(found) = fitting.find(|recent| recent.fits(started)) else {
            of_key.push(Recent { first: started, last: started, touched: now, member: at, members: 1 });
            return;
        };
        found.first = found.first.min(started);
        found.last = found.last.max(started);
        found.touched = now;
        found.members += 1;
        let neighbour = std::mem::replace(&mut found.member, at);
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
        let (key, quiet_since) = (allocation.gathering_key, allocation.quiet_since);
        let links = std::mem::replace(&mut allocation.gathering, Links::ALONE);
        let heir = if links.next == at { NONE } else { links.next };
        if heir != NONE {
            allocations[links.prev].gathering.next = links.next;
            allocations[links.next].gathering.prev = links.prev;
            let heir = &mut allocations[heir];
            heir.quiet_since = heir.quiet_since.max(quiet_since);
        }
        let of_key = self.recent.get_mut(&key);
        if let Some(recent) = of_key.and_then(|all| all.iter_mut().find(|recent| recent.member == at)) {
            recent.member = heir;
        }
    }

    /// Forgets gatherings that cannot grow any more.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some(&(touched, key)) = self.in_order.front()
            && now.since(touched) > STEP
        {
            self.in_order.pop_front();
            if let Some(of_key) = self.recent.get_mut(&key) {
                of_key.retain(|recent| now.since(recent.touched) <= STEP);
                if of_key.is_empty() {
                    self.recent.remove(&key);
                }
            }
        }
    }

    /// Members that are named and the keys they are named under.
    #[cfg(test)]
    pub(super) fn named(&self) -> impl Iterator<Item = (u64, u32)> {
        let members =
            self.recent.iter().flat_map(|(&key, all)| all.iter().map(move |recent| (key, recent.member)));
        members.filter(|&(_, member)| member != NONE)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.recent.is_empty() && self.in_order.is_empty()
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
        let recent = Recent { first: at(100), last: at(125), touched: at(125), member: 0, members: 2 };
        assert!(recent.fits(at(130)));
        assert!(!recent.fits(at(131)));
        assert!(recent.fits(at(95)));
        assert!(!recent.fits(at(94)));
        let young = Recent { last: at(105), ..recent };
        assert!(young.fits(at(115)));
        assert!(!young.fits(at(116)));
    }
}
