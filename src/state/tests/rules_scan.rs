//! What a scan of the keys may conclude, and what it may not: each story turns on one rule and on its edge.

use super::super::{KeyCheck, Orphan, Scanned, Settings, Table};
use super::audit::audit;
use super::story::Story;
use super::*;
use crate::wire::status_key::{MOST_IDLE, is_stale};

/// A key as a scan finds it. Its value is not read.
fn look(story: &mut Story, seconds: u64, key: &Key<'_>, idle: u64) -> KeyCheck {
    let look = story.table.check_key(at(seconds), SOURCE, key, Some(secs(idle)));
    audit(&story.table).unwrap();
    look
}

/// From a link that was lost to the beginning of the scan after it.
fn gap(story: &mut Story, from: u64, to: u64) {
    story.table.link_down(at(from), SOURCE);
    story.table.scan_begins(at(to), SOURCE);
}

fn end_of_scan(story: &mut Story, seconds: u64) {
    story.table.sweep(at(seconds), SOURCE, 0);
    story.table.scan_ends(SOURCE);
    story.table.link_up(at(seconds), SOURCE);
    audit(&story.table).unwrap();
}

fn live(story: &Story) -> u64 {
    story.realm().live.total()
}

/// Two allocations of one server before a gap. The scan after it finds the older key, so the younger one was not wiped;
/// it is absent.
fn older_found_younger_absent(before_the_sweep: impl FnOnce(&mut Story, &Key<'_>)) -> Story {
    let mut story = Story::new();
    let (older, younger) = (story.key, key("r", "bob", 2));
    story.tell(0, &new(600));
    story.tell_of(10, &younger, &new(600));
    gap(&mut story, 100, 200);
    assert_eq!(look(&mut story, 200, &older, 200), KeyCheck::Known);
    before_the_sweep(&mut story, &younger);
    end_of_scan(&mut story, 202);
    story
}

#[test]
fn an_absent_key_is_no_end_where_there_was_a_sign_since_the_scan_began() {
    assert_eq!(older_found_younger_absent(|_, _| {}).closed(), [("missed", 1)]);
    // The scan may have passed the place of the key before it was set.
    for moment in [200, 201] {
        for event in [refreshed(600), delta(Leg::Client, [1, 10, 1, 10])] {
            let story = older_found_younger_absent(|story, younger| {
                story.tell_of(moment, younger, &event);
            });
            assert!(story.closed().is_empty(), "{event:?} at {moment}");
            assert_eq!(live(&story), 2);
            story.ends_empty();
        }
    }
}

#[test]
fn an_overdue_allocation_with_a_sign_since_the_scan_began_stays_an_orphan() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.wait(700);
    story.table.scan_begins(at(1000), SOURCE);
    story.tell(1001, &delta(Leg::Client, [1, 10, 1, 10]));
    end_of_scan(&mut story, 1002);
    assert_eq!(story.orphans(Orphan::Overdue), 1);
    story.ends_empty();
}

/// The short form does not say which server it is: the older key may be another one's.
#[test]
fn an_absent_key_of_coturn_before_4_6_is_no_end() {
    for (form, expected) in [(None, vec![]), (grant(600, LOCAL, REMOTE).path, vec![("missed", 1)])] {
        let mut story = Story::new();
        let (older, younger) = (story.key, key("r", "bob", 2));
        story.tell(0, &Event::New(Grant { lifetime: 600, path: form }));
        story.tell_of(10, &younger, &Event::New(Grant { lifetime: 600, path: form }));
        gap(&mut story, 100, 200);
        assert_eq!(look(&mut story, 200, &older, 200), KeyCheck::Known);
        end_of_scan(&mut story, 200);
        assert_eq!(story.closed(), expected, "{form:?}");
        story.ends_empty();
    }
}

/// `OBJECT IDLETIME` is in whole seconds, and a SET is not one moment with its message: what lies within two seconds of
/// a status may be that status.
#[test]
fn a_key_set_within_two_seconds_of_our_last_status_is_that_status() {
    for (set_at, expected) in [(50, KeyCheck::Known), (52, KeyCheck::Known), (53, KeyCheck::Read)] {
        let mut story = Story::new();
        let alice = story.key;
        story.tell(0, &new(600));
        story.tell(50, &refreshed(600));
        gap(&mut story, 100, 200);
        assert_eq!(look(&mut story, 200, &alice, 200 - set_at), expected, "set at {set_at}");
    }
}

