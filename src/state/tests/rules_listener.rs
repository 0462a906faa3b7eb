//! Where coturn reports straight to us: what a lost connection leaves behind.

use super::connections::{close, open};
use super::*;
use crate::state::tests::audit::audit;
use crate::state::{Applied, Cause, ConnectionId, Settings};

const LIFETIME: u32 = 600;

fn say(table: &mut Table, second: u64, connection: ConnectionId, event: &Event<'_>) -> Applied {
    let applied = table.apply_from(at(second), SOURCE, connection, &key("r", "alice", 1), event);
    audit(table).unwrap();
    applied
}

/// One allocation, granted at second 1, whose connection was closed at second 3 as those of a process that ends are.
fn abandoned() -> Table {
    let mut table = table(Settings::default());
    let connection = open(&mut table, 1);
    say(&mut table, 1, connection, &new(LIFETIME));
    close(&mut table, 3, connection);
    table
}

#[test]
fn traffic_of_a_peer_revives_within_the_grant_only() {
    let report = delta(Leg::Peer, [1, 50, 1, 50]);
    for (second, expected, live) in [(601, Applied::Adopted, 1), (602, Applied::Updated, 0)] {
        let mut table = abandoned();
        let again = open(&mut table, second);
        assert_eq!(say(&mut table, second, again, &report), expected, "second {second}");
        let realm = table.snapshot().realms[0].series.clone();
        assert_eq!(realm.live.total(), live, "second {second}");
        assert_eq!(realm.relayed.peer, traffic([1, 50, 1, 50]), "it counts all the same");
        assert_eq!(realm.closed.get(Cause::Abandoned as usize), 1);
    }
}

#[test]
fn a_report_without_traffic_revives_nobody() {
    let mut table = abandoned();
    let again = open(&mut table, 10);
    say(&mut table, 10, again, &delta(Leg::Peer, [0; 4]));
    assert_eq!(table.snapshot().realms[0].series.live.total(), 0);
}
