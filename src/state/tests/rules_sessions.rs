//! Sessions of allocations that come back, of names that strangers share, and those that wait for company.

use super::super::{MANGLED, Settings};
use super::kept::Ended;
use super::story::Story;
use super::*;

fn used(story: &mut Story, seconds: u64) {
    story.tell(seconds, &delta(Leg::Peer, [100, 1000, 100, 1000]));
}

/// What a session has accounted for is not the next one's, nor is the time before the next one.
#[test]
fn an_allocation_that_lives_again_brings_its_new_session_only_what_is_new() {
    let mut story = Story::new();
    story.table.begin_store(1, 1);
    story.tell(0, &new(600));
    used(&mut story, 10);
    story.wait(700);
    assert_eq!((story.closed(), story.realm().session_bytes.sum()), (vec![("abandoned", 1)], 2000));
    story.tell(800, &refreshed(600));
    used(&mut story, 850);
    story.tell(900, &Event::Deleted);
    story.wait(911);
    assert_eq!((story.realm().session_bytes.count(), story.realm().session_bytes.sum()), (2, 4000));
    let Ended { sessions, .. } = story.table.take_ended();
    let relay: Vec<_> = sessions.iter().map(|session| session.relay).collect();
    assert_eq!(relay, [Some((at(0), at(10))), Some((at(800), at(900)))]);
    assert_eq!(sessions[1].started, at(800));
    story.ends_empty();
}

#[test]
fn a_session_that_was_joined_and_left_again_lingers_anew() {
    let mut story = Story::with(Settings { linger: secs(30), ..Settings::default() });
    let second = key("r", "alice", 2);
    story.tell(0, &new(600));
    story.tell(10, &Event::Deleted);
    story.tell_of(20, &second, &new(600));
    story.tell_of(25, &second, &Event::Deleted);
    assert_eq!(story.wait(54).realm().sessions, 1, "40 s was the first one's time");
    assert_eq!(story.wait(55).realm().sessions, 0);
    story.ends_empty();
}

/// coturn before 4.13 mangles names with a `%`: many users go under one name.
#[test]
fn mangled_names_are_split_by_host() {
    let mut story = Story::new();
    let mangled = |id| key("r", "a b", id);
    story.tell_of(0, &mangled(1), &new(600));
    story.tell_of(1, &mangled(2), &Event::New(grant(600, LOCAL, "203.0.113.9:1")));
    story.tell_of(2, &mangled(3), &Event::New(grant(600, LOCAL, "203.0.113.9:2")));
    assert_eq!(story.realm().sessions, 2);
    assert_eq!(MANGLED, b"<mangled>");
    story.ends_empty();
}