#[test]
fn an_unknown_key_set_within_two_seconds_before_the_gap_may_have_been_missed() {
    for (set_at, expected) in [(97, KeyCheck::Stale), (98, KeyCheck::Read), (150, KeyCheck::Read)] {
        let mut story = Story::new();
        let stranger = key("r", "carol", 3);
        gap(&mut story, 100, 200);
        assert_eq!(look(&mut story, 200, &stranger, 200 - set_at), expected, "set at {set_at}");
    }
}

/// Whatever a Redis loads from its disk seems set when its process began: ends that it had not saved are undone.
#[test]
fn an_unknown_key_that_a_restarted_redis_may_have_loaded_is_not_adopted() {
    for (uptime, set_at, expected) in [
        (None, 120, KeyCheck::Read),
        (Some(80), 120, KeyCheck::Stale),
        (Some(80), 121, KeyCheck::Stale),
        (Some(80), 122, KeyCheck::Read),
        // It ran before the gap, and has what was set in it.
        (Some(180), 98, KeyCheck::Read),
        (Some(180), 97, KeyCheck::Stale),
        (Some(u64::MAX), 98, KeyCheck::Read),
    ] {
        let mut story = Story::new();
        gap(&mut story, 100, 200);
        if let Some(uptime) = uptime {
            story.table.scan_of(at(200), SOURCE, "b 1", Some(secs(uptime)));
            // It is tried again within the gap.
            story.table.scan_failed(SOURCE);
            story.table.scan_begins(at(200), SOURCE);
            story.table.scan_of(at(200), SOURCE, "b 1", Some(secs(uptime)));
        }
        let check = look(&mut story, 200, &key("r", "carol", 3), 200 - set_at);
        assert_eq!(check, expected, "{uptime:?}: set at {set_at}");
    }
    // Without idle times none is younger.
    for (uptime, expected) in [(80, KeyCheck::Stale), (180, KeyCheck::Read)] {
        let mut story = Story::new();
        gap(&mut story, 100, 200);
        story.table.scan_of(at(200), SOURCE, "b 1", Some(secs(uptime)));
        let check = story.table.check_key(at(200), SOURCE, &key("r", "carol", 3), None);
        assert_eq!(check, expected, "{uptime}");
    }
    // Of the process from before the gap nothing was loaded, however young it is.
    for (redis, expected) in [("b 1", KeyCheck::Stale), ("a 2", KeyCheck::Read)] {
        let mut story = Story::new();
        for (second, redis, uptime) in [(10, "a 1", 9), (11, redis, 1)] {
            gap(&mut story, second, second);
            story.table.scan_of(at(second), SOURCE, redis, Some(secs(uptime)));
        }
        assert_eq!(look(&mut story, 11, &key("r", "carol", 3), 0), expected, "{redis}");
    }
    // At the first watch nobody has seen an end; and that Redis is not new at the gap that follows.
    let mut story = Story::before_the_watch();
    let alice = story.key;
    story.table.scan_begins(at(200), SOURCE);
    story.table.scan_of(at(200), SOURCE, "b 1", Some(secs(1)));
    assert_eq!(look(&mut story, 200, &alice, 1), KeyCheck::Read);
    end_of_scan(&mut story, 200);
    gap(&mut story, 200, 201);
    story.table.scan_of(at(201), SOURCE, "b 1", Some(secs(2)));
    assert_eq!(look(&mut story, 201, &alice, 1), KeyCheck::Read);
}

