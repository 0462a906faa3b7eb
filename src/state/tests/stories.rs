//! Stories with known ends: one rule of the design each.

use super::super::{
    Anomaly, Applied, Cause, Look, Orphan, Outcome, RealmSeries, Scanned, SessionBy, Settings, Table,
};
use super::audit::{audit, is_empty};
use super::*;

const NOBODY: [u64; 4] = [0; 4];

/// A table and the one key of the story.
struct Story {
    table: Table,
    key: Key<'static>,
}

impl Story {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    /// Before its source was ever watched: the next scan is the first.
    fn before_the_watch() -> Self {
        Self { table: Table::new(Settings::default(), &["test"]), key: key("r", "alice", 1) }
    }

    fn with(settings: Settings) -> Self {
        Self { table: table(settings), key: key("r", "alice", 1) }
    }

    fn tell(&mut self, seconds: u64, event: &Event<'_>) -> Applied {
        let key = self.key;
        self.tell_of(seconds, &key, event)
    }

    fn tell_of(&mut self, seconds: u64, key: &Key<'_>, event: &Event<'_>) -> Applied {
        let applied = self.table.apply(at(seconds), SOURCE, key, event);
        audit(&self.table).unwrap();
        applied
    }

    fn wait(&mut self, seconds: u64) -> &mut Self {
        self.table.advance(at(seconds));
        audit(&self.table).unwrap();
        self
    }

    fn realm(&self) -> RealmSeries {
        self.table.snapshot().realms[0].series
    }

    fn closed(&self) -> Vec<(&'static str, u64)> {
        let closed = self.realm().closed;
        let all = Cause::ALL.iter().enumerate().map(|(place, cause)| (cause.as_str(), closed.get(place)));
        all.filter(|&(_, count)| count > 0).collect()
    }

    fn orphans(&self, reason: Orphan) -> u64 {
        self.realm().orphans.get(reason as usize)
    }

    /// Whatever happened, everything is forgotten in the end.
    fn ends_empty(mut self) {
        for day in 1..5 {
            self.wait(day * 400_000);
        }
        assert!(is_empty(&self.table), "{:?}", self.table);
    }
}

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

/// A key as a scan finds it; the value is read if it is wanted.
fn scan(
    story: &mut Story,
    seconds: u64,
    key: &Key<'_>,
    event: &Event<'_>,
    idle: Option<u64>,
) -> (Look, Option<Scanned>) {
    let idle = idle.map(secs);
    let look = story.table.look(at(seconds), SOURCE, key, idle);
    let read = look == Look::Read;
    let scanned = read.then(|| story.table.scanned(at(seconds), SOURCE, key, event, idle));
    audit(&story.table).unwrap();
    (look, scanned)
}

/// From a lost link to the first key of the scan after it.
fn gap(story: &mut Story, from: u64, to: u64) {
    story.table.link_down(at(from), SOURCE);
    story.table.scan_begins(at(to), SOURCE);
}

fn end_of_gap(story: &mut Story, seconds: u64) -> u64 {
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
    assert_eq!(found(1, &new(600), Some(690)), (Look::Read, Some(Scanned::Adopted)));
    assert_eq!(found(1, &new(600), Some(0)), (Look::Known, None));
    assert_eq!(found(2, &new(600), Some(691)), (Look::Read, Some(Scanned::Stale)));
    assert_eq!(found(2, &new(600), Some(3691)), (Look::Stale, None), "not even read");
    assert_eq!(found(3, &refreshed(0), Some(1000)), (Look::Read, Some(Scanned::Adopted)));
    assert_eq!(found(4, &new(600), None), (Look::Read, Some(Scanned::Adopted)));
    story.tell_of(10_000, &alice(5), &Event::Deleted);
    story.wait(10_011);
    let (ended, _) = scan(&mut story, 10_011, &alice(5), &new(600), Some(3));
    assert_eq!(ended, Look::Known, "it ended while the scan went on");
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
        (Look::Read, Some(Scanned::Known))
    );
    assert_eq!(
        scan(&mut story, 1001, &alice, &refreshed(600), Some(1)).0,
        Look::Known,
        "that was our own reading"
    );
    end_of_gap(&mut story, 1001);
    story.table.heard_until(SOURCE, Timestamp::MAX);
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
    assert_eq!(scan(&mut story, 1000, &alice, &anew, Some(500)), (Look::Read, Some(Scanned::Adopted)));
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
    assert_eq!(scan(&mut story, 110, &alice, &new(600), Some(5)), (Look::Read, Some(Scanned::Known)));
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
    // The refresh of second 50 was heard; the key says 105, which was a refresh or merely a restart of Redis.
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
        Look::Known,
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
    assert_eq!(scan(&mut story, 400, &alice, &new(600), Some(400)).0, Look::Known);
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
    assert_eq!(absent(&mut story, 100), 1, "it was heard, and is not there");
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
    assert_eq!(scan(&mut story, 701, &alice, &new(600), Some(701)).0, Look::Stale);
    end_of_gap(&mut story, 701);
    assert_eq!(story.orphans(Orphan::Overdue), 1);
    story.table.scan_begins(at(1000), SOURCE);
    end_of_gap(&mut story, 1000);
    assert_eq!(story.orphans(Orphan::Overdue), 0);
    story.tell(1100, &Event::Deleted);
    assert_eq!(story.closed(), [("abandoned", 1)], "its sums were kept all the same");
    story.ends_empty();
}

#[test]
fn nothing_becomes_due_beyond_what_was_heard() {
    let mut story = Story::new();
    story.tell(0, &new(600));
    story.table.heard_until(SOURCE, at(600));
    assert!(
        story.wait(5000).closed().is_empty(),
        "the process stood still: the refresh may be in the socket"
    );
    story.tell(5000, &refreshed(600));
    story.table.heard_until(SOURCE, at(5690));
    assert!(story.wait(6000).closed().is_empty());
    story.table.heard_until(SOURCE, at(5691));
    assert_eq!(story.wait(6001).closed(), [("abandoned", 1)]);
    story.table.heard_until(SOURCE, Timestamp::MAX);
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
    assert_eq!(scan(&mut story, 10_000, &alice, &new(600), Some(1000)), (Look::Read, Some(Scanned::Stale)));
    end_of_gap(&mut story, 10_000);
    gap(&mut story, 10_200, 10_300);
    assert_eq!(
        scan(&mut story, 10_300, &alice, &new(600), Some(300)),
        (Look::Stale, None),
        "idle since our own reading"
    );
    end_of_gap(&mut story, 10_300);
    gap(&mut story, 10_400, 10_500);
    let revived = scan(&mut story, 10_500, &alice, &new(600), Some(50));
    assert_eq!(revived, (Look::Read, Some(Scanned::Adopted)), "set since: it lives");
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
    assert_eq!(scan(&mut story, 300, &alice, &new(600), Some(300)).0, Look::Stale, "nothing was missed");
    end_of_gap(&mut story, 300);
    gap(&mut story, 400, 500);
    assert_eq!(
        scan(&mut story, 500, &alice, &new(600), Some(500)).0,
        Look::Stale,
        "set before the gap: it ended in sight"
    );
    let mangled = key("r", "alice  0.0e+00xample.org", 3);
    assert_eq!(
        scan(&mut story, 500, &mangled, &new(600), Some(1)).0,
        Look::Stale,
        "whose it is cannot be told"
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
