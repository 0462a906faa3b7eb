//! Batches in the order in which they were appended, across segments.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::contents::{Contents, OpenFile};
use super::error::DirectoryError;
use super::header::{HEADER_BYTES, HEADER_END};
use super::moments::Moments;
use super::segment;

/// A file is not read that is larger than a segment can be.
const MAX_SEGMENT: u64 = segment::MAX_BODY as u64 * 2;

/// One batch as it was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalBatch<'a> {
    /// Its number; each is by one higher than the one before.
    pub sequence: u64,
    /// When it was appended.
    pub at: Moments,
    /// Which process of the store wrote it; the first is 1.
    pub life: u64,
    /// The rules under which it was written.
    pub rules_version: u32,
    /// What was appended.
    pub payload: &'a [u8],
}

/// A last batch that was not written in full, and so never answered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornBatch {
    /// The segment.
    pub file: PathBuf,
    /// Where in it the batch begins.
    pub offset: u64,
    /// How many bytes of it were written, at most.
    pub bytes: u64,
}

/// Where the journal ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEnd {
    /// The last moment in the files: of the last batch, else of the snapshot or of the beginning. `None` in a store that
    /// was never used.
    pub at: Option<Moments>,
    /// What was cut off.
    pub torn: Option<TornBatch>,
    /// The next batch has this number.
    pub(super) next_sequence: u64,
    /// The next segment has this number, unless the last one was not begun.
    pub(super) next_segment: u64,
    /// How many bytes of the last segment count.
    pub(super) last_end: u64,
    /// Bytes of batches.
    pub(super) bytes: u64,
}

/// Reads the batches behind a snapshot.
#[derive(Debug)]
pub struct BatchReader {
    folder: PathBuf,
    waiting: VecDeque<OpenFile>,
    current: Option<Loaded>,
    end: JournalEnd,
    read: u64,
    total: u64,
}

#[derive(Debug)]
struct Loaded {
    of: OpenFile,
    bytes: Vec<u8>,
    /// Where the next batch begins.
    offset: usize,
    /// The next segment has begun: up to here all must be whole.
    is_closed: bool,
}

/// What stands at an offset.
enum Found {
    Batch { length: usize },
    End,
    Torn,
    Wrong(&'static str),
}

impl BatchReader {
    pub(super) fn new(folder: &Path, contents: Contents) -> Self {
        let snapshot = contents.snapshot.map(|snapshot| snapshot.header);
        let (last, total) = {
            let segments = &contents.segments;
            (contents.first + segments.len() as u64, segments.iter().map(|segment| segment.bytes).sum())
        };
        // Without a snapshot the first segment says where the numbers begin.
        let first = snapshot.or(contents.segments.first().map(|segment| segment.header));
        Self {
            folder: folder.to_owned(),
            waiting: contents.segments.into(),
            current: None,
            end: JournalEnd {
                at: first.map(|header| header.at),
                torn: None,
                next_sequence: first.map_or(1, |header| header.sequence),
                next_segment: last,
                last_end: 0,
                bytes: 0,
            },
            read: 0,
            total,
        }
    }

    /// The next batch; `None` at the end.
    ///
    /// # Errors
    ///
    /// A damaged, newer or missing file, or what the system says.
    pub fn next_batch(&mut self) -> Result<Option<JournalBatch<'_>>, DirectoryError> {
        loop {
            if self.current.is_none() && !self.load_next()? {
                return Ok(None);
            }
            let Some(current) = &self.current else { return Ok(None) };
            match current.look(self.end.next_sequence) {
                Found::Batch { length } => {
                    self.read += length as u64;
                    return Ok(self.pass(length));
                }
                Found::Wrong(what) => return Err(self.damaged(current, current.offset, what)),
                Found::Torn => self.cut(),
                Found::End => {}
            }
            self.current = None;
        }
    }

    /// The moment of the snapshot, or where there is none that of the first segment. Before the first batch is read.
    pub const fn begin(&self) -> Option<Moments> {
        self.end.at
    }

