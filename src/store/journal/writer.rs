//! Appending batches to segments.
//!
//! Room is reserved before it is used, and the next segment's while the present one still has some, so that a full disk is
//! met between segments. Nothing is written behind a hole: after a failed write the segment is over, and the header of the
//! next says how much of it counts.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::boundary::Boundary;
use super::directory::Directory;
use super::header::{self, FileHeader, FileKind, HEADER_BYTES, HEADER_END, HeaderRead};
use super::moments::Moments;
use super::names;
use super::random::random;
use super::reader::JournalEnd;
use super::segment;
use super::snapshot_file::remove_before;

/// Appends batches. It may be unable to, also from its beginning (see [`Journal::failure`]); [`Journal::roll`] tries again.
#[derive(Debug)]
pub struct Journal {
    directory: Directory,
    open: Option<WrittenSegment>,
    reserved: Option<ReservedSegment>,
    next_segment: u64,
    next_sequence: u64,
    /// How many bytes of the last segment count.
    last_end: u64,
    failure: Option<io::Error>,
    /// What must be done before the first batch.
    start: Option<JournalStart>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct WrittenSegment {
    file: Arc<File>,
    header: FileHeader,
    /// Check sum of the header.
    sum: u32,
    /// Where the next batch begins.
    offset: u64,
    /// How much room was reserved.
    bytes: u64,
    /// From which offset on the next segment is reserved.
    reserve_from: u64,
}

#[derive(Debug)]
struct ReservedSegment {
    file: File,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JournalStart {
    /// Behind what was read.
    GoOn,
    /// With nothing.
    Over,
}

impl Journal {
    /// Goes on behind what was read. A torn last batch is cut off. An unsure mark stays.
    pub fn go_on(directory: &Directory, end: &JournalEnd, at: Moments) -> Self {
        directory.tally().set_behind(end.bytes);
        let mut journal = Self::new(directory, JournalStart::GoOn);
        journal.next_segment = end.next_segment;
        journal.next_sequence = end.next_sequence;
        journal.last_end = end.last_end;
        journal.begin(at, true);
        journal
    }

    /// Begins again: snapshots and segments go. So does an unsure mark, unless the journal fails at once: then it goes by
    /// [`Directory::mark_sure`] only.
    pub fn start_over(directory: &Directory, at: Moments) -> Self {
        let mut journal = Self::new(directory, JournalStart::Over);
        journal.begin(at, true);
        journal
    }

    /// As [`Self::start_over`], but the store is unsure until [`Directory::mark_sure`].
    pub fn start_over_unsure(directory: &Directory, at: Moments) -> Self {
        let mut journal = Self::new(directory, JournalStart::Over);
        journal.begin(at, false);
        journal
    }

    fn new(directory: &Directory, start: JournalStart) -> Self {
        Self {
            directory: directory.clone(),
            open: None,
            reserved: None,
            next_segment: 1,
            next_sequence: 1,
            last_end: 0,
            failure: None,
            start: Some(start),
            buffer: Vec::new(),
        }
    }

    /// Why nothing can be appended; `None` if it can.
    pub const fn failure(&self) -> Option<&io::Error> {
        self.failure.as_ref()
    }

    /// Appends one batch, by one write. After a failure nothing is appended until [`Journal::roll`] succeeds; then the
    /// batch that failed must be appended again, or [`Journal::leave_out`] be called and a snapshot be made.
    ///
    /// # Errors
    ///
    /// What the system says, or that the journal still fails.
    pub fn append(&mut self, batch: &[u8], at: Moments) -> io::Result<()> {
        if let Some(failure) = &self.failure {
            return Err(copy_of(failure));
        }
        self.write_batch(batch, at).inspect_err(|error| self.failure = Some(copy_of(error)))
    }

    /// Begins the next segment; also the way back after a failure.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn roll(&mut self, at: Moments) -> io::Result<Boundary> {
        if self.start.is_some() {
            self.begin(at, false);
        } else if self.failure.is_some() || !self.is_at_a_boundary() {
            // Without room for the next segment the present one is written further.
            self.reserve_room(0)?;
            self.failure = self.advance(0, at).err();
        }
        match &self.failure {
            None => Ok(self.boundary(self.next_segment - 1, at, false)),
            Some(failure) => Err(copy_of(failure)),
        }
    }

