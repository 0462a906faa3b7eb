//! Files that were cut, changed or lost: what is read is a beginning of what was appended, or an error that says where.

use super::super::StoredDirectory;
use super::*;

const COUNT: u64 = 26;

/// A store of three lives with a snapshot in the middle, and all its files.
struct Specimen {
    folder: TestFolder,
    files: Vec<(String, Vec<u8>)>,
    last_segment: String,
}

impl Specimen {
    fn new(name: &str) -> Self {
        let folder = TestFolder::in_memory(name);
        let (directory, mut journal, _) = go_on(&folder, Continuity::Fresh, 0);
        append(&mut journal, 0..6);
        let boundary = journal.roll(at(6)).unwrap();
        append(&mut journal, 6..12);
        snapshot(&directory, &boundary, &[0, 1, 2, 3, 4, 5]).unwrap();
        drop((directory, journal));
        for life in [12..20, 20..COUNT] {
            let (_, mut journal, _) = go_on(&folder, Continuity::Killed, life.start);
            append(&mut journal, life);
        }
        let read = |name: String| (name.clone(), fs::read(folder.file(&name)).unwrap());
        let files: Vec<_> = folder.names().into_iter().filter(|name| name.contains('-')).map(read).collect();
        let begun = files.iter().filter(|(_, bytes)| bytes.starts_with(b"CTEjourn"));
        let last_segment = begun.map(|(name, _)| name.clone()).next_back().unwrap();
        assert!(files.len() >= 5, "{}", files.len());
        let of_last = &files.iter().find(|(name, _)| *name == last_segment).unwrap().1;
        let mark = &of_last[128..132];
        let batches = of_last.windows(4).skip(128).filter(|window| *window == mark).count();
        assert!(batches >= 3, "{batches} batches in the last segment: too few to damage one in the middle");
        Self { folder, files, last_segment }
    }

    fn read(&self) -> Result<(Vec<u64>, JournalEnd), DirectoryError> {
        let stored = StoredDirectory::open(&self.folder.store())?;
        let mut numbers = read_snapshot(stored.snapshot())?;
        let (behind, end) = read_batches(stored.batches())?;
        numbers.extend(behind);
        Ok((numbers, end))
    }

    /// Reads with other bytes in a file, judges, and puts the file back. Gives whether anything was missed.
    fn with(&self, name: &str, bytes: &[u8], what: &str) -> bool {
        fs::write(self.folder.file(name), bytes).unwrap();
        let read = self.read();
        let whole = &self.files.iter().find(|(of, _)| of == name).unwrap().1;
        let is_whole = match &read {
            Ok((numbers, end)) => {
                assert_eq!(*numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "{what}");
                let is_whole = numbers.len() as u64 == COUNT;
                let may_be_torn = name == self.last_segment;
                assert!(is_whole || may_be_torn, "{what}: {} of {COUNT}", numbers.len());
                let is_cut = bytes.len() < whole.len();
                assert!(is_whole || is_cut || end.torn.is_some(), "{what}: unseen");
                is_whole
            }
            Err(DirectoryError::Damaged { file, offset, .. }) => {
                let size = fs::metadata(file).map_or(0, |file| file.len());
                assert!(
                    file.starts_with(self.folder.store()) && *offset <= size,
                    "{what}: {file:?} {offset}"
                );
                false
            }
            Err(other) => panic!("{what}: {other}"),
        };
        fs::write(self.folder.file(name), whole).unwrap();
        !is_whole
    }
}

#[test]
fn a_file_that_is_cut_at_any_byte_gives_a_beginning_or_an_error() {
    let specimen = Specimen::new("cut");
    assert_eq!(specimen.read().unwrap().0.len() as u64, COUNT);
    let mut missed = 0;
    for (name, bytes) in &specimen.files {
        for length in 0..bytes.len() {
            missed += u32::from(specimen.with(name, &bytes[..length], &format!("{name} cut at {length}")));
        }
    }
    assert!(missed > 100, "{missed}");
    assert_eq!(specimen.read().unwrap().0.len() as u64, COUNT);
}

#[test]
fn a_flipped_byte_is_found_wherever_it_is() {
    let specimen = Specimen::new("flip");
    for (name, bytes) in &specimen.files {
        let written = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        for at in 0..bytes.len() {
            for bits in [0x01, 0x80, 0xff] {
                let mut flipped = bytes.clone();
                flipped[at] ^= bits;
                let is_missed = specimen.with(name, &flipped, &format!("{name}: byte {at} ^ {bits:x}"));
                assert!(
                    is_missed || at >= written || bytes[..8] != *b"CTEjourn",
                    "{name}: byte {at} is not noticed"
                );
            }
        }
    }
}

