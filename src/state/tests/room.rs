//! What a peak leaves: the room that was taken is given back, and who outlives it is found.

use super::*;
use crate::state::Settings;
use crate::state::tests::audit::{audit, is_empty};

const PEAK: u64 = 20_000;

/// Places that the table keeps: of all that grows with the allocations, but for the names, which test it themselves.
fn room(table: &Table) -> [usize; 13] {
    let [records, record_keys, ends, rates, addresses] = table.records.room();
    let [sessions, owners, lingering] = table.sessions.room();
    let [gatherings, by_key, by_member, in_order] = table.gatherings.room();
    let timers = table.timers.room();
    [
        records,
        record_keys,
        sessions,
        owners,
        lingering,
        timers,
        ends,
        rates,
        addresses,
        gatherings,
        by_key,
        by_member,
        in_order,
    ]
}

#[test]
fn a_peak_is_given_back_and_who_stays_is_found() {
    let mut table = table(Settings { linger: secs(30), ..Settings::default() });
    let names: Vec<String> = (0..PEAK).map(|number| format!("user{number}")).collect();
    let key_of = |number: u64| Key {
        realm: Some(b"r"),
        user: names[usize::try_from(number).unwrap()].as_bytes(),
        id: AllocationId(number),
    };
    for number in 0..PEAK {
        table.apply(at(1), SOURCE, &key_of(number), &new(600));
        table.apply(at(1), SOURCE, &key_of(number), &delta(Leg::Client, [1, 100, 1, 100]));
    }
    let full = room(&table);
    assert!(full[..2].iter().chain(&full[9..]).all(|&places| places >= 20_000), "{full:?}");

    // All but the first and the last end, and each with its totals: nothing is waited for but the linger.
    for number in 1..PEAK - 1 {
        for event in [Event::Deleted, total(Leg::Client, [1, 100, 1, 100]), total(Leg::Peer, [0, 0, 0, 0])] {
            table.apply(at(2), SOURCE, &key_of(number), &event);
        }
    }
    let busiest = room(&table);
    let ended = table.sources.get(SOURCE).unwrap().records.room();
    assert!(busiest[3..7].iter().all(|&places| places >= 19_998), "{busiest:?}");
    for minute in 1..=6 {
        table.advance(at(60 * minute));
        audit(&table).unwrap();
    }
    for number in [0, PEAK - 1] {
        table.apply(at(360), SOURCE, &key_of(number), &refreshed(600));
    }
    assert_eq!((table.records.len(), table.sessions.owners()), (2, 2));

    // The last one holds its place at the top until it goes.
    for number in [PEAK - 1, 0] {
        table.apply(at(361), SOURCE, &key_of(number), &Event::Deleted);
    }
    table.advance(at(1000));
    assert!(is_empty(&table));
    let left = room(&table);
    assert!(left.iter().all(|&places| places <= 8192), "{left:?} of {busiest:?}");
    assert!(
        (19_998..40_000).contains(&ended) && table.sources.get(SOURCE).unwrap().records.room() <= 8192,
        "{ended}"
    );
}

#[test]
fn what_a_scan_expects_has_room_until_the_scan_is_over() {
    let mut table = table(Settings::default());
    let come_and_go = |table: &mut Table, second| {
        for event in [new(600), Event::Deleted, total(Leg::Client, [0; 4]), total(Leg::Peer, [0; 4])] {
            let key = Key { realm: Some(b"r"), user: b"somebody", id: AllocationId(1) };
            table.apply(at(second), SOURCE, &key, &event);
        }
        table.advance(at(second + 1000));
        assert_eq!((table.records.len(), table.sessions.slab.len()), (0, 0));
    };
    table.scan_begins(at(1), SOURCE);
    table.expect(usize::try_from(PEAK).unwrap());
    come_and_go(&mut table, 2);
    let room = [table.records.room()[1], table.sessions.room()[1]];
    assert!(room.iter().all(|&places| places >= 20_000), "{room:?}");

    table.scan_ends(SOURCE);
    come_and_go(&mut table, 2000);
    let left = [table.records.room()[1], table.sessions.room()[1]];
    assert!(left.iter().all(|&places| places <= 8192), "{left:?} of {room:?}");
}
