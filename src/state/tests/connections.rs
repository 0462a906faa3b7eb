//! Connections of coturn's own: whose allocations are whose, and what ends with a connection.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::state::Phase;
use crate::state::tests::audit::audit;
use crate::state::{
    Anomaly, Applied, Cause, ClosedBy, ConnectionId, Discovery, EndedConnections, ProcessVerdict, Settings,
};

const LIFETIME: u32 = 600;

fn say(table: &mut Table, second: u64, connection: ConnectionId, id: u64, event: &Event<'_>) -> Applied {
    let applied = table.apply_from(at(second), SOURCE, connection, &key("r", "alice", id), event);
    audit(table).unwrap();
    applied
}

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

pub(super) fn open(table: &mut Table, second: u64) -> ConnectionId {
    let now = at(second);
    table.connection_opened(now, SOURCE, HOST)
}

/// The other end closes connections, at once, and they are judged in time. Gives the verdict on the first.
fn closed_by_peer(table: &mut Table, second: u64, connections: &[ConnectionId]) -> ProcessVerdict {
    for &connection in connections {
        table.connection_closed(at(second), connection, ClosedBy::Peer);
    }
    judge(table, second + 1, connections)
}

fn judge(table: &mut Table, second: u64, connections: &[ConnectionId]) -> ProcessVerdict {
    let verdicts: Vec<ProcessVerdict> =
        connections.iter().map(|&one| table.judge_closed(at(second), one)).collect();
    let mut ended = EndedConnections::default();
    for (&connection, &verdict) in connections.iter().zip(&verdicts) {
        ended.insert(connection, verdict);
    }
    let mut from = (!ended.is_empty()).then_some(0);
    while let Some(place) = from {
        from = table.end_reported_by(at(second), &ended, place);
    }
    audit(table).unwrap();
    verdicts[0]
}

/// Its process dies: bytes came over its connection a moment before, as no device cuts one.
pub(super) fn close(table: &mut Table, second: u64, connection: ConnectionId) {
    table.connection_active(at(second), connection);
    closed_by_peer(table, second, &[connection]);
}

fn live(table: &Table) -> u64 {
    table.snapshot().sources[0].live
}

fn closed(table: &Table, cause: Cause) -> u64 {
    table.snapshot().realms[0].series.closed.get(cause as usize)
}

fn relayed(table: &Table) -> u64 {
    table.snapshot().realms[0].series.relayed.peer.received.bytes
}

