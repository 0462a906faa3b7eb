//! What a stranger may claim, and how far the table goes along with it.

use super::super::{
    Anomaly, Applied, Cause, ClosedBy, Discovery, LongLifetime, Phase, SavedAllocation, SavedTable, Settings,
    Snapshot,
};
use super::audit::audit;
use super::*;

const DAY: u64 = 24 * 3600;
const GRACE: u64 = 90;

fn live(snapshot: &Snapshot) -> u64 {
    snapshot.sources.iter().map(|source| source.live).sum()
}

fn long_lifetimes(table: &Table) -> [u64; 2] {
    let counts = table.snapshot().sources[0].long_lifetimes;
    LongLifetime::ALL.map(|outcome| counts.get(outcome as usize))
}

fn implausible(table: &Table) -> u64 {
    table.snapshot().anomalies.get(Anomaly::Implausible as usize)
}

#[test]
fn a_lifetime_of_136_years_is_due_after_a_day() {
    let mut table = table(Settings::default());
    table.apply(at(1), SOURCE, &key("r", "alice", 1), &new(u32::MAX));
    table.apply(at(1), SOURCE, &key("r", "alice", 2), &refreshed(u32::MAX));
    assert_eq!(long_lifetimes(&table), [0, 2]);
    table.advance(at(1 + DAY + GRACE));
    assert_eq!(live(&table.snapshot()), 2);
    table.advance(at(2 + DAY + GRACE));
    let closed = table.snapshot().realms[0].series.closed;
    assert_eq!((live(&table.snapshot()), closed.get(Cause::Abandoned as usize)), (0, 2));
}

/// The setting may be what is wrong, and who says that it is right is believed for more than a day.
#[test]
fn a_lifetime_above_the_setting_is_believed_up_to_a_day_or_the_setting() {
    let two_days = u32::try_from(2 * DAY).unwrap();
    for (max_lifetime, lifetime, lasts, outcome) in [
        (3600, 7200, 7200, Some(LongLifetime::Believed)),
        (3600, two_days, DAY, Some(LongLifetime::Cut)),
        (2 * DAY, two_days, 2 * DAY, None),
        (7200, 7200, 7200, None),
    ] {
        let mut table = table(Settings { max_lifetime: secs(max_lifetime), ..Settings::default() });
        table.apply(at(0), SOURCE, &key("r", "alice", 1), &new(lifetime));
        table.advance(at(lasts + GRACE));
        assert_eq!(live(&table.snapshot()), 1, "{lifetime}");
        table.advance(at(lasts + GRACE + 1));
        assert_eq!(live(&table.snapshot()), 0, "{lifetime}");
        let of = |wanted| u64::from(outcome == Some(wanted));
        assert_eq!(long_lifetimes(&table), LongLifetime::ALL.map(of), "{lifetime}");
    }
}

#[test]
fn long_lifetimes_are_reported_once_an_episode() {
    let mut table = table(Settings::default());
    let mut found = Vec::new();
    for (second, id, lifetime) in
        [(0, 1, 3600), (1, 2, 7200), (2, 3, 7200), (DAY, 4, 9000), (2 * DAY, 5, 9000)]
    {
        table.apply(at(second), SOURCE, &key("r", "alice", id), &new(lifetime));
        let seconds = table.take_discoveries().into_iter().filter_map(|finding| match finding {
            Discovery::LongLifetime { seconds, .. } => Some(seconds),
            _ => None,
        });
        found.extend(seconds.map(|seconds| (second, seconds)));
    }
    // The last comes a day after the one before it: another episode.
    assert_eq!(found, [(1, 7200), (2 * DAY, 9000)]);
    assert_eq!(long_lifetimes(&table), [4, 0]);
}

