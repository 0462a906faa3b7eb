//! Stories of keys, gaps and sources: what a scan of Redis changes, and what it does not.

use super::super::{Applied, Cause, KeyCheck, Orphan, Scanned, Settings, Table};
use super::audit::audit;
use super::story::Story;
use super::*;

/// A key as a scan finds it; the value is read if it is wanted.
pub(super) fn scan(
    story: &mut Story,
    seconds: u64,
    key: &Key<'_>,
    event: &Event<'_>,
    idle: Option<u64>,
) -> (KeyCheck, Option<Scanned>) {
    let idle = idle.map(secs);
    let look = story.table.check_key(at(seconds), SOURCE, key, idle);
    let read = look == KeyCheck::Read;
    let scanned = read.then(|| story.table.scanned(at(seconds), SOURCE, key, event, idle));
    audit(&story.table).unwrap();
    (look, scanned)
}

/// From a lost link to the first key of the scan after it.
pub(super) fn gap(story: &mut Story, from: u64, to: u64) {
    story.table.link_down(at(from), SOURCE);
    story.table.scan_begins(at(to), SOURCE);
}

pub(super) fn end_of_gap(story: &mut Story, seconds: u64) -> u64 {
    let absent = story.table.sweep(at(seconds), SOURCE, 0).absent;
    story.table.scan_ends(SOURCE);
    story.table.link_up(at(seconds), SOURCE);
    audit(&story.table).unwrap();
    absent
}

#[test]
fn a_scan_adopts_what_lives_and_leaves_what_is_stale() {
    let mut story = Story::before_the_watch();
    let alice = |id| key("r", "alice", id);
    story.table.scan_begins(at(10_000), SOURCE);
    let mut found = |id, event: &Event<'_>, idle| scan(&mut story, 10_000, &alice(id), event, idle);
    assert_eq!(found(1, &new(600), Some(690)), (KeyCheck::Read, Some(Scanned::Adopted)));
    assert_eq!(found(1, &new(600), Some(0)), (KeyCheck::Again, None));
    assert_eq!(found(2, &new(600), Some(691)), (KeyCheck::Read, Some(Scanned::Stale)));
    assert_eq!(found(2, &new(600), Some(3691)), (KeyCheck::Stale, None), "not even read");
    assert_eq!(found(3, &refreshed(0), Some(1000)), (KeyCheck::Read, Some(Scanned::Adopted)));
    assert_eq!(found(4, &new(600), None), (KeyCheck::Read, Some(Scanned::Adopted)));
    story.tell_of(10_000, &alice(5), &Event::Deleted);
    story.wait(10_011);
    let (ended, _) = scan(&mut story, 10_011, &alice(5), &new(600), Some(3));
    assert_eq!(ended, KeyCheck::Known, "it ended while the scan went on");
    assert_eq!(end_of_gap(&mut story, 10_011), 0);
    assert_eq!(story.table.snapshot().realms[0].oldest_allocation, Some(at(9000)));
    story.ends_empty();
}

#[test]
fn after_a_gap_a_key_that_was_set_meanwhile_refreshes() {
    let mut story = Story::new();
    let alice = story.key;
    story.tell(0, &new(600));
    gap(&mut story, 100, 1000);
    assert_eq!(
        scan(&mut story, 1000, &alice, &refreshed(600), Some(500)),
        (KeyCheck::Read, Some(Scanned::Known))
    );
    end_of_gap(&mut story, 1000);
    gap(&mut story, 1000, 1001);
    assert_eq!(
        scan(&mut story, 1001, &alice, &refreshed(600), Some(1)).0,
        KeyCheck::Known,
        "that was our own reading"
    );
    end_of_gap(&mut story, 1001);
    story.table.received_until(SOURCE, Timestamp::MAX);
    assert!(story.wait(1691).closed().is_empty());
    assert_eq!(story.wait(1692).closed(), [("missed", 1)], "a lifetime and the grace after the gap");
    story.ends_empty();
}

