//! Taking a directory: whose it is, that nobody else has it, how its last life ended, and that only we may read it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};

use super::contents::{self, Contents, OpenFile};
use super::continuity::{Continuity, UnsureReason};
use super::disk::Disk;
use super::error::DirectoryError;
use super::folder::Folder;
use super::header::HEADER_END;
use super::markers::Markers;
use super::names::{self, LOCK, STATE, UNFINISHED};
use super::random::random;
use super::settings::JournalSettings;
use super::state_file::{DirectoryState, LifeStage, StateFile};
use super::tally::LastSnapshot;

/// Something that was found when a directory was opened, and is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenNotice {
    /// Others could read it or write there; not any more.
    Tightened(PathBuf),
    /// Others can read it or write there, and the system does not let us change that.
    Loose(PathBuf),
}

/// What of a directory is ours now.
#[derive(Debug)]
pub(super) struct OpenedDirectory {
    pub(super) folder: Folder,
    pub(super) lock: File,
    pub(super) state: StateFile,
    pub(super) markers: Markers,
    pub(super) continuity: Continuity,
    /// The newest snapshot with its number, where it is of use.
    pub(super) newest: Option<(u64, LastSnapshot)>,
    pub(super) notices: Vec<OpenNotice>,
}

/// Opens the directory, or makes it. What must be refused is refused before anything is changed.
pub(super) fn open(
    path: &Path,
    settings: &JournalSettings,
    disk: Disk,
) -> Result<OpenedDirectory, DirectoryError> {
    let folder = match open_folder(path, disk.clone()) {
        Err(DirectoryError::System { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            let made = DirBuilder::new().mode(0o700).create(path);
            made.map_err(|error| DirectoryError::System { path: path.to_owned(), error })?;
            open_folder(path, disk)?
        }
        opened => opened?,
    };
    if !is_unused(&folder)? {
        StateFile::open(&folder, false)?;
    }
    let lock = take_lock(&folder)?;
    let state = if is_unused(&folder)? {
        make_state(&folder).map_err(|error| folder.refused(STATE, error))?
    } else {
        StateFile::open(&folder, true)?
    };
    contents::check_versions(&folder)?;
    let markers = Markers::new(&settings.marker_folders, state.state.store_id);
    let (continuity, contents) = continuity(&folder, &state, settings, &markers)?;
    let newest = contents.and_then(|contents| contents.snapshot).map(|snapshot| {
        let OpenFile { header, bytes, .. } = snapshot;
        (header.number, LastSnapshot { wall: header.at.wall, bytes })
    });
    let notices = tighten(&folder).map_err(|error| folder.refused("", error))?;
    remove_unfinished(&folder).map_err(|error| folder.refused("", error))?;
    Ok(OpenedDirectory { folder, lock, state, markers, continuity, newest, notices })
}

/// Opens what is at the path if it is a directory.
pub(super) fn open_folder(path: &Path, disk: Disk) -> Result<Folder, DirectoryError> {
    let system = |error| DirectoryError::System { path: path.to_owned(), error };
    let there = fs::metadata(path).map_err(system)?;
    if there.is_dir() {
        return Folder::open(path, disk).map_err(system);
    }
    let path = path.to_owned();
    // A device or a pipe would not end.
    let is_old = there.is_file() && is_old_store(&path).map_err(system)?;
    Err(if is_old { DirectoryError::OldStore { path } } else { DirectoryError::ForeignFile { path } })
}

/// Whether the file is the one SQLite file that a store was in earlier releases.
fn is_old_store(path: &Path) -> io::Result<bool> {
    let mut header = Vec::new();
    File::open(path)?.take(100).read_to_end(&mut header)?;
    Ok(header.starts_with(b"SQLite format 3\0") && header.get(68..72) == Some(b"coTU".as_slice()))
}

/// Whether no exporter has ever used the directory, and nobody else does.
pub(super) fn is_unused(folder: &Folder) -> Result<bool, DirectoryError> {
    let found = folder.list().map_err(|error| folder.refused("", error))?.names;
    if found.iter().any(|name| name == STATE) {
        return Ok(false);
    }
    // What a file system puts there, what a start leaves that was interrupted, and what an old store has become.
    let harmless = ["lost+found".to_owned(), LOCK.to_owned(), format!("{STATE}{UNFINISHED}")];
    if found.iter().all(|name| harmless.contains(name) || names::is_of_ledger(name)) {
        Ok(true)
    } else {
        Err(DirectoryError::Foreign { path: folder.path.clone() })
    }
}

fn take_lock(folder: &Folder) -> Result<File, DirectoryError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = rustix::fs::openat(&folder.handle, LOCK, flags, Mode::RUSR | Mode::WUSR);
    let lock = File::from(opened.map_err(|error| folder.refused(LOCK, error))?);
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DirectoryError::InUse { path: folder.path.clone() }),
        Err(error) => Err(folder.refused(LOCK, error)),
    }
}

