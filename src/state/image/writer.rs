//! Writes an image, in blocks.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::{IMAGE_VERSION, Persist};
use crate::clock::Timestamp;

/// A block is handed over once it has so many bytes.
const BLOCK: usize = 256 * 1024;

/// What an image begins with.
pub(super) const SIGNATURE: &[u8; 8] = b"ctxtable";

/// What follows a moment that is neither of the two ends of time, in its number.
pub(super) const MOMENTS: u64 = 3;

/// Writes an image. A block that is not taken ends it: what is written then goes nowhere.
pub(in crate::state) struct ImageWriter<'a> {
    block: Vec<u8>,
    /// Moments are written as their distance from it.
    now: Timestamp,
    digest: SipHasher13,
    take_block: &'a mut dyn FnMut(&[u8]) -> bool,
    is_refused: bool,
}

impl<'a> ImageWriter<'a> {
    /// Writes the first item. `take_block` says whether it has taken a block.
    pub(in crate::state) fn begin(now: Timestamp, take_block: &'a mut dyn FnMut(&[u8]) -> bool) -> Self {
        let (block, digest) = (Vec::with_capacity(BLOCK + BLOCK / 8), SipHasher13::new());
        let mut image = Self { block, now, digest, take_block, is_refused: false };
        image.raw(SIGNATURE);
        image.varint(IMAGE_VERSION.into());
        image.varint(now.as_millis());
        image.boundary();
        image
    }

    /// Writes what shows that nothing is missing.
    pub(in crate::state) fn finish(mut self) {
        self.hand_over();
        let digest = self.digest.finish();
        self.raw(&digest.to_le_bytes());
        self.hand_over();
    }

    /// A block may end here.
    pub(in crate::state) fn boundary(&mut self) {
        if self.block.len() >= BLOCK {
            self.hand_over();
        }
    }

    /// Nobody takes the image any more.
    pub(in crate::state) const fn is_refused(&self) -> bool {
        self.is_refused
    }

    fn hand_over(&mut self) {
        if !self.block.is_empty() && !self.is_refused {
            self.digest.write(&len_bytes(&self.block));
            self.digest.write(&self.block);
            self.is_refused = !(self.take_block)(&self.block);
        }
        self.block.clear();
    }

    pub(in crate::state) fn raw(&mut self, bytes: &[u8]) {
        self.block.extend_from_slice(bytes);
    }

    pub(in crate::state) fn byte(&mut self, byte: u8) {
        self.block.push(byte);
    }

    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    pub(in crate::state) fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            // Cut to its lowest bits, as meant.
            self.block.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.block.push(number.to_le_bytes()[0]);
    }

    /// The difference of two numbers that are often alike, in whichever direction.
    pub(in crate::state) fn difference(&mut self, number: u64, from: u64) {
        self.varint(zigzag(number.wrapping_sub(from)));
    }

    /// A moment near `from`.
    pub(in crate::state) fn moment_near(&mut self, moment: Timestamp, from: Timestamp) {
        match moment {
            Timestamp::ZERO => self.byte(0),
            Timestamp::MAX => self.byte(1),
            _ => {
                let near = zigzag(from.as_millis().wrapping_sub(moment.as_millis()));
                if let Some(near) = near.checked_add(MOMENTS) {
                    self.varint(near);
                } else {
                    self.byte(2);
                    self.raw(&moment.as_millis().to_le_bytes());
                }
            }
        }
    }

    /// A number, if there is one, that is often near `from`.
    pub(in crate::state) fn number_near(&mut self, number: Option<u32>, from: u32) {
        let near = |number| zigzag(u64::from(number).wrapping_sub(from.into())) + 1;
        self.varint(number.map_or(0, near));
    }

    /// A moment near the present one.
    pub(in crate::state) fn moment(&mut self, moment: Timestamp) {
        self.moment_near(moment, self.now);
    }

    /// How many there are, then each, with a boundary before it.
    pub(in crate::state) fn list<'i, T: Persist + 'i>(
        &mut self,
        len: usize,
        items: impl IntoIterator<Item = &'i T>,
    ) {
        len.write(self);
        for item in items {
            if self.is_refused {
                return;
            }
            self.boundary();
            item.write(self);
        }
    }
}

/// What the digest has of a block besides its bytes.
pub(super) fn len_bytes(block: &[u8]) -> [u8; 8] {
    u64::try_from(block.len()).unwrap_or(u64::MAX).to_le_bytes()
}

/// Small numbers for small differences in both directions.
const fn zigzag(difference: u64) -> u64 {
    let signed = difference.cast_signed();
    (signed << 1 ^ signed >> 63).cast_unsigned()
}
