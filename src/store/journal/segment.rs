//! A segment: a header, then batches, then zeros. Bytes only.
//!
//! ```text
//! batch = mark u32, length of the body u32, check sum u32 (from the header's on, over length and body), body
//! body  = sequence number, table's moment, wall moment, boot's moment (each as its distance from the header's), payload
//! ```

use std::time::Duration;

use super::fields::{put_distance, put_short, take_distance, take_short, take_u32};
use super::header::{FileHeader, millis};
use super::moments::Moments;
use crate::clock::Timestamp;

/// Mark, length and check sum.
const FRAME_BYTES: usize = 12;

/// More than what stands around a payload at most: the frame and four numbers.
pub(super) const MOST_AROUND: u64 = 64;

/// The longest body that is written or believed.
pub(super) const MAX_BODY: usize = 1 << 30;

/// A batch within the bytes of its segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundBatch<'a> {
    pub(super) sequence: u64,
    pub(super) at: Moments,
    pub(super) payload: &'a [u8],
    /// With its frame.
    pub(super) length: usize,
}

/// Puts one batch into the emptied buffer.
pub(super) fn encode(out: &mut Vec<u8>, of: (&FileHeader, u32), sequence: u64, at: Moments, payload: &[u8]) {
    let (header, header_sum) = of;
    out.clear();
    out.extend([0; FRAME_BYTES]);
    put_short(out, sequence.wrapping_sub(header.sequence));
    put_distance(out, header.at.table.as_millis(), at.table.as_millis());
    put_distance(out, header.at.wall.as_millis(), at.wall.as_millis());
    put_distance(out, millis(header.at.boot), millis(at.boot));
    out.extend(payload);
    if let Some((frame, body)) = out.split_first_chunk_mut::<FRAME_BYTES>() {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let numbers = [header.mark, length, sum_of(header_sum, length, body)];
        for (place, number) in frame.chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
    }
}

/// The batch at the beginning of `bytes`; `None` if there is none that is whole.
pub(super) fn decode<'a>(of: (&FileHeader, u32), bytes: &'a [u8]) -> Option<FoundBatch<'a>> {
    let (header, header_sum) = of;
    let mut rest = bytes;
    take_u32(&mut rest).filter(|&mark| mark == header.mark)?;
    let (length, sum) = (take_u32(&mut rest)?, take_u32(&mut rest)?);
    let body_bytes = usize::try_from(length).ok().filter(|&length| length <= MAX_BODY)?;
    let mut body = rest.get(..body_bytes)?;
    if sum != sum_of(header_sum, length, body) {
        return None;
    }
    let sequence = header.sequence.checked_add(take_short(&mut body)?)?;
    let at = Moments {
        table: Timestamp::from_millis(take_distance(&mut body, header.at.table.as_millis())?),
        wall: Timestamp::from_millis(take_distance(&mut body, header.at.wall.as_millis())?),
        boot: Duration::from_millis(take_distance(&mut body, millis(header.at.boot))?),
    };
    Some(FoundBatch { sequence, at, payload: body, length: FRAME_BYTES + body_bytes })
}

/// Whether a whole batch begins anywhere in `bytes`.
pub(super) fn holds_a_batch(of: (&FileHeader, u32), bytes: &[u8]) -> bool {
    let mark = of.0.mark.to_le_bytes();
    let mut starts = bytes.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark);
    starts.any(|(start, _)| bytes.get(start..).is_some_and(|rest| decode(of, rest).is_some()))
}

fn sum_of(header_sum: u32, length: u32, body: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new_with_initial(header_sum);
    sum.update(&length.to_le_bytes());
    sum.update(body);
    sum.finalize()
}
