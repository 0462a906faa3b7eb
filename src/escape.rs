//! Bytes and text from outside, made safe for a terminal, a line of the log or HTML: the one definition of what is
//! visible.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// Whether a character is plainly visible: no control character, separator, mark that joins onto the character before, or
/// one that turns the direction of writing.
pub fn is_visible(c: char) -> bool {
    // `escape_debug` escapes these too, for literals.
    matches!(c, '"' | '\'' | '\\') || c.escape_debug().next() != Some('\\')
}

/// `bytes` with everything escaped that is not [visible](is_visible), bytes that are not UTF-8 among it. A backslash is
/// doubled, so that two different names never look the same.
pub fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if is_visible(c) => out.push(c),
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

/// Text for a cell of CSV. Spreadsheets compute what begins with one of these characters, and a stranger's name must not be
/// computed: a `'` before it says that it is text.
pub fn no_formula(text: &str) -> Cow<'_, str> {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    if is_formula { format!("'{text}").into() } else { text.into() }
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
