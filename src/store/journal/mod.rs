//! The journal: a directory with what a process was given (batches in segments) and images of what it made of it
//! (snapshots), so that the next process goes on where this one ends. It knows bytes, not the table. All of it blocks.
//!
//! The way of one life: [`Directory::open`]; read [`Directory::snapshot`] and [`Directory::batches`] as far as
//! [`Directory::continuity`] allows; then [`Journal::go_on`], or [`Journal::start_over`] with an empty table;
//! [`Journal::append`] each batch before anything is answered that depends on it; now and then [`Journal::roll`] and a
//! [`SnapshotWriter`]; at the end [`Journal::close`], a last snapshot and [`Directory::mark_clean`].

mod boot;
mod boundary;
mod contents;
mod continuity;
mod directory;
mod disk;
mod diverged;
mod error;
mod fields;
mod folder;
mod header;
mod markers;
mod moments;
mod names;
mod opening;
mod random;
mod reader;
mod segment;
mod settings;
mod snapshot_file;
mod state_file;
mod stored_directory;
mod tally;
#[cfg(test)]
mod tests;
mod writer;

pub use boot::BootId;
pub use boundary::Boundary;
pub use continuity::{Continuity, UnsureReason};
pub use directory::Directory;
pub use error::{DirectoryError, DirectoryTrouble};
pub use moments::Moments;
pub(super) use names::TAKEOVER;
pub use opening::OpenNotice;
pub use reader::{BatchReader, JournalBatch, JournalEnd, TornBatch};
pub use settings::JournalSettings;
pub use snapshot_file::{SnapshotReader, SnapshotWriter};
pub use stored_directory::StoredDirectory;
pub use tally::LastSnapshot;
pub use writer::Journal;
