//! Who is the oldest: records in the order of their start, without a scan and with eight bytes a record.
//!
//! What is born now is the youngest, so a list threaded through the records keeps the order by itself. Records that were
//! adopted with an earlier start are threaded into lists of the same start: a resync dates them to the second, so there
//! are few of those.

use std::collections::BTreeMap;

use super::id::Id;
use super::slab::Slab;
use crate::clock::Timestamp;
use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;

/// A record's neighbours in a list.
#[derive(Debug)]
pub(crate) struct Links<Of> {
    pub(crate) prev: Option<Id<Of>>,
    pub(crate) next: Option<Id<Of>>,
}

impl<Of> Links<Of> {
    pub(crate) const ALONE: Self = Self { prev: None, next: None };
}

impl<Of> Clone for Links<Of> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Of> Copy for Links<Of> {}

/// What can be put in order of age. The start must not change while a record is in.
pub(crate) trait Aged {
    /// The kind of record.
    type Of;

    fn started(&self) -> Timestamp;
    fn age_links(&mut self) -> &mut Links<Self::Of>;
}

/// The order of age of one kind of record.
#[derive(Debug)]
pub(crate) struct AgeList<Of> {
    oldest: Option<Id<Of>>,
    youngest: Option<Id<Of>>,
    /// The first of each start's list.
    backdated: BTreeMap<Timestamp, Id<Of>>,
}

impl<Of> AgeList<Of> {
    pub(crate) const fn new() -> Self {
        Self { oldest: None, youngest: None, backdated: BTreeMap::new() }
    }

    pub(crate) fn insert<T: Aged<Of = Of> + Clone>(&mut self, slab: &mut Slab<Of, T>, at: Id<Of>) {
        let started = slab[at].started();
        if let Some(youngest) = self.youngest
            && slab[youngest].started() > started
        {
            let next = self.backdated.insert(started, at);
            *slab[at].age_links() = Links { prev: None, next };
            if let Some(next) = next {
                slab[next].age_links().prev = Some(at);
            }
            return;
        }
        *slab[at].age_links() = Links { prev: self.youngest, next: None };
        match self.youngest {
            Some(before) => slab[before].age_links().next = Some(at),
            None => self.oldest = Some(at),
        }
        self.youngest = Some(at);
    }

    pub(crate) fn remove<T: Aged<Of = Of> + Clone>(&mut self, slab: &mut Slab<Of, T>, at: Id<Of>) {
        let started = slab[at].started();
        let links = std::mem::replace(slab[at].age_links(), Links::ALONE);
        match links.prev {
            Some(before) => slab[before].age_links().next = links.next,
            None if self.oldest == Some(at) => self.oldest = links.next,
            None => self.replace_first(started, links.next),
        }
        match links.next {
            Some(after) => slab[after].age_links().prev = links.prev,
            None if self.youngest == Some(at) => self.youngest = links.prev,
            None => {}
        }
    }

    fn replace_first(&mut self, started: Timestamp, by: Option<Id<Of>>) {
        match by {
            Some(by) => self.backdated.insert(started, by),
            None => self.backdated.remove(&started),
        };
    }

    /// The earliest start of all.
    pub(crate) fn oldest<T: Aged<Of = Of>>(&self, slab: &Slab<Of, T>) -> Option<Timestamp> {
        let listed = self.oldest.and_then(|oldest| slab.get(oldest)).map(Aged::started);
        let backdated = self.backdated.first_key_value().map(|(&started, _)| started);
        listed.into_iter().chain(backdated).min()
    }
}

/// Which lists there are besides the one from the oldest to the youngest is shown by the records: each that has none before it
/// is the first of one.
impl<Of> Persist for AgeList<Of> {
    fn write(&self, to: &mut ImageWriter<'_>) {
        let Self { oldest, youngest, backdated: _ } = self;
        oldest.write(to);
        youngest.write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        Ok(Self { oldest: Persist::read(from)?, youngest: Persist::read(from)?, backdated: BTreeMap::new() })
    }
}

impl<Of> AgeList<Of> {
    /// A copy that is written only.
    pub(crate) const fn share(&self) -> Self {
        Self { oldest: self.oldest, youngest: self.youngest, backdated: BTreeMap::new() }
    }

    /// A record of this order was read, which has none before it.
    pub(crate) fn read_first(&mut self, at: Id<Of>, started: Timestamp) -> Result<(), Unreadable> {
        if self.oldest != Some(at) && self.backdated.insert(started, at).is_some() {
            return Err(Unreadable::Malformed("two records are the first of one start"));
        }
        Ok(())
    }

    /// All records were read: whether those that the order begins and ends with are there.
    pub(crate) fn check_ends<T: Aged<Of = Of>>(&self, slab: &Slab<Of, T>) -> Result<(), Unreadable> {
        let are_there = [self.oldest, self.youngest].into_iter().flatten().all(|at| slab.get(at).is_some());
        if are_there && self.oldest.is_some() == self.youngest.is_some() {
            Ok(())
        } else {
            Err(Unreadable::Malformed("an order of ages has no end"))
        }
    }
}

impl<Of> Links<Of> {
    /// The one behind it; who is before it follows from that.
    pub(crate) fn write(self, at: Id<Of>, to: &mut ImageWriter<'_>) {
        to.number_near(self.next.map(Id::place), at.place());
    }

    pub(crate) fn read(at: Id<Of>, from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let next = from.number_near(at.place())?;
        Ok(Self { prev: None, next: next.map(Id::of_place) })
    }
}

/// Fills in who is before each record of a slab that was read.
pub(crate) fn link_back<Of, T: Clone>(
    slab: &mut Slab<Of, T>,
    links_of: impl Fn(&mut T) -> &mut Links<Of>,
) -> Result<(), Unreadable> {
    for place in 0..u32::try_from(slab.places()).unwrap_or(u32::MAX) {
        let at = Id::of_place(place);
        let Some(next) = slab.get_mut(at).and_then(|record| links_of(record).next) else { continue };
        let behind = slab.get_mut(next).map(&links_of);
        match behind {
            Some(behind) if behind.prev.is_none() => behind.prev = Some(at),
            _ => return Err(Unreadable::Malformed("a record follows two others, or is not there")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone)]
    struct Thing(Timestamp, Links<()>);

    impl Aged for Thing {
        type Of = ();

        fn started(&self) -> Timestamp {
            self.0
        }
        fn age_links(&mut self) -> &mut Links<()> {
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
