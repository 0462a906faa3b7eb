//! One allocation: when it relayed, whose it is, how it ended. Each story turns on the edge of one rule.

use super::super::{Anomaly, Cause, Settings};
use super::story::Story;
use super::*;
use crate::state::Applied;

#[test]
fn one_known_by_its_traffic_only_was_missed_whenever_it_ends() {
    let mut story = Story::new();
    story.tell(0, &delta(Leg::Peer, [1, 6, 1, 6]));
    assert_eq!(story.tell(100, &Event::Deleted), Applied::Closed(Cause::Missed));
    // Its first status makes it like any other.
    let mut story = Story::new();
    story.tell(0, &delta(Leg::Peer, [1, 6, 1, 6]));
    story.tell(50, &refreshed(600));
    assert_eq!(story.tell(100, &Event::Deleted), Applied::Closed(Cause::Disconnected));
    story.ends_empty();
}

#[test]
fn one_relayed_with_more_packets_than_the_threshold_and_one_from_a_peer() {
    let rows = [
        ([1, 10, 49, 490], 0),
        ([1, 10, 50, 500], 1),
        ([50, 500, 0, 0], 0),
        ([51, 510, 0, 0], 1),
        // Whatever it was sent, the peer never answered.
        ([0, 0, 1000, 10_000], 0),
    ];
    for (numbers, relayed) in rows {
        let mut story = Story::new();
        story.tell(0, &new(600));
        story.tell(1, &delta(Leg::Client, [1000, 10_000, 1000, 10_000]));
        story.tell(1, &delta(Leg::Peer, numbers));
        assert_eq!(story.realm().relayed_allocations, relayed, "{numbers:?}");
    }
}

#[test]
fn two_ports_of_one_host_are_two_servers() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.tell(1, &Event::Refreshed(grant(600, "192.0.2.1:5349", REMOTE)));
    let snapshot = story.table.snapshot();
    assert_eq!(snapshot.anomalies.get(Anomaly::SharedKey as usize), 1);
    assert_eq!(snapshot.servers.len(), 1, "of one label");
    story.ends_empty();
}

/// A source that lost a link, and read the allocation's key as set at `set_at`, by a refresh or by a restart of Redis.
fn perhaps_refreshed(story: &mut Story, lost_at: u64, set_at: u64) {
    let alice = story.key;
    story.table.link_down(at(lost_at), SOURCE);
    story.table.scan_begins(at(lost_at + 10), SOURCE);
    let idle = secs(lost_at + 10 - set_at);
    story.table.scanned(at(lost_at + 10), SOURCE, &alice, &refreshed(600), Some(idle));
    story.table.scan_ends(SOURCE);
    story.table.link_up(at(lost_at + 10), SOURCE);
}

#[test]
fn traffic_after_a_lifetime_that_was_perhaps_granted_makes_the_end_a_missed_one() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    perhaps_refreshed(&mut story, 100, 105);
    story.tell(710, &delta(Leg::Client, [1, 10, 1, 10]));
    assert_eq!(story.tell(1000, &Event::Deleted), Applied::Closed(Cause::Missed));
    story.ends_empty();
}

#[test]
fn a_key_takes_nothing_from_a_lifetime_that_traffic_has_proven() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.tell(650, &delta(Leg::Client, [1, 10, 1, 10]));
    perhaps_refreshed(&mut story, 700, 400);
    assert_eq!(story.tell(1200, &Event::Deleted), Applied::Closed(Cause::Disconnected));
    story.ends_empty();
}

#[test]
fn a_release_as_the_first_word_leaves_an_hour() {
    let mut story = Story::new();
    assert_eq!(story.tell(0, &refreshed(0)), Applied::Adopted);
    assert!(story.wait(3690).closed().is_empty());
    assert_eq!(story.wait(3691).closed(), [("released", 1)]);
    story.ends_empty();
}

#[test]
fn a_key_that_is_refused_again_counts_once_in_a_day() {
    let mut story = Story::with(Settings { max_allocations: 1, ..Settings::default() });
    let other = key("r", "bob", 2);
    story.tell(0, &new(600));
    for seconds in [1, 2, 86_000] {
        story.tell_of(seconds, &story.key.clone(), &refreshed(100_000));
        // Another birth of one id would prove that the process is new.
        assert_eq!(story.tell_of(seconds, &other, &refreshed(600)), Applied::Refused);
        assert_eq!(story.table.snapshot().refused, 1, "{seconds}");
    }
    story.tell_of(86_500, &other, &refreshed(600));
    assert_eq!(story.table.snapshot().refused, 2, "a day later it is another one");
}

#[test]
fn long_names_fill_the_table_before_their_number_does() {
    let mut story = Story::with(Settings { max_allocations: 1000, ..Settings::default() });
    let users: Vec<String> = (0..200).map(|n| format!("{n:0800}")).collect();
    let keys: Vec<Key<'_>> = users
        .iter()
        .zip(100..)
        .map(|(user, id)| Key { realm: None, user: user.as_bytes(), id: AllocationId(id) })
        .collect();
    for key in &keys {
        story.tell_of(0, key, &new(600));
    }
    // 128 bytes for each of the thousand.
    assert_eq!(story.table.snapshot().refused, 200 - 128_000 / 800);
    for key in &keys {
        story.tell_of(1, key, &Event::Deleted);
    }
    story.wait(12);
    let late = "u".repeat(800);
    let late = Key { realm: None, user: late.as_bytes(), id: AllocationId(1000) };
    assert_eq!(story.tell_of(20, &late, &new(600)), Applied::Opened, "there is room again");
}
