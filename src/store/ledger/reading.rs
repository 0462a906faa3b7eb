//! Opens a ledger to be read, wherever it is: beside a running exporter, after a clean stop or a kill, as a copy, in a
//! place where nothing can be written.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::LedgerError;
use super::schema::{self, PATIENCE, VERSION};

/// A ledger that is open to be read.
#[derive(Debug)]
pub(in crate::store) struct LedgerReader {
    pub(in crate::store) connection: Connection,
    path: PathBuf,
    access: ReadAccess,
}

/// How SQLite reads the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadAccess {
    /// By the rules that it has with a writer: in the memory that both map (`-shm`).
    Shared,
    /// A file that nobody writes and that stands alone: without locks, and nothing beside it is made.
    Alone,
    /// A file that nobody writes, and the log of one who was killed: read without locks, the log's index in our own memory.
    WithLog,
}

/// Opens the ledger, or an old store, to read its sessions.
pub(in crate::store) fn open(path: &Path) -> Result<LedgerReader, LedgerError> {
    let mut file =
        File::open(path).map_err(|error| LedgerError::Unreadable { path: path.to_owned(), error })?;
    schema::check_header(&mut file, path, VERSION)?;
    drop(file);
    let access = if beside(path, "-shm").exists() { ReadAccess::Shared } else { without_writer(path) };
    open_by(path, access).or_else(|error| match error {
        // What an earlier one left cannot be mapped where nothing can be written.
        LedgerError::Unusable { .. }
            if access == ReadAccess::Shared && without_writer(path) == ReadAccess::Alone =>
        {
            open_by(path, ReadAccess::Alone)
        }
        error => Err(error),
    })
}

/// While somebody writes the file, its shared memory is there; where that is not, how to read it.
fn without_writer(path: &Path) -> ReadAccess {
    let log = fs::metadata(beside(path, "-wal")).map_or(0, |log| log.len());
    if log == 0 { ReadAccess::Alone } else { ReadAccess::WithLog }
}

fn open_by(path: &Path, access: ReadAccess) -> Result<LedgerReader, LedgerError> {
    let failed = |error| LedgerError::of(path, error);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let place = std::path::absolute(path).map_err(LedgerError::system(path))?;
    let uri = uri(
        &place,
        match access {
            ReadAccess::Shared => "",
            ReadAccess::Alone => "?immutable=1",
            ReadAccess::WithLog => "?vfs=unix-none",
        },
    );
    let connection = Connection::open_with_flags(uri, flags).map_err(failed)?;
    connection.busy_timeout(PATIENCE).map_err(failed)?;
    // A directory for temporary files need not be there.
    connection.pragma_update(None, "temp_store", "memory").map_err(failed)?;
    // Whoever reads tidies nothing up.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    if access == ReadAccess::WithLog {
        connection.pragma_update(None, "locking_mode", "exclusive").map_err(failed)?;
    }
    if schema::check_version(&connection, path, VERSION)? == 0 {
        return Err(LedgerError::Empty { path: path.to_owned() });
    }
    Ok(LedgerReader { connection, path: path.to_owned(), access })
}

impl LedgerReader {
    /// A writer has come meanwhile, whom this way of reading does not notice: what was read may be wrong.
    pub(in crate::store) fn is_overtaken(&self) -> bool {
        self.access != ReadAccess::Shared && beside(&self.path, "-shm").exists()
    }
}

/// A file of SQLite's beside its database.
pub(in crate::store) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The URI of an absolute path (<https://www.sqlite.org/uri.html>).
fn uri(path: &Path, query: &str) -> OsString {
    let mut uri = b"file://".to_vec();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(byte);
        } else {
            uri.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    uri.extend_from_slice(OsStr::new(query).as_bytes());
    OsString::from_vec(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_no_part_of_the_query() {
        let uri = |path: &[u8]| uri(Path::new(OsStr::from_bytes(path)), "?x").into_string().unwrap();
        assert_eq!(uri(b"/var/lib/a-b_c.1/x"), "file:///var/lib/a-b_c.1/x?x");
        assert_eq!(uri(b"//a b?mode=rw#%\xff"), "file:////a%20b%3Fmode%3Drw%23%25%FF?x");
    }
}
