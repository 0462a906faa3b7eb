//! The store: in one SQLite file the checkpoint of the table (what scrapers have been answered of each allocation) and the
//! ledger of finished sessions. All of it blocks; nobody here holds the table.
//!
//! May use `state`, `wire` and `clock`; the only user of `rusqlite`.

mod checkpoint;
pub mod journal;
pub mod ledger;
mod load;
mod rows;
mod schema;
pub mod takeover;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Timestamp, WallTime};
use crate::state::{AllocationRecord, EndedRecords, SavedTable};
use checkpoint::ExportedRows;
pub use ledger::FileTrouble;
pub use ledger::LedgerError as OpenError;

/// How long it is of use to go on from what ended, from a realm that is not in use, and from a source that is not watched.
const MEMORY: Duration = Duration::from_secs(24 * 3600);

/// Ended allocations and sessions that wait for a store which cannot be written; more are lost to the ledger.
const MAX_BACKLOG: usize = 100_000;

/// Where the table stands.
#[derive(Debug)]
pub struct Checkpoint {
    /// Records that have not ended and changed since they were last given.
    pub changed: Vec<AllocationRecord>,
    /// `changed` are all records there are: what the file has beyond them is old.
    pub is_all: bool,
    /// How far each source had been received.
    pub received: Vec<Timestamp>,
    /// Labels of the realms in use.
    pub realms: Vec<Arc<str>>,
}

/// What goes into the file at once, as of one moment.
#[derive(Debug)]
pub struct Batch {
    /// The moment, on the table's clock.
    pub now: Timestamp,
    /// That moment by the wall clock.
    pub wall: Timestamp,
    /// A scraper is about to be answered with everything up to now.
    pub is_exported: bool,
    /// What ended since the last batch.
    pub ended: EndedRecords,
    /// `None`: only what ended is written.
    pub checkpoint: Option<Checkpoint>,
}

/// How long to wait before a store that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// What the file held of an earlier process.
#[derive(Debug)]
pub struct LoadedStore {
    /// The records, on the wall clock.
    pub saved: SavedTable,
    /// Numbers from here on are free.
    pub first_serial: u64,
}

/// How a write went.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    /// All is in the file.
    Yes,
    /// It is again, after it was not; this many ended allocations and sessions were lost meanwhile.
    Again(usize),
    /// It has begun to fail, for this reason.
    Failed(String),
    /// It fails as it did before.
    StillFailing,
}

#[derive(Debug)]
struct Failing {
    try_at: Timestamp,
    /// A scraper was answered something since that is not in the file.
    was_exported: bool,
}

/// An open store; no other process has it.
#[derive(Debug)]
pub struct Store {
    file: ledger::schema::Opened,
    path: PathBuf,
    /// Names of the sources, by their numbers in the table.
    sources: Vec<String>,
    /// What makes a TURN REST name, whose user id the ledger has.
    rest_separator: u8,
    /// What ended while the file could not be written.
    backlog: EndedRecords,
    lost: usize,
    /// It could not be written when this was last tried.
    failing: Option<Failing>,
    /// The file may hold sums of which not all was exported.
    has_unexported: bool,
    /// The file cannot be gone on with.
    damage: Option<FileTrouble>,
}

impl Store {
    /// Opens the store, or makes it. The ledger gets the user ids of TURN REST names with this separator.
    ///
    /// # Errors
    ///
    /// Whatever is there and no store of ours, newer, damaged or in use; it stays as it is.
    pub fn open(path: &Path, sources: &[&str], rest_separator: u8) -> Result<Self, OpenError> {
        let file = schema::open(path)?;
        let sources = sources.iter().map(|&name| name.to_owned()).collect();
        let path = path.to_owned();
        let backlog = EndedRecords::default();
        let (failing, damage) = (None, None);
        Ok(Self {
            file,
            path,
            sources,
            rest_separator,
            backlog,
            lost: 0,
            failing,
            has_unexported: true,
            damage,
        })
    }

    /// What an earlier process left. What it left of sources that are not watched now stays in the file for a day.
    ///
    /// # Errors
    ///
    /// A damaged file.
    pub fn load(&mut self, wall: Timestamp) -> Result<LoadedStore, OpenError> {
        load::load(&mut self.file.connection, &self.sources, wall)
            .map_err(|error| OpenError::of(&self.path, error))
    }

    /// Whether the next checkpoint must hold all records.
    pub const fn wants_all(&self) -> bool {
        self.failing.is_some()
    }

