//! Another process that goes on with a table, beside a twin that kept its process and lost and regained its links at the same
//! moments: after the next scan both show the same.

use super::super::{ClosedBy, ConnectionId, KeyCheck, ScanOutcome, Settings, StatusKeys};
use super::audit::audit;
use super::images::{read_back, shown};
use super::*;

const REDIS: SourceId = SOURCE;
const LISTENER: SourceId = SourceId(1);
const SOURCES: [&str; 2] = ["redis", "listener"];

/// When Redis was last received, when the process ends, when the next one begins, and when its links are there.
const RECEIVED: u64 = 290;
const END: u64 = 300;
const BEGIN: u64 = 340;
const BACK: u64 = 345;

fn settings() -> Settings {
    Settings { linger: secs(30), max_lifetime: secs(200), idle_after: secs(150), ..Settings::default() }
}

fn tell(table: &mut Table, second: u64, user: &'static str, id: u64, event: &Event<'_>) {
    table.apply(at(second), REDIS, &key("r", user, id), event);
}

fn open(table: &mut Table, second: u64) -> ConnectionId {
    table.connection_opened(at(second), LISTENER, [192, 0, 2, 9].into())
}

/// Allocations of both sources: live, ended, idle, with a session that lingers, and traffic that nobody has claimed.
fn begun() -> (Table, ConnectionId) {
    let mut table = Table::new(settings(), &SOURCES).with_key_secret([1, 2]);
    table.begin_store(1, 1);
    table.scan_begins(at(0), REDIS);
    scan_is_over(&mut table, 0);
    table.listens(at(0), LISTENER, &["full"], &["unknown"]);
    for (user, second) in [("alice", 1), ("bob", 10), ("carol", 20), ("dora", 60)] {
        tell(&mut table, second, user, second, &new(600));
        tell(&mut table, second + 30, user, second, &delta(Leg::Client, [10, 1000, 20, 2000]));
    }
    tell(&mut table, 280, "dora", 60, &Event::Deleted);
    tell(&mut table, 289, "erin", 7, &delta(Leg::Client, [1, 100, 1, 100]));
    let connection = open(&mut table, 5);
    for (id, second) in [(101, 70), (102, 80)] {
        table.apply_from(at(second), LISTENER, connection, &key("s", "frank", id), &new(600));
    }
    table.apply_from(
        at(288),
        LISTENER,
        connection,
        &key("s", "frank", 101),
        &delta(Leg::Peer, [1, 50, 1, 50]),
    );
    table.received_until(REDIS, at(RECEIVED));
    // The last moment of the process, and so of its journal.
    table.advance(at(END));
    (table, connection)
}

/// The process that comes next with this table.
fn next_process(table: &mut Table, _: ConnectionId) {
    table.restarted(at(BEGIN));
    assert_eq!(table.adopt_settings(at(BEGIN), settings(), &SOURCES), [REDIS, LISTENER]);
}

/// The same process loses its links: at the moment up to which each was taken in.
fn lost_links(table: &mut Table, connection: ConnectionId) {
    for source in [REDIS, LISTENER] {
        table.link_down(at(END), source);
    }
    table.connection_closed(at(END), connection, ClosedBy::Other);
}

fn scan_is_over(table: &mut Table, second: u64) {
    while let Some(from) = table.sweep(at(second), REDIS, 0).next {
        table.sweep(at(second), REDIS, from);
    }
    let keys = StatusKeys { live: 3, stale: 1 };
    table.scan_succeeded(REDIS, &ScanOutcome { keys, absent: 0, hides_db: false, duration: secs(1) });
    table.link_up(at(second), REDIS);
    table.redis_settings(REDIS, &[("timeout", true)]);
}

/// The links are there again, and a scan has found: what lives on, what was refreshed meanwhile, what was born meanwhile. One
/// key is gone.
fn links_are_back(table: &mut Table) {
    table.listens(at(BACK), LISTENER, &["full"], &["unknown"]);
    table.subscribed(at(BACK), REDIS);
    table.scan_begins(at(BACK), REDIS);
    for (user, id, event, idle) in [
        ("alice", 1, new(600), 344),
        ("bob", 10, refreshed(600), 25),
        ("gina", 8, new(600), 30),
        ("dora", 60, new(600), 66),
    ] {
        let (key, idle) = (key("r", user, id), Some(secs(idle)));
        if table.check_key(at(BACK), REDIS, &key, idle) == KeyCheck::Read {
            table.scanned(at(BACK), REDIS, &key, &event, idle);
        }
    }
    scan_is_over(table, BACK + 1);
    table.received_until(REDIS, Timestamp::MAX);
}

