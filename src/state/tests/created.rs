//! When the numbers of the table, of a realm, a server and a source began.

use super::super::{OTHER, RealmView, Settings, Snapshot};
use super::audit::audit;
use super::images::read_back;
use super::*;
use crate::state::model::servers::SERVER_MEMORY;
use crate::wire::Event;

const BEGIN: u64 = 1000;

fn settings(max_realms: usize, realms: &[&str]) -> Settings {
    let realms = realms.iter().map(|realm| realm.as_bytes().to_vec()).collect();
    Settings { max_realms, realms, are_rates_kept: false, ..Settings::default() }
}

fn begun(settings: Settings, sources: &[&str]) -> Table {
    let mut table = Table::new(settings, sources);
    table.link_up(at(BEGIN), SOURCE);
    table
}

fn realms(snapshot: &Snapshot) -> Vec<(&str, Timestamp)> {
    snapshot.realms.iter().map(|realm| (&*realm.label, realm.created)).collect()
}

fn servers(table: &Table) -> Vec<(String, Timestamp)> {
    table.snapshot().servers.iter().map(|server| (server.label.to_string(), server.created)).collect()
}

fn sources(table: &Table) -> Vec<(String, Timestamp)> {
    table.snapshot().sources.iter().map(|source| (source.name.to_string(), source.created)).collect()
}

#[test]
fn what_is_there_from_the_start_began_with_the_first_moment_of_the_table() {
    let mut table = begun(settings(10, &["wanted"]), &["test"]);
    table.advance(at(2000));
    let snapshot = table.snapshot();
    assert_eq!(snapshot.created, at(BEGIN));
    assert_eq!(realms(&snapshot), [("wanted", at(BEGIN))]);
    assert_eq!(sources(&table), [("test".to_owned(), at(BEGIN))]);
}

#[test]
fn a_realm_begins_when_it_is_met_and_those_past_the_cap_with_the_first_of_them() {
    let mut table = begun(settings(1, &[]), &["test"]);
    for (second, realm) in [(1100, "first"), (1200, "first"), (1300, "second"), (1400, "third")] {
        table.apply(at(second), SOURCE, &key(realm, "alice", second), &new(600));
    }
    let expected = [("first", at(1100)), (OTHER, at(1300))];
    assert_eq!(realms(&table.snapshot()), expected);
    // All of them are gone, their series stay.
    table.advance(at(500_000));
    assert_eq!(realms(&table.snapshot()), expected);
}

#[test]
fn a_server_begins_anew_when_it_has_left_the_page() {
    let mut table = begun(settings(10, &[]), &["test"]);
    let meet = |table: &mut Table, second| {
        table.apply(at(second), SOURCE, &key("r", "alice", second), &new(600));
        table.apply(at(second), SOURCE, &key("r", "alice", second), &Event::Deleted);
        servers(table)
    };
    let began = |second| [("192.0.2.1".to_owned(), at(second))];
    assert_eq!(meet(&mut table, 1100), began(1100));
    let within = 1100 + SERVER_MEMORY.as_secs();
    assert_eq!(meet(&mut table, within), began(1100));
    let later = within + SERVER_MEMORY.as_secs() + 1;
    assert_eq!(meet(&mut table, later), began(later));
}

#[test]
fn a_source_begins_when_it_is_first_watched() {
    let mut table = begun(settings(10, &[]), &["test"]);
    let began = |of: &[(&str, u64)]| {
        of.iter().map(|&(name, second)| (name.to_owned(), at(second))).collect::<Vec<_>>()
    };
    table.adopt_settings(at(1500), settings(10, &["late"]), &["second"]);
    assert_eq!(sources(&table), began(&[("second", 1500)]));
    assert_eq!(realms(&table.snapshot()), [("late", at(1500))]);
    table.adopt_settings(at(1600), settings(10, &[]), &["second", "test", "third"]);
    assert_eq!(sources(&table), began(&[("second", 1500), ("test", BEGIN), ("third", 1600)]));
}

