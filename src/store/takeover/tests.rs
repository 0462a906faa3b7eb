//! An old store becomes a directory: with all that it had, after a kill at any point, or not at all.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::*;
use crate::clock::Timestamp;
use crate::state::{Phase, SavedAllocation};
use crate::store::journal::{Continuity, Directory, JournalSettings};
use crate::store::ledger::{FIGURES, Question, usage};

/// What the last exporter with such a store left: live, overdue, revived, closing and ended allocations, and a session that
/// is open. By the wall clock it ended 5241 s after the beginning.
const OLD_STORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store/version-1.db");
const BEGINNING: u64 = 1_772_323_200;

const SOURCES: [&str; 2] = ["redis://one", "redis://two"];

/// A folder with an old store in it, which goes with it.
struct Place {
    folder: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("coturn-exporter-{}-takeover-{name}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir(&folder).unwrap();
        let place = Self { folder };
        fs::copy(OLD_STORE, place.store()).unwrap();
        place
    }

    fn store(&self) -> PathBuf {
        self.folder.join("store.db")
    }

    fn names(&self) -> Names {
        Names::of(&self.store())
    }

    fn take_over(&self) -> Result<Option<TakenOver>, LedgerError> {
        take_over(&self.store(), &SOURCES)
    }

    /// Every file below the folder, with its bytes.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.insert(
                        path.strip_prefix(&self.folder).unwrap().to_owned(),
                        fs::read(&path).unwrap(),
                    );
                }
            }
        }
        files
    }

    fn file_names(&self) -> Vec<String> {
        self.files().into_keys().map(|path| path.to_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn sums(path: &Path) -> Vec<u64> {
    let all = usage(path, &Question::default()).unwrap();
    all[0].figures.to_vec()
}

fn figure(path: &Path, name: &str) -> u64 {
    sums(path)[FIGURES.iter().position(|figure| figure.name == name).unwrap()]
}

fn of_user<'a>(taken: &'a TakenOver, user: &str) -> &'a SavedAllocation {
    taken.saved.allocations.iter().find(|saved| &*saved.record.user == user.as_bytes()).unwrap()
}

#[test]
fn all_that_an_old_store_has_goes_on_in_the_directory() {
    let place = Place::new("all");
    let (store, before) = (place.store(), sums(Path::new(OLD_STORE)));
    let taken = place.take_over().unwrap().unwrap();
    assert_eq!(place.file_names(), ["store.db/ledger.sqlite", "store.db/takeover", "store.db.old"]);
    assert!(fs::read(&taken.kept).unwrap() == fs::read(OLD_STORE).unwrap(), "the old file is as it was");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&store), mode(&store.join(ledger::FILE))), (0o700, 0o600));

    // The table.
    let at = |seconds: u64| Timestamp::from_millis(1000 * (BEGINNING + seconds));
    assert_eq!(taken.first_serial, 12);
    assert_eq!(taken.saved.realms, ["one.example"]);
    let received: Vec<_> = taken.saved.sources.iter().map(|source| source.received_until).collect();
    assert_eq!(received, [at(5241), at(5241)]);
    let phases = ["overdue", "revived", "live", "closing"].map(|user| of_user(&taken, user).record.phase);
    assert_eq!(phases, [Phase::Overdue, Phase::Live, Phase::Live, Phase::Closing]);
    let elsewhere = of_user(&taken, "elsewhere");
    assert_eq!((elsewhere.record.source.0, elsewhere.record.started), (1, at(5101)));
    assert_eq!(of_user(&taken, "revived").accounted_bytes, 1500);
    let live = of_user(&taken, "live");
    assert_eq!((live.record.sums.peer.bytes(), live.exported.peer.bytes()), (47 * 150, 40 * 150));
    assert!(of_user(&taken, "unseen").record.is_final);
    let [session] = &taken.saved.sessions[..] else { panic!("{:?}", taken.saved.sessions) };
    assert_eq!((Some(session.serial), session.relayed_bytes), (live.record.session, 4500));

    // The ledger: the same sessions, one that is open, and what is known of those that may report again.
    assert_eq!(sums(&store), before);
    let ledger = SessionLedger::open(&store, &SOURCES, b':').unwrap();
    assert_eq!((ledger.last_taken(), ledger.highest_serial().unwrap()), (0, 10));
    drop(ledger);
    let connection = Connection::open(store.join(ledger::FILE)).unwrap();
    let numbers = |sql: &str| -> Vec<(i64, i64)> {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    assert_eq!(numbers("SELECT serial, relayed_bytes FROM session WHERE is_open"), [(5, 4500)]);
    assert_eq!(numbers("SELECT serial, session FROM member ORDER BY serial"), [(1, 1), (2, 3)]);

    // The journal begins beside it.
    let (directory, _) = Directory::open(&store, JournalSettings::new(1)).unwrap();
    assert_eq!(directory.continuity(), Continuity::Fresh);

    // It is over with the first snapshot, and then nothing is left to do.
    taken.finish().unwrap();
    assert!(!store.join(TAKEOVER).exists());
    assert!(place.take_over().unwrap().is_none());
}

