//! Takes in again what was recorded.

use std::time::Duration;

use super::Table;
use crate::clock::Timestamp;
use crate::state::input::{Decoder, Input, KeyRef, Malformed, Step, TextRoom};
use crate::state::model::allocation::Phase;
use crate::state::model::connection::EndedConnections;
use crate::state::model::ids::{ConnectionId, Mark, RecordId};
use crate::state::model::key::SourceKey;
use crate::state::model::process_totals::ProcessCounts;
use crate::wire::{Leg, Traffic};

/// A recording cannot be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// It is none: damaged, or of another version of the rules.
    Malformed,
    /// The table does not come out as it did when this was recorded.
    Diverged,
}

impl std::error::Error for ReplayError {}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the recording cannot be read",
            Self::Diverged => "what the recording leads to is not what it led to when it was made",
        })
    }
}

impl From<Malformed> for ReplayError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// No exporter lives to see it; the table's own moments reach further, and so does no sum of one and a duration.
const END_OF_TIME: Timestamp = Timestamp::from_millis(1 << 46);

/// So many reports are read ahead: the waits for their records to come from memory overlap.
const READ_AHEAD: usize = 32;

/// A report of a record that is named by its place.
#[derive(Clone, Copy, Debug)]
struct RecordedReport {
    /// After the input before it.
    later: Duration,
    at: RecordId,
    connection: Option<Mark>,
    leg: Leg,
    traffic: Traffic,
}

/// The key of a record, whatever becomes of the record.
#[derive(Debug, Default)]
struct KeyRoom {
    realm: Vec<u8>,
    user: Vec<u8>,
}

impl Table {
    /// Takes in what another table has recorded since it was like this one: one batch as it was taken. Records nothing, and
    /// finds nothing out that is worth a line of the log once more.
    ///
    /// # Errors
    ///
    /// A batch that is none, or that leads elsewhere. The table is of no use then.
    pub fn replay(&mut self, batch: &[u8]) -> Result<(), ReplayError> {
        let was_on = self.recorder.switch(false);
        let replayed = self.take_all_of(batch);
        self.recorder.switch(was_on);
        drop(self.discoveries.take());
        replayed
    }

    fn take_all_of(&mut self, batch: &[u8]) -> Result<(), ReplayError> {
        let mut decoder = Decoder::new(batch);
        let (mut texts, mut key) = (TextRoom::default(), KeyRoom::default());
        let mut ahead = Vec::with_capacity(READ_AHEAD);
        while let Some(step) = decoder.next(&mut texts)? {
            if let Step::Take(later, Input::Report { at, connection, leg, traffic }) = step {
                ahead.push(RecordedReport { later, at, connection, leg, traffic });
                if ahead.len() == READ_AHEAD {
                    self.take_reports(&mut ahead)?;
                }
                continue;
            }
            self.take_reports(&mut ahead)?;
            match step {
                Step::Take(later, input) => {
                    let now = self.later(later)?;
                    self.take(now, input, &mut key)?;
                }
                Step::Check(digest) if digest == self.digest() => {}
                Step::Check(_) => return Err(ReplayError::Diverged),
            }
        }
        self.take_reports(&mut ahead)
    }

    fn later(&self, later: Duration) -> Result<Timestamp, ReplayError> {
        let now = self.now.plus(later);
        if now > END_OF_TIME { Err(ReplayError::Malformed) } else { Ok(now) }
    }

    /// Takes those in that were read ahead.
    fn take_reports(&mut self, ahead: &mut Vec<RecordedReport>) -> Result<(), ReplayError> {
        let records = ahead.iter().filter_map(|report| self.records.get(report.at));
        std::hint::black_box(records.fold(0, |seen, record| seen ^ record.glimpse()));
        for report in ahead.drain(..) {
            self.take_report(&report)?;
        }
        Ok(())
    }

