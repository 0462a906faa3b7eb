//! What the next life finds of the last one.

use super::super::{StoredDirectory, UnsureReason};
use super::*;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

fn numbers(range: std::ops::Range<u64>) -> Vec<u64> {
    range.collect()
}

#[test]
fn a_killed_life_leaves_every_batch_in_order() {
    let folder = TestFolder::new("killed");
    let (directory, mut journal, found) = go_on(&folder, Continuity::Fresh, 0);
    assert!(found.is_empty() && directory.last_snapshot().is_none());
    append(&mut journal, 1..50);
    let bytes = directory.journal_bytes();
    let secret = directory.secret();
    drop((directory, journal));
    let (directory, _journal, found) = go_on(&folder, Continuity::Killed, 60);
    assert_eq!(found, numbers(1..50));
    assert_eq!((directory.journal_bytes(), directory.secret()), (bytes, secret));
    assert!(directory.is_same_boot() && secret != [0; 16]);
    let segments = folder.names().iter().filter(|name| name.starts_with("journal-")).count();
    assert!(segments > 4, "{segments}");
}

#[test]
fn the_moment_of_the_last_batch_says_how_long_nobody_was_there() {
    let folder = TestFolder::new("moment");
    assert_eq!(read(&folder.open()).unwrap().1.at, None);
    let (directory, mut journal, _) = go_on(&folder, Continuity::Fresh, 3);
    drop((directory, journal));
    let last = |folder: &TestFolder| {
        let directory = folder.open();
        let end = read(&directory).unwrap().1;
        end.at.unwrap().elapsed_until(&at(100), directory.is_same_boot())
    };
    assert_eq!(last(&folder), Duration::from_secs(97), "the beginning");
    (_, journal, _) = go_on(&folder, Continuity::Killed, 4);
    append(&mut journal, 10..21);
    drop(journal);
    assert_eq!(last(&folder), Duration::from_secs(80), "a batch");
    let (directory, journal, found) = go_on(&folder, Continuity::Killed, 30);
    end_cleanly(&directory, journal, &found, 40);
    drop(directory);
    assert_eq!(last(&folder), Duration::from_secs(60), "the last snapshot");
}

#[test]
fn a_clean_end_leaves_a_snapshot_and_nothing_behind_it_whatever_comes_next() {
    let folder = TestFolder::new("clean");
    let (directory, mut journal, _) = go_on(&folder, Continuity::Fresh, 0);
    append(&mut journal, 1..30);
    let boundary = journal.roll(at(30)).unwrap();
    assert!(directory.mark_clean(&boundary).is_err(), "no snapshot, and not closed");
    end_cleanly(&directory, journal, &numbers(1..30), 30);
    let name = format!("snapshot-{:08}", boundary.header.number + 1);
    assert_eq!(folder.names(), ["lock", &name, "state"]);
    drop(directory);
    let other_rules = JournalSettings { rules_version: 2, ..folder.settings() };
    let other_boot = JournalSettings { boot: BootId::from_bytes([9; 16]), ..folder.settings() };
    for settings in [folder.settings(), other_rules, other_boot] {
        let directory = folder.try_open(settings).unwrap();
        assert_eq!(directory.continuity(), Continuity::Clean);
        assert_eq!(read(&directory).unwrap().0, numbers(1..30));
        assert_eq!(directory.last_snapshot().unwrap().wall, at(30).wall);
    }
}

#[test]
fn lives_without_a_snapshot_follow_each_other() {
    let folder = TestFolder::new("row");
    for life in 0..4_u64 {
        let continuity = if life == 0 { Continuity::Fresh } else { Continuity::Killed };
        let (_directory, mut journal, found) = go_on(&folder, continuity, life * 10);
        assert_eq!(found, numbers(0..life * 10));
        append(&mut journal, life * 10..life * 10 + 10);
    }
    let directory = folder.open();
    let mut reader = directory.batches().unwrap();
    let mut lives = Vec::new();
    while let Some(batch) = reader.next_batch().unwrap() {
        assert_eq!((batch.sequence, batch.rules_version), (lives.len() as u64 + 1, 1));
        lives.push(batch.life);
    }
    let expected: Vec<u64> = (0..40).map(|number| number / 10 + 1).collect();
    assert_eq!(lives, expected);
    let (read, total) = reader.progress();
    assert!(read <= total && read > 40 * 8);
}

