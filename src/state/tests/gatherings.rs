//! Stories of gatherings and idle allocations.

use super::super::{Orphan, Settings};
use super::story::Story;
use super::*;

#[test]
fn an_old_quiet_gathering_is_idle_until_it_relays() {
    let mut story = Story::new();
    let spare = key("r", "alice", 2);
    story.tell(0, &new(600));
    story.tell_of(8, &spare, &new(600));
    let hold = |story: &mut Story, from: u64, to: u64| {
        for moment in (from..to).step_by(500) {
            story.tell(moment, &refreshed(600));
            story.tell_of(moment, &spare, &refreshed(600));
        }
    };
    hold(&mut story, 500, 3500);
    story.tell(3000, &delta(Leg::Peer, [9, 9, 9, 9]));
    hold(&mut story, 3500, 4800);
    story.wait(4800);
    assert_eq!(
        (story.realm().over_max_lifetime, story.orphans(Orphan::Idle)),
        (2, 0),
        "the used one covers the spare"
    );
    hold(&mut story, 4820, 5300);
    story.wait(5310);
    assert_eq!(story.orphans(Orphan::Idle), 2, "half an hour after 3000 s at the latest");
    story.tell_of(5320, &spare, &delta(Leg::Client, [1, 1, 1, 1]));
    assert_eq!(story.orphans(Orphan::Idle), 0, "one relays: none of the gathering is idle");
    hold(&mut story, 5400, 7200);
    story.wait(7300);
    assert_eq!((story.orphans(Orphan::Idle), story.realm().orphaned.get(Orphan::Idle as usize)), (2, 4));
    story.tell(7301, &Event::Deleted);
    assert_eq!(story.orphans(Orphan::Idle), 1);
    story.ends_empty();
}

#[test]
fn one_that_waits_for_its_expiry_is_not_held() {
    let mut story = Story::new();
    story.tell(0, &new(3600));
    story.wait(3601);
    assert_eq!((story.realm().over_max_lifetime, story.orphans(Orphan::Idle)), (1, 0));
    // a report proves that a refresh was lost; quiet after that, it is held
    story.tell(3602, &delta(Leg::Client, [1, 1, 1, 1]));
    assert_eq!(story.wait(3602 + 1800).orphans(Orphan::Idle), 0);
    assert_eq!(story.wait(3602 + 1801).orphans(Orphan::Idle), 1);
    story.ends_empty();
}

#[test]
fn longer_times_take_back_what_was_said_by_shorter_ones() {
    let mut story = Story::new();
    story.tell(0, &new(3600));
    for moment in [3000, 6000] {
        story.tell(moment, &refreshed(3600));
    }
    let shown = |story: &Story| (story.realm().over_max_lifetime, story.orphans(Orphan::Idle));
    assert_eq!(shown(story.wait(6600)), (1, 1));
    let later = Settings { idle_after: secs(7200), ..Settings::default() };
    story.table.adopt_settings(at(6700), later.clone(), &["test"]);
    assert_eq!(shown(story.wait(6700)), (1, 0));
    story.tell(6800, &delta(Leg::Client, [1, 1, 1, 1]));
    let longer = Settings { max_lifetime: secs(36_000), ..later };
    story.table.adopt_settings(at(6900), longer, &["test"]);
    assert_eq!(shown(story.wait(6900)), (0, 0));
    assert_eq!(story.realm().orphaned.get(Orphan::Idle as usize), 1, "it was one for a while");
    story.ends_empty();
}

#[test]
fn a_used_member_that_ends_leaves_its_clock_to_the_spare() {
    let mut story =
        Story::with(Settings { max_lifetime: secs(60), idle_after: secs(100), ..Settings::default() });
    let spare = key("r", "alice", 2);
    story.tell(0, &new(600));
    story.tell_of(1, &spare, &new(600));
    story.tell(90, &delta(Leg::Peer, [9, 9, 9, 9]));
    story.tell(90, &Event::Deleted);
    assert_eq!(story.wait(190).orphans(Orphan::Idle), 0);
    assert_eq!(story.wait(191).orphans(Orphan::Idle), 1);
}

#[test]
fn a_static_user_has_a_live_connection_beside_a_leaked_one() {
    let mut story =
        Story::with(Settings { max_lifetime: secs(60), idle_after: secs(100), ..Settings::default() });
    let other = key("r", "alice", 2);
    story.tell(0, &new(600));
    story.tell_of(1, &other, &Event::New(grant(600, LOCAL, "203.0.113.9:1")));
    story.tell_of(150, &other, &delta(Leg::Peer, [9, 9, 9, 9]));
    assert_eq!(story.wait(160).orphans(Orphan::Idle), 1, "other hosts are other gatherings");
}

