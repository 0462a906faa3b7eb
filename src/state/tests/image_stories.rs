//! What a table remembers without showing it: each story turns on one memory, and goes on from an image as it would have
//! gone on without one.

use std::net::IpAddr;

use super::super::{
    Cause, ClosedBy, Discovery, EndedConnections, KeyCheck, Orphan, ProcessVerdict, Scanned, Settings,
};
use super::audit::audit;
use super::connections::{close, open};
use super::images::{image_of, read_back, shown};
use super::*;

const OTHER_LOCAL: &str = "192.0.2.2:3478";

/// Goes on with the table and with one of its image. What comes of it is `expected`, and is something else without the memory.
fn goes_on<T: PartialEq + std::fmt::Debug>(mut live: Table, expected: &T, next: impl Fn(&mut Table) -> T) {
    let mut of_image = read_back(&mut live);
    assert_eq!(&next(&mut live), expected, "the story has another end");
    assert_eq!(&next(&mut of_image), expected, "the table of the image goes on otherwise");
    assert_eq!(shown(&live), shown(&of_image));
    assert_eq!(image_of(&mut live), image_of(&mut of_image));
    audit(&of_image).unwrap();
}

fn begun(settings: Settings) -> Table {
    let mut table = Table::new(settings, &["test"]);
    table.begin_store(1, 1);
    table.link_up(Timestamp::ZERO, SOURCE);
    table
}

fn tell(table: &mut Table, second: u64, user: &'static str, id: u64, event: &Event<'_>) {
    table.apply(at(second), SOURCE, &key("r", user, id), event);
}

fn look(table: &mut Table, second: u64, user: &'static str, id: u64, idle: u64) -> KeyCheck {
    table.check_key(at(second), SOURCE, &key("r", user, id), Some(secs(idle)))
}

fn live(table: &Table) -> u64 {
    table.snapshot().sources[0].live
}

fn closed(table: &Table, cause: Cause) -> u64 {
    table.snapshot().realms[0].series.closed.get(cause as usize)
}

#[test]
fn a_left_over_key_that_we_read() {
    let mut table = Table::new(Settings::default(), &["test"]);
    table.scan_begins(at(10_000), SOURCE);
    assert_eq!(look(&mut table, 10_000, "alice", 1, 1000), KeyCheck::Read);
    let read = table.scanned(at(10_000), SOURCE, &key("r", "alice", 1), &new(600), Some(secs(1000)));
    assert_eq!(read, Scanned::Stale);
    table.scan_failed(SOURCE);
    table.link_up(at(10_000), SOURCE);
    goes_on(table, &KeyCheck::Stale, |table| {
        table.link_down(at(10_001), SOURCE);
        table.scan_begins(at(10_100), SOURCE);
        // Reading has made it look young.
        look(table, 10_100, "alice", 1, 100)
    });
}

/// What a scan has found, and what ended while it goes on.
#[test]
fn a_scan_after_a_gap() {
    let mut table = begun(Settings::default());
    for (user, second) in [("alice", 0), ("bob", 10), ("carol", 20)] {
        tell(&mut table, second, user, second + 1, &new(600));
    }
    table.link_down(at(100), SOURCE);
    table.scan_begins(at(200), SOURCE);
    assert_eq!(look(&mut table, 200, "alice", 1, 200), KeyCheck::Known);
    tell(&mut table, 201, "carol", 21, &Event::Deleted);
    table.advance(at(230));
    let expected = (KeyCheck::Again, KeyCheck::Known, KeyCheck::Read, KeyCheck::Stale, 1);
    goes_on(table, &expected, |table| {
        let again = look(table, 230, "alice", 1, 230);
        let ended = look(table, 230, "carol", 21, 130);
        let (in_gap, before) = (look(table, 230, "dora", 9, 130), look(table, 230, "erin", 8, 140));
        // The key of alice is there and older, so that of bob was not wiped.
        table.sweep(at(231), SOURCE, 0);
        (again, ended, in_gap, before, closed(table, Cause::Missed))
    });
}

