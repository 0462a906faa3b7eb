//! A recorded journal of all kinds of inputs, and what the present rules make of it. It is kept, so that rules do not change
//! without [`RULES_VERSION`]: an exporter of other rules must not replay what was recorded under these.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::super::{Output, RULES_VERSION, SessionBy, Settings};
use super::audit::audit;
use super::replay::{KINDS, SECRET, World, names};
use super::*;

const SEED: u64 = 19;
const STEPS: u64 = 1000;

const WHAT_TO_DO: &str = "the rules changed: raise RULES_VERSION, delete the two files of the version before in \
     tests/golden/rules, and record anew with `NEW_RULES=1 cargo test --lib rules_fixture`. If only a field that is shown has \
     another name, delete and record the text (`.txt`) alone";

fn file(ending: &str) -> PathBuf {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/rules");
    folder.join(format!("{RULES_VERSION}.{ending}"))
}

/// A table of a store that begins: its settings are an input.
fn empty() -> Table {
    let mut table = Table::new::<&str>(Settings::default(), &[]).with_key_secret(SECRET);
    table.begin_store(1, 1);
    table
}

/// Batches of the fixture, each behind its length.
fn record() -> Vec<u8> {
    let mut table = empty();
    table.begin_recording();
    // All in figures: another default is no other rule.
    let settings = Settings {
        grace: secs(90),
        max_lifetime: secs(3600),
        idle_after: secs(1800),
        session_by: SessionBy::User,
        linger: secs(30),
        max_allocations: 20,
        max_realms: 3,
        max_servers: 3,
        are_rates_kept: false,
        ..Settings::default()
    };
    table.adopt_settings(at(1_000_000), settings, &["redis", "listener"]);
    refused_after_a_restart(&mut table);
    let mut world = World::new(SEED);
    let mut recording = Vec::new();
    for step in 1..=STEPS {
        world.step(&mut table);
        if step % 50 == 0 {
            let batch = table.take_recorded(Vec::new());
            recording.extend(u32::try_from(batch.len()).unwrap().to_le_bytes());
            recording.extend(batch);
        }
    }
    recording
}

/// Reports of the client leg under keys of the dead, as no chance brings them: of one that had ended, of one that had not, and
/// of one that lives.
fn refused_after_a_restart(table: &mut Table) {
    let source = table.source_id("redis").unwrap();
    let now = table.snapshot().now;
    let mut tell = |second: u64, id: u64, event: &Event<'_>| {
        table.apply(now.plus(secs(second)), source, &key("restarts", "alice", id), event);
    };
    let local = "192.0.2.200:3478";
    for id in 1..=3 {
        tell(1, id, &Event::New(grant(600, local, REMOTE)));
    }
    for event in [Event::Deleted, total(Leg::Client, [1, 10, 1, 10]), total(Leg::Peer, [1, 6, 1, 6])] {
        tell(395, 1, &event);
    }
    tell(400, 4, &Event::New(grant(600, local, REMOTE)));
    tell(401, 2, &Event::New(grant(600, local, REMOTE)));
    for id in [1, 3] {
        tell(402, id, &delta(Leg::Client, [2, 20, 2, 20]));
    }
    tell(420, 3, &delta(Leg::Client, [3, 30, 3, 30]));
    tell(420, 3, &delta(Leg::Peer, [2, 18, 2, 18]));
    tell(440, 3, &Event::Deleted);
}

fn batches(recording: &[u8]) -> Vec<&[u8]> {
    let (mut batches, mut rest) = (Vec::new(), recording);
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (batch, others) = behind.split_at(usize::try_from(u32::from_le_bytes(*length)).unwrap());
        batches.push(batch);
        rest = others;
    }
    batches
}

/// What the table shows, and what has ended.
fn text(table: &Table) -> String {
    let mut text = format!("{:#?}\n", table.snapshot());
    for (number, output) in table.outputs(0, usize::MAX) {
        match output {
            Output::Allocation(ended) => {
                let times = [ended.started, ended.alive_until, ended.quiet_since, ended.ended];
                let times = times.map(Timestamp::as_millis);
                let (serial, phase, cause, is_final) =
                    (ended.serial, ended.phase, ended.cause, ended.is_final);
                writeln!(text, "{number} allocation {serial} {phase:?} {cause:?} {is_final} {times:?}")
                    .unwrap();
            }
            Output::Session(ended) => writeln!(text, "{number} {ended:?}").unwrap(),
            Output::Opened(opened) => writeln!(text, "{number} {opened:?}").unwrap(),
            Output::Orphaned(orphaned) => writeln!(text, "{number} {orphaned:?}").unwrap(),
        }
    }
    text
}

fn kept(ending: &str, content: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let file = file(ending);
    if !file.exists() && std::env::var_os("NEW_RULES").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content()).unwrap();
    }
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}; {WHAT_TO_DO}", file.display()))
}

#[test]
fn a_recorded_journal_comes_to_what_it_came_to() {
    let recording = kept("journal", record);
    let mut table = empty();
    let mut kinds = BTreeSet::new();
    for (number, batch) in batches(&recording).into_iter().enumerate() {
        table.replay(batch).unwrap_or_else(|error| panic!("batch {number}: {error}; {WHAT_TO_DO}"));
        audit(&table).unwrap();
        names(batch, &mut kinds);
    }
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), KINDS, "each kind of input occurs");
    let came_to = text(&table);
    let expected = String::from_utf8(kept("txt", || came_to.clone().into_bytes())).unwrap();
    let differing = came_to.lines().zip(expected.lines()).find(|(line, expected)| line != expected);
    assert!(came_to == expected, "{WHAT_TO_DO}\nfirst line that differs, and as it was: {differing:#?}");
}