/// An earlier process believed what this one does not.
#[test]
fn a_restored_record_is_not_believed_for_longer() {
    let mut earlier = table(Settings { max_lifetime: secs(1 << 31), ..Settings::default() });
    earlier.begin_store(1, 1);
    earlier.apply(at(10), SOURCE, &key("r", "alice", 1), &new(u32::MAX >> 1));
    let record = earlier.take_all().remove(0);
    assert_eq!(record.phase, Phase::Live);
    let mut later = table(Settings::default());
    later.begin_store(2, 1);
    let exported = record.sums;
    let saved = SavedAllocation { record, exported, accounted_bytes: 0 };
    later.restore(at(20), SavedTable { allocations: vec![saved], ..SavedTable::default() });
    later.link_up(at(20), SOURCE);
    later.advance(at(21 + 2 * (DAY + GRACE)));
    assert_eq!(live(&later.snapshot()), 0);
}

/// One report of 2^64-1 held a counter at its top for ever.
#[test]
fn a_report_that_no_relay_can_have_carried_adds_nothing() {
    let most = [u64::MAX; 4];
    let mut table = table(Settings::default());
    let (ours, stranger) = (key("r", "alice", 1), key("r", "mallory", 2));
    table.apply(at(0), SOURCE, &ours, &new(600));
    for leg in Leg::ALL {
        table.apply(at(1), SOURCE, &ours, &delta(leg, most));
        assert_eq!(table.apply(at(1), SOURCE, &stranger, &delta(leg, most)), Applied::SetAside);
        // Each of the four numbers is looked at.
        for place in 0..4 {
            let mut one = [0; 4];
            one[place] = u64::MAX;
            table.apply(at(1), SOURCE, &ours, &delta(leg, one));
        }
        table.apply(at(1), SOURCE, &ours, &delta(leg, [1, 100, 1, 100]));
    }
    assert_eq!((implausible(&table), live(&table.snapshot())), (12, 1));
    table.apply(at(2), SOURCE, &ours, &Event::Deleted);
    table.apply(at(2), SOURCE, &ours, &total(Leg::Client, most));
    table.apply(at(2), SOURCE, &ours, &total(Leg::Peer, [1, 100, 1, 100]));
    // One that is met by its total may be old, but not as old as that.
    table.apply(at(2), SOURCE, &stranger, &total(Leg::Client, most));
    assert_eq!(implausible(&table), 14);
    table.advance(at(100));
    let snapshot = table.snapshot();
    let series = snapshot.realms[0].series.clone();
    let honest = traffic([1, 100, 1, 100]);
    assert_eq!((series.relayed.client, series.relayed.peer), (honest, honest));
    assert!(series.unseen.client.is_zero() && snapshot.unallocated.is_zero());
}

/// A report has 4096 packets at most, but it may come late, and what was lost before it comes with the total.
#[test]
fn what_a_relay_can_have_carried_is_counted() {
    const GIB: u64 = 1 << 30;
    let mut table = table(Settings::default());
    let ours = key("r", "alice", 1);
    table.apply(at(0), SOURCE, &ours, &new(600));
    // A burst behind a link that stood still.
    for _ in 0..50 {
        table.apply(at(1), SOURCE, &ours, &delta(Leg::Client, [4096, GIB / 4, 0, 0]));
        table.apply(at(1), SOURCE, &ours, &delta(Leg::Peer, [0, 0, 4096, GIB / 4]));
    }
    // All of an hour at 10 Gbit/s was lost, on both legs: the peer's total has gone round a thousand times.
    let hour = 4200 * GIB;
    let (packets, bytes) = (50 * 4096 + 3_000_000_000, 50 * GIB / 4 + hour);
    for second in [590, 1180, 1770, 2360, 2950, 3540] {
        table.apply(at(second), SOURCE, &ours, &refreshed(600));
    }
    table.apply(at(3600), SOURCE, &ours, &Event::Deleted);
    table.apply(at(3600), SOURCE, &ours, &total(Leg::Client, [packets, bytes, 0, 0]));
    let wrapped = [0, 0, packets % (1 << 32), bytes % (1 << 32)];
    table.apply(at(3600), SOURCE, &ours, &total(Leg::Peer, wrapped));
    // And one that was met at its end had relayed 200 TB.
    table.apply(at(3600), SOURCE, &key("r", "bob", 2), &total(Leg::Client, [1, 200_000 * GIB, 0, 0]));
    let series = table.snapshot().realms[0].series.clone();
    assert_eq!(series.relayed.client, traffic([packets, bytes, 0, 0]));
    assert_eq!(series.recovered.client, traffic([3_000_000_000, hour, 0, 0]));
    assert_eq!(series.relayed.peer, traffic([0, 0, packets, bytes]));
    assert_eq!(series.unseen.client, traffic([1, 200_000 * GIB, 0, 0]));
    assert_eq!(implausible(&table), 0);
}

