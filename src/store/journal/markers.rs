//! Marks outside of the directory, for when it cannot be written: they live as long as the boot, and another boot without
//! a clean end is unsure anyway.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Where the marks of one store are.
#[derive(Debug)]
pub(super) struct Markers {
    files: Vec<PathBuf>,
    /// Who runs this process.
    user: u32,
}

impl Markers {
    /// The store's id is random, so that stores do not share marks.
    pub(super) fn new(folders: &[PathBuf], store_id: [u8; 16]) -> Self {
        let id = u128::from_be_bytes(store_id);
        let name = format!("coturn-exporter-unsure-{id:032x}");
        let files = folders.iter().map(|folder| folder.join(&name)).collect();
        Self { files, user: rustix::process::geteuid().as_raw() }
    }

    /// Whether any is set, by this user or root. All may write in these folders and read the name of one that was there;
    /// and this user could not remove what another one has made.
    pub(super) fn are_set(&self) -> bool {
        self.files.iter().any(|file| self.counts(file))
    }

    /// Sets all that can be set.
    ///
    /// # Errors
    ///
    /// None could.
    pub(super) fn set(&self) -> io::Result<()> {
        let mut is_set = false;
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for file in &self.files {
            let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
            let mut options = OpenOptions::new();
            match options.write(true).create_new(true).mode(0o600).custom_flags(nofollow).open(file) {
                Ok(_) => is_set = true,
                Err(_) if self.counts(file) => is_set = true,
                Err(error) => failed = error,
            }
        }
        if is_set { Ok(()) } else { Err(failed) }
    }

    /// Removes them.
    pub(super) fn remove(&self) {
        for file in &self.files {
            // One that stays makes the next life unsure: counters from 0, nothing wrong.
            let _ = fs::remove_file(file);
        }
    }

    fn counts(&self, file: &Path) -> bool {
        fs::symlink_metadata(file).is_ok_and(|found| [self.user, 0].contains(&found.uid()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_user_is_no_mark_and_may_be_in_the_way_of_one() {
        let folder = std::env::temp_dir().join(format!("coturn-exporter-markers-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir(&folder).unwrap();
        let ours = Markers::new(std::slice::from_ref(&folder), [7; 16]);
        ours.set().unwrap();
        assert!(ours.are_set());
        // Root's count for everybody.
        let owner = if ours.user == 0 { 65_534 } else { ours.user };
        std::os::unix::fs::chown(&ours.files[0], Some(owner), None).unwrap();
        let others = Markers { user: owner + 1, ..ours };
        assert!(!others.are_set());
        others.set().unwrap_err();
        fs::remove_dir_all(&folder).unwrap();
    }
}
