//! Hands what the ledger has to the sinks: reads the next, delivers, notes how far each has come, waits after a failure. One
//! that can be tried with nothing to deliver is tried at once. A sink that is slow, away or wrong holds nobody else up.

mod ready;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::sleep;

use super::log_once::LogOnce;
use super::reconnect::Failures;
use super::store::TableStore;
use super::supervise::blocking;
use crate::sinks::{Delivered, LedgerOrigin, Sink, SinkError as _};
use crate::source::backoff::Backoff;
use crate::store::ledger::{FinishedSession, LedgerError, LedgerEvent, SessionLedger, SinkProgress};

pub(super) use ready::ReadySinks;

/// What one failure has in common with the next while the other side is away.
const AWAY: &str = "the other side is away";

/// How long a sink that has everything waits for more.
const IDLE: Duration = Duration::from_millis(250);

/// The first wait after a failure, at most, and the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What sinks take, and how it is read.
pub(super) trait Item: Sized + Send + Sync + 'static {
    /// The first `most` whose numbers are above `after`.
    fn read(ledger: &SessionLedger, after: u64, most: usize) -> Result<Vec<Self>, LedgerError>;

    /// Its number, by which a sink's place is known.
    fn number(&self) -> u64;
}

impl Item for FinishedSession {
    fn read(ledger: &SessionLedger, after: u64, most: usize) -> Result<Vec<Self>, LedgerError> {
        ledger.sessions_after(after, most)
    }

    fn number(&self) -> u64 {
        self.revision
    }
}

impl Item for LedgerEvent {
    fn read(ledger: &SessionLedger, after: u64, most: usize) -> Result<Vec<Self>, LedgerError> {
        ledger.events_after(after, most)
    }

    fn number(&self) -> u64 {
        self.number
    }
}

/// Whose they are, what is to be delivered, and the number after which it comes; `None` while the ledger is closed.
type Next<T> = Option<Result<(LedgerOrigin, Vec<T>, u64), LedgerError>>;

/// One sink and its place in the ledger.
pub(super) struct SinkTask<S> {
    /// Its name in the ledger, on the page and in the log.
    pub(super) name: String,
    /// The exporter's name.
    pub(super) exporter: String,
    pub(super) sink: S,
    pub(super) store: TableStore,
}

impl<S: Sink<Item: Item>> SinkTask<S> {
    /// Delivers again and again. Never ends by itself; may be dropped at any time.
    pub(super) async fn run(mut self) {
        let mut failures = Failures::with(Backoff::between(FIRST_WAIT, LONGEST_WAIT));
        let (mut gives_up, mut unreadable) = (LogOnce::<()>::new(), LogOnce::<String>::new());
        let mut taken = None;
        loop {
            let (origin, items, after) = match self.next(taken).await {
                Some(Ok(next)) => next,
                Some(Err(error)) => {
                    if unreadable.is_news(error.to_string()) {
                        tracing::error!(sink = self.name, %error, "what is for the sink cannot be read");
                    }
                    sleep(failures.next_wait()).await;
                    continue;
                }
                None => {
                    sleep(IDLE).await;
                    continue;
                }
            };
            if unreadable.solve() {
                tracing::info!(sink = self.name, "what is for the sink can be read again");
            }
            taken = Some(after);
            match self.attempt(&origin, &items).await {
                Ok(delivered) => {
                    if let Some(delivered) = delivered {
                        self.store.ledger().note_up(&self.name, delivered.dropped == 0);
                        self.log_delivered(delivered, &mut failures, &mut gives_up);
                    }
                    match delivered {
                        Some(delivered) if !items.is_empty() => {
                            taken = Some(self.delivered(&items, delivered, after));
                        }
                        _ => sleep(IDLE).await,
                    }
                }
                Err(error) => {
                    if let Some(theirs) = error.has_only().filter(|theirs| *theirs < after) {
                        tracing::warn!(
                            sink = self.name,
                            %error,
                            "the sink lacks what it had taken; what the ledger still has of that is delivered again"
                        );
                        self.go_back(theirs).await;
                        taken = Some(theirs);
                        continue;
                    }
                    self.store.ledger().note_up(&self.name, false);
                    if error.is_of_older_ledger() {
                        self.become_another().await;
                        taken = None;
                    }
                    self.note(SinkProgress { failed: 1, ..SinkProgress::default() });
                    self.log_failure(&error, &mut failures);
                    sleep(failures.next_wait().max(error.wait())).await;
                }
            }
        }
    }

