//! Values that are read from files, and read again when those change: passwords, certificates, the web config file.
//!
//! Logs nothing and waits for nothing: whoever holds a [`Reload`] looks after it from time to time and says what came of it.

mod files;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use files::FileRead;
pub use files::FileReader;

/// What came of looking after files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reread {
    /// They were not read: nothing has touched them.
    Untouched,
    /// They say the same as before.
    Same,
    /// What they say now is in use.
    Changed {
        /// Those that changed; empty where files that could not be used have become what they were before.
        files: Vec<PathBuf>,
    },
    /// They cannot be used: what they said before stays in use.
    Failed {
        /// Why.
        problem: String,
        /// Whether it is another problem than the last time.
        is_new: bool,
    },
}

/// A value from files; clones share it.
pub struct Reloaded<T> {
    shared: Arc<ReloadedValue<T>>,
}

type ReadFiles<T> = dyn Fn(&mut FileReader, Option<&T>) -> Result<T, String> + Send + Sync;

struct ReloadedValue<T> {
    flag: &'static str,
    read: Box<ReadFiles<T>>,
    current: RwLock<Arc<T>>,
    state: Mutex<ReloadState>,
}

/// What is known of the files.
struct ReloadState {
    /// Those that the value in use was made from.
    used: Vec<FileRead>,
    /// Those that were read last, if they could not be used, and what is wrong with them.
    failed: Option<(Vec<FileRead>, String)>,
}

impl<T> Reloaded<T> {
    /// Reads the value for the first time. `read` gets the value in use, if there is one.
    ///
    /// # Errors
    ///
    /// What `read` says.
    pub fn new<E: fmt::Display>(
        flag: &'static str,
        read: impl Fn(&mut FileReader, Option<&T>) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        let mut files = FileReader::default();
        let value = read(&mut files, None)?;
        let read = move |files: &mut FileReader, used: Option<&T>| {
            read(files, used).map_err(|error| error.to_string())
        };
        let state = ReloadState { used: files.into_read(), failed: None };
        let shared = ReloadedValue {
            flag,
            read: Box::new(read),
            current: RwLock::new(Arc::new(value)),
            state: Mutex::new(state),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The value in use.
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.shared.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Files that the value in use was made from.
    pub fn files(&self) -> Vec<PathBuf> {
        self.shared.state().used.iter().map(|file| file.path.clone()).collect()
    }
}

impl<T> ReloadedValue<T> {
    fn state(&self) -> MutexGuard<'_, ReloadState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Files that can be read again.
pub trait Reload: Send + Sync {
    /// The flag that names them.
    fn flag(&self) -> &'static str;

    /// Reads them if they have changed since they were read last, or in `any_case`.
    fn reload(&self, any_case: bool) -> Reread;
}

impl<T: Send + Sync> Reload for Reloaded<T> {
    fn flag(&self) -> &'static str {
        self.shared.flag
    }

    fn reload(&self, any_case: bool) -> Reread {
        let mut state = self.shared.state();
        if !any_case && !state.is_touched() {
            return Reread::Untouched;
        }
        let mut files = FileReader::again();
        let value = (self.shared.read)(&mut files, Some(&self.current()));
        let read = files.into_read();
        match value {
            Ok(value) => {
                let changed = changed(&state.used, &read);
                let was_failed = state.failed.take().is_some();
                state.used = read;
                if changed.is_empty() && !was_failed {
                    return Reread::Same;
                }
                *self.shared.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                Reread::Changed { files: changed }
            }
            Err(problem) => {
                let is_new = state.failed.as_ref().is_none_or(|(_, last)| *last != problem);
                state.failed = Some((read, problem.clone()));
                Reread::Failed { problem, is_new }
            }
        }
    }
}

impl ReloadState {
    /// Whether any of the files is another than when it was read last.
    fn is_touched(&self) -> bool {
        let last = self.failed.as_ref().map_or(&self.used, |(read, _)| read);
        // Where a file could not be used, those that came behind it were not read.
        let others = self.used.iter().filter(|file| !last.iter().any(|read| read.path == file.path));
        last.iter().any(FileRead::is_touched)
            || (self.failed.is_some() && others.into_iter().any(FileRead::is_touched))
    }
}

/// The files that say something else now, or were not read before.
fn changed(before: &[FileRead], now: &[FileRead]) -> Vec<PathBuf> {
    let is_same =
        |file: &FileRead| before.iter().any(|old| old.path == file.path && old.digest == file.digest);
    now.iter().filter(|file| !is_same(file)).map(|file| file.path.clone()).collect()
}

impl<T> Clone for Reloaded<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for Reloaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloaded").field("flag", &self.shared.flag).finish_non_exhaustive()
    }
}

