//! What waits for those who take sessions and events elsewhere.

use super::super::{EventBounds, EventKind, LedgerEvent, SinkContents, SinkProgress};
use super::*;
use crate::state::{AllocationNames, OpenedSession, Orphan, OrphanedAllocation};

const HOOK: &str = "hook:80";
const DATABASE: &str = "postgres";

fn with_sinks(place: &Place) -> SessionLedger {
    let mut ledger = place.open();
    let sinks = [(DATABASE, SinkContents::Sessions), (HOOK, SinkContents::Events)];
    ledger.set_sinks(sinks.map(|(name, contents)| (name.to_owned(), contents)).into()).unwrap();
    ledger
}

fn names(session: u64) -> AllocationNames {
    AllocationNames {
        session,
        id: AllocationId(7),
        source: SourceId(0),
        realm: Arc::from(&b"realm"[..]),
        user: Arc::from(&b"1800000000:alice"[..]),
        server: Arc::from("192.0.2.1"),
        transport: Transport::Tcp,
        client: Some("198.51.100.1:5000".parse().unwrap()),
        started: at(30),
    }
}

fn opened(session: u64) -> Output {
    Output::Opened(OpenedSession { first: names(session), is_adopted: false })
}

fn numbers(events: &[LedgerEvent]) -> Vec<u64> {
    events.iter().map(|event| event.number).collect()
}

/// Session 10 from its birth to a report that comes late.
fn life() -> Vec<(u64, Output)> {
    let orphan = OrphanedAllocation { allocation: names(10), reason: Orphan::Overdue, since: at(95) };
    let late = AllocationRecord { session: None, sums: relayed(1500), is_final: true, ..overdue(10, 10, 90) };
    let outputs = [
        opened(10),
        Output::Allocation(overdue(10, 10, 90)),
        Output::Orphaned(orphan),
        Output::Session(session(10, 90)),
        Output::Allocation(late),
    ];
    (1..).zip(outputs).collect()
}

#[test]
fn each_change_of_a_session_is_an_event_with_the_next_number() {
    let place = Place::new("events");
    let mut ledger = with_sinks(&place);
    ledger.take(times(100), &life()).unwrap();
    let events = ledger.events_after(0, 10).unwrap();
    let kinds = [
        EventKind::SessionOpened,
        EventKind::AllocationOrphaned,
        EventKind::SessionClosed,
        EventKind::SessionAmended,
    ];
    assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), kinds);
    assert_eq!(numbers(&events), [1, 2, 3, 4]);
    assert!(events.iter().all(|event| event.session == 10));
    let [opened, orphaned, closed, amended] = <[LedgerEvent; 4]>::try_from(events).unwrap();
    for (event, moment) in [(&opened, 30), (&orphaned, 95), (&closed, 90), (&amended, 100)] {
        assert_eq!(event.at, on_the_wall(at(moment)), "{event:?}");
        assert_eq!(event.data["user_id"], "alice", "{event:?}");
        assert_eq!(event.data["source"], "one", "{event:?}");
    }
    assert_eq!(opened.data["adopted"], false);
    assert_eq!(opened.data["started"], on_the_wall(at(30)).rfc3339());
    assert_eq!(opened.data["client"], "198.51.100.1:5000");
    assert_eq!(
        (&orphaned.data["reason"], &orphaned.data["allocation"]),
        (&"overdue".into(), &"000000000000000007".into())
    );
    assert_eq!((&closed.data["relayed_bytes"], &closed.data["partial"]), (&2000.into(), &false.into()));
    assert_eq!(amended.data["relayed_bytes"], 3000);
    // A session is taken elsewhere as it is now, once.
    let sessions = ledger.sessions_after(0, 10).unwrap();
    assert_eq!(sessions.len(), 1);
    assert_eq!((sessions[0].serial, sessions[0].revision, sessions[0].relayed_bytes), (10, 4, 3000));
    assert_eq!(sessions[0].sums, [1500, 15, 1500, 15, 1500, 15, 1500, 15]);
    // What is taken again adds nothing, and what adds nothing is no event.
    ledger.take(times(101), &life()).unwrap();
    assert_eq!(ledger.last_event().unwrap(), 4);
}

