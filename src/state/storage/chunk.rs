//! Items in blocks of bounded size, which a frozen copy can share: whoever writes to a shared block takes it over, or
//! copies it first. So a container is frozen in a time that depends on the number of its blocks, and never moves as a whole.

use std::sync::Arc;

/// A full chunk has so many bytes at least: the C library gives a block of this size back to the system when it is freed,
/// and leaves no holes between those that stay.
const LEAST_BYTES: usize = 256 << 10;

/// A full chunk has so many items at least.
const LEAST_BITS: u32 = 10;

/// A full chunk has no more items, however small they are.
const MOST_BITS: u32 = 14;

/// How items of one size lie in chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkLayout {
    /// Bits of a place that tell where in its chunk it is.
    within_bits: u32,
}

impl ChunkLayout {
    /// For items of so many bytes.
    pub(crate) const fn of(size: usize) -> Self {
        let mut within_bits = LEAST_BITS;
        while within_bits < MOST_BITS && size << within_bits < LEAST_BYTES {
            within_bits += 1;
        }
        Self { within_bits }
    }

    /// Items of a full chunk.
    pub(crate) const fn items(self) -> usize {
        1 << self.within_bits
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
    /// Somebody else may have them too.
    Shared(Arc<Vec<T>>),
}

impl<T> Chunk<T> {
    #[inline]
    pub(crate) fn items(&self) -> &Vec<T> {
        match self {
            Self::Own(items) => items,
            Self::Shared(items) => items,
        }
    }

    /// The same items once more, without a copy of any.
    pub(crate) fn share(&mut self) -> Self {
        if let Self::Own(items) = self {
            *self = Self::Shared(Arc::new(std::mem::take(items)));
        }
        match self {
            Self::Own(_) => Self::Own(Vec::new()),
            Self::Shared(items) => Self::Shared(Arc::clone(items)),
        }
    }

    /// Drops the items; room that is its own stays.
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Own(items) => items.clear(),
            Self::Shared(_) => *self = Self::Own(Vec::new()),
        }
    }
}

impl<T: Clone> Chunk<T> {
    /// The items, to be changed.
    #[inline]
    pub(crate) fn items_mut(&mut self) -> &mut Vec<T> {
        if let Self::Shared(_) = self {
            self.take_over();
        }
        match self {
            Self::Own(items) => items,
            // Not so after the line above.
            Self::Shared(items) => Arc::make_mut(items),
        }
    }

    #[cold]
    #[inline(never)]
    fn take_over(&mut self) {
        if let Self::Shared(items) = self {
            *self = Self::Own(own(std::mem::take(items)));
        }
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

    #[test]
    fn what_is_shared_is_copied_by_who_writes_first_and_taken_over_by_who_is_left() {
        let mut live = Chunk::Own(vec![1, 2]);
        let frozen = live.share();
        let at = |chunk: &Chunk<i32>| chunk.items().as_ptr();
        assert_eq!(at(&live), at(&frozen));
        live.items_mut()[0] = 7;
        assert_eq!((live.items(), frozen.items()), (&vec![7, 2], &vec![1, 2]));

        let frozen = live.share();
        let before = at(&live);
        drop(frozen);
        live.items_mut()[0] = 8;
        assert_eq!((at(&live), live.items()), (before, &vec![8, 2]));
    }
}
