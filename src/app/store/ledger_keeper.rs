//! The ledger beside the table: what ended is taken into it, each once, and leaves it when it is old enough.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ledger_retention::{FEW, LARGE, RetentionGuard};
use crate::app::ingest::SharedTable;
use crate::app::log_once::LogOnce;
use crate::clock::{Timestamp, WallTime};
use crate::config::StoreConfig;
use crate::metrics::SinkView;
use crate::state::Output;
use crate::store::ledger::{EventBounds, LedgerError, SessionLedger, SinkFigures, SinkProgress};

/// Outputs that are taken at once: the table is locked while they are copied.
const AT_ONCE: usize = 2048;

/// The ledger, and what was logged of it.
#[derive(Debug)]
pub(in crate::app) struct LedgerKeeper {
    ledger: Mutex<Option<SessionLedger>>,
    retention: Duration,
    /// Of events that wait for a web hook.
    bounds: EventBounds,
    guard: Mutex<RetentionGuard>,
    trouble: Mutex<LogOnce<String>>,
    /// How far sinks have come since it was last written.
    progress: Mutex<HashMap<String, SinkProgress>>,
    /// How it stood with the sinks when the ledger was last looked at.
    sinks: Mutex<Vec<SinkFigures>>,
    /// What came of the last attempt at each sink.
    up: Mutex<HashMap<String, bool>>,
    /// [`SessionLedger::has_lost_rows`], for those who cannot wait for the file.
    has_lost_rows: AtomicBool,
}

impl LedgerKeeper {
    pub(super) fn new(ledger: SessionLedger, config: &StoreConfig, now: Timestamp, wall: Timestamp) -> Self {
        let sinks = ledger.sink_figures().unwrap_or_default();
        Self {
            has_lost_rows: AtomicBool::new(ledger.has_lost_rows()),
            ledger: Mutex::new(Some(ledger)),
            retention: config.retention,
            bounds: config.sinks.event_bounds,
            guard: Mutex::new(RetentionGuard::new(now, wall)),
            trouble: Mutex::default(),
            progress: Mutex::default(),
            sinks: Mutex::new(sinks),
            up: Mutex::default(),
        }
    }

