//! A store of one SQLite file, as earlier exporters wrote it, becomes a directory: once, and whole whenever it is killed.
//!
//! The directory is built beside the file (`PATH.new`): the ledger, then a marker. Then the file gets out of the way
//! (`PATH.old`) and the directory takes its name. The marker stays until the table that was in the file is in the
//! directory's first snapshot; until then a start reads it from the file again.

mod saved;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::params_from_iter;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rustix::fs::FlockOperation;

use super::journal::TAKEOVER;
use super::ledger::schema::{self, VERSION_OF_ONE_FILE};
use super::ledger::{self, LedgerError, SessionLedger, reading};
use crate::state::SavedTable;

/// An old store whose ledger is in a directory now, and what its table was. Nobody else gets it while this lives.
#[derive(Debug)]
pub struct TakenOver {
    /// The table, its moments on the wall clock.
    pub saved: SavedTable,
    /// Numbers from here on are free.
    pub first_serial: u64,
    /// Where the old file is now.
    pub kept: PathBuf,
    directory: PathBuf,
    /// Its lock keeps others away.
    _old: File,
}

impl TakenOver {
    /// The table is in a snapshot of the directory: the old file is not needed any more, and stays where it is.
    ///
    /// # Errors
    ///
    /// What the system says; then it is only done again at the next start, where the snapshot shows that it is over.
    pub fn finish(self) -> io::Result<()> {
        forget(&self.directory)
    }
}

/// The names that are in play.
#[derive(Debug)]
struct Names {
    path: PathBuf,
    new: PathBuf,
    kept: PathBuf,
}

impl Names {
    fn of(path: &Path) -> Self {
        // Without a slash at the end, behind which no ending would do.
        let path: PathBuf = path.components().collect();
        Self { new: reading::beside(&path, ".new"), kept: reading::beside(&path, ".old"), path }
    }
}

/// Takes over what is at `path` if that is a store of one file, or goes on with a takeover that was killed. `None` if there
/// is nothing to take over; then nothing was changed. Must come before the directory is opened. What the file had of sources
/// that are not among `sources` is lost, but for their finished sessions.
///
/// # Errors
///
/// A file that is not ours, newer, damaged or in use, or a place where the exporter may not write; the file stays as it is.
pub fn take_over(path: &Path, sources: &[&str]) -> Result<Option<TakenOver>, LedgerError> {
    let names = Names::of(path);
    let sources: Vec<String> = sources.iter().map(|&name| name.to_owned()).collect();
    let is_file = |path: &Path| fs::metadata(path).is_ok_and(|found| found.is_file());
    if is_file(&names.path) {
        let old = lock(&names.path)?;
        build(&names, &sources)?;
        swap(&names)?;
        return resume(&names, &sources, old).map(Some);
    }
    let is_gone = fs::symlink_metadata(&names.path).is_err();
    let is_half_swapped = is_gone && names.new.join(TAKEOVER).exists() && is_file(&names.kept);
    let is_waiting = names.path.join(TAKEOVER).exists();
    if !is_half_swapped && !is_waiting {
        return Ok(None);
    }
    if is_waiting && (has_snapshot(&names.path) || !is_file(&names.kept)) {
        // It is over, or the file was taken away: then the ledger is all there is.
        forget(&names.path).map_err(LedgerError::system(&names.path))?;
        return Ok(None);
    }
    let old = lock(&names.kept)?;
    if is_half_swapped {
        fs::rename(&names.new, &names.path).map_err(LedgerError::system(&names.path))?;
        sync_parent(&names.path)?;
    }
    resume(&names, &sources, old).map(Some)
}

/// Our file, ours alone as long as it is open.
fn lock(path: &Path) -> Result<File, LedgerError> {
    let file = schema::open_file(path, false, VERSION_OF_ONE_FILE).map_err(|error| match error {
        LedgerError::Newer { path, version, .. } if version as usize <= schema::VERSION => {
            LedgerError::Part { path }
        }
        error => error,
    })?;
    let in_use = || LedgerError::InUse { path: path.to_owned() };
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => in_use(),
        error => LedgerError::system(path)(error.into()),
    })?;
    // Whoever had it before has moved it away.
    let (ours, there) = (file.metadata(), fs::metadata(path));
    let is_there = ours
        .is_ok_and(|ours| there.is_ok_and(|there| (ours.dev(), ours.ino()) == (there.dev(), there.ino())));
    if is_there { Ok(file) } else { Err(in_use()) }
}

/// Makes the new directory beside the file, with the ledger in it. One that was begun before is made anew.
fn build(names: &Names, sources: &[String]) -> Result<(), LedgerError> {
    let Names { path, new, kept } = names;
    if fs::symlink_metadata(kept).is_ok() {
        return Err(LedgerError::KeptAlready { path: path.clone(), kept: kept.clone() });
    }
    discard(new)?;
    let made = make(names, sources);
    if made.is_err() {
        // The next start would do it.
        drop(discard(new));
    }
    made
}

