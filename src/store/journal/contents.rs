//! Which snapshot and which segments make up the journal.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::error::DirectoryError;
use super::folder::{Folder, FolderListing};
use super::header::{self, FILE_VERSION, FileHeader, FileKind, HEADER_BYTES, HEADER_END, HeaderRead};
use super::names;
use super::state_file::{DirectoryState, LifeStage};

/// How often to look again when a running exporter has removed a file between two looks.
const LOOKS: usize = 5;

/// An open file with its header.
#[derive(Clone, Debug)]
pub(super) struct OpenFile {
    pub(super) name: String,
    pub(super) file: Arc<File>,
    pub(super) header: FileHeader,
    /// Check sum of the header.
    pub(super) sum: u32,
    pub(super) bytes: u64,
}

/// The newest snapshot and the segments behind it, open.
#[derive(Clone, Debug)]
pub(super) struct Contents {
    pub(super) snapshot: Option<OpenFile>,
    /// Those that were begun, without a gap.
    pub(super) segments: Vec<OpenFile>,
    /// The number of the first segment, whether there is one or not.
    pub(super) first: u64,
}

/// A file that was opened, and what its header says.
struct LookedAt {
    file: UnreadFile,
    read: HeaderRead,
}

struct UnreadFile {
    name: String,
    file: File,
    bytes: u64,
}

impl Contents {
    /// Opens what there is.
    pub(super) fn open(folder: &Folder, state: &DirectoryState) -> Result<Self, DirectoryError> {
        for _ in 1..LOOKS {
            match Self::look(folder, state) {
                Err(DirectoryError::System { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
                looked => return looked,
            }
        }
        Self::look(folder, state)
    }

    fn look(folder: &Folder, state: &DirectoryState) -> Result<Self, DirectoryError> {
        let listing = folder.list().map_err(|error| folder.refused("", error))?;
        let snapshot = match (listing.snapshots.last(), state.stage) {
            (Some(&number), LifeStage::Ended(last)) if number < last => {
                return Err(folder.damaged(&names::snapshot(last), 0, "it is missing"));
            }
            (None, LifeStage::Ended(last)) => {
                return Err(folder.damaged(&names::snapshot(last), 0, "it is missing"));
            }
            (Some(&number), _) => Some(open_snapshot(folder, state, number)?),
            (None, _) => None,
        };
        let first = snapshot.as_ref().map_or(state.first_segment, |snapshot| snapshot.header.number);
        let segments = open_segments(folder, state, &listing, first)?;
        let begun = first + segments.len() as u64;
        if state.stage == LifeStage::Running && (first..=state.last_segment).contains(&begun) {
            return Err(folder.damaged(&names::segment(begun), 0, "it is missing, or its header is"));
        }
        Ok(Self { snapshot, segments, first })
    }
}

/// Fails if any file is of a later version, whether it is needed or not.
pub(super) fn check_versions(folder: &Folder) -> Result<(), DirectoryError> {
    let listing = folder.list().map_err(|error| folder.refused("", error))?;
    let segments = listing.segments.iter().map(|&number| (FileKind::Segment, names::segment(number)));
    let snapshots = listing.snapshots.iter().map(|&number| (FileKind::Snapshot, names::snapshot(number)));
    for (kind, name) in segments.chain(snapshots) {
        look_at(folder, kind, name)?;
    }
    Ok(())
}

fn look_at(folder: &Folder, kind: FileKind, name: String) -> Result<LookedAt, DirectoryError> {
    let look = || {
        let file = folder.open_to_read(&name)?;
        let bytes = file.metadata()?.len();
        let mut header = [0; HEADER_BYTES];
        let length = usize::try_from(bytes).unwrap_or(HEADER_BYTES).min(HEADER_BYTES);
        let header = header.get_mut(..length).unwrap_or_default();
        file.read_exact_at(header, 0)?;
        Ok((file, bytes, header::read(kind, header)))
    };
    let (file, bytes, read) = look().map_err(|error: io::Error| folder.refused(&name, error))?;
    if let HeaderRead::Newer(version) = read {
        return Err(DirectoryError::Newer { path: folder.file(&name), version, known: FILE_VERSION });
    }
    Ok(LookedAt { file: UnreadFile { name, file, bytes }, read })
}

fn open_snapshot(folder: &Folder, state: &DirectoryState, number: u64) -> Result<OpenFile, DirectoryError> {
    let looked = look_at(folder, FileKind::Snapshot, names::snapshot(number))?;
    let name = looked.file.name.clone();
    belonging(folder, state, number, looked)?
        .ok_or_else(|| folder.damaged(&name, 0, "its header is not whole"))
}

/// The file if its header is whole.
fn belonging(
    folder: &Folder,
    state: &DirectoryState,
    number: u64,
    looked: LookedAt,
) -> Result<Option<OpenFile>, DirectoryError> {
    let LookedAt { file: UnreadFile { name, file, bytes }, read } = looked;
    let HeaderRead::Whole(header, sum) = read else { return Ok(None) };
    if header.store_id != state.store_id || header.number != number {
        return Err(folder.damaged(&name, 0, "it belongs to another store or under another name"));
    }
    Ok(Some(OpenFile { name, file: Arc::new(file), header, sum, bytes }))
}

fn open_segments(
    folder: &Folder,
    state: &DirectoryState,
    listing: &FolderListing,
    first: u64,
) -> Result<Vec<OpenFile>, DirectoryError> {
    let mut segments: Vec<OpenFile> = Vec::new();
    // One that was not begun, or whose header is torn: nothing may come behind it.
    let mut unbegun: Option<String> = None;
    for (&number, due) in listing.segments.iter().filter(|&&number| number >= first).zip(first..) {
        if number != due {
            return Err(folder.damaged(&names::segment(due), 0, "it is missing"));
        }
        let looked = look_at(folder, FileKind::Segment, names::segment(number))?;
        if let HeaderRead::Bad = looked.read
            && holds_more(&looked.file).map_err(|error| folder.refused(&looked.file.name, error))?
        {
            return Err(folder.damaged(&looked.file.name, 0, "its header is not whole"));
        }
        let name = looked.file.name.clone();
        match (belonging(folder, state, number, looked)?, &unbegun) {
            (Some(_), Some(unbegun)) => return Err(folder.damaged(unbegun, 0, "its header is not whole")),
            (Some(segment), None) => segments.push(segment),
            (None, _) => unbegun = unbegun.or(Some(name)),
        }
    }
    Ok(segments)
}

/// Whether anything is behind the header: it was written then, and is not torn but damaged.
fn holds_more(file: &UnreadFile) -> io::Result<bool> {
    let mut chunk = vec![0; 64 * 1024];
    let mut at = HEADER_END;
    loop {
        match file.file.read_at(&mut chunk, at)? {
            0 => return Ok(false),
            length if chunk.iter().take(length).any(|&byte| byte != 0) => return Ok(true),
            length => at += length as u64,
        }
    }
}
