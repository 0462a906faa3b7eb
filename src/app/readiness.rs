//! Which sources are ready, for the web server's readiness probe.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::http::Readiness;
use crate::state::SourceId;

/// Which sources are not ready, and why; the web server shows the first reason.
#[derive(Clone, Debug)]
pub(super) struct SourceReadiness {
    names: Arc<[String]>,
    reasons: Arc<Mutex<Reasons>>,
    changes: watch::Sender<()>,
    readiness: Readiness,
}

#[derive(Debug)]
struct Reasons {
    /// How far the store is loaded; before that all else does not matter.
    loading: Option<String>,
    of_sources: Vec<Option<String>>,
}

impl SourceReadiness {
    pub(super) fn new(names: &[&str]) -> Self {
        let reasons: Vec<_> = names.iter().map(|name| Some(format!("{name}: not connected yet"))).collect();
        let readiness = Readiness::new(reasons.first().cloned().flatten().unwrap_or_default());
        let reasons = Reasons { loading: None, of_sources: reasons };
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Self { names, reasons: Arc::new(Mutex::new(reasons)), changes: watch::Sender::new(()), readiness }
    }

    /// What the sources are called, in the order of their numbers.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// What the web server asks.
    pub(super) fn probe(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Whether the source is not ready yet.
    pub(super) fn is_waiting(&self, source: SourceId) -> bool {
        self.reasons().of_sources.get(source.0 as usize).is_some_and(Option::is_some)
    }

    /// The source is ready, or not for this reason.
    pub(super) fn set(&self, source: SourceId, reason: Option<String>) {
        let mut reasons = self.reasons();
        let Some(place) = reasons.of_sources.get_mut(source.0 as usize).filter(|place| **place != reason)
        else {
            return;
        };
        *place = reason;
        self.show(&reasons);
        self.changes.send_replace(());
    }

    /// Why each source is not ready, in the order of their numbers.
    pub(super) fn troubles(&self) -> Vec<Option<String>> {
        self.reasons().of_sources.clone()
    }

    /// Tells when one of [`Self::troubles`] is another one.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// How far the store is loaded; `None` when it is.
    pub(super) fn set_loading(&self, progress: Option<String>) {
        let mut reasons = self.reasons();
        reasons.loading = progress;
        self.show(&reasons);
    }

    fn show(&self, reasons: &Reasons) {
        match (&reasons.loading, reasons.of_sources.iter().flatten().next()) {
            (Some(progress), _) => self.readiness.loading(progress.clone()),
            (None, Some(reason)) => self.readiness.not_ready(reason.clone()),
            (None, None) => self.readiness.ready(),
        }
    }

    fn reasons(&self) -> MutexGuard<'_, Reasons> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_the_store_is_loaded_no_source_matters() {
        let sources = SourceReadiness::new(&["a", "b"]);
        let shown = sources.probe();
        sources.set_loading(Some("loading the store".to_owned()));
        sources.set(SourceId(0), None);
        assert_eq!(shown.no_page_yet(), Some("loading the store".to_owned()));
        sources.set_loading(None);
        assert_eq!((shown.get(), shown.no_page_yet()), (Err("b: not connected yet".to_owned()), None));
        sources.set(SourceId(1), None);
        assert_eq!(shown.get(), Ok(()));
    }
}