const FULL: u64 = 100;

fn small() -> Settings {
    Settings { max_allocations: usize::try_from(FULL).unwrap(), ..Settings::default() }
}

/// Full of allocations that nobody refreshes, all overdue by `at(200)`.
fn full_of_overdue() -> Table {
    let mut table = table(small());
    table.begin_store(1, 1);
    for id in 1..=FULL {
        assert_eq!(table.apply(at(id), SOURCE, &key("r", "mallory", id), &new(1)), Applied::Opened);
    }
    table.advance(at(200));
    assert_eq!((live(&table.snapshot()), table.records.len()), (0, small().max_allocations));
    table
}

#[test]
fn overdue_records_give_way_the_earliest_first() {
    let mut table = full_of_overdue();
    for id in 1..=10 {
        let born = table.apply(at(200), SOURCE, &key("r", "alice", 1000 + id), &new(600));
        assert_eq!(born, Applied::Opened, "{id}");
    }
    let snapshot = table.snapshot();
    assert_eq!((live(&snapshot), snapshot.refused, snapshot.evicted), (10, 0, 10));
    // The eleventh is known still, the tenth is not; it takes the place of the eleventh.
    let refresh =
        |table: &mut Table, id| table.apply(at(201), SOURCE, &key("r", "mallory", id), &refreshed(600));
    assert_eq!(refresh(&mut table, 11), Applied::Adopted);
    assert_eq!((table.records.len(), table.snapshot().evicted), (100, 10));
    assert_eq!(refresh(&mut table, 10), Applied::Adopted);
    assert_eq!((table.records.len(), table.snapshot().evicted), (100, 11));
    audit(&table).unwrap();
}

#[test]
fn overdue_records_that_were_restored_give_way() {
    let allocations = full_of_overdue().take_all().into_iter().map(|record| {
        let exported = record.sums;
        SavedAllocation { record, exported, accounted_bytes: 0 }
    });
    let mut table = table(small());
    table.begin_store(1000, 1);
    let restored =
        table.restore(at(300), SavedTable { allocations: allocations.collect(), ..SavedTable::default() });
    assert_eq!((restored.live, restored.overdue, restored.refused), (0, FULL, 0));
    for id in 1..=FULL {
        let born = table.apply(at(301), SOURCE, &key("r", "alice", 1000 + id), &new(600));
        assert_eq!(born, Applied::Opened, "{id}");
    }
    assert_eq!((live(&table.snapshot()), table.snapshot().refused), (FULL, 0));
    audit(&table).unwrap();
}

#[test]
fn what_waits_for_its_totals_gives_way_last_and_what_lives_never() {
    let mut table = table(small());
    for id in 1..=FULL {
        table.apply(at(0), SOURCE, &key("r", "alice", id), &new(600));
    }
    let newcomer = |table: &mut Table, second, id: u64| {
        table.apply(at(second), SOURCE, &key("r", "bob", 1000 + id), &new(600))
    };
    assert_eq!(newcomer(&mut table, 1, 1), Applied::Refused);
    assert_eq!((live(&table.snapshot()), table.snapshot().refused), (FULL, 1));
    table.apply(at(2), SOURCE, &key("r", "alice", 7), &Event::Deleted);
    assert_eq!(newcomer(&mut table, 2, 2), Applied::Opened);
    assert_eq!(newcomer(&mut table, 2, 3), Applied::Refused);
    // One that is overdue goes before one that waits, though it ended later.
    table.apply(at(3), SOURCE, &key("r", "alice", 9), &refreshed(1));
    table.apply(at(90), SOURCE, &key("r", "alice", 10), &Event::Deleted);
    table.advance(at(95));
    assert_eq!(newcomer(&mut table, 95, 4), Applied::Opened);
    table.apply(at(95), SOURCE, &key("r", "alice", 10), &total(Leg::Client, [1, 10, 1, 10]));
    assert_eq!(table.snapshot().realms[0].series.recovered.client.bytes(), 20, "it has its record still");
    audit(&table).unwrap();
}

