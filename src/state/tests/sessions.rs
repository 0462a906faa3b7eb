//! Sessions whose allocations overlap, are replaced, abandoned or adopted: what is counted, and what is observed as if it
//! had been watched from end to end.

use super::super::{Outcome, RealmSeries, Settings, Table};
use super::{SOURCE, at, delta, key, new, refreshed, secs, table};
use crate::wire::{Event, Key, Leg};

fn tell(table: &mut Table, seconds: u64, key: &Key<'_>, event: &Event<'_>) {
    table.apply(at(seconds), SOURCE, key, event);
}

fn use_it(table: &mut Table, seconds: u64, key: &Key<'_>) {
    tell(table, seconds, key, &delta(Leg::Peer, [100, 1000, 100, 1000]));
}

/// The sums of the realm `r` at a moment.
fn realm(table: &mut Table, seconds: u64) -> RealmSeries {
    table.advance(at(seconds));
    table.snapshot().realms.first().expect("a realm").series.clone()
}

/// Sessions closed, relayed and not; then how many durations were observed of each, and of relay times.
fn closed(realm: &RealmSeries) -> [u64; 5] {
    let [relayed, unrelayed] = [Outcome::Relayed, Outcome::Unrelayed].map(|path| path as usize);
    [
        realm.sessions_closed.get(relayed),
        realm.sessions_closed.get(unrelayed),
        realm.session_durations[relayed].count(),
        realm.session_durations[unrelayed].count(),
        realm.session_relay_durations.count(),
    ]
}

#[test]
fn users_that_come_and_go_across_each_other_are_kept_apart() {
    let mut table = table(Settings::default());
    let [a, b, c] = [("a", 1), ("b", 2), ("c", 3)].map(|(user, id)| key("r", user, id));
    for (seconds, one) in [(0, &a), (5, &b), (10, &c)] {
        tell(&mut table, seconds, one, &new(600));
    }
    use_it(&mut table, 20, &b);
    for (seconds, one) in [(30, &b), (40, &a), (60, &c)] {
        tell(&mut table, seconds, one, &Event::Deleted);
    }
    assert_eq!(realm(&mut table, 60).sessions, 0);
    let realm = realm(&mut table, 70);
    assert_eq!(closed(&realm), [1, 2, 1, 2, 1]);
    assert_eq!(realm.session_durations[0].sum(), 25_000);
    assert_eq!(realm.session_durations[1].sum(), 40_000 + 50_000);
}

#[test]
fn the_name_of_a_user_is_stored_once_for_all_allocations_of_a_session() {
    let mut table = table(Settings::default());
    for id in 1..=64 {
        tell(&mut table, 0, &key("r", "1795343956:phone", id), &new(600));
    }
    assert_eq!(table.records.users.stored(), 1);
    for id in 1..=64 {
        tell(&mut table, 1, &key("r", "1795343956:phone", id), &Event::Deleted);
    }
    table.advance(at(3600));
    assert_eq!(table.records.users.stored(), 0);
}

/// Each unanswered restart opens one more allocation; the earlier ones are released a minute later.
#[test]
fn ice_restarts_are_one_session_and_a_spare_stretches_only_its_length() {
    let mut table = table(Settings::default());
    let [first, second, spare] = [1, 2, 3].map(|id| key("r", "1795343956:phone", id));
    tell(&mut table, 0, &first, &new(600));
    tell(&mut table, 0, &spare, &new(600));
    use_it(&mut table, 20, &first);
    tell(&mut table, 30, &second, &new(600));
    use_it(&mut table, 80, &second);
    tell(&mut table, 90, &first, &refreshed(0));
    tell(&mut table, 91, &first, &Event::Deleted);
    tell(&mut table, 200, &second, &Event::Deleted);
    tell(&mut table, 540, &spare, &refreshed(600));
    tell(&mut table, 1000, &spare, &Event::Deleted);
    let realm = realm(&mut table, 1010);
    assert_eq!((realm.sessions_opened, closed(&realm)), (1, [1, 0, 1, 0, 1]));
    assert_eq!((realm.session_allocations.count(), realm.session_allocations.sum()), (1, 3));
    assert_eq!((realm.session_durations[0].sum(), realm.session_relay_durations.sum()), (1_000_000, 200_000));
    assert_eq!(realm.session_bytes.sum(), 4000);
}

