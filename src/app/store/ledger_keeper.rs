//! The ledger beside the table: what ended is taken into it, each once, and leaves it when it is old enough.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ledger_retention::{FEW, LARGE, RetentionGuard};
use crate::app::ingest::SharedTable;
use crate::app::log_once::LogOnce;
use crate::clock::{Timestamp, WallTime};
use crate::state::Output;
use crate::store::ledger::SessionLedger;

/// Outputs that are taken at once: the table is locked while they are copied.
const AT_ONCE: usize = 2048;

/// The ledger, and what was logged of it.
#[derive(Debug)]
pub(super) struct LedgerKeeper {
    ledger: Mutex<Option<SessionLedger>>,
    retention: Duration,
    guard: Mutex<RetentionGuard>,
    trouble: Mutex<LogOnce<String>>,
}

impl LedgerKeeper {
    pub(super) fn new(ledger: SessionLedger, retention: Duration, now: Timestamp, wall: Timestamp) -> Self {
        Self {
            ledger: Mutex::new(Some(ledger)),
            retention,
            guard: Mutex::new(RetentionGuard::new(now, wall)),
            trouble: Mutex::default(),
        }
    }

    /// Takes what ended. `covered` gives outputs above a number that the journal has as well: a ledger that has more than the
    /// journal would, after a kill, skip something else under the same number. `None` where the journal cannot have them.
    pub(super) fn take(
        &self,
        shared: &SharedTable,
        covered: impl Fn(u64, usize) -> Option<Vec<(u64, Output)>>,
    ) {
        let mut ledger = self.ledger();
        let Some(ledger) = ledger.as_mut() else { return };
        while ledger.may_try(shared.now()) {
            let before = ledger.last_taken();
            let Some(outputs) = covered(before, AT_ONCE) else { return };
            let now = shared.now();
            let times = WallTime { now, wall: shared.to_wall(now) };
            match ledger.take(times, &outputs) {
                Ok(taken) if taken > before => shared.lock().ledger_written(now, taken),
                Ok(_) => {}
                Err(error) => {
                    if lock(&self.trouble).is_news(error.to_string()) {
                        tracing::error!(%error, "sessions wait for the ledger");
                    }
                    return;
                }
            }
            if lock(&self.trouble).solve() {
                tracing::info!("the ledger is written again");
            }
            if outputs.len() < AT_ONCE {
                return;
            }
        }
    }

    /// Whether the ledger takes what ends.
    pub(super) fn is_ok(&self) -> bool {
        !lock(&self.trouble).is_there()
    }

    /// Removes what is too old, unless the clock that says so is in doubt.
    pub(super) fn sweep(&self, now: Timestamp, wall: Timestamp) {
        let horizon = wall.minus(self.retention);
        let mut guard = lock(&self.guard);
        let (is_believed, remark) = guard.look(now, wall);
        let (may_go, notice) = match self.ledger().as_ref() {
            Some(ledger) if is_believed => {
                let (sessions, is_large) = ledger.count_before(horizon, FEW, LARGE);
                guard.may_go(now, sessions, is_large)
            }
            _ => (false, None),
        };
        for remark in remark.into_iter().chain(notice) {
            remark.log();
        }
        let forget = || self.ledger().as_mut().is_some_and(|ledger| ledger.forget_before(horizon, wall));
        while may_go && forget() {}
    }

    /// Closes the file: it stands alone then.
    pub(super) fn close(&self) {
        if let Some(ledger) = self.ledger().take()
            && let Err(error) = ledger.close()
        {
            tracing::debug!(%error, "the ledger's log stays beside it");
        }
    }

    /// The names of the sources, by their numbers in the table.
    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<String> {
        self.ledger().as_ref().map(|ledger| ledger.source_names().to_vec()).unwrap_or_default()
    }

    fn ledger(&self) -> MutexGuard<'_, Option<SessionLedger>> {
        // A write that did not come to its end has changed nothing.
        lock(&self.ledger)
    }
}

/// What these hold is whole after each call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
