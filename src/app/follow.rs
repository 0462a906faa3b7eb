//! One Redis source from connection to connection: subscribe, resync, take messages in, notice the end, try again.

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use super::ingest::Shared;
use super::watch::Board;
use crate::clock::Timestamp;
use crate::config::RedisSource;
use crate::metrics::own::StatusKeys;
use crate::source::backoff::Backoff;
use crate::source::redis::{Link, LinkError, Pulse, RawMessage, subscribe};
use crate::source::resync::{FoundKey, Scan, ScanError};
use crate::state::{Scanned, SourceId};

/// Follows one source for as long as the program runs.
#[derive(Debug)]
pub(super) struct Follower {
    source: RedisSource,
    id: SourceId,
    shared: Shared,
    board: Board,
    /// What was last said about the source; said once, not at each attempt.
    complaint: Option<String>,
}

/// What a scan hands over to the one who takes messages in, in its place among them.
enum Step {
    Keys(Vec<Read>),
    /// Keys that were left unread: of known allocations, or because of their age.
    Unread(StatusKeys),
    Over(Result<(), ScanError>),
}

/// A key with its value, as read before the barrier.
struct Read {
    found: FoundKey,
    value: Option<Vec<u8>>,
}

impl Follower {
    pub(super) const fn new(source: RedisSource, id: SourceId, shared: Shared, board: Board) -> Self {
        Self { source, id, shared, board, complaint: None }
    }

    /// Never ends by itself; may be dropped at any time.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new();
        loop {
            let error = match subscribe(&self.source).await {
                Ok(link) => {
                    let connected = self.shared.now();
                    let error = self.attend(link).await;
                    let lost = self.shared.now();
                    self.shared.lock().link_lost(lost, self.id);
                    backoff.connected_for(lost.since(connected));
                    error
                }
                Err(error) => error,
            };
            self.complain(&error);
            sleep(backoff.next_wait(fastrand::f64())).await;
        }
    }

    /// From a confirmed subscription to its loss.
    async fn attend(&mut self, link: Link) -> LinkError {
        let Link { mut messages, pulse } = link;
        let now = self.shared.now();
        self.shared.lock().subscribed(now, self.id);
        self.complaint = None;
        tracing::info!(source = %self.source.name, "subscribed");
        self.board.set(self.id, Some(format!("{}: reading the status keys", self.source.name)));

        let (steps_to_us, mut steps) = mpsc::channel(1);
        // Tasks of their own, ended with this link: they must go on while messages are taken in.
        let mut beside = JoinSet::new();
        let pulse_of_link = pulse.clone();
        beside.spawn(async { Some(pulse_of_link.until_lost().await) });
        let rescan = Rescan {
            source: self.source.clone(),
            id: self.id,
            shared: self.shared.clone(),
            pulse,
            out: steps_to_us,
        };
        beside.spawn(rescan.run());
        let mut resync = Resync { began: now, keys: StatusKeys::default() };
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                // Messages first: a step of the scan counts only after all that was published before it.
                biased;
                more = messages.next(&mut batch) => {
                    if !more {
                        return LinkError::Closed;
                    }
                    self.take_in(&mut batch);
                }
                Some(step) = steps.recv() => self.take_step(&mut resync, step),
                Some(ended) = beside.join_next() => match ended {
                    Ok(Some(error)) => return error,
                    Ok(None) => {}
                    Err(error) => panic_again(error),
                },
            }
        }
    }

    fn take_in(&self, batch: &mut Vec<RawMessage>) {
        let now = self.shared.now();
        let mut ingest = self.shared.lock();
        for message in batch.drain(..) {
            // One that was not understood is counted with its reason, and that is all there is to do.
            let _ = ingest.message(now, self.id, &message.channel, &message.payload);
        }
    }

    fn take_step(&self, resync: &mut Resync, step: Step) {
        let now = self.shared.now();
        match step {
            Step::Unread(keys) => {
                resync.keys.live += keys.live;
                resync.keys.stale += keys.stale;
            }
            Step::Keys(read) => {
                let mut ingest = self.shared.lock();
                for Read { found, value } in read {
                    let Some(value) = value else { continue };
                    match ingest.scanned(now, self.id, &found.key, &value, found.idle) {
                        Some(Scanned::Stale) => resync.keys.stale += 1,
                        Some(_) => resync.keys.live += 1,
                        None => {}
                    }
                }
            }
            Step::Over(result) => {
                let took = now.since(resync.began);
                let found = result.is_ok().then_some((resync.keys, took));
                let mut ingest = self.shared.lock();
                ingest.scan_ends(self.id, found);
                ingest.link_up(now, self.id);
                drop(ingest);
                let source = self.source.name.as_str();
                let StatusKeys { live, stale } = resync.keys;
                match result {
                    Ok(()) => {
                        tracing::info!(source, live, stale, seconds = took.as_secs_f64(), "status keys read");
                    }
                    Err(error) => tracing::warn!(source, %error, "no resync: only events tell what is live"),
                }
                self.board.set(self.id, None);
            }
        }
    }

    fn complain(&mut self, error: &LinkError) {
        let complaint = error.to_string();
        self.board.set(self.id, Some(format!("{}: {complaint}", self.source.name)));
        if self.complaint.as_deref() != Some(complaint.as_str()) {
            tracing::warn!(source = %self.source.name, %error, "not watching; trying again");
            self.complaint = Some(complaint);
        }
    }
}

