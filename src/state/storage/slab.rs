//! Records under small numbers that stay the same while a record lives. No keys, no order.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use super::chunk::{Chunk, ChunkLayout, extend, room_of};
use super::free_list::FreeList;
use super::id::Id;
use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;

/// Records in chunks of memory; freed places are used again, the lowest first, and those at the end given back. Which
/// number a record gets depends on nothing but the calls before.
#[derive(Debug)]
pub(crate) struct Slab<Of, T> {
    kind: PhantomData<fn() -> Of>,
    /// A chunk may be shorter than its part: nothing is at the places that it lacks. One more than the places need may be
    /// kept.
    chunks: Vec<Chunk<Option<T>>>,
    places: usize,
    free: FreeList,
    len: usize,
}

impl<Of, T> Slab<Of, T> {
    const LAYOUT: ChunkLayout = ChunkLayout::of(size_of::<Option<T>>());

    pub(crate) const fn new() -> Self {
        Self { kind: PhantomData, chunks: Vec::new(), places: 0, free: FreeList::new(), len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Each number that is given out is below this.
    pub(crate) const fn places(&self) -> usize {
        self.places
    }

    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.chunks.iter().map(Chunk::capacity).sum()
    }

    #[inline]
    pub(crate) fn get(&self, at: Id<Of>) -> Option<&T> {
        let (chunk, within) = Self::LAYOUT.split(at.place() as usize);
        self.chunks.get(chunk)?.get(within)?.as_ref()
    }

    /// Whether it is a place, and nothing is there.
    fn is_vacant(chunks: &[Chunk<Option<T>>], places: usize, at: usize) -> bool {
        let (chunk, within) = Self::LAYOUT.split(at);
        let there = chunks.get(chunk).and_then(|chunk| chunk.get(within)?.as_ref());
        at < places && there.is_none()
    }

    /// All records with their numbers, in the order of the numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id<Of>, &T)> {
        let in_chunk = |(number, chunk)| (number * Self::LAYOUT.items()..).zip(Chunk::iter(chunk));
        let all = self.chunks.iter().enumerate().flat_map(in_chunk);
        all.filter_map(|(at, place)| Some((Id::of_place(u32::try_from(at).ok()?), place.as_ref()?)))
    }
}

impl<Of, T: Clone> Slab<Of, T> {
    /// The same records once more, to be read only: what is written here from now on does not show there.
    pub(crate) fn share(&mut self) -> Self {
        Self {
            kind: PhantomData,
            chunks: self.chunks.iter_mut().map(Chunk::share).collect(),
            places: self.places,
            // Whoever reads takes no places.
            free: FreeList::new(),
            len: self.len,
        }
    }

    /// Stores a record and gives its number.
    pub(crate) fn insert(&mut self, record: T) -> Id<Of> {
        let (chunks, places) = (&self.chunks, self.places);
        let at = self.free.take(|at| Self::is_vacant(chunks, places, at as usize)).unwrap_or_else(|| {
            self.places += 1;
            // The table's cap keeps the number of places far below this.
            u32::try_from(self.places - 1).unwrap_or(u32::MAX)
        });
        self.put(at as usize, record);
        Id::of_place(at)
    }

    /// Puts a record into a place that is vacant.
    fn put(&mut self, at: usize, record: T) {
        let (chunk, within) = Self::LAYOUT.split(at);
        while self.chunks.len() <= chunk {
            self.chunks.push(Chunk::Own(Vec::new()));
        }
        let places = &mut self.chunks[chunk];
        if places.len() <= within {
            extend(places.items_mut(), within + 1, room_of(chunk, within + 1, Self::LAYOUT.items()), None);
        }
        if let Some(place) = places.get_mut(within, Self::LAYOUT.page_items()) {
            *place = Some(record);
        }
        self.len += 1;
    }

    /// Takes a record out; its number may come again.
    pub(crate) fn remove(&mut self, at: Id<Of>) -> Option<T> {
        self.get(at)?;
        let (chunk, within) = Self::LAYOUT.split(at.place() as usize);
        let record = self.chunks.get_mut(chunk)?.get_mut(within, Self::LAYOUT.page_items())?.take()?;
        self.len -= 1;
        self.free.push(at.place());
        if at.place() as usize + 1 == self.places {
            self.cut();
        }
        Some(record)
    }

    /// Gives the vacant places at the end back.
    fn cut(&mut self) {
        while self.places > 0 && Self::is_vacant(&self.chunks, self.places, self.places - 1) {
            self.places -= 1;
        }
        // One chunk more than is needed stays, for records that come and go at its edge.
        self.chunks.truncate(self.places.div_ceil(Self::LAYOUT.items()) + 1);
        if self.places == 0 {
            self.chunks[0].clear();
        }
        let (chunks, places) = (&self.chunks, self.places);
        self.free.tidy(places, |at| Self::is_vacant(chunks, places, at as usize));
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, at: Id<Of>) -> Option<&mut T> {
        let (chunk, within) = Self::LAYOUT.split(at.place() as usize);
        self.chunks.get_mut(chunk)?.get_mut(within, Self::LAYOUT.page_items())?.as_mut()
    }
}

impl<Of, T> Index<Id<Of>> for Slab<Of, T> {
    type Output = T;

