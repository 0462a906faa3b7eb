//! The store beside the table: what the table takes in is in the journal before anybody is answered from it; snapshots and
//! the ledger are written beside.
//!
//! Where the journal cannot be written the page goes on, but first the store is marked as unsure, so that the next process
//! begins at 0; where no mark can be made either, the page stays at what the journal has. A snapshot of the whole table makes
//! it good, without a restart.

mod append_queue;
mod closing;
mod due;
mod error;
mod ledger_keeper;
mod ledger_retention;
mod load_progress;
mod loading;
pub(in crate::app) mod reading;
mod snapshots;
#[cfg(test)]
mod tests;
mod unsure_marks;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::ingest::{Ingest, SharedTable};
use super::log_once::LogOnce;
use super::process_counter::ProcessCounter;
use super::readiness::SourceReadiness;
use super::supervise::blocking;
use crate::clock::{Clock, Timestamp};
use crate::config::StoreConfig;
use crate::details::{Inspect, Listing};
use crate::metrics::{Observe, StoreFigures, View};
use crate::state::rows::{AllocationRow, RowQuery, SessionRow};
use crate::state::{FrozenTable, Output, Settings};
use crate::store::journal::{Boundary, Directory, Journal, Moments};
use append_queue::{AppendQueue, Ticket};
use due::Due;
pub use error::LoadError;
pub(super) use ledger_keeper::LedgerKeeper;
use load_progress::LoadProgress;
use loading::{LoadedStore, Wanted};
use snapshots::{SnapshotSchedule, make_way, write_snapshot};
use unsure_marks::UnsureMarks;

/// How often what was recorded goes to the journal, where no page asks for it.
const FLUSH: Duration = Duration::from_millis(75);

/// How often it is looked whether so much was recorded that it goes at once.
const LOOK: Duration = Duration::from_millis(25);
const MUCH: u64 = 256 << 10;

/// How long a page waits for the journal, and then for a mark.
const JOURNAL_PATIENCE: Duration = Duration::from_millis(1500);
const MARK_PATIENCE: Duration = Duration::from_millis(700);

/// How long batches wait for the disk where no page does.
const BACKGROUND_PATIENCE: Duration = Duration::from_secs(5);

/// How often what ended goes to the ledger.
const LEDGER: Duration = Duration::from_millis(500);

/// How often it is looked what waits for sinks: a million events take some milliseconds to count.
const SINKS: Duration = Duration::from_secs(2);

/// How often the directory is looked at, and sessions that are too old leave the ledger.
const CHECK: Duration = Duration::from_secs(10);
const SWEEP: Duration = Duration::from_secs(60);

/// How often it is looked whether a snapshot is due.
const SNAPSHOTS: Duration = Duration::from_millis(500);

/// How long the last outputs may wait for the ledger, and it to be closed; and how long what is written at the end may take.
const LAST_OUTPUTS: Duration = Duration::from_millis(500);
const LAST_WRITE: Duration = Duration::from_millis(3500);

/// An open store and the table that it keeps. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct TableStore {
    parts: Arc<StoreParts>,
}

#[derive(Debug)]
struct StoreParts {
    shared: SharedTable,
    counter: ProcessCounter,
    directory: Directory,
    queue: AppendQueue<Boundary>,
    /// Until its thread begins.
    journal: Mutex<Option<Journal>>,
    marks: UnsureMarks,
    ledger: LedgerKeeper,
    /// What the page shows where it can show no more: the store has it, or it was answered before, under a mark. Never less,
    /// for a counter that falls is added up once more.
    safe_view: Mutex<View>,
    /// The journal is closed: the table may change, and no page is answered from it any more.
    is_closed: AtomicBool,
    schedule: Mutex<SnapshotSchedule>,
    /// What was logged of the journal, and of the directory.
    journal_log: Mutex<LogOnce<String>>,
    directory_log: Mutex<LogOnce<String>>,
    bytes: AtomicU64,
}

/// What a store is opened with.
pub(super) struct StoreOptions {
    pub(super) config: StoreConfig,
    pub(super) settings: Settings,
    pub(super) sources: Vec<String>,
    pub(super) counter: ProcessCounter,
}

