//! When the numbers of the table, of a realm, a server and a source began.

use super::super::{OTHER, Settings, Snapshot};
use super::images::read_back;
use super::*;
use crate::state::model::servers::SERVER_MEMORY;

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
