//! The file: whose it is, which version its tables have, and how an older one becomes a newer one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::FlockOperation;

/// In the header of our files (bytes 68 to 71): "coTU".
const APPLICATION_ID: u32 = 0x636f_5455;

/// How long to wait for another reader or writer of the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// What makes version n + 1 of version n, which the file's `user_version` tells; a new file goes through all.
///
/// Moments are milliseconds since 1970. `sums`, `told` and `accounted` are the eight numbers of `state::sums_to_numbers`; NULL is
/// nothing at all. A user is text where it is UTF-8, else a blob.
const MIGRATIONS: &[&str] = &["
    -- Sources that were watched, and how far each had been received when the checkpoint was taken.
    CREATE TABLE source (name TEXT PRIMARY KEY, since INTEGER NOT NULL, heard INTEGER NOT NULL) WITHOUT ROWID, STRICT;

    -- Labels of realms that were on the page.
    CREATE TABLE realm (label TEXT PRIMARY KEY, seen INTEGER NOT NULL) WITHOUT ROWID, STRICT;

    -- The checkpoint: allocations that have not ended, and for a day those that have but were not exported in full, or
    -- whose end coturn has not reported.
    CREATE TABLE allocation (
        serial INTEGER PRIMARY KEY,
        session INTEGER,
        source TEXT NOT NULL,
        realm BLOB NOT NULL,
        user BLOB NOT NULL,
        id INTEGER NOT NULL,
        stage TEXT NOT NULL,
        origin TEXT NOT NULL,
        cause TEXT,
        facts INTEGER NOT NULL,
        server TEXT NOT NULL,
        server_port INTEGER NOT NULL,
        transport TEXT NOT NULL,
        client TEXT,
        started INTEGER NOT NULL,
        granted_at INTEGER NOT NULL,
        lifetime INTEGER NOT NULL,
        alive_until INTEGER NOT NULL,
        last_sign INTEGER NOT NULL,
        quiet_since INTEGER NOT NULL,
        ended INTEGER NOT NULL,
        read_at INTEGER NOT NULL,
        sums BLOB NOT NULL,
        told BLOB,
        accounted BLOB
    ) STRICT;
    CREATE INDEX allocation_stage ON allocation (stage);

    -- The ledger; and of sessions that are not over (is_open), what their ended allocations came to.
    CREATE TABLE session (
        serial INTEGER PRIMARY KEY,
        is_open INTEGER NOT NULL,
        source TEXT NOT NULL,
        realm TEXT NOT NULL,
        user ANY NOT NULL,
        user_id ANY NOT NULL,
        client TEXT,
        server TEXT NOT NULL,
        transport TEXT NOT NULL,
        cause TEXT NOT NULL,
        started INTEGER NOT NULL,
        ended INTEGER NOT NULL,
        relay_started INTEGER,
        relay_ended INTEGER,
        allocations INTEGER NOT NULL,
        is_partial INTEGER NOT NULL,
        relayed_bytes INTEGER NOT NULL,
        client_received_bytes INTEGER NOT NULL,
        client_received_packets INTEGER NOT NULL,
        client_sent_bytes INTEGER NOT NULL,
        client_sent_packets INTEGER NOT NULL,
        peer_received_bytes INTEGER NOT NULL,
        peer_received_packets INTEGER NOT NULL,
        peer_sent_bytes INTEGER NOT NULL,
        peer_sent_packets INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX session_open ON session (serial) WHERE is_open;
    CREATE INDEX session_ended ON session (ended) WHERE NOT is_open;
"];

/// Why a store cannot be used. It is left as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system refuses.
    #[error("cannot open the store {}: {error}; --store.path must name a file that the exporter may write", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Something else's file.
    #[error("{} is no store of coturn-exporter's and stays as it is: name another file with --store.path", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A later exporter's file.
    #[error(
        "the store {} was written by a newer coturn-exporter (version {version} of its tables, this one knows {}): \
         run that one, or name another file with --store.path", path.display(), MIGRATIONS.len()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        version: u32,
    },
    /// Another process has it.
    #[error("the store {} is in use by another coturn-exporter: each needs one of its own", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Nothing to read yet, or an earlier exporter's tables.
    #[error("the store {} is of version {version}, this coturn-exporter reads {}: let it be opened by the exporter first, \
         with the same --store.path", path.display(), MIGRATIONS.len())]
    Older {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        version: u32,
    },
    /// SQLite cannot work with the file where it is.
    #[error("cannot use the store {}: {error}; see that its disk has room and that the exporter may write there", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// The file is not whole, or makes no sense.
    #[error(
        "cannot read the store {}: {error}; if it is damaged, move it away (sqlite3's .recover may save its ledger) \
         and a new one will be made", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
}

