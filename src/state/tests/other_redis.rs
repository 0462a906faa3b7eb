//! Keys of a Redis that is another one than before a gap: what it lacks and what it shows.

use super::super::KeyCheck;
use super::audit::audit;
use super::scans::{end_of_gap, gap, scan};
use super::story::Story;
use super::*;

/// A replica that becomes the master lacks the last writes. A key that it has, and that was set before, was written after all
/// that it must have as well.
#[test]
fn on_another_redis_an_end_is_proven_by_a_newer_key_of_the_one_before() {
    let mut story = Story::new();
    let keys = [1, 2, 3, 4, 5].map(|id| key("r", "alice", id));
    for (second, key) in [0, 10, 55, 57, 60].into_iter().zip(&keys) {
        story.tell_of(second, key, &new(600));
    }
    let look = |story: &mut Story, second, redis, is_whole| {
        gap(story, second, second);
        story.table.scan_of(story.table.now, SOURCE, redis, None);
        // Its key was set on the Redis of now, and proves nothing of the one before.
        story.tell_of(second, &key("r", "alice", 9), &refreshed(600));
        assert_eq!(scan(story, second, &key("r", "alice", 9), &new(600), Some(0)).0, KeyCheck::Known);
        for (key, set_at) in [(&keys[0], 0), (&keys[3], 57)] {
            assert_eq!(scan(story, second, key, &new(600), Some(second - set_at)).0, KeyCheck::Known);
        }
        if is_whole {
            end_of_gap(story, second);
        } else {
            story.table.scan_failed(SOURCE);
        }
        audit(&story.table).unwrap();
        story.closed()
    };
    assert_eq!(look(&mut story, 100, "a 1", false), [], "which one it was is not known before");
    // The SET of 10 s came before that of 57 s for certain, that of 55 s perhaps, that of 60 s did not. It stays so until
    // they are set anew, whatever scans fail and however often the link is lost meanwhile.
    assert_eq!(look(&mut story, 120, "b 1", false), []);
    assert_eq!(look(&mut story, 140, "b 1", true), [("missed", 1)]);
    assert_eq!(look(&mut story, 200, "b 1", true), [("missed", 1)]);
    story.tell_of(300, &keys[4], &refreshed(600));
    assert_eq!(look(&mut story, 400, "b 1", true), [("missed", 2)], "set on this one, and gone since");
    // A key that was set on the second Redis proves nothing of what that one lacked.
    let later = key("r", "alice", 10);
    story.tell_of(410, &later, &new(600));
    gap(&mut story, 420, 420);
    story.table.scan_of(story.table.now, SOURCE, "c 1", None);
    for (key, idle) in [(&keys[0], 420), (&later, 10)] {
        assert_eq!(scan(&mut story, 420, key, &new(600), Some(idle)).0, KeyCheck::Known);
    }
    end_of_gap(&mut story, 420);
    assert_eq!(story.closed(), [("missed", 2)]);
    story.ends_empty();
}

/// Keys of a copy may seem as young as the copy is: how old an allocation is says what was written before its key.
#[test]
fn what_a_key_proves_goes_by_the_birth_of_its_allocation() {
    let keys = [1, 2, 3, 4].map(|id| key("r", "alice", id));
    // Which Redis is read from 100 s on, and how many are proven to have ended.
    for (redis, expected) in [
        ("b 2", vec![("missed", 1)]),
        // The process of before, with the data of another one since some time after it was seen at 60 s.
        ("a 2", vec![]),
        ("a 1", vec![("missed", 2)]),
    ] {
        let mut story = Story::new();
        for (second, key) in [0, 10, 20, 50].into_iter().zip(&keys) {
            story.tell_of(second, key, &new(600));
        }
        gap(&mut story, 60, 60);
        story.table.scan_of(story.table.now, SOURCE, "a 1", None);
        for (key, set_at) in keys.iter().zip([0, 10, 20, 50]) {
            scan(&mut story, 60, key, &new(600), Some(60 - set_at));
        }
        end_of_gap(&mut story, 60);
        for (second, key) in [(70, &keys[2]), (90, &keys[3])] {
            story.tell_of(second, key, &refreshed(600));
        }
        gap(&mut story, 100, 100);
        story.table.scan_of(story.table.now, SOURCE, redis, None);
        for (key, idle) in [(&keys[0], 100), (&keys[3], 10)] {
            scan(&mut story, 100, key, &refreshed(600), Some(idle));
        }
        end_of_gap(&mut story, 100);
        assert_eq!(story.closed(), expected, "{redis}");
        story.ends_empty();
    }
}

