//! The store's own decisions: what waits while the file cannot be written, when it is tried again, and what leaves it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::ledger::{By, FIGURES, Question, usage};
use super::{Batch, Checkpoint, MAX_BACKLOG, OpenError, RETRY, Store, Written};
use crate::clock::Timestamp;
use crate::state::{
    AllocationRecord, Cause, EndedRecords, Flag, Flags, Origin, Phase, SessionRecord, SourceId,
};
use crate::wire::{AllocationId, ByLeg, Traffic, Transport, Volume};

/// The wall clock at the table's zero.
const WALL: Duration = Duration::from_secs(1_800_000_000);

/// A store in a file of its own, which goes with it.
struct Place {
    path: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coturn-exporter-{}-{name}.db", std::process::id()));
        let place = Self { path };
        place.remove();
        place
    }

    fn open(&self) -> Store {
        Store::open(&self.path, &["one"], b':').unwrap()
    }

    fn remove(&self) {
        for ending in ["", "-wal", "-shm"] {
            let mut file = self.path.clone().into_os_string();
            file.push(ending);
            drop(std::fs::remove_file(file));
        }
    }

    /// Sessions in the ledger, and bytes that they relayed.
    fn ledger(&self) -> (u64, u64) {
        let all = usage(&self.path, &Question::default()).unwrap();
        let figure = |name: &str| {
            let place = FIGURES.iter().position(|figure| figure.name == name).unwrap();
            all.iter().map(|usage| usage.figures[place]).sum()
        };
        (figure("sessions"), figure("relayed_bytes"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.remove();
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1000 * seconds)
}

fn on_the_wall(moment: Timestamp) -> Timestamp {
    moment.plus(WALL)
}

/// An allocation that coturn ended, with 1000 bytes each way on the leg of the peers.
fn allocation(serial: u64, ended: u64) -> AllocationRecord {
    let volume = Volume { bytes: 1000, packets: 10 };
    let traffic = Traffic { received: volume, sent: volume };
    AllocationRecord {
        serial,
        session: Some(serial + 1),
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
        sums: ByLeg { client: traffic, peer: traffic },
    }
}

fn session(serial: u64, ended: u64) -> SessionRecord {
    SessionRecord {
        serial: serial + 1,
        started: at(ended - 60),
        ended: at(ended),
        relay: Some((at(ended - 60), at(ended))),
        allocations: 1,
        relayed_bytes: 2000,
        is_partial: false,
    }
}

/// One session of one allocation that ended then.
fn ended(serial: u64, moment: u64) -> EndedRecords {
    EndedRecords {
        allocations: vec![allocation(serial, moment)],
        sessions: vec![session(serial, moment)],
        lost: 0,
    }
}

fn batch(now: u64, is_exported: bool, ended: EndedRecords, checkpoint: Option<Checkpoint>) -> Batch {
    Batch { now: at(now), wall: on_the_wall(at(now)), is_exported, ended, checkpoint }
}

fn nothing() -> Checkpoint {
    Checkpoint {
        changed: Vec::new(),
        is_all: true,
        received: vec![at(100)],
        realms: vec![Arc::from("realm")],
    }
}

/// From now on SQLite writes nothing, as on a full disk.
fn break_it(store: &Store, broken: bool) {
    store.file.connection.pragma_update(None, "query_only", broken).unwrap();
}

#[test]
fn what_ended_is_in_the_ledger_once() {
    let place = Place::new("ledger");
    let mut store = place.open();
    assert_eq!(store.write(batch(100, false, ended(1, 90), None)), Written::Yes);
    assert_eq!(store.write(batch(101, false, EndedRecords::default(), None)), Written::Yes);
    assert_eq!(place.ledger(), (1, 2000));
    assert_eq!(store.write(batch(102, true, ended(11, 95), Some(nothing()))), Written::Yes);
    assert_eq!(place.ledger(), (2, 4000));
    let by_user = usage(&place.path, &Question { by: vec![By::User], ..Question::default() }).unwrap();
    assert_eq!(by_user.len(), 1);
    assert_eq!(by_user[0].of, ["alice"]);
}

#[test]
fn a_store_that_fails_says_so_once_and_loses_nothing_that_waits() {
    let place = Place::new("fails");
    let mut store = place.open();
    assert!(!store.wants_all() && store.can_write(at(100), false) && store.can_write(at(100), true));
    break_it(&store, true);
    let failed = store.write(batch(100, true, ended(1, 90), Some(nothing())));
    assert!(
        matches!(&failed, Written::Failed(why) if why.contains(&*place.path.to_string_lossy())),
        "{failed:?}"
    );
    assert!(store.wants_all(), "what was not written must all come again");
    assert_eq!(store.write(batch(101, true, ended(11, 91), Some(nothing()))), Written::StillFailing);
    assert_eq!(store.write(batch(101, false, ended(21, 92), None)), Written::StillFailing);
    assert_eq!(place.ledger(), (0, 0));
    break_it(&store, false);
    // What ended alone does not mend it: the checkpoint is behind.
    assert_eq!(store.write(batch(102, false, ended(31, 93), None)), Written::StillFailing);
    assert_eq!(place.ledger(), (0, 0));
    let lost = EndedRecords { lost: 3, ..EndedRecords::default() };
    assert_eq!(store.write(batch(103, true, lost, Some(nothing()))), Written::Again(3));
    assert!(!store.wants_all());
    assert_eq!(place.ledger(), (4, 8000));
    assert_eq!(
        store.write(batch(104, true, EndedRecords::default(), Some(nothing()))),
        Written::Yes,
        "said once"
    );
    assert_eq!(place.ledger(), (4, 8000), "and counted once");
}

#[test]
fn it_is_tried_again_after_a_while_and_if_it_would_help() {
    let place = Place::new("retry");
    let mut store = place.open();
    let retry = RETRY.as_secs();
    break_it(&store, true);
    store.write(batch(100, false, ended(1, 90), Some(nothing())));
    break_it(&store, false);
    // No scraper has seen anything that is not in the file.
    assert!(!store.can_write(at(100 + retry - 1), false), "not yet");
    assert!(!store.can_write(at(100 + retry - 1), true), "not yet");
    assert!(store.can_write(at(100 + retry), false) && store.can_write(at(100 + retry), true));
    break_it(&store, true);
    assert!(!store.can_write(at(100 + retry), true), "it still fails, by a probe that leaves nothing");
    // Now one has: only a batch for a scraper mends that.
    assert_eq!(store.write(batch(101, true, EndedRecords::default(), None)), Written::StillFailing);
    break_it(&store, false);
    assert!(!store.can_write(at(101 + retry), false));
    assert!(store.can_write(at(101 + retry), true));
    assert_eq!(
        store.write(batch(101 + retry, true, EndedRecords::default(), Some(nothing()))),
        Written::Again(0)
    );
    assert!(store.can_write(at(101 + retry), false), "forgotten with the failure");
}

#[test]
fn a_failure_that_a_scraper_has_seen_stays_so() {
    let place = Place::new("scraped");
    let mut store = place.open();
    break_it(&store, true);
    store.write(batch(100, true, ended(1, 90), Some(nothing())));
    assert_eq!(
        store.write(batch(110, false, EndedRecords::default(), Some(nothing()))),
        Written::StillFailing
    );
    break_it(&store, false);
    let later = at(110 + RETRY.as_secs());
    assert!(!store.can_write(later, false), "a later failure without a scraper forgets nothing");
    assert!(store.can_write(later, true));
}

#[test]
fn what_waits_is_bounded_and_the_rest_is_counted() {
    let place = Place::new("backlog");
    let mut store = place.open();
    break_it(&store, true);
    assert!(matches!(store.write(batch(100, true, ended(1, 90), Some(nothing()))), Written::Failed(_)));
    let many = u64::try_from(MAX_BACKLOG).unwrap();
    let crowd = EndedRecords {
        allocations: (0..many + 4).map(|number| allocation(10 + 2 * number, 91)).collect(),
        sessions: (0..=many).map(|number| session(10 + 2 * number, 91)).collect(),
        lost: 7,
    };
    assert_eq!(store.write(batch(101, false, crowd, None)), Written::StillFailing);
    assert_eq!((store.backlog.allocations.len(), store.backlog.sessions.len()), (MAX_BACKLOG, MAX_BACKLOG));
    // Five allocations, two sessions (one of each waited before), and what was lost before it came here.
    assert_eq!(store.lost, 5 + 2 + 7);
    // To write so many takes its time, and shows nothing more.
    store.backlog = EndedRecords::default();
    break_it(&store, false);
    assert_eq!(
        store.write(batch(200, true, EndedRecords::default(), Some(nothing()))),
        Written::Again(5 + 2 + 7)
    );
    assert_eq!(store.write(batch(201, true, EndedRecords::default(), Some(nothing()))), Written::Yes);
    assert_eq!(store.lost, 0);
}

#[test]
fn old_sessions_leave_and_the_others_stay() {
    let place = Place::new("retention");
    let mut store = place.open();
    for (serial, moment) in [(1, 1000), (11, 2000), (21, 3000)] {
        store.write(batch(3000, true, ended(serial, moment), Some(nothing())));
    }
    assert_eq!(place.ledger().0, 3);
    let (horizon, wall) = (on_the_wall(at(2000)), on_the_wall(at(9000)));
    assert!(!store.forget_before(horizon, wall), "there are no more");
    assert_eq!(place.ledger().0, 2, "one that ended at the horizon stays");
    // While it fails nothing is tried; then again.
    break_it(&store, true);
    store.write(batch(3001, true, ended(31, 2999), Some(nothing())));
    break_it(&store, false);
    assert!(!store.forget_before(on_the_wall(at(5000)), wall));
    assert_eq!(place.ledger().0, 2);
    store.write(batch(3100, true, EndedRecords::default(), Some(nothing())));
    assert!(!store.forget_before(on_the_wall(at(5000)), wall));
    assert_eq!(place.ledger().0, 0);
}

#[test]
fn they_leave_in_slices() {
    let place = Place::new("slices");
    let mut store = place.open();
    let many = 10_001;
    let crowd = EndedRecords {
        allocations: (0..many).map(|number| allocation(10 + 2 * number, 100)).collect(),
        sessions: (0..many).map(|number| session(10 + 2 * number, 100)).collect(),
        lost: 0,
    };
    store.write(batch(200, true, crowd, Some(nothing())));
    let (horizon, wall) = (on_the_wall(at(150)), on_the_wall(at(200)));
    assert!(store.forget_before(horizon, wall), "more than one slice");
    assert_eq!(place.ledger().0, 1);
    assert!(!store.forget_before(horizon, wall));
    assert_eq!(place.ledger().0, 0);
}

#[test]
fn what_was_kept_comes_back_as_it_was() {
    let place = Place::new("back");
    let mut store = place.open();
    let mut live = allocation(7, 100);
    live = AllocationRecord {
        phase: Phase::Live,
        is_final: false,
        cause: None,
        flags: live.flags.with(Flag::EndReported, false),
        ended: Timestamp::ZERO,
        ..live
    };
    // Each of the flags by itself, on a record of its own.
    let flags = [
        Flag::PastKnown,
        Flag::LongForm,
        Flag::PeerLeg,
        Flag::ReleasePending,
        Flag::GrantedPerhaps,
        Flag::Relayed,
        Flag::Idle,
        Flag::OverdueOrphan,
    ];
    let mut kept = vec![live.clone()];
    for (number, flag) in (1..).zip(flags) {
        let flags = live.flags.with(flag, !live.flags.has(flag));
        kept.push(AllocationRecord {
            serial: 7 + 2 * number,
            session: Some(8 + 2 * number),
            flags,
            ..live.clone()
        });
    }
    kept.push(AllocationRecord { serial: 25, session: Some(26), id: AllocationId(u64::MAX), ..live.clone() });
    let overdue = AllocationRecord {
        serial: 101,
        phase: Phase::Overdue,
        origin: Origin::Traffic,
        session: None,
        ..live.clone()
    };
    let closing =
        AllocationRecord { serial: 103, phase: Phase::Closing, origin: Origin::Adopted, ..live.clone() };
    kept.extend([overdue, closing]);
    let checkpoint = Checkpoint { changed: kept.clone(), ..nothing() };
    assert_eq!(store.write(batch(100, true, EndedRecords::default(), Some(checkpoint))), Written::Yes);
    drop(store);
    let found = place.open().load(on_the_wall(at(160))).unwrap();
    // On the wall clock; nothing else has changed.
    let moved = |moment: Timestamp| if moment == Timestamp::ZERO { moment } else { on_the_wall(moment) };
    let expected: Vec<_> = kept
        .into_iter()
        .map(|kept| AllocationRecord {
            started: moved(kept.started),
            granted_at: moved(kept.granted_at),
            alive_until: moved(kept.alive_until),
            last_sign: moved(kept.last_sign),
            quiet_since: moved(kept.quiet_since),
            ended: moved(kept.ended),
            read_at: moved(kept.read_at),
            ..kept
        })
        .collect();
    let mut saved = found.saved.allocations;
    saved.sort_by_key(|saved| saved.record.serial);
    assert_eq!(saved.len(), expected.len());
    for (saved, expected) in saved.iter().zip(&expected) {
        assert_eq!(format!("{:?}", saved.record), format!("{expected:?}"));
        assert_eq!(saved.exported, expected.sums, "all of it was exported");
    }
    assert_eq!(found.first_serial, 104);
    assert_eq!(found.saved.sources.len(), 1);
    assert_eq!(found.saved.realms, ["realm"]);
}

#[test]
fn whose_tables_are_not_these_is_said_and_not_read() {
    let place = Place::new("versions");
    std::fs::write(&place.path, b"").unwrap();
    let older = usage(&place.path, &Question::default()).unwrap_err();
    assert!(matches!(older, OpenError::Empty { .. }), "{older}");
    // The header of the file is behind the write-ahead log, which says so first.
    let store = place.open();
    assert_eq!(place.ledger(), (0, 0));
    store.file.connection.pragma_update(None, "user_version", 99).unwrap();
    let newer = usage(&place.path, &Question::default()).unwrap_err();
    assert!(matches!(newer, OpenError::Newer { version: 99, .. }), "{newer}");
}

#[test]
fn what_is_over_and_scraped_leaves_nothing_to_go_on_from() {
    let place = Place::new("over");
    let mut store = place.open();
    let rows = |store: &Store| -> u32 {
        store.file.connection.query_row("SELECT count(*) FROM allocation", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(store.write(batch(100, false, ended(1, 90), None)), Written::Yes);
    assert_eq!(rows(&store), 1, "no scraper has seen its end yet");
    let checkpoint = || Some(Checkpoint { is_all: false, ..nothing() });
    assert_eq!(store.write(batch(101, true, ended(11, 91), checkpoint())), Written::Yes);
    assert_eq!(rows(&store), 0);
    // Whose end coturn has not reported may come back.
    let mut silent = ended(21, 92);
    silent.allocations[0].flags = silent.allocations[0].flags.with(Flag::EndReported, false);
    assert_eq!(store.write(batch(102, true, silent, checkpoint())), Written::Yes);
    assert_eq!(rows(&store), 1);
}