impl TableStore {
    /// Loads the store into `shared`, which begins then.
    ///
    /// # Errors
    ///
    /// A store that cannot be used; it stays as it is.
    pub(super) async fn load(
        options: StoreOptions,
        shared: SharedTable,
        readiness: SourceReadiness,
        process_clock: Arc<dyn Clock>,
    ) -> Result<Self, LoadError> {
        let StoreOptions { config, settings, sources, counter } = options;
        blocking(move || {
            // Without the path: somebody may have written a URL there, with its password.
            tracing::info!("loading the store");
            let mut progress = LoadProgress::begin(readiness, process_clock);
            let wanted = Wanted { config: &config, settings: settings.clone(), sources: &sources };
            let loaded = loading::load(&wanted, &mut progress)?;
            let batches = loaded.batches;
            let store = Self::begin(loaded, &config, &settings, shared, counter);
            store.log_loaded(&config.path, batches, progress.duration());
            Ok(store)
        })
        .await
    }

    fn begin(
        loaded: LoadedStore,
        config: &StoreConfig,
        settings: &Settings,
        shared: SharedTable,
        counter: ProcessCounter,
    ) -> Self {
        let LoadedStore { table, ids, clock, directory, journal, ledger, batches, stays_unsure } = loaded;
        let now = clock.now();
        let wall = clock.to_wall(now);
        *shared.lock() = Ingest::going_on(table, ids, settings);
        let failure = journal.failure().map(ToString::to_string);
        let marks = UnsureMarks::new(directory.clone(), failure.is_none());
        if stays_unsure && let Err(error) = marks.set() {
            tracing::warn!(%error, "the store cannot be marked as one that is not sure yet");
        }
        let view = shared.lock().view(wall);
        shared.begin(Arc::new(clock));
        let parts = StoreParts {
            shared,
            counter,
            queue: AppendQueue::new(failure),
            journal: Mutex::new(Some(journal)),
            marks,
            ledger: LedgerKeeper::new(ledger, config, now, wall),
            safe_view: Mutex::new(view),
            is_closed: AtomicBool::new(false),
            schedule: Mutex::new(SnapshotSchedule::new(now, batches > 0)),
            journal_log: Mutex::default(),
            directory_log: Mutex::default(),
            bytes: AtomicU64::new(directory.bytes().unwrap_or(0)),
            directory,
        };
        Self { parts: Arc::new(parts) }
    }

    fn log_loaded(&self, path: &std::path::Path, batches: u64, took: Duration) {
        let view = lock(&self.parts.safe_view);
        let sum =
            |count: fn(&crate::state::SourceView) -> u64| view.table.sources.iter().map(count).sum::<u64>();
        tracing::info!(
            path = %path.display(),
            live = sum(|source| source.live),
            batches,
            milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "store loaded"
        );
    }

    /// The ledger, for those who take what is in it elsewhere.
    pub(super) fn ledger(&self) -> &LedgerKeeper {
        &self.parts.ledger
    }

    /// Writes what is put in, until the end. Ends by [`Self::finish`] only.
    pub(super) async fn write_journal(self) {
        let journal = lock(&self.parts.journal).take();
        if let Some(journal) = journal {
            let queue = self.parts.queue.clone();
            blocking(move || queue.work(journal)).await;
        }
        std::future::pending::<()>().await;
    }