#[test]
fn a_snapshot_takes_the_place_of_what_is_before_it() {
    let folder = TestFolder::new("snapshot");
    let (directory, mut journal, _) = go_on(&folder, Continuity::Fresh, 0);
    append(&mut journal, 0..20);
    let first = journal.roll(at(20)).unwrap();
    append(&mut journal, 20..40);
    snapshot(&directory, &first, &numbers(0..20)).unwrap();
    let second = journal.roll(at(40)).unwrap();
    let kept = directory.journal_bytes();
    snapshot(&directory, &second, &numbers(0..40)).unwrap();
    assert!(kept > 0 && directory.journal_bytes() == 0);
    append(&mut journal, 40..45);
    drop((directory, journal));
    let names = folder.names();
    let snapshots: Vec<_> = names.iter().filter(|name| name.starts_with("snapshot")).collect();
    assert_eq!(snapshots, [&format!("snapshot-{:08}", second.header.number)]);
    let oldest = names.iter().find(|name| name.starts_with("journal")).unwrap();
    assert_eq!(*oldest, format!("journal-{:08}", second.header.number));
    let (directory, _journal, found) = go_on(&folder, Continuity::Killed, 50);
    assert_eq!(found, numbers(0..45));
    assert!(directory.last_snapshot().is_some() && directory.journal_bytes() > 0);
}

/// One that was made in the background is complete only when the last one is there.
#[test]
fn an_older_snapshot_that_comes_late_does_not_spoil_a_clean_end() {
    let folder = TestFolder::new("late");
    let (directory, mut journal, _) = go_on(&folder, Continuity::Fresh, 0);
    append(&mut journal, 0..5);
    let first = journal.roll(at(5)).unwrap();
    append(&mut journal, 5..9);
    let mut late = directory.snapshot_writer(&first).unwrap();
    for number in numbers(0..5) {
        late.block(&number.to_le_bytes()).unwrap();
    }
    let last = journal.close(at(9));
    snapshot(&directory, &last, &numbers(0..9)).unwrap();
    let newest = directory.last_snapshot();
    late.commit().unwrap();
    assert_eq!((directory.last_snapshot(), directory.journal_bytes()), (newest, 0));
    directory.mark_clean(&last).unwrap();
    assert_eq!(folder.names(), ["lock", &format!("snapshot-{:08}", last.header.number), "state"]);
    drop(directory);
    let (_, _, found) = go_on(&folder, Continuity::Clean, 10);
    assert_eq!(found, numbers(0..9));
}

#[test]
fn a_boundary_with_nothing_before_it_needs_no_segment_of_its_own() {
    let folder = TestFolder::new("boundary");
    let (directory, mut journal, _) = go_on(&folder, Continuity::Fresh, 0);
    let (first, second) = (journal.roll(at(1)).unwrap(), journal.roll(at(2)).unwrap());
    assert_eq!((first.header.number, second.header.number), (1, 1));
    snapshot(&directory, &first, &[]).unwrap();
    append(&mut journal, 0..1);
    assert_eq!(journal.roll(at(3)).unwrap().header.number, 2);
}

#[test]
fn another_boot_without_a_clean_end_is_unsure() {
    let folder = TestFolder::new("boot");
    let (directory, mut journal, _) = go_on(&folder, Continuity::Fresh, 0);
    append(&mut journal, 0..5);
    drop((directory, journal));
    for other in [[2; 16], [0; 16]] {
        let settings = JournalSettings { boot: BootId::from_bytes(other), ..folder.settings() };
        let continuity = folder.try_open(settings).unwrap().continuity();
        assert_eq!(continuity, Continuity::Unsure(UnsureReason::OtherBoot));
    }
    assert_eq!(folder.open().continuity(), Continuity::Killed);
}