/// What is on the disk if it was killed then: another start ends as the first one would have.
#[test]
fn a_takeover_goes_on_after_a_kill_at_any_point() {
    type Point = (&'static str, fn(&Names));
    let whole = Place::new("whole");
    let expected = whole.take_over().unwrap().unwrap();
    let points: [Point; 6] = [
        ("directory", |names| fs::create_dir(&names.new).unwrap()),
        ("half-a-copy", |names| {
            fs::create_dir(&names.new).unwrap();
            for ending in ["", "-journal", "-wal", "-shm"] {
                fs::write(names.new.join(format!("{}{ending}", ledger::FILE)), b"half a copy").unwrap();
            }
        }),
        ("built", |names| build(names, &SOURCES.map(str::to_owned)).unwrap()),
        ("aside", |names| {
            build(names, &SOURCES.map(str::to_owned)).unwrap();
            fs::rename(&names.path, &names.kept).unwrap();
        }),
        ("swapped", |names| {
            build(names, &SOURCES.map(str::to_owned)).unwrap();
            swap(names).unwrap();
        }),
        ("restored", |names| {
            drop(take_over(&names.path, &SOURCES).unwrap().unwrap());
            // The first snapshot was being written.
            fs::write(names.path.join("snapshot-1.new"), b"half").unwrap();
        }),
    ];
    for (name, killed) in points {
        let place = Place::new(name);
        killed(&place.names());
        let taken = place.take_over().unwrap().unwrap_or_else(|| panic!("{name}: nothing to take over"));
        assert_eq!(taken.saved, expected.saved, "{name}");
        assert_eq!(taken.first_serial, expected.first_serial, "{name}");
        assert_eq!(sums(&place.store()), sums(&whole.store()), "{name}");
        assert!(fs::read(&taken.kept).unwrap() == fs::read(OLD_STORE).unwrap(), "{name}");
        assert!(!place.names().new.exists(), "{name}");
        taken.finish().unwrap();
        assert!(place.take_over().unwrap().is_none(), "{name}");
    }
}

#[test]
fn after_the_first_snapshot_the_old_table_is_not_read_again() {
    let place = Place::new("snapshot");
    drop(place.take_over().unwrap().unwrap());
    fs::write(place.store().join("snapshot-1"), b"a table").unwrap();
    assert!(place.take_over().unwrap().is_none());
    assert!(!place.store().join(TAKEOVER).exists());
    // Nor if somebody has taken it away.
    let place = Place::new("taken-away");
    drop(place.take_over().unwrap().unwrap());
    fs::remove_file(place.names().kept).unwrap();
    assert!(place.take_over().unwrap().is_none());
    assert_eq!(place.file_names(), ["store.db/ledger.sqlite"]);
}

#[test]
fn what_cannot_be_taken_over_stays_as_it_is() {
    type Refused = (&'static str, fn(&Names), fn(&LedgerError) -> bool);
    let refusals: [Refused; 7] = [
        (
            "notes",
            |names| fs::write(&names.path, "somebody's notes").unwrap(),
            |error| matches!(error, LedgerError::Foreign { .. }),
        ),
        (
            "database",
            |names| {
                fs::remove_file(&names.path).unwrap();
                Connection::open(&names.path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
            },
            |error| matches!(error, LedgerError::Foreign { .. }),
        ),
        (
            "newer",
            |names| Connection::open(&names.path).unwrap().pragma_update(None, "user_version", 99).unwrap(),
            |error| matches!(error, LedgerError::Newer { version: 99, .. }),
        ),
        (
            "part",
            |names| Connection::open(&names.path).unwrap().pragma_update(None, "user_version", 2).unwrap(),
            |error| matches!(error, LedgerError::Part { .. }),
        ),
        (
            "damaged",
            |names| {
                let mut bytes = fs::read(&names.path).unwrap();
                bytes[100..].fill(0xa5);
                fs::write(&names.path, bytes).unwrap();
            },
            |error| matches!(error, LedgerError::Damaged { .. }),
        ),
        (
            "kept",
            |names| fs::write(&names.kept, "a backup").unwrap(),
            |error| matches!(error, LedgerError::KeptAlready { .. }),
        ),
        (
            "other-files",
            |names| {
                fs::create_dir(&names.new).unwrap();
                fs::write(names.new.join("notes"), "somebody's").unwrap();
            },
            |error| matches!(error, LedgerError::System { .. }),
        ),
    ];
    for (name, prepare, is_right) in refusals {
        let place = Place::new(name);
        prepare(&place.names());
        let before = place.files();
        let error = place.take_over().unwrap_err();
        assert!(is_right(&error), "{name}: {error}");
        assert!(error.to_string().contains(place.store().to_str().unwrap()), "{name}: {error}");
        assert!(place.files() == before, "{name}: {:?}", place.file_names());
    }
}

#[test]
fn one_that_is_in_use_is_left_to_whoever_has_it() {
    let place = Place::new("in-use");
    let file = File::open(place.store()).unwrap();
    rustix::fs::flock(&file, FlockOperation::LockExclusive).unwrap();
    let before = place.files();
    let error = place.take_over().unwrap_err();
    assert!(matches!(error, LedgerError::InUse { .. }), "{error}");
    assert!(place.files() == before);
    drop(file);
    // Nor do two of us take it over at once, whatever point one has reached.
    let taken = place.take_over().unwrap().unwrap();
    let error = place.take_over().unwrap_err();
    assert!(matches!(error, LedgerError::InUse { .. }), "{error}");
    drop(taken);
    assert!(place.take_over().unwrap().is_some());
}

#[test]
fn what_a_process_that_was_killed_left_in_its_log_is_taken_over() {
    let place = Place::new("log");
    let original = Place::new("log-original");
    let connection = Connection::open(original.store()).unwrap();
    connection.execute_batch("UPDATE session SET relayed_bytes = 7000000 WHERE serial = 4").unwrap();
    fs::copy(original.store(), place.store()).unwrap();
    let log = |place: &Place| reading::beside(&place.store(), "-wal");
    fs::copy(log(&original), log(&place)).unwrap();
    drop(connection);
    let taken = place.take_over().unwrap().unwrap();
    assert!(figure(&place.store(), "relayed_bytes") > 7_000_000);
    assert!(figure(&taken.kept, "relayed_bytes") > 7_000_000);
    assert_eq!(place.file_names(), ["store.db/ledger.sqlite", "store.db/takeover", "store.db.old"]);
}

#[test]
fn a_session_of_a_source_that_is_not_watched_any_more_is_closed_as_partial() {
    let place = Place::new("unwatched");
    let (before, partial) = (figure(&place.store(), "sessions"), figure(&place.store(), "partial_sessions"));
    let taken = take_over(&place.store(), &["redis://two"]).unwrap().unwrap();
    let users: Vec<_> = taken.saved.allocations.iter().map(|saved| saved.record.user.to_vec()).collect();
    assert_eq!(users, [b"elsewhere"]);
    assert_eq!(figure(&place.store(), "sessions"), before + 1);
    assert_eq!(figure(&place.store(), "partial_sessions"), partial + 1);
}

#[test]
fn where_there_is_no_old_store_nothing_is_done() {
    let place = Place::new("nothing");
    fs::remove_file(place.store()).unwrap();
    assert!(place.take_over().unwrap().is_none());
    assert_eq!(place.file_names(), [""; 0]);
    fs::create_dir(place.store()).unwrap();
    assert!(place.take_over().unwrap().is_none());
    assert_eq!(place.file_names(), [""; 0]);
    // An empty file is a store that nobody has written.
    fs::remove_dir(place.store()).unwrap();
    fs::write(place.store(), b"").unwrap();
    let taken = place.take_over().unwrap().unwrap();
    assert_eq!((taken.saved.clone(), taken.first_serial), (SavedTable::default(), 1));
    assert_eq!(figure(&place.store(), "sessions"), 0);
}
