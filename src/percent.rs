//! Percent-encoding, and percent-decoding that accepts whole escapes only. Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// The bytes behind `text`: `%41` becomes `A`. `None` where a `%` is not followed by two hex digits, which the crate
/// `percent-encoding` would leave as it is.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut escapes = text.split('%');
    // What stands before the first escape.
    escapes.next();
    let is_whole =
        |rest: &str| matches!(rest.as_bytes(), [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
    escapes.all(is_whole).then(|| percent_encoding::percent_decode_str(text).collect())
}

/// What stays as it is in any part of a URL.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A name as a path's segment or a query takes it: every byte that is not a letter, a digit or one of `-._~` as `%` and two
/// digits.
pub fn encode(bytes: &[u8]) -> String {
    percent_encoding::percent_encode(bytes, UNRESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn what_is_encoded_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        let text = encode(&all);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%-._~".contains(&byte)), "{text}");
        assert_eq!(decode(&text), Some(all));
    }

    #[test]
    fn half_an_escape_is_refused() {
        for (text, decoded) in [
            ("", Some(&b""[..])),
            ("a b+c", Some(b"a b+c")),
            ("%41%7a", Some(b"Az")),
            ("%25%2541", Some(b"%%41")),
            ("%ff", Some(b"\xff")),
            ("%", None),
            ("%4", None),
            ("%%41", None),
            ("%4g", None),
            ("%+4", None),
            ("%\u{e9}", None),
        ] {
            assert_eq!(decode(text).as_deref(), decoded, "{text}");
        }
    }
}
