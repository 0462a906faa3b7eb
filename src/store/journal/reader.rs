//! Batches in the order in which they were appended, across segments.

use std::path::PathBuf;

use super::error::DirectoryError;
use super::moments::Moments;

/// One batch as it was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalBatch<'a> {
    /// Its number; each is by one higher than the one before.
    pub sequence: u64,
    /// When it was appended.
    pub at: Moments,
    /// Which process of the store wrote it; the first is 1.
    pub life: u64,
    /// The rules under which it was written.
    pub rules_version: u32,
    /// What was appended.
    pub payload: &'a [u8],
}

/// A last batch that was not written in full, and so never answered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornBatch {
    /// The segment.
    pub file: PathBuf,
    /// Where in it the batch begins.
    pub offset: u64,
    /// How many bytes of it were written, at most.
    pub bytes: u64,
}

/// Where the journal ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEnd {
    /// The last moment in the files: of the last batch, else of the snapshot or of the beginning. `None` in a store that
    /// was never used.
    pub at: Option<Moments>,
    /// What was cut off.
    pub torn: Option<TornBatch>,
}

/// Reads the batches behind a snapshot.
#[derive(Debug)]
pub struct BatchReader {
    _private: (),
}

impl BatchReader {
    /// The next batch; `None` at the end.
    ///
    /// # Errors
    ///
    /// A damaged, newer or missing file, or what the system says.
    pub fn next_batch(&mut self) -> Result<Option<JournalBatch<'_>>, DirectoryError> {
        Ok(None)
    }

    /// How many bytes of segments were read, and how many there are.
    pub const fn progress(&self) -> (u64, u64) {
        (0, 0)
    }

    /// Reads what is left, and says where the journal ends.
    ///
    /// # Errors
    ///
    /// As [`BatchReader::next_batch`].
    pub fn finish(self) -> Result<JournalEnd, DirectoryError> {
        Ok(JournalEnd { at: None, torn: None })
    }
}