/// When the process of Redis began, for a scan that goes on and for one that is tried again.
#[test]
fn a_redis_that_began_in_a_gap() {
    for is_tried_again in [false, true] {
        let mut table = begun(Settings::default());
        tell(&mut table, 1, "alice", 1, &new(60));
        table.advance(at(900));
        table.link_down(at(950), SOURCE);
        table.scan_begins(at(1050), SOURCE);
        table.scan_of(at(1050), SOURCE, "b 1", Some(secs(80)));
        if is_tried_again {
            table.scan_failed(SOURCE);
        }
        goes_on(table, &(KeyCheck::Stale, KeyCheck::Stale), |table| {
            if is_tried_again {
                table.scan_begins(at(1060), SOURCE);
                table.scan_of(at(1060), SOURCE, "b 1", Some(secs(90)));
            }
            (look(table, 1060, "alice", 1, 90), look(table, 1060, "dora", 9, 90))
        });
    }
}

#[test]
fn a_scan_that_may_miss_keys() {
    let mut table = begun(Settings::default());
    for (user, second) in [("alice", 0), ("bob", 10)] {
        tell(&mut table, second, user, second + 1, &new(600));
    }
    table.link_down(at(100), SOURCE);
    table.scan_begins(at(200), SOURCE);
    table.scan_may_miss_keys(SOURCE);
    assert_eq!(look(&mut table, 200, "alice", 1, 200), KeyCheck::Known);
    goes_on(table, &(0, 2), |table| {
        table.sweep(at(201), SOURCE, 0);
        (closed(table, Cause::Missed), live(table))
    });
}

/// When the link was lost, and how far it had been received.
#[test]
fn a_gap_that_goes_on() {
    let mut table = begun(Settings::default());
    tell(&mut table, 0, "alice", 1, &new(600));
    table.received_until(SOURCE, at(90));
    table.link_down(at(100), SOURCE);
    goes_on(table, &(KeyCheck::Stale, KeyCheck::Read, 1, 0), |table| {
        table.scan_begins(at(1000), SOURCE);
        // Set two seconds before the end of what was received, and a second later.
        let set = (look(table, 1000, "bob", 2, 913), look(table, 1000, "carol", 3, 912));
        table.scan_failed(SOURCE);
        table.link_up(at(1000), SOURCE);
        table.received_until(SOURCE, Timestamp::MAX);
        let until = live(table);
        table.advance(at(3000));
        (set.0, set.1, until, live(table))
    });
}

#[test]
fn an_address_whose_closed_connections_say_nothing() {
    let mut table = begun(Settings::default());
    let one = open(&mut table, 1);
    table.apply_from(at(1), SOURCE, one, &key("r", "alice", 1), &new(600));
    close(&mut table, 20, one);
    let again = open(&mut table, 30);
    table.apply_from(at(30), SOURCE, again, &key("r", "alice", 1), &refreshed(600));
    let cut = table.take_discoveries();
    assert!(matches!(cut[..], [.., Discovery::ConnectionsCut { .. }]), "{cut:?}");
    goes_on(table, &1, |table| {
        close(table, 40, again);
        live(table)
    });
}

/// Connections that have closed and are not judged yet; one that is open, has been quiet, and what it reports.
#[test]
fn connections_open_and_closed() {
    let mut table = begun(Settings::default());
    let [one, silent, other] = [1, 2, 3].map(|second| open(&mut table, second));
    table.apply_from(at(4), SOURCE, one, &key("r", "alice", 1), &new(600));
    let born_elsewhere = Event::New(grant(600, OTHER_LOCAL, REMOTE));
    table.apply_from(at(5), SOURCE, other, &key("r", "bob", 2), &born_elsewhere);
    // They were idle for different times, and closed at once: a death, but for the one at another server.
    table.connection_active(at(30), one);
    for connection in [one, silent] {
        table.connection_closed(at(40), connection, ClosedBy::Peer);
    }
    goes_on(table, &(1, 1, 2, 0), |table| {
        let mut ended = EndedConnections::default();
        ended.insert(one, table.judge_closed(at(41), one));
        table.end_reported_by(at(41), &ended, 0);
        let first = (live(table), closed(table, Cause::Abandoned));
        // A key of two open connections is two servers'.
        let third = table.connection_opened(at(42), SOURCE, IpAddr::from([192, 0, 2, 77]));
        table.apply_from(at(43), SOURCE, third, &key("r", "bob", 2), &new(600));
        let both = live(table);
        close(table, 50, other);
        close(table, 60, third);
        (first.0, first.1, both, live(table))
    });
}

