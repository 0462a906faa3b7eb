//! One cancel signal for every task, and the signals of the operating system that set it off.
//!
//! Starts no task, ends no process and logs nothing: whoever holds a [`Shutdown`] decides what stopping means.

use std::io;
#[cfg(unix)]
use std::task::Poll;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
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

/// Whether a closed terminal (SIGHUP) ends the program, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// It does, unless whoever started the program wants it ignored, as `nohup` does.
    Ends,
    /// It does not.
    Survived,
}

/// Resolves at the first SIGTERM or SIGINT (Ctrl-C elsewhere than on Unix), or SIGHUP where that ends the program, with
/// the name of what came.
///
/// From the first poll on these signals no longer end the process by themselves, even after the future is dropped:
/// call again to wait for a second one.
///
/// # Errors
///
/// The operating system's, if a handler cannot be installed.
pub async fn on_signal(hangup: Hangup) -> io::Result<&'static str> {
    #[cfg(unix)]
    {
        let mut kinds = vec![("SIGTERM", SignalKind::terminate()), ("SIGINT", SignalKind::interrupt())];
        if hangup == Hangup::Ends && !is_hangup_ignored() {
            kinds.push(HANGUP);
        }
        Ok(Signals::hold(&kinds)?.next().await)
    }
    #[cfg(not(unix))]
    {
        let _ = hangup;
        tokio::signal::ctrl_c().await?;
        Ok("Ctrl-C")
    }
}

/// Signals that have no meaning here, held so that none of them kills the process without a word.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    held: Vec<(&'static str, Signal)>,
}

impl Signals {
    /// Holds SIGUSR1 and SIGUSR2, and SIGHUP where it does not end the program; they do not kill from now on, also after
    /// this is dropped.
    ///
    /// # Errors
    ///
    /// The operating system's, if a handler cannot be installed.
    pub fn without_meaning(hangup: Hangup) -> io::Result<Self> {
        #[cfg(unix)]
        {
            let mut kinds =
                vec![("SIGUSR1", SignalKind::user_defined1()), ("SIGUSR2", SignalKind::user_defined2())];
            kinds.extend((hangup == Hangup::Survived).then_some(HANGUP));
            Self::hold(&kinds)
        }
        #[cfg(not(unix))]
        {
            let _ = hangup;
            Ok(Self {})
        }
    }

    #[cfg(unix)]
    fn hold(kinds: &[(&'static str, SignalKind)]) -> io::Result<Self> {
        let held = kinds.iter().map(|&(name, kind)| Ok((name, signal(kind)?)));
        Ok(Self { held: held.collect::<io::Result<_>>()? })
    }

    /// Resolves when one comes, with its name. May be dropped and called again.
    pub async fn next(&mut self) -> &'static str {
        #[cfg(unix)]
        {
            std::future::poll_fn(|context| {
                for (name, signal) in &mut self.held {
                    if signal.poll_recv(context).is_ready() {
                        return Poll::Ready(*name);
                    }
                }
                Poll::Pending
            })
            .await
        }
        #[cfg(not(unix))]
        {
            std::future::pending().await
        }
    }
}

#[cfg(unix)]
const HANGUP: (&str, SignalKind) = ("SIGHUP", SignalKind::hangup());

/// Whether SIGHUP was ignored when this process began, and still is. Where the system does not say: no.
#[cfg(unix)]
fn is_hangup_ignored() -> bool {
    ignores_hangup(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// By proc(5): a bit for each signal, in hexadecimal digits; SIGHUP is the first.
#[cfg(unix)]
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
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
    async fn signals_are_named_when_they_come() {
        use rustix::process::{Signal, getpid, kill_process};
        let ends = [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT"), (Signal::HUP, "SIGHUP")];
        // `nohup make test` has it ignored.
        let counted = if is_hangup_ignored() { 2 } else { 3 };
        for (signal, name) in ends.into_iter().take(counted) {
            let mut signalled = pin!(on_signal(Hangup::Ends));
            // The first poll installs the handlers; before it the signal would end the test run.
            let early = std::future::poll_fn(|cx| std::task::Poll::Ready(signalled.as_mut().poll(cx))).await;
            assert!(early.is_pending(), "{name}: nothing was sent yet, got {early:?}");
            kill_process(getpid(), signal).unwrap();
            let got = timeout(PATIENCE, signalled).await.expect("the signal comes").unwrap();
            assert_eq!(got, name);
        }
        let mut signals = Signals::without_meaning(Hangup::Survived).unwrap();
        for (signal, name) in [(Signal::USR2, "SIGUSR2"), (Signal::HUP, "SIGHUP"), (Signal::USR1, "SIGUSR1")]
        {
            kill_process(getpid(), signal).unwrap();
            assert_eq!(timeout(PATIENCE, signals.next()).await.expect("the signal comes"), name);
        }
        let held: Vec<_> =
            Signals::without_meaning(Hangup::Ends).unwrap().held.iter().map(|(name, _)| *name).collect();
        assert_eq!(held, ["SIGUSR1", "SIGUSR2"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_hangup_that_was_ignored_at_the_start_is_recognized() {
        let status =
            |mask: &str| format!("SigBlk:\t0000000000000001\nSigIgn:\t{mask}\nSigCgt:\t0000000000000001\n");
        for (mask, ignored) in
            [("0000000000001000", false), ("0000000000001001", true), ("", false), ("x", false)]
        {
            assert_eq!(ignores_hangup(&status(mask)), ignored, "{mask}");
        }
        assert!(!ignores_hangup(""));
    }
}