    /// Looks whether the file is still there, and still the one that was opened; until it is, nothing is written.
    ///
    /// # Errors
    ///
    /// What has happened to it.
    pub fn check_file(&mut self, now: Timestamp) -> Result<(), FileTrouble> {
        let checked = self.damage.map_or_else(|| ledger::check_file(&self.file.file, &self.path), Err);
        match checked {
            Err(trouble) => {
                if trouble.is_final() {
                    self.damage = Some(trouble);
                }
                let was_exported = self.failing.as_ref().is_some_and(|failing| failing.was_exported);
                self.failing = Some(Failing { try_at: Timestamp::MAX, was_exported });
            }
            Ok(()) => {
                if let Some(failing) =
                    self.failing.as_mut().filter(|failing| failing.try_at == Timestamp::MAX)
                {
                    failing.try_at = now;
                }
            }
        }
        checked
    }

    /// Whether a checkpoint is worth taking: what changed and is not written is forgotten. After a scraper was answered
    /// something that is not in the file, only a checkpoint that a scraper is answered with repairs that.
    pub fn can_write(&mut self, now: Timestamp, is_exported: bool) -> bool {
        match &self.failing {
            None => true,
            Some(failing) => {
                now >= failing.try_at
                    && (is_exported || !failing.was_exported)
                    && checkpoint::probe(&mut self.file.connection).is_ok()
            }
        }
    }

    /// Writes a batch, all of it or nothing. After a failure only one with a checkpoint of all records ends it; what ended
    /// waits until then.
    pub fn write(&mut self, batch: Batch) -> Written {
        let Batch { now, wall, is_exported, ended, checkpoint } = batch;
        self.lost += ended.lost;
        self.backlog.allocations.extend(ended.allocations);
        self.backlog.sessions.extend(ended.sessions);
        let is_nothing = self.backlog.allocations.is_empty() && self.backlog.sessions.is_empty();
        if checkpoint.is_none() && (self.failing.is_some() || is_nothing) {
            return self.fail_on(is_exported);
        }
        let exported =
            is_exported.then_some(if self.has_unexported { ExportedRows::Any } else { ExportedRows::Ended });
        let times = WallTime { now, wall };
        let connection = &mut self.file.connection;
        let (sources, ended) = (&self.sources, &self.backlog);
        match checkpoint::write(
            connection,
            sources,
            self.rest_separator,
            times,
            ended,
            checkpoint.as_ref(),
            exported,
        ) {
            Ok(()) => {
                self.backlog = EndedRecords::default();
                self.has_unexported = !is_exported && (self.has_unexported || checkpoint.is_some());
                let lost = std::mem::take(&mut self.lost);
                if self.failing.take().is_some() { Written::Again(lost) } else { Written::Yes }
            }
            Err(error) => {
                let was_failing = self.failing.is_some();
                let was_exported =
                    self.failing.as_ref().is_some_and(|failing| failing.was_exported) || is_exported;
                self.failing = Some(Failing { try_at: now.plus(RETRY), was_exported });
                self.shorten_backlog();
                if was_failing {
                    Written::StillFailing
                } else {
                    Written::Failed(format!("{}: {error}", self.path.display()))
                }
            }
        }
    }

    /// Removes sessions from the ledger that ended before `horizon` (by the wall clock), some thousands at most; gives
    /// whether there are more. One that cannot be written fails at the next batch, and says so there.
    pub fn forget_before(&mut self, horizon: Timestamp, wall: Timestamp) -> bool {
        self.failing.is_none()
            && checkpoint::forget_before(&self.file.connection, horizon, wall).unwrap_or(false)
    }

    /// How many sessions of the ledger ended before `horizon` (by the wall clock), and, if they are more than a `few`,
    /// whether they are more than one in `part` of it. A file that cannot be read has none.
    pub fn count_before(&self, horizon: Timestamp, few: u64, part: u64) -> (u64, bool) {
        checkpoint::count_before(&self.file.connection, horizon, few, part).unwrap_or_default()
    }

    /// Nothing is written this time.
    fn fail_on(&mut self, is_exported: bool) -> Written {
        self.shorten_backlog();
        match &mut self.failing {
            Some(failing) => {
                failing.was_exported |= is_exported;
                Written::StillFailing
            }
            None => Written::Yes,
        }
    }

    fn shorten_backlog(&mut self) {
        let EndedRecords { allocations, sessions, .. } = &mut self.backlog;
        self.lost +=
            allocations.len().saturating_sub(MAX_BACKLOG) + sessions.len().saturating_sub(MAX_BACKLOG);
        allocations.truncate(MAX_BACKLOG);
        sessions.truncate(MAX_BACKLOG);
    }
}
