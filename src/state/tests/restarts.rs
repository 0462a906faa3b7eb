//! What ids say about the process behind a server address, and what becomes of those that were ended by it.

use super::story::Story;
use super::*;
use crate::state::{Applied, Cause, Discovery, Orphan, Scanned, Settings};

const OTHER_LOCAL: &str = "192.0.2.1:3479";

/// An id of the second thread.
fn of_second_thread(count: u64) -> u64 {
    1_000_000_000_000_000 + count
}

fn born(story: &mut Story, second: u64, id: u64) -> Applied {
    story.tell_of(second, &key("r", "alice", id), &new(600))
}

fn live(story: &Story) -> u64 {
    story.realm().live.total()
}

#[test]
fn a_birth_of_an_id_seen_long_ago_ends_what_the_old_process_held() {
    let mut story = Story::new();
    for (second, id) in [(1, 7), (2, 8), (3, of_second_thread(4))] {
        born(&mut story, second, id);
    }
    story.tell_of(4, &key("r", "alice", 9), &Event::New(grant(600, OTHER_LOCAL, REMOTE)));
    // Its last sign: the report of 50 s.
    story.tell_of(50, &key("r", "alice", 7), &delta(Leg::Client, [1, 100, 1, 100]));
    assert_eq!(born(&mut story, 300, 1), Applied::Opened);
    assert_eq!((live(&story), story.closed()), (2, vec![("replaced", 3)]), "not those of the other port");
    let finding =
        Discovery::ServerRestarted { source: SOURCE, server: "192.0.2.1".into(), port: 3478, allocations: 3 };
    assert_eq!(story.table.take_discoveries(), [finding]);
    assert_eq!(story.orphans(Orphan::Overdue), 0);
    story.ends_empty();
}

#[test]
fn a_birth_that_finds_a_full_table_has_the_room_of_those_whose_end_it_proves() {
    let mut story = Story::with(Settings { max_allocations: 3, ..Settings::default() });
    for id in [7, 8, 9] {
        born(&mut story, 1, id);
    }
    assert_eq!(born(&mut story, 50, 10), Applied::Refused);
    assert_eq!(born(&mut story, 300, 1), Applied::Opened);
    assert_eq!((live(&story), story.closed()), (1, vec![("replaced", 3)]));
    assert_eq!(story.table.snapshot().refused, 1);
    assert_eq!(story.table.take_discoveries().len(), 1);
    story.ends_empty();
}

/// A client connects, and takes its id, some time before it logs in: 4.6.1 was seen to give birth to 2 before 1.
#[test]
fn births_out_of_order_end_nothing() {
    let mut story = Story::new();
    for (second, id) in [(1, 2), (2, 1), (30, 9), (80, 5), (81, 4)] {
        assert_eq!(born(&mut story, second, id), Applied::Opened);
    }
    assert_eq!((live(&story), story.closed()), (5, vec![]));
    assert!(story.table.take_discoveries().is_empty());
}

/// The other threads of the new process gave births first: theirs are not the old one's.
#[test]
fn what_began_after_the_old_process_last_sign_lives() {
    let mut story = Story::new();
    born(&mut story, 1, 5);
    born(&mut story, 1, of_second_thread(1));
    born(&mut story, 200, of_second_thread(2));
    born(&mut story, 201, 3);
    assert_eq!(live(&story), 2, "those of 200 s and 201 s");
    assert_eq!(story.closed(), [("replaced", 2)]);
}

/// A resync may read the key of a birth before the birth itself is received.
#[test]
fn a_birth_whose_key_was_read_first_is_proof_as_well() {
    let mut story = Story::new();
    born(&mut story, 1, 5);
    let bob = key("r", "bob", 1);
    super::scans::gap(&mut story, 100, 300);
    assert_eq!(super::scans::scan(&mut story, 300, &bob, &new(600), Some(1)).1, Some(Scanned::Adopted));
    super::scans::end_of_gap(&mut story, 300);
    assert_eq!(story.tell_of(300, &bob, &new(600)), Applied::Updated);
    assert_eq!((live(&story), story.closed()), (1, vec![("replaced", 1)]));
    story.ends_empty();
}

