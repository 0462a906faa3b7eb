//! Numbers in bytes: of fixed width (little-endian), and short where they are small.

/// Takes some bytes from the front; `None` if there are not as many.
pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

pub(super) fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    take(rest).map(u32::from_le_bytes)
}

pub(super) fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_le_bytes)
}

/// Seven bits a byte, the lowest first.
pub(super) fn put_short(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

/// The other way; `None` if it does not end or is too large.
pub(super) fn take_short(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte] = take(rest)?;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// How far `number` is from `base`, either way.
pub(super) fn put_distance(out: &mut Vec<u8>, base: u64, number: u64) {
    let distance = number.wrapping_sub(base).cast_signed();
    put_short(out, (distance << 1 ^ distance >> 63).cast_unsigned());
}

/// The other way.
pub(super) fn take_distance(rest: &mut &[u8], base: u64) -> Option<u64> {
    let folded = take_short(rest)?;
    Some(base.wrapping_add((folded >> 1) ^ (folded & 1).wrapping_neg()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_small_ones_are_short() {
        for (number, length) in [(0, 1), (127, 1), (128, 2), (1 << 35, 6), (u64::MAX, 10)] {
            let mut out = Vec::new();
            put_short(&mut out, number);
            assert_eq!(out.len(), length, "{number}");
            assert_eq!(take_short(&mut &out[..]), Some(number));
            assert_eq!(take_short(&mut &out[..length - 1]), None, "cut");
        }
        for (base, number, length) in
            [(5, 5, 1), (70, 10, 1), (10, 100, 2), (0, u64::MAX, 1), (u64::MAX, 3, 1)]
        {
            let mut out = Vec::new();
            put_distance(&mut out, base, number);
            assert_eq!(out.len(), length, "{base} {number}");
            assert_eq!(take_distance(&mut &out[..], base), Some(number));
        }
    }

    #[test]
    fn a_number_that_is_too_large_is_none() {
        assert_eq!(take_short(&mut &[0xff; 10][..]), None);
        assert_eq!(take_short(&mut &[0xff; 20][..]), None);
    }
}
