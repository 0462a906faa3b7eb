//! What the parts of an open directory count together: how much stands behind which snapshot.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;

/// The newest complete snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastSnapshot {
    /// The moment of its boundary, by the wall clock.
    pub wall: Timestamp,
    /// Its size.
    pub bytes: u64,
}

/// How much stands behind the newest snapshot.
#[derive(Debug, Default)]
pub(super) struct JournalTally {
    /// Bytes of batches appended, on a count that never goes back.
    appended: AtomicU64,
    /// That count at the boundary of the newest snapshot.
    covered: AtomicU64,
    newest: Mutex<Option<(u64, LastSnapshot)>>,
}

impl JournalTally {
    /// Of what was found: this snapshot, and so many bytes behind it.
    pub(super) fn set(&self, newest: Option<(u64, LastSnapshot)>, behind: u64) {
        *self.lock() = newest;
        self.set_behind(behind);
    }

    /// So many bytes were found behind the newest snapshot.
    pub(super) fn set_behind(&self, bytes: u64) {
        self.covered.store(0, Ordering::Relaxed);
        self.appended.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn append(&self, bytes: u64) {
        self.appended.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn appended(&self) -> u64 {
        self.appended.load(Ordering::Relaxed)
    }

    pub(super) fn behind(&self) -> u64 {
        self.appended().saturating_sub(self.covered.load(Ordering::Relaxed))
    }

    /// A snapshot of a boundary is complete; gives the number of the newest, which may be another: one that is made in the
    /// background may be overtaken by the last.
    pub(super) fn cover(&self, number: u64, snapshot: LastSnapshot, appended: u64) -> u64 {
        let mut newest = self.lock();
        if let Some((newest, _)) = *newest
            && newest > number
        {
            return newest;
        }
        *newest = Some((number, snapshot));
        self.covered.store(appended, Ordering::Relaxed);
        number
    }

    /// The newest snapshot, with its number.
    pub(super) fn newest(&self) -> Option<(u64, LastSnapshot)> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<(u64, LastSnapshot)>> {
        // A pair that is replaced as a whole: nobody can have left it half done.
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
