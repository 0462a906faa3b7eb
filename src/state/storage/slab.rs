//! Records under small numbers that stay the same while a record lives. No keys, no order.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use super::free_list::{FreeList, shrunk};
use super::id::Id;

/// Records in one block of memory; freed places are used again, and those at its end given back.
#[derive(Debug)]
pub(crate) struct Slab<Of, T> {
    kind: PhantomData<fn() -> Of>,
    places: Vec<Option<T>>,
    free: FreeList,
    len: usize,
}

impl<Of, T> Slab<Of, T> {
    pub(crate) const fn new() -> Self {
        Self { kind: PhantomData, places: Vec::new(), free: FreeList::new(), len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Each number that is given out is below this.
    pub(crate) const fn places(&self) -> usize {
        self.places.len()
    }

    #[cfg(test)]
    pub(crate) const fn room(&self) -> usize {
        self.places.capacity()
    }

    /// Stores a record and gives its number.
    pub(crate) fn insert(&mut self, record: T) -> Id<Of> {
        self.len += 1;
        let places = &mut self.places;
        if let Some(at) = self.free.take(|at| matches!(places.get(at as usize), Some(None))) {
            if let Some(place) = places.get_mut(at as usize) {
                *place = Some(record);
            }
            return Id::of_place(at);
        }
        places.push(Some(record));
        // The table's cap keeps the length far below this.
        Id::of_place(u32::try_from(places.len() - 1).unwrap_or(u32::MAX))
    }

    /// Takes a record out; its number may come again.
    pub(crate) fn remove(&mut self, at: Id<Of>) -> Option<T> {
        let record = self.places.get_mut(at.place() as usize)?.take()?;
        self.len -= 1;
        self.free.push(at.place());
        while let Some(None) = self.places.last() {
            self.places.pop();
        }
        let places = &mut self.places;
        self.free.tidy(places.len(), |at| matches!(places.get(at as usize), Some(None)));
        if let Some(room) = shrunk(places.len(), places.capacity()) {
            places.shrink_to(room);
        }
        Some(record)
    }

    pub(crate) fn get(&self, at: Id<Of>) -> Option<&T> {
        self.places.get(at.place() as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, at: Id<Of>) -> Option<&mut T> {
        self.places.get_mut(at.place() as usize)?.as_mut()
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id<Of>, &T)> {
        (0..).zip(&self.places).filter_map(|(at, place)| Some((Id::of_place(at), place.as_ref()?)))
    }
}

impl<Of, T> Index<Id<Of>> for Slab<Of, T> {
    type Output = T;

    #[expect(clippy::expect_used, reason = "numbers come from `insert` and are dropped with the record")]
    fn index(&self, at: Id<Of>) -> &T {
        self.get(at).expect("a number of the slab's own")
    }
}

impl<Of, T> IndexMut<Id<Of>> for Slab<Of, T> {
    #[expect(clippy::expect_used, reason = "numbers come from `insert` and are dropped with the record")]
    fn index_mut(&mut self, at: Id<Of>) -> &mut T {
        self.get_mut(at).expect("a number of the slab's own")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_used_again() {
        let mut slab: Slab<(), _> = Slab::new();
        let (a, b) = (slab.insert('a'), slab.insert('b'));
        assert_eq!(slab.remove(a), Some('a'));
        assert_eq!(slab.remove(a), None);
        assert_eq!((slab.get(a), slab.get(b), slab.len()), (None, Some(&'b'), 1));
        assert_eq!(slab.insert('c'), a);
        assert_eq!(slab.iter().collect::<Vec<_>>(), [(a, &'c'), (b, &'b')]);
        assert_eq!((slab.remove(b), slab.places(), slab.insert('d')), (Some('b'), 1, b));
    }

    #[test]
    fn a_peak_is_given_back() {
        let mut slab: Slab<(), _> = Slab::new();
        let all: Vec<Id<()>> = (0..10_000).map(|number| slab.insert(number)).collect();
        for at in all {
            slab.remove(at);
        }
        assert_eq!((slab.len(), slab.places(), slab.insert(7)), (0, 0, Id::of_place(0)));
        assert!(slab.places.capacity() <= 4096 && slab.free.len() < 2000);
    }
}
