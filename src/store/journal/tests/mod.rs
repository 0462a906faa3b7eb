//! Lives of a directory on a real disk, with faults.

mod damage;
pub(super) mod faults;
mod kills;
mod lives;
mod marks;
mod ownership;
mod trouble;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::disk::Disk;
use super::{
    BatchReader, BootId, Boundary, Continuity, Directory, DirectoryError, Journal, JournalEnd,
    JournalSettings, Moments, SnapshotReader,
};
use crate::clock::Timestamp;
use faults::Faults;

/// A folder for one test, which goes with it: the store's directory and the marker folder.
struct TestFolder {
    root: PathBuf,
}

impl TestFolder {
    fn new(name: &str) -> Self {
        Self::within(&std::env::temp_dir(), name)
    }

    /// For tests that sync thousands of times.
    fn in_memory(name: &str) -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::within(memory, name) } else { Self::new(name) }
    }

    fn within(folder: &Path, name: &str) -> Self {
        let root = folder.join(format!("coturn-exporter-{}-journal-{name}", std::process::id()));
        drop(fs::remove_dir_all(&root));
        fs::create_dir(&root).unwrap();
        fs::create_dir(root.join("markers")).unwrap();
        Self { root }
    }

    fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.store().join(name)
    }

    fn settings(&self) -> JournalSettings {
        JournalSettings {
            rules_version: 1,
            segment_bytes: 512,
            boot: BootId::from_bytes([1; 16]),
            marker_folders: vec![self.root.join("markers"), self.root.join("missing")],
        }
    }

    fn try_open(&self, settings: JournalSettings) -> Result<Directory, DirectoryError> {
        Directory::open(&self.store(), settings).map(|(directory, _)| directory)
    }

    fn open(&self) -> Directory {
        self.try_open(self.settings()).unwrap()
    }

    fn open_with(&self, faults: &Faults) -> Result<Directory, DirectoryError> {
        let disk = Disk { faults: faults.clone() };
        Directory::open_on(&self.store(), self.settings(), disk).map(|(directory, _)| directory)
    }

    /// Names in the store's directory, in order.
    fn names(&self) -> Vec<String> {
        names_in(&self.store())
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.root));
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// So many seconds after the beginning of the test, by all clocks.
fn at(seconds: u64) -> Moments {
    let moment = Timestamp::from_millis(seconds * 1000);
    Moments {
        table: moment,
        wall: moment.plus(Duration::from_secs(1 << 30)),
        boot: Duration::from_secs(seconds),
    }
}

/// A payload that no other number has.
fn payload(number: u64) -> Vec<u8> {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(8 + usize::try_from(number * 7 % 90).unwrap(), b'x');
    payload
}

fn number_of(payload: &[u8]) -> u64 {
    let number = u64::from_le_bytes(payload[..8].try_into().unwrap());
    assert_eq!(payload, self::payload(number), "a wrong batch");
    number
}

fn append(journal: &mut Journal, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        journal.append(&payload(number), at(number)).unwrap();
    }
}

/// A snapshot that says which numbers were appended before the boundary.
fn snapshot(directory: &Directory, boundary: &Boundary, numbers: &[u64]) -> std::io::Result<()> {
    let mut writer = directory.snapshot_writer(boundary)?;
    for number in numbers {
        writer.block(&number.to_le_bytes())?;
    }
    writer.commit().map(drop)
}

fn read_snapshot(reader: Option<SnapshotReader>) -> Result<Vec<u64>, DirectoryError> {
    let mut numbers = Vec::new();
    let Some(mut reader) = reader else { return Ok(numbers) };
    while let Some(block) = reader.next_block()? {
        numbers.push(u64::from_le_bytes(block.try_into().unwrap()));
    }
    Ok(numbers)
}

fn read_batches(mut reader: BatchReader) -> Result<(Vec<u64>, JournalEnd), DirectoryError> {
    let mut numbers = Vec::new();
    while let Some(batch) = reader.next_batch()? {
        let number = number_of(batch.payload);
        assert_eq!(batch.at, at(number));
        numbers.push(number);
    }
    Ok((numbers, reader.finish()?))
}

/// Everything that was appended, in the snapshot or behind it.
fn read(directory: &Directory) -> Result<(Vec<u64>, JournalEnd), DirectoryError> {
    let mut numbers = read_snapshot(directory.snapshot()?)?;
    let (behind, end) = read_batches(directory.batches()?)?;
    numbers.extend(behind);
    Ok((numbers, end))
}

/// Opens a store whose last life must have ended so, and goes on behind what it holds.
fn go_on(folder: &TestFolder, continuity: Continuity, seconds: u64) -> (Directory, Journal, Vec<u64>) {
    let directory = folder.open();
    assert_eq!(directory.continuity(), continuity);
    let (numbers, end) = read(&directory).unwrap();
    let journal = Journal::go_on(&directory, &end, at(seconds));
    assert!(journal.failure().is_none(), "{:?}", journal.failure());
    (directory, journal, numbers)
}

fn end_cleanly(directory: &Directory, journal: Journal, numbers: &[u64], seconds: u64) {
    let boundary = journal.close(at(seconds));
    snapshot(directory, &boundary, numbers).unwrap();
    directory.mark_clean(&boundary).unwrap();
}
