//! The connections of coturn's own that report allocations straight to us, and what it means when one closes.
//!
//! A relay thread of coturn has one connection and reports all of its allocations over it; other threads hold idle ones.
//! So a key on two open connections is two servers', and a process that dies takes its connections and its allocations
//! along. But proxies, NAT and load balancers close idle connections of a coturn that lives: it connects again, at once
//! the first time and with its next event later (every version up to 4.17.1). [`StatsdbConnections::verdict`] tells the two
//! apart.

use std::net::IpAddr;

use super::lifecycle::OVERDUE_MEMORY;
use super::{Applied, Table};
use crate::clock::Timestamp;
use crate::state::input::Input;
use crate::state::model::allocation::{Allocation, Cause, Flag, Phase};
use crate::state::model::connection::{ClosedBy, EndedConnections, ProcessVerdict};
use crate::state::model::discovery::Discovery;
use crate::state::model::ids::{ConnectionId, Mark, RecordId, SourceId};
use crate::state::model::key::SourceKey;
use crate::state::model::session::Joining;
use crate::state::storage::packed::PackedTime;
use crate::wire::{Event, Key};

/// Records looked at by one call of [`Table::end_reported_by`]: a few milliseconds.
const SLICE: u32 = 8192;

impl Table {
    /// A connection from `peer` is open.
    pub fn connection_opened(&mut self, now: Timestamp, source: SourceId, peer: IpAddr) -> ConnectionId {
        self.note(now, &Input::ConnectionOpened { source, peer });
        self.pass(now);
        if let Some(statsdb) = self.statsdb(source) {
            statsdb.connections += 1;
        }
        ConnectionId(self.connections.open(self.now, (source, peer)))
    }

    /// Bytes came over the connection.
    pub fn connection_active(&mut self, now: Timestamp, connection: ConnectionId) {
        self.note(now, &Input::ConnectionActive { connection: connection.0 });
        self.pass(now);
        self.connections.note_activity(self.now, connection.0);
    }

    /// The connection said what a coturn says when its process starts.
    pub fn process_started(&mut self, now: Timestamp, connection: ConnectionId) {
        self.note(now, &Input::ProcessStarted { connection: connection.0 });
        self.pass(now);
        self.connections.note_start(self.now, connection.0);
    }

    /// The connection is gone. Its allocations may be reported over another one from now on. Gives whether it has
    /// reported any.
    pub fn connection_closed(&mut self, now: Timestamp, connection: ConnectionId, by: ClosedBy) -> bool {
        self.note(now, &Input::ConnectionClosed { connection: connection.0, by });
        self.pass(now);
        let source = self.connections.open_source(connection.0);
        if let Some(statsdb) = source.and_then(|source| self.statsdb(source)) {
            statsdb.connections = statsdb.connections.saturating_sub(1);
        }
        self.connections.close(self.now, connection.0, by)
    }

    /// What the closed connection says about its process; to be asked `VERDICT_AFTER` its end. If the process died,
    /// [`Self::end_reported_by`] is to follow.
    pub fn judge_closed(&mut self, now: Timestamp, connection: ConnectionId) -> ProcessVerdict {
        self.note(now, &Input::ConnectionJudged { connection: connection.0 });
        self.pass(now);
        let verdict = self.connections.verdict(connection.0, self.now);
        if verdict != ProcessVerdict::Lives
            && let Some(((source, peer), allocations)) = self.connections.closed_peer(connection.0)
        {
            let restarted = verdict == ProcessVerdict::Restarted;
            self.discoveries.add(Discovery::ProcessEnded { source, peer, restarted, allocations });
        }
        verdict
    }

    /// Applies one event that came over a connection.
    pub fn apply_from(
        &mut self,
        now: Timestamp,
        source: SourceId,
        connection: ConnectionId,
        key: &Key<'_>,
        event: &Event<'_>,
    ) -> Applied {
        let later = now.since(self.now);
        self.pass(now);
        self.connections.begin_event(connection.0);
        let key = SourceKey::of(source, key);
        let hash = self.records.key_hash(&key);
        let known = self.find_open(hash, &key);
        let is_live = |at: &RecordId| self.records[*at].phase == Phase::Live;
        let applied = if let Event::Traffic(leg, traffic) = event
            && let Some(at) = known.filter(is_live)
        {
            self.note_report(later, at, *leg, traffic);
            self.report_over_connection(connection.0, at);
            self.count_report(source, at, *leg, traffic);
            Applied::Updated
        } else {
            self.note_event(later, &key, hash, Some(connection.0), event);
            self.take_known_event(connection.0, known, &key, hash, event)
        };
        self.connections.end_event();
        applied
    }

    /// Takes in an event that came over a connection.
    pub(super) fn take_event_from(&mut self, mark: Mark, key: &SourceKey<'_>, event: &Event<'_>) -> Applied {
        self.connections.begin_event(mark);
        let hash = self.records.key_hash(key);
        let known = self.find_open(hash, key);
        let applied = self.take_known_event(mark, known, key, hash, event);
        self.connections.end_event();
        applied
    }