/// The old process ended so young that not each birth of the new one is proof: what it gave birth to before that lives.
#[test]
fn what_the_new_process_gave_birth_to_before_the_proof_lives() {
    // Of the old process, of the new one before the proof, and when an id that is proof comes, which.
    for (old, unproven, proof) in [
        (&[1, 3, 5][..], &[2][..], (20, 3)),
        // The ids of a busy process are too many to remember each, and the highest is proof after a login.
        (&[4000, 5000], &[1, 2], (150, 3)),
    ] {
        let mut story = Story::new();
        for &id in old {
            born(&mut story, 1, id);
        }
        born(&mut story, 2, of_second_thread(1));
        for &id in unproven {
            story.tell_of(10, &key("r", "bob", id), &new(600));
        }
        story.tell_of(12, &key("r", "bob", unproven[0]), &refreshed(600));
        assert!(story.table.take_discoveries().is_empty());
        story.tell_of(proof.0, &key("r", "bob", proof.1), &new(600));
        // That of the other thread began after the last sign that is sure.
        let expected = (unproven.len() as u64 + 2, vec![("replaced", old.len() as u64)]);
        assert_eq!((live(&story), story.closed()), expected);
        assert_eq!(story.tell_of(151, &key("r", "bob", unproven[0]), &refreshed(600)), Applied::Updated);
        assert_eq!(story.table.take_discoveries().len(), 1, "nobody shares the address");
        story.ends_empty();
    }
}

/// The first births of a new process may be above what a young old one gave.
#[test]
fn what_the_new_process_gave_birth_to_above_the_highest_lives_too() {
    let mut story = Story::new();
    born(&mut story, 1, 2);
    for (second, id) in [(10, 1), (12, 3), (13, 2)] {
        story.tell_of(second, &key("r", "bob", id), &new(600));
    }
    assert_eq!((live(&story), story.closed()), (3, vec![("replaced", 1)]));
    story.ends_empty();
}

/// Whatever was missed of the new process began in the gap, or was met by a refresh: it did not end with the old one.
#[test]
fn what_began_unseen_in_the_new_process_lives() {
    for is_scanned in [false, true] {
        let mut story = Story::new();
        born(&mut story, 1, 5);
        let [first, second, third] = [1, 2, 3].map(|id| key("r", "bob", id));
        if is_scanned {
            super::scans::gap(&mut story, 100, 300);
            for (key, idle) in [(&first, 90), (&second, 80)] {
                let scanned = super::scans::scan(&mut story, 300, key, &new(600), Some(idle)).1;
                assert_eq!(scanned, Some(Scanned::Adopted));
            }
            super::scans::end_of_gap(&mut story, 300);
        } else {
            story.tell_of(210, &first, &refreshed(600));
            story.tell_of(220, &second, &refreshed(600));
        }
        story.tell_of(310, &third, &new(600));
        assert_eq!((live(&story), story.closed()), (3, vec![("replaced", 1)]), "{is_scanned}");
        story.ends_empty();
    }
}

/// Slow logins are usual where many come at once: one does not keep a whole young process from ending with the next.
#[test]
fn a_herd_of_a_young_process_ends_with_it() {
    let mut story = Story::new();
    let herd = (4..=90).map(|id| (2 + id / 10, id));
    for (second, id) in [(1, 1), (1, 3), (2, 2)].into_iter().chain(herd) {
        born(&mut story, second, id);
    }
    story.tell_of(12, &key("r", "bob", 2), &new(600));
    assert_eq!((live(&story), story.closed()), (1, vec![("replaced", 90)]));
    story.ends_empty();
}

/// A client that is slow to log in gives a birth below the highest: whose it is shows by its process and by its id.
#[test]
fn a_slow_login_of_the_old_process_ends_with_it() {
    let alice = |id| key("r", "alice", id);
    // A later sign, and the id that is proof 300 s later.
    for (sign, proof) in [
        (Some((1, refreshed(600))), 3),
        (Some((1, delta(Leg::Peer, [1, 100, 1, 100]))), 3),
        (Some((1, refreshed(0))), 3),
        (Some((1, Event::Deleted)), 3),
        (Some((4, new(600))), 2),
        (None, 2),
    ] {
        let mut story = Story::new();
        for (second, id) in [(1, 1), (2, 3), (10, 2)] {
            born(&mut story, second, id);
        }
        if let Some((id, event)) = &sign {
            story.tell_of(20, &alice(*id), event);
        }
        let (open, ended) = (live(&story), story.closed());
        story.tell_of(300, &key("r", "bob", proof), &new(600));
        assert_eq!(live(&story), 1, "{sign:?}");
        assert_eq!(story.closed(), [ended, vec![("replaced", open)]].concat(), "{sign:?}");
        story.ends_empty();
    }
    // Nothing shows that it was the old process': it is ended when it is due.
    let mut story = Story::new();
    for (second, id) in [(1, 1), (2, 3), (10, 2)] {
        born(&mut story, second, id);
    }
    story.tell_of(300, &key("r", "bob", 3), &new(600));
    assert_eq!((live(&story), story.closed()), (2, vec![("replaced", 2)]));
    story.ends_empty();
}

