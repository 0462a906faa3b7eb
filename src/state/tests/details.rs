//! Rows of details: what they tell of each phase, the order, the pages, and sessions against their allocations.

use super::super::{Orphan, Phase, SessionBy, Settings, Table};
use super::{LOCAL, SOURCE, at, delta, grant, key, new, refreshed, secs, table, total};
use crate::state::rows::{
    AllocationRow, AllocationWalk, Filter, Order, RowBound, RowPage, RowQuery, RowWalk, SLICE, SessionRow,
    SessionWalk, Sort,
};
use crate::wire::{Event, Key, Leg};

pub(super) fn wanted() -> RowQuery {
    RowQuery { filter: Filter::default(), order: Order::default(), limit: 1000, from: None }
}

fn only(filter: Filter) -> RowQuery {
    RowQuery { filter, ..wanted() }
}

fn by(sort: Sort, descending: bool) -> RowQuery {
    RowQuery { order: Order { sort, descending }, ..wanted() }
}

fn walk<W: RowWalk>(table: &Table, wanted: RowQuery) -> RowPage<W::Row> {
    let mut walk = W::new(wanted);
    while walk.step(table) {}
    walk.found()
}

pub(super) fn allocations(table: &Table, wanted: RowQuery) -> Vec<AllocationRow> {
    walk::<AllocationWalk>(table, wanted).rows
}

pub(super) fn sessions(table: &Table, wanted: RowQuery) -> Vec<SessionRow> {
    walk::<SessionWalk>(table, wanted).rows
}

fn users(rows: &[AllocationRow]) -> Vec<String> {
    rows.iter().map(|row| String::from_utf8_lossy(&row.user).into_owned()).collect()
}

fn tell(table: &mut Table, seconds: u64, key: &Key<'_>, event: &Event<'_>) {
    table.apply(at(seconds), SOURCE, key, event);
}

/// One of each kind at 10000 s: `idle` is held and silent, `busy` relays, `lost` is overdue, `gone` has just ended.
fn one_of_each() -> Table {
    let mut table = table(Settings { max_lifetime: secs(600), idle_after: secs(300), ..Settings::default() });
    let (idle, busy) = (key("r", "1795343956:idle", 2), key("r", "busy", 3));
    tell(&mut table, 9000, &key("s", "lost", 1), &new(600));
    tell(&mut table, 9000, &idle, &new(600));
    tell(&mut table, 9100, &busy, &new(600));
    tell(&mut table, 9500, &idle, &refreshed(600));
    tell(&mut table, 9600, &busy, &refreshed(600));
    tell(&mut table, 9990, &busy, &delta(Leg::Client, [50, 9000, 50, 9000]));
    tell(&mut table, 9990, &busy, &delta(Leg::Peer, [40, 6000, 40, 2900]));
    tell(&mut table, 9950, &key("r", "gone", 4), &new(600));
    tell(&mut table, 9999, &key("r", "gone", 4), &Event::Deleted);
    table.advance(at(10_000));
    table
}

#[test]
fn a_user_id_finds_the_turn_rest_names_of_the_separator_that_is_set() {
    let names =
        ["1795343956|alice", "alice|1795343956", "1795343956:alice", "123|alice", "1795343956|bob", "alice"];
    for (rest_separator, found) in [
        (b'|', ["1795343956|alice", "alice", "alice|1795343956"].as_slice()),
        (b':', &["1795343956:alice", "alice"]),
    ] {
        let mut table = table(Settings { rest_separator, ..Settings::default() });
        for (id, name) in (1..).zip(names) {
            tell(&mut table, 9000, &key("r", name, id), &new(600));
        }
        let filter = Filter { user: Some(b"alice".to_vec()), ..Filter::default() };
        let wanted = RowQuery { filter, ..by(Sort::User, false) };
        assert_eq!(users(&allocations(&table, wanted.clone())), found);
        assert_eq!(sessions(&table, wanted).len(), found.len());
    }
}

#[test]
fn a_row_tells_what_is_known() {
    let table = one_of_each();
    let rows = allocations(&table, wanted());
    assert_eq!(users(&rows), ["1795343956:idle", "lost", "busy", "gone"], "orphans first, then the oldest");
    let shown: Vec<_> = rows.iter().map(|row| (row.state, row.reason, row.age)).collect();
    assert_eq!(
        shown,
        [
            (Phase::Live, Some(Orphan::Idle), secs(1000)),
            (Phase::Overdue, Some(Orphan::Overdue), secs(1000)),
            (Phase::Live, None, secs(900)),
            (Phase::Closing, None, secs(9)),
        ]
    );
    let [idle, _, busy, _] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((idle.expires, idle.granted, idle.lifetime), (at(10_100), at(9500), secs(600)));
    assert_eq!((idle.active, idle.bytes, idle.rate, idle.relayed), (at(9000), 0, 0, false));
    assert_eq!((busy.active, busy.bytes, busy.relayed), (at(9990), 8900, true));
    assert_eq!(busy.rate, 10, "8900 bytes in 890 s");
    assert!(busy.over_max_lifetime && !busy.adopted);
    assert_eq!((&*busy.server, &*busy.source, busy.id.0), ("192.0.2.1", "test", 3));
    assert_eq!(busy.client.unwrap().to_string(), "198.51.100.7:40000");
    let matched = walk::<AllocationWalk>(&table, wanted()).matched;
    assert_eq!((matched.all, matched.idle, matched.overdue), (4, 1, 1));
}