    /// Takes one input in.
    fn take(&mut self, now: Timestamp, input: Input<'_>, room: &mut KeyRoom) -> Result<(), ReplayError> {
        match input {
            Input::TimePasses => self.pass(now),
            Input::Event { of, connection, event } => {
                self.pass(now);
                let key = self.resolve(of, room)?;
                match connection {
                    None => drop(self.take_event(&key, self.records.key_hash(&key), &event)),
                    Some(mark) => drop(self.take_event_from(mark, &key, &event)),
                }
            }
            Input::KeyChecked { of, idle } => {
                self.pass(now);
                let key = self.resolve(of, room)?;
                self.check(&key, idle);
            }
            Input::KeyScanned { of, event, idle } => {
                self.pass(now);
                let key = self.resolve(of, room)?;
                self.take_scanned(&key, &event, idle);
            }
            Input::Rejected { source, reason } => self.rejected(now, source, reason),
            Input::LinkUp { source } => self.link_up(now, source),
            Input::Subscribed { source } => self.subscribed(now, source),
            Input::LinkLost { source } => self.link_down(now, source),
            Input::ReceivedUntil { source, moment } => self.received_until(source, moment),
            Input::Listens { source, connections, commands } => {
                self.listens(now, source, &connections, &commands);
            }
            Input::ScanBegins { source } => self.scan_begins(now, source),
            Input::ScanOf { source, redis, uptime } => self.scan_of(now, source, redis, uptime),
            Input::ScanMayMissKeys { source } => self.scan_may_miss_keys(source),
            Input::Swept { source, from } => drop(self.sweep(now, source, from)),
            Input::ScanSucceeded { source, outcome } => drop(self.scan_succeeded(source, &outcome)),
            Input::ScanFailed { source } => self.scan_failed(source),
            Input::RedisSettings { source, settings } => self.redis_settings(source, &settings),
            Input::Restarted => self.restarted(now),
            Input::SettingsAdopted { settings, sources } => {
                drop(self.adopt_settings(now, settings, &sources));
            }
            Input::LedgerWritten { up_to } => self.ledger_written(now, up_to),
            Input::ProcessCounted { dropped_log_lines, http_refusals } => {
                let counts = ProcessCounts { dropped_log_lines, http_refusals: &http_refusals };
                self.process_counts(now, &counts);
            }
            other => self.take_of_connections(now, other),
        }
        Ok(())
    }

    fn take_of_connections(&mut self, now: Timestamp, input: Input<'_>) {
        match input {
            Input::ConnectionOpened { source, peer } => drop(self.connection_opened(now, source, peer)),
            Input::ConnectionActive { connection } => self.connection_active(now, ConnectionId(connection)),
            Input::ProcessStarted { connection } => self.process_started(now, ConnectionId(connection)),
            Input::ConnectionInterrupted { source, connection } => {
                self.connection_interrupted(now, source, ConnectionId(connection));
            }
            Input::ConnectionClosed { connection, by } => {
                self.connection_closed(now, ConnectionId(connection), by);
            }
            Input::ConnectionJudged { connection } => {
                self.judge_closed(now, ConnectionId(connection));
            }
            Input::EndReportedBy { ended, from } => {
                let mut connections = EndedConnections::default();
                for (mark, verdict) in ended {
                    connections.insert(ConnectionId(mark), verdict);
                }
                self.end_reported_by(now, &connections, from);
            }
            Input::ConnectionRefused { source, reason } => self.connection_refused(source, reason),
            Input::CommandRefused { source, reason } => self.command_refused(source, reason),
            Input::Callers { source, refused_clients, coturn_seen } => {
                self.callers(source, refused_clients, coturn_seen);
            }
            Input::Forwarded { source, state } => self.forwarded(source, state),
            _ => {}
        }
    }

    /// A report of the live record at that place, which was its when this was recorded.
    fn take_report(&mut self, report: &RecordedReport) -> Result<(), ReplayError> {
        let RecordedReport { later, at, connection, leg, ref traffic } = *report;
        self.pass(self.later(later)?);
        let record = self.records.get(at).filter(|record| record.phase == Phase::Live);
        let source = record.ok_or(ReplayError::Diverged)?.source();
        match connection {
            None => self.count_report(source, at, leg, traffic),
            Some(mark) => {
                self.connections.begin_event(mark);
                self.report_over_connection(mark, at);
                self.count_report(source, at, leg, traffic);
                self.connections.end_event();
            }
        }
        Ok(())
    }

    fn resolve<'k>(&self, of: KeyRef<'k>, room: &'k mut KeyRoom) -> Result<SourceKey<'k>, ReplayError> {
        let at = match of {
            // A record of a source that is not there would be in no image.
            KeyRef::Full(key) if self.sources.get(key.source).is_none() => {
                return Err(ReplayError::Malformed);
            }
            KeyRef::Full(key) => return Ok(key),
            KeyRef::Known(at) => at,
        };
        self.records.get(at).ok_or(ReplayError::Diverged)?;
        let SourceKey { source, realm, user, id } = self.records.key_of(&self.realms, at);
        let KeyRoom { realm: its_realm, user: its_user } = room;
        for (room, part) in [(&mut *its_realm, realm), (&mut *its_user, user)] {
            room.clear();
            room.extend_from_slice(part);
        }
        Ok(SourceKey { source, realm: its_realm, user: its_user, id })
    }
}