#[test]
fn a_file_that_is_lost_is_named() {
    let specimen = Specimen::new("lost");
    for (name, bytes) in specimen.files.iter().filter(|(_, bytes)| bytes.starts_with(b"CTE")) {
        let file = specimen.folder.file(name);
        fs::remove_file(&file).unwrap();
        match specimen.read() {
            Err(DirectoryError::Damaged { file: named, .. }) if name.starts_with("journal") => {
                assert_eq!(named, file);
            }
            Err(DirectoryError::Damaged { .. }) if name.starts_with("snapshot") => {}
            other => panic!("{name}: {other:?}"),
        }
        fs::write(&file, bytes).unwrap();
    }
}

#[test]
fn files_of_another_store_or_under_another_name_are_not_taken() {
    let (specimen, other) = (Specimen::new("mine"), Specimen::new("theirs"));
    for (name, bytes) in specimen.files.iter().filter(|(_, bytes)| bytes.starts_with(b"CTE")) {
        let theirs = &other.files.iter().find(|(of, _)| of == name).unwrap().1;
        assert!(specimen.with(name, theirs, &format!("{name} of another store")));
        for (_, bytes) in
            specimen.files.iter().filter(|(_, other)| other != bytes && other.starts_with(b"CTEj"))
        {
            assert!(specimen.with(name, bytes, &format!("another file as {name}")));
        }
    }
}

#[test]
fn a_torn_last_batch_is_cut_off_and_said_and_the_next_life_goes_on() {
    let specimen = Specimen::new("torn");
    let name = &specimen.last_segment;
    let file = specimen.folder.file(name);
    let bytes = fs::read(&file).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    // As a process leaves it that is killed within the write.
    let mut torn = bytes.clone();
    torn[end - 5..].fill(0);
    fs::write(&file, &torn).unwrap();
    let (numbers, cut) = specimen.read().unwrap();
    let cut = cut.torn.unwrap();
    assert_eq!((numbers.len() as u64, &cut.file), (COUNT - 1, &file));
    assert!(cut.offset >= 128 && cut.offset + cut.bytes <= end as u64 && cut.bytes > 12, "{cut:?}");
    let (directory, mut journal, _) = go_on(&specimen.folder, Continuity::Killed, COUNT);
    append(&mut journal, COUNT - 1..COUNT + 2);
    drop((directory, journal));
    assert_eq!(specimen.read().unwrap().0, (0..COUNT + 2).collect::<Vec<_>>());
}

#[test]
fn batches_behind_a_clean_end_are_damage() {
    let folder = TestFolder::new("behind-clean");
    let (directory, journal, _) = go_on(&folder, Continuity::Fresh, 0);
    end_cleanly(&directory, journal, &[], 1);
    drop(directory);
    let state = fs::read(folder.file("state")).unwrap();
    let (directory, mut journal, _) = go_on(&folder, Continuity::Clean, 2);
    append(&mut journal, 0..1);
    drop((directory, journal));
    fs::write(folder.file("state"), state).unwrap();
    assert!(matches!(folder.try_open(folder.settings()), Err(DirectoryError::Damaged { .. })));
}

#[test]
fn random_bytes_do_no_harm() {
    let seed = std::env::var("FUZZ_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("FUZZ_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let specimen = Specimen::new("fuzz");
    for round in 0..4000 {
        let (name, bytes) = &specimen.files[random.usize(..specimen.files.len())];
        let mut changed = bytes.clone();
        for _ in 0..random.usize(1..4) {
            let (from, to) = (random.usize(..=changed.len()), random.usize(..=changed.len()));
            let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 40));
            match random.u32(0..4) {
                0 => changed[from..to].iter_mut().for_each(|byte| *byte = random.u8(..)),
                1 => changed[from..to].fill(0),
                2 => drop(changed.drain(from..to)),
                _ => {
                    let copied = changed[from..to].to_vec();
                    let place = random.usize(..=changed.len());
                    changed.splice(place..place, copied);
                }
            }
        }
        let written = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        // One that is cut as a file of that length has no torn batch to speak of.
        if name == &specimen.last_segment && changed.len() < bytes.len() {
            changed.resize(bytes.len(), 0);
        }
        specimen.with(name, &changed, &format!("round {round} of {name} ({written} bytes)"));
    }
}