#[test]
fn filters_let_pass_what_they_say() {
    let table = one_of_each();
    let of = |filter| users(&allocations(&table, only(filter)));
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    let filter = Filter::default;
    assert_eq!(of(Filter { realm: bytes("s"), ..filter() }), ["lost"]);
    assert_eq!(of(Filter { user: bytes("busy"), ..filter() }), ["busy"]);
    assert_eq!(of(Filter { user: bytes("idle"), ..filter() }), ["1795343956:idle"], "by the user id");
    assert_eq!(of(Filter { user: bytes("bus"), ..filter() }), [""; 0]);
    assert_eq!(of(Filter { state: Some(Phase::Live), ..filter() }), ["1795343956:idle", "busy"]);
    assert_eq!(of(Filter { state: Some(Phase::Closing), ..filter() }), ["gone"]);
    assert_eq!(of(Filter { reason: Some(Orphan::Overdue), ..filter() }), ["lost"]);
    assert_eq!(of(Filter { min_age: Some(secs(901)), ..filter() }), ["1795343956:idle", "lost"]);
    let both = Filter { state: Some(Phase::Live), reason: Some(Orphan::Overdue), ..filter() };
    assert_eq!(of(both), [""; 0], "all of them must hold");
}

#[test]
fn a_folded_realm_is_found_by_its_name_and_by_its_label() {
    let mut table = table(Settings { max_realms: 1, ..Settings::default() });
    for (realm, id) in [("one", 1), ("two", 2), ("three", 3)] {
        tell(&mut table, 1, &key(realm, "u", id), &new(600));
    }
    let count = |realm: &str| {
        allocations(&table, only(Filter { realm: Some(realm.into()), ..Filter::default() })).len()
    };
    assert_eq!([count("one"), count("two"), count("_other")], [1, 1, 2]);
}

#[test]
fn orders() {
    let table = one_of_each();
    let of = |sort, descending| users(&allocations(&table, by(sort, descending)));
    assert_eq!(of(Sort::Age, false), ["gone", "busy", "lost", "1795343956:idle"], "equals by their number");
    assert_eq!(of(Sort::Age, true), ["lost", "1795343956:idle", "busy", "gone"]);
    assert_eq!(of(Sort::Idle, false)[0], "busy");
    assert_eq!(of(Sort::LifetimeLeft, false)[0], "lost");
    assert_eq!((&*of(Sort::Bytes, true)[0], &*of(Sort::Rate, true)[0]), ("busy", "busy"));
    assert_eq!(of(Sort::User, false), ["1795343956:idle", "busy", "gone", "lost"]);
    assert_eq!(of(Sort::User, true), ["lost", "gone", "busy", "1795343956:idle"]);
    assert_eq!(of(Sort::Realm, true)[0], "lost");
}

/// A spare allocation is as idle as the connection that it was gathered for.
#[test]
fn idle_is_what_the_gathering_is_judged_by() {
    let mut table = table(Settings::default());
    let (used, spare) = (key("r", "u", 1), key("r", "u", 2));
    tell(&mut table, 1, &used, &new(600));
    tell(&mut table, 1, &spare, &new(600));
    tell(&mut table, 50, &used, &delta(Leg::Peer, [50, 9000, 50, 9000]));
    assert!(allocations(&table, wanted()).iter().all(|row| row.active == at(50)));
}

fn many(count: u64, settings: Settings) -> Table {
    let mut table = table(settings);
    for id in 0..count {
        let user = format!("user{}", id % 977);
        let key = Key { realm: Some(b"r"), user: user.as_bytes(), id: crate::wire::AllocationId(id) };
        table.apply(at(1 + id / 100), SOURCE, &key, &Event::New(grant(600, LOCAL, "198.51.100.7:40000")));
    }
    table
}

#[test]
fn a_slice_is_bounded_and_the_pages_follow_on() {
    let count = 3 * u64::from(SLICE) + 5;
    let table = many(count, Settings::default());
    let mut first = AllocationWalk::new(RowQuery { limit: 10, ..wanted() });
    let mut steps = 1;
    while first.step(&table) {
        steps += 1;
    }
    assert_eq!(steps, 4, "one slice after the other, none larger than SLICE");
    assert_eq!(first.found().rows.len(), 10);

    for order in
        [Sort::Orphans, Sort::Age, Sort::User, Sort::Bytes].map(|sort| Order { sort, descending: false })
    {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let wanted = RowQuery { order, limit: 1000, from: after.map(RowBound::After), ..wanted() };
            let found = walk::<AllocationWalk>(&table, wanted);
            assert_eq!(found.matched.all, count);
            ids.extend(found.rows.iter().map(|row| row.id.0));
            after = found.next;
            if after.is_none() {
                break;
            }
        }
        ids.sort_unstable();
        assert!(ids.into_iter().eq(0..count), "{order:?}: each once");
    }
}

