//! What the service manager is notified of, where one has started the program and wants to know (`Type=notify` of systemd): that it
//! is ready, reads its files again, stops; what it watches, in a line; and that it still takes in what comes.
//!
//! It is ready when it listens everywhere and the store is loaded, so that there is a page. Whether a Redis can be reached
//! is no part of that: the status line says so, and a restart would not help.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::heartbeat::{Heartbeat, Heartbeats};
use super::log_once::LogOnce;
use super::readiness::SourceReadiness;
use crate::clock::{Timestamp, monotonic_micros};
use crate::net;

/// How often the status line may change.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// While the store is loaded, each step of it gives the start so much more time. A step is a hundredth of a file.
const LOADING_STEP: Duration = Duration::from_secs(90);

/// So many signs of life within the patience of the watchdog.
const SIGNS: u32 = 4;

/// The longest status line, in characters: a reason why a Redis cannot be watched may be long.
const LONGEST_STATUS: usize = 250;

/// The service manager; clones speak to the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceManager {
    /// `None`: nobody wants to know.
    notifications: Option<Arc<Mutex<Notifications>>>,
    heartbeats: Heartbeats,
}

/// Where messages go.
pub(super) trait Notify: Send + std::fmt::Debug {
    /// Sends one.
    fn send(&self, message: &str) -> std::io::Result<()>;
}

#[cfg(unix)]
impl Notify for net::NotifySocket {
    fn send(&self, message: &str) -> std::io::Result<()> {
        Self::send(self, message)
    }
}

/// What it was notified of so far.
#[derive(Debug)]
struct Notifications {
    socket: Box<dyn Notify>,
    phase: ServicePhase,
    /// The last status line, and when it was sent.
    status: Option<(String, Timestamp)>,
    /// How often a sign of life is due, if it is wanted.
    watchdog: Option<Duration>,
    alive: Option<Timestamp>,
    stuck: LogOnce<&'static str>,
    unreachable: LogOnce<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServicePhase {
    Starting,
    Ready,
    Stopping,
}

impl ServiceManager {
    /// The one that the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`), or none.
    #[cfg(unix)]
    pub(super) fn from_env() -> Self {
        match net::NotifySocket::from_env() {
            Ok(Some(socket)) => Self::at(Box::new(socket), net::watchdog_patience()),
            Ok(None) => Self::default(),
            Err(error) => {
                tracing::warn!(%error, "cannot use NOTIFY_SOCKET; the service manager is notified of nothing");
                Self::default()
            }
        }
    }

    /// There is none on this system.
    #[cfg(not(unix))]
    pub(super) fn from_env() -> Self {
        Self::default()
    }

    fn at(socket: Box<dyn Notify>, patience: Option<Duration>) -> Self {
        let notifications = Notifications {
            socket,
            phase: ServicePhase::Starting,
            status: None,
            watchdog: patience.map(|patience| patience / SIGNS),
            alive: None,
            stuck: LogOnce::new(),
            unreachable: LogOnce::new(),
        };
        Self { notifications: Some(Arc::new(Mutex::new(notifications))), heartbeats: Heartbeats::default() }
    }

    /// A loop without whose turns the watchdog is not fed.
    pub(super) fn watch(&self, name: &'static str) -> Heartbeat {
        self.heartbeats.watch(name)
    }

    /// How far the start is; each time that this changes, there is more time for it.
    pub(super) fn starting(&self, progress: &str) {
        let Some(mut notifications) = self.notifications() else { return };
        let status = one_line(progress);
        if notifications.phase == ServicePhase::Starting
            && notifications.status.as_ref().is_none_or(|(last, _)| *last != status)
        {
            let more = LOADING_STEP.as_micros();
            notifications.send(&format!("STATUS={status}\nEXTEND_TIMEOUT_USEC={more}"));
            notifications.status = Some((status, Timestamp::ZERO));
        }
    }

    /// It listens, and there is a page.
    pub(super) fn ready(&self) {
        let Some(mut notifications) = self.notifications() else { return };
        if notifications.phase == ServicePhase::Starting {
            notifications.phase = ServicePhase::Ready;
            notifications.status = None;
            notifications.send("READY=1");
        }
    }

    /// It reads its files again; [`ServiceManager::reloaded`] says that it has.
    pub(super) fn reloading(&self) {
        let Some(mut notifications) = self.notifications() else { return };
        if notifications.phase == ServicePhase::Ready {
            let message = format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_micros());
            notifications.send(&message);
        }
    }

    /// The files were read again.
    pub(super) fn reloaded(&self) {
        let Some(mut notifications) = self.notifications() else { return };
        if notifications.phase == ServicePhase::Ready {
            notifications.send("READY=1");
        }
    }

    /// It stops.
    pub(super) fn stopping(&self) {
        let Some(mut notifications) = self.notifications() else { return };
        notifications.phase = ServicePhase::Stopping;
        notifications.send("STOPPING=1\nSTATUS=Stopping");
    }

    /// Time has passed in the table, in which so many allocations live: a sign of life, if one is due and all loops that are
    /// watched have had a turn, and the status line, if it is another.
    pub(super) fn time_passed(&self, now: Timestamp, live: usize, readiness: &SourceReadiness) {
        let Some(mut notifications) = self.notifications() else { return };
        if notifications.phase != ServicePhase::Ready {
            return;
        }
        if let Some(every) = notifications.watchdog
            && notifications.alive.is_none_or(|alive| now.since(alive) >= every)
        {
            match self.heartbeats.stuck() {
                None => {
                    notifications.alive = Some(now);
                    notifications.stuck.solve();
                    notifications.send("WATCHDOG=1");
                }
                Some(task) if notifications.stuck.is_news(task) => {
                    tracing::error!(
                        task,
                        "a task has no turn any more; if that lasts, the watchdog of the service manager restarts the exporter"
                    );
                }
                Some(_) => {}
            }
        }
        if notifications.status.as_ref().is_some_and(|(_, sent)| now.since(*sent) < STATUS_EVERY) {
            return;
        }
        let status = one_line(&status(live, readiness));
        if notifications.status.as_ref().is_none_or(|(last, _)| *last != status) {
            notifications.send(&format!("STATUS={status}"));
            notifications.status = Some((status, now));
        }
    }

