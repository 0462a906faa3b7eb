//! Reads files and remembers which they were.

use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The longest file that is read, in bytes: a bundle of all CAs of a system takes a fifth of it.
const LONGEST: u64 = 1 << 20;

/// Reads files for one value.
#[derive(Debug, Default)]
pub struct FileReader {
    read: Vec<FileRead>,
    is_again: bool,
}

/// A file as it was when it was read.
#[derive(Debug)]
pub(super) struct FileRead {
    pub(super) path: PathBuf,
    stamp: Option<FileStamp>,
    /// Of what it holds; `None` where it could not be read.
    pub(super) digest: Option<u64>,
}

/// What changes with a file: which one it is, its length, and when it was written or its rights were set.
#[derive(Debug, PartialEq, Eq)]
struct FileStamp {
    numbers: [u64; 3],
    times: [i64; 4],
}

impl FileReader {
    /// One that reads what was read before.
    pub(super) fn again() -> Self {
        Self { is_again: true, ..Self::default() }
    }

    /// What a file holds; it is looked after from now on, also where it cannot be read.
    ///
    /// # Errors
    ///
    /// What the system says; a file of more than 1 MiB.
    pub fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        // Before it is read: a change in between is seen the next time.
        let stamp = FileStamp::of(path);
        let bytes = if self.is_again { read_again(path) } else { read(path) };
        let digest = bytes.as_ref().ok().map(|bytes| {
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            hasher.finish()
        });
        self.read.push(FileRead { path: path.to_owned(), stamp, digest });
        bytes
    }

    pub(super) fn into_read(self) -> Vec<FileRead> {
        self.read
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 1 MiB"));
    }
    Ok(bytes)
}

/// A pipe has been read to its end the first time, and opening it would wait for somebody to write.
fn read_again(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.is_file() {
        return read(path);
    }
    Err(io::Error::other("it is no regular file, and can be read only once"))
}

impl FileRead {
    /// Whether it is another now, by what the system says of it.
    pub(super) fn is_touched(&self) -> bool {
        FileStamp::of(&self.path) != self.stamp
    }
}

impl FileStamp {
    fn of(path: &Path) -> Option<Self> {
        let of = |file: Metadata| Self {
            numbers: [file.dev(), file.ino(), file.size()],
            times: [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()],
        };
        fs::metadata(path).ok().map(of)
    }
}
