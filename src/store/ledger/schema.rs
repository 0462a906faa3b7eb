//! The file: whose it is, which version its tables have, and how an older one becomes a newer one.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::LedgerError;
use super::header::{APPLICATION_ID, HEADER, is_ours, tables_version};

/// How long to wait for another reader or writer of the file.
pub(in crate::store) const PATIENCE: Duration = Duration::from_secs(5);

/// Version 1 was the whole store in one file: a checkpoint of the table beside the ledger.
pub(in crate::store) const VERSION_OF_ONE_FILE: usize = 1;

/// The version of the tables that is written.
pub(in crate::store) const VERSION: usize = MIGRATIONS.len();

/// What makes version n + 1 of version n, which the file's `user_version` tells; a new file goes through all.
///
/// Moments are milliseconds since 1970. `sums`, `told` and `accounted` are the eight numbers of `state::sums_to_numbers`; NULL is
/// nothing at all. A user is text where it is UTF-8, else a blob.
pub(in crate::store) const MIGRATIONS: &[&str] = &[
    "
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
",
    "
    -- The number of the table's last output that is in here.
    CREATE TABLE taken (is_only INTEGER PRIMARY KEY CHECK (is_only), number INTEGER NOT NULL) STRICT;
    INSERT INTO taken VALUES (1, 0);

    -- Allocations that have ended in a session and may still add to it, or live again in another: what the ledger has of
    -- their sums.
    CREATE TABLE member (
        serial INTEGER PRIMARY KEY,
        session INTEGER NOT NULL,
        sums BLOB NOT NULL,
        taken_at INTEGER NOT NULL
    ) STRICT;
    INSERT INTO member SELECT serial, session, accounted, ended FROM allocation
        WHERE stage <> 'ended' AND session IS NOT NULL AND accounted IS NOT NULL;

    -- Sessions whose last allocation ended in the last moment of that process.
    UPDATE session SET is_open = 0 WHERE is_open AND serial NOT IN
        (SELECT session FROM allocation WHERE session IS NOT NULL AND stage IN ('live', 'closing'));

    DROP TABLE allocation;
    DROP TABLE realm;
    DROP TABLE source;
",
    "
    -- Who this ledger is, for those who take its sessions elsewhere: a random UUID of its own. The number of the last event:
    -- each change of a session that others may be told of, and each orphaned allocation, has the next one. The highest number
    -- of a session that others were told of, which may have no row here.
    CREATE TABLE identity (
        is_only INTEGER PRIMARY KEY CHECK (is_only),
        store TEXT NOT NULL,
        last_event INTEGER NOT NULL,
        last_session INTEGER NOT NULL
    ) STRICT;
    INSERT INTO identity
        SELECT 1,
            lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8'
                || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))),
            coalesce(max(serial), 0), 0
        FROM session;

    -- The number of the event that changed a closed session last; 0 while it is open.
    ALTER TABLE session ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
    UPDATE session SET revision = serial WHERE NOT is_open;
    CREATE INDEX session_revision ON session (revision) WHERE revision > 0;

    -- Events that wait for a web hook. `session` is 0 where the allocation has none; `data` is a JSON object.
    CREATE TABLE event (
        number INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        session INTEGER NOT NULL,
        at INTEGER NOT NULL,
        data TEXT NOT NULL
    ) STRICT;
    -- Counting them must not read them.
    CREATE INDEX event_waiting ON event (number, at);

    -- Who takes sessions or events elsewhere: the number of the last that they have, and what came of all, ever.
    CREATE TABLE sink (
        name TEXT PRIMARY KEY,
        taken INTEGER NOT NULL,
        delivered INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        dropped INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID, STRICT;
",
    "
    -- Of a ledger that goes on from an older copy of another one: the number of the last event that was delivered under
    -- the identity of that one, or belongs to it.
    ALTER TABLE identity ADD COLUMN copied_event INTEGER NOT NULL DEFAULT 0;
",
];