/// Nor does it tell anything of one that is known: it may be older than what was received.
#[test]
fn a_known_key_that_a_restarted_redis_may_have_loaded_tells_nothing() {
    for (uptime, check, live_after, adopted) in
        [(None, KeyCheck::Read, 3, 2), (Some(80), KeyCheck::Stale, 1, 0), (Some(180), KeyCheck::Read, 3, 2)]
    {
        let mut story = Story::new();
        let [overdue, gone, lives] = [1, 7, 1_000_000_000_000_001].map(|id| key("r", "alice", id));
        let of_overdue = |lifetime| grant(lifetime, "192.0.2.1:3479", REMOTE);
        story.tell_of(1, &overdue, &Event::New(of_overdue(60)));
        story.tell_of(2, &gone, &new(3600));
        // Another process, which proves that the one of `gone` is dead.
        story.tell_of(900, &lives, &new(600));
        story.tell_of(901, &key("r", "bob", 2), &new(600));
        story.tell_of(902, &key("r", "bob", 2), &Event::Deleted);
        assert_eq!(live(&story), 1);
        story.table.take_discoveries();
        gap(&mut story, 950, 1050);
        if let Some(uptime) = uptime {
            story.table.scan_of(at(1050), SOURCE, "b 1", Some(secs(uptime)));
        }
        for (key, value) in [(overdue, Event::Refreshed(of_overdue(600))), (gone, refreshed(600))] {
            assert_eq!(look(&mut story, 1050, &key, 80), check, "{uptime:?}");
            story.table.scanned(at(1050), SOURCE, &key, &value, Some(secs(80)));
        }
        let known = if uptime == Some(80) { KeyCheck::Known } else { KeyCheck::Read };
        assert_eq!(look(&mut story, 1050, &lives, 80), known, "{uptime:?}");
        let other = Event::New(grant(600, LOCAL, "198.51.100.7:40001"));
        let read = story.table.scanned(at(1050), SOURCE, &lives, &other, Some(secs(80)));
        assert_eq!(read == Scanned::Known, uptime == Some(80), "{uptime:?}");
        end_of_scan(&mut story, 1050);
        assert_eq!((live(&story), story.realm().adopted), (live_after, adopted), "{uptime:?}");
        assert_eq!(story.table.take_discoveries().is_empty(), uptime == Some(80), "{uptime:?}");
        if uptime == Some(80) {
            // Nor in a later gap.
            gap(&mut story, 1100, 1110);
            story.table.scan_of(at(1110), SOURCE, "b 1", Some(secs(140)));
            for (key, check) in
                [(overdue, KeyCheck::Stale), (gone, KeyCheck::Stale), (lives, KeyCheck::Known)]
            {
                assert_eq!(look(&mut story, 1110, &key, 140), check);
            }
            end_of_scan(&mut story, 1110);
        }
        story.ends_empty();
    }
}

#[test]
fn a_left_over_that_seems_set_within_two_seconds_of_our_reading_was_read_by_us() {
    for (seems_set_at, expected) in
        [(10_000, KeyCheck::Stale), (10_002, KeyCheck::Stale), (10_003, KeyCheck::Read)]
    {
        let mut story = Story::before_the_watch();
        let alice = story.key;
        story.table.scan_begins(at(10_000), SOURCE);
        assert_eq!(look(&mut story, 10_000, &alice, 1000), KeyCheck::Read);
        let read = story.table.scanned(at(10_000), SOURCE, &alice, &new(600), Some(secs(1000)));
        assert_eq!(read, Scanned::Stale);
        end_of_scan(&mut story, 10_000);
        gap(&mut story, 10_000, 10_100);
        assert_eq!(look(&mut story, 10_100, &alice, 10_100 - seems_set_at), expected, "{seems_set_at}");
    }
}

#[test]
fn a_key_proves_no_wipe_only_if_it_is_older_by_more_than_two_seconds() {
    for (granted_at, expected) in [(2, vec![]), (3, vec![("missed", 1)])] {
        let mut story = Story::new();
        let (older, younger) = (story.key, key("r", "bob", 2));
        story.tell(0, &new(600));
        story.tell_of(granted_at, &younger, &new(600));
        gap(&mut story, 100, 200);
        assert_eq!(look(&mut story, 200, &older, 200), KeyCheck::Known);
        end_of_scan(&mut story, 200);
        assert_eq!(story.closed(), expected, "granted at {granted_at}");
        story.ends_empty();
    }
}

/// One scan's oldest key says nothing about the next scan: the keys may have been wiped between the two.
#[test]
fn the_oldest_key_of_an_earlier_scan_proves_nothing() {
    let mut story = Story::new();
    let (older, younger) = (story.key, key("r", "bob", 2));
    story.tell(0, &new(3600));
    story.tell_of(10, &younger, &new(3600));
    gap(&mut story, 100, 200);
    for known in [older, younger] {
        assert_eq!(look(&mut story, 200, &known, 180), KeyCheck::Read, "set at 20, as far as its key says");
    }
    end_of_scan(&mut story, 200);
    story.tell_of(250, &younger, &refreshed(3600));
    gap(&mut story, 300, 400);
    end_of_scan(&mut story, 400);
    assert!(story.closed().is_empty(), "no key is left: {:?}", story.closed());
    story.ends_empty();
}

