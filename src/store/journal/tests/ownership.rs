//! Whose a directory is, who may read it, and what has become of it.

use std::os::unix::fs::PermissionsExt as _;

use super::super::{DirectoryTrouble, OpenNotice};
use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What is in a directory, with modes.
fn image(folder: &Path) -> Vec<(String, u32, Vec<u8>)> {
    let file = |name: String| {
        let path = folder.join(&name);
        let bytes = fs::read(&path).unwrap_or_default();
        (name, mode(&path), bytes)
    };
    names_in(folder).into_iter().map(file).collect()
}

#[test]
fn a_second_exporter_is_refused_as_long_as_a_handle_lives() {
    let folder = TestFolder::new("second");
    let (directory, mut journal, _) = go_on(&folder, Continuity::Fresh, 0);
    for _ in 0..2 {
        let refused = folder.try_open(folder.settings()).unwrap_err();
        assert!(matches!(refused, DirectoryError::InUse { .. }), "{refused}");
    }
    let boundary = journal.roll(at(1)).unwrap();
    let writer = directory.snapshot_writer(&boundary).unwrap();
    drop(directory);
    assert!(folder.try_open(folder.settings()).is_err(), "the journal holds it");
    drop(journal);
    assert!(folder.try_open(folder.settings()).is_err(), "the snapshot's writer holds it");
    drop(writer);
    folder.open();
}

#[test]
fn only_the_owner_may_read_what_is_made() {
    let folder = TestFolder::new("modes");
    let (directory, mut journal, _) = go_on(&folder, Continuity::Fresh, 0);
    append(&mut journal, 0..10);
    let boundary = journal.roll(at(10)).unwrap();
    snapshot(&directory, &boundary, &[]).unwrap();
    assert_eq!(mode(&folder.store()), 0o700);
    for name in folder.names() {
        assert_eq!(mode(&folder.file(&name)), 0o600, "{name}");
    }
}

#[test]
fn what_others_may_read_is_tightened_and_said() {
    let folder = TestFolder::new("loose");
    drop(go_on(&folder, Continuity::Fresh, 0));
    for name in ["ledger.sqlite", "notes.txt"] {
        fs::write(folder.file(name), "x").unwrap();
    }
    set_mode(&folder.file("ledger.sqlite"), 0o644);
    set_mode(&folder.file("notes.txt"), 0o644);
    set_mode(&folder.file("state"), 0o600);
    set_mode(&folder.file("journal-00000001"), 0o660);
    set_mode(&folder.store(), 0o2755);
    let (directory, mut notices) = Directory::open(&folder.store(), folder.settings()).unwrap();
    notices.sort_by_key(|notice| format!("{notice:?}"));
    let tightened = |name: &str| OpenNotice::Tightened(folder.file(name));
    let expected =
        [OpenNotice::Tightened(folder.store()), tightened("journal-00000001"), tightened("ledger.sqlite")];
    assert_eq!(notices, expected);
    assert_eq!((mode(&folder.store()), mode(&folder.file("ledger.sqlite"))), (0o2700, 0o600));
    assert_eq!(mode(&folder.file("notes.txt")), 0o644, "somebody else's");
    drop(directory);
    assert!(Directory::open(&folder.store(), folder.settings()).unwrap().1.is_empty());
}

#[test]
fn what_is_not_ours_is_refused_and_stays_as_it_is() {
    let folder = TestFolder::new("foreign");
    let store = folder.store();
    let refused = || {
        let before = image(&store);
        let refused = folder.try_open(folder.settings()).unwrap_err();
        assert_eq!(image(&store), before);
        refused
    };
    fs::create_dir(&store).unwrap();
    fs::write(folder.file("letters"), "of somebody").unwrap();
    assert!(matches!(refused(), DirectoryError::Foreign { .. }));
    fs::write(folder.file("state"), vec![b's'; 9000]).unwrap();
    assert!(matches!(refused(), DirectoryError::Foreign { .. }));
    fs::remove_file(folder.file("letters")).unwrap();
    fs::write(folder.file("state"), "").unwrap();
    assert!(matches!(refused(), DirectoryError::Foreign { .. }));
    fs::remove_file(folder.file("state")).unwrap();
    // What a file system makes, and what a start leaves that was interrupted.
    fs::create_dir(folder.file("lost+found")).unwrap();
    fs::write(folder.file("lock"), "").unwrap();
    fs::write(folder.file("state.new"), "half").unwrap();
    assert_eq!(folder.open().continuity(), Continuity::Fresh);
    assert_eq!(folder.names(), ["lock", "lost+found", "state"]);
}