#[test]
fn a_connection_that_said_what_a_process_says_that_starts() {
    let mut table = begun(Settings::default());
    let one = open(&mut table, 1);
    table.apply_from(at(1), SOURCE, one, &key("r", "alice", 1), &new(600));
    let starting = open(&mut table, 31);
    table.process_started(at(31), starting);
    table.connection_closed(at(31), one, ClosedBy::Peer);
    goes_on(table, &ProcessVerdict::Restarted, |table| table.judge_closed(at(32), one));
}

#[test]
fn an_interrupted_connection() {
    let mut table = begun(Settings::default());
    let lost = open(&mut table, 1);
    table.apply_from(at(1), SOURCE, lost, &key("r", "alice", 1), &new(600));
    table.connection_closed(at(300), lost, ClosedBy::Other);
    table.connection_interrupted(at(300), SOURCE, lost);
    goes_on(table, &(1, 0, 1), |table| {
        table.advance(at(989));
        let before = live(table);
        table.advance(at(992));
        (before, live(table), closed(table, Cause::Missed))
    });
}

/// A key of two servers at once: whose its totals are, nobody knows.
#[test]
fn a_shared_key() {
    let mut table = begun(Settings::default());
    tell(&mut table, 0, "alice", 1, &new(600));
    tell(&mut table, 1, "alice", 1, &Event::New(grant(600, OTHER_LOCAL, REMOTE)));
    tell(&mut table, 2, "alice", 1, &delta(Leg::Client, [1, 10, 1, 10]));
    tell(&mut table, 3, "alice", 1, &Event::Deleted);
    goes_on(table, &10, |table| {
        tell(table, 3, "alice", 1, &total(Leg::Client, [100, 1000, 100, 1000]));
        table.snapshot().realms[0].series.relayed.client.received.bytes
    });
}

#[test]
fn a_refused_key() {
    let mut table = begun(Settings { max_allocations: 1, ..Settings::default() });
    tell(&mut table, 0, "alice", 1, &new(600));
    tell(&mut table, 1, "bob", 2, &new(600));
    goes_on(table, &(1, 2), |table| {
        let refused = |table: &mut Table, id| {
            tell(table, 2, "bob", id, &new(600));
            table.snapshot().refused
        };
        (refused(table, 2), refused(table, 3))
    });
}

#[test]
fn traffic_that_nobody_has_claimed_yet() {
    let mut table = begun(Settings::default());
    for (user, id) in [("alice", 1), ("bob", 2)] {
        tell(&mut table, 1, user, id, &delta(Leg::Client, [1, 100, 1, 10]));
    }
    goes_on(table, &(100, 0, 100), |table| {
        tell(table, 2, "alice", 1, &new(600));
        let unclaimed = |table: &Table| table.snapshot().unallocated.received.bytes;
        let (claimed, before) =
            (table.snapshot().realms[0].series.relayed.client.received.bytes, unclaimed(table));
        table.advance(at(12));
        (claimed, before, unclaimed(table))
    });
}

#[test]
fn a_session_that_lingers() {
    for (second, opened, open) in [(39, 1, 1), (40, 2, 1)] {
        let mut table = begun(Settings { linger: secs(30), ..Settings::default() });
        tell(&mut table, 0, "alice", 1, &new(600));
        tell(&mut table, 10, "alice", 1, &Event::Deleted);
        table.advance(at(30));
        goes_on(table, &(opened, open, 0), |table| {
            tell(table, second, "alice", 2, &new(600));
            let series = table.snapshot().realms[0].series.clone();
            tell(table, 50, "alice", 2, &Event::Deleted);
            table.advance(at(81));
            (series.sessions_opened, series.sessions, table.snapshot().realms[0].series.sessions)
        });
    }
}

/// The last ids of a process; and that two processes have used them at one address.
#[test]
fn ids_that_prove_a_restart_and_a_rule_that_rests() {
    let births = |table: &mut Table| {
        tell(table, 700, "carol", 2, &new(600));
        tell(table, 900, "dave", 50, &new(600));
        closed(table, Cause::Replaced)
    };
    let mut table = begun(Settings::default());
    tell(&mut table, 1, "alice", 100, &new(600));
    tell(&mut table, 400, "alice", 100, &refreshed(600));
    goes_on(table, &1, births);

    // Births that may be the new process' already.
    let mut table = begun(Settings::default());
    for (second, id) in [(1, 1), (1, 3), (10, 2)] {
        tell(&mut table, second, "alice", id, &new(600));
    }
    goes_on(table, &2, |table| {
        tell(table, 20, "bob", 3, &new(600));
        closed(table, Cause::Replaced)
    });

    let mut table = begun(Settings::default());
    tell(&mut table, 1, "alice", 100, &new(600));
    tell(&mut table, 400, "alice", 100, &refreshed(600));
    tell(&mut table, 500, "bob", 3, &new(600));
    // One of the dead speaks.
    tell(&mut table, 510, "alice", 100, &refreshed(600));
    goes_on(table, &1, births);
}

