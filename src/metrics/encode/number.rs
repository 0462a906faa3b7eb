//! Numbers as text. Whole ones and those of three decimals are most of a page and need no search for the shortest form.

use std::io::Write as _;
use std::time::Duration;

/// From here on not every whole number is an `f64`, which is what readers make of it.
const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;

/// A value of a sample.
#[derive(Clone, Copy, Debug)]
pub(in crate::metrics) enum Number {
    Whole(u64),
    /// Thousandths.
    Millis(u64),
    Real(f64),
}

impl Number {
    /// In seconds.
    pub(in crate::metrics) fn duration(duration: Duration) -> Self {
        Self::Real(duration.as_secs_f64())
    }

    pub(super) fn as_f64(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Millis(millis) => millis as f64 / 1000.0,
            Self::Real(value) => value,
        }
    }

    /// The shortest text that is read as this number.
    #[inline]
    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Whole(value) if value <= EXACT => whole(value, out),
            // Beyond 2^43 seconds two texts of three decimals may be one f64.
            Self::Millis(millis) if millis <= EXACT / 2 => {
                whole(millis / 1000, out);
                decimals(millis % 1000, out);
            }
            _ => real(self.as_f64(), out),
        }
    }
}

#[inline]
pub(super) fn whole(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn decimals(thousandths: u64, out: &mut Vec<u8>) {
    // A one before them keeps their zeros.
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(1000 + thousandths).trim_end_matches('0').get(1..).unwrap_or_default();
    if !digits.is_empty() {
        out.push(b'.');
        out.extend_from_slice(digits.as_bytes());
    }
}

#[cold]
fn real(value: f64, out: &mut Vec<u8>) {
    if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else {
        // A Vec takes whatever is written to it.
        let _ = write!(out, "{value}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(number: Number) -> String {
        let mut out = Vec::new();
        number.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_short_and_exact() {
        for (number, expected) in [
            (Number::Whole(0), "0"),
            (Number::Whole(1_234_567_890_123), "1234567890123"),
            (Number::Whole(EXACT), "9007199254740992"),
            // What the reader would make of 2^53 + 1.
            (Number::Whole(EXACT + 1), "9007199254740992"),
            (Number::Whole(u64::MAX), "18446744073709552000"),
            (Number::Millis(0), "0"),
            (Number::Millis(1), "0.001"),
            (Number::Millis(1_010), "1.01"),
            (Number::Millis(2_500), "2.5"),
            (Number::Millis(1_700_000_000_000), "1700000000"),
            (Number::Real(0.1), "0.1"),
            (Number::Real(f64::INFINITY), "+Inf"),
            (Number::Real(f64::NEG_INFINITY), "-Inf"),
            (Number::Real(f64::NAN), "NaN"),
        ] {
            assert_eq!(text(number), expected, "{number:?}");
        }
    }

    #[test]
    fn where_thousandths_are_no_f64_of_their_own_the_text_is_the_shortest() {
        for millis in
            [8_796_093_022_208_000, 8_914_704_385_562_442, EXACT / 2, EXACT / 2 + 1, EXACT - 1, EXACT]
        {
            assert_eq!(text(Number::Millis(millis)), (millis as f64 / 1000.0).to_string(), "{millis}");
        }
    }

    proptest! {
        #[test]
        fn the_text_is_that_of_the_standard_library(bits in any::<u64>(), shift in 0_u32..64) {
            let value = bits >> shift;
            prop_assert_eq!(text(Number::Whole(value)), (value as f64).to_string());
            prop_assert_eq!(text(Number::Millis(value)), (value as f64 / 1000.0).to_string());
            let read: f64 = text(Number::Millis(value)).parse().unwrap();
            prop_assert_eq!(read.to_bits(), Number::Millis(value).as_f64().to_bits());
        }
    }
}