    /// Notes that a batch is given up: the journal has a gap here, over which nobody replays. The unsure mark must be set;
    /// a snapshot of a later boundary makes it good.
    pub const fn leave_out(&mut self) {
        self.next_sequence += 1;
    }

    /// Ends the journal with its last batch, for a last snapshot.
    pub fn close(mut self, at: Moments) -> Boundary {
        self.give_room_back();
        self.drop_reserved();
        self.directory.set_written(None);
        self.boundary(self.next_segment, at, true)
    }

    fn boundary(&self, number: u64, at: Moments, is_last: bool) -> Boundary {
        let header = FileHeader { previous_end: 0, mark: 0, ..self.header(number, at, 0) };
        Boundary { header, appended: self.directory.tally().appended(), is_last }
    }

    fn header(&self, number: u64, at: Moments, mark: u32) -> FileHeader {
        let settings = self.directory.settings();
        FileHeader {
            store_id: self.directory.found().store_id,
            number,
            rules_version: settings.rules_version,
            boot: settings.boot,
            life: self.directory.life(),
            sequence: self.next_sequence,
            previous_end: self.last_end,
            mark,
            at,
        }
    }

    /// The segment is empty, and the next batch is the one that it begins with.
    fn is_at_a_boundary(&self) -> bool {
        let is_empty =
            |open: &WrittenSegment| open.offset == HEADER_END && open.header.sequence == self.next_sequence;
        self.open.as_ref().is_some_and(is_empty)
    }

    /// Begins the life; `is_sure` if nothing was answered yet.
    fn begin(&mut self, at: Moments, is_sure: bool) {
        let begun = match self.start {
            Some(JournalStart::GoOn) => self.begin_behind(at),
            Some(JournalStart::Over) => self.begin_anew(at, is_sure),
            None => Ok(()),
        };
        match begun {
            Ok(()) => (self.start, self.failure) = (None, None),
            Err(error) => self.failure = Some(error),
        }
    }

    fn begin_behind(&mut self, at: Moments) -> io::Result<()> {
        let directory = self.directory.clone();
        // Before there is another, so that those of all lives but the last have been cut.
        self.cut_last_segment();
        self.adopt_reserved();
        self.advance(0, at)?;
        directory.folder().sync()?;
        directory.begin_life(self.next_segment - 1, false, false)?;
        if let Some((newest, _)) = directory.tally().newest() {
            // One that stays goes with the next snapshot.
            let _ = remove_before(directory.folder(), newest);
        }
        Ok(())
    }

    fn begin_anew(&mut self, at: Moments, is_sure: bool) -> io::Result<()> {
        let directory = self.directory.clone();
        let listing = directory.folder().list()?;
        let last = listing.segments.last().max(listing.snapshots.last()).copied().unwrap_or(0);
        // Those that were put aside have theirs.
        let last = last.max(directory.found().last_segment);
        self.next_segment = self.next_segment.max(last.saturating_add(1));
        directory.begin_anew()?;
        self.drop_reserved();
        remove_before(directory.folder(), u64::MAX)?;
        directory.tally().set(None, 0);
        self.advance(0, at)?;
        directory.folder().sync()?;
        directory.begin_life(self.next_segment - 1, true, is_sure)
    }

