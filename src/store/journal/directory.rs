//! The open directory of a running exporter: what it holds, what is marked, what has become of it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::boundary::Boundary;
use super::contents::Contents;
use super::continuity::Continuity;
use super::disk::Disk;
use super::diverged;
use super::error::{DirectoryError, DirectoryTrouble};
use super::folder::Folder;
use super::markers::Markers;
use super::names;
use super::opening::{self, OpenNotice, OpenedDirectory};
use super::reader::BatchReader;
use super::settings::JournalSettings;
use super::snapshot_file::{SnapshotReader, SnapshotWriter};
use super::state_file::{DirectoryState, LifeStage, StateFile};
use super::tally::{JournalTally, LastSnapshot};

/// A directory that is ours alone while a handle of it lives. Handles are cheap to clone and can be used by several
/// threads at once.
#[derive(Clone, Debug)]
pub struct Directory {
    shared: Arc<DirectoryParts>,
}

#[derive(Debug)]
struct DirectoryParts {
    folder: Arc<Folder>,
    lock: Arc<File>,
    settings: JournalSettings,
    /// As the last life left it.
    found: DirectoryState,
    continuity: Continuity,
    state: Mutex<StateFile>,
    markers: Markers,
    tally: Arc<JournalTally>,
    /// The segment that is written, with its name.
    written: Mutex<Option<(String, Arc<File>)>>,
}

impl Directory {
    /// Opens the directory, or makes it.
    ///
    /// # Errors
    ///
    /// Whatever is there and no store of ours, newer, damaged or in use; it stays as it is.
    pub fn open(path: &Path, settings: JournalSettings) -> Result<(Self, Vec<OpenNotice>), DirectoryError> {
        Self::open_on(path, settings, Disk::default())
    }

    pub(super) fn open_on(
        path: &Path,
        settings: JournalSettings,
        disk: Disk,
    ) -> Result<(Self, Vec<OpenNotice>), DirectoryError> {
        let OpenedDirectory { folder, lock, state, markers, continuity, newest, notices } =
            opening::open(path, &settings, disk)?;
        let tally = Arc::new(JournalTally::default());
        tally.set(newest, 0);
        let shared = DirectoryParts {
            folder: Arc::new(folder),
            lock: Arc::new(lock),
            settings,
            found: state.state,
            continuity,
            state: Mutex::new(state),
            markers,
            tally,
            written: Mutex::new(None),
        };
        Ok((Self { shared: Arc::new(shared) }, notices))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.shared.folder.path
    }

    /// How the last life ended, as it was found by [`Directory::open`].
    pub fn continuity(&self) -> Continuity {
        self.shared.continuity
    }

    /// Whether the last life was in the present boot.
    pub fn is_same_boot(&self) -> bool {
        self.shared.found.boot.is_same(self.shared.settings.boot)
    }

    /// A random number that was made with the store and never changes; not for others.
    pub fn secret(&self) -> [u8; 16] {
        self.shared.found.secret
    }

    /// The newest snapshot, block by block; `None` before the first.
    ///
    /// # Errors
    ///
    /// A damaged or newer file, or what the system says.
    pub fn snapshot(&self) -> Result<Option<SnapshotReader>, DirectoryError> {
        let contents = self.contents()?;
        Ok(contents.snapshot.map(|snapshot| SnapshotReader::new(self.path(), snapshot)))
    }

    /// The batches behind the newest snapshot.
    ///
    /// # Errors
    ///
    /// A damaged, newer or missing file, or what the system says.
    pub fn batches(&self) -> Result<BatchReader, DirectoryError> {
        Ok(BatchReader::new(self.path(), self.contents()?))
    }

    fn contents(&self) -> Result<Contents, DirectoryError> {
        Contents::open(&self.shared.folder, &self.shared.found)
    }