    /// Hands over what was recorded, again and again. Never ends by itself.
    pub(super) async fn flush(self) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let StoreParts { shared, queue, .. } = &*self.parts;
        let (mut flushed, mut recorded) = (shared.now(), 0);
        let mut waiting: Option<(Ticket, Timestamp)> = None;
        loop {
            ticks.tick().await;
            let now = shared.now();
            let mut ingest = shared.lock();
            let so_far = ingest.recorded();
            if so_far != recorded && (now.since(flushed) >= FLUSH || so_far - recorded >= MUCH) {
                let ticket = self.hand_over(&mut ingest);
                (flushed, recorded) = (now, so_far);
                waiting = waiting.or(ticket.map(|ticket| (ticket, now)));
            }
            drop(ingest);
            if let Some((ticket, since)) = waiting {
                if queue.is_over(ticket) {
                    waiting = None;
                } else if now.since(since) >= BACKGROUND_PATIENCE {
                    queue.wait(ticket, Duration::ZERO);
                    waiting = None;
                }
            }
            self.log_journal();
        }
    }

    /// Writes what ended into the ledger, again and again, and looks at the directory. Never ends by itself.
    pub(super) async fn keep_ledger(self) {
        let mut ticks = interval(LEDGER);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut check, mut count) = (Due::every(CHECK, Timestamp::ZERO), Due::every(SINKS, Timestamp::ZERO));
        let mut sweep = Due::every(SWEEP, self.parts.shared.now());
        loop {
            ticks.tick().await;
            let now = self.parts.shared.now();
            let (checks, counts, sweeps) = (check.is_due(now), count.is_due(now), sweep.is_due(now));
            let store = self.clone();
            blocking(move || {
                let ledger = &store.parts.ledger;
                if checks {
                    store.check_directory();
                }
                store.take_outputs();
                ledger.keep_progress();
                if counts {
                    ledger.look_at_sinks();
                }
                if sweeps {
                    ledger.sweep(now, store.parts.shared.to_wall(now));
                }
            })
            .await;
        }
    }

    /// Makes snapshots when they are due, and mends a journal that has failed. Never ends by itself.
    pub(super) async fn keep_snapshots(self) {
        let mut ticks = interval(SNAPSHOTS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let StoreParts { shared, directory, queue, marks, schedule, .. } = &*self.parts;
            let now = shared.now();
            let is_unsure = queue.failed().is_some() || marks.may_be_found();
            let last = directory.last_snapshot().map_or(0, |snapshot| snapshot.bytes);
            let is_due = {
                let mut schedule = lock(schedule);
                if is_unsure {
                    schedule.want(now);
                }
                schedule.is_due(now, directory.journal_bytes(), last)
            };
            if !is_due {
                continue;
            }
            let store = self.clone();
            let made = blocking(move || store.make_snapshot(is_unsure)).await;
            let now = shared.now();
            match made {
                Ok(()) => lock(schedule).made(now),
                Err(error) => {
                    if !is_unsure {
                        tracing::warn!(%error, "no snapshot of the store could be made; it is tried again");
                    }
                    lock(schedule).failed(now);
                }
            }
        }
    }

    /// Gives the queue what was recorded; the caller holds the table. `None` if the queue has failed.
    fn hand_over(&self, ingest: &mut Ingest) -> Option<Ticket> {
        let queue = &self.parts.queue;
        queue.put(ingest.take_recorded(queue.spare()), self.moments())
    }

    fn moments(&self) -> Moments {
        let shared = &self.parts.shared;
        let table = shared.now();
        Moments { table, wall: shared.to_wall(table), boot: shared.since_boot() }
    }

    /// Outputs above `after` that the journal has as well, or whose store is marked as unsure.
    fn outputs(&self, after: u64, most: usize) -> Option<Vec<(u64, Output)>> {
        let (outputs, ticket) = {
            let mut ingest = self.parts.shared.lock();
            let outputs = ingest.outputs(after, most);
            let ticket = if outputs.is_empty() { None } else { Some(self.hand_over(&mut ingest)) };
            (outputs, ticket)
        };
        let is_written = ticket.is_none_or(|ticket| self.is_written(ticket, BACKGROUND_PATIENCE));
        (is_written || self.parts.marks.are_set()).then_some(outputs)
    }

    fn is_written(&self, ticket: Option<Ticket>, patience: Duration) -> bool {
        ticket.is_some_and(|ticket| self.parts.queue.wait(ticket, patience))
    }

    fn take_outputs(&self) {
        self.parts.ledger.take(&self.parts.shared, |after, most| self.outputs(after, most));
    }

    /// A snapshot of the table as it is; makes good what the journal lacks.
    fn make_snapshot(&self, is_unsure: bool) -> io::Result<()> {
        let StoreParts { queue, marks, ledger, .. } = &*self.parts;
        let failed = || io::Error::other("the journal cannot be written");
        let may_be_sure = !ledger.has_lost_rows();
        let gap = if queue.failed().is_some() {
            // A gap in the journal never stands without a mark.
            marks.set()?;
            Some(queue.leave_gap(self.moments()).recv().map_err(|_| failed())??)
        } else {
            None
        };
        let (frozen, view, failures, boundary) = {
            let mut ingest = self.parts.shared.lock();
            let (frozen, view) = if gap.is_some() {
                drop(ingest.take_recorded(Vec::new()));
                queue.go_on();
                (ingest.freeze(), Some(ingest.view(self.parts.shared.to_wall(self.parts.shared.now()))))
            } else {
                self.hand_over(&mut ingest).ok_or_else(failed)?;
                (ingest.freeze(), is_unsure.then(|| ingest.view(self.moments().wall)))
            };
            let boundary = gap.is_none().then(|| queue.roll(self.moments()));
            (frozen, view, queue.failures(), boundary)
        };
        let boundary = match (gap, boundary) {
            (Some(gap), _) => gap,
            (None, Some(rolled)) => rolled.recv().map_err(|_| failed())??,
            (None, None) => return Err(failed()),
        };
        self.write(&frozen, &boundary, true)?;
        let Some(view) = view else { return Ok(()) };
        if !marks.remove(|| may_be_sure && queue.failures() == failures && queue.failed().is_none())? {
            return Err(io::Error::other("the store is still unsure"));
        }
        self.note_safe(&view);
        Ok(())
    }

    fn write(&self, frozen: &FrozenTable, boundary: &Boundary, makes_way: bool) -> io::Result<()> {
        write_snapshot(&self.parts.directory, boundary, frozen, || {
            if makes_way {
                make_way();
            }
            // The last snapshot is more than this one.
            !makes_way || !self.parts.is_closed.load(Ordering::Relaxed)
        })
    }

    /// This may be answered at any time from now on.
    fn note_safe(&self, view: &View) {
        let mut safe_view = lock(&self.parts.safe_view);
        if view.table.now >= safe_view.table.now {
            safe_view.clone_from(view);
        }
    }

    fn check_directory(&self) {
        let StoreParts { directory, directory_log, bytes, .. } = &*self.parts;
        if let Ok(found) = directory.bytes() {
            bytes.store(found, Ordering::Relaxed);
        }
        let checked = directory.check();
        let mut log = lock(directory_log);
        match checked {
            Err(trouble) if log.is_news(trouble.to_string()) => tracing::error!(
                path = %directory.path().display(),
                %trouble,
                "the store's directory is not as it was; a restart may begin its counters at 0"
            ),
            Ok(()) if log.solve() => {
                tracing::info!(path = %directory.path().display(), "the store's directory is there again");
            }
            _ => {}
        }
    }

    /// Logs once that the journal cannot be written, and that it can be again.
    fn log_journal(&self) {
        let StoreParts { queue, marks, journal_log, directory, .. } = &*self.parts;
        let mut log = lock(journal_log);
        match queue.failed() {
            Some(error) if log.is_news(error.clone()) => tracing::error!(
                path = %directory.path().display(),
                error,
                "the store cannot be written; serving on, and a restart before it can be will begin its counters at 0"
            ),
            None if !marks.may_be_found() && log.solve() => tracing::info!("the store is written again"),
            _ => {}
        }
    }

    fn figures(&self) -> StoreFigures {
        let StoreParts { queue, marks, ledger, directory_log, directory, bytes, .. } = &*self.parts;
        let is_written = queue.failed().is_none() && !marks.may_be_found();
        StoreFigures {
            is_ok: is_written && ledger.is_ok() && !lock(directory_log).is_there(),
            bytes: bytes.load(Ordering::Relaxed),
            last_snapshot: directory.last_snapshot().map(|snapshot| snapshot.wall),
            sinks: ledger.sink_views(),
        }
    }
}

