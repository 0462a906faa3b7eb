//! Why a directory cannot be used, and what has happened to one that is.

use std::io;
use std::path::PathBuf;

/// Why a store's directory cannot be used. It is left as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The system refuses.
    #[error(
        "cannot open the store: {}: {error}; --store.path is a directory of the exporter's own: let its user read and write \
         there", path.display()
    )]
    System {
        /// The directory, or the file within.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another process has it.
    #[error("the store {} is in use by another coturn-exporter: each needs one of its own", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A directory with something else in it.
    #[error(
        "{} holds files and is no store of coturn-exporter's: name an empty or a new directory with --store.path",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// A file that is no store.
    #[error(
        "{} is a file and no store of coturn-exporter's: name an empty or a new directory with --store.path",
        path.display()
    )]
    ForeignFile {
        /// The file.
        path: PathBuf,
    },
    /// A store of an earlier release, which was one SQLite file.
    #[error(
        "the store {} is one file, of an earlier coturn-exporter: start the exporter with this --store.path, which makes \
         a directory of it", path.display()
    )]
    OldStore {
        /// The file.
        path: PathBuf,
    },
    /// Of a later exporter.
    #[error(
        "the store's file {} was written by a newer coturn-exporter (format {version}, this one knows {known}): run that \
         one, or name another directory with --store.path", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its format.
        version: u32,
        /// The latest version that this exporter reads.
        known: u32,
    },
    /// A file is missing, not whole, or makes no sense.
    #[error(
        "the store's file {} is damaged at byte {offset} ({what}): move the directory away and start again, with counters \
         from 0; `usage` reads its ledger where it is then", file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
}

/// What has happened to the directory of a running exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryTrouble {
    /// Nothing is at its path.
    #[error("the directory is gone: move it back, or restart the exporter, which makes a new one")]
    Gone,
    /// Something else is at its path.
    #[error(
        "something else is in its place: move the old directory back, or restart the exporter, which goes on from what is there"
    )]
    Replaced,
    /// A file that is in use is not in the directory any more.
    #[error("its file {0} was removed or replaced: restart the exporter")]
    FileGone(&'static str),
    /// The system does not let us look.
    #[error("the directory cannot be looked at: see its rights and its disk")]
    Unreadable,
}