#[test]
fn a_late_report_that_adds_nothing_is_no_event() {
    let place = Place::new("nothing");
    let mut ledger = with_sinks(&place);
    let mut outputs = life();
    let late = AllocationRecord { session: None, is_final: true, ..overdue(10, 10, 90) };
    outputs[4].1 = Output::Allocation(late);
    ledger.take(times(100), &outputs).unwrap();
    assert_eq!(numbers(&ledger.events_after(0, 10).unwrap()), [1, 2, 3]);
    assert_eq!(ledger.sessions_after(0, 10).unwrap()[0].revision, 3);
}

#[test]
fn without_web_hooks_sessions_have_revisions_and_notices_write_nothing() {
    let place = Place::new("no-hooks");
    let mut ledger = place.open();
    assert_eq!(ledger.take(times(10), &[(1, opened(10))]).unwrap(), 1);
    let read = |ledger: &SessionLedger| taking_last(ledger);
    assert_eq!(read(&ledger), 0, "nothing was written for it");
    ledger.take(times(100), &life()).unwrap();
    assert_eq!(read(&ledger), 5);
    assert_eq!(ledger.events_after(0, 10).unwrap(), []);
    assert_eq!(ledger.sessions_after(0, 10).unwrap()[0].revision, 2);
}

fn taking_last(ledger: &SessionLedger) -> u64 {
    super::super::taking::last_taken(&ledger.file.connection).unwrap()
}

#[test]
fn a_database_gets_the_history_and_a_web_hook_what_happens_from_now_on() {
    let place = Place::new("new-sinks");
    let mut ledger = place.open();
    ledger.take(times(100), &ended(1, [10, 20], 90)).unwrap();
    ledger.close().unwrap();
    let mut ledger = with_sinks(&place);
    assert_eq!((ledger.taken_by(DATABASE).unwrap(), ledger.taken_by(HOOK).unwrap()), (0, 2));
    assert_eq!(ledger.sessions_after(0, 10).unwrap().len(), 2);
    ledger.take(times(200), &ended(10, [30], 190)).unwrap();
    assert_eq!(numbers(&ledger.events_after(2, 10).unwrap()), [3]);
    // Where it was, it goes on.
    ledger.note_progress(HOOK, SinkProgress { taken: 3, delivered: 1, failed: 2, dropped: 0 }).unwrap();
    ledger.close().unwrap();
    let ledger = with_sinks(&place);
    assert_eq!(ledger.taken_by(HOOK).unwrap(), 3);
    let figures = ledger.sink_figures().unwrap();
    let [database, hook] = &figures[..] else { panic!("{figures:?}") };
    assert_eq!((database.pending, database.oldest), (3, Some(on_the_wall(at(90)))));
    assert_eq!((hook.pending, hook.oldest, hook.delivered, hook.failed), (0, None, 1, 2));
}

#[test]
fn events_leave_when_all_have_them_or_they_are_too_old_or_too_many() {
    let place = Place::new("trim");
    let mut ledger = with_sinks(&place);
    let notices = |first: u64, count: u64| (first..first + count).map(|number| (number, opened(number)));
    ledger.take(times(100), &notices(1, 10).collect::<Vec<_>>()).unwrap();
    let bounds = EventBounds { age: Duration::from_secs(1000), count: 8 };
    let wall = on_the_wall(at(100));
    let left = |ledger: &SessionLedger| numbers(&ledger.events_after(0, 100).unwrap());
    assert!(!ledger.trim_events(bounds, wall).unwrap());
    assert_eq!(left(&ledger), (3..=10).collect::<Vec<_>>(), "two were too many");
    ledger.note_progress(HOOK, SinkProgress { taken: 6, delivered: 4, ..SinkProgress::default() }).unwrap();
    ledger.trim_events(bounds, wall).unwrap();
    assert_eq!(left(&ledger), [7, 8, 9, 10]);
    // They began at 30.
    ledger.trim_events(bounds, on_the_wall(at(1030))).unwrap();
    assert_eq!(left(&ledger), [7, 8, 9, 10]);
    ledger.trim_events(bounds, on_the_wall(at(1031))).unwrap();
    assert_eq!(left(&ledger), [0; 0]);
    let hook = &ledger.sink_figures().unwrap()[1];
    assert_eq!((hook.taken, hook.delivered, hook.dropped, hook.pending), (10, 4, 6, 0));
    // Their numbers never come again.
    ledger.take(times(200), &[(11, opened(11))]).unwrap();
    assert_eq!(left(&ledger), [11]);
}