#[test]
fn what_ended_while_the_scan_went_on_is_neither_read_nor_adopted() {
    let mut story = Story::before_the_watch();
    let alice = story.key;
    story.table.scan_begins(at(1000), SOURCE);
    assert_eq!(look(&mut story, 1000, &alice, 100), KeyCheck::Read);
    story.tell(1001, &Event::Deleted);
    // Its record is gone, and the value that was asked for before its end comes now.
    story.wait(1012);
    let scanned = story.table.scanned(at(1012), SOURCE, &alice, &new(600), Some(secs(112)));
    assert_eq!(scanned, Scanned::Known);
    assert_eq!(look(&mut story, 1012, &alice, 112), KeyCheck::Known);
    assert_eq!((live(&story), story.realm().adopted), (0, 1), "the lone end is all that was met");
    end_of_scan(&mut story, 1012);
    // The next scan knows nothing of it: whatever key is there now is another allocation's.
    story.table.link_down(at(1100), SOURCE);
    story.table.scan_begins(at(1200), SOURCE);
    assert_eq!(look(&mut story, 1200, &alice, 50), KeyCheck::Read);
    story.ends_empty();
}

#[test]
fn a_record_that_waits_for_its_totals_is_not_adopted_from_its_key() {
    let mut story = Story::before_the_watch();
    let alice = story.key;
    story.tell(990, &new(600));
    story.tell(995, &Event::Deleted);
    story.table.scan_begins(at(1000), SOURCE);
    let scanned = story.table.scanned(at(1000), SOURCE, &alice, &new(600), Some(secs(10)));
    assert_eq!((scanned, live(&story)), (Scanned::Known, 0));
    end_of_scan(&mut story, 1000);
    story.ends_empty();
}

/// Ten seconds pass before a PING without an answer ends a link: what was set meanwhile was missed.
#[test]
fn a_gap_begins_at_the_last_word_that_came() {
    for (set_at, expected) in [(97, KeyCheck::Stale), (110, KeyCheck::Read)] {
        let mut story = Story::new();
        let stranger = key("r", "carol", 3);
        story.table.received_until(SOURCE, at(100));
        gap(&mut story, 130, 200);
        assert_eq!(look(&mut story, 200, &stranger, 200 - set_at), expected, "set at {set_at}");
    }
    // One that does not say how far it has got is believed up to the loss.
    let mut story = Story::new();
    gap(&mut story, 130, 200);
    assert_eq!(look(&mut story, 200, &key("r", "carol", 3), 90), KeyCheck::Stale);
    // A second loss before the link is well again does not shorten the gap.
    let mut story = Story::new();
    story.table.received_until(SOURCE, at(100));
    story.table.link_down(at(130), SOURCE);
    story.table.received_until(SOURCE, at(140));
    gap(&mut story, 150, 200);
    assert_eq!(look(&mut story, 200, &key("r", "carol", 3), 90), KeyCheck::Read);
}

#[test]
fn a_key_that_was_missed_refreshes_only_if_its_lifetime_says_that_it_was_set() {
    // Another lifetime than the one we know: no restart of Redis and no reader makes that.
    for (lifetime, due) in [(600, 1291), (900, 1191 + 300)] {
        let mut story = Story::new();
        let alice = story.key;
        story.tell(0, &new(600));
        gap(&mut story, 100, 600);
        let read = story.table.scanned(at(600), SOURCE, &alice, &refreshed(lifetime), Some(secs(100)));
        assert_eq!(read, Scanned::Known);
        end_of_scan(&mut story, 600);
        assert!(story.wait(due - 1).closed().is_empty(), "{lifetime}");
        let closed = story.wait(due + 400).closed();
        assert_eq!(closed, [("missed", 1)], "{lifetime}");
    }
}

#[test]
fn a_release_that_was_missed_is_read_from_the_key() {
    let mut story = Story::new();
    let alice = story.key;
    story.tell(0, &new(600));
    gap(&mut story, 100, 110);
    assert_eq!(look(&mut story, 110, &alice, 5), KeyCheck::Read);
    let read = story.table.scanned(at(110), SOURCE, &alice, &refreshed(0), Some(secs(5)));
    assert_eq!(read, Scanned::Known);
    end_of_scan(&mut story, 110);
    story.tell(115, &Event::Deleted);
    assert_eq!(story.closed(), [("released", 1)]);
    // So is that of one which was not known.
    let mut story = Story::before_the_watch();
    let alice = story.key;
    story.table.scan_begins(at(110), SOURCE);
    let read = story.table.scanned(at(110), SOURCE, &alice, &refreshed(0), Some(secs(5)));
    assert_eq!(read, Scanned::Adopted);
    end_of_scan(&mut story, 110);
    story.tell(115, &Event::Deleted);
    assert_eq!(story.closed(), [("released", 1)]);
    story.ends_empty();
}

