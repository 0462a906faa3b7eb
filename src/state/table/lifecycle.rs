//! Births and ends: what each status does to the table.

use super::{Applied, Table};
use crate::clock::Timestamp;
use crate::state::model::allocation::{
    Allocation, Cause, Flag, Granted, Origin, PackedKey, Phase, UNKNOWN_LIFETIME,
};
use crate::state::model::ids::{RecordId, SourceId};
use crate::state::model::key::SourceKey;
use crate::state::model::series::{Anomaly, Orphan};
use crate::state::model::session::Joining;
use crate::state::record::events::session_serial;
use crate::state::storage::packed::PackedTime;
use crate::wire::Grant;

/// How long an ended allocation waits for its totals.
pub(super) const SETTLING: std::time::Duration = std::time::Duration::from_secs(10);

/// How long an overdue allocation keeps its sums.
pub(super) const OVERDUE_MEMORY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

impl Table {
    // docs/semantics.md#how-an-allocation-begins
    pub(super) fn on_new(&mut self, key: &SourceKey<'_>, hash: u64, grant: &Grant<'_>) -> Applied {
        let granted = self.read_status(key.source, grant);
        self.notice_other_server(hash, key, &granted);
        let new_process = self.note_birth(key.id, &granted);
        let mut replaced = false;
        if let Some(at) = self.find_open(hash, key) {
            let client = self.records.client(&self.records[at]);
            let allocation = &mut self.records[at];
            if allocation.is_birth_of_scanned(client, &granted) {
                allocation.origin = Origin::Born;
                allocation.set(Flag::PastKnown, true);
                allocation.set(Flag::ScannedBirth, false);
                if let Some(proof) = new_process {
                    self.end_old_process(key, Some(at), &granted, proof);
                }
                return Applied::Updated;
            }
            if allocation.phase == Phase::Live {
                let last_sign = allocation.last_sign.get();
                self.close(at, Cause::Replaced, last_sign, false);
                replaced = true;
            }
            self.finish(at);
        }
        // In a table that is full there is room when those of the old process have ended.
        let proof_first = new_process.filter(|_| !self.make_room(key));
        if let Some(proof) = proof_first {
            self.end_old_process(key, None, &granted, proof);
        }
        let Some(at) = self.open(key, hash, &granted, Origin::Born, self.now) else {
            return Applied::Refused;
        };
        if let Some(proof) = new_process.filter(|_| proof_first.is_none()) {
            self.end_old_process(key, Some(at), &granted, proof);
        }
        if replaced { Applied::Closed(Cause::Replaced) } else { Applied::Opened }
    }

    // docs/semantics.md#refreshes
    pub(super) fn on_refreshed(&mut self, key: &SourceKey<'_>, hash: u64, grant: &Grant<'_>) -> Applied {
        let granted = self.read_status(key.source, grant);
        self.notice_other_server(hash, key, &granted);
        let known = self.find_open(hash, key);
        let started = known.map_or(self.now, |at| self.records[at].started.get());
        if known.is_none() {
            self.note_adopted(key.id, &granted, started);
        }
        self.note_status(key.id, &granted, started);
        let (at, applied) = match known {
            Some(at) => {
                let was_overdue = self.records[at].phase != Phase::Live;
                self.refresh(at, &granted, self.now);
                (at, if was_overdue { Applied::Adopted } else { Applied::Updated })
            }
            None => match self.open(key, hash, &granted, Origin::Adopted, self.now) {
                Some(at) => (at, Applied::Adopted),
                None => return Applied::Refused,
            },
        };
        let realm = self.records[at].realm;
        self.realms.series(realm).refreshes += 1;
        applied
    }

    /// `refreshed lifetime=0`: the end is near, or half of a dual-family allocation goes. `deleted` will tell.
    // docs/semantics.md#release-pending
    pub(super) fn on_release(&mut self, key: &SourceKey<'_>, hash: u64, grant: &Grant<'_>) -> Applied {
        let mut granted = self.read_status(key.source, grant);
        self.notice_other_server(hash, key, &granted);
        let known = self.find_open(hash, key);
        granted.lifetime = UNKNOWN_LIFETIME;
        let adopt = |table: &mut Self| table.open(key, hash, &granted, Origin::Adopted, table.now);
        let Some(at) = known.or_else(|| adopt(self)) else { return Applied::Refused };
        self.note_sign(at);
        self.note_end(at);
        self.records[at].set(Flag::ReleasePending, true);
        self.records[at].meet_status();
        if known.is_some() { Applied::Updated } else { Applied::Adopted }
    }

