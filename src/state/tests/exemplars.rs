//! Which allocation stands for the observations of a bucket, and when it was observed.

use super::super::{Durations, Exemplar, Settings};
use super::images::read_back;
use super::story::Story;
use super::*;

/// The exemplars that there are: id, value, second.
fn of<const N: usize>(histogram: &super::super::Histogram<N>) -> Vec<(u64, u64, u64)> {
    let figures =
        |&Exemplar { allocation, value, at }: &Exemplar| (allocation.0, value, at.as_millis() / 1000);
    histogram.exemplars().flatten().map(figures).collect()
}

fn of_relayed(story: &Story) -> [Vec<(u64, u64, u64)>; 3] {
    let realm = story.realm();
    let [relayed, _]: &[Durations; 2] = &realm.session_durations;
    [of(relayed), of(&realm.session_relay_durations), of(&realm.session_bytes)]
}

const USED: [u64; 4] = [100, 1000, 100, 1000];

#[test]
fn an_allocation_stands_for_its_own_duration_once_it_has_ended() {
    let mut story = Story::new();
    let keys = [1, 2, 3].map(|id| key("r", "alice", id));
    for (key, second) in keys.iter().zip([0, 10, 20]) {
        story.tell_of(second, key, &new(600));
    }
    for (key, second) in keys.iter().zip([40, 45, 420]) {
        story.tell_of(second, key, &Event::Deleted);
    }
    // 40 s and 35 s are in one bucket; the second was the last.
    assert_eq!(of(&story.realm().allocation_durations), [(2, 35_000, 45), (3, 400_000, 420)]);
    story.ends_empty();
}

#[test]
fn an_allocation_that_ends_unseen_stands_for_nothing() {
    let mut story = Story::new();
    story.tell(0, &refreshed(600));
    story.tell(10, &Event::Deleted);
    story.wait(100);
    let realm = story.realm();
    assert_eq!(of(&realm.allocation_durations), []);
    assert_eq!(of(&realm.session_durations[1]), []);
    story.ends_empty();
}

/// One that did not relay settles after it, and another before.
#[test]
fn one_that_relayed_stands_for_a_relayed_session() {
    let mut story = Story::new();
    let [spare, used, last] = [1, 2, 3].map(|id| key("r", "alice", id));
    for key in [&spare, &used, &last] {
        story.tell_of(0, key, &new(600));
    }
    story.tell_of(20, &used, &delta(Leg::Peer, USED));
    for (second, key) in [(30, &spare), (50, &used), (60, &last)] {
        story.tell_of(second, key, &Event::Deleted);
    }
    story.wait(100);
    // Its sums were final ten seconds after the last end.
    let expected = [vec![(2, 60_000, 70)], vec![(2, 50_000, 70)], vec![(2, 2000, 70)]];
    assert_eq!(of_relayed(&story), expected);
    assert_eq!(of(&story.realm().session_durations[1]), []);
    story.ends_empty();
}

#[test]
fn of_several_that_relayed_or_of_none_it_is_the_last() {
    for (traffic, outcome) in [(Some(USED), 0), (None, 1)] {
        let mut story = Story::new();
        let keys = [1, 2].map(|id| key("r", "alice", id));
        for key in &keys {
            story.tell_of(0, key, &new(600));
            if let Some(traffic) = traffic {
                story.tell_of(10, key, &delta(Leg::Peer, traffic));
            }
        }
        for (second, key) in [(20, &keys[1]), (25, &keys[0])] {
            story.tell_of(second, key, &Event::Deleted);
        }
        story.wait(100);
        assert_eq!(of(&story.realm().session_durations[outcome]), [(1, 25_000, 35)]);
        story.ends_empty();
    }
}

/// However late the table is given the time, and whichever process does it.
#[test]
fn a_session_that_lingers_is_observed_when_it_closes() {
    let mut story = Story::with(Settings { linger: secs(30), are_rates_kept: false, ..Settings::default() });
    story.tell(0, &new(600));
    story.tell(10, &delta(Leg::Peer, USED));
    story.tell(20, &Event::Deleted);
    story.wait(45);
    story.table = read_back(&mut story.table);
    story.wait(500);
    let expected = [vec![(1, 20_000, 50)], vec![(1, 20_000, 50)], vec![(1, 2000, 50)]];
    assert_eq!(of_relayed(&story), expected);
    story.ends_empty();
}
