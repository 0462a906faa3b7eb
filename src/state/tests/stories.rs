//! Stories with known ends: one rule of the design each.

use super::super::{Anomaly, Applied, Cause, Orphan, Outcome, SessionBy, Settings};
use super::story::Story;
use super::*;

const NOBODY: [u64; 4] = [0; 4];

#[test]
fn a_released_allocation_and_its_session() {
    let mut story = Story::new();
    assert_eq!(story.tell(10, &new(600)), Applied::Opened);
    story.tell(20, &delta(Leg::Client, [100, 20_000, 100, 20_000]));
    story.tell(20, &delta(Leg::Peer, [100, 18_000, 100, 18_000]));
    story.tell(30, &refreshed(0));
    assert_eq!(story.tell(31, &Event::Deleted), Applied::Closed(Cause::Released));
    assert_eq!((story.realm().sessions, story.realm().sessions_closed.total()), (0, 0));
    story.tell(31, &total(Leg::Client, [100, 20_000, 100, 20_000]));
    story.tell(31, &total(Leg::Peer, [100, 18_000, 100, 18_000]));
    let realm = story.realm();
    assert_eq!(realm.sessions_closed.get(Outcome::Relayed as usize), 1);
    assert_eq!((realm.session_bytes.sum(), realm.session_durations[0].sum()), (36_000, 21_000));
    assert_eq!((realm.relayed.peer.bytes(), realm.recovered.peer.bytes()), (36_000, 0));
    assert_eq!((realm.relayed_allocations, realm.refreshes), (1, 0));
    story.ends_empty();
}

#[test]
fn causes_of_deleted_by_its_moment() {
    let rows = [
        (100, Cause::Disconnected),
        (597, Cause::Disconnected),
        (598, Cause::Expired),
        (690, Cause::Expired),
    ];
    for (moment, cause) in rows {
        let mut story = Story::new();
        story.tell(0, &new(600));
        assert_eq!(story.tell(moment, &Event::Deleted), Applied::Closed(cause), "{moment}");
        assert_eq!(story.realm().allocation_durations.count(), 1);
    }
}

#[test]
fn forced_traffic_at_expiry_is_no_proof_of_life() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.tell(601, &delta(Leg::Client, [1, 1, 1, 1]));
    assert_eq!(story.tell(601, &Event::Deleted), Applied::Closed(Cause::Expired));
}

#[test]
fn half_of_a_dual_family_allocation_goes() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.tell(10, &refreshed(0));
    story.tell(500, &refreshed(700));
    assert_eq!(story.tell(900, &Event::Deleted), Applied::Closed(Cause::Disconnected));
}

#[test]
fn silence_after_a_release_is_a_release_and_no_orphan() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.tell(10, &refreshed(0));
    story.wait(691);
    assert_eq!((story.closed(), story.orphans(Orphan::Overdue)), (vec![("released", 1)], 0));
    assert_eq!(story.realm().allocation_durations.count(), 0, "its end was not seen");
    story.ends_empty();
}

#[test]
fn silence_is_an_orphan_for_a_day() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    assert!(story.wait(690).closed().is_empty());
    assert_eq!(story.wait(691).closed(), [("abandoned", 1)]);
    assert_eq!((story.orphans(Orphan::Overdue), story.realm().live.total()), (1, 0));
    assert_eq!(story.realm().sessions_closed.total(), 1);
    story.wait(691 + 86_400);
    assert_eq!(
        (story.orphans(Orphan::Overdue), story.realm().orphaned.get(Orphan::Overdue as usize)),
        (0, 1)
    );
    story.ends_empty();
}

#[test]
fn an_overdue_allocation_lives_again_by_a_refresh() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.tell(1, &delta(Leg::Client, [10, 100, 10, 100]));
    story.wait(691);
    story.tell(700, &delta(Leg::Client, [1, 10, 1, 10]));
    assert_eq!(story.realm().live.total(), 0, "traffic alone does not revive");
    assert_eq!(story.tell(701, &refreshed(600)), Applied::Adopted);
    let realm = story.realm();
    assert_eq!((realm.live.total(), realm.adopted, realm.orphans.total()), (1, 1, 0));
    story.tell(800, &Event::Deleted);
    story.tell(800, &total(Leg::Client, [13, 130, 11, 110]));
    assert_eq!(story.realm().relayed.client, traffic([13, 130, 11, 110]));
    assert_eq!(
        story.realm().recovered.client,
        traffic([2, 20, 0, 0]),
        "its birth was seen: the total is all ours"
    );
    story.ends_empty();
}