/// A refresh was lost and came later: the spare is still its call's, however old both are.
#[test]
fn an_overdue_allocation_that_lives_again_is_back_in_its_gathering() {
    let mut story = Story::new();
    let spare = key("r", "alice", 2);
    story.tell(0, &new(600));
    story.tell_of(8, &spare, &new(600));
    for moment in (500..9000).step_by(500) {
        story.tell(moment, &refreshed(600));
        story.tell(moment, &delta(Leg::Peer, [2000, 2000, 2096, 2000]));
        // Its refreshes of 4000 s and 4500 s are lost.
        if !(4000..5000).contains(&moment) {
            story.tell_of(moment, &spare, &refreshed(600));
        }
    }
    assert_eq!((story.closed(), story.realm().adopted), (vec![("abandoned", 1)], 1));
    assert_eq!(story.realm().orphaned.get(Orphan::Idle as usize), 0, "it was never held without use");
    // The call ends its use: both are idle together.
    for moment in (9000..10_500).step_by(500) {
        story.tell(moment, &refreshed(600));
        story.tell_of(moment, &spare, &refreshed(600));
    }
    assert_eq!(story.wait(10_400).orphans(Orphan::Idle), 2);
    story.tell(10_500, &Event::Deleted);
    story.tell_of(10_500, &spare, &Event::Deleted);
    story.ends_empty();
}

/// A leaked gathering does not look used because one of it was overdue for a while.
#[test]
fn to_live_again_is_no_use() {
    let mut story =
        Story::with(Settings { max_lifetime: secs(60), idle_after: secs(2000), ..Settings::default() });
    story.tell(0, &new(600));
    assert_eq!(story.wait(700).closed(), [("abandoned", 1)]);
    story.tell(1900, &refreshed(600));
    assert_eq!(story.wait(2000).orphans(Orphan::Idle), 0);
    assert_eq!(story.wait(2001).orphans(Orphan::Idle), 1);
}

/// What an overdue one relays is use of its gathering.
#[test]
fn traffic_of_an_overdue_member_is_use_of_its_gathering() {
    let mut story =
        Story::with(Settings { max_lifetime: secs(60), idle_after: secs(1000), ..Settings::default() });
    let spare = key("r", "alice", 2);
    story.tell(0, &new(600));
    story.tell_of(1, &spare, &new(3600));
    assert_eq!(story.wait(800).closed(), [("abandoned", 1)]);
    story.tell(900, &delta(Leg::Client, [1, 1, 1, 1]));
    assert_eq!(story.wait(1900).orphans(Orphan::Idle), 0);
    assert_eq!(story.wait(1901).orphans(Orphan::Idle), 1);
}

#[test]
fn dual_stack_hosts_of_a_turn_rest_name_are_one_gathering() {
    let mut story =
        Story::with(Settings { max_lifetime: secs(60), idle_after: secs(100), ..Settings::default() });
    let [v4, v6] = [1, 2].map(|id| key("r", "1795343956:alice", id));
    story.tell_of(0, &v4, &new(600));
    story.tell_of(1, &v6, &Event::New(grant(600, LOCAL, "[2001:db8::1]:9")));
    story.tell_of(150, &v6, &delta(Leg::Peer, [9, 9, 9, 9]));
    assert_eq!(story.wait(160).orphans(Orphan::Idle), 0);
}

#[test]
fn a_gathering_knows_a_turn_rest_name_by_the_separator_that_is_set() {
    // With another separator the name is a name as any, and the hosts are other clients.
    for (rest_separator, name, idle) in [
        (b'|', "1795343956|alice", 0),
        (b':', "1795343956|alice", 1),
        (b'|', "1795343956:alice", 1),
        (b'|', "alice|1795343956", 0),
        (b'|', "1795343956", 0),
    ] {
        let mut story = Story::with(Settings {
            max_lifetime: secs(60),
            idle_after: secs(100),
            rest_separator,
            ..Settings::default()
        });
        let [v4, v6] = [1, 2].map(|id| key("r", name, id));
        story.tell_of(0, &v4, &new(600));
        story.tell_of(1, &v6, &Event::New(grant(600, LOCAL, "[2001:db8::1]:9")));
        story.tell_of(150, &v6, &delta(Leg::Peer, [9, 9, 9, 9]));
        assert_eq!(story.wait(160).orphans(Orphan::Idle), idle, "{name} with {}", char::from(rest_separator));
    }
}
