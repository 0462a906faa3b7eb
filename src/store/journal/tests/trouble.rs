//! A disk that is full or fails for a while.

use super::super::UnsureReason;
use super::*;

fn start(folder: &TestFolder, faults: &Faults) -> (Directory, Journal) {
    let directory = folder.open_with(faults).unwrap();
    let (_, end) = read(&directory).unwrap();
    let journal = Journal::go_on(&directory, &end, at(0));
    (directory, journal)
}

#[test]
fn a_full_disk_is_met_between_segments_and_the_journal_goes_on_when_there_is_room() {
    let folder = TestFolder::new("full");
    let faults = Faults::default();
    let (directory, mut journal) = start(&folder, &faults);
    // Past the half of a segment, where the next one is reserved.
    append(&mut journal, 0..7);
    faults.fill();
    let begun = |folder: &TestFolder| {
        let is_begun = |name: &String| fs::read(folder.file(name)).unwrap().starts_with(b"CTEjourn");
        folder.names().iter().filter(|name| is_begun(name)).count()
    };
    let (begun_before, mut next) = (begun(&folder), 7);
    while journal.append(&payload(next), at(next)).is_ok() {
        next += 1;
    }
    assert_eq!(begun(&folder), begun_before + 1, "what was reserved is used first");
    assert_eq!(journal.failure().unwrap().raw_os_error(), Some(rustix::io::Errno::NOSPC.raw_os_error()));
    assert!(journal.append(&payload(next), at(next)).is_err() && journal.roll(at(next)).is_err());
    directory.mark_unsure().unwrap();
    faults.heal();
    assert!(journal.append(&payload(next), at(next)).is_err(), "not before it is known to work");
    journal.roll(at(next)).unwrap();
    append(&mut journal, next..next + 5);
    drop(journal);
    assert_eq!(read(&directory).unwrap().0, (0..next + 5).collect::<Vec<_>>());
    directory.mark_sure().unwrap();
    drop(directory);
    assert_eq!(go_on(&folder, Continuity::Killed, 99).2.len() as u64, next + 5);
}

#[test]
fn a_start_on_a_full_disk_uses_the_room_that_was_reserved() {
    let folder = TestFolder::new("adopted");
    let (directory, mut journal, _) = go_on(&folder, Continuity::Fresh, 0);
    append(&mut journal, 0..7);
    drop((directory, journal));
    let faults = Faults::default();
    faults.fill();
    let (_, mut journal) = start(&folder, &faults);
    append(&mut journal, 7..10);
    drop(journal);
    let (_, journal, _) = go_on(&folder, Continuity::Killed, 99);
    drop(journal);
    // Nothing reserved this time.
    let (directory, mut journal) = start(&folder, &faults);
    assert!(journal.failure().is_some() && journal.append(b"x", at(1)).is_err());
    faults.heal();
    journal.roll(at(100)).unwrap();
    append(&mut journal, 10..12);
    drop((directory, journal));
    assert_eq!(go_on(&folder, Continuity::Killed, 200).2, (0..12).collect::<Vec<_>>());
}

/// A snapshot that is due on a full disk must not cost the room that is reserved still.
#[test]
fn a_boundary_that_has_no_room_leaves_the_segment_to_be_filled() {
    let folder = TestFolder::new("no-boundary");
    let faults = Faults::default();
    let (directory, mut journal) = start(&folder, &faults);
    append(&mut journal, 0..2);
    faults.fill();
    assert!(journal.roll(at(2)).is_err() && journal.failure().is_none());
    append(&mut journal, 2..4);
    faults.heal();
    journal.roll(at(4)).unwrap();
    append(&mut journal, 4..6);
    drop((directory, journal));
    assert_eq!(go_on(&folder, Continuity::Killed, 99).2, (0..6).collect::<Vec<_>>());
}

#[test]
fn nothing_is_written_behind_a_torn_batch_of_a_failing_disk() {
    for torn in [0, 1, 11, 12, 13, 20, 40, usize::MAX] {
        let folder = TestFolder::new(&format!("hole-{torn}"));
        let faults = Faults::default();
        let (directory, mut journal) = start(&folder, &faults);
        append(&mut journal, 0..4);
        faults.die_after(0, torn);
        assert!(journal.append(&payload(4), at(4)).is_err());
        faults.heal();
        journal.roll(at(4)).unwrap();
        append(&mut journal, 4..12);
        drop((directory, journal));
        let (_, _, found) = go_on(&folder, Continuity::Killed, 99);
        assert_eq!(found, (0..12).collect::<Vec<_>>(), "{torn}");
    }
}