#[test]
fn a_late_deleted_settles_an_overdue_allocation_without_a_second_end() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.wait(691);
    story.tell(1000, &Event::Deleted);
    story.tell(1000, &total(Leg::Client, [7, 70, 7, 70]));
    assert_eq!((story.closed(), story.orphans(Orphan::Overdue)), (vec![("abandoned", 1)], 0));
    assert_eq!(story.realm().relayed.client, traffic([7, 70, 7, 70]));
    story.ends_empty();
}

#[test]
fn traffic_past_the_lifetime_proves_that_a_refresh_was_lost() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.tell(650, &delta(Leg::Client, [1, 1, 1, 1]));
    assert!(story.wait(1339).closed().is_empty());
    assert_eq!(story.tell(1340, &Event::Deleted), Applied::Closed(Cause::Missed));
    story.ends_empty();
}

#[test]
fn new_for_an_open_key_replaces_it() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.tell(1, &delta(Leg::Client, [5, 50, 5, 50]));
    assert_eq!(story.tell(100, &new(600)), Applied::Closed(Cause::Replaced));
    story.tell(200, &Event::Deleted);
    story.tell(200, &total(Leg::Client, [2, 20, 2, 20]));
    let realm = story.realm();
    assert_eq!(
        realm.relayed.client,
        traffic([7, 70, 7, 70]),
        "the new one's total knows nothing of the old one"
    );
    assert_eq!((realm.opened.total(), realm.live.total()), (2, 0));
    story.ends_empty();
}

#[test]
fn what_was_lost_of_a_watched_life_comes_back_with_the_totals() {
    let mut story = Story::new();
    let gib = 1_u64 << 30;
    story.tell(0, &new(600));
    story.tell(1, &delta(Leg::Client, [10, 5 * gib, 10, 100]));
    story.tell(1, &delta(Leg::Peer, [9, 90, 9, 5 * gib]));
    story.tell(2, &Event::Deleted);
    story.tell(2, &total(Leg::Client, [30, 12 * gib, 12, 120]));
    // 12 GiB modulo 2^32 is 0
    story.tell(2, &total(Leg::Peer, [11, 110, 29, 0]));
    let realm = story.realm();
    assert_eq!(realm.relayed.client, traffic([30, 12 * gib, 12, 120]));
    assert_eq!(realm.relayed.peer, traffic([11, 110, 29, 12 * gib]));
    assert_eq!(realm.recovered.peer, traffic([2, 20, 20, 7 * gib]));
    story.ends_empty();
}

#[test]
fn an_unknown_past_stays_apart() {
    let mut story = Story::new();
    assert_eq!(story.tell(0, &refreshed(600)), Applied::Adopted);
    story.tell(1, &delta(Leg::Client, [1, 10, 1, 10]));
    story.tell(2, &Event::Deleted);
    story.tell(2, &total(Leg::Client, [100, 1000, 100, 1000]));
    let realm = story.realm();
    assert_eq!(
        (realm.relayed.client, realm.unseen.client),
        (traffic([1, 10, 1, 10]), traffic([99, 990, 99, 990]))
    );
    assert!(realm.recovered.client.is_zero());
    assert_eq!(realm.allocation_durations.count(), 0);
    story.ends_empty();
}

#[test]
fn a_lone_deleted_and_a_lone_total() {
    let mut story = Story::new();
    assert_eq!(story.tell(0, &Event::Deleted), Applied::Closed(Cause::Missed));
    assert_eq!(story.tell(1, &Event::Deleted), Applied::SetAside);
    story.tell(1, &total(Leg::Client, [5, 50, 5, 50]));
    story.tell(1, &total(Leg::Peer, [4, 40, 4, 40]));
    assert_eq!((story.realm().adopted, story.realm().unseen.peer), (1, traffic([4, 40, 4, 40])));
    let other = key("r", "bob", 2);
    assert_eq!(story.tell_of(2, &other, &total(Leg::Client, [1, 2, 3, 4])), Applied::Closed(Cause::Missed));
    assert_eq!(story.closed(), [("missed", 2)]);
    story.ends_empty();
}

#[test]
fn a_total_tells_that_deleted_was_lost() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    assert_eq!(story.tell(9, &total(Leg::Client, [1, 10, 1, 10])), Applied::Closed(Cause::Missed));
    story.tell(9, &total(Leg::Peer, NOBODY));
    assert_eq!(story.realm().relayed.client, traffic([1, 10, 1, 10]));
    story.ends_empty();
}