/// What comes then, and what becomes due.
fn goes_on(table: &mut Table, second: u64) {
    match second {
        350 => tell(table, 350, "alice", 1, &refreshed(600)),
        355 => {
            let again = open(table, 355);
            table.apply_from(at(355), LISTENER, again, &key("s", "frank", 102), &refreshed(600));
        }
        360 => tell(table, 360, "gina", 8, &delta(Leg::Peer, [5, 500, 5, 500])),
        400 => tell(table, 400, "alice", 1, &Event::Deleted),
        401 => tell(table, 400, "alice", 1, &total(Leg::Client, [30, 4000, 40, 5000])),
        _ => table.advance(at(second)),
    }
}

fn pages(mut table: Table, connection: ConnectionId, gap: impl Fn(&mut Table, ConnectionId)) -> Vec<String> {
    gap(&mut table, connection);
    links_are_back(&mut table);
    let mut pages = vec![shown(&table)];
    for second in (347..420).chain((420..4000).step_by(30)) {
        goes_on(&mut table, second);
        audit(&table).unwrap();
        pages.push(shown(&table));
    }
    pages
}

#[test]
fn another_process_goes_on_as_one_that_lost_its_links() {
    let (twin, connection) = begun();
    let expected = pages(twin, connection, lost_links);
    let (mut table, connection) = begun();
    let of_image = read_back(&mut table);
    for table in [table, of_image] {
        let pages = pages(table, connection, next_process);
        for (number, (page, expected)) in pages.iter().zip(&expected).enumerate() {
            let place = page.bytes().zip(expected.bytes()).take_while(|(one, other)| one == other).count();
            let near =
                |text: &str| text.bytes().skip(place.saturating_sub(100)).take(200).collect::<Vec<_>>();
            let near = [page, expected].map(|page| String::from_utf8_lossy(&near(page)).into_owned());
            assert!(page == expected, "page {number}, and that of the twin: {near:#?}");
        }
    }
    assert_eq!(expected[0].matches("gaps: 1,").count(), 2, "both sources had a gap: {}", expected[0]);
}

/// They ended as missed when it went, not by coturn's word: an older key proves nothing against them.
#[test]
fn a_source_that_comes_back_has_its_allocations_again() {
    let (mut table, _) = begun();
    table.restarted(at(BEGIN));
    table.adopt_settings(at(BEGIN), settings(), &["listener"]);
    table.restarted(at(400));
    table.adopt_settings(at(400), settings(), &SOURCES);
    table.scan_begins(at(401), REDIS);
    assert_eq!(table.check_key(at(401), REDIS, &key("r", "alice", 1), Some(secs(200))), KeyCheck::Read);
}

/// What was counted of them is remembered for a day only.
#[test]
fn of_a_source_that_comes_back_after_days_nothing_is_counted_twice() {
    const LATER: u64 = BEGIN + 3 * 24 * 3600;
    let (mut table, _) = begun();
    let relayed = |table: &mut Table| {
        let snapshot = table.snapshot();
        let realm = snapshot.realms.iter().find(|realm| &*realm.label == "r").unwrap();
        (realm.series.relayed.client.received.bytes, realm.series.unseen.client.received.bytes)
    };
    let before = relayed(&mut table);
    table.restarted(at(BEGIN));
    table.adopt_settings(at(BEGIN), settings(), &["listener"]);
    table.restarted(at(LATER));
    table.adopt_settings(at(LATER), settings(), &SOURCES);
    table.scan_begins(at(LATER + 1), REDIS);
    scan_is_over(&mut table, LATER + 1);
    tell(&mut table, LATER + 2, "alice", 1, &refreshed(600));
    tell(&mut table, LATER + 3, "alice", 1, &Event::Deleted);
    tell(&mut table, LATER + 3, "alice", 1, &total(Leg::Client, [15, 1500, 25, 2500]));
    tell(&mut table, LATER + 3, "alice", 1, &total(Leg::Peer, [15, 1500, 25, 2500]));
    assert_eq!(relayed(&mut table), (before.0, before.1 + 1500), "1000 of them were counted before it went");
}
