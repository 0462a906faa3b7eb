//! Looks at the table every ten seconds for the live page.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::readiness::SourceReadiness;
use super::supervise::blocking;
use crate::config::TurnserverLine;
use crate::live::{Board, INTERVAL, ShowLive, SiteFacts, SourceSetup};
use crate::metrics::Observe;

/// How long the first look waits for the sources at most: a Redis that is there has answered.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// The board of the live page, shared by who looks and who shows.
#[derive(Clone, Debug)]
pub(super) struct LiveBoard(Arc<Mutex<Board>>);

impl LiveBoard {
    /// For sources that coturn reports to by these lines, in the order of their numbers; the last is the listener, if there
    /// is one.
    pub(super) fn new(redis: Vec<TurnserverLine>, listener: Option<TurnserverLine>) -> Self {
        let all = redis.into_iter().chain(listener);
        let setups =
            all.map(|TurnserverLine { line, note }| SourceSetup { line, note: Some(note) }).collect();
        Self(Arc::new(Mutex::new(Board::new(setups))))
    }

    /// Never ends by itself; may be dropped at any time.
    pub(super) async fn keep_looking(self, source: impl Observe + Clone, readiness: SourceReadiness) {
        // A look before the sources are there would call them down until the next one.
        let _ = timeout(FIRST_LOOK, readiness.probe().until_ready()).await;
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (board, source, readiness) = (self.clone(), source.clone(), readiness.clone());
            // As for a scrape: the store may be waited for.
            blocking(move || board.look(&source, &readiness)).await;
        }
    }

    fn look(&self, source: &impl Observe, readiness: &SourceReadiness) {
        let view = source.observe();
        let is_store_ok = view.store.map(|store| store.is_ok);
        self.board().look(&view.table, view.wall, &readiness.troubles(), is_store_ok);
    }

    /// What it holds is whole after each call.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ShowLive for LiveBoard {
    fn page(&self, site: &SiteFacts<'_>, not_yet: Option<&str>) -> Arc<[u8]> {
        self.board().page(site, not_yet)
    }
}
