//! Every change of the directory's files goes through here, so that the tests can let each of them fail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, fallocate, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

/// How much of the zeros that take the place of a reservation is written at once.
const ZEROS: usize = 1024 * 1024;

/// What changes files.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    pub(super) faults: super::tests::faults::Faults,
}

impl Disk {
    /// Makes a file that was not there.
    pub(super) fn create(&self, folder: &File, name: &str) -> io::Result<File> {
        self.may_grow()?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Makes room for so many bytes, which are zeros then.
    pub(super) fn reserve(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.may_grow()?;
        loop {
            match fallocate(file, FallocateFlags::empty(), 0, bytes) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                // The file system cannot.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return write_zeros(file, bytes),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes where room was reserved.
    pub(super) fn write_reserved(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_may_tear(file, bytes, offset)?;
        file.write_all_at(bytes, offset)
    }

    /// Writes where none was.
    pub(super) fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.may_grow()?;
        file.write_all_at(bytes, offset)
    }

    pub(super) fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.may_change()?;
        file.set_len(bytes)
    }

    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        self.may_change()?;
        file.sync_all()
    }

    pub(super) fn rename(&self, folder: &File, from: &str, to: &str) -> io::Result<()> {
        self.may_change()?;
        Ok(renameat(folder, from, folder, to)?)
    }

    /// Gives a file the same name in another folder of the file system.
    pub(super) fn rename_into(&self, folder: &File, other: &File, name: &str) -> io::Result<()> {
        self.may_change()?;
        Ok(renameat(folder, name, other, name)?)
    }

    /// Makes a folder that is ours alone; one that is there is fine.
    pub(super) fn create_folder(&self, folder: &File, name: &str) -> io::Result<()> {
        self.may_grow()?;
        match mkdirat(folder, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a file; one that is not there is fine.
    pub(super) fn remove(&self, folder: &File, name: &str) -> io::Result<()> {
        self.may_change()?;
        match unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the tests have faults here")]
    const fn may_change(&self) -> io::Result<()> {
        Ok(())
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the tests have faults here")]
    const fn may_grow(&self) -> io::Result<()> {
        Ok(())
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the tests have faults here")]
    const fn write_may_tear(&self, _: &File, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn may_change(&self) -> io::Result<()> {
        self.faults.step(false)
    }

    #[cfg(test)]
    fn may_grow(&self) -> io::Result<()> {
        self.faults.step(true)
    }

    /// A fault may let a part of the bytes through.
    #[cfg(test)]
    fn write_may_tear(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.faults.step(false).inspect_err(|_| {
            let most = self.faults.torn_bytes().min(bytes.len());
            file.write_all_at(&bytes[..most], offset).unwrap();
        })
    }
}

fn write_zeros(file: &File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS];
    let mut at = 0;
    while at < bytes {
        let length = usize::try_from(bytes - at).unwrap_or(ZEROS).min(ZEROS);
        file.write_all_at(zeros.get(..length).unwrap_or_default(), at)?;
        at += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_room_cannot_be_reserved_zeros_are_written() {
        let path = std::env::temp_dir().join(format!("coturn-exporter-{}-zeros", std::process::id()));
        let file = File::create(&path).unwrap();
        let bytes = ZEROS as u64 * 2 + 5;
        write_zeros(&file, bytes).unwrap();
        let written = std::fs::read(&path).unwrap();
        assert!(written.len() as u64 == bytes && written.iter().all(|&byte| byte == 0));
        std::fs::remove_file(&path).unwrap();
    }
}