/// An open file that is ours, and ours alone while this lives.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// After the connection: closing any handle of the file ends SQLite's own locks.
    pub(super) file: File,
}

/// Opens or makes a store for writing.
pub(super) fn open(path: &Path) -> Result<Opened, OpenError> {
    let system = |error| OpenError::System { path: path.to_owned(), error };
    let failed = |error| OpenError::of(path, error);
    // Users' names are in it: nobody else's business.
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(system)?;
    check_header(&mut file, path)?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => OpenError::InUse { path: path.to_owned() },
        error => system(error.into()),
    })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    // The header may be behind the write-ahead log.
    check_version(&connection, path, 0)?;
    prepare(&mut connection).map_err(failed)?;
    Ok(Opened { connection, file })
}

/// Opens a store for reading, also while an exporter writes it.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, OpenError> {
    let system = |error| OpenError::System { path: path.to_owned(), error };
    let failed = |error| OpenError::of(path, error);
    check_header(&mut File::open(path).map_err(system)?, path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(PATIENCE).map_err(failed)?;
    check_version(&connection, path, MIGRATIONS.len())?;
    Ok(connection)
}

/// The version of the tables must be one that this exporter knows, and at least `oldest`.
fn check_version(connection: &Connection, path: &Path, oldest: usize) -> Result<(), OpenError> {
    let version: u32 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| OpenError::of(path, error))?;
    match version as usize {
        known if known > MIGRATIONS.len() => Err(OpenError::Newer { path: path.to_owned(), version }),
        known if known < oldest => Err(OpenError::Older { path: path.to_owned(), version }),
        _ => Ok(()),
    }
}

impl OpenError {
    /// What an error of SQLite's means for the file.
    pub(super) fn of(path: &Path, error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, PermissionDenied, ReadOnly, SystemIoFailure,
        };
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(
                CannotOpen | DatabaseBusy | DatabaseLocked | DiskFull | PermissionDenied | ReadOnly
                | SystemIoFailure,
            ) => Self::Unusable { path, error },
            _ => Self::Damaged { path, error },
        }
    }
}

/// The bytes of a header that say what the file is.
const HEADER: usize = 100;

/// The number at a place of a header.
pub(super) fn header_number(header: &[u8], at: usize) -> Option<u32> {
    let bytes = header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u32::from_be_bytes)
}

/// The header is that of a store of ours.
pub(super) fn is_ours(header: &[u8]) -> bool {
    header.starts_with(b"SQLite format 3\0") && header_number(header, 68) == Some(APPLICATION_ID)
}

/// Whose file it is, by its first bytes (<https://www.sqlite.org/fileformat.html>): without SQLite, which could
/// change it.
fn check_header(file: &mut File, path: &Path) -> Result<(), OpenError> {
    let system = |error| OpenError::System { path: path.to_owned(), error };
    let foreign = || OpenError::Foreign { path: path.to_owned() };
    if !file.metadata().map_err(system)?.is_file() {
        return Err(foreign());
    }
    let mut header = Vec::with_capacity(HEADER);
    file.take(HEADER as u64).read_to_end(&mut header).map_err(system)?;
    if header.is_empty() {
        return Ok(());
    }
    if !is_ours(&header) {
        return Err(foreign());
    }
    match header_number(&header, 60) {
        Some(version) if version as usize <= MIGRATIONS.len() => Ok(()),
        Some(version) => Err(OpenError::Newer { path: path.to_owned(), version }),
        None => Err(foreign()),
    }
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    // Before the write-ahead log: a new file is whole and ours, or empty.
    migrate(connection, MIGRATIONS)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // What a scrape is answered with is on the disk before the answer, whatever happens to the machine.
    connection.pragma_update(None, "synchronous", "full")?;
    // What one large batch has made of the log does not stay.
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn migrate(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let missing = migrations.get(version as usize..).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", u32::try_from(migrations.len()).unwrap_or(u32::MAX))?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_file_becomes_a_newer_one_and_keeps_what_it_has() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y DEFAULT 7"];
        migrate(&mut connection, &steps[..1]).unwrap();
        connection.execute("INSERT INTO a VALUES (1)", []).unwrap();
        migrate(&mut connection, &steps).unwrap();
        migrate(&mut connection, &steps).unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, u32>(0)?, row.get::<_, u32>(1)?));
        assert_eq!(connection.query_row("SELECT x, y FROM a", [], row).unwrap(), (1, 7));
        let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, 2);
    }

    #[test]
    fn a_migration_that_fails_leaves_the_file_as_it_was() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &["CREATE TABLE a (x)"]).unwrap();
        let broken = ["CREATE TABLE a (x)", "CREATE TABLE b (x); nonsense"];
        migrate(&mut connection, &broken).unwrap_err();
        let tables: u32 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1);
    }
}