/// The original may have gone on: whoever was answered by it would be told less than before.
#[test]
fn a_copy_of_a_directory_in_use_is_unsure_and_one_after_a_clean_end_is_not() {
    let folder = TestFolder::new("put-back");
    let original = folder.root.join("original");
    let put_back = || {
        fs::rename(folder.store(), &original).unwrap();
        fs::create_dir(folder.store()).unwrap();
        for name in names_in(&original) {
            fs::copy(original.join(&name), folder.file(&name)).unwrap();
        }
    };
    let (directory, mut journal, _) = go_on(&folder, Continuity::Fresh, 0);
    append(&mut journal, 0..5);
    drop((directory, journal));
    put_back();
    let directory = folder.open();
    assert_eq!(directory.continuity(), Continuity::Unsure(UnsureReason::Copied));
    let journal = Journal::start_over(&directory, at(9));
    drop((directory, journal));
    let (directory, journal, found) = go_on(&folder, Continuity::Killed, 10);
    end_cleanly(&directory, journal, &found, 11);
    drop(directory);
    fs::remove_dir_all(&original).unwrap();
    put_back();
    assert_eq!(folder.open().continuity(), Continuity::Clean);
}

#[test]
fn batches_of_other_rules_are_unsure_and_an_empty_journal_is_not() {
    let folder = TestFolder::new("rules");
    let settings = JournalSettings { rules_version: 2, ..folder.settings() };
    drop(go_on(&folder, Continuity::Fresh, 0));
    assert_eq!(folder.try_open(settings.clone()).unwrap().continuity(), Continuity::Killed);
    let (_, mut journal, _) = go_on(&folder, Continuity::Killed, 0);
    append(&mut journal, 0..2);
    drop(journal);
    let directory = folder.try_open(settings).unwrap();
    assert_eq!(directory.continuity(), Continuity::Unsure(UnsureReason::OtherRules { found: 1 }));
}

#[test]
fn starting_over_leaves_nothing_of_what_was() {
    let folder = TestFolder::new("over");
    let (directory, mut journal, _) = go_on(&folder, Continuity::Fresh, 0);
    append(&mut journal, 0..20);
    let boundary = journal.roll(at(20)).unwrap();
    snapshot(&directory, &boundary, &numbers(0..20)).unwrap();
    append(&mut journal, 20..30);
    directory.mark_unsure().unwrap();
    drop((directory, journal));
    let directory = folder.open();
    assert_eq!(directory.continuity(), Continuity::Unsure(UnsureReason::Marked));
    let mut journal = Journal::start_over(&directory, at(50));
    assert!(journal.failure().is_none() && directory.last_snapshot().is_none());
    append(&mut journal, 100..103);
    drop((directory, journal));
    let (_, _, found) = go_on(&folder, Continuity::Killed, 60);
    assert_eq!(found, numbers(100..103));
    assert!(names_in(&folder.root.join("markers")).is_empty());
}

