//! Items in chunks of bounded size, which a frozen copy can share: a page of a shared chunk is copied when it is written
//! to. So a container is frozen in a time that depends on the number of its chunks, no event waits for a copy of more than
//! a page, and a container never moves as a whole.

use std::ops::Range;
use std::sync::Arc;

use super::free_list::shrunk;

/// A full chunk has so many bytes at least: the C library gives a block of this size back to the system when it is freed,
/// and leaves no holes between those that stay.
const LEAST_BYTES: usize = 256 << 10;

/// A full chunk has so many items at least.
const LEAST_BITS: u32 = 10;

/// A full chunk has no more items, however small they are.
const MOST_BITS: u32 = 14;

/// A page has so many bytes at least: little to copy at the first write after a freeze, much beside its own header.
const PAGE_BYTES: usize = 1024;

/// How items of one size lie in chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkLayout {
    /// Bits of a place that tell where in its chunk it is.
    within_bits: u32,
    page_bits: u32,
}

impl ChunkLayout {
    /// For items of so many bytes.
    pub(crate) const fn of(size: usize) -> Self {
        let mut within_bits = LEAST_BITS;
        while within_bits < MOST_BITS && size << within_bits < LEAST_BYTES {
            within_bits += 1;
        }
        let mut page_bits = 0;
        while page_bits < LEAST_BITS && size << page_bits < PAGE_BYTES {
            page_bits += 1;
        }
        Self { within_bits, page_bits }
    }

    /// Items of a full chunk.
    pub(crate) const fn items(self) -> usize {
        1 << self.within_bits
    }

    /// Items of a page; a full chunk is a multiple of it.
    pub(crate) const fn page_items(self) -> usize {
        1 << self.page_bits
    }

    /// The chunk of a place, and where in it the place is.
    pub(crate) const fn split(self, place: usize) -> (usize, usize) {
        (place >> self.within_bits, place % self.items())
    }
}

/// Items that lie together.
#[derive(Debug)]
pub(crate) enum Chunk<T> {
    /// Nobody else has them.
    Own(Vec<T>),
    /// A frozen copy may have them too.
    Shared(Arc<Vec<T>>),
    /// A frozen copy may have the base too; some pages have been written to since.
    Patched(Box<Patched<T>>),
}

/// Shared items, and the pages of them that have been written to.
#[derive(Debug)]
pub(crate) struct Patched<T> {
    base: Arc<Vec<T>>,
    /// Items of a page; the last one may be shorter.
    page_items: usize,
    /// One for each page of the base; `None` while it is as in the base.
    pages: Vec<Option<Box<[T]>>>,
    /// How many are not `None`.
    written: usize,
}

impl<T> Chunk<T> {
    fn base(&self) -> &Vec<T> {
        match self {
            Self::Own(items) => items,
            Self::Shared(items) => items,
            Self::Patched(patched) => &patched.base,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.base().len()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.base().capacity()
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        match self {
            Self::Own(items) => items.get(at),
            Self::Shared(items) => items.get(at),
            Self::Patched(patched) => patched.get(at),
        }
    }

    /// Some items that lie in one page. Panics if there are none.
    #[inline]
    pub(crate) fn slice(&self, at: Range<usize>) -> &[T] {
        match self {
            Self::Own(items) => &items[at],
            Self::Shared(items) => &items[at],
            Self::Patched(patched) => patched.slice(at),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let (base, patched) =
            (self.base(), if let Self::Patched(patched) = self { Some(patched) } else { None });
        let page_items = patched.map_or(base.len().max(1), |patched| patched.page_items);
        let written = move |page: usize| patched.and_then(|patched| patched.pages[page].as_deref());
        base.chunks(page_items).enumerate().flat_map(move |(page, items)| written(page).unwrap_or(items))
    }

    /// Drops the items; what room is kept is little.
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Own(items) if shrunk(0, items.capacity()).is_none() => items.clear(),
            Self::Own(_) | Self::Shared(_) | Self::Patched(_) => *self = Self::Own(Vec::new()),
        }
    }
}

impl<T: Clone> Chunk<T> {
    /// The same items once more, without a copy of any.
    pub(crate) fn share(&mut self) -> Self {
        if !matches!(self, Self::Shared(_)) {
            *self = Self::Shared(Arc::new(std::mem::take(self.items_mut())));
        }
        match self {
            Self::Shared(items) => Self::Shared(Arc::clone(items)),
            // Not so after the line above.
            Self::Own(_) | Self::Patched(_) => Self::Own(Vec::new()),
        }
    }

