//! The first bytes of a segment and of a snapshot: what the file is, whose, and which moment it begins at.
//!
//! Magic, version and check sum stand at the same places in every version, so that a newer file is known as one.

use std::time::Duration;

use super::boot::BootId;
use super::fields::{take, take_u32, take_u64};
use super::moments::Moments;
use crate::clock::Timestamp;

/// Length of a header.
pub(super) const HEADER_BYTES: usize = 128;
/// The same, as files count.
pub(super) const HEADER_END: u64 = HEADER_BYTES as u64;
/// The version of both files.
pub(super) const FILE_VERSION: u32 = 1;

const BYTES_BEFORE_SUM: usize = HEADER_BYTES - 4;

/// Which kind of file a header is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Segment,
    Snapshot,
}

impl FileKind {
    const fn magic(self) -> [u8; 8] {
        match self {
            Self::Segment => *b"CTEjourn",
            Self::Snapshot => *b"CTEsnaps",
        }
    }
}

/// A header that is whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileHeader {
    pub(super) store_id: [u8; 16],
    /// Of the segment; of the first segment behind the snapshot.
    pub(super) number: u64,
    pub(super) rules_version: u32,
    pub(super) boot: BootId,
    pub(super) life: u64,
    /// The number of the first batch in the segment; of the first behind the snapshot.
    pub(super) sequence: u64,
    /// How many bytes of the segment before this one count.
    pub(super) previous_end: u64,
    /// Random bytes before each batch: nobody who chooses what is in a batch can imitate the beginning of one.
    pub(super) mark: u32,
    pub(super) at: Moments,
}

/// What the first bytes of a file are.
#[derive(Clone, Copy, Debug)]
pub(super) enum HeaderRead {
    /// Of a file of this version, with its check sum, which those behind it hang on.
    Whole(FileHeader, u32),
    /// Of a later version.
    Newer(u32),
    /// Nothing but zeros: room that was reserved.
    Blank,
    /// None of these.
    Bad,
}

impl FileHeader {
    /// For a file, and the check sum at its end.
    pub(super) fn encode(&self, kind: FileKind) -> ([u8; HEADER_BYTES], u32) {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend(kind.magic());
        out.extend(FILE_VERSION.to_le_bytes());
        out.extend(self.store_id);
        out.extend(self.number.to_le_bytes());
        out.extend(self.rules_version.to_le_bytes());
        out.extend(self.boot.to_bytes());
        out.extend(self.life.to_le_bytes());
        out.extend(self.sequence.to_le_bytes());
        out.extend(self.previous_end.to_le_bytes());
        out.extend(self.mark.to_le_bytes());
        out.extend(self.at.table.as_millis().to_le_bytes());
        out.extend(self.at.wall.as_millis().to_le_bytes());
        out.extend(millis(self.at.boot).to_le_bytes());
        out.resize(BYTES_BEFORE_SUM, 0);
        let sum = crc32fast::hash(&out);
        out.extend(sum.to_le_bytes());
        (out.try_into().unwrap_or([0; HEADER_BYTES]), sum)
    }

    fn decode(mut rest: &[u8]) -> Option<Self> {
        let rest = &mut rest;
        Some(Self {
            store_id: take(rest)?,
            number: take_u64(rest)?,
            rules_version: take_u32(rest)?,
            boot: BootId::from_bytes(take(rest)?),
            life: take_u64(rest)?,
            sequence: take_u64(rest)?,
            previous_end: take_u64(rest)?,
            mark: take_u32(rest)?,
            at: Moments {
                table: Timestamp::from_millis(take_u64(rest)?),
                wall: Timestamp::from_millis(take_u64(rest)?),
                boot: Duration::from_millis(take_u64(rest)?),
            },
        })
    }
}

/// Reads the first bytes of a file, which may be fewer than a header has.
pub(super) fn read(kind: FileKind, bytes: &[u8]) -> HeaderRead {
    if bytes.iter().all(|&byte| byte == 0) {
        return HeaderRead::Blank;
    }
    let whole = || {
        let (before, mut sum) = bytes.get(..HEADER_BYTES)?.split_at_checked(BYTES_BEFORE_SUM)?;
        let sum = take_u32(&mut sum).filter(|&sum| sum == crc32fast::hash(before))?;
        let mut rest = before;
        take(&mut rest).filter(|magic: &[u8; 8]| *magic == kind.magic())?;
        match take_u32(&mut rest)? {
            version if version > FILE_VERSION => Some(HeaderRead::Newer(version)),
            FILE_VERSION => Some(HeaderRead::Whole(FileHeader::decode(rest)?, sum)),
            _ => None,
        }
    };
    whole().unwrap_or(HeaderRead::Bad)
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_every_changed_byte_is_noticed() {
        let header = FileHeader {
            store_id: [9; 16],
            number: 7,
            rules_version: 3,
            boot: BootId::from_bytes([4; 16]),
            life: 5,
            sequence: 600,
            previous_end: 700,
            mark: 0xdead_beef,
            at: Moments {
                table: Timestamp::from_millis(1),
                wall: Timestamp::from_millis(2),
                boot: Duration::from_millis(3),
            },
        };
        let (bytes, sum) = header.encode(FileKind::Segment);
        let HeaderRead::Whole(read_back, read_sum) = read(FileKind::Segment, &bytes) else { panic!() };
        assert_eq!((format!("{read_back:?}"), read_sum), (format!("{header:?}"), sum));
        assert!(matches!(read(FileKind::Snapshot, &bytes), HeaderRead::Bad));
        for at in 0..HEADER_BYTES {
            let mut flipped = bytes;
            flipped[at] ^= 0x10;
            assert!(matches!(read(FileKind::Segment, &flipped), HeaderRead::Bad), "{at}");
            let cut = read(FileKind::Segment, &bytes[..at]);
            assert!(
                if at == 0 { matches!(cut, HeaderRead::Blank) } else { matches!(cut, HeaderRead::Bad) },
                "{at}"
            );
        }
    }

    #[test]
    fn a_newer_header_is_known_as_one() {
        let mut bytes = [0x55; HEADER_BYTES];
        bytes[..8].copy_from_slice(b"CTEjourn");
        bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..124]);
        bytes[124..].copy_from_slice(&sum.to_le_bytes());
        assert!(matches!(read(FileKind::Segment, &bytes), HeaderRead::Newer(2)));
    }
}
