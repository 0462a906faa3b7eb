//! A snapshot: blocks of bytes with check sums, complete or not there.
//!
//! ```text
//! block = length u32, check sum u32 (from the header's on, over the block's place in the row, length and bytes), bytes
//! end   = 0xffffffff, check sum u32 (over the number of blocks), number of blocks u64
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::boundary::Boundary;
use super::contents::OpenFile;
use super::error::DirectoryError;
use super::fields::{take_u32, take_u64};
use super::folder::Folder;
use super::header::{FileKind, HEADER_END};
use super::moments::Moments;
use super::names::{self, UNFINISHED};
use super::tally::{JournalTally, LastSnapshot};

/// The longest block that is written or believed.
const MAX_BLOCK: u32 = 1 << 26;
const FRAME_BYTES: usize = 8;
const END_MARK: u32 = u32::MAX;
/// After how many bytes what was written is synced, so that the last sync has not all to do.
const SYNC_EVERY: u64 = 32 * 1024 * 1024;

/// Writes a snapshot. Dropped before it is committed, it leaves nothing.
#[derive(Debug)]
pub struct SnapshotWriter {
    folder: Arc<Folder>,
    tally: Arc<JournalTally>,
    /// Nobody else may have the directory while a snapshot is written.
    _lock: Arc<File>,
    boundary: Boundary,
    unfinished: String,
    file: File,
    header_sum: u32,
    offset: u64,
    synced: u64,
    blocks: u64,
    buffer: Vec<u8>,
    is_named: bool,
}

impl SnapshotWriter {
    pub(super) fn create(
        folder: Arc<Folder>,
        tally: Arc<JournalTally>,
        lock: Arc<File>,
        boundary: Boundary,
    ) -> io::Result<Self> {
        let unfinished = names::snapshot(boundary.header.number) + UNFINISHED;
        folder.disk.remove(&folder.handle, &unfinished)?;
        let file = folder.disk.create(&folder.handle, &unfinished)?;
        let (header, header_sum) = boundary.header.encode(FileKind::Snapshot);
        let writer = Self {
            folder,
            tally,
            _lock: lock,
            boundary,
            unfinished,
            file,
            header_sum,
            offset: HEADER_END,
            synced: 0,
            blocks: 0,
            buffer: Vec::new(),
            is_named: false,
        };
        writer.folder.disk.write(&writer.file, &header, 0)?;
        Ok(writer)
    }

    /// Writes one block, which is read back as it is.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn block(&mut self, block: &[u8]) -> io::Result<()> {
        let length = u32::try_from(block.len()).ok().filter(|&length| length <= MAX_BLOCK);
        let length = length.ok_or(io::ErrorKind::InvalidInput)?;
        self.buffer.clear();
        self.buffer.extend(length.to_le_bytes());
        self.buffer.extend(sum_of(self.header_sum, self.blocks, length, block).to_le_bytes());
        self.buffer.extend(block);
        self.write_buffer()?;
        self.blocks += 1;
        if self.offset - self.synced >= SYNC_EVERY {
            self.folder.disk.sync(&self.file)?;
            self.synced = self.offset;
        }
        Ok(())
    }

    /// Makes the snapshot complete: it is synced and takes its name; older snapshots, and segments before its boundary, go.
    ///
    /// # Errors
    ///
    /// What the system says; the older ones then are still there.
    pub fn commit(mut self) -> io::Result<LastSnapshot> {
        self.buffer.clear();
        self.buffer.extend(END_MARK.to_le_bytes());
        self.buffer.extend(sum_of(self.header_sum, self.blocks, END_MARK, &[]).to_le_bytes());
        self.buffer.extend(self.blocks.to_le_bytes());
        self.write_buffer()?;
        let Folder { handle, disk, .. } = &*self.folder;
        disk.sync(&self.file)?;
        let number = self.boundary.header.number;
        disk.rename(handle, &self.unfinished, &names::snapshot(number))?;
        self.is_named = true;
        self.folder.sync()?;
        let snapshot = LastSnapshot { wall: self.boundary.header.at.wall, bytes: self.offset };
        let newest = self.tally.cover(number, snapshot, self.boundary.appended);
        // One that stays goes with the next snapshot, or at the next start.
        let _ = remove_before(&self.folder, newest);
        Ok(snapshot)
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        self.folder.disk.write(&self.file, &self.buffer, self.offset)?;
        self.offset += self.buffer.len() as u64;
        Ok(())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.is_named {
            // One that stays goes at the next start.
            let _ = self.folder.disk.remove(&self.folder.handle, &self.unfinished);
        }
    }
}