    /// All items, to be changed and to be made more or fewer. Copies all of them while a frozen copy has them too.
    pub(crate) fn items_mut(&mut self) -> &mut Vec<T> {
        match self {
            Self::Own(_) => {}
            Self::Shared(items) => *self = Self::Own(own(std::mem::take(items))),
            Self::Patched(patched) => {
                let mut items = own(std::mem::take(&mut patched.base));
                for (number, page) in std::mem::take(&mut patched.pages).into_iter().enumerate() {
                    if let Some(page) = page {
                        put_page(&mut items, number * patched.page_items, page);
                    }
                }
                *self = Self::Own(items);
            }
        }
        match self {
            Self::Own(items) => items,
            // Not so after the lines above.
            Self::Shared(items) => Arc::make_mut(items),
            Self::Patched(patched) => Arc::make_mut(&mut patched.base),
        }
    }

    /// One item, to be changed. Copies its page of so many items while a frozen copy has it too.
    #[inline]
    pub(crate) fn get_mut(&mut self, at: usize, page_items: usize) -> Option<&mut T> {
        if !matches!(self, Self::Own(_)) && at < self.len() {
            self.own_page(at, page_items);
        }
        match self {
            Self::Own(items) => items.get_mut(at),
            Self::Shared(_) => None,
            Self::Patched(patched) => patched.written_mut(at..at + 1)?.first_mut(),
        }
    }

    /// Some items that lie in one page, to be changed, as [`Chunk::get_mut`] does. Panics if there are none.
    #[inline]
    pub(crate) fn slice_mut(&mut self, at: Range<usize>, page_items: usize) -> &mut [T] {
        if !matches!(self, Self::Own(_)) {
            self.own_page(at.start, page_items);
        }
        match self {
            Self::Own(items) => &mut items[at],
            Self::Shared(_) => &mut [],
            Self::Patched(patched) => patched.written_mut(at).unwrap_or_default(),
        }
    }

    /// Sees to it that the page of an item can be written to. While a frozen copy has it too, this is a page of its own;
    /// when it has gone, the pages return to the base one by one: all at once would hold the next event up.
    #[cold]
    #[inline(never)]
    fn own_page(&mut self, at: usize, page_items: usize) {
        if let Self::Shared(items) = self {
            if Arc::get_mut(items).is_some() {
                self.items_mut();
                return;
            }
            let pages = vec![None; items.len().div_ceil(page_items)];
            let base = std::mem::take(items);
            *self = Self::Patched(Box::new(Patched { base, page_items, pages, written: 0 }));
        }
        if let Self::Patched(patched) = self {
            patched.own_page(at);
            if patched.written == 0 {
                self.items_mut();
            }
        }
    }
}

/// Out of the way of chunks that are whole, as most are most of the time.
impl<T> Patched<T> {
    #[cold]
    fn get(&self, at: usize) -> Option<&T> {
        match self.pages.get(at / self.page_items)? {
            Some(items) => items.get(at % self.page_items),
            None => self.base.get(at),
        }
    }

    #[cold]
    fn slice(&self, at: Range<usize>) -> &[T] {
        match &self.pages[at.start / self.page_items] {
            Some(items) => &items[at.start % self.page_items..][..at.len()],
            None => &self.base[at],
        }
    }
}

impl<T: Clone> Patched<T> {
    /// The page of an item becomes its own, or returns to the base that nobody else has any more.
    fn own_page(&mut self, at: usize) {
        let first = at / self.page_items * self.page_items;
        let page = &mut self.pages[at / self.page_items];
        match (Arc::get_mut(&mut self.base), page.is_some()) {
            (Some(base), true) => {
                if let Some(items) = page.take() {
                    put_page(base, first, items);
                    self.written -= 1;
                }
            }
            (None, false) => {
                let end = (first + self.page_items).min(self.base.len());
                *page = Some(self.base[first..end].into());
                self.written += 1;
            }
            (Some(_), false) | (None, true) => {}
        }
    }

    /// Some items of a page for which [`Patched::own_page`] has been called.
    #[cold]
    fn written_mut(&mut self, at: Range<usize>) -> Option<&mut [T]> {
        match self.pages.get_mut(at.start / self.page_items)? {
            Some(items) => items.get_mut(at.start % self.page_items..)?.get_mut(..at.len()),
            None => Arc::get_mut(&mut self.base)?.get_mut(at),
        }
    }
}

