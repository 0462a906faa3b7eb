//! Who is the oldest: records in the order of their start, without a scan and with eight bytes a record.
//!
//! What is born now is the youngest, so a list threaded through the records keeps the order by itself. Records that were
//! adopted with an earlier start are threaded into lists of the same start: a resync dates them to the second, so there
//! are few of those.

use std::collections::BTreeMap;

use super::slab::{NONE, Slab};
use crate::clock::Timestamp;

/// A record's neighbours in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Links {
    pub(crate) prev: u32,
    pub(crate) next: u32,
}

impl Links {
    pub(crate) const ALONE: Self = Self { prev: NONE, next: NONE };
}

/// What can be put in order of age. The start must not change while a record is in.
pub(crate) trait Aged {
    fn started(&self) -> Timestamp;
    fn age_links(&mut self) -> &mut Links;
}

#[derive(Debug)]
pub(crate) struct AgeList {
    oldest: u32,
    youngest: u32,
    /// The first of each start's list.
    backdated: BTreeMap<Timestamp, u32>,
}

impl AgeList {
    pub(crate) const fn new() -> Self {
        Self { oldest: NONE, youngest: NONE, backdated: BTreeMap::new() }
    }

    pub(crate) fn insert<T: Aged>(&mut self, slab: &mut Slab<T>, at: u32) {
        let started = slab[at].started();
        if self.youngest != NONE && slab[self.youngest].started() > started {
            let next = self.backdated.insert(started, at).unwrap_or(NONE);
            *slab[at].age_links() = Links { prev: NONE, next };
            if let Some(next) = slab.get_mut(next) {
                next.age_links().prev = at;
            }
            return;
        }
        *slab[at].age_links() = Links { prev: self.youngest, next: NONE };
        match slab.get_mut(self.youngest) {
            Some(before) => before.age_links().next = at,
            None => self.oldest = at,
        }
        self.youngest = at;
    }

    pub(crate) fn remove<T: Aged>(&mut self, slab: &mut Slab<T>, at: u32) {
        let started = slab[at].started();
        let links = std::mem::replace(slab[at].age_links(), Links::ALONE);
        match slab.get_mut(links.prev) {
            Some(before) => before.age_links().next = links.next,
            None if self.oldest == at => self.oldest = links.next,
            None => self.replace_first(started, links.next),
        }
        match slab.get_mut(links.next) {
            Some(after) => after.age_links().prev = links.prev,
            None if self.youngest == at => self.youngest = links.prev,
            None => {}
        }
    }

    fn replace_first(&mut self, started: Timestamp, by: u32) {
        if by == NONE {
            self.backdated.remove(&started);
        } else {
            self.backdated.insert(started, by);
        }
    }

    /// The earliest start of all.
    pub(crate) fn oldest<T: Aged>(&self, slab: &Slab<T>) -> Option<Timestamp> {
        let listed = slab.get(self.oldest).map(Aged::started);
        let backdated = self.backdated.first_key_value().map(|(&started, _)| started);
        listed.into_iter().chain(backdated).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Thing(Timestamp, Links);

    impl Aged for Thing {
        fn started(&self) -> Timestamp {
            self.0
        }
        fn age_links(&mut self) -> &mut Links {
            &mut self.1
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_set(steps in prop::collection::vec((0_u64..50, any::<bool>(), any::<prop::sample::Index>()), 1..200)) {
            let (mut slab, mut ages, mut model) = (Slab::new(), AgeList::new(), Vec::new());
            for (start, add, which) in steps {
                if add || model.is_empty() {
                    let started = Timestamp::from_millis(start);
                    let at = slab.insert(Thing(started, Links::ALONE));
                    ages.insert(&mut slab, at);
                    model.push((started, at));
                } else {
                    let (_, at) = model.swap_remove(which.index(model.len()));
                    ages.remove(&mut slab, at);
                    slab.remove(at);
                }
                prop_assert_eq!(ages.oldest(&slab), model.iter().map(|&(started, _)| started).min());
            }
        }
    }
}