/// Removes the snapshots and segments that a snapshot of this number makes useless. The oldest go first, so that what stays
/// has no gap.
pub(super) fn remove_before(folder: &Folder, number: u64) -> io::Result<()> {
    let listing = folder.list()?;
    let snapshots = listing.snapshots.iter().filter(|&&snapshot| snapshot < number);
    let segments = listing.segments.iter().filter(|&&segment| segment < number);
    let names = snapshots.map(|&snapshot| names::snapshot(snapshot));
    for name in names.chain(segments.map(|&segment| names::segment(segment))) {
        folder.disk.remove(&folder.handle, &name)?;
    }
    Ok(())
}

/// Reads a snapshot.
#[derive(Debug)]
pub struct SnapshotReader {
    path: PathBuf,
    of: OpenFile,
    offset: u64,
    blocks: u64,
    is_over: bool,
}

impl SnapshotReader {
    pub(super) fn new(folder: &Path, of: OpenFile) -> Self {
        Self { path: folder.join(&of.name), of, offset: HEADER_END, blocks: 0, is_over: false }
    }

    /// The moment of its boundary.
    pub fn at(&self) -> Moments {
        self.of.header.at
    }

    /// The next block; `None` behind the last of a whole snapshot.
    ///
    /// # Errors
    ///
    /// A damaged file, or what the system says.
    pub fn next_block(&mut self) -> Result<Option<Vec<u8>>, DirectoryError> {
        if self.is_over {
            return Ok(None);
        }
        let frame = self.read(self.offset, FRAME_BYTES)?;
        let mut rest = frame.as_slice();
        let (length, sum) = (take_u32(&mut rest), take_u32(&mut rest));
        let (Some(length), Some(sum)) = (length, sum) else {
            return Err(self.damaged("a block is not whole"));
        };
        let start = self.offset + FRAME_BYTES as u64;
        if length == END_MARK {
            let count = self.read(start, 8)?;
            let count = take_u64(&mut count.as_slice());
            if count != Some(self.blocks) || sum != sum_of(self.of.sum, self.blocks, END_MARK, &[]) {
                return Err(self.damaged("its blocks are not all there"));
            }
            self.offset = start + 8;
            if self.offset != self.of.bytes {
                return Err(self.damaged("it goes on behind its end"));
            }
            self.is_over = true;
            return Ok(None);
        }
        if length > MAX_BLOCK {
            return Err(self.damaged("a block is not whole"));
        }
        let block = self.read(start, usize::try_from(length).unwrap_or(usize::MAX))?;
        if sum != sum_of(self.of.sum, self.blocks, length, &block) {
            return Err(self.damaged("a block is not whole"));
        }
        self.offset = start + u64::from(length);
        self.blocks += 1;
        Ok(Some(block))
    }

    /// How many bytes were read, and how many there are.
    pub const fn progress(&self) -> (u64, u64) {
        (self.offset, self.of.bytes)
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, DirectoryError> {
        // Before there is room for what a damaged length asks for.
        if self.of.bytes.saturating_sub(offset) < length as u64 {
            return Err(self.damaged("it ends too early"));
        }
        let mut bytes = vec![0; length];
        let read = self.of.file.read_exact_at(&mut bytes, offset);
        read.map_err(|error| DirectoryError::System { path: self.path.clone(), error })?;
        Ok(bytes)
    }

    fn damaged(&self, what: &'static str) -> DirectoryError {
        DirectoryError::Damaged { file: self.path.clone(), offset: self.offset, what }
    }
}

fn sum_of(header_sum: u32, place: u64, length: u32, block: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new_with_initial(header_sum);
    sum.update(&place.to_le_bytes());
    sum.update(&length.to_le_bytes());
    sum.update(block);
    sum.finalize()
}
