//! The marks that say, to the next process, that somebody may have been answered more than what the store holds. Set before
//! the first such answer, within a bounded time: a disk that hangs must not hold the page.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::store::journal::Directory;

/// Where marks are made.
pub(super) trait MarkFiles: Send + Sync + 'static {
    /// In the directory, and outside of it.
    fn set(&self) -> io::Result<()>;

    /// Outside of the directory only.
    fn set_outside(&self) -> io::Result<()>;

    /// Takes all of them back.
    fn remove(&self) -> io::Result<()>;
}

impl MarkFiles for Directory {
    fn set(&self) -> io::Result<()> {
        self.mark_unsure()
    }

    fn set_outside(&self) -> io::Result<()> {
        self.mark_unsure_outside()
    }

    fn remove(&self) -> io::Result<()> {
        self.mark_sure()
    }
}

/// The marks, and who is about to change them. Clones share them.
#[derive(Clone)]
pub(super) struct UnsureMarks {
    parts: Arc<MarkParts>,
}

impl std::fmt::Debug for UnsureMarks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnsureMarks").finish_non_exhaustive()
    }
}

struct MarkParts {
    files: Box<dyn MarkFiles>,
    state: Mutex<MarkState>,
    changed: Condvar,
}

/// What is being done about all marks, beside the threads of [`UnsureMarks::ensure`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum MarkWork {
    #[default]
    Nothing,
    /// [`UnsureMarks::set`] is at it.
    Setting,
    Removing,
    /// The store is closed: none is set any more.
    Ended,
}

#[derive(Debug, Default)]
struct MarkState {
    is_set: bool,
    /// They could not be taken back, so that the next process may find one.
    is_left: bool,
    /// Threads that are setting them for [`UnsureMarks::ensure`].
    setting: u8,
    work: MarkWork,
    /// One outside of the directory is of use: the store has begun, so that another boot is unsure without it.
    counts_outside: bool,
}

impl UnsureMarks {
    /// None is set yet. `counts_outside`: the life of the store has begun.
    pub(super) fn new(files: impl MarkFiles, counts_outside: bool) -> Self {
        let state = Mutex::new(MarkState { counts_outside, ..MarkState::default() });
        Self { parts: Arc::new(MarkParts { files: Box::new(files), state, changed: Condvar::new() }) }
    }

    /// Sets a mark, or finds one set; false if that does not succeed in this time.
    pub(super) fn ensure(&self, patience: Duration) -> bool {
        let is_removed = |state: &mut MarkState| state.work == MarkWork::Removing;
        let waited = self.parts.changed.wait_timeout_while(self.state(), patience, is_removed);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.work {
            MarkWork::Removing => return false,
            MarkWork::Ended => return state.is_set,
            MarkWork::Nothing | MarkWork::Setting => {}
        }
        if !state.is_set && state.setting == 0 {
            let counts_outside = state.counts_outside;
            self.set_on_a_thread(&mut state, MarkFiles::set, true);
            self.set_on_a_thread(&mut state, MarkFiles::set_outside, counts_outside);
        }
        let is_open = |state: &mut MarkState| !state.is_set && state.setting > 0;
        let waited = self.parts.changed.wait_timeout_while(state, patience, is_open);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_set
    }

    fn set_on_a_thread(
        &self,
        state: &mut MarkState,
        set: fn(&dyn MarkFiles) -> io::Result<()>,
        counts: bool,
    ) {
        let marks = self.clone();
        let work = move || {
            let is_set = set(&*marks.parts.files).is_ok() && counts;
            let mut state = marks.state();
            state.setting -= 1;
            state.is_set |= is_set;
            drop(state);
            marks.parts.changed.notify_all();
        };
        if std::thread::Builder::new().name("unsure mark".to_owned()).spawn(work).is_ok() {
            state.setting += 1;
        }
    }

