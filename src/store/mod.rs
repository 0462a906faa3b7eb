//! The store: what lets a restart go on, and the ledger of finished sessions. All of it blocks; nobody here holds the table.
//!
//! - `journal`: the directory, the journal of the table's inputs, snapshots. Bytes only.
//! - `ledger`: finished sessions in SQLite, and the questions to them. The only user of `rusqlite`.
//! - `takeover`: a store of one SQLite file, as earlier exporters wrote it, becomes a directory.
//!
//! May use `state`, `wire` and `clock`.

pub mod journal;
pub mod ledger;
pub mod takeover;
