//! The store: in one SQLite file the checkpoint of the table (what scrapers have been told of each allocation) and the
//! ledger of finished sessions. All of it blocks; nobody here holds the table.
//!
//! May use `state`, `wire` and `clock`; the only user of `rusqlite`.

mod checkpoint;
pub mod ledger;
mod rows;
mod schema;

use std::path::{Path, PathBuf};

use crate::clock::Timestamp;
use crate::state::{Ended, Kept, Saved};
pub use schema::OpenError;

/// Ended allocations and sessions that wait for a store which cannot be written; more are lost to the ledger.
const MAX_BACKLOG: usize = 100_000;

/// Where the table stands.
#[derive(Debug)]
pub struct Checkpoint {
    /// A scraper is about to be told of everything up to now.
    pub is_told: bool,
    /// Records that have not ended and changed since they were last given.
    pub changed: Vec<Kept>,
    /// `changed` are all records there are: what the file has beyond them is old.
    pub is_all: bool,
    /// How far each source had been heard.
    pub heard: Vec<Timestamp>,
}

/// What goes into the file at once, as of one moment.
#[derive(Debug)]
pub struct Batch {
    /// The moment, on the table's clock.
    pub now: Timestamp,
    /// The same by the wall clock.
    pub wall: Timestamp,
    /// What ended since the last batch.
    pub ended: Ended,
    /// `None`: only what ended is written, as not told.
    pub checkpoint: Option<Checkpoint>,
}

/// What the file held of an earlier process.
#[derive(Debug)]
pub struct Found {
    /// The records, on the wall clock.
    pub saved: Saved,
    /// Numbers from here on are free.
    pub first_serial: u64,
}

/// How a write went.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    /// All is in the file.
    Yes,
    /// It is again, after it was not; this many ended records were lost meanwhile.
    Again(usize),
    /// It has begun to fail, for this reason.
    Failed(String),
    /// It fails as it did before.
    StillFailing,
}

/// An open store; no other process has it.
#[derive(Debug)]
pub struct Store {
    file: schema::Opened,
    path: PathBuf,
    /// Names of the sources, by their numbers in the table.
    sources: Vec<String>,
    /// What ended while the file could not be written.
    backlog: Ended,
    lost: usize,
    is_failing: bool,
    /// The file may hold sums of which not all was told.
    has_untold: bool,
}

impl Store {
    /// Opens the store, or makes it.
    ///
    /// # Errors
    ///
    /// Whatever is there and no store of ours, newer, damaged or in use; it stays as it is.
    pub fn open(path: &Path, sources: &[&str]) -> Result<Self, OpenError> {
        let file = schema::open(path)?;
        let sources = sources.iter().map(|&name| name.to_owned()).collect();
        let path = path.to_owned();
        Ok(Self {
            file,
            path,
            sources,
            backlog: Ended::default(),
            lost: 0,
            is_failing: false,
            has_untold: true,
        })
    }

    /// What an earlier process left. What it left of sources that are not watched any more is dropped.
    ///
    /// # Errors
    ///
    /// A damaged file.
    pub fn load(&mut self, wall: Timestamp) -> Result<Found, OpenError> {
        checkpoint::load(&mut self.file.connection, &self.sources, wall)
            .map_err(|error| OpenError::Damaged { path: self.path.clone(), error })
    }

    /// Whether the next checkpoint must hold all records.
    pub const fn wants_all(&self) -> bool {
        self.is_failing
    }

    /// Whether it is worth to take a checkpoint: what changed and is not written is forgotten.
    pub fn can_write(&mut self) -> bool {
        !self.is_failing || checkpoint::probe(&mut self.file.connection).is_ok()
    }

    /// Writes a batch, all of it or nothing. After a failure only one that is told, with a checkpoint of all records, mends
    /// it: what was told meanwhile is not known from before. What ended waits until then.
    pub fn write(&mut self, batch: Batch) -> Written {
        let Batch { now, wall, ended, checkpoint } = batch;
        self.backlog.allocations.extend(ended.allocations);
        self.backlog.sessions.extend(ended.sessions);
        let is_nothing = self.backlog.allocations.is_empty() && self.backlog.sessions.is_empty();
        let is_told = checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.is_told);
        if (self.is_failing && !is_told) || (checkpoint.is_none() && is_nothing) {
            return self.fail_on();
        }
        let walls = rows::Walls { now, wall };
        let connection = &mut self.file.connection;
        let written = checkpoint::write(
            connection,
            &self.sources,
            walls,
            &self.backlog,
            checkpoint.as_ref(),
            self.has_untold,
        );
        match written {
            Ok(()) => {
                self.backlog = Ended::default();
                self.has_untold = !is_told;
                let lost = std::mem::take(&mut self.lost);
                if std::mem::take(&mut self.is_failing) { Written::Again(lost) } else { Written::Yes }
            }
            Err(error) if self.is_failing => {
                drop(error);
                self.fail_on()
            }
            Err(error) => {
                self.is_failing = true;
                self.shorten_backlog();
                Written::Failed(format!("{}: {error}", self.path.display()))
            }
        }
    }

    /// Removes sessions from the ledger that ended before `horizon` (by the wall clock), some thousands at most.
    pub fn forget_before(&mut self, horizon: Timestamp) {
        if !self.is_failing {
            // One that cannot be written fails at the next batch, and says so there.
            let _ = checkpoint::forget_before(&self.file.connection, horizon);
        }
    }

    fn fail_on(&mut self) -> Written {
        self.shorten_backlog();
        if self.is_failing { Written::StillFailing } else { Written::Yes }
    }

    fn shorten_backlog(&mut self) {
        let Ended { allocations, sessions } = &mut self.backlog;
        self.lost += allocations.len().saturating_sub(MAX_BACKLOG);
        allocations.truncate(MAX_BACKLOG);
        sessions.truncate(MAX_BACKLOG);
    }
}