impl<T> PartialEq for Reloaded<T> {
    /// Whether both are clones of one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Eq for Reloaded<T> {}

/// The folder that paths in a file are relative to.
pub fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("coturn-exporter-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn put(&self, name: &str, text: &str) -> PathBuf {
            // As it should be done: by a rename.
            let (path, next) = (self.0.join(name), self.0.join("next"));
            fs::write(&next, text).unwrap();
            fs::rename(next, &path).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// The first file names the second; the value is what that holds, and a number.
    fn number(first: PathBuf) -> Result<Reloaded<u32>, String> {
        Reloaded::new("--test", move |files, _| {
            let text = |bytes: std::io::Result<Vec<u8>>| bytes.map(|bytes| String::from_utf8(bytes).unwrap());
            let second = text(files.read(&first)).map_err(|error| error.to_string())?;
            let second = folder_of(&first).join(second.trim());
            let number = text(files.read(&second)).map_err(|error| error.to_string())?;
            number.trim().parse().map_err(|_| format!("{number:?} is no number"))
        })
    }

    #[test]
    fn a_change_is_seen_and_what_cannot_be_used_changes_nothing() {
        let folder = Folder::new("reload");
        let second = folder.put("b", "1");
        let first = folder.put("a", "b");
        let value = number(first.clone()).unwrap();
        assert_eq!((value.reload(false), *value.current()), (Reread::Untouched, 1));
        assert_eq!(value.reload(true), Reread::Same);
        folder.put("b", "1");
        assert_eq!(value.reload(false), Reread::Same, "another file that says the same");
        folder.put("b", "2");
        assert_eq!(value.reload(false), Reread::Changed { files: vec![second] });
        assert_eq!(*value.current(), 2);

        folder.put("b", "x");
        let failed = |is_new| Reread::Failed { problem: "\"x\" is no number".to_owned(), is_new };
        assert_eq!(value.reload(false), failed(true));
        assert_eq!((value.reload(false), *value.current()), (Reread::Untouched, 2), "once, not each time");
        assert_eq!(value.reload(true), failed(false));
        folder.put("b", "2");
        assert_eq!(value.reload(false), Reread::Changed { files: vec![] }, "as it was before");
        let third = folder.put("c", "3");
        folder.put("a", "c");
        assert_eq!(value.reload(false), Reread::Changed { files: vec![first, third] });
        assert_eq!(value.files().len(), 2);
        folder.put("b", "4");
        assert_eq!(value.reload(false), Reread::Untouched, "nobody reads that one any more");
    }

    #[test]
    fn a_pipe_is_read_once() {
        let folder = Folder::new("reload-pipe");
        folder.put("b", "1");
        let pipe = folder.0.join("a");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .unwrap();
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::write(pipe, "b").unwrap()
        });
        let value = number(pipe).unwrap();
        writer.join().unwrap();
        let Reread::Failed { problem, .. } = value.reload(true) else { panic!("it was read again") };
        assert!(problem.contains("only once"), "{problem}");
        assert_eq!(*value.current(), 1);
    }

    #[test]
    fn a_file_that_is_missing_is_waited_for_and_so_are_those_behind_it() {
        let folder = Folder::new("reload-missing");
        let first = folder.put("a", "b");
        assert!(number(first.clone()).unwrap_err().contains("No such file"));
        let second = folder.put("b", "1");
        let value = number(first).unwrap();
        fs::remove_file(&second).unwrap();
        assert!(matches!(value.reload(false), Reread::Failed { is_new: true, .. }));
        assert_eq!((value.reload(false), *value.current()), (Reread::Untouched, 1));
        folder.put("b", "5");
        assert_eq!(value.reload(false), Reread::Changed { files: vec![second] });
        fs::remove_file(folder.0.join("a")).unwrap();
        assert!(matches!(value.reload(false), Reread::Failed { is_new: true, .. }));
        folder.put("a", "b");
        assert_eq!((value.reload(false), *value.current()), (Reread::Changed { files: vec![] }, 5));
    }
}