#[test]
fn traffic_waits_for_its_status_or_counts_apart() {
    let mut story = Story::new();
    story.tell(0, &delta(Leg::Client, [1, 10, 1, 10]));
    story.tell(0, &delta(Leg::Peer, NOBODY));
    story.tell(5, &new(600));
    assert_eq!(story.realm().relayed.client, traffic([1, 10, 1, 10]));
    let probe = key("r", "", 7);
    story.tell_of(6, &probe, &delta(Leg::Client, [2, 20, 2, 20]));
    assert!(story.wait(15).table.snapshot().unallocated.is_zero());
    assert_eq!(story.wait(16).table.snapshot().unallocated, traffic([2, 20, 2, 20]));
}

/// Of one that has ended and settled, nothing more comes: its server was restarted at once, and refuses a client that has the
/// same id.
#[test]
fn traffic_behind_the_total_counts_apart() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.tell(5, &Event::Deleted);
    story.tell(5, &delta(Leg::Client, [1, 10, 1, 10]));
    story.tell(5, &total(Leg::Client, [2, 20, 2, 20]));
    story.tell(5, &total(Leg::Peer, [1, 6, 1, 6]));
    story.tell(8, &delta(Leg::Client, [32, 3200, 32, 3200]));
    story.tell(8, &delta(Leg::Peer, [0, 0, 0, 0]));
    story.wait(18);
    assert_eq!(story.realm().relayed.client.received.bytes, 20);
    assert_eq!(story.table.snapshot().unallocated.received.bytes, 3200);
    story.ends_empty();
}

#[test]
fn peer_traffic_is_proof_of_an_allocation() {
    let mut story = Story::new();
    story.tell(0, &delta(Leg::Client, [1, 10, 1, 10]));
    assert_eq!(story.tell(0, &delta(Leg::Peer, [1, 6, 1, 6])), Applied::Adopted);
    assert_eq!(story.realm().relayed.client, traffic([1, 10, 1, 10]), "and claims what was held");
    assert!(story.wait(3690).closed().is_empty());
    assert_eq!(story.tell(3690, &Event::Deleted), Applied::Closed(Cause::Missed));
}

#[test]
fn a_key_of_two_servers_counts_deltas_only() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.tell(1, &Event::New(grant(600, "192.0.2.2:3478", REMOTE)));
    story.tell(2, &delta(Leg::Client, [1, 10, 1, 10]));
    story.tell(3, &Event::Deleted);
    story.tell(3, &total(Leg::Client, [100, 1000, 100, 1000]));
    assert_eq!(story.realm().relayed.client, traffic([1, 10, 1, 10]));
    assert_eq!(story.table.snapshot().anomalies.get(Anomaly::SharedKey as usize), 1);
    story.ends_empty();
}

#[test]
fn while_the_source_is_down_nothing_becomes_due() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.table.link_down(at(100), SOURCE);
    assert!(story.wait(5000).closed().is_empty());
    story.table.link_up(at(5000), SOURCE);
    assert!(
        story.wait(5690).closed().is_empty(),
        "a refresh may have been lost: a lifetime and the grace from then"
    );
    assert_eq!(story.wait(5691).closed(), [("missed", 1)]);
    assert_eq!(story.orphans(Orphan::Overdue), 1);
    story.ends_empty();
}

#[test]
fn a_gap_makes_nobody_idle() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    for moment in (500..4000).step_by(500) {
        story.tell(moment, &refreshed(600));
    }
    story.tell(4000, &delta(Leg::Peer, [9, 9, 9, 9]));
    story.table.link_down(at(4001), SOURCE);
    assert_eq!(story.wait(9000).orphans(Orphan::Idle), 0);
    story.table.link_up(at(9000), SOURCE);
    for moment in (9100..10_900).step_by(500) {
        story.tell(moment, &refreshed(600));
    }
    assert_eq!(story.wait(10_800).orphans(Orphan::Idle), 0);
    assert_eq!(story.wait(10_801).orphans(Orphan::Idle), 1, "quiet for half an hour that was listened to");
    story.ends_empty();
}

#[test]
fn a_refresh_after_the_gap_makes_the_gap_irrelevant() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.table.link_down(at(100), SOURCE);
    story.table.link_up(at(200), SOURCE);
    story.tell(500, &refreshed(600));
    assert_eq!(story.wait(1191).closed(), [("abandoned", 1)]);
}

#[test]
fn a_session_lasts_from_first_opening_to_last_end() {
    let mut story = Story::new();
    let second = key("r", "alice", 2);
    story.tell(0, &new(600));
    story.tell_of(50, &second, &new(600));
    story.tell_of(60, &second, &delta(Leg::Peer, [100, 1000, 100, 1000]));
    story.tell_of(100, &second, &Event::Deleted);
    assert_eq!(story.realm().sessions, 1);
    story.tell(300, &Event::Deleted);
    story.wait(311);
    let realm = story.realm();
    assert_eq!((realm.sessions_opened, realm.sessions_closed.get(Outcome::Relayed as usize)), (1, 1));
    assert_eq!((realm.session_durations[0].sum(), realm.session_relay_durations.sum()), (300_000, 50_000));
    assert_eq!((realm.session_allocations.sum(), realm.session_bytes.sum()), (2, 2000));
}

