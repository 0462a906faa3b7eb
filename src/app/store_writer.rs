//! The store beside the table: what scrapers are about to be served is written before they get it, what ended within a
//! second.

mod ledger_retention;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::ingest::SharedTable;
use super::log_once::LogOnce;
use super::supervise::blocking;
use crate::clock::Timestamp;
use crate::config;
use crate::metrics::{Observe, View};
use crate::store::{Batch, OpenError, Store, Written};
use ledger_retention::{FEW, LARGE, RetentionGuard};

/// How often what ended is written.
const BEAT: Duration = Duration::from_millis(500);

/// How long a scrape waits for its turn at the store: half of the usual time-out of scrapes.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it looks whether its turn has come.
const GLANCE: Duration = Duration::from_millis(2);

/// How long the last write may take; all must be over in 5 s.
const LAST_WRITE: Duration = Duration::from_millis(800);

/// How often it is looked whether the store's file is still there.
const CHECK: Duration = Duration::from_secs(10);

/// How often the table is written where nobody scrapes, and old sessions leave the ledger.
const SWEEP: Duration = Duration::from_secs(60);

/// The table with its store: what the page is made from.
#[derive(Clone, Debug)]
pub(super) struct StoreWriter {
    shared: SharedTable,
    store: Arc<Mutex<Store>>,
    state: Arc<WriterState>,
    retention: Duration,
    sweeping: Arc<Mutex<RetentionGuard>>,
    path: Arc<Path>,
}

#[derive(Debug)]
struct WriterState {
    /// The first page has been served to a scraper.
    has_begun: AtomicBool,
    /// Why it cannot be written.
    writing: Mutex<LogOnce<String>>,
    /// Why its file is not the one that was opened.
    file: Mutex<LogOnce<String>>,
}

impl StoreWriter {
    /// Opens the store and goes on from it.
    ///
    /// # Errors
    ///
    /// A store that cannot be used; it stays as it is.
    pub(super) async fn open(
        store: &config::StoreConfig,
        sources: &[String],
        rest_separator: u8,
        shared: SharedTable,
    ) -> Result<Self, OpenError> {
        let config::StoreConfig { path, retention } = store.clone();
        let sources = sources.to_owned();
        blocking(move || {
            let names: Vec<&str> = sources.iter().map(String::as_str).collect();
            let mut store = Store::open(&path, &names, rest_separator)?;
            let now = shared.now();
            let found = store.load(shared.to_wall(now))?;
            let restored = shared.lock().restore(now, found.saved, found.first_serial);
            tracing::info!(
                path = %path.display(),
                live = restored.live,
                overdue = restored.overdue,
                refused = restored.refused,
                "store opened"
            );
            let state = WriterState {
                has_begun: AtomicBool::new(false),
                writing: Mutex::default(),
                file: Mutex::default(),
            };
            let sweeping = Arc::new(Mutex::new(RetentionGuard::new(now, shared.to_wall(now))));
            let (store, state, path) = (Arc::new(Mutex::new(store)), Arc::new(state), path.into());
            Ok(Self { shared, store, state, retention, sweeping, path })
        })
        .await
    }

    /// Writes what ended, again and again. Never ends by itself.
    pub(super) async fn run(self) {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut swept = self.shared.now();
        let mut checked = swept;
        loop {
            beats.tick().await;
            let now = self.shared.now();
            let sweeps = now.since(swept) >= SWEEP;
            if sweeps {
                swept = now;
            }
            let checks = now.since(checked) >= CHECK;
            if checks {
                checked = now;
            }
            let writer = self.clone();
            blocking(move || {
                if checks {
                    writer.check_file(now);
                }
                writer.write(sweeps);
                if sweeps {
                    writer.sweep(now);
                }
            })
            .await;
        }
    }

    /// Writes where the table stands at the end, if the disk lets us in time.
    pub(super) async fn finish(self) {
        if timeout(LAST_WRITE, blocking(move || self.write(true))).await.is_err() {
            tracing::warn!("the store takes too long; ending without its last write");
        }
    }

    /// Looks whether the file is still the store's, and logs when that changes.
    fn check_file(&self, now: Timestamp) {
        let checked = self.store().check_file(now);
        let mut file = lock(&self.state.file);
        match checked {
            Err(trouble) if file.is_news(trouble.to_string()) => tracing::error!(
                path = %self.path.display(),
                %trouble,
                "the store is not written any more; serving on, but a restart may count again what is served meanwhile"
            ),
            Ok(()) if file.solve() => {
                tracing::info!(path = %self.path.display(), "the file of the store is there again");
            }
            _ => {}
        }
    }

