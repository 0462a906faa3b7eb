//! The state file at every byte, and the marks.

use super::super::UnsureReason;
use super::super::state_file::LifeStage;
use super::*;

const MARKED: Continuity = Continuity::Unsure(UnsureReason::Marked);

/// A store whose last life was killed.
fn killed(name: &str) -> TestFolder {
    let folder = TestFolder::in_memory(name);
    let (_, mut journal, _) = go_on(&folder, Continuity::Fresh, 0);
    append(&mut journal, 0..3);
    folder
}

#[test]
fn a_mark_is_found_by_the_next_life_and_goes_when_it_is_sure_again() {
    let folder = killed("mark");
    let markers = folder.root.join("markers");
    let directory = folder.open();
    directory.mark_unsure().unwrap();
    directory.mark_unsure().unwrap();
    assert_eq!(names_in(&markers).len(), 1);
    drop(directory);
    let directory = folder.open();
    assert_eq!(directory.continuity(), MARKED);
    directory.mark_sure().unwrap();
    assert!(names_in(&markers).is_empty());
    drop(directory);
    assert_eq!(folder.open().continuity(), Continuity::Killed);
}

#[test]
fn a_mark_outside_is_enough_and_is_this_stores_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = killed("outside");
    let markers = folder.root.join("markers");
    fs::write(markers.join(format!("coturn-exporter-unsure-{:032x}", 7)), "").unwrap();
    let directory = folder.open();
    assert_eq!(directory.continuity(), Continuity::Killed);
    directory.mark_unsure_outside().unwrap();
    drop(directory);
    for name in names_in(&markers) {
        let mode = fs::metadata(markers.join(&name)).unwrap().permissions().mode();
        assert!(name.ends_with("07") || mode & 0o777 == 0o600, "{name}: {mode:o}");
    }
    assert_eq!(folder.open().continuity(), MARKED);
}

#[test]
fn a_disk_that_cannot_be_written_is_marked_outside_and_nowhere_is_an_error() {
    let folder = killed("nowhere");
    let faults = Faults::default();
    let directory = folder.open_with(&faults).unwrap();
    faults.die_after(0, 0);
    directory.mark_unsure().unwrap();
    drop(directory);
    assert_eq!(folder.open().continuity(), MARKED);
    let markers = folder.root.join("markers");
    fs::remove_dir_all(&markers).unwrap();
    faults.heal();
    let directory = folder.open_with(&faults).unwrap();
    assert_eq!(directory.continuity(), Continuity::Killed);
    faults.die_after(0, 0);
    assert!(directory.mark_unsure().is_err() && directory.mark_unsure_outside().is_err());
}

#[test]
fn before_a_life_has_begun_a_mark_outside_is_not_enough() {
    let folder = killed("not-begun");
    let (directory, journal, found) = go_on(&folder, Continuity::Killed, 5);
    end_cleanly(&directory, journal, &found, 6);
    drop(directory);
    let faults = Faults::default();
    let directory = folder.open_with(&faults).unwrap();
    faults.die_after(0, 0);
    assert!(directory.mark_unsure().is_err(), "after another boot the end would seem clean");
    faults.heal();
    directory.mark_unsure().unwrap();
}

/// What a sync that failed leaves to a loss of power is not known.
#[test]
fn what_was_written_and_not_synced_is_no_mark_and_no_beginning() {
    type Step = fn(&Directory) -> std::io::Result<()>;
    let steps: [(&str, Step); 2] =
        [("begun", |directory| directory.begin_life(9, false, false)), ("marked", Directory::mark_unsure)];
    for (name, step) in steps {
        let folder = killed(&format!("not-synced-{name}"));
        let (directory, journal, found) = go_on(&folder, Continuity::Killed, 5);
        end_cleanly(&directory, journal, &found, 6);
        drop(directory);
        let faults = Faults::default();
        let directory = folder.open_with(&faults).unwrap();
        faults.die_after(1, 0);
        step(&directory).unwrap_err();
        faults.die_after(0, 0);
        assert!(directory.mark_unsure().is_err(), "{name}, but the disk may have the clean end");
        faults.heal();
        directory.mark_unsure().unwrap();
        drop(directory);
        assert_eq!(folder.open().continuity(), MARKED);
    }
}

