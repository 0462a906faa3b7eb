//! One Redis source from connection to connection: subscribe, resync, take messages in, notice the end, try again.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use super::ingest::Shared;
use super::watch::Board;
use crate::clock::Timestamp;
use crate::config::RedisSource;
use crate::doctor::ASKED;
use crate::doctor::facts::ConfigValues;
use crate::metrics::own::StatusKeys;
use crate::source::backoff::Backoff;
use crate::source::connect::Server;
use crate::source::redis::{BEAT, Link, LinkError, Pulse, RawMessage, subscribe};
use crate::source::resync::{FoundKey, Scan, ScanError};
use crate::state::{Look, Scanned, SourceId};

/// How often the status keys are read again.
const RESYNC: Duration = Duration::from_secs(5 * 60);

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

/// What the tasks beside the stream hand over to the one who takes messages in, in its place among them.
enum Step {
    /// Everything published before this moment stands before this step.
    Heard(Timestamp),
    ScanBegins,
    /// What Redis says of its settings.
    Configured(ConfigValues),
    /// Keys as found; the answer is those whose values are wanted.
    Found(Vec<FoundKey>, oneshot::Sender<Vec<FoundKey>>),
    /// Keys with their values, as read before the barrier.
    Read(Vec<(FoundKey, Option<Vec<u8>>)>),
    /// It will be tried again.
    ScanFailed,
    /// It came to its end, or is not permitted.
    ScanOver(Result<(), ScanError>),
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
        let Link { mut messages, pulse, server } = link;
        let now = self.shared.now();
        self.shared.lock().subscribed(now, self.id);
        self.complaint = None;
        // Where the source has sentinels, its name does not tell.
        tracing::info!(source = %self.source.name, %server, "subscribed");
        self.board.set(self.id, Some(format!("{}: reading the status keys", self.source.name)));

