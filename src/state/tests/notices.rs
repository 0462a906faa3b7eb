//! What the ledger gets of sessions that begin and allocations that become orphans.

use super::super::{AllocationNames, Orphan, Output, SavedAllocation, SavedTable, Settings, Table};
use super::{SOURCE, at, delta, key, new, refreshed, secs};
use crate::wire::{Event, Key, Leg};

fn begun(settings: Settings) -> Table {
    let mut table = super::table(settings);
    table.begin_store(1, 1);
    table
}

fn tell(table: &mut Table, seconds: u64, key: &Key<'_>, event: &Event<'_>) {
    table.apply(at(seconds), SOURCE, key, event);
}

/// Sessions that were announced as opened, and those that closed, by their numbers.
fn sessions(table: &Table) -> (Vec<u64>, Vec<u64>) {
    let outputs = table.outputs(0, usize::MAX);
    let opened = outputs.iter().filter_map(|(_, output)| match output {
        Output::Opened(session) => Some(session.first.session),
        _ => None,
    });
    let closed = outputs.iter().filter_map(|(_, output)| match output {
        Output::Session(session) => Some(session.serial),
        _ => None,
    });
    (opened.collect(), closed.collect())
}

fn orphans(table: &Table) -> Vec<(AllocationNames, Orphan, u64)> {
    let outputs = table.outputs(0, usize::MAX).into_iter();
    let orphaned = outputs.filter_map(|(_, output)| match output {
        Output::Orphaned(orphan) => Some((orphan.allocation, orphan.reason, orphan.since.as_millis() / 1000)),
        _ => None,
    });
    orphaned.collect()
}

#[test]
fn a_session_is_told_of_once_under_the_number_that_it_closes_with() {
    let mut table = begun(Settings::default());
    let [a, b] = [1, 2].map(|id| key("r", "a", id));
    tell(&mut table, 0, &a, &new(600));
    tell(&mut table, 5, &b, &new(600));
    tell(&mut table, 10, &a, &Event::Deleted);
    tell(&mut table, 20, &b, &Event::Deleted);
    tell(&mut table, 30, &key("r", "a", 3), &new(600));
    table.advance(at(200));
    let (opened, closed) = sessions(&table);
    assert_eq!((opened.len(), &closed[..]), (2, &opened[..1]));
    let outputs = table.outputs(0, 1);
    let Output::Opened(session) = &outputs[0].1 else { panic!("{outputs:?}") };
    assert!(!session.is_adopted);
    assert_eq!((&*session.first.user, session.first.id.0, session.first.started), (&b"a"[..], 1, at(0)));
}

#[test]
fn who_was_met_in_the_middle_is_told_of_as_adopted() {
    let mut table = begun(Settings::default());
    tell(&mut table, 10, &key("r", "a", 1), &refreshed(600));
    let outputs = table.outputs(0, 1);
    let Output::Opened(session) = &outputs[0].1 else { panic!("{outputs:?}") };
    assert!(session.is_adopted);
}

#[test]
fn an_orphan_is_told_of_with_its_session_when_it_becomes_one() {
    let settings = Settings { max_lifetime: secs(600), idle_after: secs(300), ..Settings::default() };
    let mut table = begun(settings);
    let held = key("r", "a", 1);
    tell(&mut table, 0, &held, &new(600));
    for second in (500..=5000).step_by(500) {
        tell(&mut table, second, &held, &refreshed(600));
    }
    let (opened, _) = sessions(&table);
    let idle = orphans(&table);
    assert_eq!(idle.len(), 1, "once: {idle:?}");
    assert_eq!((idle[0].0.session, idle[0].0.id.0, idle[0].1), (opened[0], 1, Orphan::Idle));
    assert!((600..=1000).contains(&idle[0].2), "{idle:?}");
    // And then its server is silent: it is overdue, of the session that it was in.
    table.advance(at(6000));
    let all = orphans(&table);
    assert_eq!((all.len(), all[1].0.session, all[1].1), (2, opened[0], Orphan::Overdue));
}

#[test]
fn who_is_silent_after_traffic_is_told_of_in_its_shared_session() {
    let mut table = begun(Settings::default());
    for id in [1, 2] {
        tell(&mut table, 0, &key("r", "a", id), &new(600));
        tell(&mut table, 10, &key("r", "a", id), &delta(Leg::Peer, [100, 1000, 100, 1000]));
    }
    table.advance(at(2000));
    let (opened, closed) = sessions(&table);
    assert_eq!((opened.len(), &closed), (1, &opened));
    let orphans = orphans(&table);
    assert!(
        orphans.iter().all(|(names, reason, _)| (names.session, *reason) == (opened[0], Orphan::Overdue))
    );
    assert_eq!(orphans.len(), 2);
}

#[test]
fn without_a_store_nothing_is_told() {
    let mut table = super::table(Settings::default());
    tell(&mut table, 0, &key("r", "a", 1), &new(600));
    table.advance(at(2000));
    assert_eq!(table.outputs(0, usize::MAX), []);
}

/// The ledger lacks nothing without them, so they give way first.
#[test]
fn notices_that_nobody_takes_give_way_before_sessions() {
    let mut table = begun(Settings { max_allocations: 10, ..Settings::default() });
    let rounds = 50_100;
    for id in 1..=rounds {
        tell(&mut table, id, &key("r", "a", id), &new(600));
        tell(&mut table, id, &key("r", "a", id), &Event::Deleted);
    }
    table.advance(at(rounds + 200));
    let (opened, closed) = sessions(&table);
    assert_eq!((opened.len(), closed.len() as u64), (50_000, rounds));
    assert_eq!(table.snapshot().lost_outputs, 100);
}

/// Its process began them, and whoever listened then has been told: to a receiver they are not new.
#[test]
fn what_an_older_store_held_open_is_not_told_of_as_opened() {
    let mut earlier = begun(Settings::default());
    tell(&mut earlier, 0, &key("r", "a", 1), &new(600));
    let record = earlier.take_all().remove(0);
    let exported = record.sums;
    let allocations = vec![SavedAllocation { record, exported, accounted_bytes: 0 }];
    let mut table = super::table(Settings::default());
    table.begin_store(2, 1);
    table.restore(at(20), SavedTable { allocations, ..SavedTable::default() });
    tell(&mut table, 21, &key("r", "b", 2), &new(600));
    let outputs = table.outputs(0, usize::MAX);
    let users: Vec<_> = outputs
        .iter()
        .filter_map(|(_, output)| match output {
            Output::Opened(session) => Some(session.first.user.to_vec()),
            _ => None,
        })
        .collect();
    assert_eq!(users, [b"b".to_vec()], "the one that began here");
}
