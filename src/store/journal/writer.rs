//! Appending batches to segments.

use std::io;

use super::boundary::Boundary;
use super::directory::Directory;
use super::moments::Moments;
use super::reader::JournalEnd;

/// Appends batches. It may be unable to, also from its beginning (see [`Journal::failure`]); [`Journal::roll`] tries again.
#[derive(Debug)]
pub struct Journal {
    _directory: Directory,
}

impl Journal {
    /// Goes on behind what was read. A torn last batch is cut off.
    pub fn go_on(directory: &Directory, _end: &JournalEnd, _at: Moments) -> Self {
        Self { _directory: directory.clone() }
    }

    /// Begins again: snapshots and segments go, and with them an unsure mark, once a new segment can be written.
    pub fn start_over(directory: &Directory, _at: Moments) -> Self {
        Self { _directory: directory.clone() }
    }

    /// Why nothing can be appended; `None` if it can.
    pub fn failure(&self) -> Option<&io::Error> {
        None
    }

    /// Appends one batch, by one write. After a failure nothing is appended until [`Journal::roll`] succeeds; then the
    /// batch that failed must be appended again, or [`Journal::leave_out`] be called and a snapshot be made.
    ///
    /// # Errors
    ///
    /// What the system says, or that the journal still fails.
    pub fn append(&mut self, _batch: &[u8], _at: Moments) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Begins the next segment; also the way back after a failure.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn roll(&mut self, _at: Moments) -> io::Result<Boundary> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Notes that a batch is given up: the journal has a gap here, over which nobody replays. The unsure mark must be set;
    /// a snapshot of a later boundary makes it good.
    pub fn leave_out(&mut self) {}

    /// Ends the journal with its last batch, for a last snapshot.
    pub fn close(self, _at: Moments) -> Boundary {
        Boundary::new()
    }
}