#[test]
fn after_a_gap_a_key_that_was_made_anew_is_another_allocation() {
    let mut story = Story::new();
    let alice = story.key;
    story.tell(0, &new(600));
    gap(&mut story, 100, 1000);
    let anew = Event::New(grant(600, LOCAL, "198.51.100.7:40001"));
    assert_eq!(scan(&mut story, 1000, &alice, &anew, Some(500)), (KeyCheck::Read, Some(Scanned::Adopted)));
    end_of_gap(&mut story, 1000);
    let realm = story.realm();
    assert_eq!((story.closed(), realm.opened.total(), realm.adopted), (vec![("missed", 1)], 2, 0));
    assert_eq!(story.table.snapshot().realms[0].oldest_allocation, Some(at(500)));
    story.tell(1100, &Event::Deleted);
    story.tell(1100, &total(Leg::Client, [9, 90, 9, 90]));
    assert_eq!(
        story.realm().recovered.client,
        traffic([9, 90, 9, 90]),
        "its whole life is after the last one's"
    );
    story.ends_empty();
}

#[test]
fn a_restarted_redis_makes_old_keys_young_and_nothing_of_them_new() {
    // Redis counts the idle time from its own start where it has loaded its keys from disk.
    let mut story = Story::new();
    let alice = story.key;
    story.tell(0, &new(600));
    story.tell(50, &delta(Leg::Client, [1, 10, 1, 10]));
    gap(&mut story, 100, 110);
    assert_eq!(scan(&mut story, 110, &alice, &new(600), Some(5)), (KeyCheck::Read, Some(Scanned::Known)));
    end_of_gap(&mut story, 110);
    story.tell(600, &Event::Deleted);
    story.tell(600, &total(Leg::Client, [3, 30, 3, 30]));
    let realm = story.realm();
    assert_eq!((story.closed(), realm.opened.total()), (vec![("expired", 1)], 1));
    assert_eq!(realm.relayed.client, traffic([3, 30, 3, 30]), "each byte once");
    story.ends_empty();
}

#[test]
fn a_key_that_may_have_been_set_in_the_gap_allows_both_ends() {
    // The refresh of second 50 was received; the key says 105, which was a refresh or merely a restart of Redis.
    for (end, cause) in
        [(500, "disconnected"), (649, "expired"), (660, "disconnected"), (703, "expired"), (796, "missed")]
    {
        let mut story = Story::new();
        let alice = story.key;
        story.tell(0, &new(600));
        story.tell(50, &refreshed(600));
        gap(&mut story, 100, 110);
        assert_eq!(scan(&mut story, 110, &alice, &refreshed(600), Some(5)).1, Some(Scanned::Known));
        end_of_gap(&mut story, 110);
        story.tell(end, &Event::Deleted);
        assert_eq!(story.closed(), [(cause, 1)], "{end}");
        story.ends_empty();
    }
}

#[test]
fn without_a_gap_a_fresh_key_proves_nothing() {
    let mut story = Story::new();
    let alice = story.key;
    story.tell(0, &new(600));
    story.table.scan_begins(at(300), SOURCE);
    assert_eq!(
        scan(&mut story, 300, &alice, &new(600), Some(10)).0,
        KeyCheck::Known,
        "another reader touched it"
    );
}

#[test]
fn a_missing_key_ends_nothing_but_where_an_older_one_stands() {
    let mut story = Story::new();
    let bob = key("r", "bob", 2);
    story.tell(0, &new(600));
    story.tell_of(10, &bob, &new(600));
    gap(&mut story, 100, 200);
    assert_eq!(
        end_of_gap(&mut story, 200),
        0,
        "all keys are gone: a wipe, or an empty Redis; not another db"
    );
    assert_eq!(story.realm().live.total(), 2);
    gap(&mut story, 300, 400);
    let alice = story.key;
    assert_eq!(scan(&mut story, 400, &alice, &new(600), Some(400)).0, KeyCheck::Known);
    end_of_gap(&mut story, 400);
    assert_eq!(story.closed(), [("missed", 1)], "alice's older key is there: bob's was deleted");
    assert_eq!(story.realm().live.total(), 1);
    story.ends_empty();
}