    /// Begins a snapshot of what the table is at this boundary, under a temporary name.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn snapshot_writer(&self, boundary: &Boundary) -> io::Result<SnapshotWriter> {
        let DirectoryParts { folder, tally, lock, .. } = &*self.shared;
        SnapshotWriter::create(folder.clone(), tally.clone(), lock.clone(), boundary.clone())
    }

    /// Notes that the life ends with the committed snapshot of this boundary: nothing was answered that it does not hold.
    /// Removes an unsure mark. Synced.
    ///
    /// # Errors
    ///
    /// What the system says, or that the boundary is not that of a closed journal and of the newest snapshot; the next life
    /// then takes this one as killed.
    pub fn mark_clean(&self, boundary: &Boundary) -> io::Result<()> {
        let number = boundary.header.number;
        let is_committed = self.shared.tally.newest().is_some_and(|(newest, _)| newest == number);
        if !is_committed || !boundary.is_last {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut file = self.lock_state();
        let state = DirectoryState {
            stage: LifeStage::Ended(number),
            is_unsure: false,
            boot: self.shared.settings.boot,
            lives: self.life(),
            ..file.state
        };
        file.write(self.disk(), state, true)?;
        self.shared.markers.remove();
        Ok(())
    }

    /// Notes that from now on something may be answered that the files do not hold: in the state file, and for the case
    /// that it does not reach the disk or that the directory is put back from a copy, in the marker folders.
    ///
    /// # Errors
    ///
    /// No mark could be made that the next life will find.
    pub fn mark_unsure(&self) -> io::Result<()> {
        let mut file = self.lock_state();
        // The marker folders do not outlive a boot, after which only a life that has begun is unsure without a mark.
        let is_begun = file.synced.stage == LifeStage::Running;
        let is_marked = file.state.is_unsure && (is_begun || file.synced.is_unsure);
        let within = if is_marked {
            Ok(())
        } else {
            let state = DirectoryState { is_unsure: true, ..file.state };
            file.write(self.disk(), state, !is_begun)
        };
        drop(file);
        let outside = self.shared.markers.set();
        if is_begun { within.or(outside) } else { within }
    }

    /// As [`Directory::mark_unsure`], in the marker folders only: does not touch the directory, whose disk may hang, and
    /// waits for nobody.
    ///
    /// # Errors
    ///
    /// No mark could be made anywhere.
    pub fn mark_unsure_outside(&self) -> io::Result<()> {
        self.shared.markers.set()
    }

    /// Takes an unsure mark back, when a snapshot was committed whose boundary lies behind the last uncovered answer, and
    /// everything since is in the journal.
    ///
    /// # Errors
    ///
    /// What the system says; the mark may still be there.
    pub fn mark_sure(&self) -> io::Result<()> {
        let mut file = self.lock_state();
        let state = DirectoryState { is_unsure: false, ..file.state };
        file.write(self.disk(), state, true)?;
        self.shared.markers.remove();
        Ok(())
    }

    /// Puts the snapshot and the journal behind it aside, for they do not give the table that they were written for; gives
    /// the folder, which takes the place of an earlier one. What must follow is [`Journal::start_over`](super::Journal).
    ///
    /// # Errors
    ///
    /// What the system says; some of the files may be in the folder, the others go when it is started over.
    pub fn put_aside(&self) -> io::Result<PathBuf> {
        let contents = self.contents().map_err(io::Error::other)?;
        let folder = self.folder();
        let kept = diverged::begin(folder, self.shared.found)?;
        self.begin_anew()?;
        diverged::take(folder, &kept, &contents)?;
        Ok(kept.path)
    }

    /// Looks whether the directory is still at its path, and still ours. Blocks as long as its disk hangs.
    ///
    /// # Errors
    ///
    /// What has happened to it.
    pub fn check(&self) -> Result<(), DirectoryTrouble> {
        let folder = &*self.shared.folder;
        let there = fs::metadata(&folder.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => DirectoryTrouble::Gone,
            _ => DirectoryTrouble::Unreadable,
        })?;
        let ours = folder.handle.metadata().map_err(|_| DirectoryTrouble::Unreadable)?;
        if (there.dev(), there.ino()) != (ours.dev(), ours.ino()) {
            return Err(DirectoryTrouble::Replaced);
        }
        let written = self.lock_written().clone();
        let is_written = written.is_none_or(|(name, file)| folder.is_at(&name, &file).unwrap_or(false));
        let is_state = self.lock_state().is_in(folder).unwrap_or(false);
        let is_lock = folder.is_at(names::LOCK, &self.shared.lock).unwrap_or(false);
        let looks = [(names::STATE, is_state), (names::LOCK, is_lock), ("journal", is_written)];
        match looks.into_iter().find(|(_, is_there)| !is_there) {
            Some((name, _)) => Err(DirectoryTrouble::FileGone(name)),
            None => Ok(()),
        }
    }

    /// Room that all files in the directory take on the disk, the ledger's among them.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn bytes(&self) -> io::Result<u64> {
        self.shared.folder.bytes()
    }

    /// The newest complete snapshot.
    pub fn last_snapshot(&self) -> Option<LastSnapshot> {
        self.shared.tally.newest().map(|(_, snapshot)| snapshot)
    }

    /// Bytes of batches behind the newest complete snapshot.
    pub fn journal_bytes(&self) -> u64 {
        self.shared.tally.behind()
    }

    /// Which life of the store the present process is.
    pub(super) fn life(&self) -> u64 {
        self.shared.found.lives + 1
    }

    pub(super) fn found(&self) -> &DirectoryState {
        &self.shared.found
    }

    pub(super) fn settings(&self) -> &JournalSettings {
        &self.shared.settings
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.shared.folder
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.shared.folder.disk
    }

    pub(super) fn tally(&self) -> &JournalTally {
        &self.shared.tally
    }

    /// Notes which segment is written; `None` after the last.
    pub(super) fn set_written(&self, written: Option<(u64, Arc<File>)>) {
        *self.lock_written() = written.clone().map(|(number, file)| (names::segment(number), file));
        let mut file = self.lock_state();
        if let (Some((last_segment, _)), LifeStage::Running) = (written, file.state.stage) {
            let state = DirectoryState { last_segment, ..file.state };
            // It is for noticing that somebody has removed the segment.
            let _ = file.write(self.disk(), state, false);
        }
    }

    /// Notes that what was there is void. Synced: from now on files may go.
    pub(super) fn begin_anew(&self) -> io::Result<()> {
        let mut file = self.lock_state();
        let state = DirectoryState { is_unsure: true, ..file.state };
        file.write(self.disk(), state, true)
    }

    /// Notes that this process has begun with this segment; `anew` if there is nothing before it. Synced: nothing may be
    /// appended before, for a loss of power would leave a clean end with batches behind it.
    pub(super) fn begin_life(&self, segment: u64, anew: bool, is_sure: bool) -> io::Result<()> {
        let mut file = self.lock_state();
        let old = file.state;
        let state = DirectoryState {
            boot: self.shared.settings.boot,
            lives: self.life(),
            stage: LifeStage::Running,
            is_unsure: old.is_unsure && !is_sure,
            inode: file.inode()?,
            first_segment: if anew { segment } else { old.first_segment },
            last_segment: segment,
            ..old
        };
        file.write(self.disk(), state, true)?;
        if is_sure {
            self.shared.markers.remove();
        }
        Ok(())
    }

    fn lock_state(&self) -> MutexGuard<'_, StateFile> {
        // Each write leaves the file and what is remembered of it in step.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_written(&self) -> MutexGuard<'_, Option<(String, Arc<File>)>> {
        self.shared.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
