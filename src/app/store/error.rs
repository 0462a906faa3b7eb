//! Why a store cannot be loaded.

use std::io;
use std::path::PathBuf;

use crate::state::ReplayError;
use crate::store::journal::DirectoryError;
use crate::store::ledger::LedgerError;

/// Why there is no table. The files stay as they are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The ledger, or a store of one file.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A snapshot whose bytes are right and which still is none.
    #[error(
        "the snapshot in {} cannot be used: {reason}; run the exporter that wrote it, or move the directory away and start \
         again, with counters from 0", path.display()
    )]
    Snapshot {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The journal does not give the table that it was written for.
    #[error(
        "the journal in {} cannot be replayed: {error}; the exporter that wrote it can", path.display()
    )]
    Journal {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        error: ReplayError,
    },
    /// It is asked for a moment that it does not reach back to.
    #[error(
        "the store {} begins at {begin:.3}; --until must name that moment or a later one, in seconds since 1970",
        path.display()
    )]
    BeginsLater {
        /// The directory.
        path: PathBuf,
        /// Its first moment, in seconds.
        begin: f64,
    },
    /// The table of a store of one file cannot be written in its new form.
    #[error(
        "cannot write the store's new form into {}: {error}; see that its disk has room and start again", path.display()
    )]
    TakeOver {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}
