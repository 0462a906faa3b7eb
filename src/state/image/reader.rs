//! Reads an image from its blocks. It takes nothing for granted: whatever stands there, it ends with a value or with an error, and
//! takes no more memory than the image has bytes.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::writer::{MOMENTS, SIGNATURE, len_bytes};
use super::{IMAGE_VERSION, ImageError, Persist};
use crate::clock::Timestamp;

/// Why a value cannot be read.
#[derive(Clone, Copy, Debug)]
pub(in crate::state) enum Unreadable {
    /// There is no block; who reads them knows why.
    NoBlock,
    /// A later exporter has written it, in this format.
    Newer(u32),
    /// What is wrong.
    Malformed(&'static str),
}

impl Unreadable {
    /// For who reads the blocks.
    pub(in crate::state) fn with<E>(self, blocks: Option<E>) -> ImageError<E> {
        match (self, blocks) {
            (_, Some(error)) => ImageError::Blocks(error),
            (Self::NoBlock, None) => ImageError::Malformed("it ends too early"),
            (Self::Newer(version), None) => ImageError::Newer(version),
            (Self::Malformed(what), None) => ImageError::Malformed(what),
        }
    }
}

const SHORT: Unreadable = Unreadable::Malformed("a block ends too early");

/// Reads an image.
pub(in crate::state) struct ImageReader<'a> {
    block: Vec<u8>,
    at: usize,
    version: u32,
    now: Timestamp,
    digest: SipHasher13,
    next_block: &'a mut dyn FnMut() -> Option<Vec<u8>>,
}

impl<'a> ImageReader<'a> {
    /// Reads the first item.
    pub(in crate::state) fn begin(
        next_block: &'a mut dyn FnMut() -> Option<Vec<u8>>,
    ) -> Result<Self, Unreadable> {
        let (version, now) = (IMAGE_VERSION, Timestamp::ZERO);
        let mut image =
            Self { block: Vec::new(), at: 0, version, now, digest: SipHasher13::new(), next_block };
        image.next()?;
        if image.raw(SIGNATURE.len())? != SIGNATURE {
            return Err(Unreadable::Malformed("it is something else"));
        }
        image.version = u32::read(&mut image)?;
        match image.version {
            0 => return Err(Unreadable::Malformed("there is no format 0")),
            newer if newer > IMAGE_VERSION => return Err(Unreadable::Newer(newer)),
            _ => {}
        }
        image.now = Timestamp::from_millis(image.varint()?);
        image.boundary()?;
        Ok(image)
    }

    /// Nothing is to follow, and nothing is missing.
    pub(in crate::state) fn finish(mut self) -> Result<(), Unreadable> {
        if self.at < self.block.len() {
            return Err(Unreadable::Malformed("a block goes on behind its end"));
        }
        let expected = self.digest.finish();
        self.next()?;
        if self.block != expected.to_le_bytes() || (self.next_block)().is_some() {
            return Err(Unreadable::Malformed("its digest is another"));
        }
        Ok(())
    }

    /// The format of the image.
    pub(in crate::state) const fn version(&self) -> u32 {
        self.version
    }

    /// The moment of the image.
    pub(in crate::state) const fn now(&self) -> Timestamp {
        self.now
    }

    /// A block may end here.
    pub(in crate::state) fn boundary(&mut self) -> Result<(), Unreadable> {
        if self.at == self.block.len() { self.next() } else { Ok(()) }
    }

    fn next(&mut self) -> Result<(), Unreadable> {
        self.block = (self.next_block)().ok_or(Unreadable::NoBlock)?;
        self.at = 0;
        self.digest.write(&len_bytes(&self.block));
        self.digest.write(&self.block);
        if self.block.is_empty() { Err(Unreadable::Malformed("a block is empty")) } else { Ok(()) }
    }

    pub(in crate::state) fn raw(&mut self, len: usize) -> Result<&[u8], Unreadable> {
        let from = self.at;
        let end = from.checked_add(len).filter(|&end| end <= self.block.len()).ok_or(SHORT)?;
        self.at = end;
        Ok(&self.block[from..end])
    }

