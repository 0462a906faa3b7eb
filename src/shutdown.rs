//! One cancel signal for every task, and the signals of the operating system that set it off.
//!
//! Starts no task, ends no process and logs nothing: whoever holds a [`Shutdown`] decides what stopping means.

use std::io;
use tokio::sync::watch;

/// The cancel signal: clones share it, it is given once and stays given.
#[derive(Clone, Debug)]
pub struct Shutdown {
    given: watch::Sender<bool>,
}

impl Shutdown {
    /// A signal nobody has given yet.
    pub fn new() -> Self {
        Self { given: watch::Sender::new(false) }
    }

    /// Gives the signal to every clone; again does nothing.
    pub fn trigger(&self) {
        self.given.send_replace(true);
    }

    /// Whether the signal was given.
    pub fn is_triggered(&self) -> bool {
        *self.given.borrow()
    }

    /// Resolves once the signal was given; at once if it was given before. May be dropped and called again.
    pub async fn triggered(&self) {
        // The sender is `self`, so the channel cannot close while this waits.
        let _ = self.given.subscribe().wait_for(|given| *given).await;
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

/// Resolves at the first SIGTERM or SIGINT (Ctrl-C elsewhere than on Unix), with the name of what came.
///
/// From the first poll on these signals no longer end the process by themselves, even after the future is dropped:
/// call again to hear of a second one.
///
/// # Errors
///
/// The operating system's, if a handler cannot be installed.
pub async fn on_signal() -> io::Result<&'static str> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => Ok("SIGTERM"),
            _ = interrupt.recv() => Ok("SIGINT"),
        }
    }
    #[cfg(not(unix))]
    {
        tokio::signal::ctrl_c().await?;
        Ok("Ctrl-C")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::time::Duration;
    use tokio::time::timeout;

    /// Longer than any machine needs, shorter than a test run's patience.
    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn every_clone_hears_it_early_and_late() {
        let shutdown = Shutdown::new();
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.triggered().await }
        });
        tokio::task::yield_now().await;
        assert!(!shutdown.is_triggered());
        assert!(!waiting.is_finished());

        shutdown.clone().trigger();

        timeout(PATIENCE, waiting).await.expect("the waiting task ends").unwrap();
        timeout(PATIENCE, shutdown.triggered()).await.expect("a late caller resolves at once");
        assert!(shutdown.is_triggered());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn both_signals_are_heard() {
        use rustix::process::{Signal, getpid, kill_process};
        for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
            let mut heard = pin!(on_signal());
            // The first poll installs the handlers; before it the signal would end the test run.
            let early = std::future::poll_fn(|cx| std::task::Poll::Ready(heard.as_mut().poll(cx))).await;
            assert!(early.is_pending(), "{name}: nothing was sent yet, got {early:?}");
            kill_process(getpid(), signal).unwrap();
            let got = timeout(PATIENCE, heard).await.expect("the signal is heard").unwrap();
            assert_eq!(got, name);
        }
    }
}