    /// Removes what is too old, unless the clock that says so is in doubt. Scrapes have their turns in between.
    fn sweep(&self, now: Timestamp) {
        let wall = self.shared.to_wall(now);
        let horizon = wall.minus(self.retention);
        let mut sweeping = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        let (is_believed, remark) = sweeping.look(now, wall);
        let (may_go, notice) = if is_believed {
            let (sessions, is_large) = self.store().count_before(horizon, FEW, LARGE);
            sweeping.may_go(now, sessions, is_large)
        } else {
            (false, None)
        };
        for remark in remark.into_iter().chain(notice) {
            remark.log();
        }
        while may_go && self.store().forget_before(horizon, wall) {}
    }

    /// Writes what ended and, if wanted, what changed, as not served.
    fn write(&self, with_changes: bool) {
        let mut store = self.store();
        let now = self.shared.now();
        let with_changes = with_changes && store.can_write(now, false);
        let all = store.wants_all();
        let (ended, checkpoint) = {
            let mut ingest = self.shared.lock();
            ingest.advance(now);
            let checkpoint = with_changes.then(|| ingest.take_checkpoint(all));
            (ingest.take_ended(), checkpoint)
        };
        let wall = self.shared.to_wall(now);
        self.note(&store.write(Batch { now, wall, is_exported: false, ended, checkpoint }));
    }

    /// What a scraper is served, once the store has it.
    fn page_for_scraper(&self) -> View {
        if !self.state.has_begun.swap(true, Ordering::Relaxed) {
            let mut view = self.shared.observe();
            view.table.begin_at_zero();
            return view;
        }
        // Held to the end: what was served first is written first.
        let Some(mut store) = self.store_in_time() else {
            // A disk that hangs must not take the page along.
            self.note(&Written::Failed("it takes too long".to_owned()));
            return self.shared.observe();
        };
        let now = self.shared.now();
        let wall = self.shared.to_wall(now);
        let can_write = store.can_write(now, true);
        let all = store.wants_all();
        let (view, ended, checkpoint) = {
            let mut ingest = self.shared.lock();
            ingest.advance(now);
            let checkpoint = can_write.then(|| ingest.take_checkpoint(all));
            (ingest.view(wall), ingest.take_ended(), checkpoint)
        };
        self.note(&store.write(Batch { now, wall, is_exported: true, ended, checkpoint }));
        view
    }

    /// The store, whose users take turns.
    ///
    /// # Panics
    ///
    /// If somebody panicked while writing, as for the table.
    #[expect(clippy::expect_used, reason = "see above")]
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().expect("nobody panicked while writing the store")
    }

    /// The store, whose users take turns; `None` if it does not become free for long.
    fn store_in_time(&self) -> Option<MutexGuard<'_, Store>> {
        let began = self.shared.now();
        loop {
            match self.store.try_lock() {
                Ok(store) => return Some(store),
                Err(TryLockError::Poisoned(_)) => return Some(self.store()),
                Err(TryLockError::WouldBlock) if self.shared.now().since(began) >= PATIENCE => return None,
                Err(TryLockError::WouldBlock) => std::thread::sleep(GLANCE),
            }
        }
    }

    fn note(&self, written: &Written) {
        let mut writing = lock(&self.state.writing);
        match written {
            Written::Failed(error) if writing.is_news(error.clone()) => tracing::error!(
                error,
                "the store cannot be written; serving on, but a restart may count again what is served meanwhile"
            ),
            // It took too long, and went on.
            Written::Yes if writing.solve() => tracing::info!("the store is written again"),
            Written::Again(lost) => {
                writing.solve();
                tracing::info!(lost, "the store is written again");
            }
            Written::Yes | Written::StillFailing | Written::Failed(_) => {}
        }
    }

    /// Whether what is served is in the store.
    fn is_ok(&self) -> bool {
        !lock(&self.state.writing).is_there() && !lock(&self.state.file).is_there()
    }
}

/// What is logged of the store holds no half truths: a panic beside it spoils nothing.
fn lock(log: &Mutex<LogOnce<String>>) -> MutexGuard<'_, LogOnce<String>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Observe for StoreWriter {
    fn observe(&self) -> View {
        let mut view = self.page_for_scraper();
        view.store_ok = Some(self.is_ok());
        view
    }
}

#[cfg(test)]
mod tests;
