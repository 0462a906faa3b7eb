//! Whether the ledger's file is still the one that was opened. SQLite does not notice: it goes on in a file that nobody will
//! find again, or writes into what somebody else has put there.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use super::header::{HEADER, header_number, is_ours};

/// What has happened to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileTrouble {
    /// Nothing is at its path.
    #[error("the file is gone: move it back, or restart the exporter, which makes a new one")]
    Gone,
    /// Another file is at its path.
    #[error(
        "another file is in its place: move the old one back, or restart the exporter, which goes on from what is there"
    )]
    Replaced,
    /// It is shorter than it says, or does not say what it is.
    #[error(
        "the file was truncated or overwritten: restart the exporter, with the file from a backup or without one; what it \
         held is lost"
    )]
    Damaged,
    /// The system does not let us look.
    #[error("the file cannot be looked at: see its rights and its disk")]
    Unreadable,
}

impl FileTrouble {
    /// Whatever becomes of the file, what SQLite remembers of it is not so any more: only a restart helps.
    pub(in crate::store) const fn is_final(self) -> bool {
        matches!(self, Self::Damaged)
    }
}

/// Looks at what is at the path without opening it: closing a second handle of the file would end SQLite's locks.
pub(in crate::store) fn check(file: &File, path: &Path) -> Result<(), FileTrouble> {
    let there = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FileTrouble::Gone,
        _ => FileTrouble::Unreadable,
    })?;
    let ours = file.metadata().map_err(|_| FileTrouble::Unreadable)?;
    if (there.dev(), there.ino()) != (ours.dev(), ours.ino()) {
        return Err(FileTrouble::Replaced);
    }
    let mut header = [0; HEADER];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(FileTrouble::Damaged),
        Err(_) => return Err(FileTrouble::Unreadable),
    }
    // The size of a page, in 16 bits of which 1 means 65536; then, from byte 28 on, how many there are.
    let page_size = header_number(&header, 16).map_or(0, |number| u64::from(number >> 16));
    let page_size = if page_size == 1 { 1 << 16 } else { page_size };
    let pages = header_number(&header, 28).map_or(0, u64::from);
    if is_ours(&header) && ours.len() >= pages * page_size { Ok(()) } else { Err(FileTrouble::Damaged) }
}
