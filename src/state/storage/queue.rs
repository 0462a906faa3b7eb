//! What waits in its order: put in at one end, taken out at the other.

use std::collections::VecDeque;

use super::chunk::{Chunk, ChunkLayout};
use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;

/// A queue in chunks of memory. What is taken out is dropped with the chunk that it lies in.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    chunks: VecDeque<Chunk<T>>,
    /// So many of the first chunk have been taken out.
    taken: usize,
    len: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Queue<T> {
    /// Items of a chunk.
    const FULL: usize = ChunkLayout::of(size_of::<T>()).items();

    pub(crate) const fn new() -> Self {
        Self { chunks: VecDeque::new(), taken: 0, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.chunks.iter().map(Chunk::capacity).sum()
    }

    /// The first in the queue.
    pub(crate) fn front(&self) -> Option<&T> {
        if self.is_empty() {
            return None;
        }
        self.chunks.front()?.get(self.taken)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(Chunk::iter).skip(self.taken)
    }
}

impl<T: Clone> Queue<T> {
    /// The same queue once more, to be read only: what happens to this one from now on does not show there.
    pub(crate) fn share(&mut self) -> Self {
        Self { chunks: self.chunks.iter_mut().map(Chunk::share).collect(), taken: self.taken, len: self.len }
    }

    pub(crate) fn push_back(&mut self, item: T) {
        if self.chunks.back().is_none_or(|last| last.len() >= Self::FULL) {
            // The first chunk grows: a short queue takes little.
            let room = if self.chunks.is_empty() { 0 } else { Self::FULL };
            self.chunks.push_back(Chunk::Own(Vec::with_capacity(room)));
        }
        if let Some(last) = self.chunks.back_mut() {
            last.items_mut().push(item);
            self.len += 1;
        }
    }

    /// Takes the first out.
    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let first = self.front()?.clone();
        self.taken += 1;
        self.len -= 1;
        if self.is_empty() {
            self.chunks[0].clear();
            self.taken = 0;
        } else if self.taken == self.chunks[0].len() {
            self.chunks.pop_front();
            self.taken = 0;
        }
        Some(first)
    }

    /// Drops those that are not to be kept.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&T) -> bool) {
        let all = std::mem::take(self);
        for item in all.iter().filter(|&item| is_kept(item)) {
            self.push_back(item.clone());
        }
    }
}

impl<T: Persist + Clone> Persist for Queue<T> {
    fn write(&self, to: &mut ImageWriter<'_>) {
        to.list(self.len, self.iter());
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let mut queue = Self::new();
        from.list(|item| queue.push_back(item))?;
        Ok(queue)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_that_of_the_standard_library(steps in prop::collection::vec((0_u8..12, 0_usize..1500), 1..60)) {
            let (mut queue, mut model) = (Queue::new(), VecDeque::new());
            let mut frozen = (queue.share(), model.clone());
            let mut next = 0;
            for (step, many) in steps {
                match step {
                    0..5 => for _ in 0..many {
                        queue.push_back(next);
                        model.push_back(next);
                        next += 1;
                    }
                    5..9 => for _ in 0..many {
                        prop_assert_eq!(queue.front(), model.front());
                        prop_assert_eq!(queue.pop_front(), model.pop_front());
                    }
                    9 => {
                        queue.retain(|item| item % 3 > 0);
                        model.retain(|item| item % 3 > 0);
                    }
                    _ => frozen = (queue.share(), model.clone()),
                }
                prop_assert_eq!((queue.len(), queue.is_empty()), (model.len(), model.is_empty()));
                prop_assert!(queue.room() <= model.len() + 2 * Queue::<i32>::FULL);
            }
            prop_assert!(queue.iter().eq(&model));
            prop_assert!(frozen.0.iter().eq(&frozen.1));
        }
    }
}