/// Each of the sources has its part, however full the others would make the table.
#[test]
fn a_source_that_fills_the_table_leaves_the_others_their_part() {
    let mut table = Table::new(small(), &["one", "two"]);
    let [flooded, honest] = [SourceId(0), SourceId(1)];
    for source in [flooded, honest] {
        table.link_up(Timestamp::ZERO, source);
    }
    let open = |table: &mut Table, source, second, ids: std::ops::Range<u64>, lifetime| {
        let born = ids.map(|id| table.apply(at(second), source, &key("r", "alice", id), &new(lifetime)));
        born.filter(|applied| *applied == Applied::Opened).count()
    };
    assert_eq!(open(&mut table, flooded, 0, 1..1000, 86_400), 75);
    assert_eq!(open(&mut table, honest, 0, 1..1000, 600), 25);
    audit(&table).unwrap();
    // Where nobody floods, whoever comes first may have the half that is not kept.
    let mut table = Table::new(small(), &["one", "two"]);
    assert_eq!(open(&mut table, honest, 0, 1..20, 600), 19);
    assert_eq!(open(&mut table, flooded, 0, 1..1000, 600), 75);
    assert_eq!(open(&mut table, honest, 0, 20..1000, 600), 6);
    // Its own ended ones give way to it, not those of the others.
    for source in [flooded, honest] {
        table.link_up(Timestamp::ZERO, source);
    }
    table.advance(at(2000));
    assert_eq!(live(&table.snapshot()), 0);
    assert_eq!(open(&mut table, flooded, 2000, 1000..2000, 600), 75);
    assert_eq!(open(&mut table, honest, 2000, 1000..2000, 600), 25);
    audit(&table).unwrap();
}

/// As each source, so each connection of coturn's own.
#[test]
fn a_connection_that_fills_the_table_leaves_the_others_their_part() {
    let mut table = Table::new(small(), &["one"]);
    table.link_up(Timestamp::ZERO, SOURCE);
    let connect = |table: &mut Table, host| table.connection_opened(at(0), SOURCE, [192, 0, 2, host].into());
    let [flooding, honest, silent] = [1, 2, 3].map(|host| connect(&mut table, host));
    let open = |table: &mut Table, connection, ids: std::ops::Range<u64>| {
        let apply = |id| table.apply_from(at(0), SOURCE, connection, &key("r", "alice", id), &new(600));
        ids.map(apply).filter(|applied| *applied == Applied::Opened).count()
    };
    assert_eq!(open(&mut table, honest, 1..2), 1);
    // A quarter of a hundred places, for the two that report.
    assert_eq!(open(&mut table, flooding, 1000..2000), 88);
    assert_eq!(open(&mut table, honest, 2..100), 11);
    audit(&table).unwrap();
    // What another connection takes over is counted there.
    table.apply_from(at(1), SOURCE, silent, &key("r", "alice", 1), &refreshed(600));
    audit(&table).unwrap();
    table.connection_closed(at(1), flooding, ClosedBy::Other);
    table.advance(at(1000));
    audit(&table).unwrap();
    // By itself it has all places.
    let mut table = Table::new(small(), &["one"]);
    table.link_up(Timestamp::ZERO, SOURCE);
    let only = connect(&mut table, 1);
    assert_eq!(open(&mut table, only, 1..1000), 100);
}
