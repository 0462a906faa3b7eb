//! Which sources are ready, for the web server's readiness probe.

use std::sync::{Arc, Mutex, PoisonError};

use crate::http::Readiness;
use crate::state::SourceId;

/// Which sources are not ready, and why; the web server shows the first reason.
#[derive(Clone, Debug)]
pub(super) struct SourceReadiness {
    reasons: Arc<Mutex<Vec<Option<String>>>>,
    readiness: Readiness,
}

impl SourceReadiness {
    pub(super) fn new(names: &[&str]) -> Self {
        let reasons: Vec<_> = names.iter().map(|name| Some(format!("{name}: not connected yet"))).collect();
        let readiness = Readiness::new(reasons.first().cloned().flatten().unwrap_or_default());
        Self { reasons: Arc::new(Mutex::new(reasons)), readiness }
    }

    /// What the web server asks.
    pub(super) fn probe(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Whether the source is not ready yet.
    pub(super) fn is_waiting(&self, source: SourceId) -> bool {
        let reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        reasons.get(source.0 as usize).is_some_and(Option::is_some)
    }

    /// The source is ready, or not for this reason.
    pub(super) fn set(&self, source: SourceId, reason: Option<String>) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = reasons.get_mut(source.0 as usize) {
            *place = reason;
        }
        match reasons.iter().flatten().next() {
            Some(reason) => self.readiness.not_ready(reason.clone()),
            None => self.readiness.ready(),
        }
    }
}
