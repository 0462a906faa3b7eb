//! Names of the files in the directory.

/// Held by flock(2) while an exporter has the directory.
pub(super) const LOCK: &str = "lock";
/// Whose the directory is, and how its last life ended.
pub(super) const STATE: &str = "state";
/// There until the table of an old store that became this directory is in a snapshot.
pub(in crate::store) const TAKEOVER: &str = "takeover";
/// A folder with the files of a journal that did not give its table.
pub(super) const DIVERGED: &str = "diverged";
/// Behind the name of a file that is not complete.
pub(super) const UNFINISHED: &str = ".new";

/// A segment of the journal.
pub(super) fn segment(number: u64) -> String {
    format!("journal-{number:08}")
}

/// A snapshot of what stands before the segment of this number.
pub(super) fn snapshot(number: u64) -> String {
    format!("snapshot-{number:08}")
}

/// A numbered file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbered {
    Segment(u64),
    Snapshot(u64),
}

/// What a name stands for; `None` for any other file.
pub(super) fn parse(name: &str) -> Option<Numbered> {
    let (of, digits): (fn(u64) -> Numbered, _) = match name.split_once('-')? {
        ("journal", digits) => (Numbered::Segment, digits),
        ("snapshot", digits) => (Numbered::Snapshot, digits),
        _ => return None,
    };
    let is_ours = digits.len() >= 8 && digits.bytes().all(|digit| digit.is_ascii_digit());
    // A number has one name.
    let number: u64 = digits.parse().ok().filter(|number| is_ours && format!("{number:08}") == digits)?;
    Some(of(number))
}

/// Whether the name is of a file that the exporter makes here, those of the ledger included.
pub(super) fn is_ours(name: &str) -> bool {
    let name = name.strip_suffix(UNFINISHED).unwrap_or(name);
    name == LOCK || name == STATE || is_of_ledger(name) || parse(name).is_some()
}

/// Whether the name is of a file that may be there before the journal: the ledger's, and the mark of a takeover.
pub(super) fn is_of_ledger(name: &str) -> bool {
    name == TAKEOVER || name.starts_with("ledger.sqlite")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_name() {
        for number in [1, 99_999_999, 100_000_000, u64::MAX] {
            assert_eq!(parse(&segment(number)), Some(Numbered::Segment(number)));
            assert_eq!(parse(&snapshot(number)), Some(Numbered::Snapshot(number)));
        }
        for other in [
            "journal-1",
            "journal-0000001x",
            "journal-+0000001",
            "journal-000000001",
            "journal",
            "snap-00000001",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
        assert_eq!(parse("snapshot-00000001.new"), None);
        assert!(is_ours("snapshot-00000001.new") && is_ours("ledger.sqlite-wal") && !is_ours("notes.txt"));
    }
}
