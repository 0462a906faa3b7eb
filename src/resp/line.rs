//! Lines and headers: what stands between a type byte and the end of its line.

use super::error::ProtocolError;

/// The longest line: a status, an error. Headers and numbers are far shorter.
pub(super) const MAX_LINE: usize = 4096;

/// The longest header or number: its type, 20 digits with a sign, the line's end.
const MAX_NUMBER: usize = 24;

/// How long the line is, with its end; `None` if that is not there yet.
pub(super) fn line(bytes: &[u8], most: usize) -> Result<Option<usize>, ProtocolError> {
    let seen = bytes.get(..most).unwrap_or(bytes);
    match seen.iter().position(|&byte| byte == b'\n') {
        Some(end) if end >= 2 && seen.get(end - 1) == Some(&b'\r') => Ok(Some(end + 1)),
        Some(_) => Err(ProtocolError::LineEnd),
        None if seen.len() == most => Err(ProtocolError::Line),
        None => Ok(None),
    }
}

/// A count of up to three digits after that type byte, with the length of its line; `None` for all else.
pub(super) const fn short_header(kind: u8, bytes: &[u8]) -> Option<(usize, usize)> {
    let (of, number, length) = match bytes {
        [of, c @ b'0'..=b'9', b'\r', b'\n', ..] => (*of, digit(*c), 4),
        [of, b @ b'1'..=b'9', c @ b'0'..=b'9', b'\r', b'\n', ..] => (*of, digit(*b) * 10 + digit(*c), 5),
        [of, a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', b'\n', ..] => {
            (*of, digit(*a) * 100 + digit(*b) * 10 + digit(*c), 6)
        }
        _ => return None,
    };
    if of == kind { Some((number, length)) } else { None }
}

const fn digit(byte: u8) -> usize {
    (byte - b'0') as usize
}

/// The number after a type byte, with the length of its line.
pub(super) fn number_line(bytes: &[u8]) -> Result<Option<(i64, usize)>, ProtocolError> {
    // One digit, as most are.
    if let [_, digit @ b'0'..=b'9', b'\r', b'\n', ..] = bytes {
        return Ok(Some((i64::from(digit - b'0'), 4)));
    }
    let Some(length) = line(bytes, MAX_NUMBER)? else { return Ok(None) };
    let digits = bytes.get(1..length - 2).unwrap_or_default();
    let (negative, digits) = match digits {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || (digits.len() > 1 && digits.first() == Some(&b'0')) {
        return Err(ProtocolError::Number);
    }
    let mut number: i64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(ProtocolError::Number);
        }
        let digit = i64::from(digit - b'0');
        let more = number
            .checked_mul(10)
            .and_then(|number| if negative { number.checked_sub(digit) } else { number.checked_add(digit) });
        number = more.ok_or(ProtocolError::Number)?;
    }
    Ok(Some((number, length)))
}

pub(super) fn length(number: i64, most: i64) -> Result<usize, ProtocolError> {
    if number > most {
        return Err(ProtocolError::Length);
    }
    usize::try_from(number).map_err(|_| ProtocolError::Length)
}
