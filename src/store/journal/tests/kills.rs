//! A process that is killed between any two changes of the disk, or within a write.

use super::super::StoredDirectory;
use super::*;

/// Runs a story with the disk dying after `steps` changes, for each number of steps, until the story runs to its end.
/// `told` are the numbers whose `append` succeeded; one more may have been written.
fn at_every_step(
    name: &str,
    prepare: impl Fn(&TestFolder),
    story: impl Fn(&TestFolder, &Faults, &mut Vec<u64>) -> Option<()>,
    judge: impl Fn(&TestFolder, &[u64], bool),
) {
    for torn in [0, 1, 30, usize::MAX] {
        for steps in 0.. {
            let folder = TestFolder::in_memory(&format!("{name}-{torn}-{steps}"));
            prepare(&folder);
            let faults = Faults::default();
            faults.die_after(steps, torn);
            let mut told = Vec::new();
            let is_over = story(&folder, &faults, &mut told).is_some();
            println!("{name}: torn {torn}, after {steps} changes, over: {is_over}");
            judge(&folder, &told, is_over);
            if is_over {
                assert!(steps > 5, "the story changes nothing");
                break;
            }
        }
    }
}

fn append_and_tell(journal: &mut Journal, numbers: std::ops::Range<u64>, told: &mut Vec<u64>) -> Option<()> {
    for number in numbers {
        journal.append(&payload(number), at(number)).ok()?;
        told.push(number);
    }
    Some(())
}

/// All that was told, and at most one more.
fn is_told(found: &[u64], told: &[u64]) {
    assert!(found.starts_with(told) && found.len() <= told.len() + 1, "{found:?} of {told:?}");
}

/// Nothing is left over once another life has made a snapshot.
fn is_tidy(folder: &TestFolder) {
    let directory = folder.open();
    let (found, end) = read(&directory).unwrap();
    let mut journal = Journal::go_on(&directory, &end, at(200));
    let boundary = journal.roll(at(200)).unwrap();
    snapshot(&directory, &boundary, &found).unwrap();
    let number = boundary.header.number;
    let expected =
        [format!("journal-{number:08}"), "lock".into(), format!("snapshot-{number:08}"), "state".into()];
    assert_eq!(folder.names(), expected);
    end_cleanly(&directory, journal, &found, 201);
}

#[test]
fn a_life_with_snapshots_is_gone_on_with_from_any_step() {
    let story = |folder: &TestFolder, faults: &Faults, told: &mut Vec<u64>| {
        let directory = folder.open_with(faults).ok()?;
        let (_, end) = read(&directory).unwrap();
        let mut journal = Journal::go_on(&directory, &end, at(0));
        append_and_tell(&mut journal, 0..8, told)?;
        let boundary = journal.roll(at(8)).ok()?;
        append_and_tell(&mut journal, 8..12, told)?;
        snapshot(&directory, &boundary, &told[..8]).ok()?;
        let boundary = journal.roll(at(12)).ok()?;
        snapshot(&directory, &boundary, told).ok()?;
        append_and_tell(&mut journal, 12..20, told)?;
        let boundary = journal.close(at(20));
        snapshot(&directory, &boundary, told).ok()?;
        directory.mark_clean(&boundary).ok()
    };
    let judge = |folder: &TestFolder, told: &[u64], is_over: bool| {
        let directory = folder.open();
        let continuity = directory.continuity();
        match told {
            [] => assert!(matches!(continuity, Continuity::Fresh | Continuity::Killed), "{continuity:?}"),
            _ if is_over => assert_eq!(continuity, Continuity::Clean),
            _ => assert!(matches!(continuity, Continuity::Killed | Continuity::Clean), "{continuity:?}"),
        }
        is_told(&read(&directory).unwrap().0, told);
        drop(directory);
        is_tidy(folder);
    };
    at_every_step("life", |_| {}, story, judge);
}

#[test]
fn a_life_behind_a_clean_end_is_gone_on_with_from_any_step() {
    let prepare = |folder: &TestFolder| {
        let (directory, mut journal, _) = go_on(folder, Continuity::Fresh, 0);
        append(&mut journal, 0..3);
        end_cleanly(&directory, journal, &[0, 1, 2], 3);
    };
    let story = |folder: &TestFolder, faults: &Faults, told: &mut Vec<u64>| {
        told.extend([0, 1, 2]);
        let directory = folder.open_with(faults).ok()?;
        let (_, end) = read(&directory).unwrap();
        let mut journal = Journal::go_on(&directory, &end, at(10));
        append_and_tell(&mut journal, 3..12, told)
    };
    let judge = |folder: &TestFolder, told: &[u64], _| {
        let directory = folder.open();
        let continuity = directory.continuity();
        let expected: &[_] =
            if told.len() > 3 { &[Continuity::Killed] } else { &[Continuity::Clean, Continuity::Killed] };
        assert!(expected.contains(&continuity), "{continuity:?}");
        is_told(&read(&directory).unwrap().0, told);
        drop(directory);
        is_tidy(folder);
    };
    at_every_step("behind", prepare, story, judge);
}