fn make(Names { path, new, .. }: &Names, sources: &[String]) -> Result<(), LedgerError> {
    DirBuilder::new().mode(0o700).create(new).map_err(LedgerError::system(new))?;
    let copy = new.join(ledger::FILE);
    create(&copy)?;
    copy_sessions(path, &copy, sources)?;
    // This makes the present tables of it.
    SessionLedger::open(new, &[], 0)?.close()?;
    File::open(&copy).and_then(|file| file.sync_all()).map_err(LedgerError::system(&copy))?;
    // The last, so that a directory with it is whole.
    create(&new.join(TAKEOVER))?;
    File::open(new).and_then(|directory| directory.sync_all()).map_err(LedgerError::system(new))
}

fn create(path: &Path) -> Result<(), LedgerError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|file| file.sync_all()).map_err(LedgerError::system(path))
}

/// Copies the old file into another, which is empty, and closes there what nobody will go on with.
fn copy_sessions(path: &Path, copy: &Path, sources: &[String]) -> Result<(), LedgerError> {
    let failed = |error| LedgerError::of(path, error);
    let connection = schema::connect(path, VERSION_OF_ONE_FILE)?;
    if schema::version(&connection).map_err(failed)? == 0 {
        // An empty file, which nobody has written.
        return Ok(());
    }
    // What a process that was killed has left in the log must be in the file before that is moved away from the log.
    let is_busy: bool =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(failed)?;
    if is_busy {
        return Err(LedgerError::InUse { path: path.to_owned() });
    }
    let target = ToSqlOutput::Borrowed(ValueRef::Text(copy.as_os_str().as_bytes()));
    connection.execute("VACUUM INTO ?1", [target]).map_err(failed)?;
    connection.close().map_err(|(_, error)| failed(error))?;

    let failed = |error| LedgerError::of(copy, error);
    let connection = schema::connect(copy, VERSION_OF_ONE_FILE)?;
    let places = vec!["?"; sources.len()].join(", ");
    let sql =
        format!("UPDATE session SET is_open = 0, is_partial = 1 WHERE is_open AND source NOT IN ({places})");
    connection.execute(&sql, params_from_iter(sources)).map_err(failed)?;
    connection.close().map_err(|(_, error)| failed(error))
}

/// Removes what an earlier takeover has begun; nothing of anybody else.
fn discard(new: &Path) -> Result<(), LedgerError> {
    let system = LedgerError::system(new);
    let entries = match fs::read_dir(new) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(&system)?,
    };
    let names =
        entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>().map_err(&system)?;
    let is_ours = |name: &OsString| {
        let name = name.to_str().unwrap_or_default();
        let rest = name.strip_prefix(ledger::FILE);
        name == TAKEOVER || matches!(rest, Some("" | "-wal" | "-shm" | "-journal"))
    };
    if !names.iter().all(is_ours) {
        let error = io::Error::new(
            ErrorKind::AlreadyExists,
            "the new store is to be made there, and something else is",
        );
        return Err(system(error));
    }
    // The marker first: what is left is not whole.
    forget(new).map_err(&system)?;
    for name in names.iter().filter(|name| *name != TAKEOVER) {
        fs::remove_file(new.join(name)).map_err(&system)?;
    }
    fs::remove_dir(new).map_err(&system)
}

/// The directory takes the file's name.
fn swap(Names { path, new, kept }: &Names) -> Result<(), LedgerError> {
    fs::rename(path, kept).map_err(LedgerError::system(kept))?;
    fs::rename(new, path).map_err(|error| {
        // It was not to be; nothing has changed.
        drop(fs::rename(kept, path));
        LedgerError::system(new)(error)
    })?;
    sync_parent(path)?;
    // Empty, and there only if somebody reads the file just now.
    for ending in ["-wal", "-shm"] {
        drop(fs::remove_file(reading::beside(path, ending)));
    }
    Ok(())
}

/// Reads the table from the file that was taken over.
fn resume(names: &Names, sources: &[String], old: File) -> Result<TakenOver, LedgerError> {
    let (saved, highest) = match reading::open(&names.kept) {
        Ok(reader) => {
            let connection = &reader.connection;
            let read = saved::read(connection, sources);
            read.and_then(|saved| Ok((saved, saved::highest_serial(connection)?)))
                .map_err(|error| LedgerError::of(&names.kept, error))?
        }
        Err(LedgerError::Empty { .. }) => (SavedTable::default(), 0),
        Err(error) => return Err(error),
    };
    let (kept, directory) = (names.kept.clone(), names.path.clone());
    Ok(TakenOver { saved, first_serial: highest + 1, kept, directory, _old: old })
}

/// From now on nothing is read from the old file.
fn forget(directory: &Path) -> io::Result<()> {
    match fs::remove_file(directory.join(TAKEOVER)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn has_snapshot(directory: &Path) -> bool {
    let is_snapshot = |name: &OsStr| {
        let number = name.to_str().and_then(|name| name.strip_prefix("snapshot-"));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    fs::read_dir(directory)
        .is_ok_and(|entries| entries.flatten().any(|entry| is_snapshot(&entry.file_name())))
}

fn sync_parent(path: &Path) -> Result<(), LedgerError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(LedgerError::system(parent))
}
