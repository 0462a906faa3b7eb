//! The one loop that keeps a connection to a Redis: connect, work until the connection ends, log why, wait, connect again.
//!
//! Three things go by one rule, whatever the connection is for. The same failure is logged once, until the connection has
//! worked: a subscription was confirmed, or a forwarded command was accepted. The waits grow from one failure to the next,
//! and begin anew after a connection that lasted for 30 s ([`LASTED`]); one that works and breaks at once must not
//! be tried four times a second. A connection that lasted so long has worked, too.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::sleep;

use super::log_once::LogOnce;
use crate::clock::Timestamp;
use crate::source::backoff::{Backoff, LASTED};
use crate::source::error::LinkError;

/// Something that needs a connection for as long as the program runs.
pub(super) trait KeepConnected {
    /// What ends the loop.
    type Fatal;

    /// Connects, and works until the connection fails. Says by `link` how far it has come.
    async fn attempt(&mut self, link: &mut LinkProgress<'_>) -> Result<LinkError, Self::Fatal>;

    /// The attempt failed, or the connection was lost. `is_news` if that is to be logged.
    fn failed(&mut self, error: &LinkError, is_news: bool);

    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// How far an attempt has come.
#[derive(Debug)]
pub(super) struct LinkProgress<'a> {
    connected: Option<Timestamp>,
    failures: &'a mut Failures,
}

impl LinkProgress<'_> {
    /// The server has accepted the connection.
    pub(super) const fn is_connected(&mut self, now: Timestamp) {
        self.connected = Some(now);
    }

    /// The connection does what it is for: its loss will be news.
    pub(super) fn works(&mut self) {
        self.failures.logged.solve();
    }
}

/// Failures in a row: what was logged of them, and how long to wait after the next.
#[derive(Debug, Default)]
pub(super) struct Failures {
    logged: LogOnce<String>,
    backoff: Backoff,
}

impl Failures {
    /// None yet, with waits by this schedule.
    pub(super) fn with(backoff: Backoff) -> Self {
        Self { logged: LogOnce::default(), backoff }
    }

    /// One more; whether to log it.
    #[must_use]
    pub(super) fn is_news(&mut self, error: &impl Display) -> bool {
        self.logged.is_news(error.to_string())
    }

    /// The wait before the next attempt.
    pub(super) fn next_wait(&mut self) -> Duration {
        self.backoff.next_wait(fastrand::f64())
    }

    /// The row is over.
    pub(super) fn end(&mut self) {
        self.logged = LogOnce::default();
        self.backoff.restart();
    }

    /// The row is over; whether one of it was logged.
    pub(super) fn solve(&mut self) -> bool {
        let was_logged = self.logged.is_there();
        self.end();
        was_logged
    }
}

/// Runs until an attempt gives a fatal error.
pub(super) async fn keep_connected<C: KeepConnected>(work: &mut C) -> C::Fatal {
    let mut failures = Failures::default();
    loop {
        let mut link = LinkProgress { connected: None, failures: &mut failures };
        let error = match work.attempt(&mut link).await {
            Ok(error) => error,
            Err(fatal) => return fatal,
        };
        if link.connected.is_some_and(|connected| work.now().since(connected) >= LASTED) {
            failures.end();
        }
        let is_news = failures.is_news(&error);
        work.failed(&error, is_news);
        sleep(failures.next_wait()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing::at;
    use crate::source::backoff;
    use std::collections::VecDeque;
    use tokio::time::Instant;

    /// What becomes of an attempt: whether it connects, whether it then works, and for how many seconds it lasts.
    type Fate = (bool, bool, u64);

    /// Each attempt fails for the same reason.
    struct Script {
        fates: VecDeque<Fate>,
        now: Timestamp,
        ended: Instant,
        /// For each attempt: whether its end was news, and how long was waited before it.
        seen: Vec<(bool, Duration)>,
        waited: Duration,
    }

    impl KeepConnected for Script {
        type Fatal = ();

        async fn attempt(&mut self, link: &mut LinkProgress<'_>) -> Result<LinkError, ()> {
            self.waited = self.ended.elapsed();
            let (connects, works, seconds) = self.fates.pop_front().ok_or(())?;
            if connects {
                link.is_connected(self.now);
            }
            if works {
                link.works();
            }
            self.now = self.now.plus(Duration::from_secs(seconds));
            Ok(LinkError::Closed)
        }

        fn failed(&mut self, _: &LinkError, is_news: bool) {
            self.seen.push((is_news, self.waited));
            self.ended = Instant::now();
        }

        fn now(&self) -> Timestamp {
            self.now
        }
    }

    async fn play(fates: &[Fate]) -> Vec<(bool, Duration)> {
        let fates = fates.iter().copied().collect();
        let mut script =
            Script { fates, now: at(1000), ended: Instant::now(), seen: Vec::new(), waited: Duration::ZERO };
        keep_connected(&mut script).await;
        script.seen
    }

    const REFUSED: Fate = (false, false, 0);

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_news_once_and_again_after_the_connection_worked() {
        let news =
            |seen: Vec<(bool, Duration)>| seen.into_iter().map(|(is_news, _)| is_news).collect::<Vec<_>>();
        let seen =
            play(&[REFUSED, REFUSED, (true, true, 1), REFUSED, (true, false, 1), (true, false, 30)]).await;
        assert_eq!(news(seen), [true, false, true, false, false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_until_a_connection_lasted() {
        let seen = play(&[REFUSED; 5]).await;
        assert!(seen[4].1 >= backoff::FIRST * 4, "{seen:?}");
        // One that works and breaks at once changes nothing.
        let seen = play(&[REFUSED, REFUSED, REFUSED, REFUSED, (true, true, 29), REFUSED]).await;
        assert!(seen[5].1 >= backoff::FIRST * 8, "{seen:?}");
        let seen = play(&[REFUSED, REFUSED, REFUSED, REFUSED, (true, true, 30), REFUSED]).await;
        // A timer is late by a millisecond at most.
        assert!(seen[5].1 <= backoff::FIRST + Duration::from_millis(1), "{seen:?}");
    }
}