/// The thread that gives the proof was quiet before: what others of the old process reported is its sign of life, too.
#[test]
fn signs_of_all_threads_of_the_old_process_count() {
    let mut story = Story::new();
    born(&mut story, 1, 5);
    born(&mut story, 1, of_second_thread(1));
    born(&mut story, 240, of_second_thread(2));
    story.tell_of(250, &key("r", "alice", of_second_thread(1)), &refreshed(600));
    born(&mut story, 300, 1);
    assert_eq!((live(&story), story.closed()), (1, vec![("replaced", 3)]));
}

/// Each thread of a new process gives proof of its own; the first of them is the new one's for the next.
#[test]
fn a_restart_within_a_moment_is_proven_by_each_thread() {
    let mut table = table(Settings::default());
    let mut born = |millis: u64, user: &'static str, id: u64| {
        table.apply(Timestamp::from_millis(millis), SOURCE, &key("r", user, id), &new(600));
    };
    for (millis, id) in [(1_000, 1), (1_001, 2), (1_002, of_second_thread(1)), (1_003, of_second_thread(2))] {
        born(millis, "old", id);
    }
    born(1_060, "new", of_second_thread(1));
    born(1_061, "new", 1);
    born(1_062, "new", of_second_thread(2));
    let realm = table.snapshot().realms[0].series.clone();
    assert_eq!((realm.live.total(), realm.closed.get(Cause::Replaced as usize)), (3, 4));
}

#[test]
fn an_overdue_orphan_of_the_old_process_is_one_no_more() {
    let mut story = Story::new();
    born(&mut story, 1, 1);
    story.wait(1000);
    assert_eq!((story.orphans(Orphan::Overdue), story.closed()), (1, vec![("abandoned", 1)]));
    story.tell_of(1001, &key("r", "bob", 1), &new(600));
    assert_eq!((story.orphans(Orphan::Overdue), story.closed()), (0, vec![("abandoned", 1)]));
    story.ends_empty();
}

#[test]
fn one_of_the_dead_that_speaks_lives_again_and_the_rule_rests_for_a_day() {
    for sign in [refreshed(600), delta(Leg::Peer, [1, 50, 1, 50])] {
        let mut story = Story::new();
        born(&mut story, 1, 100);
        story.tell_of(400, &key("r", "alice", 100), &refreshed(600));
        story.tell_of(500, &key("r", "bob", 3), &new(600));
        assert_eq!((live(&story), story.closed()), (1, vec![("replaced", 1)]));
        story.table.take_discoveries();

        assert_eq!(story.tell_of(510, &key("r", "alice", 100), &sign), Applied::Adopted);
        assert_eq!((live(&story), story.realm().adopted), (2, 1));
        let shared = Discovery::AddressShared { source: SOURCE, server: "192.0.2.1".into(), port: 3478 };
        assert_eq!(story.table.take_discoveries(), [shared]);
        // Both go on; ids of either prove nothing.
        story.tell_of(700, &key("r", "carol", 2), &new(600));
        story.tell_of(900, &key("r", "dave", 50), &new(600));
        assert_eq!(story.closed(), [("replaced", 1)]);
        story.tell_of(510 + 86_400, &key("r", "erin", 1), &new(600));
        story.tell_of(510 + 86_400, &key("r", "frank", 1), &new(600));
        assert_eq!(live(&story), 1, "a day later the rule is in force again");
    }
}

