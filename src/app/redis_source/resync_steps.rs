//! What the steps of a resync do to the table, in the order in which they come between the messages.

use std::time::Duration;

use tokio::sync::oneshot;

use super::RedisTask;
use crate::app::resync_task::{DatedKeys, KeyValues, ResyncStep};
use crate::clock::Timestamp;
use crate::doctor::retention::Doubt;
use crate::doctor::setting_states;
use crate::source::resync::{FoundKey, Part};
use crate::source::setup::Setup;
use crate::state::StatusKeys;
use crate::state::{KeyCheck, Scanned};

/// How far a resync has come.
#[derive(Default)]
pub(super) struct ResyncProgress {
    began: Timestamp,
    keys: StatusKeys,
    /// Keys whose values were worth reading.
    wanted: usize,
    /// Keys whose age Redis does not tell.
    undated: u64,
    /// Why a missing key proves nothing.
    doubt: Option<Doubt>,
    sweep: Option<SweepProgress>,
}

/// How far the sweep after a scan has come, which looks for allocations whose keys are gone.
#[derive(Default)]
struct SweepProgress {
    next: u32,
    /// Live allocations without a key, so far.
    absent: u64,
}

impl ResyncProgress {
    /// Whether [`RedisTask::sweep_step`] is to be called.
    pub(super) const fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }
}

impl RedisTask {
    pub(super) fn take_step(&mut self, resync: &mut ResyncProgress, step: ResyncStep) {
        match step {
            ResyncStep::ReceivedUntil(moment) => self.shared.lock().received_until(self.id, moment),
            ResyncStep::ScanBegins => {
                let now = self.shared.now();
                *resync = ResyncProgress { began: now, ..ResyncProgress::default() };
                self.shared.lock().scan_begins(now, self.id);
            }
            ResyncStep::Configured(setup) => resync.doubt = self.take_setup(&setup),
            ResyncStep::Found(found, answer) => self.take_found(resync, found, answer),
            ResyncStep::Read(values) => self.take_values(resync, &values),
            ResyncStep::ScanFailed => self.shared.lock().scan_failed(self.id),
            ResyncStep::ScanOver(Ok(())) => resync.sweep = Some(SweepProgress::default()),
            ResyncStep::ScanOver(Err(error)) => {
                self.shared.lock().scan_failed(self.id);
                self.setup_log.resync(&self.source.name, Some(&error));
                self.is_up();
            }
        }
    }

    /// Answers with the keys whose values are to be read.
    fn take_found(
        &self,
        resync: &mut ResyncProgress,
        found: DatedKeys,
        answer: oneshot::Sender<Vec<FoundKey>>,
    ) {
        let now = self.shared.now();
        let since_found = now.since(found.at);
        let mut ingest = self.shared.lock();
        let mut to_read = Vec::new();
        for found in found.keys {
            resync.undated += u64::from(found.idle.is_none());
            let idle = found.idle.map(|idle| idle + since_found);
            match ingest.look(now, self.id, &found.key, idle) {
                Some(KeyCheck::Read) => to_read.push(found),
                Some(KeyCheck::Known) => resync.keys.live += 1,
                Some(KeyCheck::Stale) => resync.keys.stale += 1,
                Some(KeyCheck::Again) | None => {}
            }
        }
        resync.wanted += to_read.len();
        if found.part <= Part::EARLY
            && let Some(all) = found.part.extrapolate(resync.wanted)
        {
            ingest.expect(all - resync.wanted.min(all) + to_read.len());
        }
        let _ = answer.send(to_read);
    }

    fn take_values(&self, resync: &mut ResyncProgress, values: &KeyValues) {
        let now = self.shared.now();
        let waited = now.since(values.found_at);
        let mut ingest = self.shared.lock();
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

    /// Gives why a key that the scan will not find proves nothing, if so.
    fn take_setup(&mut self, setup: &Setup) -> Option<Doubt> {
        let now = self.shared.now();
        let states = setting_states(&setup.values);
        let doubt = {
            let mut ingest = self.shared.lock();
            ingest.configured(self.id, &states);
            let doubt = self.trust.judge(now, &setup.retention, ingest.longest_silence());
            if let Some(redis) = &setup.retention.redis {
                ingest.scan_of(now, self.id, redis, setup.retention.uptime);
            }
            if doubt.is_some() {
                ingest.scan_may_miss_keys(self.id);
            }
            doubt
        };
        self.setup_log.settings(&self.source.name, &states, doubt);
        self.setup_log.keys(&self.source.name, doubt, &setup.retention);
        doubt
    }

    /// A step of the sweep after a scan: looks at a few thousand allocations. The last step ends the resync.
    pub(super) fn sweep_step(&mut self, resync: &mut ResyncProgress) {
        let Some(SweepProgress { next, absent }) = resync.sweep.take() else { return };
        let now = self.shared.now();
        let swept = self.shared.lock().sweep(now, self.id, next);
        let absent = absent + swept.absent;
        match swept.next {
            Some(next) => resync.sweep = Some(SweepProgress { next, absent }),
            None => self.finish_scan(resync, absent, now.since(resync.began)),
        }
    }

    fn finish_scan(&mut self, resync: &ResyncProgress, absent: u64, took: Duration) {
        let source = self.source.name.as_str();
        let is_right_db = self.shared.lock().scan_succeeded(self.id, resync.keys, absent, resync.doubt, took);
        self.setup_log.db(source, is_right_db, absent);
        self.setup_log.ages_unknown(source, resync.undated);
        self.setup_log.resync(source, None);
        // The first of a link is news; that of each five minutes is not.
        if self.readiness.is_waiting(self.id) {
            let StatusKeys { live, stale } = resync.keys;
            tracing::info!(source, live, stale, seconds = took.as_secs_f64(), "status keys read");
        }
        self.is_up();
    }

    fn is_up(&self) {
        let now = self.shared.now();
        self.shared.lock().link_up(now, self.id);
        self.readiness.set(self.id, None);
    }
}
