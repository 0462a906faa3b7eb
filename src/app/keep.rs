//! The store beside the table: what scrapers are about to be told is written before they are told, what ended within a
//! second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::ingest::Shared;
use crate::clock::Timestamp;
use crate::config;
use crate::metrics::{Audience, Observe, View};
use crate::store::{Batch, OpenError, Store, Written};

/// How often what ended is written.
const BEAT: Duration = Duration::from_millis(500);

/// How often the table is written where nobody scrapes, and old sessions leave the ledger.
const SWEEP: Duration = Duration::from_secs(60);

/// The table with its store: what the page is made from.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    shared: Shared,
    store: Arc<Mutex<Store>>,
    state: Arc<State>,
    retention: Duration,
}

#[derive(Debug)]
struct State {
    /// The first page has been told to a scraper.
    has_begun: AtomicBool,
    is_ok: AtomicBool,
}

impl Keeper {
    /// Opens the store and goes on from it.
    ///
    /// # Errors
    ///
    /// A store that cannot be used; it stays as it is.
    pub(super) async fn open(
        store: &config::Store,
        sources: &[&str],
        shared: Shared,
    ) -> Result<Self, OpenError> {
        let config::Store { path, retention } = store.clone();
        let sources: Vec<String> = sources.iter().map(|&name| name.to_owned()).collect();
        let opening = spawn_blocking(move || {
            let names: Vec<&str> = sources.iter().map(String::as_str).collect();
            let mut store = Store::open(&path, &names)?;
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
            let state = State { has_begun: AtomicBool::new(false), is_ok: AtomicBool::new(true) };
            Ok(Self { shared, store: Arc::new(Mutex::new(store)), state: Arc::new(state), retention })
        });
        match opening.await {
            Ok(keeper) => keeper,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Writes what ended, again and again. Never ends by itself.
    pub(super) async fn run(self) {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut swept = Timestamp::ZERO;
        loop {
            beats.tick().await;
            let now = self.shared.now();
            let sweeps = now.since(swept) >= SWEEP;
            if sweeps {
                swept = now;
            }
            let keeper = self.clone();
            blocking(move || {
                keeper.write(sweeps);
                if sweeps {
                    let horizon = keeper.shared.to_wall(now).minus(keeper.retention);
                    keeper.store().forget_before(horizon);
                }
            })
            .await;
        }
    }

    /// Writes where the table stands at the end.
    pub(super) async fn finish(self) {
        blocking(move || self.write(true)).await;
    }

    /// Writes what ended and, if wanted, what changed, as not told.
    fn write(&self, with_changes: bool) {
        let mut store = self.store();
        let with_changes = with_changes && !store.wants_all();
        let now = self.shared.now();
        let (ended, checkpoint) = {
            let mut ingest = self.shared.lock();
            ingest.advance(now);
            let checkpoint = with_changes.then(|| ingest.take_checkpoint(false, false));
            (ingest.take_ended(), checkpoint)
        };
        self.note(&store.write(Batch { now, wall: self.shared.to_wall(now), ended, checkpoint }));
    }

    /// What a scraper is told, once the store has it.
    fn tell(&self) -> View {
        // Held to the end: what was told first is written first.
        let mut store = self.store();
        if !self.state.has_begun.swap(true, Ordering::Relaxed) {
            let mut view = self.shared.observe(Audience::Scraper);
            view.table.begin_at_zero();
            return view;
        }
        let can_write = store.can_write();
        let all = store.wants_all();
        let now = self.shared.now();
        let wall = self.shared.to_wall(now);
        let (view, ended, checkpoint) = {
            let mut ingest = self.shared.lock();
            ingest.advance(now);
            let checkpoint = can_write.then(|| ingest.take_checkpoint(true, all));
            (ingest.view(wall), ingest.take_ended(), checkpoint)
        };
        self.note(&store.write(Batch { now, wall, ended, checkpoint }));
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

    fn note(&self, written: &Written) {
        match written {
            Written::Yes | Written::StillFailing => return,
            Written::Failed(error) => tracing::error!(
                error,
                "the store cannot be written; serving on, but a restart may count again what is told meanwhile"
            ),
            Written::Again(lost) => tracing::info!(lost, "the store is written again"),
        }
        self.state.is_ok.store(matches!(written, Written::Again(_)), Ordering::Relaxed);
    }
}

impl Observe for Keeper {
    fn observe(&self, audience: Audience) -> View {
        let mut view = match audience {
            Audience::Scraper => self.tell(),
            Audience::Visitor => self.shared.observe(audience),
        };
        view.store_ok = Some(self.state.is_ok.load(Ordering::Relaxed));
        view
    }
}

/// Runs `work` off the async threads; a panic of it is ours.
async fn blocking(work: impl FnOnce() + Send + 'static) {
    if let Err(error) = spawn_blocking(work).await
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}
