//! Goes on from what a store has kept of an earlier process.

use crate::state::model::ids::RecordId;
use std::collections::HashMap;

use super::Table;
use super::lifecycle::{OVERDUE_MEMORY, SETTLING};
use super::sessions::{EarlierSession, Reopened};
use crate::clock::Timestamp;
use crate::state::model::allocation::{Flag, Granted, Phase};
use crate::state::model::end_records::EndRecord;
use crate::state::model::key::SourceKey;
use crate::state::model::series::Orphan;
use crate::state::model::session::Joining;
use crate::state::record::{AllocationRecord, SavedAllocation, SavedSource, SavedTable, SessionRecord};
use crate::wire::{ByLeg, Leg, Traffic};

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Allocations that are live.
    pub live: u64,
    /// Allocations that are overdue.
    pub overdue: u64,
    /// Allocations for which the table has no room.
    pub refused: u64,
}

impl Table {
    /// Puts what was kept into a table that is new and knows no other. What had not been exported is counted now.
    // docs/semantics.md#counters-after-a-restart
    pub fn restore(&mut self, now: Timestamp, mut saved: SavedTable) -> Restored {
        self.pass(now);
        for label in saved.realms {
            self.realms.recall(self.now, &label);
        }
        self.restore_sources(&saved.sources);
        let sessions: HashMap<u64, SessionRecord> =
            saved.sessions.into_iter().map(|session| (session.serial, session)).collect();
        // Those that live first, for they open the sessions; the oldest first, for gatherings and ages.
        saved.allocations.sort_by_key(|saved| (saved.record.phase != Phase::Live, saved.record.started));
        let mut restored = Restored::default();
        let mut reopened = Reopened::new();
        for SavedAllocation { record, exported, accounted_bytes } in &saved.allocations {
            self.count_unexported(&record.realm, &record.sums, exported);
            if record.is_final {
                if !record.flags.has(Flag::EndReported) {
                    self.remember_forgotten(record);
                }
                continue;
            }
            let Some(at) = self.restore_record(record, *accounted_bytes) else {
                self.remember_forgotten(record);
                restored.refused += 1;
                continue;
            };
            let saved_session = |serial| EarlierSession { serial, saved: sessions.get(&serial).copied() };
            let session = record.session.map(saved_session);
            match record.phase {
                Phase::Live => {
                    self.restore_live(at, record, session, &mut reopened);
                    restored.live += 1;
                }
                Phase::Closing => self.restore_closing(at, session, &mut reopened),
                Phase::Overdue | Phase::Gone => {
                    self.restore_overdue(at, record);
                    restored.overdue += 1;
                }
            }
        }
        restored
    }

    fn restore_sources(&mut self, sources: &[SavedSource]) {
        // What lived when the store began has shown itself since, or is no more.
        let settled_after = self.settings.longest_silence();
        for &SavedSource { source, since, received_until } in sources {
            if let Some(source) = self.sources.get_mut(source) {
                source.known = true;
                source.watched_since = since;
                source.is_remembered = received_until.since(since) > settled_after;
                source.lost_at = received_until.min(self.now);
            }
        }
    }

    /// What scrapers were not answered of an allocation's sums is relayed now.
    fn count_unexported(&mut self, realm: &[u8], sums: &ByLeg<Traffic>, exported: &ByLeg<Traffic>) {
        if sums == exported {
            return;
        }
        let realm = self.realms.acquire(self.now, realm);
        let relayed = &mut self.realms.series(realm).relayed;
        for leg in Leg::ALL {
            relayed.get_mut(leg).add(&sums.get(leg).saturating_sub(exported.get(leg)));
        }
        self.realms.release(realm);
    }

    /// A record of the table, in no session yet. `None` where there is no room.
    fn restore_record(&mut self, record: &AllocationRecord, accounted_bytes: u64) -> Option<RecordId> {
        let key = key_of(record);
        let hash = self.records.key_hash(&key);
        if record.phase != Phase::Live && !self.has_room(key.source) {
            // What has ended takes no place from what has ended.
            return None;
        }
        let now = self.now;
        let granted = Granted {
            lifetime: record.lifetime.min(self.settings.longest_lifetime()),
            transport: record.transport,
            server: self.servers.recall(
                (now, record.last_sign.min(now)),
                &self.key_ids,
                key.source,
                &record.server,
            ),
            server_port: record.server_port,
            client: record.client,
            long_form: record.flags.has(Flag::LongForm),
        };
        let at = self.record(&key, hash, &granted, record.origin, record.started.min(now))?;
        record.put_into(&mut self.records[at], now);
        if record.ended > Timestamp::ZERO {
            let end = EndRecord { at: record.ended.min(now), accounted_bytes, client_loss: None };
            *self.records.end_mut(at) = end;
        }
        Some(at)
    }

    fn restore_live(
        &mut self,
        at: RecordId,
        record: &AllocationRecord,
        session: Option<EarlierSession>,
        reopened: &mut Reopened,
    ) {
        self.join_session(at, Joining::Restored);
        if let Some(session) = session {
            self.recall_session(at, session, reopened);
        }
        self.enter(at, false);
        if record.flags.has(Flag::Idle) {
            self.records[at].set(Flag::Idle, true);
            self.count_orphan_again(at, Orphan::Idle);
        }
        self.judge(at);
    }

    fn restore_closing(&mut self, at: RecordId, session: Option<EarlierSession>, reopened: &mut Reopened) {
        if let Some(session) = session {
            self.rejoin_settling(at, session, reopened);
        }
        self.wake_at(at, self.now.plus(SETTLING));
    }

    fn restore_overdue(&mut self, at: RecordId, record: &AllocationRecord) {
        if record.flags.has(Flag::OverdueOrphan) {
            self.count_orphan_again(at, Orphan::Overdue);
        }
        self.wake_at(at, record.ended.plus(OVERDUE_MEMORY).max(self.now));
    }

    /// Counts a present orphan that did not become one just now.
    fn count_orphan_again(&mut self, at: RecordId, reason: Orphan) {
        let realm = self.records[at].realm;
        self.realms.series(realm).orphans.add(reason as usize);
    }

    /// Something of the record was exported, and the table does not have it.
    fn remember_forgotten(&mut self, record: &AllocationRecord) {
        let ids = self.key_ids;
        self.changes.remember_forgotten(self.now, || ids.of_key(&key_of(record)));
    }
}

fn key_of(record: &AllocationRecord) -> SourceKey<'_> {
    SourceKey { source: record.source, realm: &record.realm, user: &record.user, id: record.id }
}