fn make_state(folder: &Folder) -> io::Result<StateFile> {
    let state = DirectoryState {
        store_id: random()?,
        secret: random()?,
        boot: super::boot::BootId::from_bytes([0; 16]),
        lives: 0,
        stage: LifeStage::New,
        is_unsure: false,
        inode: 0,
        first_segment: 1,
        last_segment: 0,
    };
    StateFile::create(folder, state)
}

/// How the last life ended, and what it left if that is of use.
fn continuity(
    folder: &Folder,
    file: &StateFile,
    settings: &JournalSettings,
    markers: &Markers,
) -> Result<(Continuity, Option<Contents>), DirectoryError> {
    let state = &file.state;
    let unsure = |reason| Ok((Continuity::Unsure(reason), None));
    if state.is_unsure || markers.are_set() {
        return unsure(UnsureReason::Marked);
    }
    match state.stage {
        LifeStage::New => return Ok((Continuity::Fresh, None)),
        LifeStage::Running if !state.boot.is_same(settings.boot) => return unsure(UnsureReason::OtherBoot),
        LifeStage::Running => {
            let inode = file.inode().map_err(|error| folder.refused(STATE, error))?;
            if inode != state.inode {
                return unsure(UnsureReason::Copied);
            }
        }
        // A directory may be moved to another disk after a clean end.
        LifeStage::Ended(_) => {}
    }
    let contents = Contents::open(folder, state)?;
    let mut in_use = Vec::new();
    for segment in &contents.segments {
        if holds_batches(segment).map_err(|error| folder.refused(&segment.name, error))? {
            in_use.push(segment);
        }
    }
    if let LifeStage::Ended(_) = state.stage {
        return match in_use.first() {
            None => Ok((Continuity::Clean, Some(contents))),
            Some(segment) => Err(folder.damaged(&segment.name, HEADER_END, "it goes on behind a clean end")),
        };
    }
    let other = in_use.iter().map(|segment| segment.header.rules_version);
    match other.into_iter().find(|&found| found != settings.rules_version) {
        Some(found) => unsure(UnsureReason::OtherRules { found }),
        None => Ok((Continuity::Killed, Some(contents))),
    }
}

/// Whether a first batch was begun.
fn holds_batches(segment: &OpenFile) -> io::Result<bool> {
    let mut mark = [0; 4];
    match segment.file.read_at(&mut mark, HEADER_END)? {
        0 => Ok(false),
        _ => Ok(mark != [0; 4]),
    }
}

/// Takes the rights of others away. Where the directory belongs to somebody else (a volume that was mounted for us) that
/// may not be possible.
fn tighten(folder: &Folder) -> io::Result<Vec<OpenNotice>> {
    const OTHERS: u32 = 0o077;
    let mut notices = Vec::new();
    let mut note = |path, changed: Result<(), _>| match changed {
        Ok(()) => notices.push(OpenNotice::Tightened(path)),
        Err(_) => notices.push(OpenNotice::Loose(path)),
    };
    let mode = rustix::fs::fstat(&folder.handle)?.st_mode;
    if mode & OTHERS != 0 {
        let changed = rustix::fs::fchmod(&folder.handle, Mode::from_raw_mode(mode & 0o7700));
        note(folder.path.clone(), changed);
    }
    for name in folder.list()?.names.iter().filter(|name| names::is_ours(name)) {
        let mode = rustix::fs::statat(&folder.handle, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode;
        if FileType::from_raw_mode(mode) == FileType::RegularFile && mode & OTHERS != 0 {
            let mode = Mode::RUSR | Mode::WUSR;
            note(folder.file(name), rustix::fs::chmodat(&folder.handle, name, mode, AtFlags::empty()));
        }
    }
    Ok(notices)
}

/// Removes what an interrupted snapshot left.
fn remove_unfinished(folder: &Folder) -> io::Result<()> {
    for name in folder.list()?.names {
        if name.strip_suffix(UNFINISHED).is_some_and(|name| name == STATE || names::parse(name).is_some()) {
            folder.disk.remove(&folder.handle, &name)?;
        }
    }
    Ok(())
}
