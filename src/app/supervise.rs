//! Background tasks, and the one policy for their panics.
//!
//! A panic is a bug. What follows depends on what the task works on:
//!
//! - A task that works on what all share (a source, the store, the passing of time, the judgement of closed connections) ends
//!   the process: the panic goes up to whoever waits for the task ([`propagate`], [`blocking`]), and at the top it becomes
//!   [`TaskExited`], a line in the log and exit code 1. What it was about to change may be half done, and numbers that are
//!   half true must not be served. Whoever supervises the process starts it again, and a store goes on from its last write.
//! - A task that serves one client (a connection to the listener, or to the web server) is logged, and ends that connection
//!   only ([`contain`]): one client that finds a bug must not take the numbers away from all others.
//! - A panic of any task while it holds the lock of the table or of the store poisons the lock, and so ends the process,
//!   whoever's task it was: the next who locks it panics, within a second the task that lets time pass.
//!
//! The panic itself is in the log by then: `logging` writes a line for each, with the place in the code.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::task::{Id, JoinError, JoinSet, spawn_blocking};

use crate::shutdown::Shutdown;

/// A background task exited, though it should run for as long as the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskExited {
    /// It returned.
    #[error("the background task {task:?} ended, which is a bug; please report this")]
    Returned {
        /// What it is for.
        task: &'static str,
    },
    /// It panicked.
    #[error("the background task {task:?} panicked, which is a bug; please report this: {reason}")]
    Panicked {
        /// What it is for.
        task: &'static str,
        /// The panic's message.
        reason: String,
    },
}

/// What a task panicked with.
pub(super) struct Panicked(Box<dyn Any + Send>);

impl Panicked {
    /// The panic's message.
    pub(super) fn reason(&self) -> &str {
        let text = self.0.downcast_ref::<&str>().copied();
        text.or_else(|| self.0.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
    }
}

/// The tasks of a program that runs until it is stopped. None of them ends by itself.
#[derive(Debug)]
pub(super) struct Supervisor {
    stop: Shutdown,
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Supervisor {
    /// No tasks yet; `stop` ends them.
    pub(super) fn new(stop: Shutdown) -> Self {
        Self { stop, tasks: JoinSet::new(), names: HashMap::new() }
    }

    /// Runs `work`, which may be dropped at any time, until the stop signal.
    pub(super) fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn_boxed(name, Box::pin(work));
    }

    /// Boxed, all tasks are of one type: of each that is spawned the runtime has a copy of its machinery for each scheduler.
    fn spawn_boxed(&mut self, name: &'static str, work: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let stop = self.stop.clone();
        let task = self.tasks.spawn(async move {
            tokio::select! {
                () = stop.triggered() => {}
                () = work => {}
            }
        });
        self.names.insert(task.id(), name);
    }

    /// Waits until a task exits before the stop signal; for ever, if none does. May be dropped and called again.
    pub(super) async fn exited(&mut self) -> TaskExited {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => TaskExited::Returned { task: self.name(id) },
            Some(Err(error)) => self.panicked(error),
            None => std::future::pending().await,
        }
    }

    /// Waits, after the stop signal, until all tasks have ended.
    ///
    /// # Errors
    ///
    /// The first task that panicked; the others are cancelled.
    pub(super) async fn finish(mut self) -> Result<(), TaskExited> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|error| self.panicked(error))?;
        }
        Ok(())
    }

    fn panicked(&self, error: JoinError) -> TaskExited {
        let task = self.name(error.id());
        match error.try_into_panic() {
            Ok(panic) => TaskExited::panicked(task, &Panicked(panic)),
            // Nobody cancels one.
            Err(_) => TaskExited::Returned { task },
        }
    }

    fn name(&self, id: Id) -> &'static str {
        self.names.get(&id).copied().unwrap_or("unknown")
    }
}

impl TaskExited {
    /// It panicked so.
    pub(super) fn panicked(task: &'static str, panic: &Panicked) -> Self {
        Self::Panicked { task, reason: panic.reason().to_owned() }
    }
}

/// What a task gave; its panic goes on here. `None` if it was cancelled.
pub(super) fn propagate<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(given) => Some(given),
        Err(Ok(panic)) => resume_unwind(panic),
        Err(Err(_)) => None,
    }
}

/// Runs `work`, which may block, on a thread of its own; a panic of it goes on here.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match propagate(spawn_blocking(work).await) {
        Some(given) => given,
        // The runtime is shutting down, and with it the task that waits here.
        None => std::future::pending().await,
    }
}

/// Runs `work`; a panic ends nothing else.
///
/// # Errors
///
/// The panic. What `work` borrowed may be half changed: close and drop it, no more.
pub(super) async fn contain<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(given)) => Poll::Ready(Ok(given)),
        Err(panic) => Poll::Ready(Err(Panicked(panic))),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::yield_now;

    async fn panics(reason: &'static str) {
        yield_now().await;
        panic!("{reason}");
    }

    #[tokio::test]
    async fn a_task_that_exits_is_named_with_its_reason() {
        let mut supervisor = Supervisor::new(Shutdown::new());
        supervisor.spawn("one", std::future::pending());
        supervisor.spawn("two", panics("a bug"));
        let exited = supervisor.exited().await.to_string();
        assert!(exited.starts_with("the background task \"two\" panicked, which is a bug"), "{exited}");
        assert!(exited.ends_with(": a bug"), "{exited}");
        supervisor.spawn("three", yield_now());
        let exited = supervisor.exited().await;
        assert!(matches!(exited, TaskExited::Returned { task: "three" }), "{exited}");
    }

    #[tokio::test]
    async fn the_stop_signal_ends_all_and_a_panic_at_the_end_is_an_error() {
        for panics_too in [false, true] {
            let stop = Shutdown::new();
            let mut supervisor = Supervisor::new(stop.clone());
            supervisor.spawn("waits", std::future::pending());
            if panics_too {
                supervisor.spawn("panics", panics("late"));
                // It panics now, and nobody has looked when the stop signal comes.
                for _ in 0..10 {
                    yield_now().await;
                }
            }
            stop.trigger();
            assert_eq!(supervisor.finish().await.is_err(), panics_too);
        }
    }

    #[tokio::test]
    async fn the_panic_of_a_task_goes_on_in_the_one_who_waits_for_it() {
        let waits = tokio::spawn(async { propagate(tokio::spawn(panics("inner")).await) });
        assert!(waits.await.unwrap_err().is_panic());
        let waits = tokio::spawn(blocking(|| panic!("on a thread")));
        assert!(waits.await.unwrap_err().is_panic());
        let cancelled = tokio::spawn(std::future::pending::<()>());
        cancelled.abort();
        assert_eq!(propagate(cancelled.await), None);
        assert_eq!(blocking(|| 7).await, 7);
    }

    #[tokio::test]
    async fn a_contained_panic_ends_its_own_work_only() {
        let panicked = contain(panics("one client")).await.err().unwrap();
        assert_eq!(panicked.reason(), "one client");
        assert_eq!(contain(async { 7 }).await.ok(), Some(7));
    }
}
