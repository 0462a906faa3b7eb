//! The directory of a store: whatever its files hold, it is read to an end, or an error says what is wrong.
//!
//! An input is a row of files. Most mutations of a file with check sums are a wrong check sum, so there are two forms: files as
//! they are, and files whose parts are given and whose lengths and sums are right.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::choices::Choices;
use crate::store::journal::StoredDirectory;

/// Files of an input at most.
const FILES: usize = 8;

/// A block of the state file, and a header, without their check sums.
const BLOCK: usize = 4092;
const HEADER: usize = 124;

/// Where the mark of a segment stands in its header.
const MARK: std::ops::Range<usize> = 80..84;

/// A folder of this process, in memory where the system has such a place.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let place = if memory.is_dir() { memory } else { std::env::temp_dir() };
    place.join(format!("coturn-exporter-fuzz-{}", std::process::id()))
});

/// A directory, whose files are removed at the end.
struct MadeDirectory {
    path: PathBuf,
    bytes: u64,
}

impl MadeDirectory {
    fn new(mut input: Choices<'_>) -> Self {
        let path = FOLDER.join(format!("{:?}", std::thread::current().id()));
        fs::create_dir_all(&path).expect("a folder for the files");
        let is_exact = input.byte() & 1 == 1;
        let mut made = Self { path, bytes: 0 };
        for _ in 0..FILES {
            if input.is_over() {
                break;
            }
            let (kind, content) = (input.byte() % 8, input.part());
            let (name, content) = match kind {
                0 => ("state".to_owned(), if is_exact { content.to_vec() } else { state(content) }),
                1..=4 => (format!("journal-{kind:08}"), filled(content, is_exact, segment)),
                _ => (format!("snapshot-{:08}", kind - 4), filled(content, is_exact, snapshot)),
            };
            made.bytes += content.len() as u64;
            fs::write(made.path.join(name), content).expect("a file is written");
        }
        made
    }
}

impl Drop for MadeDirectory {
    fn drop(&mut self) {
        // What stays is in the temporary folder of the machine.
        let _ = fs::remove_dir_all(&self.path);
        let _ = fs::remove_dir(&*FOLDER);
    }
}

fn filled(content: &[u8], is_exact: bool, fill: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    if is_exact { content.to_vec() } else { fill(content) }
}

/// The two copies of the state: a part each, or one part for both.
fn state(content: &[u8]) -> Vec<u8> {
    let mut parts = Choices::new(content);
    let first = parts.part();
    let second = if parts.is_over() { first } else { parts.rest() };
    [block(first), block(second)].concat()
}

fn block(fields: &[u8]) -> Vec<u8> {
    let mut block = fields[..fields.len().min(BLOCK)].to_vec();
    block.resize(BLOCK, 0);
    let sum = crc32fast::hash(&block);
    block.extend(sum.to_le_bytes());
    block
}

/// A header, and its check sum, on which those behind it hang.
fn header(content: &[u8]) -> (Vec<u8>, u32, &[u8]) {
    let (fields, rest) = content.split_at(content.len().min(HEADER));
    let mut header = fields.to_vec();
    header.resize(HEADER, 0);
    let sum = crc32fast::hash(&header);
    header.extend(sum.to_le_bytes());
    (header, sum, rest)
}

fn sum(first: u32, parts: &[&[u8]]) -> [u8; 4] {
    let mut sum = crc32fast::Hasher::new_with_initial(first);
    for part in parts {
        sum.update(part);
    }
    sum.finalize().to_le_bytes()
}

/// A segment: a header, and the bodies of its batches.
fn segment(content: &[u8]) -> Vec<u8> {
    let (mut out, of, rest) = header(content);
    let mark = out[MARK].to_vec();
    let mut bodies = Choices::new(rest);
    while !bodies.is_over() {
        let body = bodies.part();
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        out.extend([&mark, &length[..], &sum(of, &[&length, body]), body].concat());
    }
    out
}