#[test]
fn sessions_that_leave_before_a_database_has_them_are_counted() {
    let place = Place::new("left");
    let mut ledger = with_sinks(&place);
    ledger.take(times(100), &ended(1, [10, 20, 30], 90)).unwrap();
    ledger.note_progress(DATABASE, SinkProgress { taken: 1, ..SinkProgress::default() }).unwrap();
    let horizon = on_the_wall(at(1000));
    assert!(!ledger.forget_before(horizon, horizon));
    let database = &ledger.sink_figures().unwrap()[0];
    assert_eq!((database.dropped, database.pending), (2, 0));
}

#[test]
fn sessions_that_are_closed_because_their_table_is_lost_are_told() {
    let place = Place::new("lost-table");
    let mut ledger = with_sinks(&place);
    ledger.take(times(100), &life()[..2]).unwrap();
    assert_eq!(ledger.sessions_after(0, 10).unwrap(), [], "it is open");
    ledger.close_open_rows(on_the_wall(at(120))).unwrap();
    let sessions = ledger.sessions_after(0, 10).unwrap();
    assert!(sessions[0].is_partial, "{sessions:?}");
    let events = ledger.events_after(1, 10).unwrap();
    assert_eq!((events[0].kind, events[0].number), (EventKind::SessionClosed, sessions[0].revision));
    ledger.close_open_rows(on_the_wall(at(130))).unwrap();
    assert_eq!(ledger.last_event().unwrap(), 2, "once");
}

#[test]
fn an_older_copy_goes_on_as_another() {
    let place = Place::new("older-copy");
    let mut ledger = with_sinks(&place);
    ledger.take(times(100), &ended(1, [10, 20], 90)).unwrap();
    ledger.close().unwrap();
    let mut ledger = with_sinks(&place);
    let store = ledger.store_id().unwrap();
    ledger.take(times(200), &ended(5, [30], 190)).unwrap();
    ledger.become_another(DATABASE).unwrap();
    let other = ledger.store_id().unwrap();
    assert_ne!(store, other);
    for id in [store, other] {
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
        assert_eq!((id.as_bytes()[14], id.as_bytes()[19]), (b'4', b'8'), "{id}");
        assert_eq!(id, id.to_lowercase());
    }
    let taken = ledger.taken_by(DATABASE).unwrap();
    let waiting = ledger.sessions_after(taken, 10).unwrap();
    assert_eq!(waiting.iter().map(|session| session.serial).collect::<Vec<_>>(), [30]);
    assert_eq!(ledger.copied_event().unwrap(), taken);

    // Once more, when the sink has taken that as well: it must not come a second time under the third identity.
    let newest = waiting[0].revision;
    ledger.note_progress(DATABASE, SinkProgress { taken: newest, ..SinkProgress::default() }).unwrap();
    ledger.become_another(DATABASE).unwrap();
    assert_eq!((ledger.copied_event().unwrap(), ledger.taken_by(DATABASE).unwrap()), (newest, newest));
}

/// Whoever was told of session 1000 must not be told of another 1000, though no row has it.
#[test]
fn numbers_that_others_were_told_of_are_not_used_again() {
    let place = Place::new("told");
    let mut ledger = with_sinks(&place);
    ledger.take(times(100), &[(1, opened(1000))]).unwrap();
    assert_eq!(ledger.highest_serial().unwrap(), 1000);
}

#[test]
fn sessions_of_a_ledger_without_revisions_have_them_afterwards() {
    let place = Place::new("revisions");
    let mut ledger = place.open();
    ledger.take(times(100), &ended(1, [10, 20], 90)).unwrap();
    ledger.close().unwrap();
    let before = Connection::open(place.file()).unwrap();
    before
        .execute_batch(
            "DROP TABLE identity; DROP TABLE event; DROP TABLE sink; DROP INDEX session_revision;
             ALTER TABLE session DROP COLUMN revision; PRAGMA user_version = 2",
        )
        .unwrap();
    before.close().unwrap();
    let ledger = with_sinks(&place);
    let sessions = ledger.sessions_after(0, 10).unwrap();
    assert_eq!(
        sessions.iter().map(|one| (one.serial, one.revision)).collect::<Vec<_>>(),
        [(10, 10), (20, 20)]
    );
    assert_eq!((ledger.last_event().unwrap(), ledger.taken_by(HOOK).unwrap()), (20, 20));
}