#[test]
fn a_link_to_a_redis_that_did_not_say_which_it_is_may_have_been_to_another_one() {
    let keys = [1, 2, 3].map(|id| key("r", "alice", id));
    let mut story = Story::new();
    story.table.scan_begins(at(0), SOURCE);
    story.table.scan_of(story.table.now, SOURCE, "a 1", None);
    story.table.scan_ends(SOURCE);
    for (second, key) in [(1, &keys[0]), (99, &keys[1])] {
        story.tell_of(second, key, &new(600));
    }
    gap(&mut story, 100, 130);
    story.table.scan_may_miss_keys(SOURCE);
    end_of_gap(&mut story, 130);
    story.tell_of(150, &keys[2], &new(600));
    gap(&mut story, 200, 205);
    story.table.scan_of(story.table.now, SOURCE, "b 1", None);
    for (key, set_at) in [(&keys[0], 1), (&keys[2], 150)] {
        scan(&mut story, 205, key, &new(600), Some(205 - set_at));
    }
    end_of_gap(&mut story, 205);
    assert_eq!(story.closed(), []);
    story.ends_empty();
}

/// A name without sentinels may lead elsewhere while the subscription lasts.
#[test]
fn since_another_redis_was_read_under_a_link_its_events_prove_nothing_of_the_one_before() {
    let keys = [1, 2, 3].map(|id| key("r", "alice", id));
    let mut story = Story::new();
    let look = |story: &mut Story, second, redis| {
        story.table.scan_begins(at(second), SOURCE);
        story.table.scan_of(story.table.now, SOURCE, redis, None);
    };
    look(&mut story, 0, "a 1");
    story.table.scan_ends(SOURCE);
    for (second, key) in [(1, &keys[0]), (70, &keys[1]), (80, &keys[2])] {
        story.tell_of(second, key, &new(600));
    }
    look(&mut story, 100, "b 1");
    story.table.scan_ends(SOURCE);
    story.table.link_down(at(200), SOURCE);
    look(&mut story, 200, "b 1");
    for (key, set_at) in [(&keys[0], 1), (&keys[2], 80)] {
        scan(&mut story, 200, key, &new(600), Some(200 - set_at));
    }
    end_of_gap(&mut story, 200);
    assert_eq!(story.closed(), []);
    story.ends_empty();
}

#[test]
fn what_was_read_from_another_redis_is_judged_as_any() {
    let (old, adopted) = (key("r", "alice", 1), key("r", "alice", 2));
    let mut story = Story::new();
    story.table.scan_begins(at(0), SOURCE);
    story.table.scan_of(story.table.now, SOURCE, "a 1", None);
    story.table.scan_ends(SOURCE);
    story.tell_of(1, &old, &new(600));
    let look = |story: &mut Story, second, keys: &[(&Key<'_>, u64)]| {
        gap(story, second, second + 10);
        story.table.scan_of(story.table.now, SOURCE, "b 1", None);
        for (key, idle) in keys {
            scan(story, second + 10, key, &new(600), Some(*idle));
        }
        end_of_gap(story, second + 10);
        story.closed()
    };
    assert_eq!(look(&mut story, 90, &[(&old, 99), (&adopted, 5)]), []);
    assert_eq!(story.realm().live.total(), 2);
    assert_eq!(look(&mut story, 290, &[(&old, 299)]), [("missed", 1)]);
    story.ends_empty();
}
