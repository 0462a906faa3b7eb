//! How far a store is loaded: in the text of `/-/ready` and, every few seconds, in the log.

use std::sync::Arc;
use std::time::Duration;

use crate::app::readiness::SourceReadiness;
use crate::clock::{Clock, Timestamp};

/// How often it is logged.
const LOGGED_EVERY: Duration = Duration::from_secs(3);

/// How often the text changes.
const SHOWN_EVERY: Duration = Duration::from_millis(100);

/// Shows how far it is.
#[derive(Debug)]
pub(super) struct LoadProgress {
    readiness: SourceReadiness,
    clock: Arc<dyn Clock>,
    began: Timestamp,
    shown: Timestamp,
    logged: Timestamp,
}

impl LoadProgress {
    /// It begins now.
    pub(super) fn begin(readiness: SourceReadiness, clock: Arc<dyn Clock>) -> Self {
        readiness.set_loading(Some("loading the store".to_owned()));
        let began = clock.now();
        Self { readiness, clock, began, shown: began, logged: began }
    }

    /// So many bytes of the snapshot are read, of so many.
    pub(super) fn snapshot(&mut self, bytes: (u64, u64)) {
        self.show(|| format!("loading the store: {} of its snapshot", share(bytes)));
    }

    /// So many bytes of the journal are read, of so many.
    pub(super) fn journal(&mut self, bytes: (u64, u64), batches: u64) {
        self.show(|| format!("loading the store: {} of its journal, {batches} batches", share(bytes)));
    }

    /// The ledger's tables become those of another version, in one transaction, of which nobody knows how far it is.
    pub(super) fn upgrade(&mut self, (from, to): (u32, u32)) {
        tracing::info!(from, to, "the ledger is of an earlier version; its tables are brought up to date");
        let text = format!("loading the store: its ledger goes from version {from} to {to}");
        self.readiness.set_loading(Some(text));
    }

    /// How long it took so far.
    pub(super) fn duration(&self) -> Duration {
        self.clock.now().since(self.began)
    }

    fn show(&mut self, text: impl FnOnce() -> String) {
        let now = self.clock.now();
        if now.since(self.shown) < SHOWN_EVERY {
            return;
        }
        self.shown = now;
        let text = text();
        if now.since(self.logged) >= LOGGED_EVERY {
            self.logged = now;
            tracing::info!(seconds = now.since(self.began).as_secs(), "{text}");
        }
        self.readiness.set_loading(Some(text));
    }
}

/// "41 % of 152 MB".
fn share((read, all): (u64, u64)) -> String {
    let percent = read.min(all).saturating_mul(100).checked_div(all).unwrap_or(100);
    format!("{percent} % of {} MB", all.div_ceil(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn how_far_it_is_is_shown_now_and_then() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000)));
        let readiness = SourceReadiness::new(&["a"]);
        let mut progress = LoadProgress::begin(readiness.clone(), Arc::clone(&clock) as Arc<dyn Clock>);
        let shown = || readiness.probe().no_page_yet().unwrap();
        progress.snapshot((1, 2));
        assert_eq!(shown(), "loading the store");
        clock.set(Timestamp::from_millis(1_100));
        progress.snapshot((62_600_000, 151_200_000));
        assert_eq!(shown(), "loading the store: 41 % of 152 MB of its snapshot");
        clock.set(Timestamp::from_millis(1_200));
        progress.journal((0, 0), 7);
        assert_eq!(shown(), "loading the store: 100 % of 0 MB of its journal, 7 batches");
        progress.upgrade((2, 3));
        assert_eq!(shown(), "loading the store: its ledger goes from version 2 to 3");
        assert_eq!(progress.duration(), Duration::from_millis(200));
    }
}
