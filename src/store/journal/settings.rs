//! What a directory is opened with.

use std::path::PathBuf;

use super::boot::BootId;

/// Room that is reserved for a segment.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// What a directory is opened with; all but the version of the rules has a value for use.
#[derive(Clone, Debug)]
pub struct JournalSettings {
    /// Of the rules by which a batch changes the table: batches of other rules are not replayed.
    pub rules_version: u32,
    /// How much room is reserved for a segment.
    pub segment_bytes: u64,
    /// The present boot.
    pub boot: BootId,
    /// Where a mark is set when the directory cannot be written.
    pub marker_folders: Vec<PathBuf>,
}

impl JournalSettings {
    /// For use, under these rules.
    pub fn new(rules_version: u32) -> Self {
        Self {
            rules_version,
            segment_bytes: SEGMENT_BYTES,
            boot: BootId::read(),
            marker_folders: vec![std::env::temp_dir(), PathBuf::from("/dev/shm")],
        }
    }
}
