//! The ledger's own decisions: what is taken once, what may be added later, when it is tried again, what leaves, and how it
//! is read wherever it is.

mod sinks;
mod versions;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::reading::beside;
use super::{By, FIGURES, FILE, FileTrouble, LedgerError, Question, RETRY, SessionLedger, UsageSums, usage};
use crate::clock::{Timestamp, WallTime};
use crate::state::{AllocationRecord, Cause, Flag, Flags, Origin, Output, Phase, SessionRecord, SourceId};
use crate::wire::{AllocationId, ByLeg, Traffic, Transport, Volume};

/// The wall clock at the table's zero.
const WALL: Duration = Duration::from_secs(1_800_000_000);

/// A store's directory, which goes with it.
struct Place {
    directory: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("coturn-exporter-{}-ledger-{name}", std::process::id()));
        drop(fs::remove_dir_all(&directory));
        fs::create_dir(&directory).unwrap();
        Self { directory }
    }

    fn open(&self) -> SessionLedger {
        SessionLedger::open(&self.directory, &["one"], b':').unwrap()
    }

    fn file(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// Names in the directory.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.directory).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Sessions in the answers, and bytes that they relayed.
    fn sums(&self) -> (u64, u64) {
        sums(&self.directory)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.directory));
    }
}

fn sums(path: &Path) -> (u64, u64) {
    let all = usage(path, &Question::default()).unwrap();
    (figure(&all[0], "sessions"), figure(&all[0], "relayed_bytes"))
}

fn figure(sums: &UsageSums, name: &str) -> u64 {
    sums.figures[FIGURES.iter().position(|figure| figure.name == name).unwrap()]
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1000 * seconds)
}

fn on_the_wall(moment: Timestamp) -> Timestamp {
    moment.plus(WALL)
}

fn times(seconds: u64) -> WallTime {
    WallTime { now: at(seconds), wall: on_the_wall(at(seconds)) }
}

fn relayed(bytes: u64) -> ByLeg<Traffic> {
    let volume = Volume { bytes, packets: bytes / 100 };
    let traffic = Traffic { received: volume, sent: volume };
    ByLeg { client: traffic, peer: traffic }
}

/// An allocation that coturn ended, with 1000 bytes each way on the leg of the peers.
fn allocation(serial: u64, session: u64, ended: u64) -> AllocationRecord {
    AllocationRecord {
        serial,
        session: Some(session),
        source: SourceId(0),
        realm: Arc::from(&b"realm"[..]),
        user: Arc::from(&b"1800000000:alice"[..]),
        id: AllocationId(serial),
        phase: Phase::Closing,
        is_final: true,
        origin: Origin::Born,
        cause: Some(Cause::Released),
        flags: Flags::of(&[Flag::PastKnown, Flag::EndReported, Flag::LongForm, Flag::PeerLeg, Flag::Relayed]),
        server: Arc::from("192.0.2.1"),
        server_port: 3478,
        transport: Transport::Udp,
        client: None,
        started: at(ended - 60),
        granted_at: at(ended - 60),
        lifetime: Duration::from_secs(600),
        alive_until: at(ended + 540),
        last_sign: at(ended),
        quiet_since: at(ended),
        ended: at(ended),
        read_at: Timestamp::ZERO,
        sums: relayed(1000),
    }
}

/// The same, but its end was not reported: it may live again.
fn overdue(serial: u64, session: u64, ended: u64) -> AllocationRecord {
    AllocationRecord {
        phase: Phase::Overdue,
        is_final: false,
        cause: Some(Cause::Abandoned),
        ..allocation(serial, session, ended)
    }
}

fn session(serial: u64, ended: u64) -> SessionRecord {
    SessionRecord {
        serial,
        started: at(ended - 60),
        ended: at(ended),
        relay: Some((at(ended - 60), at(ended))),
        allocations: 1,
        relayed_bytes: 2000,
        is_partial: false,
    }
}

/// Sessions of one allocation each that ended then, by the numbers of both; outputs from `first` on.
fn ended(first: u64, serials: impl IntoIterator<Item = u64>, moment: u64) -> Vec<(u64, Output)> {
    let outputs = serials.into_iter().flat_map(|serial| {
        [Output::Allocation(allocation(serial, serial, moment)), Output::Session(session(serial, moment))]
    });
    (first..).zip(outputs).collect()
}

