//! One Redis source from connection to connection: subscribe, resync, take messages in, notice the end, try again.

mod key_trust;
mod setup_log;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::sleep;

use super::ingest::{SharedTable, make_way};
use super::log_once::LogOnce;
use super::readiness::SourceReadiness;
use super::resync_task::{ResyncStep, ResyncTask};
use crate::clock::Timestamp;
use crate::config::RedisSource;
use crate::doctor::retention::Doubt;
use crate::doctor::setting_states;
use crate::metrics::own::StatusKeys;
use crate::source::backoff::Backoff;
use crate::source::error::LinkError;
use crate::source::pubsub::FRAMES_PER_CALL;
use crate::source::resync::{Part, ScanError};
use crate::source::setup::Setup;
use crate::source::subscription::{Link, LinkCheck, Messages, PING_INTERVAL, subscribe};
use crate::state::{Look, Scanned, SourceId};
use key_trust::KeyTrust;
use setup_log::SetupLog;

/// Messages that go before a step of the scan at most: as long as a step may take.
const BETWEEN_STEPS: usize = 4 * FRAMES_PER_CALL;

/// Follows one source for as long as the program runs.
#[derive(Debug)]
pub(super) struct RedisTask {
    source: RedisSource,
    id: SourceId,
    shared: SharedTable,
    readiness: SourceReadiness,
    complaint: LogOnce,
    /// What was said about the setup of its Redis.
    complaints: SetupLog,
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
        let (complaints, trust) = (SetupLog::default(), KeyTrust::default());
        Self { source, id, shared, readiness, complaint: LogOnce::none(), complaints, trust }
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
        let Link { mut messages, check, server } = link;
        let now = self.shared.now();
        self.shared.lock().subscribed(now, self.id);
        self.complaint.is_over();
        self.complaints.link_begins();
        // Where the source has sentinels, its name does not tell.
        tracing::info!(source = %self.source.name, %server, "subscribed");
        self.readiness.set(self.id, Some(format!("{}: reading the status keys", self.source.name)));

