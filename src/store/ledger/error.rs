//! Why a ledger, or an old store, cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use super::file_check::FileTrouble;

/// Why the file cannot be used. It is left as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The system refuses to let it be read.
    #[error(
        "cannot read {}: {error}; give the directory of an exporter's store, and let this user read it and its files",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The system refuses.
    #[error(
        "cannot open {}: {error}; --store.path is a directory of the exporter's own: let its user read and write there",
        path.display()
    )]
    System {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Something else's file.
    #[error("{} is no store of coturn-exporter's and stays as it is: name another place with --store.path", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A later exporter's file.
    #[error(
        "{} was written by a newer coturn-exporter (version {version} of its tables, this one knows {known}): run that \
         one, or name another place with --store.path", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        version: u32,
        /// The latest version that this exporter knows.
        known: usize,
    },
    /// Another process has it.
    #[error("the store {} is in use by another coturn-exporter: each needs one of its own", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// No tables yet.
    #[error("{} has no tables yet: let the exporter open it first, with the same --store.path", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The ledger of a store, where the store itself is wanted.
    #[error("{} is the ledger of a store: --store.path must name the directory that holds it", path.display())]
    Part {
        /// The file.
        path: PathBuf,
    },
    /// Something else has the name that the old store would be kept under.
    #[error(
        "cannot keep the old store {} as {}, which is there already: move that away", path.display(), kept.display()
    )]
    KeptAlready {
        /// The old store.
        path: PathBuf,
        /// Its name after it was taken over.
        kept: PathBuf,
    },
    /// SQLite cannot work with the file where it is.
    #[error(
        "cannot use {}: {error}; see that its disk works and has room, and that the exporter may read and write there; \
         the file itself is not known to be damaged: leave it where it is", path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// It is no database any more, or its pages contradict each other.
    #[error(
        "the ledger {} is damaged: {error}; move this file away (sqlite3's .recover may save the sessions in it) and a \
         new one will be made", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// What is in it is not what an exporter writes.
    #[error("cannot read {}: {error}; it stays as it is: name another place with --store.path", path.display())]
    Strange {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// The file that is at the path is not the one that was opened, or not as it was.
    #[error("cannot write the ledger {}: {trouble}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What has happened to it.
        trouble: FileTrouble,
    },
}

impl LedgerError {
    /// What an error of SQLite's means for the file. Only SQLite's own word makes a file a damaged one.
    pub(in crate::store) fn of(path: &Path, error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, FileLockingProtocolFailed,
            NotADatabase, OutOfMemory, PermissionDenied, ReadOnly, SystemIoFailure,
        };
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged { path, error },
            Some(
                CannotOpen
                | DatabaseBusy
                | DatabaseLocked
                | DiskFull
                | FileLockingProtocolFailed
                | OutOfMemory
                | PermissionDenied
                | ReadOnly
                | SystemIoFailure,
            ) => Self::Unusable { path, error },
            _ => Self::Strange { path, error },
        }
    }

    /// What the system's refusal means for the file.
    pub(in crate::store) fn system(path: &Path) -> impl Fn(io::Error) -> Self + use<'_> {
        |error| Self::System { path: path.to_owned(), error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn meaning(code: i32) -> LedgerError {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        LedgerError::of(Path::new("/the/ledger.sqlite"), error)
    }

    #[test]
    fn only_a_damaged_file_is_to_be_moved_away() {
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB] {
            let said = meaning(code).to_string();
            assert!(said.contains("/the/ledger.sqlite is damaged") && said.contains(".recover"), "{said}");
        }
        for code in [
            ffi::SQLITE_IOERR,
            ffi::SQLITE_CANTOPEN,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_FULL,
            ffi::SQLITE_BUSY,
            ffi::SQLITE_PERM,
            ffi::SQLITE_NOMEM,
            ffi::SQLITE_ERROR,
            ffi::SQLITE_MISMATCH,
        ] {
            let said = meaning(code).to_string();
            assert!(!said.contains("away") && !said.contains("is damaged"), "{said}");
        }
    }
}