    /// Takes what ended. `outputs` gives those above a number that the journal has as well: a ledger that has more than the
    /// journal would, after a kill, skip something else under the same number. `None` where the journal cannot have them.
    pub(super) fn take(
        &self,
        shared: &SharedTable,
        outputs: impl Fn(u64, usize) -> Option<Vec<(u64, Output)>>,
    ) {
        let mut ledger = self.ledger();
        let Some(ledger) = ledger.as_mut() else { return };
        while ledger.may_try(shared.now()) {
            let before = ledger.last_taken();
            let Some(outputs) = outputs(before, AT_ONCE) else { return };
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
            self.has_lost_rows.store(ledger.has_lost_rows(), Ordering::Relaxed);
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

    /// Sessions of a table that is lost are still open in the file: the next process must begin anew as well.
    pub(super) fn has_lost_rows(&self) -> bool {
        self.has_lost_rows.load(Ordering::Relaxed)
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
        // The age of events does not count by a clock that is in doubt either.
        let age = if is_believed { self.bounds.age } else { Duration::MAX };
        let bounds = EventBounds { age, ..self.bounds };
        // One that cannot be written says so at the next batch.
        let trim =
            || self.ledger().as_mut().is_some_and(|ledger| ledger.trim_events(bounds, wall).unwrap_or(false));
        while trim() {}
    }

    /// Reads something; `None` where the ledger is closed.
    pub(in crate::app) fn read<T>(
        &self,
        read: impl FnOnce(&SessionLedger) -> Result<T, LedgerError>,
    ) -> Option<Result<T, LedgerError>> {
        self.ledger().as_ref().map(read)
    }

    /// A sink has come so far; it is written with the next batch.
    pub(in crate::app) fn note_progress(&self, sink: &str, more: SinkProgress) {
        let mut progress = lock(&self.progress);
        match progress.get_mut(sink) {
            Some(progress) => progress.add(more),
            None => drop(progress.insert(sink.to_owned(), more)),
        }
    }

    /// What came of the last attempt at a sink.
    pub(in crate::app) fn note_up(&self, sink: &str, is_up: bool) {
        let mut up = lock(&self.up);
        if up.get(sink) != Some(&is_up) {
            up.insert(sink.to_owned(), is_up);
        }
    }

    /// The ledger is an older copy of one that is known elsewhere; whether it has another identity now.
    pub(in crate::app) fn become_another(&self, sink: &str) -> bool {
        // What was delivered until now was delivered as the one that it was.
        if !self.keep_progress() {
            return false;
        }
        let renewed = self.ledger().as_mut().is_some_and(|ledger| ledger.become_another(sink).is_ok());
        if renewed && let Some(progress) = lock(&self.progress).get_mut(sink) {
            progress.taken = 0;
        }
        renewed
    }

    /// A sink lacks what came after the event of this number, though it had it: it is delivered again.
    pub(in crate::app) fn go_back(&self, sink: &str, to: u64) {
        self.keep_progress();
        if let Some(progress) = lock(&self.progress).get_mut(sink) {
            progress.taken = 0;
        }
        // One that cannot be written finds the same after a restart.
        drop(self.ledger().as_mut().map(|ledger| ledger.go_back(sink, to)));
    }

    /// How it stands with the sinks: what came of the last attempt, and what is in the file.
    pub(super) fn sink_views(&self) -> Vec<SinkView> {
        let up = lock(&self.up).clone();
        let view = |sink: &SinkFigures| SinkView {
            name: sink.name.clone(),
            is_up: up.get(&sink.name).copied(),
            pending: sink.pending,
            oldest: sink.oldest,
            delivered: sink.delivered,
            failed: sink.failed,
            dropped: sink.dropped,
        };
        lock(&self.sinks).iter().map(view).collect()
    }

    /// Writes how far sinks have come; whether all of that is written.
    pub(super) fn keep_progress(&self) -> bool {
        let mut ledger = self.ledger();
        let Some(ledger) = ledger.as_mut() else { return false };
        let mut progress = lock(&self.progress);
        // What cannot be written stays for the next time.
        progress.retain(|sink, progress| ledger.note_progress(sink, *progress).is_err());
        progress.is_empty()
    }

    /// Looks how it stands with the sinks.
    pub(super) fn look_at_sinks(&self) {
        if let Some(Ok(figures)) = self.read(SessionLedger::sink_figures) {
            *lock(&self.sinks) = figures;
        }
    }

    /// Closes the file: it stands alone then.
    pub(super) fn close(&self) {
        self.keep_progress();
        self.look_at_sinks();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SinksConfig;
    use crate::store::ledger::{FILE, SinkContents};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn events_do_not_go_by_a_clock_that_has_jumped() {
        let folder = std::env::temp_dir().join(format!("coturn-exporter-keeper-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir(&folder).unwrap();
        let mut ledger = SessionLedger::open(&folder, &["one"], b':').unwrap();
        ledger.set_sinks(vec![("hook".to_owned(), SinkContents::Events)]).unwrap();
        let (began, wall) = (Timestamp::ZERO, Timestamp::ZERO.plus(20_000 * DAY));
        let file = rusqlite::Connection::open(folder.join(FILE)).unwrap();
        let at = i64::try_from(wall.as_millis()).unwrap();
        file.execute("INSERT INTO event VALUES (1, 'session.opened', 1, ?1, '{}')", [at]).unwrap();
        let waiting =
            || -> u32 { file.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).unwrap() };
        let config = StoreConfig { path: folder.clone(), retention: 90 * DAY, sinks: SinksConfig::default() };
        assert!(config.sinks.event_bounds.age < 30 * DAY);
        let keeper = LedgerKeeper::new(ledger, &config, began, wall);

        let jumped = wall.plus(30 * DAY);
        for hours in [1, 23] {
            let passed = Duration::from_secs(hours * 3600);
            keeper.sweep(began.plus(passed), jumped.plus(passed));
            assert_eq!(waiting(), 1, "{hours} h after the jump");
        }
        keeper.sweep(began.plus(2 * DAY), jumped.plus(2 * DAY));
        assert_eq!(waiting(), 0, "the clocks have gone side by side for a day");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
