//! The open directory. Its files are reached through its handle, so that nothing is made elsewhere when it is moved.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};

use super::disk::Disk;
use super::error::DirectoryError;
use super::names::{self, DIVERGED, Numbered};

/// An open directory.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) handle: File,
    pub(super) disk: Disk,
}

/// Files that the directory holds.
#[derive(Debug, Default)]
pub(super) struct FolderListing {
    pub(super) names: Vec<String>,
    /// Numbers of segments, ascending.
    pub(super) segments: Vec<u64>,
    /// Numbers of snapshots, ascending.
    pub(super) snapshots: Vec<u64>,
}

impl Folder {
    pub(super) fn open(path: &Path, disk: Disk) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty())?.into();
        Ok(Self { path: path.to_owned(), handle, disk })
    }

    /// A folder in it.
    pub(super) fn within(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = openat(&self.handle, name, flags, Mode::empty())?.into();
        Ok(Self { path: self.file(name), handle, disk: self.disk.clone() })
    }

    /// What is in it.
    pub(super) fn list(&self) -> io::Result<FolderListing> {
        let mut listing = FolderListing::default();
        for entry in Dir::read_from(&self.handle)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            match names::parse(&name) {
                Some(Numbered::Segment(number)) => listing.segments.push(number),
                Some(Numbered::Snapshot(number)) => listing.snapshots.push(number),
                None => {}
            }
            if name != "." && name != ".." {
                listing.names.push(name);
            }
        }
        listing.segments.sort_unstable();
        listing.snapshots.sort_unstable();
        Ok(listing)
    }

    pub(super) fn open_to_read(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(openat(&self.handle, name, flags, Mode::empty())?.into())
    }

    pub(super) fn open_to_write(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(openat(&self.handle, name, flags, Mode::empty())?.into())
    }

    /// The path of a file, for messages.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What the system says of a file.
    pub(super) fn refused(&self, name: &str, error: impl Into<io::Error>) -> DirectoryError {
        DirectoryError::System { path: self.file(name), error: error.into() }
    }

    /// A file that makes no sense.
    pub(super) fn damaged(&self, name: &str, offset: u64, what: &'static str) -> DirectoryError {
        DirectoryError::Damaged { file: self.file(name), offset, what }
    }

    /// Makes sure that names made and removed so far outlive a loss of power.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.disk.sync(&self.handle)
    }

    /// Whether the name is still that of this file.
    pub(super) fn is_at(&self, name: &str, file: &File) -> io::Result<bool> {
        let ours = file.metadata()?;
        match statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) => Ok((there.st_dev, there.st_ino) == (ours.dev(), ours.ino())),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Room on the disk that the files take, those of a journal that was put aside among them.
    pub(super) fn bytes(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for name in self.list()?.names {
            match statat(&self.handle, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(there) => {
                    bytes += u64::try_from(there.st_blocks).unwrap_or(0) * 512;
                    let is_folder = FileType::from_raw_mode(there.st_mode) == FileType::Directory;
                    if name == DIVERGED && is_folder {
                        bytes += self.within(&name)?.bytes()?;
                    }
                }
                // Removed meanwhile.
                Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(bytes)
    }
}