/// A used allocation and one used before it, with a pause between: relay time goes from the first to the last of them.
#[test]
fn relay_time_spans_what_relayed() {
    let mut table = table(Settings::default());
    let [whole, early, late] = [1, 2, 3].map(|id| key("r", "u", id));
    tell(&mut table, 0, &whole, &new(3600));
    tell(&mut table, 10, &early, &new(600));
    use_it(&mut table, 20, &early);
    tell(&mut table, 30, &early, &Event::Deleted);
    tell(&mut table, 100, &late, &new(600));
    use_it(&mut table, 110, &late);
    tell(&mut table, 160, &late, &Event::Deleted);
    tell(&mut table, 300, &whole, &Event::Deleted);
    let realm = realm(&mut table, 310);
    assert_eq!((realm.session_durations[0].sum(), realm.session_relay_durations.sum()), (300_000, 150_000));
}

#[test]
fn a_replaced_allocation_ends_its_session_whose_length_nobody_knows() {
    let mut table = table(Settings::default());
    let one = key("r", "u", 1);
    tell(&mut table, 0, &one, &new(600));
    use_it(&mut table, 10, &one);
    tell(&mut table, 20, &one, &new(600));
    let after = realm(&mut table, 20);
    assert_eq!((after.sessions, after.sessions_opened, closed(&after)), (1, 2, [1, 0, 0, 0, 0]));
    tell(&mut table, 50, &one, &Event::Deleted);
    let after = realm(&mut table, 60);
    assert_eq!(closed(&after), [1, 1, 0, 1, 0]);
    assert_eq!(after.session_durations[1].sum(), 30_000, "the second is a session of its own");
}

/// One member that nobody saw end makes the whole session's length unknown, whatever the others did.
#[test]
fn an_abandoned_allocation_leaves_its_session_unmeasured() {
    let mut table = table(Settings::default());
    let [lost, seen] = [1, 2].map(|id| key("r", "u", id));
    tell(&mut table, 0, &lost, &new(600));
    tell(&mut table, 0, &seen, &new(600));
    use_it(&mut table, 10, &seen);
    tell(&mut table, 20, &seen, &Event::Deleted);
    assert_eq!(realm(&mut table, 690).sessions, 1, "open until the last is due");
    let after = realm(&mut table, 700);
    assert_eq!((after.sessions, closed(&after)), (0, [1, 0, 0, 0, 0]));
    assert_eq!((after.session_bytes.sum(), after.session_allocations.sum()), (2000, 2));

    // Alive after all: another session, adopted.
    tell(&mut table, 800, &lost, &refreshed(600));
    let after = realm(&mut table, 800);
    assert_eq!((after.sessions, after.sessions_opened, after.sessions_adopted), (1, 1, 1));
    tell(&mut table, 900, &lost, &Event::Deleted);
    assert_eq!(closed(&realm(&mut table, 910)), [1, 1, 0, 0, 0]);
}

#[test]
fn an_adopted_session_is_counted_and_not_measured() {
    let mut table = table(Settings::default());
    let [met, born] = [1, 2].map(|id| key("r", "u", id));
    tell(&mut table, 100, &met, &refreshed(600));
    tell(&mut table, 110, &born, &new(600));
    use_it(&mut table, 120, &born);
    tell(&mut table, 130, &met, &Event::Deleted);
    tell(&mut table, 200, &born, &Event::Deleted);
    let after = realm(&mut table, 210);
    assert_eq!((after.sessions_opened, after.sessions_adopted), (0, 1));
    assert_eq!(closed(&after), [1, 0, 0, 0, 0]);
    assert_eq!((after.session_bytes.sum(), after.session_allocations.sum()), (2000, 2));

    // The other way round: born first, joined by one that was met.
    tell(&mut table, 300, &born, &new(600));
    tell(&mut table, 310, &met, &refreshed(600));
    tell(&mut table, 320, &met, &Event::Deleted);
    tell(&mut table, 330, &born, &Event::Deleted);
    let after = realm(&mut table, 340);
    assert_eq!((after.sessions_opened, after.sessions_adopted), (1, 1));
    assert_eq!(closed(&after), [1, 1, 0, 0, 0], "not observed as if it were whole");
}

#[test]
fn who_comes_back_within_the_linger_goes_on_and_later_begins_anew() {
    let mut table = table(Settings { linger: secs(30), ..Settings::default() });
    let [first, second, third] = [1, 2, 3].map(|id| key("r", "u", id));
    tell(&mut table, 0, &first, &new(600));
    tell(&mut table, 10, &first, &Event::Deleted);
    tell(&mut table, 39, &second, &new(600));
    tell(&mut table, 40, &second, &Event::Deleted);
    tell(&mut table, 70, &third, &new(600));
    let after = realm(&mut table, 70);
    assert_eq!((after.sessions, after.sessions_opened), (1, 2), "30 s after the end it is over");
    tell(&mut table, 75, &third, &Event::Deleted);
    let after = realm(&mut table, 200);
    assert_eq!((closed(&after), after.session_durations[1].sum()), ([0, 2, 0, 2, 0], 45_000));
}
