//! Names of users. Each allocation brings one; those of one session share that of the session.
//!
//! A name takes its bytes, five more, and what is missing to a multiple of four: no pointer, no length of a word, no
//! header of an allocator.

use super::chunk::{Chunk, ChunkLayout, extend, room_of};
use super::free_list::FreeList;
use super::id::Id;
use super::slab::Slab;

/// A stored name. Copied with [`Interner::hold`], given back with [`Interner::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NameId(u32);

/// Sizes of places go in steps of so many bytes.
const STEP: usize = 4;

/// How many share the name stands in the first four bytes of its place; the next says how many at its end are unused.
const HEAD: usize = 5;

/// Bits of a number that tell the place; those above tell its size.
const PLACE_BITS: u32 = 25;

/// A size has no more places. Names beyond them take places of the next sizes.
const PLACES: usize = 1 << PLACE_BITS;

/// The sizes are multiples of [`STEP`]; the last number is for all that is longer. coturn cuts names at 508 bytes.
const LONG: usize = (1 << (u32::BITS - PLACE_BITS)) - 1;

/// A name that is stored by itself, with how many share it.
type LongName = (u32, Box<[u8]>);

/// The names: short ones end to end by size, longer ones each by itself.
#[derive(Debug)]
pub(crate) struct Interner {
    /// Bytes of all names, each counted once, however many share it.
    name_bytes: usize,
    shelves: Vec<Shelf>,
    long: Slab<LongName, LongName>,
}

impl Interner {
    pub(crate) fn new() -> Self {
        let shelf = |number| Shelf::new((number + 1) * STEP);
        Self { name_bytes: 0, shelves: (0..LONG).map(shelf).collect(), long: Slab::new() }
    }

    /// The same names under the same numbers once more, to be read only.
    pub(crate) fn share(&mut self) -> Self {
        let shelves = self.shelves.iter_mut().map(Shelf::share).collect();
        Self { name_bytes: self.name_bytes, shelves, long: self.long.share() }
    }

    /// Stores a name for one who uses it.
    pub(crate) fn acquire(&mut self, name: &[u8]) -> NameId {
        self.name_bytes += name.len();
        let fitting = (name.len() + HEAD).div_ceil(STEP) - 1;
        let all = self.shelves.iter_mut().enumerate().skip(fitting);
        // How many bytes are unused is kept in one byte.
        let mut roomy = all.take(usize::from(u8::MAX) / STEP).filter(|(_, shelf)| shelf.places < PLACES);
        let (number, place) = match roomy.next() {
            Some((number, sized)) => (number, sized.put(name)),
            None => (LONG, self.long.insert((1, name.into())).place()),
        };
        NameId(u32::try_from(number).unwrap_or(0) << PLACE_BITS | place)
    }

    /// One more uses it.
    pub(crate) fn hold(&mut self, user: NameId) -> NameId {
        let (number, place) = user.parts();
        match self.shelves.get_mut(number) {
            Some(sized) => sized.set_sharers(place, sized.sharers(place) + 1),
            None => self.long[Id::of_place(place)].0 += 1,
        }
        user
    }

    /// One less uses it; with the last one it goes.
    pub(crate) fn release(&mut self, user: NameId) {
        let (number, place) = user.parts();
        if let Some(shelf) = self.shelves.get_mut(number) {
            let left = shelf.sharers(place) - 1;
            shelf.set_sharers(place, left);
            if left == 0 {
                self.name_bytes -= shelf.name(place).len();
                shelf.tidy(place);
            }
        } else {
            self.long[Id::of_place(place)].0 -= 1;
            if self.long[Id::of_place(place)].0 == 0
                && let Some((_, name)) = self.long.remove(Id::of_place(place))
            {
                self.name_bytes -= name.len();
            }
        }
    }

    pub(crate) const fn name_bytes(&self) -> usize {
        self.name_bytes
    }

    pub(crate) fn get(&self, user: NameId) -> &[u8] {
        let (number, place) = user.parts();
        match self.shelves.get(number) {
            Some(sized) => sized.name(place),
            None => &self.long[Id::of_place(place)].1,
        }
    }

    /// Something of the beginning and of the end of a name's place: it may lie on two lines of the cache.
    pub(crate) fn glimpse(&self, user: NameId) -> u8 {
        let (number, place) = user.parts();
        let Some(sized) = self.shelves.get(number) else { return 0 };
        let place = sized.bytes_of(place);
        place[HEAD - 1] ^ place[sized.size - 1]
    }

    /// Whether more than one uses it.
    pub(crate) fn is_shared(&self, user: NameId) -> bool {
        let (number, place) = user.parts();
        match self.shelves.get(number) {
            Some(sized) => sized.sharers(place) > 1,
            None => self.long[Id::of_place(place)].0 > 1,
        }
    }

    /// How many names are stored.
    #[cfg(test)]
    pub(crate) fn stored(&self) -> usize {
        let on_shelf =
            |shelf: &Shelf| (0..).take(shelf.places).filter(|&place| !shelf.is_free(place)).count();
        self.long.len() + self.shelves.iter().map(on_shelf).sum::<usize>()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.long.len() == 0 && self.shelves.iter().all(|shelf| shelf.places == 0)
    }
}

impl NameId {
    const fn parts(self) -> (usize, u32) {
        ((self.0 >> PLACE_BITS) as usize, self.0 & ((1 << PLACE_BITS) - 1))
    }
}

/// Places of one size, end to end.
#[derive(Debug)]
struct Shelf {
    size: usize,
    layout: ChunkLayout,
    /// As in a slab; of bytes.
    chunks: Vec<Chunk<u8>>,
    places: usize,
    free: FreeList,
}

