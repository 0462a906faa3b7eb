//! Records under small numbers that stay the same while a record lives. No keys, no order.

use std::ops::{Index, IndexMut};

/// The number of no record.
pub(super) const NONE: u32 = u32::MAX;

/// Records in one block of memory; freed places are used again.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Numbers ever given out; each is below this.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// Stores a record and gives its number.
    pub(super) fn insert(&mut self, record: T) -> u32 {
        if let Some(at) = self.free.pop() {
            if let Some(place) = self.places.get_mut(at as usize) {
                *place = Some(record);
            }
            return at;
        }
        self.places.push(Some(record));
        // The table's cap keeps the length far below this.
        u32::try_from(self.places.len() - 1).unwrap_or(NONE)
    }

    /// Takes a record out; its number may come again.
    pub(super) fn remove(&mut self, at: u32) -> Option<T> {
        let record = self.places.get_mut(at as usize)?.take()?;
        self.free.push(at);
        Some(record)
    }

    pub(super) fn get(&self, at: u32) -> Option<&T> {
        self.places.get(at as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.places.get_mut(at as usize)?.as_mut()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.places).filter_map(|(at, place)| Some((at, place.as_ref()?)))
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[expect(clippy::expect_used, reason = "numbers come from `insert` and are dropped with the record")]
    fn index(&self, at: u32) -> &T {
        self.get(at).expect("a number of the slab's own")
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[expect(clippy::expect_used, reason = "numbers come from `insert` and are dropped with the record")]
    fn index_mut(&mut self, at: u32) -> &mut T {
        self.get_mut(at).expect("a number of the slab's own")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_used_again() {
        let mut slab = Slab::new();
        let (a, b) = (slab.insert('a'), slab.insert('b'));
        assert_eq!(slab.remove(a), Some('a'));
        assert_eq!(slab.remove(a), None);
        assert_eq!((slab.get(a), slab.get(b), slab.len()), (None, Some(&'b'), 1));
        assert_eq!(slab.insert('c'), a);
        assert_eq!(slab.iter().collect::<Vec<_>>(), [(a, &'c'), (b, &'b')]);
    }
}
