//! One Redis source from connection to connection: subscribe, resync, take messages in, notice the end, try again.

mod key_trust;
mod resync_steps;
mod setup_log;

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::heartbeat::{Heartbeat, TURN};
use super::ingest::SharedTable;
use super::readiness::SourceReadiness;
use super::reconnect::{KeepConnected, LinkProgress, keep_connected};
use super::resync_task::{ResyncStep, ResyncTask};
use super::supervise::propagate;
use crate::clock::Timestamp;
use crate::config::RedisSource;
use crate::source::error::LinkError;
use crate::source::pubsub::FRAMES_PER_CALL;
use crate::source::subscription::{Link, LinkCheck, Messages, PING_INTERVAL, subscribe};
use crate::state::SourceId;
use key_trust::KeyTrust;
use resync_steps::ResyncProgress;
use setup_log::SetupLog;

/// Messages that go before a step of the resync at most: as long as a step may take.
const BETWEEN_STEPS: usize = 4 * FRAMES_PER_CALL;

/// The pause between two steps of the sweep after a scan. Without one, whoever else waits for the table could wait for the
/// whole sweep: its lock is not fair.
const BETWEEN_SWEEPS: Duration = Duration::from_millis(1);

/// Follows one source for as long as the program runs.
#[derive(Debug)]
pub(super) struct RedisTask {
    source: RedisSource,
    id: SourceId,
    shared: SharedTable,
    readiness: SourceReadiness,
    heartbeat: Heartbeat,
    /// What was logged of the setup of its Redis.
    setup_log: SetupLog,
    /// Whether a missing key proves something there.
    trust: KeyTrust,
}

impl RedisTask {
    pub(super) fn new(
        source: RedisSource,
        id: SourceId,
        shared: SharedTable,
        readiness: SourceReadiness,
    ) -> Self {
        Self {
            source,
            id,
            shared,
            readiness,
            heartbeat: Heartbeat::new(),
            setup_log: SetupLog::default(),
            trust: KeyTrust::default(),
        }
    }

    /// Says by this one that it has its turns, while it is subscribed.
    #[must_use]
    pub(super) fn with_heartbeat(self, heartbeat: Heartbeat) -> Self {
        Self { heartbeat, ..self }
    }

    /// Never ends by itself; may be dropped at any time.
    pub(super) async fn run(mut self) {
        match keep_connected(&mut self).await {}
    }

    /// From a confirmed subscription to its loss.
    async fn attend(&mut self, link: Link) -> LinkError {
        let Link { mut messages, check, server } = link;
        let (steps_to_us, mut steps) = mpsc::channel(1);
        // Tasks of their own, ended with this link: they must go on while messages are taken in.
        let mut beside = JoinSet::new();
        beside.spawn(watch_pulse(check.clone(), self.shared.clone(), steps_to_us.clone()));
        let resync_task =
            ResyncTask::new(self.source.clone(), server, check, self.shared.clone(), steps_to_us);
        beside.spawn(resync_task.run());
        let mut resync = ResyncProgress::default();
        let mut sweeps = interval(BETWEEN_SWEEPS);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut turns = interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut taken, mut since_step) = (0, 0);
        loop {
            self.heartbeat.beat();
            // Messages first: those that wait for too long are lost. But a flood must not keep the resync from its turn.
            // What a step of it must stand behind has been taken in when the step is sent.
            if since_step >= BETWEEN_STEPS {
                since_step = 0;
                if let Ok(step) = steps.try_recv() {
                    self.take_step(&mut resync, step);
                } else if resync.is_sweeping() {
                    self.sweep_step(&mut resync);
                }
            }
            tokio::select! {
                biased;
                // None of them is cancelled.
                Some(Some(error)) = async { beside.join_next().await.map(propagate) } => return error,
                ready = messages.ready() => match ready.and_then(|()| self.take_in(&mut messages)) {
                    Ok(more) => (taken, since_step) = (taken + more, since_step + more),
                    Err(error) => return error,
                },
                Some(step) = steps.recv() => {
                    since_step = 0;
                    self.take_step(&mut resync, step);
                }
                _ = sweeps.tick(), if resync.is_sweeping() => {
                    since_step = 0;
                    self.sweep_step(&mut resync);
                }
                // A Redis that says nothing is no loop that is stuck.
                _ = turns.tick() => {}
            }
            // A flood is always ready; whom a step has woken would wait for this thread, and for long.
            if taken >= FRAMES_PER_CALL {
                taken = 0;
                yield_now().await;
            }
        }
    }

    fn take_in(&self, messages: &mut Messages) -> Result<usize, LinkError> {
        let now = self.shared.now();
        let mut ingest = self.shared.lock();
        messages.take(|published| {
            ingest.messages(now, self.id, published);
        })
    }
}

impl KeepConnected for RedisTask {
    type Fatal = Infallible;

    async fn attempt(&mut self, progress: &mut LinkProgress<'_>) -> Result<LinkError, Infallible> {
        let link = match subscribe(&self.source).await {
            Ok(link) => link,
            Err(error) => return Ok(error),
        };
        let now = self.shared.now();
        self.shared.lock().subscribed(now, self.id);
        progress.is_connected(now);
        progress.works();
        self.setup_log.link_begins();
        // Where the source has sentinels, its name does not say which server it is.
        tracing::info!(source = %self.source.name, server = %link.server, "subscribed");
        self.readiness.set(self.id, Some(format!("{}: reading the status keys", self.source.name)));
        let error = self.attend(link).await;
        self.heartbeat.excuse();
        let lost = self.shared.now();
        self.shared.lock().link_lost(lost, self.id);
        Ok(error)
    }

    fn failed(&mut self, error: &LinkError, is_news: bool) {
        self.readiness.set(self.id, Some(format!("{}: {error}", self.source.name)));
        if is_news {
            tracing::warn!(source = %self.source.name, %error, "not watching; trying again");
        }
    }

    fn now(&self) -> Timestamp {
        self.shared.now()
    }
}

/// Asks for signs of life, and says how far the stream has been received, until an answer does not come.
async fn watch_pulse(check: LinkCheck, shared: SharedTable, out: mpsc::Sender<ResyncStep>) -> LinkError {
    loop {
        let asked = shared.now();
        if let Err(error) = check.check_master().await {
            return error;
        }
        let _ = out.send(ResyncStep::ReceivedUntil(asked)).await;
        sleep(PING_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests;