#[test]
fn a_file_is_an_old_store_or_none() {
    let folder = TestFolder::new("file");
    let mut sqlite = b"SQLite format 3\0".to_vec();
    sqlite.resize(200, 0);
    for (bytes, is_old) in [(vec![], false), (b"hello".to_vec(), false), (sqlite.clone(), false)] {
        fs::write(folder.store(), &bytes).unwrap();
        let refused = folder.try_open(folder.settings()).unwrap_err();
        assert!(!is_old && matches!(refused, DirectoryError::ForeignFile { .. }), "{refused}");
    }
    sqlite[68..72].copy_from_slice(b"coTU");
    fs::write(folder.store(), &sqlite).unwrap();
    assert!(matches!(folder.try_open(folder.settings()), Err(DirectoryError::OldStore { .. })));
    assert_eq!(fs::read(folder.store()).unwrap(), sqlite);
    let beside = folder.root.join("no").join("store");
    let refused = Directory::open(&beside, folder.settings()).unwrap_err();
    assert!(refused.to_string().contains("No such file"), "{refused}");
}

#[test]
fn a_newer_file_is_refused_wherever_it_is() {
    let folder = TestFolder::new("newer");
    let (directory, mut journal, _) = go_on(&folder, Continuity::Fresh, 0);
    append(&mut journal, 0..10);
    let boundary = journal.roll(at(10)).unwrap();
    snapshot(&directory, &boundary, &[]).unwrap();
    directory.mark_unsure().unwrap();
    drop((directory, journal));
    for name in folder.names().into_iter().filter(|name| name != "lock") {
        let sum_at = if name == "state" { 4092 } else { 124 };
        let (file, known) = (folder.file(&name), fs::read(folder.file(&name)).unwrap());
        let mut newer = known.clone();
        for copy in 0..if name == "state" { 2 } else { 1 } {
            let block = &mut newer[copy * 4096..][..sum_at + 4];
            block[8] = 9;
            let sum = crc32fast::hash(&block[..sum_at]);
            block[sum_at..].copy_from_slice(&sum.to_le_bytes());
        }
        fs::write(&file, &newer).unwrap();
        let refused = folder.try_open(folder.settings()).unwrap_err();
        assert!(
            matches!(&refused, DirectoryError::Newer { path, version: 9, .. } if *path == file),
            "{refused}"
        );
        assert_eq!(fs::read(&file).unwrap(), newer);
        fs::write(&file, known).unwrap();
    }
    folder.open();
}

#[test]
fn what_has_become_of_a_directory_is_found() {
    let folder = TestFolder::new("check");
    let (directory, _journal, _) = go_on(&folder, Continuity::Fresh, 0);
    assert_eq!(directory.check(), Ok(()));
    let elsewhere = folder.root.join("elsewhere");
    fs::rename(folder.store(), &elsewhere).unwrap();
    assert_eq!(directory.check(), Err(DirectoryTrouble::Gone));
    fs::create_dir(folder.store()).unwrap();
    assert_eq!(directory.check(), Err(DirectoryTrouble::Replaced));
    fs::remove_dir(folder.store()).unwrap();
    fs::rename(&elsewhere, folder.store()).unwrap();
    assert_eq!(directory.check(), Ok(()));
    for (name, kind) in [("journal-00000001", "journal"), ("lock", "lock"), ("state", "state")] {
        let copy = folder.root.join("copy");
        fs::rename(folder.file(name), &copy).unwrap();
        assert_eq!(directory.check(), Err(DirectoryTrouble::FileGone(kind)));
        fs::copy(&copy, folder.file(name)).unwrap();
        assert_eq!(directory.check(), Err(DirectoryTrouble::FileGone(kind)), "a copy is not the file");
        fs::rename(&copy, folder.file(name)).unwrap();
        assert_eq!(directory.check(), Ok(()));
    }
}

#[test]
fn room_is_that_of_all_files() {
    let folder = TestFolder::new("room");
    let (directory, _journal, _) = go_on(&folder, Continuity::Fresh, 0);
    let before = directory.bytes().unwrap();
    fs::write(folder.file("ledger.sqlite"), vec![b'x'; 1 << 20]).unwrap();
    rustix::fs::fsync(fs::File::open(folder.file("ledger.sqlite")).unwrap()).unwrap();
    let grown = directory.bytes().unwrap() - before;
    assert!(before > 0 && grown >= 1 << 20, "{before} {grown}");
}
