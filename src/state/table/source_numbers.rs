//! What is counted of the sources beside their links, and of the process.

use super::Table;
use super::resync::whole_millis;
use crate::clock::Timestamp;
use crate::state::input::{Input, ScanOutcome};
use crate::state::model::ids::SourceId;
use crate::state::model::process_totals::ProcessCounts;
use crate::state::model::source_stats::{CountsByReason, ForwardStats, StatsdbStats};
use crate::wire::Rejection;

/// The setting of Redis that is judged by what a scan finds: whether it is the db that coturn's keys are in.
pub const DBNAME_SETTING: &str = "dbname";

/// What to change where that is not as it should be.
pub const DBNAME_FIX: &str = "dbname of redis-statsdb must be the db of --redis.url";

impl Table {
    /// A message was not understood; it changes nothing else.
    pub fn rejected(&mut self, now: Timestamp, source: SourceId, reason: Rejection) {
        self.note(now, &Input::Rejected { source, reason });
        self.pass(now);
        if let Some(source) = self.sources.get_mut(source) {
            source.stats.rejected(reason);
        }
    }

    /// The scan came to its end. Gives whether the keys are in the db that was scanned; `None` where that does not show.
    pub fn scan_succeeded(&mut self, source: SourceId, outcome: &ScanOutcome) -> Option<bool> {
        let outcome = ScanOutcome { duration: whole_millis(outcome.duration), ..*outcome };
        self.note(self.now, &Input::ScanSucceeded { source, outcome });
        let ScanOutcome { keys, absent, hides_db, duration } = outcome;
        let found = self.scan_ends(source);
        let mut is_right_db =
            if found > 0 || keys.live > 0 { Some(true) } else { (!hides_db).then_some(absent == 0) };
        if let Some(source) = self.sources.get_mut(source) {
            let stats = &mut source.stats;
            // Nothing is missed where nothing must be there, as after a restart of Redis: what was found wrong stays so until
            // a key is found.
            let was_wrong = stats.settings_ok.get(DBNAME_SETTING) == Some(&false);
            if found == 0 && keys.live == 0 && was_wrong {
                is_right_db = is_right_db.map(|_| false);
            }
            (stats.resync_ok, stats.resync_duration) = (Some(true), Some(duration));
            stats.status_keys = Some(keys);
            match is_right_db {
                Some(is_right) => stats.settings_ok.insert(DBNAME_SETTING.into(), is_right),
                None => stats.settings_ok.remove(DBNAME_SETTING),
            };
        }
        is_right_db
    }

    /// The scan failed, or is not permitted.
    pub fn scan_failed(&mut self, source: SourceId) {
        self.note(self.now, &Input::ScanFailed { source });
        self.scan_ends(source);
        if let Some(source) = self.sources.get_mut(source) {
            source.stats.resync_ok = Some(false);
        }
    }

    /// The settings of the source's Redis that could be read, and whether each is right; others are unknown from now on.
    pub fn redis_settings(&mut self, source: SourceId, settings: &[(&str, bool)]) {
        if self.recorder.is_on() {
            self.note(self.now, &Input::RedisSettings { source, settings: settings.to_vec() });
        }
        if let Some(source) = self.sources.get_mut(source) {
            let known = &mut source.stats.settings_ok;
            known.retain(|setting, _| **setting == *DBNAME_SETTING);
            known.extend(settings.iter().map(|&(setting, is_right)| (setting.into(), is_right)));
        }
    }

    /// The listener closed a connection, or did not take it.
    pub fn connection_refused(&mut self, source: SourceId, reason: &str) {
        self.note(self.now, &Input::ConnectionRefused { source, reason });
        if let Some(statsdb) = self.statsdb(source) {
            count(&mut statsdb.refused_connections, reason);
        }
    }

    /// The listener refused a command.
    pub fn command_refused(&mut self, source: SourceId, reason: &str) {
        self.note(self.now, &Input::CommandRefused { source, reason });
        if let Some(statsdb) = self.statsdb(source) {
            count(&mut statsdb.refused, reason);
        }
    }

    /// When the last message of the source came that was understood; `None` before the first.
    pub fn last_message(&self, source: SourceId) -> Option<Timestamp> {
        self.sources.get(source).and_then(|source| source.stats.last_message)
    }

    /// How many client addresses of the listener are refused, and whether a coturn has connected.
    pub fn callers(&mut self, source: SourceId, refused_clients: u64, coturn_seen: bool) {
        self.note(self.now, &Input::Callers { source, refused_clients, coturn_seen });
        if let Some(statsdb) = self.statsdb(source) {
            (statsdb.refused_clients, statsdb.coturn_seen) = (refused_clients, coturn_seen);
        }
    }

    /// How forwarding goes, where it is done: totals of the present process.
    pub fn forwarded(&mut self, source: SourceId, state: Option<ForwardStats>) {
        if self.statsdb(source).is_none_or(|statsdb| statsdb.forward == state) {
            return;
        }
        self.note(self.now, &Input::Forwarded { source, state });
        if let Some(statsdb) = self.statsdb(source) {
            statsdb.forward = state;
        }
    }

    /// What the present process came to so far.
    pub fn process_counts(&mut self, now: Timestamp, counts: &ProcessCounts<'_>) {
        if self.process.is(counts) {
            self.advance(now);
            return;
        }
        if self.recorder.is_on() {
            let ProcessCounts { dropped_log_lines, http_refusals } = *counts;
            let http_refusals = http_refusals.to_vec();
            self.note(now, &Input::ProcessCounted { dropped_log_lines, http_refusals });
        }
        self.pass(now);
        self.process.note(counts);
    }

    pub(super) fn statsdb(&mut self, source: SourceId) -> Option<&mut StatsdbStats> {
        self.sources.get_mut(source)?.stats.statsdb.as_mut()
    }
}

fn count(counts: &mut CountsByReason, reason: &str) {
    match counts.get_mut(reason) {
        Some(count) => *count += 1,
        None => drop(counts.insert(reason.into(), 1)),
    }
}