    /// What it holds is whole after each call.
    fn notifications(&self) -> Option<MutexGuard<'_, Notifications>> {
        self.notifications
            .as_ref()
            .map(|notifications| notifications.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Notifications {
    fn send(&mut self, message: &str) {
        match self.socket.send(message) {
            Ok(()) => {
                self.unreachable.solve();
            }
            Err(error) => {
                if self.unreachable.is_news(error.to_string()) {
                    tracing::warn!(%error, "cannot reach the service manager (NOTIFY_SOCKET); trying again");
                }
            }
        }
    }
}

/// What is watched, in a line.
fn status(live: usize, readiness: &SourceReadiness) -> String {
    let troubles = readiness.troubles();
    let missing: Vec<&str> = troubles.iter().flatten().map(String::as_str).collect();
    let noun = if live == 1 { "allocation" } else { "allocations" };
    if missing.is_empty() {
        format!("{live} live {noun}; watching {}", readiness.names().join(", "))
    } else {
        format!("{live} live {noun}; not watching {}", missing.join("; "))
    }
}

/// In a message each line is another variable: a text from outside must not begin one.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_STATUS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing::at;
    use crate::state::SourceId;

    #[derive(Clone, Debug, Default)]
    struct Mailbox(Arc<Mutex<Vec<String>>>);

    impl Notify for Mailbox {
        fn send(&self, message: &str) -> std::io::Result<()> {
            self.0.lock().unwrap().push(message.to_owned());
            Ok(())
        }
    }

    impl Mailbox {
        fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    fn manager(patience: Option<Duration>) -> (ServiceManager, Mailbox, SourceReadiness) {
        let mailbox = Mailbox::default();
        let readiness = SourceReadiness::new(&["redis://a", "statsdb://b"]);
        (ServiceManager::at(Box::new(mailbox.clone()), patience), mailbox, readiness)
    }

    #[test]
    fn it_is_told_of_the_start_of_reloads_and_of_the_end_in_this_order_only() {
        let (manager, mailbox, readiness) = manager(None);
        manager.time_passed(at(1), 0, &readiness);
        manager.reloading();
        manager.reloaded();
        assert_eq!(mailbox.take(), Vec::<String>::new(), "it would count as ready");
        manager.starting("loading the store: 1 %");
        manager.starting("loading the store: 1 %");
        manager.starting("loading\nREADY=1");
        let more = "EXTEND_TIMEOUT_USEC=90000000";
        assert_eq!(
            mailbox.take(),
            [format!("STATUS=loading the store: 1 %\n{more}"), format!("STATUS=loading READY=1\n{more}")]
        );
        manager.ready();
        manager.ready();
        manager.starting("again");
        assert_eq!(mailbox.take(), ["READY=1"]);
        manager.reloading();
        manager.reloaded();
        let reload = mailbox.take();
        assert!(
            reload[0].starts_with("RELOADING=1\nMONOTONIC_USEC=") && reload[1] == "READY=1",
            "{reload:?}"
        );
        manager.stopping();
        manager.reloaded();
        manager.time_passed(at(1_000), 0, &readiness);
        assert_eq!(mailbox.take(), ["STOPPING=1\nSTATUS=Stopping"]);
    }

    #[test]
    fn the_status_line_is_sent_when_it_changes_and_not_more_often_than_every_ten_seconds() {
        let (manager, mailbox, readiness) = manager(None);
        manager.ready();
        mailbox.take();
        readiness.set(SourceId(1), None);
        manager.time_passed(at(1), 1, &readiness);
        assert_eq!(mailbox.take(), ["STATUS=1 live allocation; not watching redis://a: not connected yet"]);
        readiness.set(SourceId(0), None);
        manager.time_passed(at(10), 2, &readiness);
        assert_eq!(mailbox.take(), Vec::<String>::new());
        manager.time_passed(at(11), 2, &readiness);
        assert_eq!(mailbox.take(), ["STATUS=2 live allocations; watching redis://a, statsdb://b"]);
        manager.time_passed(at(100), 2, &readiness);
        assert_eq!(mailbox.take(), Vec::<String>::new());
    }

    #[test]
    fn the_watchdog_is_fed_while_all_loops_have_turns() {
        let (manager, mailbox, readiness) = manager(Some(Duration::from_secs(40)));
        manager.ready();
        let fed = || mailbox.take().iter().filter(|message| *message == "WATCHDOG=1").count();
        let [one, two] = ["one", "two"].map(|name| manager.watch(name));
        let mut signs = Vec::new();
        for second in 1..=60 {
            one.beat();
            if second <= 21 {
                two.beat();
            }
            manager.time_passed(at(second), 0, &readiness);
            if fed() > 0 {
                signs.push(second);
            }
        }
        assert_eq!(signs, [1, 11, 21], "every quarter of the patience, and none after the loop is stuck");
        two.excuse();
        manager.time_passed(at(61), 0, &readiness);
        assert_eq!(fed(), 1);
    }
}
