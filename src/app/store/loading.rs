//! From the files of a store to the table, and to what goes on writing them. Blocks; nobody is answered meanwhile.

use std::io;

use super::error::LoadError;
use super::load_progress::LoadProgress;
use super::reading::{ReadTable, TableFiles, empty, log_torn, read_table};
use super::snapshots::write_snapshot;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::StoreConfig;
use crate::state::{RULES_VERSION, ReplayError, Settings, SourceId, Table};
use crate::store::journal::{
    Continuity, Directory, Journal, JournalEnd, JournalSettings, Moments, OpenNotice,
};
use crate::store::ledger::SessionLedger;
use crate::store::takeover::{TakenOver, take_over};

/// What a store was opened for.
pub(super) struct Wanted<'a> {
    pub(super) config: &'a StoreConfig,
    pub(super) settings: Settings,
    pub(super) sources: &'a [String],
}

/// A store, and the table that goes on from it.
pub(super) struct LoadedStore {
    pub(super) table: Table,
    /// Its numbers of the sources, in their order.
    pub(super) ids: Vec<SourceId>,
    pub(super) clock: SystemClock,
    pub(super) directory: Directory,
    pub(super) journal: Journal,
    pub(super) ledger: SessionLedger,
    /// Batches that were replayed.
    pub(super) batches: u64,
    /// The journal alone does not give the table, or sessions of a lost one are open in the ledger: the next start must begin
    /// anew, until a snapshot is made and the ledger is written.
    pub(super) stays_unsure: bool,
}

/// What an earlier life left.
struct EarlierLife {
    table: Table,
    /// Where the journal goes on; `None` where it begins again.
    end: Option<JournalEnd>,
    batches: u64,
    /// An old store, whose table is to come into this one.
    taken_over: Option<TakenOver>,
}

impl EarlierLife {
    fn of(ReadTable { table, end, batches }: ReadTable) -> Self {
        Self { table, end: Some(end), batches, taken_over: None }
    }
}

/// Loads the store, and makes the first inputs of this life: they are recorded, and must be written before any answer.
///
/// # Errors
///
/// Whatever is there and cannot be gone on from; it stays as it is.
pub(super) fn load(wanted: &Wanted<'_>, progress: &mut LoadProgress) -> Result<LoadedStore, LoadError> {
    let path = &wanted.config.path;
    let sources: Vec<&str> = wanted.sources.iter().map(String::as_str).collect();
    let taken_over = take_over(path, &sources)?;
    let (directory, notices) = Directory::open(path, JournalSettings::new(RULES_VERSION))?;
    notices.iter().for_each(log_notice);
    // Before the ledger is opened, which may write: what cannot be read stays as it is.
    let read = match (directory.continuity(), &taken_over) {
        (Continuity::Clean | Continuity::Killed, None) => Some(read(&directory, progress)?),
        _ => None,
    };
    if let Some(versions) = SessionLedger::upgrade(path) {
        progress.upgrade(versions);
    }
    let mut ledger = SessionLedger::open(path, &sources, wanted.settings.rest_separator)?;
    // Before open sessions are closed, which is an event.
    ledger.set_sinks(wanted.config.sinks.named())?;
    let found = match (directory.continuity(), read) {
        // Nobody is answered before its first snapshot, however often that was begun.
        _ if taken_over.is_some() => begin_fresh(&directory, &mut ledger, taken_over)?,
        (Continuity::Unsure(reason), _) => begin_unsure(&directory, &mut ledger, &reason.to_string())?,
        (_, Some(Ok(read))) if ledger.last_taken() <= read.table.last_output() => EarlierLife::of(read),
        (_, Some(Ok(_))) => begin_unsure(&directory, &mut ledger, "the ledger has more than the journal")?,
        (_, Some(Err(error))) => {
            put_aside(&directory);
            begin_unsure(&directory, &mut ledger, &error.to_string())?
        }
        (_, None) => begin_fresh(&directory, &mut ledger, taken_over)?,
    };
    go_on(directory, ledger, found, wanted)
}

/// The first inputs of this life, and the files that it writes.
fn go_on(
    directory: Directory,
    mut ledger: SessionLedger,
    found: EarlierLife,
    wanted: &Wanted<'_>,
) -> Result<LoadedStore, LoadError> {
    let EarlierLife { mut table, end, batches, taken_over } = found;
    let sources: Vec<&str> = wanted.sources.iter().map(String::as_str).collect();
    let clock = clock_behind(&directory, end.as_ref());
    let now = clock.now();
    let mut journal = match &end {
        Some(end) => Journal::go_on(&directory, end, moments(&clock)),
        None if ledger.has_lost_rows() => Journal::start_over_unsure(&directory, moments(&clock)),
        None => Journal::start_over(&directory, moments(&clock)),
    };
    table.begin_recording();
    if let Some(end) = end {
        end.torn.iter().for_each(log_torn);
        table.restarted(now);
        table.ledger_written(now, ledger.last_taken());
        let ids = table.adopt_settings(now, wanted.settings.clone(), &sources);
        ledger.name_sources(table.source_names());
        let stays_unsure = false;
        return Ok(LoadedStore { table, ids, clock, directory, journal, ledger, batches, stays_unsure });
    }
    let ids = table.adopt_settings(now, wanted.settings.clone(), &sources);
    ledger.name_sources(table.source_names());
    if let Some(taken_over) = &taken_over {
        let restored = table.restore(now, taken_over.saved.clone());
        tracing::info!(
            kept = %taken_over.kept.display(),
            live = restored.live,
            overdue = restored.overdue,
            refused = restored.refused,
            "the store of one file becomes a directory"
        );
    }
    // What is not in the journal must be in a snapshot before anybody is answered: numbers that begin above those of the
    // ledger, and the table of an old store.
    let made = first_snapshot(&directory, &mut journal, &mut table, &clock, ledger.has_lost_rows());
    let stays_unsure = made.is_err() || ledger.has_lost_rows();
    match (made, taken_over) {
        (Ok(()), taken_over) => {
            drop(table.take_recorded(Vec::new()));
            // One that is not finished is finished by the next start.
            if let Some(taken_over) = taken_over {
                let _ = taken_over.finish();
            }
        }
        (Err(error), Some(_)) => {
            return Err(LoadError::TakeOver { path: directory.path().to_owned(), error });
        }
        // The journal most likely fails as well, and says so.
        (Err(error), None) => tracing::warn!(%error, "the first snapshot of the store cannot be written"),
    }
    Ok(LoadedStore { table, ids, clock, directory, journal, ledger, batches, stays_unsure })
}