/// A snapshot: a header, its blocks, and their number.
fn snapshot(content: &[u8]) -> Vec<u8> {
    let (mut out, of, rest) = header(content);
    let mut blocks = Choices::new(rest);
    let mut count = 0_u64;
    while !blocks.is_over() {
        let block = blocks.part();
        let length = u32::try_from(block.len()).unwrap().to_le_bytes();
        out.extend([&length[..], &sum(of, &[&count.to_le_bytes(), &length, block]), block].concat());
        count += 1;
    }
    let end = u32::MAX.to_le_bytes();
    out.extend([&end[..], &sum(of, &[&count.to_le_bytes(), &end]), &count.to_le_bytes()].concat());
    out
}

pub(super) fn run(bytes: &[u8]) {
    let made = MadeDirectory::new(Choices::new(bytes));
    let read = read(&made.path, made.bytes);
    assert_eq!(read, self::read(&made.path, made.bytes), "the same files are read alike");
}

/// What is read of a directory with so many bytes, as text.
fn read(path: &Path, bytes: u64) -> String {
    let directory = match StoredDirectory::open(path) {
        Ok(directory) => directory,
        Err(error) => return format!("{error}"),
    };
    let mut seen = format!("{:?}", directory.secret());
    let mut snapshot_bytes = 0;
    if let Some(mut snapshot) = directory.snapshot() {
        write!(seen, "{:?}", snapshot.at()).unwrap();
        loop {
            match snapshot.next_block() {
                Ok(Some(block)) => snapshot_bytes += block.len() as u64,
                Ok(None) => break,
                Err(error) => return format!("{seen} {error}"),
            }
            assert!(snapshot.progress().0 <= snapshot.progress().1);
        }
    }
    let mut batches = directory.batches();
    let (mut before, mut payloads) = (None, 0);
    loop {
        match batches.next_batch() {
            Ok(Some(batch)) => {
                assert!(before.is_none_or(|before| batch.sequence == before + 1), "a batch is missing");
                before = Some(batch.sequence);
                payloads += batch.payload.len() as u64;
                write!(seen, "{batch:?}").unwrap();
            }
            Ok(None) => break,
            Err(error) => return format!("{seen} {error}"),
        }
    }
    assert!(snapshot_bytes + payloads <= bytes, "more is read than there is");
    let end = batches.finish();
    assert!(end.is_ok(), "an end is found once and not again: {end:?}");
    format!("{seen} {end:?}")
}

/// The files of a directory as an input, for the seeds: exact, or as parts.
#[cfg(test)]
pub(super) fn input_of(path: &Path, is_exact: bool) -> Vec<u8> {
    let mut input = vec![u8::from(is_exact)];
    for kind in 0..8_u8 {
        let name = match kind {
            0 => "state".to_owned(),
            1..=4 => format!("journal-{kind:08}"),
            _ => format!("snapshot-{:08}", kind - 4),
        };
        let Ok(mut content) = fs::read(path.join(name)) else { continue };
        if !is_exact {
            content = match kind {
                0 => without_zeros(&content[..BLOCK]),
                1..=4 => parts_of(&content, 12, 4),
                _ => parts_of(&content, 8, 0),
            };
        }
        if kind == 0 && !is_exact {
            content = [&u16::try_from(content.len()).unwrap().to_le_bytes()[..], &content].concat();
        }
        let length = u16::try_from(content.len()).expect("a small file");
        input.push(kind);
        input.extend(length.to_le_bytes());
        input.extend(content);
    }
    input
}

#[cfg(test)]
fn without_zeros(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    bytes[..end].to_vec()
}

/// The header and what stands in the frames behind it; a frame has so many bytes, and its length at this offset.
#[cfg(test)]
fn parts_of(content: &[u8], frame: usize, at: usize) -> Vec<u8> {
    let mut out = content[..HEADER].to_vec();
    let mut rest = &content[HEADER + 4..];
    while rest.len() >= frame {
        let length = u32::from_le_bytes(rest[at..at + 4].try_into().unwrap()) as usize;
        let Some(body) = rest[frame..].get(..length).filter(|_| length > 0) else { break };
        out.extend(u16::try_from(length).unwrap().to_le_bytes());
        out.extend(body);
        rest = &rest[frame + length..];
    }
    out
}
