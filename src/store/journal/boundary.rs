//! Where a snapshot stands among the segments.

use super::header::FileHeader;

/// A place between two segments: a snapshot made here holds every batch before it and none behind it.
#[derive(Clone, Debug)]
pub struct Boundary {
    /// Of the snapshot's file: its number is that of the first segment behind the boundary.
    pub(super) header: FileHeader,
    /// The tally's count of appended bytes.
    pub(super) appended: u64,
    /// The journal was closed: no batch comes behind it.
    pub(super) is_last: bool,
}