impl Observe for TableStore {
    fn observe(&self) -> View {
        let StoreParts { shared, marks, safe_view, is_closed, counter, .. } = &*self.parts;
        let now = shared.now();
        let (mut view, ticket) = {
            let mut ingest = shared.lock();
            if is_closed.load(Ordering::Relaxed) {
                let mut view = lock(safe_view).clone();
                view.store = Some(self.figures());
                return view;
            }
            counter.count(&mut ingest, now);
            ingest.advance(now);
            (ingest.view(shared.to_wall(now)), self.hand_over(&mut ingest))
        };
        if self.is_written(ticket, JOURNAL_PATIENCE) || marks.ensure(MARK_PATIENCE) {
            self.note_safe(&view);
        } else {
            view = lock(safe_view).clone();
        }
        view.store = Some(self.figures());
        view
    }
}

impl TableStore {
    /// What was looked at, once it is in the store or the store is marked, if that can be had in time: whoever reads it adds
    /// up nothing.
    fn looked_at<T>(&self, listing: Listing<T>) -> Listing<T> {
        let ticket = {
            let mut ingest = self.parts.shared.lock();
            // A mark that is set now would spoil a clean end.
            if self.parts.is_closed.load(Ordering::Relaxed) {
                return listing;
            }
            self.hand_over(&mut ingest)
        };
        if !self.is_written(ticket, JOURNAL_PATIENCE) {
            self.parts.marks.ensure(MARK_PATIENCE);
        }
        listing
    }
}

impl Inspect for TableStore {
    fn allocations(&self, wanted: RowQuery) -> Listing<AllocationRow> {
        self.looked_at(self.parts.shared.allocations(wanted))
    }

    fn sessions(&self, wanted: RowQuery) -> Listing<SessionRow> {
        self.looked_at(self.parts.shared.sessions(wanted))
    }
}

/// What these hold is whole after each call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