        let (steps_to_us, mut steps) = mpsc::channel(1);
        // Tasks of their own, ended with this link: they must go on while messages are taken in.
        let mut beside = JoinSet::new();
        beside.spawn(listen(check.clone(), self.shared.clone(), steps_to_us.clone()));
        let resync_task =
            ResyncTask::new(self.source.clone(), server, check, self.shared.clone(), steps_to_us);
        beside.spawn(resync_task.run());
        let mut resync = ResyncProgress::default();
        let (mut taken, mut since_step) = (0, 0);
        loop {
            // Messages first: those that wait for too long are lost. But a flood must not keep the scan from its turn.
            // What a step of the scan must stand behind has been taken in when the step is sent.
            if since_step >= BETWEEN_STEPS {
                since_step = 0;
                if let Ok(step) = steps.try_recv() {
                    self.take_step(&mut resync, step);
                }
            }
            tokio::select! {
                biased;
                Some(ended) = beside.join_next() => match ended {
                    Ok(error) => return error,
                    Err(error) => panic_again(error),
                },
                ready = messages.ready() => match ready.and_then(|()| self.take_in(&mut messages)) {
                    Ok(more) => (taken, since_step) = (taken + more, since_step + more),
                    Err(error) => return error,
                },
                Some(step) = steps.recv() => {
                    since_step = 0;
                    self.take_step(&mut resync, step);
                }
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

    fn take_step(&mut self, resync: &mut ResyncProgress, step: ResyncStep) {
        let now = self.shared.now();
        let mut ingest = self.shared.lock();
        match step {
            ResyncStep::Heard(moment) => ingest.heard_until(self.id, moment),
            ResyncStep::ScanBegins => {
                *resync = ResyncProgress { began: now, ..ResyncProgress::default() };
                ingest.scan_begins(now, self.id);
            }
            ResyncStep::Configured(setup) => {
                drop(ingest);
                resync.doubt = self.take_setup(now, &setup);
            }
            ResyncStep::Found(found, wanted) => {
                let since_found = now.since(found.at);
                let mut to_read = Vec::new();
                for found in found.keys {
                    resync.undated += u64::from(found.idle.is_none());
                    let idle = found.idle.map(|idle| idle + since_found);
                    match ingest.look(now, self.id, &found.key, idle) {
                        Some(Look::Read) => to_read.push(found),
                        Some(Look::Known) => resync.keys.live += 1,
                        Some(Look::Stale) => resync.keys.stale += 1,
                        Some(Look::Again) | None => {}
                    }
                }
                resync.wanted += to_read.len();
                if found.part <= Part::EARLY
                    && let Some(all) = found.part.extrapolate(resync.wanted)
                {
                    ingest.expect(all - resync.wanted.min(all) + to_read.len());
                }
                let _ = wanted.send(to_read);
            }
            ResyncStep::Read(values) => {
                let waited = now.since(values.found_at);
                for (found, value) in values.keys.iter().zip(values.read.iter()) {
                    let Some(value) = value else { continue };
                    let idle = found.idle.map(|idle| idle + waited);
                    match ingest.scanned(now, self.id, &found.key, value, idle) {
                        Some(Scanned::Stale) => resync.keys.stale += 1,
                        Some(_) => resync.keys.live += 1,
                        None => {}
                    }
                }
            }
            ResyncStep::ScanFailed => ingest.scan_failed(self.id),
            ResyncStep::ScanOver(result) => {
                drop(ingest);
                self.finish_scan(resync, result);
            }
        }
    }

    /// Gives why a key that the scan will not find proves nothing, if so.
    fn take_setup(&mut self, now: Timestamp, setup: &Setup) -> Option<Doubt> {
        let states = setting_states(&setup.values);
        let doubt = {
            let mut ingest = self.shared.lock();
            ingest.configured(self.id, &states);
            let doubt = self.trust.judge(now, &setup.retention, ingest.longest_silence());
            if doubt.is_some() {
                ingest.scan_may_miss_keys(self.id);
            }
            doubt
        };
        self.complaints.settings(&self.source.name, &states, doubt);
        self.complaints.keys(&self.source.name, doubt, &setup.retention);
        doubt
    }

    fn finish_scan(&mut self, resync: &ResyncProgress, result: Result<(), ScanError>) {
        let source = self.source.name.as_str();
        let now = self.shared.now();
        let StatusKeys { live, stale } = resync.keys;
        match result {
            Ok(()) => {
                let absent = self.sweep();
                let took = now.since(resync.began);
                let mut ingest = self.shared.lock();
                let is_right_db = ingest.scan_succeeded(self.id, resync.keys, absent, resync.doubt, took);
                drop(ingest);
                self.complaints.db(source, is_right_db, absent);
                self.complaints.ages_unknown(source, resync.undated);
                self.complaints.resync(source, None);
                // The first of a link is news; that of each five minutes is not.
                if self.readiness.is_waiting(self.id) {
                    tracing::info!(source, live, stale, seconds = took.as_secs_f64(), "status keys read");
                }
            }
            Err(error) => {
                self.shared.lock().scan_failed(self.id);
                self.complaints.resync(source, Some(&error));
            }
        }
        self.shared.lock().link_up(now, self.id);
        self.readiness.set(self.id, None);
    }

    /// Looks at every allocation of the source, a few thousand at a time; gives how many live ones have no key.
    fn sweep(&self) -> u64 {
        let (mut from, mut absent) = (Some(0), 0);
        while let Some(place) = from {
            let swept = self.shared.lock().sweep(self.shared.now(), self.id, place);
            absent += swept.absent;
            from = swept.next;
            make_way();
        }
        absent
    }

    fn complain(&mut self, error: &LinkError) {
        self.readiness.set(self.id, Some(format!("{}: {error}", self.source.name)));
        if self.complaint.is_new(error) {
            tracing::warn!(source = %self.source.name, %error, "not watching; trying again");
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
struct ResyncProgress {
    began: Timestamp,
    keys: StatusKeys,
    /// Keys whose values were worth reading.
    wanted: usize,
    /// Keys whose age Redis does not tell.
    undated: u64,
    /// Why a missing key proves nothing.
    doubt: Option<Doubt>,
}

/// Asks for signs of life, and says how far the stream has been heard, until an answer does not come.
async fn listen(check: LinkCheck, shared: SharedTable, out: mpsc::Sender<ResyncStep>) -> LinkError {
    loop {
        let asked = shared.now();
        if let Err(error) = check.check_master().await {
            return error;
        }
        let _ = out.send(ResyncStep::Heard(asked)).await;
        sleep(PING_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests;
