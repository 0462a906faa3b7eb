//! Addresses of statuses in seven bytes: most are IPv4 addresses with a port, as coturn prints them.

use super::bytes::{ByteReader, Malformed, put_bytes};

/// How an address stands in a recording.
const RAW: u8 = 0;
const V4: u8 = 1;

/// The longest that is printed: `255.255.255.255:65535`.
const LONGEST: usize = 21;

/// Room for an address that is printed again.
#[derive(Debug, Default)]
pub(super) struct Printed {
    text: [u8; LONGEST],
    length: usize,
}

/// Writes an address, whatever it is.
pub(super) fn put_address(out: &mut Vec<u8>, text: &[u8]) {
    if let Some((host, port)) = parse(text) {
        out.push(V4);
        out.extend_from_slice(&host);
        out.extend_from_slice(&port.to_le_bytes());
    } else {
        out.push(RAW);
        put_bytes(out, text);
    }
}

/// Reads what [`put_address`] has written.
pub(super) fn take_address<'s, 'a: 's>(
    reader: &mut ByteReader<'a>,
    printed: &'s mut Printed,
) -> Result<&'s [u8], Malformed> {
    match reader.byte()? {
        RAW => reader.bytes(),
        V4 => {
            let [a, b, c, d, low, high] = *reader.take(6)? else { return Err(Malformed) };
            printed.print([a, b, c, d], u16::from_le_bytes([low, high]));
            Ok(printed.text.get(..printed.length).unwrap_or_default())
        }
        _ => Err(Malformed),
    }
}

/// An IPv4 address and a port, in the one form that [`Printed::print`] gives.
fn parse(text: &[u8]) -> Option<([u8; 4], u16)> {
    let mut host = [0; 4];
    let mut rest = text;
    for (place, part) in host.iter_mut().enumerate() {
        let (number, behind) = number(rest)?;
        *part = u8::try_from(number).ok()?;
        rest = behind.strip_prefix(if place < 3 { b"." } else { b":" })?;
    }
    let (port, behind) = number(rest)?;
    behind.is_empty().then_some(())?;
    Some((host, u16::try_from(port).ok()?))
}

/// A decimal number without a zero before it, and what stands behind.
fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(length)?;
    let is_plain = (1..=5).contains(&length) && (length == 1 || digits.first() != Some(&b'0'));
    is_plain.then_some(())?;
    Some((digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')), rest))
}

impl Printed {
    fn print(&mut self, host: [u8; 4], port: u16) {
        self.length = 0;
        for (part, end) in host.into_iter().zip(*b"...:") {
            self.push_number(part.into());
            self.push(end);
        }
        self.push_number(port);
    }

    fn push_number(&mut self, number: u16) {
        let digits = [10_000, 1000, 100, 10, 1].map(|unit| number / unit % 10);
        let leading = digits.iter().take(4).take_while(|&&digit| digit == 0).count();
        for digit in digits.into_iter().skip(leading) {
            self.push(b'0' + digit.to_le_bytes()[0]);
        }
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_were() {
        let rows: [(&[u8], usize); 12] = [
            (b"192.0.2.1:3478", 7),
            (b"255.255.255.255:65535", 7),
            (b"0.0.0.0:0", 7),
            (b"10.0.0.1:80", 7),
            (b"", 2),
            (b"192.0.2.1", 11),
            (b"192.0.2.1:", 12),
            (b"192.0.2.01:1", 14),
            (b"192.0.2.256:1", 15),
            (b"192.0.2.1:65536", 17),
            (b"[::1]:3478", 12),
            (b"192.0.2.1:1x", 14),
        ];
        for (text, length) in rows {
            let mut out = Vec::new();
            put_address(&mut out, text);
            assert_eq!(out.len(), length, "{}", text.escape_ascii());
            let mut printed = Printed::default();
            let mut reader = ByteReader::new(&out);
            assert_eq!(take_address(&mut reader, &mut printed), Ok(text));
            assert!(reader.is_at_end());
        }
    }
}