#[test]
fn a_key_that_should_be_there_and_is_not_is_perhaps_in_another_db() {
    let mut story = Story::new();
    let absent = |story: &mut Story, seconds| {
        story.table.scan_begins(at(seconds), SOURCE);
        end_of_gap(story, seconds)
    };
    story.tell(0, &new(600));
    assert_eq!(absent(&mut story, 100), 1, "it was seen, and is not there");
    gap(&mut story, 100, 200);
    assert_eq!(end_of_gap(&mut story, 200), 0, "Redis may have lost it in the gap");
    assert_eq!(absent(&mut story, 300), 0, "and it does not come back before it is refreshed");
    story.tell(400, &refreshed(600));
    assert_eq!(absent(&mut story, 500), 1);
}

#[test]
fn an_overdue_allocation_is_no_orphan_without_its_key() {
    let mut story = Story::new();
    let alice = story.key;
    story.tell(0, &new(600));
    story.wait(700);
    story.table.scan_begins(at(701), SOURCE);
    assert_eq!(scan(&mut story, 701, &alice, &new(600), Some(701)).0, KeyCheck::Stale);
    end_of_gap(&mut story, 701);
    assert_eq!(story.orphans(Orphan::Overdue), 1);
    story.table.scan_begins(at(1000), SOURCE);
    end_of_gap(&mut story, 1000);
    assert_eq!(story.orphans(Orphan::Overdue), 0);
    story.tell(1100, &Event::Deleted);
    assert_eq!(story.closed(), [("abandoned", 1)], "its sums were kept all the same");
    story.ends_empty();
}

/// A node of a cluster takes a part of the keys only, and one whose memory ran out does not keep them.
#[test]
fn where_keys_may_be_missing_absence_ends_nothing_and_what_is_found_counts() {
    let bob = key("r", "bob", 2);
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.tell_of(10, &bob, &new(600));
    gap(&mut story, 100, 400);
    story.table.scan_may_miss_keys(SOURCE);
    let alice = story.key;
    assert_eq!(scan(&mut story, 400, &alice, &new(600), Some(400)).0, KeyCheck::Known);
    let carol = key("r", "carol", 3);
    assert_eq!(scan(&mut story, 400, &carol, &new(600), Some(200)).1, Some(Scanned::Adopted));
    end_of_gap(&mut story, 400);
    assert_eq!((story.closed(), story.realm().live.total()), (vec![], 3), "bob's key proves nothing");
    // It is about one scan: the next one proves what it proves.
    gap(&mut story, 500, 600);
    assert_eq!(scan(&mut story, 600, &alice, &new(600), Some(600)).0, KeyCheck::Known);
    end_of_gap(&mut story, 600);
    assert_eq!(story.closed(), [("missed", 2)], "of bob and carol");
    story.ends_empty();

    let mut story = Story::new();
    story.tell(0, &new(600));
    story.wait(700);
    story.table.scan_begins(at(701), SOURCE);
    story.table.scan_may_miss_keys(SOURCE);
    end_of_gap(&mut story, 701);
    assert_eq!(story.orphans(Orphan::Overdue), 1, "its key may never have been there");
    story.ends_empty();
}

#[test]
fn nothing_becomes_due_beyond_what_was_heard() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.table.received_until(SOURCE, at(600));
    assert!(
        story.wait(5000).closed().is_empty(),
        "the process stood still: the refresh may be in the socket"
    );
    story.tell(5000, &refreshed(600));
    story.table.received_until(SOURCE, at(5690));
    assert!(story.wait(6000).closed().is_empty());
    story.table.received_until(SOURCE, at(5691));
    assert_eq!(story.wait(6001).closed(), [("abandoned", 1)]);
    story.table.received_until(SOURCE, Timestamp::MAX);
    story.ends_empty();
}

#[test]
fn the_birth_of_a_scanned_allocation_is_no_replacement() {
    let mut story = Story::new();
    let birth = new(600);
    story.table.scanned(at(5), SOURCE, &story.key, &birth, Some(secs(0)));
    assert_eq!(story.tell(5, &birth), Applied::Updated);
    story.tell(9, &Event::Deleted);
    story.tell(9, &total(Leg::Client, [1, 10, 1, 10]));
    let realm = story.realm();
    assert_eq!((realm.adopted, realm.opened.total(), realm.relayed.client), (1, 0, traffic([1, 10, 1, 10])));
    // any other `new` is another allocation
    let mut story = Story::new();
    story.table.scanned(at(5), SOURCE, &story.key, &birth, Some(secs(0)));
    assert_eq!(story.tell(6, &new(777)), Applied::Closed(Cause::Replaced));
}