    /// Sets a mark in the directory, however long that takes.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn set(&self) -> io::Result<()> {
        {
            let mut state = self.state();
            if state.work == MarkWork::Ended {
                return Err(io::Error::other("the store is closed"));
            }
            state.work = MarkWork::Setting;
        }
        let set = self.parts.files.set();
        let mut state = self.state();
        state.work = MarkWork::Nothing;
        if set.is_ok() {
            (state.is_set, state.counts_outside) = (true, true);
        }
        drop(state);
        self.parts.changed.notify_all();
        set
    }

    /// Takes the marks back, if `is_sure` still; false if it is not, or if they are being set. Blocks as long as the disk
    /// does; whoever wants to set one meanwhile waits, as long as their patience goes.
    ///
    /// # Errors
    ///
    /// What the system says; they may still be there.
    pub(super) fn remove(&self, is_sure: impl FnOnce() -> bool) -> io::Result<bool> {
        {
            let mut state = self.state();
            if state.setting > 0 || state.work == MarkWork::Ended || !is_sure() {
                return Ok(false);
            }
            state.work = MarkWork::Removing;
        }
        let removed = self.parts.files.remove();
        // What is there then is not known.
        let is_set = removed.is_err() && self.parts.files.set().is_ok();
        let mut state = self.state();
        (state.work, state.is_set, state.is_left) = (MarkWork::Nothing, is_set, removed.is_err());
        drop(state);
        self.parts.changed.notify_all();
        removed.map(|()| true)
    }

    /// The end of the store, which takes them back as well: waits until nobody changes them, and none is set after that.
    ///
    /// # Errors
    ///
    /// Those of `end`; they are still there then.
    pub(super) fn end(&self, end: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let is_changed = |state: &mut MarkState| state.setting > 0 || state.work != MarkWork::Nothing;
        let waited = self.parts.changed.wait_while(self.state(), is_changed);
        waited.unwrap_or_else(PoisonError::into_inner).work = MarkWork::Ended;
        end()?;
        let mut state = self.state();
        (state.is_set, state.is_left) = (false, false);
        Ok(())
    }

    /// Whether one is set.
    pub(super) fn are_set(&self) -> bool {
        self.state().is_set
    }

    /// Whether the next process may find one.
    pub(super) fn may_be_found(&self) -> bool {
        let state = self.state();
        state.is_set || state.is_left
    }

    fn state(&self) -> MutexGuard<'_, MarkState> {
        // Nothing in here panics.
        self.parts.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc::{Receiver, channel};

    const PATIENCE: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(1);

    /// Each call waits for a word.
    type Words = Mutex<Receiver<io::Result<()>>>;

    #[derive(Default)]
    struct Files {
        /// Each call within the directory waits for a word; without a channel it succeeds at once.
        within: Option<Words>,
        outside_fails: bool,
        /// The same of each removal.
        removal: Option<Words>,
        removals: Arc<AtomicU32>,
    }

    impl MarkFiles for Files {
        fn set(&self) -> io::Result<()> {
            self.within.as_ref().map_or(Ok(()), |word| word.lock().unwrap().recv().unwrap())
        }

        fn set_outside(&self) -> io::Result<()> {
            if self.outside_fails { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
        }

        fn remove(&self) -> io::Result<()> {
            self.removals.fetch_add(1, Ordering::SeqCst);
            self.removal.as_ref().map_or(Ok(()), |word| word.lock().unwrap().recv().unwrap())
        }
    }

    /// A thread that sets one may not have come to its end.
    fn remove_at_last(marks: &UnsureMarks) {
        while !marks.remove(|| true).unwrap() {}
    }

    #[test]
    fn one_mark_is_enough_and_a_disk_that_hangs_holds_nobody() {
        let (word, within) = channel();
        let within = Some(Mutex::new(within));
        let marks = UnsureMarks::new(Files { within, ..Files::default() }, true);
        assert!(marks.ensure(PATIENCE), "the one outside");
        assert!(!marks.remove(|| true).unwrap(), "not while one is being set");
        word.send(Ok(())).unwrap();
        remove_at_last(&marks);
        assert!(!marks.are_set());
    }

    #[test]
    fn before_the_life_begins_a_mark_outside_is_not_enough() {
        let (word, within) = channel();
        let marks = UnsureMarks::new(Files { within: Some(Mutex::new(within)), ..Files::default() }, false);
        assert!(!marks.ensure(SHORT));
        word.send(Ok(())).unwrap();
        assert!(marks.ensure(PATIENCE));
    }

    #[test]
    fn where_no_mark_can_be_made_it_is_said_and_tried_again() {
        let (word, within) = channel();
        let within = Some(Mutex::new(within));
        let marks = UnsureMarks::new(Files { within, outside_fails: true, ..Files::default() }, true);
        word.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        assert!(!marks.ensure(PATIENCE));
        word.send(Ok(())).unwrap();
        assert!(marks.ensure(PATIENCE));
    }

    #[test]
    fn marks_stay_where_it_is_not_sure() {
        let files = Files::default();
        let removals = Arc::clone(&files.removals);
        let marks = UnsureMarks::new(files, true);
        marks.set().unwrap();
        assert!(!marks.remove(|| false).unwrap());
        assert!(marks.are_set() && removals.load(Ordering::SeqCst) == 0);
        assert!(marks.remove(|| true).unwrap());
        assert!(!marks.are_set() && removals.load(Ordering::SeqCst) == 1);
    }

    /// A sync that fails may have taken them back all the same.
    #[test]
    fn marks_that_could_not_be_taken_back_are_set_again_or_by_the_next_who_asks() {
        let (removal, removals) = channel();
        let (word, within) = channel();
        let [removed, within] = [removals, within].map(|words| Some(Mutex::new(words)));
        let files = Files { within, removal: removed, outside_fails: true, ..Files::default() };
        let marks = UnsureMarks::new(files, true);
        let fails = || Err(io::ErrorKind::StorageFull.into());
        word.send(Ok(())).unwrap();
        marks.set().unwrap();

        removal.send(fails()).unwrap();
        word.send(Ok(())).unwrap();
        marks.remove(|| true).unwrap_err();
        assert!(marks.are_set() && marks.may_be_found());

        removal.send(fails()).unwrap();
        word.send(fails()).unwrap();
        marks.remove(|| true).unwrap_err();
        assert!(!marks.are_set() && marks.may_be_found());
        word.send(fails()).unwrap();
        assert!(!marks.ensure(PATIENCE), "nobody is answered under a mark that is not there");
        word.send(Ok(())).unwrap();
        assert!(marks.ensure(PATIENCE));

        removal.send(Ok(())).unwrap();
        remove_at_last(&marks);
        assert!(!marks.may_be_found());
    }

    #[test]
    fn the_end_waits_for_who_sets_one_and_none_is_set_after_it() {
        let (word, within) = channel();
        let files = Files { within: Some(Mutex::new(within)), outside_fails: true, ..Files::default() };
        let marks = UnsureMarks::new(files, true);
        assert!(!marks.ensure(SHORT), "it is being set");
        let (ended, end) = channel();
        let other = marks.clone();
        let ending = std::thread::spawn(move || {
            other.end(|| {
                ended.send(()).unwrap();
                Ok(())
            })
        });
        assert!(end.recv_timeout(SHORT).is_err(), "not while one is being set");
        word.send(Ok(())).unwrap();
        ending.join().unwrap().unwrap();
        end.recv().unwrap();
        assert!(!marks.ensure(SHORT) && !marks.may_be_found());
        marks.set().unwrap_err();
        assert!(!marks.remove(|| true).unwrap());
    }

    #[test]
    fn an_end_that_fails_leaves_the_marks() {
        let marks = UnsureMarks::new(Files::default(), true);
        marks.set().unwrap();
        marks.end(|| Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert!(marks.ensure(SHORT) && marks.may_be_found(), "pages go on under it");
    }
}
