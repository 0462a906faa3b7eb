//! Snapshots of the table: when one is due, and writing it beside everything else.

use std::io;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::state::FrozenTable;
use crate::store::journal::{Boundary, Directory};

/// Less of a journal is not worth a snapshot.
const LEAST_JOURNAL: u64 = 64 << 20;

/// After so long one is made where anything has happened.
const AT_LEAST_EVERY: Duration = Duration::from_secs(3600);

/// After a kill, how long the first snapshot waits for the rest to settle.
const FIRST: Duration = Duration::from_secs(2);

/// How long after a failure it is tried again: this, doubled with each failure, and no longer than the other.
const RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(120);

/// The pause after each block: nobody waits for a snapshot, and there is other work.
const PAUSE: Duration = Duration::from_millis(1);

/// When the next snapshot is due. Pure.
#[derive(Debug)]
pub(super) struct SnapshotSchedule {
    last: Timestamp,
    /// Whatever has happened since.
    due: Option<Timestamp>,
    failures: u32,
}

impl SnapshotSchedule {
    /// Loaded now; `has_replayed` if there is something that the next start should not replay again.
    pub(super) fn new(now: Timestamp, has_replayed: bool) -> Self {
        Self { last: now, due: has_replayed.then(|| now.plus(FIRST)), failures: 0 }
    }

    /// Whether one is due, with so many bytes of journal behind the last, which has so many itself.
    pub(super) fn is_due(&self, now: Timestamp, journal_bytes: u64, last_bytes: u64) -> bool {
        if let Some(due) = self.due {
            return now >= due;
        }
        let is_large = journal_bytes > last_bytes.max(LEAST_JOURNAL);
        let is_old = journal_bytes > 0 && now.since(self.last) >= AT_LEAST_EVERY;
        is_large || is_old
    }

    /// One was made.
    pub(super) const fn made(&mut self, now: Timestamp) {
        *self = Self { last: now, due: None, failures: 0 };
    }

    /// It failed, and is tried again.
    pub(super) fn failed(&mut self, now: Timestamp) {
        self.due = Some(now.plus(RETRY.saturating_mul(1 << self.failures.min(8)).min(LONGEST_RETRY)));
        self.failures += 1;
    }

    /// It is needed as soon as it can be made, but not at once behind another: a disk that fails again and again must not
    /// write snapshots without an end.
    pub(super) fn want(&mut self, now: Timestamp) {
        self.due.get_or_insert(now.max(self.last.plus(RETRY)));
    }
}

/// Writes the frozen table as the snapshot of its boundary, as long as `goes_on` says so before each block.
///
/// # Errors
///
/// What the system says, or that it was not to go on; older snapshots are still there then.
pub(super) fn write_snapshot(
    directory: &Directory,
    boundary: &Boundary,
    frozen: &FrozenTable,
    goes_on: impl Fn() -> bool,
) -> io::Result<()> {
    let mut writer = directory.snapshot_writer(boundary)?;
    frozen.encode(|block| {
        if !goes_on() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        writer.block(block)
    })?;
    writer.commit()?;
    Ok(())
}

/// The pause that a snapshot makes after each block where nobody waits for it.
pub(super) fn make_way() {
    std::thread::sleep(PAUSE);
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn a_snapshot_is_due_by_size_and_by_age() {
        let schedule = SnapshotSchedule::new(at(0), false);
        assert!(!schedule.is_due(at(3599), LEAST_JOURNAL, 0));
        assert!(schedule.is_due(at(1), LEAST_JOURNAL + 1, 0));
        assert!(!schedule.is_due(at(1), LEAST_JOURNAL + 1, LEAST_JOURNAL + 1), "the last one is larger");
        assert!(schedule.is_due(at(3600), 1, 0));
        assert!(!schedule.is_due(at(7200), 0, 0), "nothing has happened");
        assert!(SnapshotSchedule::new(at(0), true).is_due(at(2), 0, 0), "soon after a kill");
    }

    #[test]
    fn a_failure_is_tried_again_later_and_later() {
        let mut schedule = SnapshotSchedule::new(at(0), false);
        let mut now = 0;
        for wait in [5, 10, 20, 40, 80, 120, 120] {
            schedule.failed(at(now));
            assert!(
                !schedule.is_due(at(now + wait - 1), u64::MAX, 0) && schedule.is_due(at(now + wait), 0, 0)
            );
            now += wait;
        }
        schedule.want(at(now));
        schedule.made(at(now));
        assert!(!schedule.is_due(at(now + 5), 0, 0));
        schedule.want(at(now));
        assert!(!schedule.is_due(at(now + 4), 0, 0), "not at once behind another");
        assert!(schedule.is_due(at(now + 5), 0, 0));
    }
}