/// Reports of the client leg may be of a session without an allocation that has the same id in the new process.
#[test]
fn traffic_of_the_client_leg_revives_nobody() {
    let mut story = Story::new();
    born(&mut story, 1, 5);
    story.tell_of(200, &key("r", "bob", 1), &new(600));
    story.tell_of(201, &key("r", "alice", 5), &delta(Leg::Client, [3, 300, 3, 300]));
    story.tell_of(201, &key("r", "alice", 5), &delta(Leg::Peer, [0, 0, 0, 0]));
    assert_eq!((live(&story), story.realm().adopted), (1, 0));
    // Nor is it what the dead one relayed: nobody claims it.
    story.wait(212);
    assert_eq!(story.realm().relayed.client, Traffic::ZERO);
    assert_eq!(story.table.snapshot().unallocated.received.bytes, 300);
}

/// What shows that the dead one lives shows, too, that the reports of its client leg a moment before were its own.
#[test]
fn one_of_the_dead_that_lives_has_what_it_reported_just_before() {
    let signs = [
        (delta(Leg::Peer, [1, 50, 1, 50]), 300),
        (refreshed(600), 300),
        (Event::Deleted, 300),
        // Its total has all of it.
        (total(Leg::Client, [4, 400, 4, 400]), 400),
    ];
    for (sign, client_bytes) in signs {
        let mut story = Story::new();
        born(&mut story, 1, 5);
        story.tell_of(200, &key("r", "bob", 1), &new(600));
        story.tell_of(201, &key("r", "alice", 5), &delta(Leg::Client, [3, 300, 3, 300]));
        story.tell_of(202, &key("r", "alice", 5), &sign);
        story.wait(300);
        assert_eq!(story.realm().relayed.client.received.bytes, client_bytes, "{sign:?}");
        assert_eq!(story.table.snapshot().unallocated, Traffic::ZERO, "{sign:?}");
        assert_eq!(story.table.snapshot().anomalies.total(), 0, "{sign:?}");
        story.ends_empty();
    }
}

/// Coturn before 4.5.1.2 reports no peer leg: there the client leg is all that there is.
#[test]
fn without_a_peer_leg_a_report_of_the_client_leg_counts() {
    let mut story = Story::new();
    let first = story.table.connection_opened(at(1), SOURCE, [192, 0, 2, 1].into());
    let short = Event::New(Grant { lifetime: 600, path: None });
    story.table.apply_from(at(1), SOURCE, first, &key("r", "alice", 5), &short);
    super::connections::close(&mut story.table, 2, first);
    story.tell_of(4, &key("r", "alice", 5), &delta(Leg::Client, [3, 300, 3, 300]));
    assert_eq!((live(&story), story.realm().relayed.client.received.bytes), (0, 300));
}

#[test]
fn an_end_of_one_of_the_dead_settles_without_a_second_close() {
    let mut story = Story::new();
    born(&mut story, 1, 5);
    story.tell_of(100, &key("r", "bob", 1), &new(600));
    story.tell_of(101, &key("r", "alice", 5), &Event::Deleted);
    story.tell_of(101, &key("r", "alice", 5), &total(Leg::Client, [10, 1000, 10, 1000]));
    assert_eq!(story.closed(), [("replaced", 1)]);
    assert_eq!(story.realm().relayed.client.received.bytes, 1000);
    assert_eq!(story.table.take_discoveries().len(), 2, "and two processes share the address");
    story.ends_empty();
}

/// Past the cap servers share one label, and are one server.
#[test]
fn servers_past_the_cap_prove_nothing() {
    let mut story = Story::with(Settings { max_servers: 1, ..Settings::default() });
    story.tell_of(1, &key("r", "a", 1), &Event::New(grant(600, "192.0.2.1:3478", REMOTE)));
    for (second, local) in [(2, "192.0.2.2:3478"), (3, "192.0.2.3:3478")] {
        story.tell_of(second, &key("r", local, 1), &Event::New(grant(600, local, REMOTE)));
    }
    assert_eq!((live(&story), story.closed()), (3, vec![]));
}

/// How an allocation ended with its process: at its last sign of life.
#[test]
fn what_ended_with_its_process_ended_at_its_last_sign() {
    let mut story = Story::new();
    story.table.begin_store(1, 1);
    born(&mut story, 1, 5);
    story.tell_of(60, &key("r", "alice", 5), &delta(Leg::Client, [1, 100, 1, 100]));
    story.tell_of(500, &key("r", "bob", 1), &new(600));
    let ended = story.table.take_ended();
    let dead = ended.allocations.iter().find(|kept| &*kept.user == b"alice").unwrap();
    assert_eq!((dead.cause, dead.ended), (Some(Cause::Replaced), at(60)));
}
