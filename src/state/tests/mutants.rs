//! Small promises that no story depends on: numbers and words as they are, and memory that is not wasted. Each of these
//! was broken once by cargo-mutants, and no other test noticed.

use super::super::{BYTES_BUCKETS, DURATION_BUCKETS, KeyCheck, Orphan, Outcome, SavedTable, Settings, Table};
use super::audit::audit;
use super::story::Story;
use super::{Leg, SOURCE, at, key, new, secs, traffic};
use crate::state::model::sums::Sums;
use crate::state::storage::free_list::{FreeList, rehashed, shrunk};
use crate::state::storage::packed::{Seconds, Serial};
use crate::wire::{Event, Grant, Key, Path, Transport};

#[test]
fn free_places_are_bounded_and_the_lowest_comes_first() {
    let mut free = FreeList::new();
    for place in (0..3000).rev() {
        free.push(place);
    }
    // Up to so many more than there are places are no matter.
    free.tidy(1976, |place| place < 1976);
    assert_eq!(free.len(), 3000);
    free.tidy(1975, |place| place < 1975);
    assert_eq!(free.len(), 1975);
    assert_eq!(free.take(|place| place >= 7), Some(7));
    assert_eq!(free.take(|_| true), Some(8));
    assert_eq!(free.take(|place| place > 9000), None);
    assert_eq!(free.take(|_| true), None);
}

#[test]
fn room_is_given_back_where_little_of_it_is_used() {
    for (used, room, kept) in [
        (0, 4096, None),
        (0, 4097, Some(0)),
        (1024, 8192, Some(2048)),
        (2047, 8192, Some(4094)),
        (2048, 8192, None),
        (2049, 8192, None),
    ] {
        assert_eq!(shrunk(used, room), kept, "{used} of {room}");
    }
    for (used, room, kept) in
        [(0, 4096, None), (0, 4097, Some(0)), (511, 8192, Some(1022)), (512, 8192, None)]
    {
        assert_eq!(rehashed(used, room), kept, "{used} of {room}");
    }
}

#[test]
fn numbers_come_back_as_they_were() {
    for number in [0, 1, 255, 256, (1 << 48) - 1] {
        assert_eq!(Serial::from(number).get(), number);
    }
    for seconds in [0, 1, 600, u64::from(u32::MAX)] {
        assert_eq!(Seconds::from(secs(seconds)).get(), secs(seconds));
    }
}

/// Room of its own costs memory: only who needs it has it.
#[test]
fn sums_are_small_until_they_do_not_fit() {
    let mut sums = Sums::ZERO;
    assert!(!sums.is_large());
    let most = [u64::from(u32::MAX), (1 << 40) - 1, 0, 0];
    sums.add(Leg::Client, &traffic(most));
    sums.add(Leg::Peer, &traffic(most));
    assert!(!sums.is_large());
    sums.add(Leg::Peer, &traffic([0, 0, 1, 1]));
    assert!(!sums.is_large());
    sums.add(Leg::Peer, &traffic([0, 1, 0, 0]));
    assert!(sums.is_large());
    assert_eq!(sums.get(Leg::Client), traffic(most));
    assert_eq!(sums.get(Leg::Peer), traffic([most[0], most[1] + 1, 1, 1]));
}

#[test]
fn edges_are_what_they_are_called_after() {
    assert_eq!(BYTES_BUCKETS[0], 4096, "from 4 KiB");
    assert!(BYTES_BUCKETS.windows(2).all(|pair| pair[1] == 4 * pair[0]), "powers of four");
    assert_eq!(BYTES_BUCKETS[BYTES_BUCKETS.len() - 1], 64 << 30, "to 64 GiB");
    assert!(DURATION_BUCKETS.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!([Outcome::Relayed, Outcome::Unrelayed].map(Outcome::as_str), ["relayed", "unrelayed"]);
    assert_eq!([Orphan::Idle, Orphan::Overdue].map(Orphan::as_str), ["idle", "overdue"]);
}

/// An address of IPv4 lies in its record; one that does not fit is held apart and goes with its record.
#[test]
fn only_long_addresses_are_held_apart() {
    let mut table = Table::new(Settings::default(), &["one"]);
    let from = |remote: &'static str| {
        let path = Path { transport: Transport::Udp, local: b"192.0.2.1:3478", remote: remote.as_bytes() };
        Event::New(Grant { lifetime: 600, path: Some(path) })
    };
    table.apply(at(1), SOURCE, &key("realm", "alice", 1), &from("198.51.100.7:40000"));
    assert!(!table.records.has_long_addresses());
    table.apply(at(1), SOURCE, &key("realm", "alice", 2), &from("[2001:db8::7]:40000"));
    assert!(table.records.has_long_addresses());
    table.apply(at(2), SOURCE, &key("realm", "alice", 2), &from("198.51.100.7:40001"));
    assert!(!table.records.has_long_addresses(), "it has moved to one that fits");
}

/// A key that an earlier scan found says nothing of what has been wiped since.
#[test]
fn each_scan_proves_by_its_own_keys() {
    let mut story = Story::new();
    let [first, second] = [1, 2].map(|id| key("r", "alice", id));
    story.tell_of(0, &first, &new(600));
    story.tell_of(100, &second, &new(600));
    let gap = |story: &mut Story, seconds: u64, found: &[(&Key<'_>, u64)]| {
        story.table.link_down(at(seconds), SOURCE);
        story.table.scan_begins(at(seconds + 10), SOURCE);
        for (key, idle) in found {
            let (now, idle) = (at(seconds + 10), Some(secs(*idle)));
            if story.table.check_key(now, SOURCE, key, idle) == KeyCheck::Read {
                story.table.scanned(now, SOURCE, key, &new(600), idle);
            }
        }
        story.table.sweep(at(seconds + 10), SOURCE, 0);
        story.table.scan_ends(SOURCE);
        story.table.link_up(at(seconds + 10), SOURCE);
        audit(&story.table).unwrap();
    };
    // Both keys are there.
    gap(&mut story, 200, &[(&first, 210), (&second, 110)]);
    assert!(story.closed().is_empty());
    // Another coturn has started and wiped them: nothing older than the second one's status is left to prove its end.
    gap(&mut story, 300, &[]);
    assert!(story.closed().is_empty(), "{:?}", story.closed());
    // The first one's key is there, and older: now the absence of the second one's is its end.
    gap(&mut story, 400, &[(&first, 410)]);
    assert_eq!(story.closed(), [("missed", 1)]);
}

/// Counters of a realm that scrapers have seen begin at 0 after a restart, and are not absent; while there is room.
#[test]
fn realms_of_an_earlier_process_have_their_series_again() {
    let settings = Settings { max_realms: 2, ..Settings::default() };
    let mut table = Table::new(settings, &["one"]);
    let realms = ["first", "second", "third"].map(str::to_owned).to_vec();
    table.restore(at(1), SavedTable { realms, ..SavedTable::default() });
    let labels = |table: &Table| -> Vec<String> {
        table.snapshot().realms.iter().map(|realm| realm.label.to_string()).collect()
    };
    assert_eq!(labels(&table), ["first", "second"]);
    table.apply(at(2), SOURCE, &key("third", "alice", 1), &new(600));
    assert_eq!(labels(&table), ["first", "second", "_other"]);
}
