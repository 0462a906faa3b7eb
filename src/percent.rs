//! Percent-decoding that accepts whole escapes only. Pure.

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

#[cfg(test)]
mod tests {
    use super::decode;

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
