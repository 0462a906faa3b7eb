//! Whether this process is ready to be scraped, and if not, why: set by the application, read by `/-/ready`; and whether
//! it has anything to show yet.
//!
//! Knows nothing of sources or sockets; it only stores the last state that was set.

use tokio::sync::watch;

/// A shared note: ready, or not ready with a reason. Clones share it.
#[derive(Clone, Debug)]
pub struct Readiness {
    state: watch::Sender<ReadyState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ReadyState {
    Ready,
    NotReady(String),
    /// There is no page yet.
    Loading(String),
}

impl Readiness {
    /// Not ready yet, for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { state: watch::Sender::new(ReadyState::NotReady(one_line(reason.into()))) }
    }

    /// From now on ready.
    pub fn ready(&self) {
        self.set(ReadyState::Ready);
    }

    /// From now on not ready, for this reason; line breaks in it become blanks.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(ReadyState::NotReady(one_line(reason.into())));
    }

    /// Not ready, and there is no page before another state is set; how far it is with that.
    pub fn loading(&self, progress: impl Into<String>) {
        self.set(ReadyState::Loading(one_line(progress.into())));
    }

    /// What was said last.
    ///
    /// # Errors
    ///
    /// The reason, in one line, when not ready.
    pub fn get(&self) -> Result<(), String> {
        match self.state.borrow().clone() {
            ReadyState::Ready => Ok(()),
            ReadyState::NotReady(reason) | ReadyState::Loading(reason) => Err(reason),
        }
    }

    /// Why there is no page yet, if so.
    pub fn no_page_yet(&self) -> Option<String> {
        match &*self.state.borrow() {
            ReadyState::Loading(progress) => Some(progress.clone()),
            ReadyState::Ready | ReadyState::NotReady(_) => None,
        }
    }

    /// Waits until there is a page.
    pub(super) async fn until_there_is_a_page(&self) {
        // The sender is ours, so it is not gone.
        let _ = self.state.subscribe().wait_for(|state| !matches!(state, ReadyState::Loading(_))).await;
    }

    /// Waits until it is ready.
    pub async fn until_ready(&self) {
        // The sender is ours, so it is not gone.
        let _ = self.state.subscribe().wait_for(|state| *state == ReadyState::Ready).await;
    }

    fn set(&self, to: ReadyState) {
        let was = self.state.send_replace(to.clone());
        // Only a turn is news: the reason may change at every attempt to reconnect.
        match (was, to) {
            (ReadyState::NotReady(_) | ReadyState::Loading(_), ReadyState::Ready) => tracing::info!("ready"),
            (ReadyState::Ready, ReadyState::NotReady(reason)) => tracing::warn!(reason, "no longer ready"),
            _ => {}
        }
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new("starting")
    }
}

/// The reason is shown as a line of text, whatever an outside error message held.
fn one_line(reason: String) -> String {
    if reason.chars().any(char::is_control) { reason.replace(char::is_control, " ") } else { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_not_ready_and_follows_every_clone() {
        let readiness = Readiness::default();
        assert_eq!(readiness.get(), Err("starting".to_owned()));
        readiness.clone().ready();
        assert_eq!(readiness.get(), Ok(()));
        readiness.clone().not_ready("link down");
        assert_eq!((readiness.get(), readiness.no_page_yet()), (Err("link down".to_owned()), None));
        readiness.clone().loading("41 % of\n152 MB");
        assert_eq!(readiness.get(), Err("41 % of 152 MB".to_owned()));
        assert_eq!(readiness.no_page_yet(), Some("41 % of 152 MB".to_owned()));
    }

    #[test]
    fn a_reason_is_one_line() {
        let readiness = Readiness::new("refused:\r\nno route\x1b");
        assert_eq!(readiness.get(), Err("refused:  no route ".to_owned()));
    }
}
