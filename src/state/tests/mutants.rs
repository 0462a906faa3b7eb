//! Small promises that no story depends on: numbers and words as they are, and memory that is not wasted. Each of these
//! was broken once by cargo-mutants, and no other test noticed.

use super::super::compact::{Seconds, Serial, Sums};
use super::super::free::{Free, rehashed, shrunk};
use super::super::{BYTES_BUCKETS, DURATION_BUCKETS, Orphan, Outcome, Settings, Table};
use super::{Leg, SOURCE, at, key, secs, traffic};
use crate::wire::{Event, Grant, Path, Transport};

#[test]
fn free_places_are_bounded_and_the_lowest_comes_first() {
    let mut free = Free::new();
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
    assert!(table.clients.is_empty());
    table.apply(at(1), SOURCE, &key("realm", "alice", 2), &from("[2001:db8::7]:40000"));
    assert!(!table.clients.is_empty());
    table.apply(at(2), SOURCE, &key("realm", "alice", 2), &from("198.51.100.7:40001"));
    assert!(table.clients.is_empty(), "it has moved to one that fits");
}
