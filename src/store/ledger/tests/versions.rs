//! Whose tables are in a file, and of which version.

use std::fs;

use rusqlite::Connection;

use super::super::schema::VERSION;
use super::super::{LedgerError, Question, SessionLedger, usage};
use super::Place;

#[test]
fn whose_tables_are_not_these_is_said_and_not_read() {
    let place = Place::new("versions");
    let none = usage(&place.directory, &Question::default()).unwrap_err();
    assert!(matches!(&none, LedgerError::Unreadable { path, .. } if *path == place.file()), "{none}");
    fs::write(place.file(), b"").unwrap();
    let empty = usage(&place.directory, &Question::default()).unwrap_err();
    assert!(matches!(empty, LedgerError::Empty { .. }), "{empty}");
    fs::write(place.file(), b"somebody's notes").unwrap();
    let foreign = usage(&place.file(), &Question::default()).unwrap_err();
    assert!(matches!(foreign, LedgerError::Foreign { .. }), "{foreign}");
    fs::remove_file(place.file()).unwrap();
    // The header of the file is behind the write-ahead log, which says so first.
    let ledger = place.open();
    assert_eq!(place.sums(), (0, 0));
    ledger.file.connection.pragma_update(None, "user_version", 99).unwrap();
    let newer = usage(&place.directory, &Question::default()).unwrap_err();
    assert!(matches!(newer, LedgerError::Newer { version: 99, .. }), "{newer}");
    drop(ledger);
    let newer = SessionLedger::open(&place.directory, &["one"], b':').unwrap_err();
    assert!(matches!(newer, LedgerError::Newer { version: 99, .. }), "{newer}");
}

#[test]
fn whether_a_ledger_will_be_upgraded_is_seen_before_it_is_opened() {
    let place = Place::new("upgrade");
    assert_eq!(SessionLedger::upgrade(&place.directory), None, "there is none");
    fs::write(place.file(), b"somebody's notes, longer than the header of a file of SQLite: a hundred bytes, and some more of them").unwrap();
    assert_eq!(SessionLedger::upgrade(&place.directory), None, "it is another's");
    fs::remove_file(place.file()).unwrap();
    drop(place.open());
    let known = u32::try_from(VERSION).unwrap();
    for (version, expected) in [(known, None), (known - 1, Some((known - 1, known))), (known + 1, None)] {
        let connection = Connection::open(place.file()).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
        drop(connection);
        assert_eq!(SessionLedger::upgrade(&place.directory), expected, "{version}");
    }
}