/// An empty table whose numbers the ledger does not have, and which begin with `first_serial` at least.
fn begin(directory: &Directory, ledger: &SessionLedger, first_serial: u64) -> Result<EarlierLife, LoadError> {
    let mut table = empty(directory.secret());
    table.begin_store(first_serial.max(ledger.highest_serial()? + 1), ledger.last_taken() + 1);
    Ok(EarlierLife { table, end: None, batches: 0, taken_over: None })
}

/// A store that is new, or that a store of one file becomes.
fn begin_fresh(
    directory: &Directory,
    ledger: &mut SessionLedger,
    taken_over: Option<TakenOver>,
) -> Result<EarlierLife, LoadError> {
    let Some(taken_over) = taken_over else {
        // A ledger may be there whose store was moved away.
        ledger.close_open_rows(wall())?;
        return begin(directory, ledger, 0);
    };
    // One that was begun before and came no further has answered nobody.
    let first_serial = taken_over.first_serial;
    Ok(EarlierLife { taken_over: Some(taken_over), ..begin(directory, ledger, first_serial)? })
}

/// The same, where it is not known what was answered last.
fn begin_unsure(
    directory: &Directory,
    ledger: &mut SessionLedger,
    reason: &str,
) -> Result<EarlierLife, LoadError> {
    tracing::warn!(
        path = %directory.path().display(), reason,
        "the store cannot be gone on from; counters begin at 0 and sessions that were open are partial"
    );
    ledger.close_open_rows(wall())?;
    begin(directory, ledger, 0)
}

/// The wall clock.
fn wall() -> Timestamp {
    let clock = SystemClock::new();
    clock.to_wall(clock.now())
}

/// A journal that does not give its table shows an error of ours.
fn put_aside(directory: &Directory) {
    match directory.put_aside() {
        Ok(folder) => tracing::error!(
            folder = %folder.display(),
            "the journal does not lead to the table that it was written for, an error of the exporter: its files are kept in \
             this folder, in place of earlier ones; please attach a copy to a bug report, but see first who may read it, for \
             it holds names of users and addresses of clients"
        ),
        Err(error) => tracing::error!(
            path = %directory.path().display(), %error,
            "the journal does not lead to the table that it was written for, an error of the exporter; its files cannot be kept"
        ),
    }
}

/// The inner error is a store that cannot be gone on from.
fn read(
    directory: &Directory,
    progress: &mut LoadProgress,
) -> Result<Result<ReadTable, ReplayError>, LoadError> {
    let files = TableFiles {
        path: directory.path(),
        secret: directory.secret(),
        snapshot: directory.snapshot()?,
        batches: directory.batches()?,
    };
    read_table(files, None, Some(progress))
}

/// The time line goes on from the last moment in the files.
fn clock_behind(directory: &Directory, end: Option<&JournalEnd>) -> SystemClock {
    let fresh = SystemClock::new();
    let Some(last) = end.and_then(|end| end.at) else { return fresh };
    let passed = last.elapsed_until(&moments(&fresh), directory.is_same_boot());
    SystemClock::continuing(last.table.plus(passed))
}

/// The present moment by all clocks.
pub(super) fn moments(clock: &dyn Clock) -> Moments {
    let table = clock.now();
    Moments { table, wall: clock.to_wall(table), boot: clock.since_boot() }
}

fn first_snapshot(
    directory: &Directory,
    journal: &mut Journal,
    table: &mut Table,
    clock: &SystemClock,
    stays_unsure: bool,
) -> io::Result<()> {
    let boundary = journal.roll(moments(clock))?;
    write_snapshot(directory, &boundary, &table.freeze(), || true)?;
    // It was begun as unsure if that did not succeed at once.
    if stays_unsure { Ok(()) } else { directory.mark_sure() }
}

fn log_notice(notice: &OpenNotice) {
    match notice {
        OpenNotice::Tightened(path) => tracing::warn!(
            path = %path.display(),
            "others could read the store, which names users and clients; not any more"
        ),
        OpenNotice::Loose(path) => tracing::warn!(
            path = %path.display(),
            fix = "chmod it to 600, a directory to 700",
            "others may read the store, which names users and clients"
        ),
    }
}
