//! The ledger: finished sessions in one SQLite file of the store's directory. Written from the table's outputs, each once
//! whatever is replayed; asked by `usage`.

mod error;
mod events;
mod file_check;
mod header;
mod outbox;
pub(super) mod reading;
pub(super) mod rows;
pub(super) mod schema;
mod sessions;
mod taking;
#[cfg(test)]
mod tests;
mod usage;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::params;

use crate::clock::{Timestamp, WallTime};
use crate::state::Output;
pub use error::LedgerError;
pub use events::{EventKind, LedgerEvent};
pub use file_check::FileTrouble;
pub use outbox::{EventBounds, SinkContents, SinkFigures, SinkProgress};
pub use sessions::{FinishedSession, SUMS};
use taking::{LostTable, TakeSettings};
pub use usage::{By, FIGURES, Figure, Question, UsageSums, usage};

/// Its name in the directory of a store.
pub const FILE: &str = "ledger.sqlite";

/// How long to wait before a ledger that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Sessions that leave at once.
const SLICE: u32 = 10_000;

/// How long it may matter what is known of an allocation that has ended and may still report.
const MEMORY: Duration = Duration::from_secs(2 * 24 * 3600);

/// How long the end waits for whoever reads.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

/// An open ledger; the store's directory keeps others away.
#[derive(Debug)]
pub struct SessionLedger {
    file: schema::Opened,
    path: PathBuf,
    settings: TakeSettings,
    last_taken: u64,
    /// Those who take sessions or events elsewhere.
    sinks: Vec<(String, SinkContents)>,
    /// The number of the last event when the file was opened.
    first_event: u64,
    /// When it is tried again; `None` while it can be written.
    try_at: Option<Timestamp>,
    /// The file cannot be gone on with.
    damage: Option<FileTrouble>,
    /// The table that was lost, while its open sessions are still to be closed.
    lost: Option<LostTable>,
}

impl SessionLedger {
    /// Opens the ledger in a store's directory, or makes it. Rows get the user ids of TURN REST names with this separator.
    ///
    /// # Errors
    ///
    /// Whatever is there and no ledger of ours, newer or damaged; it stays as it is.
    pub fn open(directory: &Path, sources: &[&str], rest_separator: u8) -> Result<Self, LedgerError> {
        let path = directory.join(FILE);
        let file = schema::open(&path)?;
        let read = |connection| Ok((taking::last_taken(connection)?, events::last_event(connection)?));
        let (last_taken, first_event) =
            read(&file.connection).map_err(|error| LedgerError::of(&path, error))?;
        let sources = sources.iter().map(|&name| name.to_owned()).collect();
        let settings = TakeSettings { sources, rest_separator, keeps_events: false };
        let (sinks, try_at, damage, lost) = (Vec::new(), None, None, None);
        Ok(Self { file, path, settings, last_taken, sinks, first_event, try_at, damage, lost })
    }

    /// The version of the ledger's tables in a store's directory and that which they will have, if it is an earlier one: to open
    /// it takes a while then.
    pub fn upgrade(directory: &Path) -> Option<(u32, u32)> {
        schema::upgrade(&directory.join(FILE))
    }

    /// The names of the sources, by their numbers in the table.
    pub fn name_sources(&mut self, sources: Vec<String>) {
        self.settings.sources = sources;
    }

    /// The names of the sources, by their numbers in the table.
    pub fn source_names(&self) -> &[String] {
        &self.settings.sources
    }

    /// The number of the last output that is in the file; those of the table go on above it.
    pub const fn last_taken(&self) -> u64 {
        self.last_taken
    }