#[test]
fn one_journal_is_put_aside_and_counted_with_the_files() {
    let folder = TestFolder::new("aside");
    let mut kept = Vec::new();
    for (round, next) in [(0_u64, 10_u64), (1, 25)] {
        let continuity = if round == 0 { Continuity::Fresh } else { Continuity::Killed };
        let (directory, mut journal, found) = go_on(&folder, continuity, 0);
        append(&mut journal, 5..next);
        drop((directory, journal));
        let directory = folder.open();
        assert_eq!(directory.put_aside().unwrap(), folder.file("diverged"));
        let taken = |path: &Path| {
            let of = |name: &String| fs::metadata(path.join(name)).unwrap().blocks() * 512;
            names_in(path).iter().map(of).sum::<u64>()
        };
        assert_eq!(directory.bytes().unwrap(), taken(&folder.store()) + taken(&folder.file("diverged")));
        let mut journal = Journal::start_over(&directory, at(next));
        append(&mut journal, 0..5);
        let stored = StoredDirectory::open(&folder.file("diverged")).unwrap();
        let expected: Vec<_> = found.into_iter().chain(5..next).collect();
        assert_eq!(read_batches(stored.batches()).unwrap().0, expected);
        kept.push(names_in(&folder.file("diverged")));
    }
    assert!(!kept[1].is_empty() && kept[0].iter().all(|name| name == "state" || !kept[1].contains(name)));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.file("diverged")), 0o700);
    assert_eq!(mode(&folder.file("diverged").join("state")), 0o600);
}

#[test]
fn a_batch_larger_than_a_segment_has_one_of_its_own() {
    let folder = TestFolder::new("large");
    let (directory, mut journal, _) = go_on(&folder, Continuity::Fresh, 0);
    let mut sizes = Vec::new();
    for size in [1, 300, 5000, 10, 384 - 64, 385, 20_000, 0, 7] {
        journal.append(&vec![b'z'; size], at(1)).unwrap();
        sizes.push(size);
    }
    drop((directory, journal));
    let mut reader = folder.open().batches().unwrap();
    let mut found = Vec::new();
    while let Some(batch) = reader.next_batch().unwrap() {
        found.push(batch.payload.len());
    }
    assert_eq!(found, sizes);
}

#[test]
fn a_copy_is_read_without_a_lock_and_stays_as_it_is() {
    let folder = TestFolder::new("copy");
    assert!(matches!(StoredDirectory::open(&folder.store()), Err(DirectoryError::System { .. })));
    let (directory, mut journal, _) = go_on(&folder, Continuity::Fresh, 0);
    append(&mut journal, 0..20);
    let boundary = journal.roll(at(20)).unwrap();
    snapshot(&directory, &boundary, &numbers(0..20)).unwrap();
    append(&mut journal, 20..30);
    let before = folder.names();
    let stored = StoredDirectory::open(&folder.store()).unwrap();
    assert_eq!(stored.secret(), directory.secret());
    // What goes on meanwhile does not matter.
    append(&mut journal, 30..40);
    let boundary = journal.roll(at(40)).unwrap();
    snapshot(&directory, &boundary, &numbers(0..40)).unwrap();
    let mut found = read_snapshot(stored.snapshot()).unwrap();
    found.extend(read_batches(stored.batches()).unwrap().0);
    assert!(found.len() >= 30 && found == numbers(0..found.len() as u64), "{found:?}");
    assert_ne!(before, folder.names());
}

/// Lives as they come: appended, rolled, with snapshots that take a while, killed, ended; what the next one reads is what
/// was appended.
#[test]
fn random_lives_lose_nothing() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = TestFolder::in_memory("random");
    let (mut continuity, mut next) = (Continuity::Fresh, 0_u64);
    for _ in 0..120 {
        let (directory, mut journal, found) = go_on(&folder, continuity, next);
        assert_eq!(found, numbers(0..next));
        let mut rolled = None;
        for _ in 0..random.u32(0..40) {
            match random.u32(0..12) {
                0 => rolled = Some((journal.roll(at(next)).unwrap(), next)),
                1 => {
                    if let Some((boundary, before)) = rolled.take() {
                        snapshot(&directory, &boundary, &numbers(0..before)).unwrap();
                    }
                }
                2 => drop(rolled.as_ref().map(|(boundary, _)| directory.snapshot_writer(boundary).unwrap())),
                _ => {
                    append(&mut journal, [next]);
                    next += 1;
                }
            }
        }
        continuity = Continuity::Killed;
        if random.u32(0..3) == 0 {
            end_cleanly(&directory, journal, &numbers(0..next), next);
            continuity = Continuity::Clean;
        }
    }
}
