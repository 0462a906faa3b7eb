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
use crate::state::model::allocation::{Allocation, Cause, Flag, Phase};
use crate::state::model::connection::{Closed, ClosedBy, ConnectionFacts, EndedConnections, ProcessVerdict};
use crate::state::model::discovery::Discovery;
use crate::state::model::ids::{ConnectionId, Mark, SourceId};
use crate::state::model::key::SourceKey;
use crate::state::model::session::Joining;
use crate::state::storage::packed::PackedTime;
use crate::wire::{Event, Key};

/// Records looked at by one call of [`Table::end_reported_by`]: a few milliseconds.
const SLICE: u32 = 8192;

/// How long after a connection has closed it is [judged](Table::judge_closed): its process' other connections close, or

impl Table {
    /// A connection from `peer` is open.
    pub fn connection_opened(&mut self, now: Timestamp, source: SourceId, peer: IpAddr) -> ConnectionId {
        self.advance(now);
        let (now, mark) = (self.now, self.marks.next());
        let peer = (source, peer);
        let facts = ConnectionFacts {
            peer,
            opened: now,
            active: now,
            reports: false,
            started: None,
            servers: Vec::new(),
        };
        self.connections.open.insert(mark, facts);
        ConnectionId(mark)
    }

    /// Bytes came over the connection.
    pub fn connection_active(&mut self, now: Timestamp, connection: ConnectionId) {
        let now = self.now.max(now);
        if let Some(facts) = self.connections.open.get_mut(&connection.0) {
            facts.active = now;
        }
    }

    /// The connection said what a coturn says when its process starts.
    pub fn process_started(&mut self, now: Timestamp, connection: ConnectionId) {
        let now = self.now.max(now);
        if let Some(facts) = self.connections.open.get_mut(&connection.0) {
            facts.started = Some(now);
        }
    }

    /// The connection is gone. Its allocations may be reported over another one from now on. Gives whether it has
    /// reported any.
    pub fn connection_closed(&mut self, now: Timestamp, connection: ConnectionId, by: ClosedBy) -> bool {
        self.advance(now);
        let (mark, at) = (connection.0, self.now);
        let Some(facts) = self.connections.open.remove(&mark) else { return false };
        let reports = facts.reports;
        self.connections.forget_old(at);
        self.connections.closed.push_back(Closed { mark, facts, at, by });
        reports
    }

    /// What the closed connection says about its process; to be asked [`VERDICT_AFTER`] its end. If the process died,
    /// [`Self::end_reported_by`] is to follow.
    pub fn judge_closed(&mut self, now: Timestamp, connection: ConnectionId) -> ProcessVerdict {
        self.advance(now);
        let verdict = self.connections.verdict(connection.0, self.now);
        if verdict != ProcessVerdict::Lives
            && let Some(gone) = self.connections.closed.iter().find(|closed| closed.mark == connection.0)
        {
            let (source, peer) = gone.facts.peer;
            self.found(Discovery::ProcessEnded {
                source,
                peer,
                restarted: verdict == ProcessVerdict::Restarted,
            });
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
        self.advance(now);
        self.connections.speaking = connection.0;
        if let Some(facts) = self.connections.open.get_mut(&connection.0) {
            facts.reports = true;
        }
        let name = SourceKey::of(source, key);
        let hash = self.key_hash(&name);
        if let Some(at) = self.find_open(hash, &name) {
            let gap = self.connections.gap_of(&self.allocations[at]);
            let before = std::mem::replace(&mut self.allocations[at].mark, connection.0);
            // Taken over from one that was interrupted: a refresh may be lost still.
            if before != connection.0 && gap > Timestamp::ZERO {
                self.connections.note_gap(connection.0, gap);
            }
        }
        let applied = self.on_event(&name, hash, event);
        self.connections.speaking = Mark::NONE;
        applied
    }

    /// Whether the connection that speaks has reported this key before, and it has not ended since.
    pub(super) fn is_told_apart(&self, hash: u64, name: &SourceKey<'_>) -> bool {
        let speaking = self.connections.speaking;
        let is_its_own = |record: &Allocation| record.mark == speaking && record.phase == Phase::Live;
        speaking != Mark::NONE && self.find_any(hash, name, is_its_own).is_some()
    }

    /// The connection was lost, or we closed it: what it reported may be incomplete up to now.
    pub fn connection_interrupted(&mut self, now: Timestamp, connection: ConnectionId) {
        self.advance(now);
        self.connections.note_gap(connection.0, self.now);
    }

    /// The processes that held the connections have ended, and their allocations with them. Looks at a part of the
    /// records, from number `from` on; gives where to go on.
    pub fn end_reported_by(&mut self, now: Timestamp, ended: &EndedConnections, from: u32) -> Option<u32> {
        self.advance(now);
        let until = from.saturating_add(SLICE);
        for at in from..until {
            let Some(allocation) = self.allocations.get(at) else { continue };
            if allocation.phase != Phase::Live {
                continue;
            }
            let cause = match ended.0.get(&allocation.mark) {
                None | Some(ProcessVerdict::Lives) => continue,
                Some(ProcessVerdict::Restarted) => Cause::Replaced,
                Some(ProcessVerdict::Died) if allocation.is(Flag::ReleasePending) => Cause::Released,
                Some(ProcessVerdict::Died) => Cause::Abandoned,
            };
            self.end_with_process(at, cause);
        }
        ((until as usize) < self.allocations.places()).then_some(until)
    }

    /// A live record ended with its process, some time after its last sign. Nobody holds it any more, so it is no orphan.
    pub(super) fn end_with_process(&mut self, at: u32, cause: Cause) {
        let last_sign = self.allocations[at].last_sign.get();
        self.close(at, cause, last_sign, false);
        self.allocations[at].phase = Phase::Gone;
        self.member_settled(at);
        self.wake_at(at, self.now.plus(OVERDUE_MEMORY));
    }

    /// A record that was ended with its process is reported again: the process lives. What said that it died is not
    /// believed for a day.
    pub(super) fn contradict(&mut self, at: u32) {
        let is_by_ids = self.allocations[at].cause == Some(Cause::Replaced);
        if is_by_ids || self.connections.speaking == Mark::NONE {
            self.rest_id_rule(at);
        } else if let Some((source, peer)) = self.connections.distrust_speaker(self.now) {
            self.found(Discovery::ConnectionsCut { source, peer });
        }
    }

    /// Traffic to or from a peer, which only an allocation has, of a record that was ended with its process, within what
    /// was granted: it lives. True if it was so.
    pub(super) fn revive(&mut self, at: u32) -> bool {
        let allocation = &self.allocations[at];
        if allocation.phase != Phase::Gone || self.now > allocation.alive_until.get() {
            return false;
        }
        self.contradict(at);
        let allocation = &mut self.allocations[at];
        allocation.phase = Phase::Live;
        allocation.deadline = PackedTime::MAX;
        self.join_session(at, Joining::Adopted);
        self.enter(at, false);
        self.judge(at);
        true
    }
}