/// A realm that is always in use would never leave `_other`, had the last of its records to go first.
#[test]
fn a_realm_in_use_leaves_the_others_with_what_opens_when_there_is_room() {
    let mut table = begun(settings(1, &[]), &["test"]);
    let apply = |table: &mut Table, second, user, id, event: &Event<'_>| {
        table.apply(at(second), SOURCE, &key("busy", user, id), event);
        audit(table).unwrap();
    };
    table.apply(at(1100), SOURCE, &key("first", "zoe", 1), &new(6000));
    apply(&mut table, 1200, "alice", 2, &new(6000));
    table.adopt_settings(at(1300), settings(1, &["wanted", "busy"]), &["test"]);
    assert_eq!(realms(&table.snapshot())[2..], [("wanted", at(1300)), ("busy", at(1300))]);
    // Also in a table that was written and read.
    let mut table = read_back(&mut table);
    let counts = |table: &Table| {
        let of = |realm: &RealmView| {
            (realm.series.live.total(), realm.series.sessions, realm.series.opened.total())
        };
        table.snapshot().realms.iter().map(|realm| (realm.label.to_string(), of(realm))).collect::<Vec<_>>()
    };
    let shown = |other, busy| {
        [("first", (1, 1, 1)), (OTHER, other), ("wanted", (0, 0, 0)), ("busy", busy)]
            .map(|(label, of)| (label.to_owned(), of))
    };
    // Alice's session is open, and stays where it is; allocations do not wait for its end.
    apply(&mut table, 1400, "alice", 3, &new(6000));
    apply(&mut table, 1400, "bob", 4, &new(6000));
    assert_eq!(counts(&table), shown((1, 1, 1), (2, 1, 2)));
    for id in [2, 3] {
        apply(&mut table, 1500, "alice", id, &Event::Deleted);
    }
    table.advance(at(2000));
    apply(&mut table, 2000, "alice", 5, &new(6000));
    assert_eq!(counts(&read_back(&mut table)), shown((0, 0, 1), (2, 2, 3)));
    assert_eq!(table.snapshot().folded_realms, 1);
}

#[test]
fn of_those_that_were_folded_as_many_get_series_as_a_higher_maximum_has_room_for() {
    let mut table = begun(settings(1, &[]), &["test"]);
    for (id, realm) in (1..).zip(["first", "second", "third", "fourth"]) {
        table.apply(at(1100), SOURCE, &key(realm, "alice", id), &new(6000));
    }
    table.adopt_settings(at(1200), settings(3, &[]), &["test"]);
    let labels = |table: &Table| {
        realms(&table.snapshot()).into_iter().map(|(label, _)| label.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(labels(&table), ["first", OTHER, "second", "third"]);
    for (id, realm) in (11..).zip(["fourth", "third", "second"]) {
        table.apply(at(1300), SOURCE, &key(realm, "bob", id), &new(6000));
    }
    let live: Vec<_> = table.snapshot().realms.iter().map(|realm| realm.series.live.total()).collect();
    assert_eq!(live, [1, 4, 1, 1]);
    audit(&table).unwrap();
}

#[test]
fn all_of_it_stays_from_process_to_process() {
    let mut table = begun(settings(1, &["wanted"]), &["test"]);
    table.apply(at(1100), SOURCE, &key("r", "alice", 1), &new(600));
    let of = |table: &Table| {
        let snapshot = table.snapshot();
        let realms =
            realms(&snapshot).into_iter().map(|(label, at)| (label.to_owned(), at)).collect::<Vec<_>>();
        (snapshot.created, realms, servers(table), sources(table))
    };
    let before = of(&table);
    let mut next = read_back(&mut table);
    next.restarted(at(1200));
    next.adopt_settings(at(1200), settings(1, &["wanted"]), &["test"]);
    assert_eq!(of(&next), before);
    assert_eq!(before.0, at(BEGIN));
}