/// Its last batch is torn, and it had reserved room behind it: both are given back, or not, and nothing else.
#[test]
fn a_life_behind_a_kill_is_gone_on_with_from_any_step() {
    let prepare = |folder: &TestFolder| {
        used(folder);
        let is_segment = |name: &String| name.starts_with("journal-");
        let name = folder.names().into_iter().rfind(is_segment).unwrap();
        let bytes = fs::read(folder.file(&name)).unwrap();
        let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
        assert!(end < bytes.len(), "no room behind it");
        let file = fs::OpenOptions::new().write(true).open(folder.file(&name)).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[0; 3], end as u64 - 3).unwrap();
    };
    let story = |folder: &TestFolder, faults: &Faults, told: &mut Vec<u64>| {
        told.extend(0..11);
        let directory = folder.open_with(faults).ok()?;
        let (found, end) = read(&directory).unwrap();
        assert_eq!(found, *told);
        let mut journal = Journal::go_on(&directory, &end, at(20));
        append_and_tell(&mut journal, 11..20, told)
    };
    let judge = |folder: &TestFolder, told: &[u64], _| {
        let directory = folder.open();
        assert_eq!(directory.continuity(), Continuity::Killed);
        is_told(&read(&directory).unwrap().0, told);
        drop(directory);
        is_tidy(folder);
    };
    at_every_step("killed", prepare, story, judge);
}

/// As after a replay that went wrong: the files are fine, and nobody goes on with them.
#[test]
fn a_start_over_without_a_mark_leaves_all_or_nothing() {
    let story = |folder: &TestFolder, faults: &Faults, told: &mut Vec<u64>| {
        let directory = folder.open_with(faults).ok()?;
        assert_eq!(directory.continuity(), Continuity::Killed);
        let mut journal = Journal::start_over(&directory, at(50));
        append_and_tell(&mut journal, 100..110, told)
    };
    let judge = |folder: &TestFolder, told: &[u64], _| {
        let directory = folder.open();
        let is_unsure = matches!(directory.continuity(), Continuity::Unsure(_));
        if is_unsure {
            assert!(told.is_empty(), "{told:?}");
            return;
        }
        let found = read(&directory).unwrap().0;
        if found.first() == Some(&0) {
            assert_eq!((found, told.len()), ((0..12).collect(), 0));
        } else {
            is_told(&found, told);
        }
    };
    at_every_step("diverged", used, story, judge);
}

#[test]
fn files_that_are_put_aside_are_there_as_a_whole_or_the_store_loads_as_before() {
    let story = |folder: &TestFolder, faults: &Faults, told: &mut Vec<u64>| {
        let directory = folder.open_with(faults).ok()?;
        assert_eq!(directory.continuity(), Continuity::Killed);
        let kept = directory.put_aside().ok()?;
        assert_eq!(kept, folder.file("diverged"));
        let mut journal = Journal::start_over(&directory, at(50));
        append_and_tell(&mut journal, 100..110, told)
    };
    let judge = |folder: &TestFolder, told: &[u64], is_over: bool| {
        let directory = folder.open();
        match directory.continuity() {
            Continuity::Unsure(_) => assert!(told.is_empty(), "{told:?}"),
            Continuity::Killed => {
                let found = read(&directory).unwrap().0;
                if found.first() == Some(&0) {
                    assert_eq!((found, told.len()), ((0..12).collect(), 0));
                } else {
                    is_told(&found, told);
                }
            }
            other => panic!("{other:?}"),
        }
        if is_over || !told.is_empty() {
            let kept = StoredDirectory::open(&folder.file("diverged")).unwrap();
            let mut found = read_snapshot(kept.snapshot()).unwrap();
            found.extend(read_batches(kept.batches()).unwrap().0);
            assert_eq!((found, kept.secret()), ((0..12).collect(), directory.secret()));
        }
    };
    at_every_step("aside", used, story, judge);
}

/// A life with a snapshot and batches behind it was killed.
fn used(folder: &TestFolder) {
    let (directory, mut journal, _) = go_on(folder, Continuity::Fresh, 0);
    append(&mut journal, 0..8);
    let boundary = journal.roll(at(8)).unwrap();
    snapshot(&directory, &boundary, &[0, 1, 2, 3, 4, 5, 6, 7]).unwrap();
    append(&mut journal, 8..12);
}

#[test]
fn a_start_over_that_is_interrupted_is_one_again() {
    let prepare = |folder: &TestFolder| {
        used(folder);
        folder.open().mark_unsure_outside().unwrap();
    };
    let story = |folder: &TestFolder, faults: &Faults, told: &mut Vec<u64>| {
        let directory = folder.open_with(faults).ok()?;
        assert!(matches!(directory.continuity(), Continuity::Unsure(_)));
        let mut journal = Journal::start_over(&directory, at(50));
        append_and_tell(&mut journal, 100..110, told)
    };
    let judge = |folder: &TestFolder, told: &[u64], _| {
        let directory = folder.open();
        match directory.continuity() {
            Continuity::Unsure(_) => assert!(told.is_empty(), "{told:?}"),
            Continuity::Killed => {
                is_told(&read(&directory).unwrap().0, told);
                drop(directory);
                is_tidy(folder);
            }
            other => panic!("{other:?}"),
        }
    };
    at_every_step("over", prepare, story, judge);
}
