//! A snapshot: blocks of bytes with check sums, complete or not there.

use std::io;

use super::error::DirectoryError;
use super::moments::Moments;
use crate::clock::Timestamp;

/// The newest complete snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastSnapshot {
    /// The moment of its boundary, by the wall clock.
    pub wall: Timestamp,
    /// Its size.
    pub bytes: u64,
}

/// Writes a snapshot. Dropped before it is committed, it leaves nothing.
#[derive(Debug)]
pub struct SnapshotWriter {
    _private: (),
}

impl SnapshotWriter {
    /// Writes one block, which is read back as it is.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn block(&mut self, _block: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes the snapshot complete: it is synced and takes its name; older snapshots, and segments before its boundary, go.
    ///
    /// # Errors
    ///
    /// What the system says; the older ones then are still there.
    pub fn commit(self) -> io::Result<LastSnapshot> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Reads a snapshot.
#[derive(Debug)]
pub struct SnapshotReader {
    _private: (),
}

impl SnapshotReader {
    /// The moment of its boundary.
    pub fn at(&self) -> Moments {
        Moments::default()
    }

    /// The next block; `None` behind the last of a whole snapshot.
    ///
    /// # Errors
    ///
    /// A damaged file, or what the system says.
    pub fn next_block(&mut self) -> Result<Option<Vec<u8>>, DirectoryError> {
        Ok(None)
    }

    /// How many bytes were read, and how many there are.
    pub const fn progress(&self) -> (u64, u64) {
        (0, 0)
    }
}
