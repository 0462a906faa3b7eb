//! How the last life of a store ended.

/// How the last process with this store ended, and so what the next one can go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// There was none.
    Fresh,
    /// It stopped: the snapshot is all there is.
    Clean,
    /// It was killed: the snapshot and the batches behind it are all that anyone was answered.
    Killed,
    /// Somebody may have been answered more than what the files hold.
    Unsure(UnsureReason),
}

/// Why it cannot be known what was answered last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsureReason {
    /// The journal could not be written, and the page went on.
    #[error("the exporter went on while its journal could not be written")]
    Marked,
    /// Written but not synced data may have been lost with the boot.
    #[error("the machine was booted without a clean end of the exporter")]
    OtherBoot,
    /// The directory was put back from a copy of one in use, and the original may have gone on.
    #[error("the directory is a copy of one that an exporter had in use")]
    Copied,
    /// Batches behind the snapshot were written under other rules.
    #[error("an exporter of other rules (version {found}) ended without a clean stop")]
    OtherRules {
        /// The version of those rules.
        found: u32,
    },
}