    /// How many bytes of segments were read, and how many there are, with what was reserved.
    pub const fn progress(&self) -> (u64, u64) {
        (self.read, self.total)
    }

    /// Reads what is left, and says where the journal ends.
    ///
    /// # Errors
    ///
    /// As [`BatchReader::next_batch`].
    pub fn finish(mut self) -> Result<JournalEnd, DirectoryError> {
        while self.next_batch()?.is_some() {}
        Ok(self.end)
    }

    /// Goes on behind the batch that stands at the offset.
    fn pass(&mut self, length: usize) -> Option<JournalBatch<'_>> {
        let current = self.current.as_mut()?;
        let at = current.offset;
        current.offset += length;
        let found = segment::decode((&current.of.header, current.of.sum), current.bytes.get(at..)?)?;
        self.end.last_end = current.offset as u64;
        self.end.next_sequence = found.sequence + 1;
        self.end.at = Some(found.at);
        self.end.bytes += length as u64;
        let header = &current.of.header;
        Some(JournalBatch {
            sequence: found.sequence,
            at: found.at,
            life: header.life,
            rules_version: header.rules_version,
            payload: found.payload,
        })
    }

    fn cut(&mut self) {
        let Some(current) = &self.current else { return };
        let written = current.bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        self.end.torn = Some(TornBatch {
            file: self.folder.join(&current.of.name),
            offset: current.offset as u64,
            bytes: written.saturating_sub(current.offset) as u64,
        });
    }

    /// Loads the next segment; gives whether there is one.
    fn load_next(&mut self) -> Result<bool, DirectoryError> {
        let Some(of) = self.waiting.pop_front() else { return Ok(false) };
        let closed = self.waiting.front().map(|next| next.header.previous_end);
        let path = self.folder.join(&of.name);
        let wrong = |offset, what| DirectoryError::Damaged { file: path.clone(), offset, what };
        if of.header.sequence != self.end.next_sequence {
            return Err(wrong(0, "batches before it are missing"));
        }
        let length = closed.unwrap_or(of.bytes).min(of.bytes).min(MAX_SEGMENT);
        let bytes = read_up_to(&of, length);
        let bytes = bytes.map_err(|error| DirectoryError::System { path: path.clone(), error })?;
        if closed.is_some_and(|end| end > bytes.len() as u64) {
            return Err(wrong(bytes.len() as u64, "it ends too early"));
        }
        self.end.last_end = HEADER_END;
        self.read += HEADER_END;
        self.current = Some(Loaded { of, bytes, offset: HEADER_BYTES, is_closed: closed.is_some() });
        Ok(true)
    }

    fn damaged(&self, current: &Loaded, offset: usize, what: &'static str) -> DirectoryError {
        DirectoryError::Damaged { file: self.folder.join(&current.of.name), offset: offset as u64, what }
    }
}

/// The beginning of a file, which an exporter that runs may have shortened meanwhile.
fn read_up_to(of: &OpenFile, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match of.file.read_at(rest, filled as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

impl Loaded {
    fn look(&self, next_sequence: u64) -> Found {
        let of = (&self.of.header, self.of.sum);
        let Some(rest) = self.bytes.get(self.offset..).filter(|rest| !rest.is_empty()) else {
            return Found::End;
        };
        if let Some(batch) = segment::decode(of, rest) {
            let is_next = batch.sequence == next_sequence;
            return if is_next {
                Found::Batch { length: batch.length }
            } else {
                Found::Wrong("batches before it are missing")
            };
        }
        if self.is_closed {
            return Found::Wrong("a batch is not whole, and others follow");
        }
        if rest.iter().all(|&byte| byte == 0) {
            return Found::End;
        }
        if segment::holds_a_batch(of, rest.get(1..).unwrap_or_default()) {
            return Found::Wrong("a batch is not whole, and others follow");
        }
        Found::Torn
    }
}
