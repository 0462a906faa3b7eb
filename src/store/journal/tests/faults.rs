//! Faults of a disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::io::Errno;

/// Which changes of the disk fail. Clones share it.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Faults(Arc<Plan>);

#[derive(Debug)]
struct Plan {
    steps: AtomicU64,
    /// From this step on every change fails, without effect.
    dead_from: AtomicU64,
    /// From this step on whatever needs room fails.
    full_from: AtomicU64,
    /// How much of a write gets through that fails.
    torn_bytes: AtomicUsize,
}

impl Default for Plan {
    fn default() -> Self {
        let never = || AtomicU64::new(u64::MAX);
        Self {
            steps: AtomicU64::new(0),
            dead_from: never(),
            full_from: never(),
            torn_bytes: AtomicUsize::new(0),
        }
    }
}

impl Faults {
    /// Counts a change, and lets it pass or not.
    pub(in super::super) fn step(&self, needs_room: bool) -> io::Result<()> {
        let step = self.0.steps.fetch_add(1, Ordering::SeqCst);
        if step >= self.0.dead_from.load(Ordering::SeqCst) {
            return Err(Errno::IO.into());
        }
        if needs_room && step >= self.0.full_from.load(Ordering::SeqCst) {
            return Err(Errno::NOSPC.into());
        }
        Ok(())
    }

    pub(in super::super) fn torn_bytes(&self) -> usize {
        self.0.torn_bytes.swap(0, Ordering::SeqCst)
    }

    /// So many more changes pass; then the disk is dead, and this much of the first write gets through.
    pub(super) fn die_after(&self, steps: u64, torn_bytes: usize) {
        self.0.torn_bytes.store(torn_bytes, Ordering::SeqCst);
        self.0.dead_from.store(self.steps().saturating_add(steps), Ordering::SeqCst);
    }

    /// The disk is full from now on.
    pub(super) fn fill(&self) {
        self.0.full_from.store(0, Ordering::SeqCst);
    }

    /// Everything passes again.
    pub(super) fn heal(&self) {
        self.0.dead_from.store(u64::MAX, Ordering::SeqCst);
        self.0.full_from.store(u64::MAX, Ordering::SeqCst);
    }

    /// How many changes there were.
    pub(super) fn steps(&self) -> u64 {
        self.0.steps.load(Ordering::SeqCst)
    }
}