/// A task beside the stream fell over; so does the program, for a half that went on would tell half the truth.
fn panic_again(error: JoinError) {
    if let Ok(panic) = error.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}

struct Resync {
    began: Timestamp,
    keys: StatusKeys,
}

/// The scan beside the stream.
struct Rescan {
    source: RedisSource,
    id: SourceId,
    shared: Shared,
    pulse: Pulse,
    out: mpsc::Sender<Step>,
}

impl Rescan {
    /// Scans until it succeeds or is forbidden. An error of the subscription itself ends the link.
    async fn run(mut self) -> Option<LinkError> {
        let mut backoff = Backoff::new();
        loop {
            self.shared.lock().scan_begins(self.id);
            let error = match self.scan().await {
                Err(ScanError::Pulse(error)) => return Some(error),
                Err(error @ (ScanError::Link(_) | ScanError::Command(_))) => error,
                over => {
                    let _ = self.out.send(Step::Over(over)).await;
                    return None;
                }
            };
            self.shared.lock().scan_ends(self.id, None);
            tracing::warn!(source = %self.source.name, %error, "reading the status keys failed; trying again");
            sleep(backoff.next_wait(fastrand::f64())).await;
        }
    }

    async fn scan(&mut self) -> Result<(), ScanError> {
        let mut scan = Scan::begin(&self.source).await?;
        while let Some(found) = scan.step().await? {
            let (wanted, unread) = self.worth_reading(found);
            let values = scan.read(wanted.iter()).await?;
            let read = wanted.into_iter().zip(values).map(|(found, value)| Read { found, value }).collect();
            // What was published before the keys were read is on our side after this.
            self.pulse.beat().await.map_err(ScanError::Pulse)?;
            let _ = self.out.send(Step::Unread(unread)).await;
            let _ = self.out.send(Step::Keys(read)).await;
        }
        Ok(())
    }

    /// The keys whose value is wanted: reading sets a key's idle time to zero, so the known and the stale are spared.
    fn worth_reading(&self, found: Vec<FoundKey>) -> (Vec<FoundKey>, StatusKeys) {
        let ingest = self.shared.lock();
        let largest = ingest.largest_lifetime();
        let mut unread = StatusKeys::default();
        let mut wanted = Vec::new();
        for key in found {
            match ingest.is_known(self.id, &key.key) {
                Some(true) => unread.live += 1,
                Some(false) if key.idle.is_some_and(|idle| idle > largest) => unread.stale += 1,
                Some(false) => wanted.push(key),
                None => {}
            }
        }
        (wanted, unread)
    }
}
