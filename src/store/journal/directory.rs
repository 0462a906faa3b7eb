//! The directory: whose it is, how its last life ended, and what it holds.

use std::io;
use std::path::{Path, PathBuf};

use super::boundary::Boundary;
use super::continuity::Continuity;
use super::error::{DirectoryError, DirectoryTrouble};
use super::reader::BatchReader;
use super::settings::JournalSettings;
use super::snapshot_file::{LastSnapshot, SnapshotReader, SnapshotWriter};

/// Something that was found when a directory was opened, and is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenNotice {
    /// Others could read it or write there; not any more.
    Tightened(PathBuf),
    /// Others can read it or write there, and the system does not let us change that.
    Loose(PathBuf),
}

/// A directory that is ours alone while a handle of it lives. Handles are cheap to clone and can be used by several
/// threads at once.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Opens the directory, or makes it.
    ///
    /// # Errors
    ///
    /// Whatever is there and no store of ours, newer, damaged or in use; it stays as it is.
    pub fn open(path: &Path, _settings: JournalSettings) -> Result<(Self, Vec<OpenNotice>), DirectoryError> {
        Err(DirectoryError::Foreign { path: path.to_owned() })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the last life ended, as it was found by [`Directory::open`].
    pub fn continuity(&self) -> Continuity {
        Continuity::Fresh
    }

    /// Whether the last life was in the present boot.
    pub fn is_same_boot(&self) -> bool {
        false
    }

    /// A random number that was made with the store and never changes; not for others.
    pub fn secret(&self) -> [u8; 16] {
        [0; 16]
    }

    /// The newest snapshot, block by block; `None` before the first.
    ///
    /// # Errors
    ///
    /// A damaged or newer file, or what the system says.
    pub fn snapshot(&self) -> Result<Option<SnapshotReader>, DirectoryError> {
        Ok(None)
    }

    /// The batches behind the newest snapshot.
    ///
    /// # Errors
    ///
    /// A damaged, newer or missing file, or what the system says.
    pub fn batches(&self) -> Result<BatchReader, DirectoryError> {
        Err(DirectoryError::Foreign { path: self.path.clone() })
    }

    /// Begins a snapshot of what the table is at this boundary, under a temporary name.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn snapshot_writer(&self, _boundary: &Boundary) -> io::Result<SnapshotWriter> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Notes that the life ends with the committed snapshot of this boundary: nothing was answered that it does not hold.
    /// Removes an unsure mark. Synced.
    ///
    /// # Errors
    ///
    /// What the system says; the next life then takes this one as killed.
    pub fn mark_clean(&self, _boundary: &Boundary) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Notes that from now on something may be answered that the files do not hold: in the state file, and for the case
    /// that it does not reach the disk or that the directory is put back from a copy, in the marker folders.
    ///
    /// # Errors
    ///
    /// No mark could be made anywhere.
    pub fn mark_unsure(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// As [`Directory::mark_unsure`], in the marker folders only: does not touch the directory, whose disk may hang, and
    /// waits for nobody.
    ///
    /// # Errors
    ///
    /// No mark could be made anywhere.
    pub fn mark_unsure_outside(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Takes an unsure mark back, when a snapshot was committed whose boundary lies behind the last uncovered answer, and
    /// everything since is in the journal.
    ///
    /// # Errors
    ///
    /// What the system says; the mark may still be there.
    pub fn mark_sure(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Looks whether the directory is still at its path, and still ours. Blocks as long as its disk hangs.
    ///
    /// # Errors
    ///
    /// What has happened to it.
    pub fn check(&self) -> Result<(), DirectoryTrouble> {
        Ok(())
    }

    /// Room that all files in the directory take on the disk, the ledger's among them.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn bytes(&self) -> io::Result<u64> {
        Ok(0)
    }

    /// The newest complete snapshot.
    pub fn last_snapshot(&self) -> Option<LastSnapshot> {
        None
    }

    /// Bytes of batches behind the newest complete snapshot.
    pub fn journal_bytes(&self) -> u64 {
        0
    }
}

/// A directory that is only read: a copy, one on read-only media, one beside a running exporter.
#[derive(Debug)]
pub struct StoredDirectory {
    path: PathBuf,
}

impl StoredDirectory {
    /// Opens the directory for reading; changes nothing and asks for no lock.
    ///
    /// # Errors
    ///
    /// What is there is no store of ours, or newer, or damaged.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        Err(DirectoryError::Foreign { path: path.to_owned() })
    }

    /// The newest snapshot, block by block; `None` before the first.
    ///
    /// # Errors
    ///
    /// A damaged or newer file, or what the system says.
    pub fn snapshot(&self) -> Result<Option<SnapshotReader>, DirectoryError> {
        Ok(None)
    }

    /// The batches behind the newest snapshot.
    ///
    /// # Errors
    ///
    /// A damaged, newer or missing file, or what the system says.
    pub fn batches(&self) -> Result<BatchReader, DirectoryError> {
        Err(DirectoryError::Foreign { path: self.path.clone() })
    }

    /// A random number that was made with the store; the table's identities of keys need it.
    pub fn secret(&self) -> [u8; 16] {
        [0; 16]
    }
}
