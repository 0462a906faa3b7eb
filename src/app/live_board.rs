//! Looks at the table for the live page: every ten seconds, and when the state of a source changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::readiness::SourceReadiness;
use super::supervise::blocking;
use crate::config::TurnserverLine;
use crate::live::{Board, INTERVAL, LookKind, ShowLive, SiteFacts, SourceSetup};
use crate::metrics::Observe;

/// How long the first look waits for the sources at most: a Redis that is there has answered.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// The least time between a look and one that is for the sake of a source: a look costs as much as a scrape.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

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
        // A look before the sources are there would call them down.
        let _ = timeout(FIRST_LOOK, readiness.probe().until_ready()).await;
        let mut changes = readiness.changes();
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Since the look before.
            let news = async {
                sleep(BETWEEN_LOOKS).await;
                changes.changed().await
            };
            let kind = tokio::select! {
                biased;
                _ = ticks.tick() => LookKind::Regular,
                // `readiness` is here, so it is no end.
                _ = news => LookKind::Between,
            };
            // What has changed by now is seen in this look.
            changes.mark_unchanged();
            let (board, source, readiness) = (self.clone(), source.clone(), readiness.clone());
            // As for a scrape: the store may be waited for.
            blocking(move || board.look(kind, &source, &readiness)).await;
        }
    }

    fn look(&self, kind: LookKind, source: &impl Observe, readiness: &SourceReadiness) {
        let view = source.observe();
        let is_store_ok = view.store.map(|store| store.is_ok);
        self.board().look(kind, &view.table, view.wall, &readiness.troubles(), is_store_ok);
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::app::ingest::SharedTable;
    use crate::app::testing::shared_table;
    use crate::live::About;
    use crate::metrics::View;
    use crate::state::SourceId;

    const SOURCE: SourceId = SourceId(0);

    /// A table, and how often it was looked at.
    #[derive(Clone)]
    struct CountingTable(SharedTable, Arc<AtomicUsize>);

    impl Observe for CountingTable {
        fn observe(&self) -> View {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.observe()
        }
    }

    /// A board that is kept up to date beside the test.
    struct Stage {
        board: LiveBoard,
        readiness: SourceReadiness,
        looks: Arc<AtomicUsize>,
    }

    impl Stage {
        fn start() -> Self {
            let (shared, _clock) = shared_table(10_000);
            let readiness = SourceReadiness::new(&["redis://test"]);
            let (board, looks) = (LiveBoard::new(Vec::new(), None), Arc::default());
            let source = CountingTable(shared, Arc::clone(&looks));
            tokio::spawn(board.clone().keep_looking(source, readiness.clone()));
            Self { board, readiness, looks }
        }

        fn set(&self, trouble: Option<&str>) {
            self.readiness.set(SOURCE, trouble.map(str::to_owned));
        }

        /// After so long: how often the table was looked at, and whether the page calls the source down.
        async fn after(&self, millis: u64) -> (usize, bool) {
            sleep(Duration::from_millis(millis)).await;
            let about = About {
                name: "test".to_owned(),
                version: "1.2.3".to_owned(),
                revision: None,
                documentation: None,
            };
            let site = SiteFacts { about: &about, telemetry_path: "/metrics", has_details: false };
            let page = String::from_utf8(self.board.page(&site, None).to_vec()).unwrap();
            (self.looks.load(Ordering::SeqCst), page.contains("Source redis://test is down"))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_look_waits_for_the_sources_two_seconds_at_most() {
        let stage = Stage::start();
        assert_eq!(stage.after(1_990).await, (0, false));
        assert_eq!(stage.after(20).await, (1, true));
        let stage = Stage::start();
        assert_eq!(stage.after(500).await, (0, false));
        stage.set(None);
        assert_eq!(stage.after(10).await, (1, false));
        assert_eq!(stage.after(9_900).await, (1, false));
        assert_eq!(stage.after(200).await, (2, false), "ten seconds after the first");
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_comes_or_goes_is_shown_within_a_second() {
        let stage = Stage::start();
        assert_eq!(stage.after(2_100).await, (1, true));
        stage.set(None);
        assert_eq!(stage.after(1_000).await, (2, false), "a Redis that needed more than two seconds");
        stage.set(Some("redis://test: connection refused"));
        assert_eq!(stage.after(1_000).await, (3, true));
        stage.set(Some("redis://test: connection refused"));
        assert_eq!(stage.after(3_000).await, (3, true), "nothing has changed");
        stage.set(None);
        assert_eq!(stage.after(10).await, (4, false), "the last look was long ago: at once");
        assert_eq!(stage.after(5_000).await, (5, false), "12 s after the start: a regular one");
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_flaps_costs_a_look_a_second() {
        let stage = Stage::start();
        assert_eq!(stage.after(2_100).await.0, 1);
        for _ in 0..40 {
            stage.set(None);
            stage.after(50).await;
            stage.set(Some("redis://test: connection refused"));
            stage.after(50).await;
        }
        assert_eq!(stage.after(1_000).await, (6, true));
    }
}