/// A status of the server at this address.
fn born_at(local: &'static str) -> Event<'static> {
    Event::New(grant(LIFETIME, local, REMOTE))
}

const OTHER_LOCAL: &str = "192.0.2.2:3478";

#[test]
fn a_process_that_ends_takes_its_own_allocations_along_and_no_others() {
    let mut table = table(Settings::default());
    let (one, two) = (open(&mut table, 1), open(&mut table, 1));
    say(&mut table, 1, one, 1, &new(LIFETIME));
    say(&mut table, 1, one, 2, &new(LIFETIME));
    say(&mut table, 1, two, 3, &born_at(OTHER_LOCAL));
    say(&mut table, 2, one, 2, &refreshed(0));
    close(&mut table, 10, one);
    assert_eq!((live(&table), closed(&table, Cause::Abandoned), closed(&table, Cause::Released)), (1, 1, 1));
    let realm = table.snapshot().realms[0].series.clone();
    assert_eq!((realm.orphans.get(0), realm.orphans.get(1)), (0, 0), "nobody holds them");
    let gone = Discovery::ProcessEnded { source: SOURCE, peer: HOST, restarted: false, allocations: 2 };
    assert_eq!(table.take_discoveries(), [gone]);
}

#[test]
fn equal_keys_on_two_open_connections_are_two_allocations() {
    let mut table = table(Settings::default());
    let (one, two) = (open(&mut table, 1), open(&mut table, 1));
    assert_eq!(say(&mut table, 1, one, 1, &born_at(LOCAL)), Applied::Opened);
    assert_eq!(say(&mut table, 2, two, 1, &born_at(OTHER_LOCAL)), Applied::Opened);
    for (connection, bytes) in [(one, 100), (two, 7)] {
        say(&mut table, 3, connection, 1, &delta(Leg::Peer, [1, bytes, 1, bytes]));
        say(&mut table, 4, connection, 1, &Event::Deleted);
        say(&mut table, 4, connection, 1, &total(Leg::Client, [0, 0, 0, 0]));
        say(&mut table, 4, connection, 1, &total(Leg::Peer, [1, bytes, 1, bytes]));
    }
    assert_eq!((live(&table), relayed(&table)), (0, 107));
    assert_eq!(closed(&table, Cause::Disconnected), 2);
    assert_eq!(table.snapshot().anomalies.get(0), 0);
}

#[test]
fn a_dead_server_shares_no_key_with_one_that_lives() {
    let mut table = table(Settings::default());
    let (dead, other) = (open(&mut table, 1), open(&mut table, 1));
    let at_server = |local| grant(LIFETIME, local, "198.51.100.7:40001");
    say(&mut table, 1, dead, 1, &Event::New(at_server("192.0.2.1:3478")));
    say(&mut table, 1, other, 1, &Event::New(at_server("192.0.2.2:3478")));
    close(&mut table, 10, dead);
    for status in [Event::Refreshed(at_server("192.0.2.2:3478")), Event::Deleted] {
        say(&mut table, 20, other, 1, &status);
    }
    assert_eq!(table.snapshot().anomalies.get(Anomaly::SharedKey as usize), 0);
}

#[test]
fn what_is_reported_later_revives_it() {
    for event in [refreshed(LIFETIME), delta(Leg::Peer, [1, 50, 1, 50])] {
        let mut table = table(Settings::default());
        let one = open(&mut table, 1);
        say(&mut table, 1, one, 1, &new(LIFETIME));
        say(&mut table, 2, one, 1, &delta(Leg::Peer, [1, 100, 1, 100]));
        close(&mut table, 3, one);
        assert_eq!((live(&table), closed(&table, Cause::Abandoned)), (0, 1));
        // The same thread, which had to connect again.
        let again = open(&mut table, 1);
        assert_eq!(say(&mut table, 4, again, 1, &event), Applied::Adopted);
        assert_eq!(live(&table), 1);
        // It is the new connection's now.
        close(&mut table, 5, one);
        assert_eq!(live(&table), 1);
        say(&mut table, 6, again, 1, &Event::Deleted);
        let sum = relayed(&table);
        say(&mut table, 6, again, 1, &total(Leg::Peer, [9, sum + 1, 9, sum + 1]));
        assert_eq!(relayed(&table), sum + 1, "its sums were kept, and its totals settle them");
        assert_eq!((live(&table), closed(&table, Cause::Disconnected)), (0, 1));
    }
}

/// A session without an allocation that has the id of a dead one: a refused login of the server's next life, say.
#[test]
fn client_traffic_alone_revives_nobody() {
    let mut table = table(Settings::default());
    let one = open(&mut table, 1);
    say(&mut table, 1, one, 1, &new(LIFETIME));
    close(&mut table, 2, one);
    let next = open(&mut table, 1);
    say(&mut table, 3, next, 1, &delta(Leg::Client, [3, 300, 3, 300]));
    say(&mut table, 3, next, 1, &delta(Leg::Peer, [0, 0, 0, 0]));
    let adopted = table.snapshot().realms[0].series.adopted;
    assert_eq!((live(&table), adopted, closed(&table, Cause::Abandoned)), (0, 0, 1));
    table.advance(at(14));
    assert_eq!(
        table.snapshot().realms[0].series.relayed.client,
        Traffic::ZERO,
        "the dead one relayed nothing"
    );
    assert_eq!(table.snapshot().unallocated.received.bytes, 300);
}

#[test]
fn an_end_that_comes_over_another_connection_settles_without_a_second_close() {
    let mut table = table(Settings::default());
    let one = open(&mut table, 1);
    say(&mut table, 1, one, 1, &new(LIFETIME));
    close(&mut table, 2, one);
    let again = open(&mut table, 1);
    say(&mut table, 3, again, 1, &Event::Deleted);
    say(&mut table, 3, again, 1, &total(Leg::Peer, [1, 50, 1, 50]));
    assert_eq!((relayed(&table), closed(&table, Cause::Abandoned)), (50, 1));
    assert_eq!(closed(&table, Cause::Disconnected), 0);
}

#[test]
fn a_server_that_starts_again_reuses_ids_of_dead_allocations_only() {
    let mut table = table(Settings::default());
    let (one, two) = (open(&mut table, 1), open(&mut table, 1));
    say(&mut table, 1, one, 1, &new(LIFETIME));
    say(&mut table, 1, two, 1, &born_at(OTHER_LOCAL));
    close(&mut table, 2, one);
    let again = open(&mut table, 1);
    assert_eq!(say(&mut table, 3, again, 1, &new(LIFETIME)), Applied::Opened);
    assert_eq!((live(&table), closed(&table, Cause::Replaced)), (2, 0));
    close(&mut table, 4, two);
    assert_eq!(live(&table), 1);
}

#[test]
fn a_connection_lost_otherwise_ends_nothing() {
    let mut table = table(Settings::default());
    let one = open(&mut table, 1);
    say(&mut table, 1, one, 1, &new(LIFETIME));
    table.connection_closed(at(1), one, ClosedBy::Other);
    let again = open(&mut table, 1);
    assert_eq!(say(&mut table, 2, again, 1, &refreshed(LIFETIME)), Applied::Updated);
    close(&mut table, 3, one);
    assert_eq!(live(&table), 1);
    close(&mut table, 3, again);
    assert_eq!(live(&table), 0);
}

#[test]
fn thousands_are_ended_in_slices() {
    let mut table = table(Settings::default());
    let (one, two) = (open(&mut table, 1), open(&mut table, 1));
    for id in 0..20_000 {
        let (connection, event) =
            if id % 2 == 0 { (one, born_at(LOCAL)) } else { (two, born_at(OTHER_LOCAL)) };
        table.apply_from(at(1), SOURCE, connection, &key("r", "alice", id), &event);
    }
    close(&mut table, 2, one);
    assert_eq!((live(&table), closed(&table, Cause::Abandoned)), (10_000, 10_000));
}

/// A connection that reported an allocation, and one of a thread that reports none, both idle since `second`.
fn idle_pair(table: &mut Table, second: u64) -> (ConnectionId, ConnectionId) {
    let (relay, silent) = (open(table, second), open(table, second));
    say(table, second, relay, second, &new(LIFETIME));
    table.connection_active(at(second), relay);
    (relay, silent)
}

#[test]
fn connections_cut_when_they_were_idle_for_equally_long_end_nothing() {
    let mut table = table(Settings::default());
    let (relay, silent) = idle_pair(&mut table, 1);
    assert_eq!(closed_by_peer(&mut table, 31, &[relay, silent]), ProcessVerdict::Lives);
    // It connects again with its next event, and is cut again, each time after as long.
    for second in [100, 170, 240] {
        let again = open(&mut table, second);
        assert_eq!(say(&mut table, second, again, 1, &refreshed(LIFETIME)), Applied::Updated);
        table.connection_active(at(second), again);
        assert_eq!(closed_by_peer(&mut table, second + 30, &[again]), ProcessVerdict::Lives);
    }
    let realm = table.snapshot().realms[0].series.clone();
    assert_eq!((live(&table), realm.closed.total(), realm.adopted), (1, 0, 0));
}

#[test]
fn connections_that_close_at_once_after_different_idle_times_are_a_death() {
    let mut table = table(Settings::default());
    let (relay, silent) = idle_pair(&mut table, 1);
    table.connection_active(at(20), relay);
    assert_eq!(closed_by_peer(&mut table, 31, &[relay, silent]), ProcessVerdict::Died);
    assert_eq!((live(&table), closed(&table, Cause::Abandoned)), (0, 1));
}

#[test]
fn a_process_that_connects_again_or_has_another_connection_lives() {
    // Again, within the second.
    let mut first = table(Settings::default());
    let (relay, silent) = idle_pair(&mut first, 1);
    first.connection_active(at(20), relay);
    for connection in [relay, silent] {
        first.connection_closed(at(31), connection, ClosedBy::Peer);
    }
    let again = first.connection_opened(Timestamp::from_millis(31_200), SOURCE, HOST);
    assert_eq!(judge(&mut first, 32, &[relay]), ProcessVerdict::Lives);
    // A probe that comes and goes proves nothing.
    first.connection_closed(at(32), again, ClosedBy::Peer);
    assert_eq!(judge(&mut first, 32, &[relay]), ProcessVerdict::Died);

    // Another thread of it reports the same server.
    let mut second = table(Settings::default());
    let (relay, silent) = idle_pair(&mut second, 1);
    let thread = open(&mut second, 1);
    say(&mut second, 2, thread, 9, &new(LIFETIME));
    second.connection_active(at(20), relay);
    assert_eq!(closed_by_peer(&mut second, 31, &[relay, silent]), ProcessVerdict::Lives);

    // The threads that report nothing did not close.
    let mut third = table(Settings::default());
    let (relay, _silent) = idle_pair(&mut third, 1);
    third.connection_active(at(31), relay);
    assert_eq!(closed_by_peer(&mut third, 31, &[relay]), ProcessVerdict::Lives);
    assert_eq!(live(&third), 1);
}

/// What a coturn before 4.6 reports does not say which server it is: another connection of the host may be its own.
#[test]
fn without_the_name_of_the_server_another_connection_that_reports_is_its_own() {
    let mut table = table(Settings::default());
    let (one, two) = (open(&mut table, 1), open(&mut table, 1));
    let short = Event::New(Grant { lifetime: LIFETIME, path: None });
    say(&mut table, 1, one, 1, &short);
    say(&mut table, 1, two, 2, &short);
    table.connection_active(at(31), one);
    assert_eq!(closed_by_peer(&mut table, 31, &[one]), ProcessVerdict::Lives);
    for connection in [one, two] {
        table.connection_active(at(40), connection);
    }
    assert_eq!(closed_by_peer(&mut table, 40, &[two]), ProcessVerdict::Died);
}

#[test]
fn a_new_process_at_the_address_is_a_restart() {
    let mut table = table(Settings::default());
    let (relay, silent) = idle_pair(&mut table, 1);
    for connection in [relay, silent] {
        table.connection_closed(at(31), connection, ClosedBy::Peer);
    }
    let cleaning = table.connection_opened(Timestamp::from_millis(31_200), SOURCE, HOST);
    table.process_started(Timestamp::from_millis(31_300), cleaning);
    table.connection_closed(Timestamp::from_millis(31_400), cleaning, ClosedBy::Peer);
    assert_eq!(judge(&mut table, 32, &[relay]), ProcessVerdict::Restarted);
    assert_eq!((live(&table), closed(&table, Cause::Replaced)), (0, 1));
    let found = Discovery::ProcessEnded { source: SOURCE, peer: HOST, restarted: true, allocations: 1 };
    assert_eq!(table.take_discoveries(), [found]);
}

#[test]
fn a_link_that_closes_connections_of_the_living_is_not_believed_for_a_day() {
    let mut table = table(Settings::default());
    let one = open(&mut table, 1);
    say(&mut table, 1, one, 1, &new(LIFETIME));
    close(&mut table, 20, one);
    assert_eq!((live(&table), closed(&table, Cause::Abandoned)), (0, 1));
    table.take_discoveries();
    let again = open(&mut table, 30);
    assert_eq!(say(&mut table, 30, again, 1, &refreshed(LIFETIME)), Applied::Adopted);
    assert_eq!(table.take_discoveries(), [Discovery::ConnectionsCut { source: SOURCE, peer: HOST }]);
    close(&mut table, 40, again);
    assert_eq!(live(&table), 1);
    let other_host = table.connection_opened(at(41), SOURCE, IpAddr::V4(Ipv4Addr::LOCALHOST));
    say(&mut table, 41, other_host, 2, &born_at(OTHER_LOCAL));
    close(&mut table, 42, other_host);
    assert_eq!(live(&table), 1, "another host is judged as before");
    let next_day = open(&mut table, 90_000);
    say(&mut table, 90_000, next_day, 3, &new(LIFETIME));
    close(&mut table, 90_001, next_day);
    assert_eq!(live(&table), 0);
}

#[test]
fn what_ended_with_its_process_has_a_state_of_its_own() {
    let mut table = table(Settings::default());
    let one = open(&mut table, 1);
    say(&mut table, 1, one, 1, &new(LIFETIME));
    say(&mut table, 20, one, 1, &delta(Leg::Client, [1, 100, 1, 100]));
    close(&mut table, 30, one);
    let rows = super::details::allocations(&table, super::details::wanted());
    assert_eq!((rows[0].state, rows[0].reason, rows[0].age), (Phase::Gone, None, secs(19)));
}

/// Whoever may connect can end connections in garbage: what others report is judged as if there were none.
#[test]
fn an_interrupted_connection_is_a_gap_of_what_it_reported_and_of_nothing_else() {
    let mut table = table(Settings::default());
    let (lost, other) = (open(&mut table, 1), open(&mut table, 1));
    say(&mut table, 1, lost, 1, &new(LIFETIME));
    say(&mut table, 1, other, 2, &born_at(OTHER_LOCAL));
    table.connection_closed(at(300), lost, ClosedBy::Other);
    table.connection_interrupted(at(300), SOURCE, lost);
    table.advance(at(692));
    assert_eq!((live(&table), closed(&table, Cause::Abandoned), closed(&table, Cause::Missed)), (1, 1, 0));
    table.advance(at(989));
    assert_eq!(live(&table), 1, "a refresh may be lost: it has its lifetime from the gap on");
    table.advance(at(992));
    assert_eq!((live(&table), closed(&table, Cause::Abandoned), closed(&table, Cause::Missed)), (0, 1, 1));
}

/// The thread connects again and reports traffic: that says nothing about the refresh that may be lost.
#[test]
fn the_connection_that_takes_over_takes_the_gap_along() {
    let mut table = table(Settings::default());
    let lost = open(&mut table, 1);
    say(&mut table, 1, lost, 1, &new(LIFETIME));
    table.connection_closed(at(300), lost, ClosedBy::Other);
    table.connection_interrupted(at(300), SOURCE, lost);
    let again = open(&mut table, 301);
    say(&mut table, 310, again, 1, &delta(Leg::Peer, [1, 100, 1, 100]));
    say(&mut table, 311, again, 2, &new(LIFETIME));
    table.advance(at(692));
    assert_eq!(live(&table), 2);
    // Of what was born after it nothing is lost.
    table.advance(at(1002));
    assert_eq!((live(&table), closed(&table, Cause::Abandoned), closed(&table, Cause::Missed)), (0, 1, 1));
}
