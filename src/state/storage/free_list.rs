//! Free places among numbered ones, the lowest first: what lives gathers at the bottom, so that the top can be given
//! back to the system after a peak.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Places that were freed. One that has been cut off, or is in use again, may still be among them: the owner knows.
#[derive(Debug, Default)]
pub(crate) struct FreeList(BinaryHeap<Reverse<u32>>);

impl FromIterator<u32> for FreeList {
    fn from_iter<I: IntoIterator<Item = u32>>(places: I) -> Self {
        Self(places.into_iter().map(Reverse).collect::<Vec<_>>().into())
    }
}

impl FreeList {
    pub(crate) const fn new() -> Self {
        Self(BinaryHeap::new())
    }

    pub(crate) fn push(&mut self, place: u32) {
        self.0.push(Reverse(place));
    }

    /// The lowest place that `is_free`.
    pub(crate) fn take(&mut self, is_free: impl Fn(u32) -> bool) -> Option<u32> {
        while let Some(Reverse(place)) = self.0.pop() {
            if is_free(place) {
                return Some(place);
            }
        }
        None
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Only `places` are left: drops what was cut off, once it is too much.
    pub(crate) fn tidy(&mut self, places: usize, is_free: impl Fn(u32) -> bool) {
        const SLACK: usize = 1024;
        if self.0.len() > places + SLACK {
            self.0.retain(|&Reverse(place)| is_free(place));
            self.0.shrink_to(places);
        }
    }
}

/// Less room than this is not worth a thought.
const LEAST: usize = 4096;

/// Whether so much room is unused that it is worth giving back; the room to keep, then.
pub(crate) const fn shrunk(used: usize, room: usize) -> Option<usize> {
    if room > LEAST && used < room / 4 { Some(used * 2) } else { None }
}

/// Whether a hash table has so much unused room that it is worth giving back; the room to keep, then. It moves to another place then: seldom, and into little, for the C library keeps some of
/// what is freed.
pub(crate) const fn rehashed(used: usize, room: usize) -> Option<usize> {
    if room > LEAST && used < room / 16 { Some(used * 2) } else { None }
}
