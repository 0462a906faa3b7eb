//! How long things last: ends that nobody saw are dated at the last sign of life, idleness goes as far as the source was
//! received, and what is remembered is remembered for a day.

use super::super::{Anomaly, Orphan, Settings};
use super::kept::Ended;
use super::story::Story;
use super::*;
use crate::clock::Timestamp;

const DAY: u64 = 24 * 3600;

/// A story that notes what ended.
fn noted() -> Story {
    let mut story = Story::new();
    story.table.begin_store(1, 1);
    story
}

/// The ends of allocations and of sessions, in order.
fn ends(story: &mut Story) -> (Vec<Timestamp>, Vec<Timestamp>) {
    let Ended { allocations, sessions, .. } = story.table.take_ended();
    let ended = allocations.iter().map(|kept| kept.ended).collect();
    (ended, sessions.iter().map(|session| session.ended).collect())
}

#[test]
fn an_abandoned_allocation_ended_at_its_last_sign() {
    let last_words = [refreshed(600), delta(Leg::Client, [1, 10, 1, 10]), delta(Leg::Peer, [0; 4])];
    for event in last_words {
        let mut story = noted();
        story.tell(0, &new(600));
        story.tell(50, &event);
        story.wait(800);
        assert_eq!(story.closed(), [("abandoned", 1)]);
        assert_eq!(ends(&mut story), (vec![at(50)], vec![at(50)]), "{event:?}");
    }
}

#[test]
fn one_that_is_overdue_after_a_gap_or_a_release_ended_at_its_last_sign() {
    let mut story = noted();
    story.tell(0, &new(600));
    story.tell(50, &delta(Leg::Client, [1, 10, 1, 10]));
    story.table.link_down(at(100), SOURCE);
    story.table.link_up(at(200), SOURCE);
    story.wait(1000);
    assert_eq!(story.closed(), [("missed", 1)]);
    assert_eq!(ends(&mut story), (vec![at(50)], vec![at(50)]));

    let mut story = noted();
    story.tell(0, &new(600));
    story.tell(50, &refreshed(0));
    story.wait(1000);
    assert_eq!(story.closed(), [("released", 1)]);
    assert_eq!(ends(&mut story), (vec![at(50)], vec![at(50)]));
}

#[test]
fn a_replaced_allocation_ended_at_its_last_sign() {
    let mut story = noted();
    story.tell(0, &new(600));
    story.tell(50, &delta(Leg::Client, [1, 10, 1, 10]));
    story.tell(300, &new(600));
    assert_eq!(story.closed(), [("replaced", 1)]);
    assert_eq!(ends(&mut story), (vec![at(50)], vec![at(50)]));
}

#[test]
fn one_that_a_scan_found_to_be_gone_ended_at_its_last_sign() {
    let mut story = noted();
    let younger = key("r", "bob", 2);
    story.tell(0, &new(600));
    story.tell_of(10, &younger, &new(600));
    story.tell_of(50, &younger, &delta(Leg::Client, [1, 10, 1, 10]));
    story.table.link_down(at(100), SOURCE);
    story.table.scan_begins(at(200), SOURCE);
    let alice = story.key;
    story.table.check_key(at(200), SOURCE, &alice, Some(secs(200)));
    story.table.sweep(at(200), SOURCE, 0);
    story.table.scan_ends(SOURCE);
    story.table.link_up(at(200), SOURCE);
    assert_eq!(story.closed(), [("missed", 1)]);
    story.wait(211);
    assert_eq!(ends(&mut story), (vec![at(50)], vec![at(50)]));
}

#[test]
fn an_end_that_coturn_reported_is_dated_at_the_report() {
    for event in [Event::Deleted, total(Leg::Client, [1, 10, 1, 10])] {
        let mut story = noted();
        story.tell(0, &new(600));
        story.tell(50, &event);
        story.wait(100);
        assert_eq!(ends(&mut story), (vec![at(50)], vec![at(50)]), "{event:?}");
    }
}

