//! The folder for a journal that does not give the table that it was written for: whoever mends that needs the files. It
//! holds one; the next takes its place.

use std::io;

use super::contents::Contents;
use super::folder::Folder;
use super::names::{self, DIVERGED};
use super::state_file::{DirectoryState, StateFile};

/// Makes the folder, with the state that goes with the files to come, and without those of an earlier one.
pub(super) fn begin(folder: &Folder, state: DirectoryState) -> io::Result<Folder> {
    folder.disk.create_folder(&folder.handle, DIVERGED)?;
    let kept = folder.within(DIVERGED)?;
    for name in kept.list()?.names.iter().filter(|name| names::is_ours(name)) {
        kept.disk.remove(&kept.handle, name)?;
    }
    StateFile::create(&kept, state)?;
    Ok(kept)
}

/// Moves the files there.
pub(super) fn take(folder: &Folder, kept: &Folder, contents: &Contents) -> io::Result<()> {
    for file in contents.snapshot.iter().chain(&contents.segments) {
        folder.disk.rename_into(&folder.handle, &kept.handle, &file.name)?;
    }
    kept.sync()?;
    folder.sync()
}