impl Shelf {
    const fn new(size: usize) -> Self {
        let layout = ChunkLayout::of(size);
        Self { size, layout, chunks: Vec::new(), places: 0, free: FreeList::new() }
    }

    fn share(&mut self) -> Self {
        let chunks = self.chunks.iter_mut().map(Chunk::share).collect();
        Self { size: self.size, layout: self.layout, chunks, places: self.places, free: FreeList::new() }
    }

    fn bytes_of(&self, place: u32) -> &[u8] {
        let (chunk, within) = self.layout.split(place as usize);
        let at = within * self.size;
        self.chunks[chunk].slice(at..at + self.size)
    }

    fn bytes_of_mut(&mut self, place: u32) -> &mut [u8] {
        let (chunk, within) = self.layout.split(place as usize);
        let (at, page_bytes) = (within * self.size, self.layout.page_items() * self.size);
        self.chunks[chunk].slice_mut(at..at + self.size, page_bytes)
    }

    fn put(&mut self, name: &[u8]) -> u32 {
        let mut free = std::mem::take(&mut self.free);
        let place = free.take(|place| self.is_free(place));
        self.free = free;
        let place = place.unwrap_or_else(|| self.add_place());
        let unused = self.size - HEAD - name.len();
        let bytes = self.bytes_of_mut(place);
        bytes[HEAD - 1] = u8::try_from(unused).unwrap_or(u8::MAX);
        bytes[HEAD..][..name.len()].copy_from_slice(name);
        self.set_sharers(place, 1);
        place
    }

    /// One place more, at the end.
    fn add_place(&mut self) -> u32 {
        let (chunk, within) = self.layout.split(self.places);
        if chunk == self.chunks.len() {
            self.chunks.push(Chunk::Own(Vec::new()));
        }
        let len = (within + 1) * self.size;
        let room = room_of(chunk, len, self.layout.items() * self.size);
        extend(self.chunks[chunk].items_mut(), len, room, 0);
        self.places += 1;
        u32::try_from(self.places - 1).unwrap_or(u32::MAX)
    }

    fn name(&self, place: u32) -> &[u8] {
        let bytes = self.bytes_of(place);
        &bytes[HEAD..self.size - usize::from(bytes[HEAD - 1])]
    }

    fn sharers(&self, place: u32) -> u32 {
        self.bytes_of(place).first_chunk().map_or(0, |count| u32::from_le_bytes(*count))
    }

    fn set_sharers(&mut self, place: u32, sharers: u32) {
        self.bytes_of_mut(place)[..4].copy_from_slice(&sharers.to_le_bytes());
    }

    /// A place was freed: it is used again, or given back if it is at the end.
    fn tidy(&mut self, freed: u32) {
        self.free.push(freed);
        while let Some(last) = self.places.checked_sub(1)
            && self.is_free(u32::try_from(last).unwrap_or(u32::MAX))
        {
            self.places = last;
        }
        // One chunk more than is needed stays, for names that come and go at its edge.
        self.chunks.truncate(self.places.div_ceil(self.layout.items()) + 1);
        if self.places == 0 {
            self.chunks[0].clear();
        }
        let mut free = std::mem::take(&mut self.free);
        free.tidy(self.places, |place| self.is_free(place));
        self.free = free;
    }

    fn is_free(&self, place: u32) -> bool {
        (place as usize) < self.places && self.sharers(place) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_of_55_bytes_takes_60() {
        let mut users = Interner::new();
        users.acquire(&[b'a'; 55]);
        users.acquire(&[b'b'; 54]);
        assert_eq!(users.shelves[14].chunks[0].len(), 120);
        users.acquire(&[b'b'; 56]);
        assert_eq!(users.shelves[15].chunks[0].len(), 64);
    }

    proptest! {
        #[test]
        fn names_stay_as_long_as_somebody_uses_them(
            steps in prop::collection::vec((0_u8..3, any::<u8>(), 0_usize..600, any::<prop::sample::Index>()), 1..300),
        ) {
            let (mut users, mut model) = (Interner::new(), Vec::new());
            for (step, byte, length, which) in steps {
                match step {
                    0 => {
                        let name = vec![byte; length];
                        model.push((users.acquire(&name), name));
                    }
                    _ if model.is_empty() => {}
                    1 => {
                        let (user, name) = model[which.index(model.len())].clone();
                        model.push((users.hold(user), name));
                    }
                    _ => users.release(model.swap_remove(which.index(model.len())).0),
                }
                for (user, name) in &model {
                    prop_assert_eq!(users.get(*user), &**name);
                }
            }
            for (user, _) in model {
                users.release(user);
            }
            prop_assert!(users.is_empty());
        }
    }

    #[test]
    fn a_peak_is_given_back() {
        let mut users = Interner::new();
        let all: Vec<NameId> = (0..60_000_u32).map(|number| users.acquire(&number.to_le_bytes())).collect();
        let (last, others) = all.split_last().unwrap();
        for user in others {
            users.release(*user);
        }
        // What comes now takes the lowest places, so that the last to leave frees all above them.
        let young = users.acquire(b"back");
        users.release(*last);
        let shelf = &users.shelves[2];
        assert_eq!((shelf.places, users.get(young)), (1, &b"back"[..]));
        let room: usize = shelf.chunks.iter().map(Chunk::capacity).sum();
        // Two chunks of 720,000 bytes.
        assert!(room < 400_000 && shelf.free.len() < 2000, "{room}, {}", shelf.free.len());
    }
}