    /// Delivers; where nothing waits, looks whether it would be taken. `None` if that says nothing.
    async fn attempt(
        &mut self,
        origin: &LedgerOrigin,
        items: &[S::Item],
    ) -> Result<Option<Delivered>, S::Error> {
        if items.is_empty() {
            let works = self.sink.probe(origin).await?;
            return Ok(works.then(Delivered::default));
        }
        self.sink.deliver(origin, items).await.map(Some)
    }

    /// What comes after the number that the sink has.
    fn next(&self, taken: Option<u64>) -> impl Future<Output = Next<S::Item>> + Send + use<S> {
        let (store, name, exporter) = (self.store.clone(), self.name.clone(), self.exporter.clone());
        let most = self.sink.most();
        blocking(move || {
            store.ledger().read(|ledger| {
                let taken = match taken {
                    Some(taken) => taken,
                    None => ledger.taken_by(&name)?,
                };
                let items = S::Item::read(ledger, taken, most)?;
                let (store, last_event) = (ledger.store_id()?, ledger.last_event()?);
                let copied_event = ledger.copied_event()?;
                Ok((LedgerOrigin { store, exporter, last_event, copied_event, taken }, items, taken))
            })
        })
    }

    fn log_failure(&self, error: &S::Error, failures: &mut Failures) {
        let is_news = if error.is_away() { failures.is_news(&AWAY) } else { failures.is_news(error) };
        if is_news {
            tracing::warn!(sink = self.name, %error, "the sink takes nothing; what is for it waits in the ledger");
        }
    }

    fn log_delivered(&self, delivered: Delivered, failures: &mut Failures, gives_up: &mut LogOnce) {
        if delivered.dropped > 0 {
            if gives_up.is_news(()) {
                tracing::warn!(
                    sink = self.name,
                    dropped = delivered.dropped,
                    "the sink refuses an event again and again, which is given up; see what it answers"
                );
            }
        } else if gives_up.solve() | failures.solve() {
            tracing::info!(sink = self.name, "the sink takes sessions and events again");
        }
    }

    /// Notes that the first of these are done; gives the number that the sink has now.
    fn delivered(&self, items: &[S::Item], delivered: Delivered, before: u64) -> u64 {
        let Delivered { done, dropped } = delivered;
        let taken = items.get(done.wrapping_sub(1)).map_or(before, Item::number);
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.note(SinkProgress {
            taken,
            delivered: count(done.saturating_sub(dropped)),
            failed: 0,
            dropped: count(dropped),
        });
        taken
    }

    fn note(&self, progress: SinkProgress) {
        self.store.ledger().note_progress(&self.name, progress);
    }

    fn go_back(&self, to: u64) -> impl Future<Output = ()> + Send + use<S> {
        let (store, sink) = (self.store.clone(), self.name.clone());
        blocking(move || store.ledger().go_back(&sink, to))
    }

    fn become_another(&self) -> impl Future<Output = ()> + Send + use<S> {
        let (store, sink) = (self.store.clone(), self.name.clone());
        async move {
            let of_ledger = sink.clone();
            if blocking(move || store.ledger().become_another(&of_ledger)).await {
                tracing::warn!(
                    sink,
                    "the sink has sessions of this ledger that the ledger does not have, so it is an older copy: it goes on \
                     under a new identity, and sessions from now on count as those of another exporter"
                );
            }
        }
    }
}