    /// The highest number of an allocation or session that is in the file, or was announced to others.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn highest_serial(&self) -> Result<u64, LedgerError> {
        let sql = "SELECT max(
            (SELECT coalesce(max(serial), 0) FROM session),
            (SELECT coalesce(max(serial), 0) FROM member), (SELECT coalesce(max(session), 0) FROM member),
            (SELECT last_session FROM identity))";
        let highest: i64 =
            self.file.connection.query_row(sql, [], |row| row.get(0)).map_err(|error| self.failed(error))?;
        Ok(highest.cast_unsigned())
    }

    /// Whether a write is worth trying: it works, or has not been tried for a while.
    pub fn may_try(&self, now: Timestamp) -> bool {
        self.try_at.is_none_or(|try_at| now >= try_at)
    }

    /// Takes the outputs whose numbers, which rise, are above the last taken: all of them or nothing. Gives the number of the
    /// last that is in the file. While it fails, no outputs at all will show whether it works again.
    ///
    /// # Errors
    ///
    /// A file that cannot be written, or is not the one that was opened; nothing was taken.
    pub fn take(&mut self, times: WallTime, outputs: &[(u64, Output)]) -> Result<u64, LedgerError> {
        let result = self.try_to_take(times, outputs);
        match &result {
            Ok(last) => (self.last_taken, self.try_at, self.lost) = (*last, None, None),
            Err(_) => self.try_at = Some(times.now.plus(RETRY)),
        }
        result
    }

    fn try_to_take(&mut self, times: WallTime, outputs: &[(u64, Output)]) -> Result<u64, LedgerError> {
        self.check_file()?;
        let is_new =
            |(number, output): &(u64, Output)| *number > self.last_taken && self.settings.wants(output);
        if !outputs.iter().any(is_new) && self.try_at.is_none() {
            // No write for what nobody wants: should it come again after a restart, it is not wanted then either.
            return Ok(outputs.last().map_or(0, |(number, _)| *number).max(self.last_taken));
        }
        taking::take(&mut self.file.connection, &self.settings, times, self.lost, outputs)
            .map_err(|error| LedgerError::of(&self.path, error))
    }

    /// Looks whether the file is still the one that was opened: SQLite would go on in one that nobody will find again.
    fn check_file(&mut self) -> Result<(), LedgerError> {
        let checked = self.damage.map_or_else(|| file_check::check(&self.file.file, &self.path), Err);
        self.damage = checked.err().filter(|trouble| trouble.is_final());
        checked.map_err(|trouble| LedgerError::File { path: self.path.clone(), trouble })
    }

    /// Closes the sessions that are open, as partial: the table that knew them is lost. Nothing will be added to any session
    /// that is in the file. Where it cannot be written, on a full disk, the next batch does it that can be: until then the
    /// file [lacks that](Self::has_lost_rows).
    ///
    /// # Errors
    ///
    /// A file that is damaged.
    pub fn close_open_rows(&mut self, wall: Timestamp) -> Result<(), LedgerError> {
        let closed = taking::close_open(&mut self.file.connection, self.settings.keeps_events, wall);
        match closed.map_err(|error| LedgerError::of(&self.path, error)) {
            Err(LedgerError::Unusable { .. }) => {
                self.lost = Some(LostTable { wall, last_taken: self.last_taken });
                self.try_at = Some(Timestamp::ZERO);
                Ok(())
            }
            closed => closed,
        }
    }

    /// Sessions of a table that is lost are still open in the file. The next process could take them for its own table's.
    pub const fn has_lost_rows(&self) -> bool {
        self.lost.is_some()
    }

    /// Removes sessions that ended before `horizon` (by the wall clock), some thousands at most; gives whether there are
    /// more. One that cannot be written fails at the next batch, and says so there.
    pub fn forget_before(&mut self, horizon: Timestamp, wall: Timestamp) -> bool {
        self.try_at.is_none() && self.try_to_forget(horizon, wall).unwrap_or(false)
    }

    fn try_to_forget(&self, horizon: Timestamp, wall: Timestamp) -> rusqlite::Result<bool> {
        let connection = &self.file.connection;
        // An allocation that fell silent and lived again may end long after; whose end never came is not waited for longer
        // than its session is kept.
        let unheard = rows::wall_millis(horizon.min(wall.minus(MEMORY)));
        connection.prepare_cached("DELETE FROM member WHERE taken_at < ?1")?.execute([unheard])?;
        let mut statement = connection.prepare_cached(
            "DELETE FROM session WHERE serial IN
                (SELECT serial FROM session WHERE NOT is_open AND ended < ?1 ORDER BY ended LIMIT ?2)
             RETURNING revision",
        )?;
        let revisions = statement.query_map(params![rows::wall_millis(horizon), SLICE], |row| row.get(0))?;
        let revisions: Vec<i64> = revisions.collect::<rusqlite::Result<_>>()?;
        self.count_dropped(&revisions)?;
        Ok(revisions.len() >= SLICE as usize)
    }

    /// How many sessions ended before `horizon` (by the wall clock), and, if they are more than a `few`, whether they are
    /// more than one in `part` of the ledger. A file that cannot be read has none.
    pub fn count_before(&self, horizon: Timestamp, few: u64, part: u64) -> (u64, bool) {
        self.try_to_count(horizon, few, part).unwrap_or_default()
    }

    /// Looks at no more rows than that takes.
    fn try_to_count(&self, horizon: Timestamp, few: u64, part: u64) -> rusqlite::Result<(u64, bool)> {
        let count = |sql: &str, bound: i64| -> rusqlite::Result<u64> {
            let found: i64 =
                self.file.connection.prepare_cached(sql)?.query_row([bound], |row| row.get(0))?;
            Ok(u64::try_from(found).unwrap_or(0))
        };
        let sql = "SELECT count(*) FROM session WHERE NOT is_open AND ended < ?1";
        let old = count(sql, rows::wall_millis(horizon))?;
        if old <= few {
            return Ok((old, false));
        }
        let enough = i64::try_from(old.saturating_mul(part)).unwrap_or(i64::MAX);
        let sql = "SELECT count(*) FROM (SELECT 1 FROM session WHERE NOT is_open LIMIT ?1)";
        Ok((old, count(sql, enough)? < enough.unsigned_abs()))
    }

    /// Closes the file so that it stands alone: its write-ahead log is in it.
    ///
    /// # Errors
    ///
    /// A file that cannot be written, or is being read for long; the log stays beside it, and nothing is lost.
    pub fn close(self) -> Result<(), LedgerError> {
        let Self { file: schema::Opened { connection, file }, path, .. } = self;
        let failed = |error| LedgerError::of(&path, error);
        connection.busy_timeout(LAST_PATIENCE).map_err(failed)?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)?;
        connection.close().map_err(|(_, error)| failed(error))?;
        drop(file);
        Ok(())
    }

    fn failed(&self, error: rusqlite::Error) -> LedgerError {
        LedgerError::of(&self.path, error)
    }
}
