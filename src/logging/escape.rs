//! Keys and values of a line of the log, made safe. JSON's escapes serve logfmt too: its readers know them.

use std::fmt::Write as _;

use crate::escape::is_visible;

/// Whether `value` needs no quotes in logfmt.
pub(super) fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|c| !matches!(c, ' ' | '=' | '"' | '\\') && is_visible(c))
}

/// Adds `value` in quotes, with everything escaped that is not plainly visible.
pub(super) fn push_quoted(out: &mut String, value: &str) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_visible(c) => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

/// Adds a key; what does not belong into one becomes `_`.
pub(super) fn push_key(out: &mut String, key: &str) {
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    out.extend(key.chars().map(|c| if harmless(c) { c } else { '_' }));
}