#[test]
fn idle_goes_only_as_far_as_the_source_was_received() {
    let mut story =
        Story::with(Settings { max_lifetime: secs(60), idle_after: secs(100), ..Settings::default() });
    story.tell(0, &new(600));
    story.table.received_until(SOURCE, at(90));
    // A report of second 95 may still be in the socket.
    assert_eq!(story.wait(300).orphans(Orphan::Idle), 0);
    story.table.received_until(SOURCE, at(100));
    assert_eq!(story.wait(310).orphans(Orphan::Idle), 0, "a hundred seconds are not more than a hundred");
    story.table.received_until(SOURCE, at(101));
    assert_eq!(story.wait(320).orphans(Orphan::Idle), 1);
    story.table.received_until(SOURCE, Timestamp::MAX);
    story.ends_empty();
}

#[test]
fn nothing_is_idle_while_its_source_is_down_and_its_clock_begins_anew_after_that() {
    let mut story =
        Story::with(Settings { max_lifetime: secs(60), idle_after: secs(100), ..Settings::default() });
    story.tell(0, &new(100_000));
    story.table.link_down(at(50), SOURCE);
    assert_eq!(story.wait(1000).orphans(Orphan::Idle), 0);
    story.table.link_up(at(1000), SOURCE);
    assert_eq!(story.wait(1100).orphans(Orphan::Idle), 0);
    assert_eq!(story.wait(1101).orphans(Orphan::Idle), 1);
    story.ends_empty();
}

#[test]
fn a_key_of_two_servers_has_no_totals_for_a_day() {
    let other = || Event::New(grant(600, "192.0.2.2:3478", REMOTE));
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.tell(100, &other());
    let live_once = |story: &mut Story, from: u64| {
        story.tell(from, &other());
        story.tell(from + 1, &Event::Deleted);
        story.tell(from + 1, &total(Leg::Client, [1, 10, 1, 10]));
        story.tell(from + 1, &total(Leg::Peer, [0; 4]));
        story.wait(from + 20);
        story.realm().recovered.client.packets()
    };
    // The first of these replaces the one that is open.
    for (from, recovered) in [(200, 0), (DAY + 98, 0), (DAY + 200, 2)] {
        assert_eq!(live_once(&mut story, from), recovered, "from {from}");
    }
    let anomalies = story.table.snapshot().anomalies;
    assert_eq!(anomalies.get(Anomaly::SharedKey as usize), 1);
    story.ends_empty();
}

#[test]
fn a_server_is_forgotten_after_a_day_and_begins_anew() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.tell(90, &Event::Deleted);
    // Its last sign.
    story.tell(100, &total(Leg::Client, [0; 4]));
    let closed = |story: &Story| {
        let servers = story.table.snapshot().servers;
        servers.iter().map(|server| (server.last_seen, server.closed.total())).collect::<Vec<_>>()
    };
    story.wait(100 + DAY);
    assert_eq!(closed(&story), [(at(100), 1)], "a day is not more than a day");
    story.wait(101 + DAY);
    assert_eq!(closed(&story), []);
    story.tell(200 + DAY, &new(600));
    assert_eq!(closed(&story), [(at(200 + DAY), 0)], "its series left the page, and begin at 0");
    // One that is met again in time goes on.
    story.tell(300 + DAY, &Event::Deleted);
    story.tell(300 + DAY + 3600, &new(600));
    assert_eq!(closed(&story), [(at(300 + DAY + 3600), 1)]);
    story.ends_empty();
}

#[test]
fn a_server_with_live_allocations_is_not_forgotten() {
    let two_days = 2 * 24 * 3600;
    let mut story = Story::with(Settings { max_lifetime: secs(u64::from(two_days)), ..Settings::default() });
    story.tell(0, &new(two_days));
    story.wait(DAY + 100);
    assert_eq!(story.table.snapshot().servers.len(), 1);
    story.ends_empty();
}
