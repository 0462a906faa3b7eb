//! Rows as CSV (RFC 4180): the fields of the JSON, one column each. Spreadsheets compute what looks like a formula, and
//! terminals obey control characters; nobody's name may do either.

use serde::Serialize;
use serde_json::Value;

use crate::escape::{no_formula, printable};

/// A column, and where it stands in a row of the JSON.
type Column = (&'static str, &'static str);

pub(super) const ALLOCATION: [Column; 32] = [
    ("source", "/source"),
    ("realm", "/realm"),
    ("realm_encoded", "/realm_encoded"),
    ("user", "/user"),
    ("user_encoded", "/user_encoded"),
    ("id", "/id"),
    ("server", "/server"),
    ("transport", "/transport"),
    ("client", "/client"),
    ("state", "/state"),
    ("reason", "/reason"),
    ("started", "/started"),
    ("adopted", "/adopted"),
    ("age_seconds", "/age_seconds"),
    ("last_grant", "/last_grant"),
    ("lifetime_seconds", "/lifetime_seconds"),
    ("expires", "/expires"),
    ("lifetime_left_seconds", "/lifetime_left_seconds"),
    ("last_active", "/last_active"),
    ("idle_seconds", "/idle_seconds"),
    ("over_max_lifetime", "/over_max_lifetime"),
    ("relayed", "/relayed"),
    ("bytes", "/bytes"),
    ("bytes_per_second", "/bytes_per_second"),
    ("client_received_packets", "/traffic/client/received/packets"),
    ("client_received_bytes", "/traffic/client/received/bytes"),
    ("client_sent_packets", "/traffic/client/sent/packets"),
    ("client_sent_bytes", "/traffic/client/sent/bytes"),
    ("peer_received_packets", "/traffic/peer/received/packets"),
    ("peer_received_bytes", "/traffic/peer/received/bytes"),
    ("peer_sent_packets", "/traffic/peer/sent/packets"),
    ("peer_sent_bytes", "/traffic/peer/sent/bytes"),
];

pub(super) const SESSION: [Column; 18] = [
    ("source", "/source"),
    ("realm", "/realm"),
    ("realm_encoded", "/realm_encoded"),
    ("user", "/user"),
    ("user_encoded", "/user_encoded"),
    ("client", "/client"),
    ("state", "/state"),
    ("started", "/started"),
    ("partial", "/partial"),
    ("age_seconds", "/age_seconds"),
    ("live_allocations", "/live_allocations"),
    ("idle_orphans", "/idle_orphans"),
    ("allocations", "/allocations"),
    ("last_active", "/last_active"),
    ("idle_seconds", "/idle_seconds"),
    ("relayed", "/relayed"),
    ("bytes", "/bytes"),
    ("bytes_per_second", "/bytes_per_second"),
];

/// The rows below the names of the columns.
pub(super) fn table(columns: &[Column], rows: impl Iterator<Item = impl Serialize>) -> Vec<u8> {
    let mut out = String::new();
    line(&mut out, columns.iter().map(|(name, _)| (*name).to_owned()));
    for row in rows {
        // Strings and numbers only, so it cannot fail.
        let row = serde_json::to_value(row).unwrap_or_default();
        line(&mut out, columns.iter().map(|(_, place)| row.pointer(place).map(text).unwrap_or_default()));
    }
    out.into_bytes()
}

/// A table that says why there is none.
pub(super) fn error(sentence: &str) -> Vec<u8> {
    let mut out = String::new();
    line(&mut out, ["error".to_owned()].into_iter());
    line(&mut out, [quoted(&printable(sentence.as_bytes()))].into_iter());
    out.into_bytes()
}

fn line(out: &mut String, cells: impl Iterator<Item = String>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(&cell);
    }
    out.push_str("\r\n");
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => {
            let shown = printable(text.as_bytes());
            quoted(&no_formula(&shown))
        }
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_cell_and_nothing_else() {
        for (name, cell) in [
            ("plain", "plain"),
            ("=cmd|'/c'", "'=cmd|'/c'"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("a,b\"c", "\"a,b\"\"c\""),
            ("\u{1b}[2J\r\n", "\\u{1b}[2J\\r\\n"),
            ("", ""),
        ] {
            assert_eq!(text(&Value::from(name)), cell);
        }
        assert_eq!(text(&Value::Null), "");
        assert_eq!((text(&true.into()), text(&(-1.5).into())), ("true".to_owned(), "-1.5".to_owned()));
    }

    #[test]
    fn columns_are_found_where_they_stand() {
        let rows = [serde_json::json!({ "a": 1, "b": { "c": "x" } })];
        let table = table(&[("a", "/a"), ("c", "/b/c"), ("d", "/d")], rows.iter());
        assert_eq!(String::from_utf8(table).unwrap(), "a,c,d\r\n1,x,\r\n");
    }
}