    // docs/semantics.md#ends
    pub(super) fn on_deleted(&mut self, key: &SourceKey<'_>, hash: u64) -> Applied {
        if let Some(at) = self.find_open(hash, key) {
            return self.end(at, None);
        }
        if self.find_closing(hash, key).is_some() {
            return Applied::SetAside;
        }
        self.adopt_ended(key, hash).map_or(Applied::Refused, |_| Applied::Closed(Cause::Missed))
    }

    /// Meets an allocation by its end only.
    pub(super) fn adopt_ended(&mut self, key: &SourceKey<'_>, hash: u64) -> Option<RecordId> {
        let granted = self.nothing_granted(key.source);
        let at = self.open(key, hash, &granted, Origin::Adopted, self.now)?;
        self.end(at, Some(Cause::Missed));
        Some(at)
    }

    /// An open record ends by coturn's word: `deleted`, or a total that tells that `deleted` was lost.
    pub(super) fn end(&mut self, at: RecordId, cause: Option<Cause>) -> Applied {
        if self.records[at].phase == Phase::Gone {
            self.claim_for(at);
        }
        self.note_sign(at);
        self.note_end(at);
        self.records[at].set(Flag::EndReported, true);
        let allocation = &self.records[at];
        let applied = if allocation.phase == Phase::Live {
            let cause = cause.unwrap_or_else(|| allocation.cause_of_deleted(self.now, self.settings.grace));
            self.close(at, cause, self.now, true);
            Applied::Closed(cause)
        } else {
            // Its end was counted when it became overdue, or with its process.
            if allocation.phase == Phase::Gone {
                self.contradict(at);
            }
            Applied::Updated
        };
        self.begin_closing(at);
        applied
    }

    /// An ended record waits for its totals.
    pub(super) fn begin_closing(&mut self, at: RecordId) {
        self.clear_overdue_orphan(at);
        self.remember_end(at);
        self.gatherings.leave(&mut self.records.slab, at);
        self.records[at].phase = Phase::Closing;
        self.wake_at(at, self.now.plus(SETTLING));
    }

    /// A grant where none was seen: met by its traffic or by its end.
    pub(super) fn nothing_granted(&mut self, source: SourceId) -> Granted {
        self.read_status(source, &Grant { lifetime: 0, path: None }).of_lifetime(UNKNOWN_LIFETIME)
    }

    /// A new live record, started at `started`, counted. `None` when the table is full.
    pub(super) fn open(
        &mut self,
        key: &SourceKey<'_>,
        hash: u64,
        granted: &Granted,
        origin: Origin,
        started: Timestamp,
    ) -> Option<RecordId> {
        let at = self.record(key, hash, granted, origin, started)?;
        if origin == Origin::Born {
            let realm = self.records[at].realm;
            self.realms.series(realm).opened.add(granted.transport as usize);
        }
        self.join_session(at, if origin == Origin::Born { Joining::Born } else { Joining::Adopted });
        self.enter(at, origin == Origin::Born);
        self.claim_for(at);
        self.judge(at);
        Some(at)
    }

    /// A new record that is not counted anywhere yet. `None` when the table is full.
    pub(super) fn record(
        &mut self,
        key: &SourceKey<'_>,
        hash: u64,
        granted: &Granted,
        origin: Origin,
        started: Timestamp,
    ) -> Option<RecordId> {
        if !self.make_room(key) {
            self.counters.refused += u64::from(self.keys.refused.insert(self.now, self.key_ids.of_key(key)));
            return None;
        }
        let realm = self.realms.acquire(self.now, key.realm);
        let serial = self.changes.next_serial();
        self.servers.get_mut(granted.server).records += 1;
        let is_past_known = origin == Origin::Born || self.is_past_known(key);
        let source = u16::try_from(key.source.0).unwrap_or(u16::MAX);
        let packed = PackedKey { source, realm, user: self.records.users.acquire(key.user), id: key.id };
        let mut allocation = Allocation::new(packed, origin, granted, started, self.now);
        (allocation.serial, allocation.mark) = (serial.into(), self.connections.current);
        allocation.set(Flag::PastKnown, is_past_known);
        let at = self.records.insert(&self.realms, hash, allocation);
        if let Some(source) = self.sources.get_mut(SourceId(source.into())) {
            source.records.taken += 1;
        }
        if let Some(client) = granted.client {
            self.records.set_client(at, client);
        }
        Some(at)
    }