/// An open file that is ours.
#[derive(Debug)]
pub(in crate::store) struct Opened {
    pub(in crate::store) connection: Connection,
    /// After the connection: closing any handle of the file ends SQLite's own locks.
    pub(in crate::store) file: File,
}

/// Opens the file for writing without a look at it by SQLite, which could change it; an empty one is made where there is
/// none and `makes_it`. `known` is the latest version of its tables that the caller knows.
pub(in crate::store) fn open_file(path: &Path, makes_it: bool, known: usize) -> Result<File, LedgerError> {
    // Users' names are in it: nobody else's business.
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(makes_it).truncate(false).mode(0o600);
    let mut file = options.open(path).map_err(LedgerError::system(path))?;
    check_header(&mut file, path, known)?;
    Ok(file)
}

/// SQLite's connection to a file that [`open_file`] has let pass.
pub(in crate::store) fn connect(path: &Path, known: usize) -> Result<Connection, LedgerError> {
    let failed = |error| LedgerError::of(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(PATIENCE).map_err(failed)?;
    // The header may be behind the write-ahead log.
    check_version(&connection, path, known)?;
    Ok(connection)
}

/// The version of the tables in a file and that which they will have, if the file is there and of an earlier version.
pub(super) fn upgrade(path: &Path) -> Option<(u32, u32)> {
    let mut header = Vec::with_capacity(HEADER);
    File::open(path).ok()?.take(HEADER as u64).read_to_end(&mut header).ok()?;
    let (version, known) = (tables_version(&header)?, u32::try_from(VERSION).ok()?);
    (is_ours(&header) && version < known).then_some((version, known))
}

/// Opens the ledger, or makes it.
pub(super) fn open(path: &Path) -> Result<Opened, LedgerError> {
    let file = open_file(path, true, VERSION)?;
    let mode = file.metadata().map_err(LedgerError::system(path))?.permissions().mode();
    if mode & 0o077 != 0 {
        // Somebody else's file that we may write is not ours to change.
        drop(file.set_permissions(Permissions::from_mode(0o600)));
    }
    let mut connection = connect(path, VERSION)?;
    prepare(&mut connection, MIGRATIONS).map_err(|error| LedgerError::of(path, error))?;
    Ok(Opened { connection, file })
}

/// The version of the tables, which must be one that is known.
pub(super) fn check_version(connection: &Connection, path: &Path, known: usize) -> Result<u32, LedgerError> {
    let version = version(connection).map_err(|error| LedgerError::of(path, error))?;
    if version as usize > known {
        return Err(LedgerError::Newer { path: path.to_owned(), version, known });
    }
    Ok(version)
}

/// The version of the tables; 0 where there are none.
pub(in crate::store) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Whose file it is, by its first bytes.
pub(super) fn check_header(file: &mut File, path: &Path, known: usize) -> Result<(), LedgerError> {
    let foreign = || LedgerError::Foreign { path: path.to_owned() };
    if !file.metadata().map_err(LedgerError::system(path))?.is_file() {
        return Err(foreign());
    }
    let mut header = Vec::with_capacity(HEADER);
    file.take(HEADER as u64).read_to_end(&mut header).map_err(LedgerError::system(path))?;
    if header.is_empty() {
        return Ok(());
    }
    if !is_ours(&header) {
        return Err(foreign());
    }
    match tables_version(&header) {
        Some(version) if version as usize <= known => Ok(()),
        Some(version) => Err(LedgerError::Newer { path: path.to_owned(), version, known }),
        None => Err(foreign()),
    }
}

pub(in crate::store) fn prepare(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    // Before the write-ahead log: a new file is whole and ours, or empty.
    migrate(connection, migrations)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A session that the table has given away is nowhere else: it outlives a power cut. Nobody waits for the disk but the
    // thread that writes, twice a second and only if something ended.
    connection.pragma_update(None, "synchronous", "full")?;
    // What one large batch has made of the log does not stay.
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    // No query may hang on a directory for temporary files.
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Makes the tables what the last of `migrations` leaves.
pub(in crate::store) fn migrate(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    let version = version(connection)?;
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