    pub(in crate::state) fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let from = self.at;
        let bytes = self.block.get(from..).and_then(|rest| rest.first_chunk()).ok_or(SHORT)?;
        self.at += N;
        Ok(*bytes)
    }

    pub(in crate::state) fn byte(&mut self) -> Result<u8, Unreadable> {
        let byte = *self.block.get(self.at).ok_or(SHORT)?;
        self.at += 1;
        Ok(byte)
    }

    pub(in crate::state) fn varint(&mut self) -> Result<u64, Unreadable> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Unreadable::Malformed("a number has more than 64 bits"))
    }

    pub(in crate::state) fn difference(&mut self, from: u64) -> Result<u64, Unreadable> {
        Ok(from.wrapping_add(unzigzag(self.varint()?)))
    }

    /// A moment that was written near `from`.
    pub(in crate::state) fn moment_near(&mut self, from: Timestamp) -> Result<Timestamp, Unreadable> {
        Ok(match self.varint()? {
            0 => Timestamp::ZERO,
            1 => Timestamp::MAX,
            2 => Timestamp::from_millis(u64::from_le_bytes(self.array()?)),
            near => Timestamp::from_millis(from.as_millis().wrapping_sub(unzigzag(near - MOMENTS))),
        })
    }

    pub(in crate::state) fn moment(&mut self) -> Result<Timestamp, Unreadable> {
        self.moment_near(self.now)
    }

    /// A value, unless a 0 stands in its place, with which none begins.
    pub(in crate::state) fn optional<T: Persist>(&mut self) -> Result<Option<T>, Unreadable> {
        if self.block.get(self.at) == Some(&0) {
            self.at += 1;
            return Ok(None);
        }
        T::read(self).map(Some)
    }

    /// A number that was written near `from`.
    pub(in crate::state) fn number_near(&mut self, from: u32) -> Result<Option<u32>, Unreadable> {
        let Some(near) = self.varint()?.checked_sub(1) else { return Ok(None) };
        let number = u64::from(from).wrapping_add(unzigzag(near));
        u32::try_from(number).map(Some).map_err(|_| Unreadable::Malformed("a number is out of its range"))
    }

    /// A list that was written as one; each of it goes to `take`.
    pub(in crate::state) fn list<T: Persist>(&mut self, mut take: impl FnMut(T)) -> Result<(), Unreadable> {
        for _ in 0..usize::read(self)? {
            self.boundary()?;
            take(T::read(self)?);
        }
        Ok(())
    }
}

const fn unzigzag(number: u64) -> u64 {
    number >> 1 ^ (number & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::image::persist;
    use crate::state::image::writer::ImageWriter;

    #[derive(Debug, PartialEq)]
    struct Grown {
        old: u64,
        young: u64,
        last: bool,
    }

    persist! { Grown { old, since 2 young = 7, last } }

    fn written(now: Timestamp, write: impl Fn(&mut ImageWriter<'_>)) -> Vec<Vec<u8>> {
        let mut blocks = Vec::new();
        let mut take = |block: &[u8]| {
            blocks.push(block.to_vec());
            true
        };
        let mut image = ImageWriter::begin(now, &mut take);
        write(&mut image);
        image.finish();
        blocks
    }

    #[test]
    fn a_field_of_a_later_format_has_a_value_in_an_older_image() {
        let old = written(Timestamp::ZERO, |to| (3_u64, true).write(to));
        let new = written(Timestamp::ZERO, |to| Grown { old: 3, young: 4, last: true }.write(to));
        for (image, version, young) in [(old, 1, 7), (new, 2, 4)] {
            let mut blocks = image.into_iter();
            let mut next = || blocks.next();
            let mut from = ImageReader::begin(&mut next).unwrap();
            from.version = version;
            assert_eq!(Grown::read(&mut from).unwrap(), Grown { old: 3, young, last: true });
            from.finish().unwrap();
        }
    }

    proptest! {
        #[test]
        fn numbers_and_moments_come_back(
            now in prop_oneof![0_u64..2, any::<u64>(), Just(1 << 40)],
            number in prop_oneof![0_u64..300, any::<u64>(), (0_u32..64).prop_map(|bit| 1 << bit)],
            place: u32,
            other: Option<u32>,
        ) {
            let (now, moment) = (Timestamp::from_millis(now), Timestamp::from_millis(number));
            let image = written(now, |to| {
                to.varint(number);
                to.difference(number, now.as_millis());
                to.moment(moment);
                to.moment(Timestamp::MAX);
                to.number_near(other, place);
            });
            let mut blocks = image.into_iter();
            let mut next = || blocks.next();
            let mut from = ImageReader::begin(&mut next).unwrap();
            prop_assert_eq!(from.varint().unwrap(), number);
            prop_assert_eq!(from.difference(now.as_millis()).unwrap(), number);
            prop_assert_eq!(from.moment().unwrap(), moment);
            prop_assert_eq!(from.moment().unwrap(), Timestamp::MAX);
            prop_assert_eq!(from.number_near(place).unwrap(), other);
            from.finish().unwrap();
        }

        #[test]
        fn any_bytes_end_with_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut blocks = [bytes].into_iter();
            let mut next = || blocks.next();
            let mut from = ImageReader {
                block: Vec::new(),
                at: 0,
                version: 1,
                now: Timestamp::ZERO,
                digest: SipHasher13::new(),
                next_block: &mut next,
            };
            let _ = from.next();
            let _ = Vec::<(u64, Option<std::time::Duration>)>::read(&mut from);
            let _ = from.moment();
            let _ = <Vec<std::net::SocketAddr>>::read(&mut from);
        }
    }
}