/// Puts the items of a page to where it begins.
fn put_page<T>(items: &mut [T], first: usize, page: Box<[T]>) {
    for (item, written) in items[first..].iter_mut().zip(page) {
        *item = written;
    }
}

/// Room for `len` items in the chunk `number` of those that hold up to `full`. Only the first one grows, so that who has few
/// takes little.
pub(crate) fn room_of(number: usize, len: usize, full: usize) -> usize {
    if number == 0 { len.next_power_of_two().min(full) } else { full }
}

/// Brings the items of a chunk up to `len`, and takes so much room.
pub(crate) fn extend<T: Clone>(items: &mut Vec<T>, len: usize, room: usize, with: T) {
    if items.capacity() < room {
        items.reserve_exact(room - items.len());
    }
    items.resize(len, with);
}

/// Takes the items over, or copies them while somebody else has them.
#[cold]
fn own<T: Clone>(items: Arc<Vec<T>>) -> Vec<T> {
    Arc::try_unwrap(items).unwrap_or_else(|shared| {
        let mut copy = Vec::with_capacity(shared.capacity());
        copy.extend_from_slice(&shared);
        copy
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    #[test]
    fn only_the_page_that_is_written_to_is_copied_and_returns_when_the_frozen_copy_has_gone() {
        let mut live = Chunk::Own(vec![1, 2, 3, 4, 5]);
        let base = |chunk: &Chunk<i32>| chunk.base().as_ptr();
        let before = base(&live);
        let frozen = live.share();
        *live.get_mut(3, 2).unwrap() = 7;
        assert_eq!((base(&live), base(&frozen)), (before, before), "all of it was copied");
        let Chunk::Patched(patched) = &live else { panic!("{live:?}") };
        assert_eq!(patched.pages, [None, Some(Box::from([3, 7])), None]);
        assert!(live.iter().eq(&[1, 2, 3, 7, 5]) && frozen.iter().eq(&[1, 2, 3, 4, 5]));

        drop(frozen);
        *live.get_mut(4, 2).unwrap() = 8;
        assert!(matches!(live, Chunk::Patched(_)), "pages that are not written to have returned");
        *live.get_mut(2, 2).unwrap() = 6;
        let Chunk::Own(items) = &live else { panic!("{live:?}") };
        assert_eq!((items.as_ptr(), &items[..]), (before, &[1, 2, 6, 7, 8][..]));
    }

    #[test]
    fn a_page_divides_a_chunk() {
        for size in 1..5000 {
            let layout = ChunkLayout::of(size);
            let (chunk, page) = (layout.items(), layout.page_items());
            assert!(chunk.is_multiple_of(page) && page * size < 2 * PAGE_BYTES.max(size), "{size}: {page}");
        }
    }

    proptest! {
        /// Frozen copies stay as they were, and what is live is as a vector would be.
        #[test]
        fn agrees_with_a_vector(
            steps in prop::collection::vec((0_u8..10, any::<prop::sample::Index>()), 1..100),
            page_items in 1_usize..5,
        ) {
            let (mut live, mut model) = (Chunk::Own(Vec::new()), Vec::new());
            let mut frozen: Vec<(Chunk<usize>, Vec<usize>)> = Vec::new();
            for (number, (step, which)) in steps.into_iter().enumerate() {
                let at = which.index(model.len().max(1));
                match step {
                    0..2 => {
                        live.items_mut().push(number);
                        model.push(number);
                    }
                    2..5 => if let Some(item) = model.get_mut(at) {
                        *item = number;
                        *live.get_mut(at, page_items).unwrap() = number;
                    },
                    5 => {
                        let end = (at / page_items + 1) * page_items;
                        let range = at.min(model.len())..end.min(model.len());
                        model[range.clone()].fill(number);
                        if !range.is_empty() {
                            live.slice_mut(range, page_items).fill(number);
                        }
                    }
                    6..8 => frozen.push((live.share(), model.clone())),
                    _ => drop(frozen.pop()),
                }
                prop_assert_eq!(live.get_mut(model.len(), page_items), None);
                for (chunk, model) in frozen.iter().map(|(chunk, model)| (chunk, model)).chain([(&live, &model)]) {
                    prop_assert_eq!((chunk.len(), chunk.get(at), chunk.get(model.len())), (model.len(), model.get(at), None));
                    prop_assert!(chunk.iter().eq(model));
                    if let Some(item) = model.get(at) {
                        prop_assert_eq!(chunk.slice(at..at + 1), [*item]);
                    }
                }
            }
        }
    }
}
