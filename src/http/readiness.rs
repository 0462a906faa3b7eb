//! Whether this process is ready to be scraped, and if not, why: set by the application, read by `/-/ready`.
//!
//! Knows nothing of sources or sockets; it only stores the last state that was set.

use std::sync::{Arc, Mutex, PoisonError};

/// A shared note: ready, or not ready with a reason. Clones share it.
#[derive(Clone, Debug)]
pub struct Readiness {
    state: Arc<Mutex<Result<(), String>>>,
}

impl Readiness {
    /// Not ready yet, for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { state: Arc::new(Mutex::new(Err(one_line(reason.into())))) }
    }

    /// From now on ready.
    pub fn ready(&self) {
        self.set(Ok(()));
    }

    /// From now on not ready, for this reason; line breaks in it become blanks.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(Err(one_line(reason.into())));
    }

    /// What was said last.
    ///
    /// # Errors
    ///
    /// The reason, in one line, when not ready.
    pub fn get(&self) -> Result<(), String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, to: Result<(), String>) {
        let was =
            std::mem::replace(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner), to.clone());
        // Only a turn is news: the reason may change at every attempt to reconnect.
        match (was, to) {
            (Err(_), Ok(())) => tracing::info!("ready"),
            (Ok(()), Err(reason)) => tracing::warn!(reason, "no longer ready"),
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
        assert_eq!(readiness.get(), Err("link down".to_owned()));
    }

    #[test]
    fn a_reason_is_one_line() {
        let readiness = Readiness::new("refused:\r\nno route\x1b");
        assert_eq!(readiness.get(), Err("refused:  no route ".to_owned()));
    }
}
