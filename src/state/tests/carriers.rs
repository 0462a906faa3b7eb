//! Connections of coturn's own: whose allocations are whose, and what ends with a connection.

use super::*;
use crate::state::tests::audit::audit;
use crate::state::{Anomaly, Applied, Carrier, Cause, Settings};

const LIFETIME: u32 = 600;

fn say(table: &mut Table, second: u64, carrier: Carrier, id: u64, event: &Event<'_>) -> Applied {
    let applied = table.apply_from(at(second), SOURCE, carrier, &key("r", "alice", id), event);
    audit(table).unwrap();
    applied
}

/// coturn closes a connection.
fn close(table: &mut Table, second: u64, carrier: Carrier) {
    table.carrier_closes(carrier);
    let mut from = Some(0);
    while let Some(place) = from {
        from = table.abandon(at(second), carrier, place);
    }
    audit(table).unwrap();
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

#[test]
fn a_connection_that_closes_ends_its_own_allocations_and_no_others() {
    let mut table = table(Settings::default());
    let (one, two) = (table.carrier_opens(), table.carrier_opens());
    say(&mut table, 1, one, 1, &new(LIFETIME));
    say(&mut table, 1, one, 2, &new(LIFETIME));
    say(&mut table, 1, two, 3, &new(LIFETIME));
    say(&mut table, 2, one, 2, &refreshed(0));
    close(&mut table, 10, one);
    assert_eq!((live(&table), closed(&table, Cause::Abandoned), closed(&table, Cause::Released)), (1, 1, 1));
    let realm = table.snapshot().realms[0].series;
    assert_eq!((realm.orphans.get(0), realm.orphans.get(1)), (0, 0), "nobody holds them");
}

#[test]
fn equal_keys_on_two_open_connections_are_two_allocations() {
    let mut table = table(Settings::default());
    let (one, two) = (table.carrier_opens(), table.carrier_opens());
    assert_eq!(say(&mut table, 1, one, 1, &new(LIFETIME)), Applied::Opened);
    assert_eq!(say(&mut table, 2, two, 1, &new(LIFETIME)), Applied::Opened);
    for (carrier, bytes) in [(one, 100), (two, 7)] {
        say(&mut table, 3, carrier, 1, &delta(Leg::Peer, [1, bytes, 1, bytes]));
        say(&mut table, 4, carrier, 1, &Event::Deleted);
        say(&mut table, 4, carrier, 1, &total(Leg::Client, [0, 0, 0, 0]));
        say(&mut table, 4, carrier, 1, &total(Leg::Peer, [1, bytes, 1, bytes]));
    }
    assert_eq!((live(&table), relayed(&table)), (0, 107));
    assert_eq!(closed(&table, Cause::Disconnected), 2);
    assert_eq!(table.snapshot().anomalies.get(0), 0);
}

#[test]
fn a_dead_server_shares_no_key_with_one_that_lives() {
    let mut table = table(Settings::default());
    let (dead, other) = (table.carrier_opens(), table.carrier_opens());
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
fn whatever_is_heard_later_revives_it() {
    for event in [refreshed(LIFETIME), delta(Leg::Peer, [1, 50, 1, 50])] {
        let mut table = table(Settings::default());
        let one = table.carrier_opens();
        say(&mut table, 1, one, 1, &new(LIFETIME));
        say(&mut table, 2, one, 1, &delta(Leg::Peer, [1, 100, 1, 100]));
        close(&mut table, 3, one);
        assert_eq!((live(&table), closed(&table, Cause::Abandoned)), (0, 1));
        // The same thread, which had to connect again.
        let again = table.carrier_opens();
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
    let one = table.carrier_opens();
    say(&mut table, 1, one, 1, &new(LIFETIME));
    close(&mut table, 2, one);
    let next = table.carrier_opens();
    say(&mut table, 3, next, 1, &delta(Leg::Client, [3, 300, 3, 300]));
    say(&mut table, 3, next, 1, &delta(Leg::Peer, [0, 0, 0, 0]));
    let adopted = table.snapshot().realms[0].series.adopted;
    assert_eq!((live(&table), adopted, closed(&table, Cause::Abandoned)), (0, 0, 1));
}

#[test]
fn an_end_that_comes_over_another_connection_settles_without_a_second_close() {
    let mut table = table(Settings::default());
    let one = table.carrier_opens();
    say(&mut table, 1, one, 1, &new(LIFETIME));
    close(&mut table, 2, one);
    let again = table.carrier_opens();
    say(&mut table, 3, again, 1, &Event::Deleted);
    say(&mut table, 3, again, 1, &total(Leg::Peer, [1, 50, 1, 50]));
    assert_eq!((relayed(&table), closed(&table, Cause::Abandoned)), (50, 1));
    assert_eq!(closed(&table, Cause::Disconnected), 0);
}

#[test]
fn a_server_that_starts_again_reuses_ids_of_dead_allocations_only() {
    let mut table = table(Settings::default());
    let (one, two) = (table.carrier_opens(), table.carrier_opens());
    say(&mut table, 1, one, 1, &new(LIFETIME));
    say(&mut table, 1, two, 1, &new(LIFETIME));
    close(&mut table, 2, one);
    let again = table.carrier_opens();
    assert_eq!(say(&mut table, 3, again, 1, &new(LIFETIME)), Applied::Opened);
    assert_eq!((live(&table), closed(&table, Cause::Replaced)), (2, 0));
    close(&mut table, 4, two);
    assert_eq!(live(&table), 1);
}

#[test]
fn a_connection_lost_otherwise_ends_nothing() {
    let mut table = table(Settings::default());
    let one = table.carrier_opens();
    say(&mut table, 1, one, 1, &new(LIFETIME));
    table.carrier_closes(one);
    let again = table.carrier_opens();
    assert_eq!(say(&mut table, 2, again, 1, &refreshed(LIFETIME)), Applied::Updated);
    close(&mut table, 3, one);
    assert_eq!(live(&table), 1);
    close(&mut table, 3, again);
    assert_eq!(live(&table), 0);
}

#[test]
fn thousands_are_ended_in_slices() {
    let mut table = table(Settings::default());
    let (one, two) = (table.carrier_opens(), table.carrier_opens());
    for id in 0..20_000 {
        let carrier = if id % 2 == 0 { one } else { two };
        table.apply_from(at(1), SOURCE, carrier, &key("r", "alice", id), &new(LIFETIME));
    }
    close(&mut table, 2, one);
    assert_eq!((live(&table), closed(&table, Cause::Abandoned)), (10_000, 10_000));
}