    /// Counts a record among the living; adopts it unless it was `born` just now. One that lives again is still in its
    /// gathering.
    pub(super) fn enter(&mut self, at: RecordId, born: bool) {
        let allocation = &self.records[at];
        let (realm, started) = (allocation.realm, allocation.started.get());
        let is_gathered = allocation.gathering.next.is_some();
        self.count_live(at);
        let group = self.realms.group(realm);
        group.series.adopted += u64::from(!born);
        group.ages(self.records[at].is(Flag::Revived)).insert(&mut self.records.slab, at);
        if !is_gathered {
            let key = self.gathering_key(at);
            self.gatherings.join(&mut self.records.slab, at, key, started, self.now);
        }
    }

    /// Counts the end of a live record. `seen` if it is coturn's word; otherwise it ended some time after its last sign.
    pub(super) fn close(&mut self, at: RecordId, cause: Cause, ended: Timestamp, seen: bool) {
        self.uncount_live(at);
        self.records.end_mut(at).at = ended;
        let allocation = &mut self.records[at];
        allocation.cause = Some(cause);
        let (idle, over) = (allocation.take(Flag::Idle), allocation.take(Flag::OverMaxLifetime));
        let (server, realm) = (allocation.server, allocation.realm);
        let (id, duration) = (allocation.id, ended.since(allocation.started.get()));
        let whole = seen && cause.is_whole(allocation.origin);
        self.servers.get_mut(server).closed.add(cause as usize);
        let group = self.realms.group(realm);
        group.ages(self.records[at].is(Flag::Revived)).remove(&mut self.records.slab, at);
        group.series.closed.add(cause as usize);
        if whole {
            group.series.allocation_durations.observe_duration(self.now, id, duration);
        }
        if idle {
            group.series.orphans.sub(Orphan::Idle as usize);
        }
        if over {
            group.series.over_max_lifetime -= 1;
        }
        self.member_ended(at, ended, whole);
    }

    /// Past due without a word: counted as ended, kept for what may still come.
    // docs/semantics.md#cause-abandoned
    pub(super) fn become_overdue(&mut self, at: RecordId) {
        let allocation = &self.records[at];
        let gap = self.last_gap_of(at);
        let (released, last_sign) = (allocation.is(Flag::ReleasePending), allocation.last_sign.get());
        let cause = if allocation.granted_at.get() < gap {
            Cause::Missed
        } else if released {
            Cause::Released
        } else {
            Cause::Abandoned
        };
        self.close(at, cause, last_sign, false);
        let allocation = &mut self.records[at];
        allocation.phase = Phase::Overdue;
        allocation.set(Flag::OverdueOrphan, !released);
        let session = session_serial(&self.records[at], &self.sessions);
        self.member_settled(at);
        if !released {
            let allocation = &self.records[at];
            let series = self.realms.series(allocation.realm);
            series.orphans.add(Orphan::Overdue as usize);
            series.orphaned.add(Orphan::Overdue as usize);
            self.give_orphaned(at, session, Orphan::Overdue);
        }
        self.wake_at(at, self.now.plus(OVERDUE_MEMORY));
    }

    /// A refresh of an open record at `moment`; one that was overdue lives again.
    pub(super) fn refresh(&mut self, at: RecordId, granted: &Granted, moment: Timestamp) {
        if self.records[at].phase == Phase::Live {
            self.uncount_live(at);
            self.locate(at, granted);
            self.records[at].grant(moment, granted);
            self.count_live(at);
        } else {
            self.clear_overdue_orphan(at);
            let was_gone = self.records[at].phase == Phase::Gone;
            if was_gone {
                self.contradict(at);
            }
            self.locate(at, granted);
            let allocation = &mut self.records[at];
            allocation.phase = Phase::Live;
            allocation.set(Flag::EndReported, false);
            allocation.deadline = PackedTime::MAX;
            allocation.grant(moment, granted);
            self.join_session(at, Joining::Adopted);
            self.enter(at, false);
            if was_gone {
                self.claim_for(at);
            }
        }
        self.note_sign(at);
        self.records[at].meet_status();
        self.judge(at);
    }