    fn write_batch(&mut self, batch: &[u8], at: Moments) -> io::Result<()> {
        let most = segment::MOST_AROUND + batch.len() as u64;
        if batch.len() > segment::MAX_BODY / 2 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the batch is too large"));
        }
        if self.open.as_ref().is_none_or(|open| open.bytes - open.offset < most) {
            self.advance(most, at)?;
        }
        let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotFound.into()) };
        segment::encode(&mut self.buffer, (&open.header, open.sum), self.next_sequence, at, batch);
        self.directory.disk().write_reserved(&open.file, &self.buffer, open.offset)?;
        let length = self.buffer.len() as u64;
        open.offset += length;
        self.last_end = open.offset;
        self.next_sequence += 1;
        self.directory.tally().append(length);
        self.reserve_next();
        Ok(())
    }

    /// Begins the next segment, with room for at least so many bytes of batches.
    fn advance(&mut self, batch_bytes: u64, at: Moments) -> io::Result<()> {
        let number = self.next_segment;
        self.reserve_room(batch_bytes)?;
        let Some(ReservedSegment { file, bytes }) = self.reserved.take() else { return Ok(()) };
        let mark = u32::from_le_bytes(random()?).max(1);
        let header = self.header(number, at, mark);
        let (encoded, sum) = header.encode(FileKind::Segment);
        self.directory.disk().write_reserved(&file, &encoded, 0)?;
        self.give_room_back();
        let file = Arc::new(file);
        self.directory.set_written(Some((number, file.clone())));
        self.open =
            Some(WrittenSegment { file, header, sum, offset: HEADER_END, bytes, reserve_from: bytes / 2 });
        self.next_segment = number + 1;
        self.last_end = HEADER_END;
        Ok(())
    }

    /// Has room reserved for the next segment, for at least so many bytes of batches.
    fn reserve_room(&mut self, batch_bytes: u64) -> io::Result<()> {
        let room = self.directory.settings().segment_bytes.max(HEADER_END + batch_bytes);
        if self.reserved.as_ref().is_none_or(|reserved| reserved.bytes < room) {
            self.drop_reserved();
            self.reserved = Some(self.reserve(self.next_segment, room)?);
        }
        Ok(())
    }

    /// Makes the file of a segment with its room, or nothing.
    fn reserve(&self, number: u64, bytes: u64) -> io::Result<ReservedSegment> {
        let folder = self.directory.folder();
        let name = names::segment(number);
        // One that was not begun, or whose header could not be written: nothing is in it.
        folder.disk.remove(&folder.handle, &name)?;
        let file = folder.disk.create(&folder.handle, &name)?;
        match folder.disk.reserve(&file, bytes) {
            Ok(()) => Ok(ReservedSegment { file, bytes }),
            Err(error) => {
                let _ = folder.disk.remove(&folder.handle, &name);
                Err(error)
            }
        }
    }

    /// Reserves the next segment when the present one is half full. A full disk is no failure yet.
    fn reserve_next(&mut self) {
        let bytes = self.directory.settings().segment_bytes;
        let Some(open) = &mut self.open else { return };
        if self.reserved.is_some() || open.offset < open.reserve_from {
            return;
        }
        open.reserve_from = open.offset + bytes / 16;
        self.reserved = self.reserve(self.next_segment, bytes).ok();
    }

    /// Gives back the room that the last life had behind its last batch, and a torn batch there.
    fn cut_last_segment(&self) {
        let Some(last) = self.next_segment.checked_sub(1).filter(|_| self.last_end >= HEADER_END) else {
            return;
        };
        let cut = || {
            let file = self.directory.folder().open_to_write(&names::segment(last))?;
            // Not synced: in this boot nobody sees it uncut again, and in another the store is unsure.
            let is_longer = file.metadata()?.len() > self.last_end;
            if is_longer { self.directory.disk().truncate(&file, self.last_end) } else { Ok(()) }
        };
        // Room that stays taken goes with the next snapshot.
        let _: io::Result<()> = cut();
    }

    /// Takes the room that the last life reserved and did not use: a start on a full disk needs it.
    fn adopt_reserved(&mut self) {
        let look = || {
            let file = self.directory.folder().open_to_write(&names::segment(self.next_segment))?;
            let bytes = file.metadata()?.len();
            let mut bytes_of_header = [0; HEADER_BYTES];
            file.read_exact_at(&mut bytes_of_header, 0)?;
            let is_blank = matches!(header::read(FileKind::Segment, &bytes_of_header), HeaderRead::Blank);
            Ok::<_, io::Error>(is_blank.then_some(ReservedSegment { file, bytes }))
        };
        self.reserved = look().unwrap_or_default();
    }

    fn drop_reserved(&mut self) {
        if self.reserved.take().is_some() {
            let folder = self.directory.folder();
            // One that stays is taken or replaced when its number comes.
            let _ = folder.disk.remove(&folder.handle, &names::segment(self.next_segment));
        }
    }

    /// The present segment is over.
    fn give_room_back(&mut self) {
        if let Some(open) = self.open.take() {
            // Room that stays taken goes with the segment.
            let _ = self.directory.disk().truncate(&open.file, open.offset);
        }
    }
}

fn copy_of(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}
