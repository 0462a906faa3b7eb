//! Marks outside of the directory, for when it cannot be written: they live as long as the boot, and another boot without
//! a clean end is unsure anyway.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use rustix::fs::OFlags;

/// Where the marks of one store are.
#[derive(Debug)]
pub(super) struct Markers {
    files: Vec<PathBuf>,
}

impl Markers {
    /// The store's id is random, so nobody else can make a mark in a folder that all may write.
    pub(super) fn new(folders: &[PathBuf], store_id: [u8; 16]) -> Self {
        let id = u128::from_be_bytes(store_id);
        let name = format!("coturn-exporter-unsure-{id:032x}");
        Self { files: folders.iter().map(|folder| folder.join(&name)).collect() }
    }

    /// Whether any is set.
    pub(super) fn are_set(&self) -> bool {
        self.files.iter().any(|file| fs::symlink_metadata(file).is_ok())
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
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => is_set = true,
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
}