/// A gathering is held together by its client and the moment of its birth.
#[test]
fn a_gathering_that_may_grow() {
    let mut table = begun(Settings { idle_after: secs(100), max_lifetime: secs(60), ..Settings::default() });
    tell(&mut table, 0, "alice", 1, &new(3600));
    tell(&mut table, 1, "alice", 1, &delta(Leg::Peer, [1, 1, 1, 1]));
    goes_on(table, &(0, 2), |table| {
        tell(table, 8, "alice", 2, &new(3600));
        // The one that relays covers the spare.
        let idle = |table: &Table| table.snapshot().realms[0].series.orphans.get(Orphan::Idle as usize);
        for second in [70, 140] {
            tell(table, second, "alice", 1, &delta(Leg::Peer, [1, 1, 1, 1]));
            tell(table, second, "alice", 2, &refreshed(3600));
        }
        let covered = idle(table);
        tell(table, 141, "alice", 1, &refreshed(3600));
        table.advance(at(600));
        (covered, idle(table))
    });
}

/// What is beyond the limits counts once each, and what has ended waits for the ledger.
#[test]
fn servers_that_were_folded_and_what_the_ledger_has_not_confirmed() {
    let mut table = begun(Settings { max_servers: 1, ..Settings::default() });
    let of_server = |local| Event::New(grant(600, local, REMOTE));
    tell(&mut table, 1, "alice", 1, &of_server(LOCAL));
    tell(&mut table, 2, "bob", 2, &of_server(OTHER_LOCAL));
    tell(&mut table, 3, "alice", 1, &Event::Deleted);
    table.advance(at(20));
    let last = table.last_output();
    assert!(last > 0 && table.snapshot().folded_servers == 1);
    goes_on(table, &(1, 2, last + 4, 4), |table| {
        tell(table, 30, "carol", 3, &of_server(OTHER_LOCAL));
        let known = table.snapshot().folded_servers;
        tell(table, 31, "dora", 4, &of_server("192.0.2.3:3478"));
        tell(table, 32, "bob", 2, &Event::Deleted);
        table.advance(at(60));
        table.ledger_written(at(61), last);
        (known, table.snapshot().folded_servers, table.last_output(), table.outputs(0, usize::MAX).len())
    });
}

/// Bytes that totals of an allocation revealed: those that were lost since it began, and those of unknown age.
fn revealed(table: &mut Table, second: u64, user: &'static str) -> [u64; 2] {
    let before = table.snapshot().realms[0].series.clone();
    tell(table, second, user, 9, &refreshed(600));
    tell(table, second + 10, user, 9, &Event::Deleted);
    tell(table, second + 10, user, 9, &total(Leg::Client, [9, 900, 9, 900]));
    let series = table.snapshot().realms[0].series.clone();
    [
        series.recovered.client.received.bytes - before.recovered.client.received.bytes,
        series.unseen.client.received.bytes - before.unseen.client.received.bytes,
    ]
}

/// It may live, and something of it was counted before: its totals prove nothing, while those of a key never met do.
#[test]
fn a_key_whose_record_went_without_word_of_its_end() {
    let mut table = begun(Settings::default());
    tell(&mut table, 0, "alice", 9, &new(600));
    table.advance(at(100_000));
    assert_eq!(table.records.len(), 0);
    goes_on(table, &([0, 900], [900, 0]), |table| {
        (revealed(table, 100_001, "alice"), revealed(table, 100_101, "bob"))
    });
}

/// A source was watched for longer than an allocation is silent, before the gap that goes on.
#[test]
fn that_a_source_was_watched_for_long() {
    for (lost_at, expected) in [(100, [0, 900]), (100_000, [900, 0])] {
        let mut table = begun(Settings::default());
        tell(&mut table, 0, "alice", 1, &new(600));
        table.link_down(at(lost_at), SOURCE);
        goes_on(table, &expected, |table| {
            table.link_up(at(lost_at + 10), SOURCE);
            revealed(table, lost_at + 11, "bob")
        });
    }
}
