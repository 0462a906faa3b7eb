//! What the process itself counts, given to the table, whose counts go on over a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ingest::Ingest;
use crate::clock::Timestamp;
use crate::metrics::{WebRefusal, WebRefusals};
use crate::state::ProcessCounts;

/// The counts of the process. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct ProcessCounter {
    pub(super) dropped_log_lines: Arc<AtomicU64>,
    pub(super) refusals: Arc<WebRefusals>,
}

impl ProcessCounter {
    /// Gives the table what the process has come to; before each view.
    pub(super) fn count(&self, ingest: &mut Ingest, now: Timestamp) {
        let refusals = WebRefusal::ALL.map(|refusal| (refusal.as_str(), self.refusals.get(refusal)));
        let dropped_log_lines = self.dropped_log_lines.load(Ordering::Relaxed);
        ingest.process_counts(now, &ProcessCounts { dropped_log_lines, http_refusals: &refusals });
    }
}