#[test]
fn two_sources_do_not_mix() {
    let mut table = Table::new(Settings::default(), &["a", "b"]);
    for source in [SourceId(0), SourceId(1)] {
        table.link_up(at(0), source);
        table.apply(at(0), source, &key("r", "alice", 1), &new(600));
    }
    table.apply(at(1), SourceId(0), &key("r", "alice", 1), &Event::Deleted);
    audit(&table).unwrap();
    let snapshot = table.snapshot();
    assert_eq!(snapshot.sources.iter().map(|source| source.live).collect::<Vec<_>>(), [0, 1]);
    assert_eq!((snapshot.realms[0].series.sessions, snapshot.servers.len()), (1, 2));
}

#[test]
fn a_client_that_moved_leaves_its_gathering_whole() {
    let mut story = Story::new();
    let second = key("r", "alice", 2);
    story.tell(0, &new(600));
    // a mobility move, or the first long status after an adoption by traffic
    story.tell(1, &Event::Refreshed(grant(600, LOCAL, "203.0.113.9:1")));
    story.tell(2, &Event::Deleted);
    story.wait(8);
    story.tell_of(9, &second, &new(600));
    story.ends_empty();
}

#[test]
fn a_left_over_stays_one_though_reading_made_it_young() {
    let mut story = Story::before_the_watch();
    let alice = story.key;
    story.table.scan_begins(at(10_000), SOURCE);
    assert_eq!(
        scan(&mut story, 10_000, &alice, &new(600), Some(1000)),
        (KeyCheck::Read, Some(Scanned::Stale))
    );
    end_of_gap(&mut story, 10_000);
    gap(&mut story, 10_200, 10_300);
    assert_eq!(
        scan(&mut story, 10_300, &alice, &new(600), Some(300)),
        (KeyCheck::Stale, None),
        "idle since our own reading"
    );
    end_of_gap(&mut story, 10_300);
    gap(&mut story, 10_400, 10_500);
    let revived = scan(&mut story, 10_500, &alice, &new(600), Some(50));
    assert_eq!(revived, (KeyCheck::Read, Some(Scanned::Adopted)), "set since: it lives");
    end_of_gap(&mut story, 10_500);
    story.ends_empty();
}

#[test]
fn a_key_that_outlives_its_end_is_a_left_over() {
    let mut story = Story::new();
    let alice = story.key;
    story.tell(0, &new(600));
    story.tell(100, &Event::Deleted);
    story.wait(200);
    story.table.scan_begins(at(300), SOURCE);
    assert_eq!(scan(&mut story, 300, &alice, &new(600), Some(300)).0, KeyCheck::Stale, "nothing was missed");
    end_of_gap(&mut story, 300);
    gap(&mut story, 400, 500);
    assert_eq!(
        scan(&mut story, 500, &alice, &new(600), Some(500)).0,
        KeyCheck::Stale,
        "set before the gap: it ended in sight"
    );
    let mangled = key("r", "alice  0.0e+00xample.org", 3);
    assert_eq!(
        scan(&mut story, 500, &mangled, &new(600), Some(1)).0,
        KeyCheck::Stale,
        "whose it is is not known"
    );
    end_of_gap(&mut story, 500);
    story.ends_empty();
}

#[test]
fn a_final_block_that_comes_twice_is_one_end() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    for _ in 0..2 {
        story.tell(9, &Event::Deleted);
        story.tell(9, &total(Leg::Client, [1, 10, 1, 10]));
        story.tell(9, &total(Leg::Peer, [1, 6, 1, 6]));
    }
    let realm = story.realm();
    assert_eq!(
        (story.closed(), realm.adopted, realm.sessions_closed.total()),
        (vec![("disconnected", 1)], 0, 1)
    );
    assert!(realm.unseen.client.is_zero());
    story.ends_empty();
}