#[test]
fn a_journal_that_starts_over_is_sure_only_where_it_is_to_be() {
    for (is_unsure, expected) in [(false, Continuity::Killed), (true, MARKED)] {
        let folder = killed(&format!("over-{is_unsure}"));
        let directory = folder.open();
        let start = if is_unsure { Journal::start_over_unsure } else { Journal::start_over };
        drop(start(&directory, at(9)));
        drop(directory);
        assert_eq!(folder.open().continuity(), expected);
    }
}

#[test]
fn a_mark_needs_no_room() {
    let folder = killed("mark-full");
    let faults = Faults::default();
    let directory = folder.open_with(&faults).unwrap();
    faults.fill();
    drop(fs::remove_dir_all(folder.root.join("markers")));
    directory.mark_unsure().unwrap();
    drop(directory);
    assert_eq!(folder.open().continuity(), MARKED);
}

#[test]
fn a_state_that_is_torn_at_any_byte_is_the_old_one_or_the_new_one() {
    let folder = killed("torn-state");
    let file = folder.file("state");
    let old = fs::read(&file).unwrap();
    folder.open().mark_unsure().unwrap();
    fs::remove_dir_all(folder.root.join("markers")).unwrap();
    let new = fs::read(&file).unwrap();
    assert!(
        old.len() == 8192 && new.len() == 8192 && old[..4096] == old[4096..] && new[..4096] == new[4096..]
    );
    // The second copy is written first here, then the first.
    let mut torn = old.clone();
    for at in (4096..8192).chain(0..4096) {
        torn[at] = new[at];
        if at % 4096 > 200 && at % 97 != 0 && at % 4096 < 4090 {
            continue;
        }
        fs::write(&file, &torn).unwrap();
        let expected = if (4096..8191).contains(&at) { Continuity::Killed } else { MARKED };
        let directory = folder.open();
        // The last bytes of the check sums may be the same.
        assert!([expected, MARKED].contains(&directory.continuity()), "{at}: {:?}", directory.continuity());
        assert_eq!(directory.found().stage, LifeStage::Running);
        // A mark that is made on such a file holds.
        directory.mark_unsure().unwrap();
        drop(directory);
        assert_eq!(folder.open().continuity(), MARKED, "{at}");
    }
}

#[test]
fn a_state_whose_second_copy_was_torn_survives_a_torn_first_one() {
    for torn in [1, 30, 100, 4095] {
        let folder = killed(&format!("torn-twice-{torn}"));
        let faults = Faults::default();
        let directory = folder.open_with(&faults).unwrap();
        faults.die_after(1, torn);
        directory.mark_unsure().unwrap();
        faults.die_after(0, torn);
        assert!(directory.mark_sure().is_err());
        drop(directory);
        assert_eq!(folder.open().continuity(), MARKED, "{torn}");
    }
}

#[test]
fn a_flipped_byte_of_the_state_changes_nothing_and_a_cut_is_found() {
    let folder = killed("flipped-state");
    let file = folder.file("state");
    let whole = fs::read(&file).unwrap();
    for at in (0..8192).filter(|at| at % 4096 < 150 || at % 61 == 0 || at % 4096 > 4090) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x40;
        fs::write(&file, &flipped).unwrap();
        assert_eq!(folder.open().continuity(), Continuity::Killed, "{at}");
        flipped[(at + 4096) % 8192] ^= 0x01;
        fs::write(&file, &flipped).unwrap();
        let refused = folder.try_open(folder.settings()).unwrap_err();
        assert!(
            matches!(&refused, DirectoryError::Damaged { file: of, .. } if *of == file),
            "{at}: {refused}"
        );
        assert_eq!(fs::read(&file).unwrap(), flipped, "it stays as it is");
        fs::write(&file, &whole[..at]).unwrap();
        match folder.try_open(folder.settings()) {
            Ok(directory) => assert!(at >= 4096 && directory.continuity() == Continuity::Killed, "{at}"),
            Err(refused) => assert!(at < 4096 && matches!(refused, DirectoryError::Damaged { .. }), "{at}"),
        }
    }
}