    /// The event of the connection that speaks, about an open record if one is known.
    fn take_known_event(
        &mut self,
        mark: Mark,
        known: Option<RecordId>,
        key: &SourceKey<'_>,
        hash: u64,
        event: &Event<'_>,
    ) -> Applied {
        if let Some(at) = known {
            self.report_over_connection(mark, at);
        }
        self.take_event(key, hash, event)
    }

    /// An open record is reported over the connection, perhaps for the first time.
    pub(super) fn report_over_connection(&mut self, mark: Mark, at: RecordId) {
        let gap = self.connections.gap_of(&self.records[at]);
        let before = self.set_mark(at, Some(mark));
        // Taken over from one that was interrupted: a refresh may be lost still.
        if before != Some(mark) && gap > Timestamp::ZERO {
            self.connections.note_gap(mark, gap);
        }
    }

    /// The record was reported by this connection, or seen by this scan; gives by which before.
    pub(super) fn set_mark(&mut self, at: RecordId, mark: Option<Mark>) -> Option<Mark> {
        let record = &mut self.records[at];
        let before = std::mem::replace(&mut record.mark, mark);
        if record.phase == Phase::Live && before != mark {
            self.connections.uncount_live(before);
            self.connections.count_live(mark);
        }
        before
    }

    /// Whether the connection of the present event has reported this key before, and it has not ended since.
    pub(super) fn has_own_record(&self, hash: u64, key: &SourceKey<'_>) -> bool {
        let current = self.connections.current;
        let is_its_own = |record: &Allocation| record.mark == current && record.phase == Phase::Live;
        current.is_some() && self.find_any(hash, key, is_its_own).is_some()
    }

    /// The connection was lost, or we closed it: what it reported may be incomplete up to now.
    // docs/semantics.md#interrupted-connections
    pub fn connection_interrupted(&mut self, now: Timestamp, source: SourceId, connection: ConnectionId) {
        self.note(now, &Input::ConnectionInterrupted { source, connection: connection.0 });
        self.pass(now);
        let now = self.now;
        if let Some(source) = self.sources.get_mut(source) {
            // A moment within a gap of the whole listener is part of it.
            if source.stats.gap_since.is_none() {
                source.stats.gap_begins(now);
                source.stats.gap_ends(now);
            }
        }
        self.connections.note_gap(connection.0, self.now);
    }

    /// The processes that held the connections have ended, and their allocations with them. Looks at a part of the
    /// records, from number `from` on; gives where to go on.
    pub fn end_reported_by(&mut self, now: Timestamp, ended: &EndedConnections, from: u32) -> Option<u32> {
        if self.recorder.is_on() {
            self.note(now, &Input::EndReportedBy { ended: ended.in_order(), from });
        }
        self.pass(now);
        let until = from.saturating_add(SLICE);
        for at in (from..until).map(RecordId::of_place) {
            let Some(allocation) = self.records.get(at) else { continue };
            if allocation.phase != Phase::Live {
                continue;
            }
            let cause = match allocation.mark.and_then(|mark| ended.0.get(&mark)) {
                None | Some(ProcessVerdict::Lives) => continue,
                Some(ProcessVerdict::Restarted) => Cause::Replaced,
                Some(ProcessVerdict::Died) if allocation.is(Flag::ReleasePending) => Cause::Released,
                Some(ProcessVerdict::Died) => Cause::Abandoned,
            };
            self.end_with_process(at, cause);
        }
        ((until as usize) < self.records.places()).then_some(until)
    }

    /// A live record ended with its process, some time after its last sign. Nobody holds it any more, so it is no orphan.
    pub(super) fn end_with_process(&mut self, at: RecordId, cause: Cause) {
        let last_sign = self.records[at].last_sign.get();
        self.close(at, cause, last_sign, false);
        self.records[at].phase = Phase::Gone;
        self.member_settled(at);
        self.wake_at(at, self.now.plus(OVERDUE_MEMORY));
    }

    /// A record that was ended with its process is reported again: the process lives. What said that it died is not
    /// believed for a day.
    // docs/semantics.md#cut-connections
    pub(super) fn contradict(&mut self, at: RecordId) {
        let is_by_ids = self.records[at].cause == Some(Cause::Replaced);
        if is_by_ids || self.connections.current.is_none() {
            self.rest_id_rule(at);
        } else if let Some((source, peer)) = self.connections.distrust_current(self.now) {
            self.discoveries.add(Discovery::ConnectionsCut { source, peer });
        }
    }

    /// Traffic to or from a peer, which only an allocation has, of a record that was ended with its process, within what
    /// was granted: it lives. True if it was so.
    // docs/semantics.md#phases
    pub(super) fn revive(&mut self, at: RecordId) -> bool {
        let allocation = &self.records[at];
        if allocation.phase != Phase::Gone || self.now > allocation.alive_until.get() {
            return false;
        }
        self.contradict(at);
        let allocation = &mut self.records[at];
        allocation.phase = Phase::Live;
        allocation.deadline = PackedTime::MAX;
        self.join_session(at, Joining::Adopted);
        self.enter(at, false);
        self.judge(at);
        true
    }
}
