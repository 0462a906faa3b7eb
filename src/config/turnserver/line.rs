//! Lines of coturn's file, and the values in them.

/// What separates an option from its value.
const SEPARATORS: [char; 3] = [' ', '=', '\t'];

/// Options with their values, in the order of the file; an option alone has an empty value.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    // coturn skips these, and no others, before a comment or an option.
    let lines = text.split('\n').map(|line| line.trim_start_matches([' ', '\t']).trim_end_matches('\r'));
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let (option, value) = line.split_at(line.find(SEPARATORS).unwrap_or(line.len()));
        (option, unquoted(value.trim_start_matches(SEPARATORS)))
    })
}

/// Without the quotes, if it begins with one. Blanks at the end belong to a value without quotes.
fn unquoted(value: &str) -> &str {
    match value.strip_prefix('"') {
        Some(inner) => {
            let inner = inner.trim_end_matches([' ', '\t', '\r']);
            inner.strip_suffix('"').unwrap_or(inner)
        }
        None => value,
    }
}

/// A number as C's `atoi` reads it: what stands behind its digits is ignored, and without digits it is 0.
pub(super) fn number(value: &str) -> i64 {
    let value = value.trim_start();
    let (sign, digits) = match value.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, value.strip_prefix('+').unwrap_or(value)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    sign * digits.get(..end).and_then(|digits| digits.parse::<i64>().ok()).unwrap_or(0)
}

/// Whether an option is on. An option alone is; coturn refuses to start with a word that is neither.
pub(super) fn switch(value: &str) -> bool {
    !(value.starts_with(['0', 'n', 'N', 'f', 'F']) || value.eq_ignore_ascii_case("off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_comments_and_separators() {
        for (line, expected) in [
            ("key=value", Some(("key", "value"))),
            ("\tkey \t== value ", Some(("key", "value "))),
            ("key", Some(("key", ""))),
            ("key=\"a b\"  \r", Some(("key", "a b"))),
            ("key=\"a", Some(("key", "a"))),
            ("key='a b'", Some(("key", "'a b'"))),
            ("key=\"a\" # b", Some(("key", "a\" # b"))),
            ("key=a#b", Some(("key", "a#b"))),
            ("  # key=value", None),
            ("\r", None),
        ] {
            assert_eq!(lines(line).next(), expected, "{line:?}");
        }
    }

    #[test]
    fn numbers_and_switches_are_those_of_coturn() {
        for (text, expected) in
            [("10m", 10), ("abc", 0), (" 7", 7), ("-3", -3), ("", 0), ("99999999999999999999", 0)]
        {
            assert_eq!(number(text), expected, "{text:?}");
        }
        for (text, is_on) in [
            ("", true),
            ("yes", true),
            ("1", true),
            ("on", true),
            ("No", false),
            ("0", false),
            ("off", false),
        ] {
            assert_eq!(switch(text), is_on, "{text:?}");
        }
    }
}
