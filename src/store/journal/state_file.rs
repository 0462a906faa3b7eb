//! The state file: whose the directory is, and how its last life ended. Two copies of one block, of its full size from its
//! beginning on, so that it can be written on a full disk and a torn write leaves one.
//!
//! Magic, version, generation and check sum stand at the same places in every version.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use super::boot::BootId;
use super::disk::Disk;
use super::error::DirectoryError;
use super::fields::{take, take_u32, take_u64};
use super::folder::Folder;
use super::names::{STATE, UNFINISHED};

const BLOCK_BYTES: usize = 4096;
const BYTES_BEFORE_SUM: usize = BLOCK_BYTES - 4;
const COPIES: u64 = 2;
const MAGIC: [u8; 8] = *b"CTEstate";

/// The version of the directory: of this file, and of what files there are.
const STATE_VERSION: u32 = 1;

/// What the process with the directory is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LifeStage {
    /// No process has used the directory.
    New,
    /// One does, or was killed.
    Running,
    /// It stopped with the snapshot of this number.
    Ended(u64),
}

/// What the state file holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct DirectoryState {
    pub(super) store_id: [u8; 16],
    pub(super) secret: [u8; 16],
    pub(super) boot: BootId,
    /// How many processes have used the directory.
    pub(super) lives: u64,
    pub(super) stage: LifeStage,
    /// Something may have been answered that the files do not hold.
    pub(super) is_unsure: bool,
    /// The number of this file in its file system, which a copy of the directory does not have.
    pub(super) inode: u64,
    /// Where the journal begins while there is no snapshot.
    pub(super) first_segment: u64,
    /// The last segment that was begun, as far as that could be written.
    pub(super) last_segment: u64,
}

/// Why a block cannot be gone by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockProblem {
    Newer(u32),
    Damaged,
    Foreign,
}

impl DirectoryState {
    fn encode(&self, generation: u64) -> Vec<u8> {
        let (stage, snapshot) = match self.stage {
            LifeStage::New => (0_u8, 0),
            LifeStage::Running => (1, 0),
            LifeStage::Ended(snapshot) => (2, snapshot),
        };
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        block.extend(MAGIC);
        block.extend(STATE_VERSION.to_le_bytes());
        block.extend(generation.to_le_bytes());
        block.extend(self.store_id);
        block.extend(self.secret);
        block.extend(self.boot.to_bytes());
        block.extend(self.lives.to_le_bytes());
        block.extend([stage, u8::from(self.is_unsure)]);
        block.extend(snapshot.to_le_bytes());
        block.extend(self.inode.to_le_bytes());
        block.extend(self.first_segment.to_le_bytes());
        block.extend(self.last_segment.to_le_bytes());
        block.resize(BYTES_BEFORE_SUM, 0);
        let sum = crc32fast::hash(&block);
        block.extend(sum.to_le_bytes());
        block
    }

    /// The generation and what the block says.
    fn decode(block: &[u8]) -> Result<(u64, Self), BlockProblem> {
        let mut rest = block;
        take(&mut rest).filter(|magic: &[u8; 8]| *magic == MAGIC).ok_or(BlockProblem::Foreign)?;
        let mut fields = || {
            let (before, mut sum) = block.get(..BLOCK_BYTES)?.split_at_checked(BYTES_BEFORE_SUM)?;
            take_u32(&mut sum).filter(|&sum| sum == crc32fast::hash(before))?;
            Some((take_u32(&mut rest)?, take_u64(&mut rest)?, rest))
        };
        let (version, generation, mut rest) = fields().ok_or(BlockProblem::Damaged)?;
        if version > STATE_VERSION {
            return Err(BlockProblem::Newer(version));
        }
        Self::decode_fields(&mut rest).map(|state| (generation, state)).ok_or(BlockProblem::Damaged)
    }

    fn decode_fields(rest: &mut &[u8]) -> Option<Self> {
        let (store_id, secret, boot) = (take(rest)?, take(rest)?, BootId::from_bytes(take(rest)?));
        let (lives, [stage, is_unsure], snapshot) = (take_u64(rest)?, take(rest)?, take_u64(rest)?);
        let stage = match stage {
            0 => LifeStage::New,
            1 => LifeStage::Running,
            2 => LifeStage::Ended(snapshot),
            _ => return None,
        };
        let (inode, first_segment, last_segment) = (take_u64(rest)?, take_u64(rest)?, take_u64(rest)?);
        let is_unsure = is_unsure != 0;
        Some(Self { store_id, secret, boot, lives, stage, is_unsure, inode, first_segment, last_segment })
    }
}

