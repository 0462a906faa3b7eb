//! A directory that is only read.

use std::path::Path;

use super::contents::{self, Contents};
use super::disk::Disk;
use super::error::DirectoryError;
use super::opening;
use super::reader::BatchReader;
use super::snapshot_file::SnapshotReader;
use super::state_file::{DirectoryState, StateFile};

/// A directory that is only read: a copy, one on read-only media, one beside a running exporter. It holds what was there
/// when it was opened.
#[derive(Debug)]
pub struct StoredDirectory {
    path: std::path::PathBuf,
    state: DirectoryState,
    contents: Contents,
}

impl StoredDirectory {
    /// Opens the directory for reading; changes nothing and asks for no lock.
    ///
    /// # Errors
    ///
    /// What is there is no store of ours, or newer, or damaged.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let folder = opening::open_folder(path, Disk::default())?;
        if opening::is_unused(&folder)? {
            return Err(DirectoryError::Foreign { path: path.to_owned() });
        }
        let state = StateFile::open(&folder, false)?.state;
        contents::check_versions(&folder)?;
        let contents = Contents::open(&folder, &state)?;
        Ok(Self { path: path.to_owned(), state, contents })
    }

    /// The newest snapshot, block by block; `None` before the first.
    pub fn snapshot(&self) -> Option<SnapshotReader> {
        self.contents.snapshot.clone().map(|snapshot| SnapshotReader::new(&self.path, snapshot))
    }

    /// The batches behind the newest snapshot.
    pub fn batches(&self) -> BatchReader {
        BatchReader::new(&self.path, self.contents.clone())
    }

    /// A random number that was made with the store; the table's identities of keys need it.
    pub const fn secret(&self) -> [u8; 16] {
        self.state.secret
    }
}