#[test]
fn sessions_are_the_sum_of_their_allocations() {
    let mut table = table(Settings { max_lifetime: secs(600), idle_after: secs(300), ..Settings::default() });
    let (first, second, spare) = (key("r", "u", 1), key("r", "u", 2), key("r", "other", 3));
    tell(&mut table, 9000, &first, &new(600));
    tell(&mut table, 9010, &first, &delta(Leg::Peer, [100, 1000, 100, 1000]));
    tell(&mut table, 9100, &second, &new(1200));
    tell(&mut table, 9100, &spare, &new(600));
    tell(&mut table, 9110, &second, &delta(Leg::Peer, [1, 10, 1, 10]));
    // The first settles, the second is held and goes idle.
    tell(&mut table, 9200, &first, &refreshed(0));
    tell(&mut table, 9201, &first, &Event::Deleted);
    tell(&mut table, 9201, &first, &total(Leg::Client, [0, 0, 0, 0]));
    tell(&mut table, 9201, &first, &total(Leg::Peer, [100, 1000, 100, 1500]));
    tell(&mut table, 9300, &spare, &Event::Deleted);
    table.advance(at(9305));
    let rows = sessions(&table, by(Sort::Age, true));
    let [mine, other] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((mine.state, mine.live, mine.allocations, mine.idle), (Phase::Live, 1, 2, 0));
    assert_eq!((mine.bytes, mine.relayed, mine.partial), (2520, true, false));
    assert_eq!((mine.started, mine.age, mine.active), (at(9000), secs(305), at(9110)));
    assert_eq!((other.state, other.live, other.age, other.relayed), (Phase::Closing, 0, secs(200), false));

    table.advance(at(9900));
    let rows = sessions(&table, only(Filter { reason: Some(Orphan::Idle), ..Filter::default() }));
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].idle, &*rows[0].user), (1, &b"u"[..]));
    assert_eq!(sessions(&table, only(Filter { state: Some(Phase::Overdue), ..Filter::default() })).len(), 0);
}

#[test]
fn sessions_by_client_tell_the_host() {
    let mut table = table(Settings { session_by: SessionBy::Client, ..Settings::default() });
    for (id, remote) in [(1, "198.51.100.7:1"), (2, "198.51.100.8:1")] {
        tell(&mut table, 1, &key("r", "shared", id), &Event::New(grant(600, LOCAL, remote)));
    }
    let hosts: Vec<_> =
        sessions(&table, wanted()).iter().map(|row| row.client.unwrap().to_string()).collect();
    assert_eq!(hosts, ["198.51.100.7", "198.51.100.8"]);
}

/// Between two slices a session may end and its number go to another one: that one does not get the other's bytes.
#[test]
fn a_number_that_goes_to_another_session_takes_no_sums_along() {
    let mut table = many(u64::from(SLICE) + 10, Settings::default());
    let (old, young) = (key("q", "old", 1), key("q", "young", 2));
    tell(&mut table, 100, &key("r", "user0", 0), &Event::Deleted);
    table.advance(at(120));
    tell(&mut table, 120, &old, &new(600));
    tell(&mut table, 121, &old, &delta(Leg::Peer, [100, 1000, 100, 1000]));
    let before = sessions(&table, only(Filter { realm: Some(b"q".to_vec()), ..Filter::default() }));
    assert_eq!(before[0].bytes, 2000);

    let mut walk = SessionWalk::new(only(Filter { realm: Some(b"q".to_vec()), ..Filter::default() }));
    assert!(walk.step(&table), "the first slice has the old one's allocation");
    tell(&mut table, 122, &old, &Event::Deleted);
    table.advance(at(140));
    tell(&mut table, 140, &young, &new(600));
    while walk.step(&table) {}
    let rows = walk.found().rows;
    assert_eq!((rows.len(), &*rows[0].user, rows[0].bytes), (1, &b"young"[..], 0));
}

#[test]
fn the_rate_follows_the_reports_and_sinks_in_silence() {
    let mut table = table(Settings::default());
    let key = key("r", "u", 1);
    tell(&mut table, 0, &key, &new(600));
    let rate = |table: &Table| allocations(table, wanted())[0].rate;
    tell(&mut table, 20, &key, &delta(Leg::Client, [1000, 30_000, 1000, 30_000]));
    tell(&mut table, 20, &key, &delta(Leg::Peer, [1000, 20_000, 1000, 20_000]));
    assert_eq!(rate(&table), 2000, "of the peer leg, over the time since the birth");
    table.advance(at(30));
    assert_eq!(rate(&table), 2000);
    table.advance(at(60));
    assert_eq!(rate(&table), 1000);
    tell(&mut table, 60, &key, &delta(Leg::Client, [1000, 30_000, 1000, 30_000]));
    assert_eq!(rate(&table), 1500, "only the client leg is there yet");
}