/// From now on SQLite writes nothing, as on a full disk.
fn break_it(ledger: &SessionLedger, is_broken: bool) {
    ledger.file.connection.pragma_update(None, "query_only", is_broken).unwrap();
}

fn count(ledger: &SessionLedger, table: &str) -> u32 {
    let sql = format!("SELECT count(*) FROM {table}");
    ledger.file.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn an_output_is_taken_once_whatever_is_given_again() {
    let place = Place::new("once");
    let mut ledger = place.open();
    assert_eq!((ledger.last_taken(), ledger.highest_serial().unwrap()), (0, 0));
    let outputs = ended(1, [10, 20, 30], 90);
    assert_eq!(ledger.take(times(100), &outputs[..3]).unwrap(), 3);
    assert_eq!(place.sums(), (1, 2000), "the second is not closed yet");
    // The last write is given again, with what follows; then all of it, by another process.
    assert_eq!(ledger.take(times(101), &outputs[1..]).unwrap(), 6);
    drop(ledger);
    let mut ledger = place.open();
    assert_eq!(ledger.last_taken(), 6);
    assert_eq!(ledger.take(times(500), &outputs).unwrap(), 6);
    assert_eq!(ledger.take(times(501), &[]).unwrap(), 6);
    assert_eq!(place.sums(), (3, 6000));
    assert_eq!(ledger.highest_serial().unwrap(), 30);
    assert_eq!(count(&ledger, "member"), 0, "nothing more will come of any");
    let by_user = usage(&place.directory, &Question { by: vec![By::User], ..Question::default() }).unwrap();
    assert_eq!(by_user.len(), 1);
    assert_eq!(by_user[0].of, ["alice"]);
}

#[test]
fn a_ledger_that_cannot_be_written_takes_nothing_and_is_tried_again_later() {
    let place = Place::new("fails");
    let mut ledger = place.open();
    ledger.take(times(100), &ended(1, [10], 90)).unwrap();
    break_it(&ledger, true);
    let more = ended(3, [20, 30], 95);
    let error = ledger.take(times(101), &more).unwrap_err();
    assert!(matches!(&error, LedgerError::Unusable { path, .. } if *path == place.file()), "{error}");
    assert!(!error.to_string().contains("away"), "{error}");
    assert_eq!((ledger.last_taken(), place.sums()), (2, (1, 2000)));
    let retry = RETRY.as_secs();
    assert!(!ledger.may_try(at(101 + retry - 1)) && ledger.may_try(at(101 + retry)));
    ledger.take(times(110), &[]).unwrap_err();
    assert!(!ledger.may_try(at(110 + retry - 1)));
    assert!(!ledger.forget_before(on_the_wall(at(5000)), on_the_wall(at(5000))));
    break_it(&ledger, false);
    assert_eq!(ledger.take(times(120), &[]).unwrap(), 2, "it works again, which nothing shows as well");
    assert!(ledger.may_try(at(120)));
    assert_eq!(ledger.take(times(121), &more).unwrap(), 6);
    assert_eq!(place.sums(), (3, 6000));
}

#[test]
fn a_batch_is_taken_as_a_whole() {
    let place = Place::new("whole");
    let mut ledger = place.open();
    let (outputs, connection) = (ended(1, [10, 20], 90), &ledger.file.connection);
    let fails = "CREATE TRIGGER fails BEFORE INSERT ON session WHEN NEW.serial = 20 BEGIN SELECT RAISE(FAIL, ''); END";
    connection.execute_batch(fails).unwrap();
    ledger.take(times(100), &outputs).unwrap_err();
    assert_eq!((count(&ledger, "session"), ledger.last_taken()), (0, 0));
    ledger.file.connection.execute_batch("DROP TRIGGER fails").unwrap();
    assert_eq!(ledger.take(times(101), &outputs).unwrap(), 4);
    assert_eq!(place.sums(), (2, 4000));
}

/// Of the members of a session that relayed, else of all, the one that ended last.
#[test]
fn a_session_bears_the_names_of_one_of_its_allocations() {
    let place = Place::new("names");
    let mut ledger = place.open();
    let members = [
        (false, 100, "a", "a"),
        (false, 99, "b", "a"),
        (false, 100, "c", "c"),
        (false, 101, "d", "d"),
        (true, 80, "e", "e"),
        (false, 200, "f", "e"),
        (true, 79, "g", "e"),
        (true, 80, "h", "h"),
    ];
    for (number, (has_relayed, ended, server, expected)) in (1..).zip(members) {
        let mut record = AllocationRecord { server: Arc::from(server), ..allocation(number, 9, ended) };
        record.flags = if has_relayed { record.flags } else { Flags::of(&[Flag::EndReported]) };
        ledger.take(times(300), &[(number, Output::Allocation(record))]).unwrap();
        let named =
            ledger
                .file
                .connection
                .query_row("SELECT server FROM session WHERE serial = 9", [], |row| row.get::<_, String>(0));
        assert_eq!(named.unwrap(), expected, "after {server}");
    }
}

#[test]
fn what_an_allocation_reports_after_its_session_is_added_to_it_once() {
    let place = Place::new("late");
    let mut ledger = place.open();
    let first = [
        (1, Output::Allocation(overdue(10, 10, 90))),
        (2, Output::Session(session(10, 90))),
        (3, Output::Allocation(overdue(20, 20, 90))),
        (4, Output::Session(session(20, 90))),
    ];
    ledger.take(times(100), &first).unwrap();
    assert_eq!((place.sums(), count(&ledger, "member")), ((2, 4000), 2));
    drop(ledger);
    let mut ledger = place.open();
    // One reports 500 bytes more each way, twice, and is over; nothing more of it is added to anything.
    let late = |bytes, is_final| {
        let record =
            AllocationRecord { session: None, is_final, sums: relayed(bytes), ..overdue(10, 10, 90) };
        Output::Allocation(record)
    };
    ledger.take(times(200), &[(5, late(1500, false)), (6, late(1700, true)), (7, late(9000, true))]).unwrap();
    assert_eq!((place.sums(), count(&ledger, "member")), ((2, 5400), 1));
    // The other one lives again, in another session, which gets what it did not have before.
    let revived = AllocationRecord { sums: relayed(1600), ..allocation(20, 21, 300) };
    ledger
        .take(times(300), &[(8, Output::Allocation(revived)), (9, Output::Session(session(21, 300)))])
        .unwrap();
    assert_eq!((place.sums(), count(&ledger, "member")), ((3, 6600), 0));
}

/// The number of a session may be above that of every row of its own.
#[test]
fn the_highest_number_is_that_of_any_allocation_or_session() {
    let place = Place::new("highest");
    let mut ledger = place.open();
    ledger.take(times(100), &[(1, Output::Allocation(overdue(70, 10, 90)))]).unwrap();
    assert_eq!(ledger.highest_serial().unwrap(), 70);
}

#[test]
fn sessions_whose_table_is_lost_are_closed_as_partial() {
    let place = Place::new("lost");
    let mut ledger = place.open();
    let mut outputs = ended(1, [10], 90);
    outputs.push((3, Output::Allocation(overdue(20, 20, 90))));
    ledger.take(times(100), &outputs).unwrap();
    let partial = || figure(&usage(&place.directory, &Question::default()).unwrap()[0], "partial_sessions");
    assert_eq!((place.sums(), partial()), ((1, 2000), 0));
    ledger.close_open_rows(on_the_wall(at(2000))).unwrap();
    assert!(!ledger.has_lost_rows());
    assert_eq!((place.sums(), partial()), ((2, 4000), 1));
    assert_eq!((count(&ledger, "member"), ledger.last_taken()), (0, 3));
    ledger.close_open_rows(on_the_wall(at(2000))).unwrap();
    ledger.take(times(101), &ended(4, [30], 95)).unwrap();
    assert_eq!((place.sums(), partial()), ((3, 6000), 1));
}

/// The exporter must start on a disk that is still full.
#[test]
fn sessions_of_a_lost_table_that_cannot_be_closed_are_closed_by_the_first_batch_that_can_be_written() {
    let place = Place::new("lost-full");
    let mut ledger = place.open();
    let outputs = [(1, Output::Allocation(overdue(20, 20, 90)))];
    ledger.take(times(100), &outputs).unwrap();
    break_it(&ledger, true);
    ledger.close_open_rows(on_the_wall(at(2000))).unwrap();
    assert!(ledger.has_lost_rows() && ledger.may_try(at(0)));
    ledger.take(times(2001), &ended(2, [30], 1990)).unwrap_err();
    assert!(ledger.has_lost_rows());
    assert_eq!((place.sums(), count(&ledger, "member")), ((0, 0), 1));
    break_it(&ledger, false);
    // One of the new table's, which stays open.
    let mut more = ended(2, [30], 1990);
    more.push((4, Output::Allocation(overdue(40, 40, 1990))));
    ledger.take(times(2010), &more).unwrap();
    assert!(!ledger.has_lost_rows());
    assert_eq!((place.sums(), count(&ledger, "member")), ((2, 4000), 1));
    // Nothing new is enough, too.
    break_it(&ledger, true);
    ledger.close_open_rows(on_the_wall(at(3000))).unwrap();
    break_it(&ledger, false);
    ledger.take(times(3001), &[]).unwrap();
    assert!(!ledger.has_lost_rows());
    assert_eq!((place.sums(), count(&ledger, "member")), ((3, 6000), 0));
}

#[test]
fn old_sessions_leave_in_slices_and_the_others_stay() {
    let place = Place::new("retention");
    let mut ledger = place.open();
    let many = 10_001;
    ledger.take(times(1000), &ended(1, 1..=many, 1000)).unwrap();
    ledger.take(times(2000), &ended(30_000, [20_000], 2000)).unwrap();
    ledger.take(times(2000), &[(30_002, Output::Allocation(overdue(20_001, 20_001, 1000)))]).unwrap();
    let (horizon, wall) = (on_the_wall(at(2000)), on_the_wall(at(2000)));
    assert_eq!(ledger.count_before(horizon, 100, 10), (many, true));
    assert_eq!(ledger.count_before(horizon, many, 10), (many, false));
    assert!(ledger.forget_before(horizon, wall), "more than one slice");
    assert_eq!(place.sums().0, 2);
    assert!(!ledger.forget_before(horizon, wall), "there are no more");
    assert_eq!(place.sums().0, 1, "one that ended at the horizon stays");
    assert_eq!((count(&ledger, "session"), count(&ledger, "member")), (2, 1), "and one that is open");
    // What is known of a member matters as long as its session is kept, and two days in any case.
    let (day, two_days) = (at(2000 + 24 * 3600), at(2001 + 2 * 24 * 3600));
    ledger.forget_before(on_the_wall(day), on_the_wall(day));
    assert_eq!(count(&ledger, "member"), 1);
    ledger.forget_before(on_the_wall(at(2000)), on_the_wall(two_days));
    assert_eq!(count(&ledger, "member"), 1);
    ledger.forget_before(on_the_wall(day), on_the_wall(two_days));
    assert_eq!(count(&ledger, "member"), 0);
}

#[test]
fn a_file_that_is_gone_or_another_is_not_written() {
    let place = Place::new("gone");
    let mut ledger = place.open();
    let aside = place.directory.join("aside");
    fs::rename(place.file(), &aside).unwrap();
    let trouble = |error| match error {
        LedgerError::File { trouble, .. } => trouble,
        other => panic!("{other}"),
    };
    let outputs = ended(1, [10], 90);
    assert_eq!(trouble(ledger.take(times(100), &outputs).unwrap_err()), FileTrouble::Gone);
    fs::copy(&aside, place.file()).unwrap();
    // It is seen without anything to write, too.
    assert_eq!(trouble(ledger.take(times(101), &[]).unwrap_err()), FileTrouble::Replaced);
    fs::rename(&aside, place.file()).unwrap();
    assert_eq!(ledger.take(times(102), &outputs).unwrap(), 2);
    assert_eq!(place.sums(), (1, 2000));
}

#[test]
fn a_closed_ledger_stands_alone() {
    let place = Place::new("alone");
    let mut ledger = place.open();
    ledger.take(times(100), &ended(1, [10], 90)).unwrap();
    assert_eq!(place.names(), [FILE, &format!("{FILE}-shm"), &format!("{FILE}-wal")]);
    ledger.close().unwrap();
    assert_eq!(place.names(), [FILE]);
    assert_eq!(place.sums(), (1, 2000));
    assert_eq!(place.names(), [FILE], "whoever reads leaves nothing");
}

#[test]
fn a_copy_is_read_as_it_is_with_and_without_its_log() {
    let [place, copies] = ["original", "copies"].map(Place::new);
    let mut ledger = place.open();
    ledger.take(times(100), &ended(1, [10], 90)).unwrap();
    ledger.close().unwrap();
    let bare = copies.directory.join("a bare?copy%20.sqlite");
    fs::copy(place.file(), &bare).unwrap();
    assert_eq!(sums(&bare), (1, 2000));
    // Taken while an exporter writes, or what one that was killed has left: the last sessions are in the log alone.
    let mut ledger = place.open();
    ledger.take(times(101), &ended(3, [20], 95)).unwrap();
    let with_log = copies.directory.join("with-log.sqlite");
    fs::copy(place.file(), &with_log).unwrap();
    fs::copy(beside(&place.file(), "-wal"), beside(&with_log, "-wal")).unwrap();
    assert_eq!(sums(&with_log), (2, 4000));
    assert_eq!(copies.names(), ["a bare?copy%20.sqlite", "with-log.sqlite", "with-log.sqlite-wal"]);
}

#[test]
fn a_writer_that_comes_while_nobody_was_expected_is_noticed() {
    let place = Place::new("overtaken");
    place.open().close().unwrap();
    let reader = super::reading::open(&place.file()).unwrap();
    assert!(!reader.is_overtaken());
    let ledger = place.open();
    assert!(reader.is_overtaken());
    let beside_it = super::reading::open(&place.file()).unwrap();
    assert!(!beside_it.is_overtaken());
    drop((ledger, reader));
}

#[test]
fn seconds_are_rounded_once_for_each_sum() {
    let place = Place::new("seconds");
    let mut ledger = place.open();
    let mut outputs = ended(1, [10, 20, 30], 90);
    for (_, output) in &mut outputs {
        if let Output::Session(session) = output {
            session.ended = session.started.plus(Duration::from_millis(1700));
            session.relay = Some((session.started, session.started.plus(Duration::from_millis(400))));
        }
    }
    ledger.take(times(100), &outputs).unwrap();
    let all = usage(&place.directory, &Question::default()).unwrap();
    assert_eq!((figure(&all[0], "seconds"), figure(&all[0], "relay_seconds")), (5, 1));
}

#[test]
fn answers_are_ordered_by_what_was_relayed_and_then_by_name() {
    let place = Place::new("order");
    let mut ledger = place.open();
    let named = |serial: u64, user: &'static [u8], bytes| {
        let record = AllocationRecord {
            user: Arc::from(user),
            sums: relayed(bytes),
            ..allocation(serial, serial, 90)
        };
        [Output::Allocation(record), Output::Session(session(serial, 90))]
    };
    let sessions: [(&[u8], u64); 4] = [(b"b", 100), (b"a", 100), (b"\xff", 100), (b"c", 300)];
    let outputs = (1..).zip(sessions).flat_map(|(serial, (user, bytes))| named(serial, user, bytes));
    ledger.take(times(100), &(1..).zip(outputs).collect::<Vec<_>>()).unwrap();
    let ask = |top| {
        let question = Question { by: vec![By::User, By::Realm], top, ..Question::default() };
        usage(&place.directory, &question)
            .unwrap()
            .into_iter()
            .map(|sums| sums.of.join("|"))
            .collect::<Vec<_>>()
    };
    assert_eq!(ask(None), ["c|realm", "a|realm", "b|realm", "\u{fffd}|realm"]);
    assert_eq!(ask(Some(2)), ["c|realm", "a|realm"]);
    assert_eq!(ask(Some(0)), [""; 0]);
}

/// A table that is missing is no damage: SQLite does not say so.
#[test]
fn a_query_that_fails_does_not_make_a_file_a_damaged_one() {
    let place = Place::new("strange");
    place.open().close().unwrap();
    Connection::open(place.file()).unwrap().execute_batch("DROP TABLE session").unwrap();
    let error = usage(&place.directory, &Question::default()).unwrap_err();
    assert!(matches!(error, LedgerError::Strange { .. }), "{error}");
}