#[test]
fn an_allocation_within_the_linger_joins_the_session() {
    let mut story = Story::with(Settings { linger: secs(30), ..Settings::default() });
    story.tell(0, &new(600));
    story.tell(10, &Event::Deleted);
    assert_eq!(story.realm().sessions, 1);
    story.tell(39, &new(600));
    story.tell(50, &Event::Deleted);
    story.wait(79);
    assert_eq!(story.realm().sessions, 1);
    story.wait(80);
    let realm = story.realm();
    assert_eq!((realm.sessions, realm.sessions_opened, realm.sessions_closed.total()), (0, 1, 1));
    assert_eq!(realm.session_durations[1].sum(), 50_000, "the linger is no part of it");
    story.ends_empty();
}

#[test]
fn an_allocation_that_comes_while_totals_are_awaited_opens_another_session() {
    let mut story = Story::new();
    let second = key("r", "alice", 2);
    story.tell(0, &new(600));
    story.tell(10, &Event::Deleted);
    story.tell_of(11, &second, &new(600));
    assert_eq!((story.realm().sessions, story.realm().sessions_opened), (1, 2));
    story.wait(20);
    assert_eq!(story.realm().sessions_closed.total(), 1);
}

#[test]
fn sessions_by_client_split_one_user_by_host() {
    for (by, expected) in [(SessionBy::User, 1), (SessionBy::Client, 2)] {
        let mut story = Story::with(Settings { session_by: by, ..Settings::default() });
        story.tell(0, &new(600));
        story.tell_of(1, &key("r", "alice", 2), &Event::New(grant(600, LOCAL, "203.0.113.9:1")));
        assert_eq!(story.realm().sessions, expected);
        let mut story = Story::with(Settings { session_by: by, ..Settings::default() });
        story.tell_of(0, &key("r", "", 1), &new(600));
        story.tell_of(1, &key("r", "", 2), &Event::New(grant(600, LOCAL, "203.0.113.9:1")));
        assert_eq!(story.realm().sessions, 2, "the empty user is always split");
    }
}

#[test]
fn coturn_without_a_peer_leg_is_judged_by_the_client_leg() {
    let short = |lifetime| Grant { lifetime, path: None };
    let mut story = Story::new();
    story.tell(0, &Event::New(short(600)));
    story.tell(1, &delta(Leg::Client, [60, 600, 60, 600]));
    assert_eq!(story.realm().relayed_allocations, 0, "a peer report may be right behind");
    story.tell(2, &delta(Leg::Client, [60, 600, 60, 600]));
    assert_eq!(story.realm().relayed_allocations, 1);
    // 4.5.2: short form, with a peer leg
    let mut story = Story::new();
    story.tell(0, &Event::New(short(600)));
    for moment in [1, 2] {
        story.tell(moment, &delta(Leg::Client, [60, 600, 60, 600]));
        story.tell(moment, &delta(Leg::Peer, NOBODY));
    }
    story.tell(3, &Event::Deleted);
    story.wait(14);
    assert_eq!(story.realm().relayed_allocations, 0);
}

#[test]
fn mangled_names_are_one_allocation_by_its_id() {
    let mut story = Story::new();
    let mangled = |text| key("r", text, 5);
    story.tell_of(0, &mangled("alice   0.0e+00xample.org"), &new(600));
    story.tell_of(1, &mangled("alice   1.0e-319xample.org"), &delta(Leg::Client, [1, 10, 1, 10]));
    assert_eq!(
        story.tell_of(2, &mangled("alice   9.9e+99xample.org"), &Event::Deleted),
        Applied::Closed(Cause::Disconnected)
    );
    assert_eq!(story.realm().relayed.client, traffic([1, 10, 1, 10]));
}

#[test]
fn a_full_table_refuses_and_counts() {
    let mut story = Story::with(Settings { max_allocations: 1, ..Settings::default() });
    story.tell(0, &new(600));
    let other = key("r", "bob", 2);
    for event in
        [new(600), refreshed(600), Event::Deleted, delta(Leg::Peer, [1; 4]), total(Leg::Client, [1; 4])]
    {
        assert_eq!(story.tell_of(1, &other, &event), Applied::Refused, "{event:?}");
    }
    assert_eq!(
        (story.table.snapshot().refused, story.realm().live.total()),
        (1, 1),
        "one allocation, five messages"
    );
    story.ends_empty();
}