    /// Takes over where a status says that the client is, and which server speaks.
    fn locate(&mut self, at: RecordId, granted: &Granted) {
        let before = self.records[at].server;
        self.records[at].locate(granted);
        if let Some(client) = granted.client.filter(|_| granted.long_form) {
            self.records.set_client(at, client);
        }
        self.servers.get_mut(before).records -= 1;
        self.servers.get_mut(self.records[at].server).records += 1;
    }

    /// An event of it came.
    pub(super) fn note_sign(&mut self, at: RecordId) {
        let allocation = &mut self.records[at];
        allocation.note_sign(self.now);
        self.servers.get_mut(allocation.server).last_seen = self.now;
    }

    /// Removes a record that has ended, whose sums are final.
    pub(super) fn finish(&mut self, at: RecordId) {
        self.clear_overdue_orphan(at);
        self.gatherings.leave(&mut self.records.slab, at);
        self.records[at].phase = Phase::Closing;
        self.member_settled(at);
        let hash = self.records.hash_of(&self.realms, at);
        // One that was replaced ended by the word of the next.
        if !self.records[at].is(Flag::EndReported) && self.records[at].cause != Some(Cause::Replaced) {
            let (records, realms, ids) = (&self.records, &self.realms, self.key_ids);
            self.changes.remember_forgotten(self.now, || ids.of_key(&records.key_of(realms, at)));
        }
        if let Some(allocation) = self.records.remove(&self.realms, hash, at) {
            if let Some(source) = self.sources.get_mut(allocation.source()) {
                source.records.taken -= 1;
            }
            self.realms.release(allocation.realm);
            self.records.users.release(allocation.user);
            self.servers.get_mut(allocation.server).records -= 1;
        }
    }

    /// An overdue allocation is no orphan any more.
    pub(super) fn clear_overdue_orphan(&mut self, at: RecordId) {
        let allocation = &mut self.records[at];
        if allocation.take(Flag::OverdueOrphan) {
            self.realms.series(allocation.realm).orphans.sub(Orphan::Overdue as usize);
        }
    }

    /// Two servers under one key: from now on nobody knows whose its totals are.
    // docs/semantics.md#shared-keys
    fn notice_other_server(&mut self, hash: u64, key: &SourceKey<'_>, granted: &Granted) {
        // Who has a record of its own by its connection is not mixed up with a server that has lost its.
        if self.has_own_record(hash, key) {
            return;
        }
        let other = self.find(hash, key, |allocation| allocation.is_of_other_server(granted));
        if other.is_some() && self.keys.shared.insert(self.now, self.key_ids.of_key(key)) {
            self.counters.count_anomaly(Anomaly::SharedKey);
        }
    }

    fn remember_end(&mut self, at: RecordId) {
        let source = self.sources.get_mut(self.records[at].source());
        if let Some(scan) = source.and_then(|source| source.scan.as_mut()) {
            scan.remember_end(self.key_ids.of_key(&self.records.key_of(&self.realms, at)));
        }
    }

    fn count_live(&mut self, at: RecordId) {
        let allocation = &self.records[at];
        self.realms.series(allocation.realm).live.add(allocation.transport as usize);
        self.servers.get_mut(allocation.server).live += 1;
        if let Some(source) = self.sources.get_mut(allocation.source()) {
            source.live += 1;
        }
        self.connections.count_live(allocation.mark);
    }

    fn uncount_live(&mut self, at: RecordId) {
        let allocation = &self.records[at];
        self.realms.series(allocation.realm).live.sub(allocation.transport as usize);
        self.servers.get_mut(allocation.server).live -= 1;
        if let Some(source) = self.sources.get_mut(allocation.source()) {
            source.live -= 1;
        }
        self.connections.uncount_live(allocation.mark);
    }
}

impl Granted {
    fn of_lifetime(mut self, lifetime: std::time::Duration) -> Self {
        self.lifetime = lifetime;
        self
    }
}