#[test]
fn what_a_failed_write_left_does_not_count_when_it_cannot_be_cut_off() {
    for torn in [1, 13, 30, usize::MAX] {
        let folder = TestFolder::new(&format!("rest-{torn}"));
        let faults = Faults::default();
        let (directory, mut journal) = start(&folder, &faults);
        append(&mut journal, 0..4);
        faults.die_after(0, torn);
        assert!(journal.append(&payload(4), at(4)).is_err());
        faults.heal();
        let with_rest = fs::read(folder.file("journal-00000001")).unwrap();
        journal.roll(at(4)).unwrap();
        fs::write(folder.file("journal-00000001"), with_rest).unwrap();
        append(&mut journal, 4..12);
        drop((directory, journal));
        let (found, end) = read(&folder.open()).unwrap();
        assert_eq!((found, end.torn), ((0..12).collect(), None), "{torn}");
    }
}

#[test]
fn a_gap_within_a_segment_is_found() {
    let folder = TestFolder::new("gap");
    let (directory, mut journal, _) = go_on(&folder, Continuity::Fresh, 0);
    append(&mut journal, 0..1);
    journal.leave_out();
    append(&mut journal, 2..3);
    let refused = read(&directory).unwrap_err();
    assert!(refused.to_string().contains("batches before it are missing"), "{refused}");
}

#[test]
fn nobody_replays_over_a_batch_that_was_left_out() {
    let folder = TestFolder::new("left-out");
    let faults = Faults::default();
    let (directory, mut journal) = start(&folder, &faults);
    append(&mut journal, 0..4);
    let before = journal.roll(at(4)).unwrap();
    journal.leave_out();
    let boundary = journal.roll(at(4)).unwrap();
    append(&mut journal, 5..8);
    assert!(matches!(read(&directory), Err(DirectoryError::Damaged { .. })));
    snapshot(&directory, &before, &[0, 1, 2, 3]).unwrap();
    assert!(matches!(read(&directory), Err(DirectoryError::Damaged { .. })));
    snapshot(&directory, &boundary, &[0, 1, 2, 3, 4]).unwrap();
    assert_eq!(read(&directory).unwrap().0, (0..8).collect::<Vec<_>>());
}

#[test]
fn a_start_over_that_fails_at_first_stays_unsure_until_it_is_said_to_be_sure() {
    let folder = TestFolder::new("over-late");
    let (directory, mut journal, _) = go_on(&folder, Continuity::Fresh, 0);
    append(&mut journal, 0..4);
    directory.mark_unsure().unwrap();
    drop((directory, journal));
    let faults = Faults::default();
    let directory = folder.open_with(&faults).unwrap();
    faults.fill();
    let mut journal = Journal::start_over(&directory, at(9));
    assert!(journal.failure().is_some());
    directory.mark_unsure().unwrap();
    faults.heal();
    let boundary = journal.roll(at(10)).unwrap();
    append(&mut journal, 100..102);
    drop(directory);
    drop(journal);
    let directory = folder.open();
    assert_eq!(directory.continuity(), Continuity::Unsure(UnsureReason::Marked));
    snapshot(&directory, &boundary, &[50]).unwrap();
    directory.mark_sure().unwrap();
    drop(directory);
    assert_eq!(go_on(&folder, Continuity::Killed, 20).2, [50, 100, 101]);
}

#[test]
fn a_snapshot_that_does_not_fit_leaves_the_one_before() {
    let folder = TestFolder::new("no-room");
    let faults = Faults::default();
    let (directory, mut journal) = start(&folder, &faults);
    append(&mut journal, 0..4);
    let boundary = journal.roll(at(4)).unwrap();
    snapshot(&directory, &boundary, &[0, 1, 2, 3]).unwrap();
    append(&mut journal, 4..8);
    let boundary = journal.roll(at(8)).unwrap();
    let mut writer = directory.snapshot_writer(&boundary).unwrap();
    writer.block(b"a").unwrap();
    faults.fill();
    assert!(writer.block(b"b").is_err());
    drop(writer);
    assert!(directory.snapshot_writer(&boundary).is_err());
    assert!(!folder.names().iter().any(|name| name.contains(".new")));
    assert_eq!(read(&directory).unwrap().0, (0..8).collect::<Vec<_>>());
}

/// A crash loop: each life ends before its first snapshot.
#[test]
fn lives_that_are_killed_leave_no_room_reserved() {
    let folder = TestFolder::new("crash-loop");
    let settings = || JournalSettings { segment_bytes: 1 << 20, ..folder.settings() };
    for life in 0..20 {
        let directory = folder.try_open(settings()).unwrap();
        let (found, end) = read(&directory).unwrap();
        assert_eq!(found, (0..life).collect::<Vec<_>>());
        let mut journal = Journal::go_on(&directory, &end, at(life));
        append(&mut journal, [life]);
        let bytes = directory.bytes().unwrap();
        assert!((1 << 20..2 << 20).contains(&bytes), "life {life}: {bytes} bytes");
    }
}