/// The refresh of second 50 was received; whether there was another at 105 is not known. Either end may be the true one, to
/// two seconds.
#[test]
fn an_end_within_two_seconds_of_the_lifetime_that_was_granted_for_certain_is_an_expiry() {
    for (end, cause) in
        [(647, "disconnected"), (648, "expired"), (652, "expired"), (653, "disconnected"), (703, "expired")]
    {
        let mut story = Story::new();
        let alice = story.key;
        story.tell(0, &new(600));
        story.tell(50, &refreshed(600));
        gap(&mut story, 100, 110);
        story.table.scanned(at(110), SOURCE, &alice, &refreshed(600), Some(secs(5)));
        end_of_scan(&mut story, 110);
        story.tell(end, &Event::Deleted);
        assert_eq!(story.closed(), [(cause, 1)], "{end}");
    }
}

/// Reading makes a key young: the allocation that was read as new in a gap is not taken for yet another in the next.
#[test]
fn an_allocation_met_anew_in_a_gap_is_known_in_the_next_one() {
    let mut story = Story::new();
    let alice = story.key;
    story.tell(0, &new(600));
    gap(&mut story, 100, 200);
    let anew = Event::New(grant(600, LOCAL, "198.51.100.7:40001"));
    let read = story.table.scanned(at(200), SOURCE, &alice, &anew, Some(secs(50)));
    assert_eq!(read, Scanned::Adopted);
    end_of_scan(&mut story, 200);
    gap(&mut story, 210, 220);
    assert_eq!(look(&mut story, 220, &alice, 20), KeyCheck::Known, "idle since we read it");
    end_of_scan(&mut story, 220);
    assert_eq!((story.closed(), live(&story)), (vec![("missed", 1)], 1));
    story.ends_empty();
}

/// The birth that follows a scan is the scanned one's only while nothing else came of it, and only from the same client
/// and server.
#[test]
fn another_birth_replaces_a_scanned_allocation() {
    let adopted = || {
        let mut story = Story::new();
        story.table.scanned(at(5), SOURCE, &story.key, &new(600), Some(secs(0)));
        story
    };
    let elsewhere = [
        grant(600, "192.0.2.1:3479", REMOTE),
        grant(600, "192.0.2.2:3478", REMOTE),
        grant(600, LOCAL, "198.51.100.7:40001"),
    ];
    for grant in elsewhere {
        let mut story = adopted();
        story.tell(6, &Event::New(grant));
        assert_eq!(story.closed(), [("replaced", 1)], "{grant:?}");
    }
    let mut story = adopted();
    story.tell(6, &refreshed(600));
    story.tell(7, &new(600));
    assert_eq!(story.closed(), [("replaced", 1)], "a birth does not follow a refresh");
}

/// A table with a source that has never been up, reported by nobody.
#[test]
fn a_scan_of_a_source_that_is_not_there_does_nothing() {
    let mut table = Table::new(Settings::default(), &["test"]);
    let nobody = super::super::SourceId(7);
    table.scan_begins(at(1), nobody);
    let swept = table.sweep(at(1), nobody, 0);
    assert_eq!((swept.next, swept.absent, table.scan_ends(nobody)), (None, 0, 0));
}

/// The resync, `doctor` and `prune` agree on what is stale.
#[test]
fn an_unknown_key_is_stale_by_the_one_definition() {
    let settings = Settings::default();
    let limit = settings.longest_silence();
    for idle in [
        Duration::ZERO,
        limit,
        limit + secs(1),
        MOST_IDLE.saturating_sub(secs(1)),
        MOST_IDLE,
        MOST_IDLE + secs(1),
    ] {
        let mut table = Table::new(settings.clone(), &["test"]);
        // Later than any idle time.
        let now = at(40_000_000);
        table.scan_begins(now, SOURCE);
        let check = table.check_key(now, SOURCE, &key("r", "alice", 1), Some(idle));
        let expected = if is_stale(idle, limit) { KeyCheck::Stale } else { KeyCheck::Read };
        assert_eq!(check, expected, "{idle:?}");
        let outcome = table.scanned(now, SOURCE, &key("r", "alice", 1), &new(600), Some(idle));
        let is_left_over = idle > limit && idle < MOST_IDLE;
        assert_eq!(outcome, if is_left_over { Scanned::Stale } else { outcome }, "{idle:?}");
        assert!(idle < MOST_IDLE || outcome == Scanned::Adopted, "{idle:?}: of unknown age");
    }
}