        let (steps_to_us, mut steps) = mpsc::channel(1);
        // Tasks of their own, ended with this link: they must go on while messages are taken in.
        let mut beside = JoinSet::new();
        beside.spawn(listen(pulse.clone(), self.shared.clone(), steps_to_us.clone()));
        beside.spawn(
            Rescan { source: self.source.clone(), server, pulse, out: steps_to_us, asked_settings: false }
                .run(),
        );
        let mut resync = Resync::default();
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
                    Ok(error) => return error,
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
        let mut ingest = self.shared.lock();
        match step {
            Step::Heard(moment) => ingest.heard_until(self.id, moment),
            Step::ScanBegins => {
                *resync = Resync { began: now, ..Resync::default() };
                ingest.scan_begins(now, self.id);
            }
            Step::Configured(values) => ingest.configured(self.id, &values),
            Step::Found(keys, wanted) => {
                let mut to_read = Vec::new();
                for found in keys {
                    match ingest.look(now, self.id, &found.key, found.idle) {
                        Some(Look::Read) => to_read.push(found),
                        Some(Look::Known) => resync.keys.live += 1,
                        Some(Look::Stale) => resync.keys.stale += 1,
                        None => {}
                    }
                }
                let _ = wanted.send(to_read);
            }
            Step::Read(keys) => {
                for (found, value) in keys {
                    let Some(value) = value else { continue };
                    match ingest.scanned(now, self.id, &found.key, &value, found.idle) {
                        Some(Scanned::Stale) => resync.keys.stale += 1,
                        Some(_) => resync.keys.live += 1,
                        None => {}
                    }
                }
            }
            Step::ScanFailed => ingest.scan_failed(self.id),
            Step::ScanOver(result) => {
                drop(ingest);
                self.finish_scan(resync, result);
            }
        }
    }

    fn finish_scan(&self, resync: &Resync, result: Result<(), ScanError>) {
        let source = self.source.name.as_str();
        let now = self.shared.now();
        let StatusKeys { live, stale } = resync.keys;
        match result {
            Ok(()) => {
                let absent = self.sweep();
                let took = now.since(resync.began);
                let is_right_db = self.shared.lock().scan_succeeded(self.id, resync.keys, absent, took);
                if !is_right_db {
                    tracing::warn!(
                        source,
                        live_without_key = absent,
                        "no live allocation has its key in this db: does redis-statsdb name another dbname?"
                    );
                }
                // The first of a link is news; that of each five minutes is not.
                if self.board.is_waiting(self.id) {
                    tracing::info!(source, live, stale, seconds = took.as_secs_f64(), "status keys read");
                }
            }
            Err(error) => {
                self.shared.lock().scan_failed(self.id);
                if self.board.is_waiting(self.id) {
                    tracing::warn!(source, %error, "no resync: only events tell what is live");
                }
            }
        }
        self.shared.lock().link_up(now, self.id);
        self.board.set(self.id, None);
    }

    /// Looks at every allocation of the source, a few thousand at a time; gives how many live ones have no key.
    fn sweep(&self) -> u64 {
        let (mut from, mut absent) = (Some(0), 0);
        while let Some(place) = from {
            let swept = self.shared.lock().sweep(self.shared.now(), self.id, place);
            absent += swept.absent;
            from = swept.next;
        }
        absent
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

#[derive(Default)]
struct Resync {
    began: Timestamp,
    keys: StatusKeys,
}

/// Asks for signs of life, and says how far the stream has been heard, until an answer does not come.
async fn listen(mut pulse: Pulse, shared: Shared, out: mpsc::Sender<Step>) -> LinkError {
    loop {
        let asked = shared.now();
        if let Err(error) = pulse.beat_at_master().await {
            return error;
        }
        let _ = out.send(Step::Heard(asked)).await;
        sleep(BEAT).await;
    }
}

/// The scans beside the stream.
struct Rescan {
    source: RedisSource,
    server: Server,
    pulse: Pulse,
    out: mpsc::Sender<Step>,
    asked_settings: bool,
}

impl Rescan {
    /// Scans now, and again every few minutes. Ends with an error of the subscription itself.
    async fn run(mut self) -> LinkError {
        let mut backoff = Backoff::new();
        let mut failing = false;
        loop {
            let _ = self.out.send(Step::ScanBegins).await;
            let wait = match self.scan().await {
                // A replica has nothing more to tell, whatever its subscription says.
                Err(ScanError::Pulse(error) | ScanError::Link(error @ LinkError::Replica(_))) => {
                    return error;
                }
                Err(error @ (ScanError::Link(_) | ScanError::Command(_))) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(source = %self.source.name, %error, "reading the status keys failed; trying again");
                    }
                    let _ = self.out.send(Step::ScanFailed).await;
                    backoff.next_wait(fastrand::f64())
                }
                over => {
                    failing = false;
                    let _ = self.out.send(Step::ScanOver(over)).await;
                    backoff = Backoff::new();
                    RESYNC
                }
            };
            sleep(wait).await;
        }
    }

    async fn scan(&mut self) -> Result<(), ScanError> {
        let mut scan = Scan::begin(&self.source, &self.server).await?;
        // Once a link: where it is forbidden, Redis' ACL log keeps each attempt.
        if !std::mem::replace(&mut self.asked_settings, true)
            && let Some(values) = scan.settings(&ASKED).await
        {
            let _ = self.out.send(Step::Configured(values)).await;
        }
        while let Some(found) = scan.step().await? {
            let (answer, wanted) = oneshot::channel();
            let _ = self.out.send(Step::Found(found, answer)).await;
            let wanted = wanted.await.unwrap_or_default();
            let values = scan.read(wanted.iter()).await?;
            if values.is_empty() {
                continue;
            }
            // What was published before the keys were read is on our side after this.
            self.pulse.beat().await.map_err(ScanError::Pulse)?;
            let _ = self.out.send(Step::Read(wanted.into_iter().zip(values).collect())).await;
        }
        Ok(())
    }
}
