//! Bytes that strangers choose, made harmless for a terminal, a line of text or HTML. Decides nothing about them.

use std::fmt::{self, Write as _};

/// `bytes` with everything escaped that is not plainly visible: control characters, what turns the direction of writing,
/// marks that join onto the character before, and bytes that are not UTF-8. A backslash is doubled, so that two different
/// names never look the same.
pub fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                // `escape_debug` would escape quotes too, which are visible.
                '"' | '\'' => out.push(c),
                c => out.extend(c.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Text that is safe between tags and inside a quoted attribute of HTML.
#[derive(Clone, Copy, Debug)]
pub struct Html<'a>(pub &'a str);

impl fmt::Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_visible_stays_and_the_rest_is_escaped() {
        for (bytes, shown) in [
            (b"turn/user/1:alice/x y".as_slice(), "turn/user/1:alice/x y"),
            ("zo\u{eb} \"'".as_bytes(), "zo\u{eb} \"'"),
            (b"\x1b[2J\r\n", "\\u{1b}[2J\\r\\n"),
            (b"a\\n", "a\\\\n"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("\u{202e}\u{9b}\u{7f}".as_bytes(), "\\u{202e}\\u{9b}\\u{7f}"),
        ] {
            assert_eq!(printable(bytes), shown);
        }
    }
}