    #[expect(clippy::expect_used, reason = "numbers come from `insert` and are dropped with the record")]
    fn index(&self, at: Id<Of>) -> &T {
        self.get(at).expect("a number of the slab's own")
    }
}

impl<Of, T: Clone> IndexMut<Id<Of>> for Slab<Of, T> {
    #[expect(clippy::expect_used, reason = "numbers come from `insert` and are dropped with the record")]
    fn index_mut(&mut self, at: Id<Of>) -> &mut T {
        self.get_mut(at).expect("a number of the slab's own")
    }
}

/// More vacant places than any machine of today has records.
const MOST_VACANT: usize = 1 << 26;

impl<Of, T> Slab<Of, T> {
    /// Each record after the number of vacant places before it.
    pub(crate) fn write(
        &self,
        to: &mut ImageWriter<'_>,
        write: impl FnMut(Id<Of>, &T, &mut ImageWriter<'_>),
    ) {
        let (mut write, mut next) = (write, 0);
        self.len.write(to);
        for (at, record) in self.iter() {
            if to.is_refused() {
                return;
            }
            to.boundary();
            to.varint((at.place() - next).into());
            write(at, record, to);
            next = at.place() + 1;
        }
    }

    pub(crate) fn read(
        from: &mut ImageReader<'_>,
        mut read: impl FnMut(Id<Of>, &mut ImageReader<'_>) -> Result<T, Unreadable>,
    ) -> Result<Self, Unreadable>
    where
        T: Clone,
    {
        let mut slab = Self::new();
        let (records, mut vacant) = (usize::read(from)?, 0);
        for _ in 0..records {
            from.boundary()?;
            let before = u32::read(from)?;
            vacant += before as usize;
            let at = u32::try_from(slab.places).ok().and_then(|next| next.checked_add(before));
            let at = at.filter(|&at| at < u32::MAX && vacant <= MOST_VACANT);
            let at = at.ok_or(Unreadable::Malformed("a record has no place"))?;
            let record = read(Id::of_place(at), from)?;
            slab.put(at as usize, record);
            slab.places = at as usize + 1;
        }
        let is_vacant = |&at: &u32| Self::is_vacant(&slab.chunks, slab.places, at as usize);
        slab.free = (0..u32::try_from(slab.places).unwrap_or(u32::MAX)).filter(is_vacant).collect();
        Ok(slab)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let chunk = Slab::<(), u64>::LAYOUT.items();
        let all: Vec<Id<()>> = (0..3 * chunk as u64 - 1).map(|number| slab.insert(number)).collect();
        assert_eq!(slab.room(), 3 * chunk);
        for at in all {
            slab.remove(at);
        }
        assert_eq!((slab.len(), slab.places(), slab.insert(7)), (0, 0, Id::of_place(0)));
        assert!(slab.room() <= chunk && slab.free.len() < 2000);
    }

    proptest! {
        /// The free place with the lowest number is taken, else one more, and what is frozen stays as it was.
        #[test]
        fn numbers_depend_on_the_calls_alone(
            steps in prop::collection::vec((0_u8..12, any::<prop::sample::Index>()), 1..400),
            // Around the edges of chunks.
            many in (0_usize..4, 0_usize..8).prop_map(|(chunks, more)| (chunks * Slab::<(), usize>::LAYOUT.items() + more).saturating_sub(4)),
        ) {
            let mut slab: Slab<(), usize> = Slab::new();
            let mut model: Vec<Option<usize>> = Vec::new();
            let mut frozen = (slab.share(), model.clone());
            let insert = |slab: &mut Slab<(), usize>, model: &mut Vec<Option<usize>>, record| {
                let at = model.iter().position(Option::is_none).unwrap_or(model.len());
                if at == model.len() { model.push(None) }
                model[at] = Some(record);
                assert_eq!(slab.insert(record).place() as usize, at);
            };
            for record in 0..many {
                assert_eq!(slab.insert(record).place() as usize, record);
                model.push(Some(record));
            }
            for (number, (step, which)) in steps.into_iter().enumerate() {
                let at = which.index(model.len().max(1));
                let id = Id::of_place(u32::try_from(at).unwrap());
                match step {
                    0..5 => insert(&mut slab, &mut model, number),
                    5..9 => {
                        prop_assert_eq!(slab.remove(id), model.get_mut(at).and_then(Option::take));
                        while let Some(None) = model.last() { model.pop(); }
                    }
                    9 => if let Some(record) = slab.get_mut(id) {
                        *record += 1;
                        model[at] = Some(*record);
                    }
                    10 => frozen = (slab.share(), model.clone()),
                    _ => frozen = (Slab::new(), Vec::new()),
                }
                prop_assert_eq!(slab.places(), model.len());
            }
            for (slab, model) in [(&slab, &model), (&frozen.0, &frozen.1)] {
                let all: Vec<_> = slab.iter().map(|(at, &record)| (at.place() as usize, record)).collect();
                let expected = model.iter().enumerate().filter_map(|(at, record)| Some((at, (*record)?)));
                prop_assert_eq!(slab.len(), all.len());
                prop_assert_eq!(all, expected.collect::<Vec<_>>());
            }
        }
    }
}