/// The open state file.
#[derive(Debug)]
pub(super) struct StateFile {
    file: File,
    generation: u64,
    /// Which copy is the newest.
    newest: u64,
    /// What the file says.
    pub(super) state: DirectoryState,
    /// What it said when it was last synced: what is left after a loss of power.
    pub(super) synced: DirectoryState,
}

impl StateFile {
    /// Makes the file, complete or not at all.
    pub(super) fn create(folder: &Folder, state: DirectoryState) -> io::Result<Self> {
        let unfinished = format!("{STATE}{UNFINISHED}");
        let disk = &folder.disk;
        disk.remove(&folder.handle, &unfinished)?;
        let file = disk.create(&folder.handle, &unfinished)?;
        let block = state.encode(1);
        for copy in 0..COPIES {
            disk.write(&file, &block, copy * BLOCK_BYTES as u64)?;
        }
        disk.sync(&file)?;
        disk.rename(&folder.handle, &unfinished, STATE)?;
        folder.sync()?;
        Ok(Self { file, generation: 1, newest: 0, state, synced: state })
    }

    /// Reads the file, and changes nothing.
    pub(super) fn open(folder: &Folder, is_written: bool) -> Result<Self, DirectoryError> {
        let file = if is_written { folder.open_to_write(STATE) } else { folder.open_to_read(STATE) };
        let file = file.map_err(|error| folder.refused(STATE, error))?;
        let mut bytes = Vec::new();
        read_at_most(&file, &mut bytes).map_err(|error| folder.refused(STATE, error))?;
        let (first, second) = bytes.split_at(bytes.len().min(BLOCK_BYTES));
        let (generation, newest, state) =
            match (DirectoryState::decode(first), DirectoryState::decode(second)) {
                (Ok((older, _)), Ok((generation, state))) if generation > older => (generation, 1, state),
                (Ok((generation, state)), _) => (generation, 0, state),
                (Err(first), Err(second)) => return Err(problem(folder, first, second)),
                (Err(BlockProblem::Newer(version)), _) => return Err(newer(folder, version)),
                (Err(_), Ok((generation, state))) => (generation, 1, state),
            };
        Ok(Self { file, generation, newest, state, synced: state })
    }

    /// Writes another state over the old one, first over the older copy. When it is synced, so are both.
    pub(super) fn write(&mut self, disk: &Disk, state: DirectoryState, is_synced: bool) -> io::Result<()> {
        let block = state.encode(self.generation + 1);
        let (first, second) = (1 - self.newest, self.newest);
        disk.write_reserved(&self.file, &block, first * BLOCK_BYTES as u64)?;
        // It stands in the file, whatever becomes of the rest.
        self.generation += 1;
        (self.newest, self.state) = (first, state);
        if is_synced {
            disk.sync(&self.file)?;
            self.synced = state;
        }
        // What is said stands in one copy; the other is against damage.
        if disk.write_reserved(&self.file, &block, second * BLOCK_BYTES as u64).is_ok() && is_synced {
            disk.sync(&self.file)?;
        }
        Ok(())
    }

    /// The number of the file in its file system.
    pub(super) fn inode(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.ino())
    }

    /// Whether the file is still the one of the directory.
    pub(super) fn is_in(&self, folder: &Folder) -> io::Result<bool> {
        folder.is_at(STATE, &self.file)
    }
}

/// Both copies, and as much as may be missing.
fn read_at_most(file: &File, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; BLOCK_BYTES];
    while bytes.len() < BLOCK_BYTES * 2 {
        match file.read_at(&mut chunk, bytes.len() as u64)? {
            0 => return Ok(()),
            length => bytes.extend(chunk.iter().take(length)),
        }
    }
    bytes.truncate(BLOCK_BYTES * 2);
    Ok(())
}

fn problem(folder: &Folder, first: BlockProblem, second: BlockProblem) -> DirectoryError {
    match (first, second) {
        (BlockProblem::Newer(version), _) | (_, BlockProblem::Newer(version)) => newer(folder, version),
        (BlockProblem::Foreign, BlockProblem::Foreign) if !holds_numbered(folder) => {
            DirectoryError::Foreign { path: folder.path.clone() }
        }
        _ => folder.damaged(STATE, 0, "neither copy of the state is whole"),
    }
}

fn holds_numbered(folder: &Folder) -> bool {
    folder.list().is_ok_and(|listing| !listing.segments.is_empty() || !listing.snapshots.is_empty())
}

fn newer(folder: &Folder, version: u32) -> DirectoryError {
    DirectoryError::Newer { path: folder.file(STATE), version, known: STATE_VERSION }
}
