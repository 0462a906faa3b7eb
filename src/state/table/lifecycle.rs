//! Births and ends: what each status does to the table.

use super::{Applied, Table};
use crate::clock::Timestamp;
use crate::state::model::allocation::{
    Allocation, Cause, Flag, Granted, Origin, PackedKey, Phase, UNKNOWN_LIFETIME,
};
use crate::state::model::key::{SourceKey, key_hash};
use crate::state::model::realms::Realms;
use crate::state::model::series::{Anomaly, Orphan};
use crate::state::model::session::Joining;
use crate::state::storage::age_list::Links;
use crate::state::storage::free_list::rehashed;
use crate::state::storage::interner::Interner;
use crate::state::storage::packed::PackedTime;
use crate::state::storage::slab::Slab;
use crate::wire::{Grant, Leg};

/// How long an ended allocation waits for its totals.
pub(super) const SETTLING: std::time::Duration = std::time::Duration::from_secs(10);

/// How long an overdue allocation keeps its sums.
pub(super) const OVERDUE_MEMORY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Bytes of names (users, and realms without a label of their own) that the table holds for each of
/// [`Settings::max_allocations`](super::Settings::max_allocations). TURN REST names have some 20 to 55; coturn cuts at 508.
const NAME_BYTES: usize = 128;

/// A small table holds so many in any case.
const LEAST_NAME_BYTES: usize = 64 << 10;

impl Table {
    pub(super) fn on_new(&mut self, name: &SourceKey<'_>, hash: u64, grant: &Grant<'_>) -> Applied {
        let granted = self.understand(name.source, grant);
        self.notice_other_server(hash, name, &granted);
        let new_process = self.note_id(name.id, &granted, true);
        let mut replaced = false;
        if let Some(at) = self.find_open(hash, name) {
            let client = self.clients.get(self.allocations[at].client);
            let allocation = &mut self.allocations[at];
            if allocation.is_birth_of_scanned(client, &granted) {
                allocation.origin = Origin::Born;
                allocation.set(Flag::PastKnown, true);
                allocation.set(Flag::ScannedBirth, false);
                self.note(at);
                return Applied::Updated;
            }
            if allocation.phase == Phase::Live {
                let last_sign = allocation.last_sign.get();
                self.close(at, Cause::Replaced, last_sign, false);
                replaced = true;
            }
            self.finish(at);
        }
        let Some(at) = self.open(name, hash, &granted, Origin::Born, self.now) else {
            return Applied::Refused;
        };
        if let Some(proof) = new_process {
            self.end_old_process(at, &granted, proof);
        }
        if replaced { Applied::Closed(Cause::Replaced) } else { Applied::Opened }
    }

    pub(super) fn on_refreshed(&mut self, name: &SourceKey<'_>, hash: u64, grant: &Grant<'_>) -> Applied {
        let granted = self.understand(name.source, grant);
        self.notice_other_server(hash, name, &granted);
        self.note_id(name.id, &granted, false);
        let (at, applied) = match self.find_open(hash, name) {
            Some(at) => {
                let was_overdue = self.allocations[at].phase != Phase::Live;
                self.refresh(at, &granted, self.now);
                (at, if was_overdue { Applied::Adopted } else { Applied::Updated })
            }
            None => match self.open(name, hash, &granted, Origin::Adopted, self.now) {
                Some(at) => (at, Applied::Adopted),
                None => return Applied::Refused,
            },
        };
        let realm = self.allocations[at].realm;
        self.realms.series(realm).refreshes += 1;
        applied
    }

    /// `refreshed lifetime=0`: the end is near, or half of a dual-family allocation goes. `deleted` will tell.
    pub(super) fn on_release(&mut self, name: &SourceKey<'_>, hash: u64, grant: &Grant<'_>) -> Applied {
        let mut granted = self.understand(name.source, grant);
        self.notice_other_server(hash, name, &granted);
        let known = self.find_open(hash, name);
        granted.lifetime = UNKNOWN_LIFETIME;
        let adopt = |table: &mut Self| table.open(name, hash, &granted, Origin::Adopted, table.now);
        let Some(at) = known.or_else(|| adopt(self)) else { return Applied::Refused };
        self.note_sign(at);
        self.allocations[at].set(Flag::ReleasePending, true);
        self.allocations[at].meet_status();
        if known.is_some() { Applied::Updated } else { Applied::Adopted }
    }

    pub(super) fn on_deleted(&mut self, name: &SourceKey<'_>, hash: u64) -> Applied {
        if let Some(at) = self.find_open(hash, name) {
            return self.end(at, None);
        }
        if self.find_closing(hash, name).is_some() {
            return Applied::SetAside;
        }
        self.adopt_ended(name, hash).map_or(Applied::Refused, |_| Applied::Closed(Cause::Missed))
    }

    /// Meets an allocation by its end only.
    pub(super) fn adopt_ended(&mut self, name: &SourceKey<'_>, hash: u64) -> Option<u32> {
        let granted = self.nothing_granted(name.source);
        let at = self.open(name, hash, &granted, Origin::Adopted, self.now)?;
        self.end(at, Some(Cause::Missed));
        Some(at)
    }

    /// An open record ends by coturn's word: `deleted`, or a total that tells that `deleted` was lost.
    pub(super) fn end(&mut self, at: u32, cause: Option<Cause>) -> Applied {
        self.note_sign(at);
        self.allocations[at].set(Flag::EndTold, true);
        let allocation = &self.allocations[at];
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
    pub(super) fn begin_closing(&mut self, at: u32) {
        self.absolve(at);
        self.remember_end(at);
        self.gatherings.leave(&mut self.allocations, at);
        self.allocations[at].phase = Phase::Closing;
        self.wake_at(at, self.now.plus(SETTLING));
    }

    /// A grant where none was seen: met by its traffic or by its end.
    pub(super) fn nothing_granted(&mut self, source: u32) -> Granted {
        self.understand(source, &Grant { lifetime: 0, path: None }).of_lifetime(UNKNOWN_LIFETIME)
    }

    /// A new live record, started at `started`, counted. `None` when the table is full.
    pub(super) fn open(
        &mut self,
        name: &SourceKey<'_>,
        hash: u64,
        granted: &Granted,
        origin: Origin,
        started: Timestamp,
    ) -> Option<u32> {
        let at = self.record(name, hash, granted, origin, started)?;
        if origin == Origin::Born {
            let realm = self.allocations[at].realm;
            self.realms.series(realm).opened.add(granted.transport as usize);
        }
        self.join_session(at, if origin == Origin::Born { Joining::Born } else { Joining::Adopted });
        self.enter(at, origin == Origin::Born);
        let claimed = self.held.claim(hash);
        if !claimed.is_zero() {
            self.count(at, Leg::Client, &claimed);
        }
        self.judge(at);
        Some(at)
    }

    /// Whether names of a new record fit: there are so many bytes for each place of the table.
    pub(super) fn has_room_for_names(&self, name: &SourceKey<'_>) -> bool {
        let budget = self.settings.max_allocations.saturating_mul(NAME_BYTES).max(LEAST_NAME_BYTES);
        let taken = self.users.name_bytes() + self.realms.name_bytes();
        taken + name.realm.len() + name.user.len() <= budget
    }

    /// A new record that is not counted anywhere yet. `None` when the table is full.
    pub(super) fn record(
        &mut self,
        name: &SourceKey<'_>,
        hash: u64,
        granted: &Granted,
        origin: Origin,
        started: Timestamp,
    ) -> Option<u32> {
        if !self.make_room(name) {
            self.refused += u64::from(self.refused_keys.insert(self.now, hash));
            return None;
        }
        let realm = self.realms.acquire(name.realm);
        let serial = self.next_serial();
        self.servers.get_mut(granted.server).records += 1;
        let is_past_known = origin == Origin::Born || self.has_told_nothing(name.source, hash);
        let source = u16::try_from(name.source).unwrap_or(u16::MAX);
        let name = PackedKey { source, realm, user: self.users.acquire(name.user), id: name.id };
        let mut allocation = Allocation::new(name, origin, granted, started, self.now);
        (allocation.serial, allocation.mark) = (serial.into(), self.connections.speaking);
        allocation.set(Flag::PastKnown, is_past_known);
        let at = self.allocations.insert(allocation);
        if let Some(source) = self.sources.get_mut(usize::from(source)) {
            source.places.taken += 1;
        }
        if let Some(client) = granted.client {
            self.clients.put(&mut self.allocations[at].client, client);
        }
        self.reports.clear(at);
        let (hasher, allocations, realms, users) =
            (&self.hasher, &self.allocations, &self.realms, &self.users);
        self.by_key.insert_unique(hash, at, |&at| key_hash(hasher, &name_of(allocations, realms, users, at)));
        self.note(at);
        Some(at)
    }

    /// Room for so many keys more.
    pub(super) fn reserve_keys(&mut self, more: usize) {
        let (hasher, allocations, realms, users) =
            (&self.hasher, &self.allocations, &self.realms, &self.users);
        self.by_key.reserve(more, |&at| key_hash(hasher, &name_of(allocations, realms, users, at)));
    }

    /// Counts a record among the living; adopts it unless it was `born` just now. One that lives again is still in its
    /// gathering.
    pub(super) fn enter(&mut self, at: u32, born: bool) {
        let allocation = &self.allocations[at];
        let (realm, started) = (allocation.realm, allocation.started.get());
        let is_gathered = allocation.gathering != Links::ALONE;
        self.count_live(at);
        let group = self.realms.group(realm);
        group.series.adopted += u64::from(!born);
        group.ages(self.allocations[at].is(Flag::Revived)).insert(&mut self.allocations, at);
        if !is_gathered {
            let key = self.gathering_key(at);
            self.gatherings.join(&mut self.allocations, at, key, started, self.now);
        }
    }

    /// Counts the end of a live record. `seen` if it is coturn's word; otherwise it ended some time after its last sign.
    pub(super) fn close(&mut self, at: u32, cause: Cause, ended: Timestamp, seen: bool) {
        self.uncount_live(at);
        self.note(at);
        let allocation = &mut self.allocations[at];
        allocation.cause = Some(cause);
        self.endings.of(at).at = ended;
        let (idle, over) = (allocation.take(Flag::Idle), allocation.take(Flag::OverMaxLifetime));
        let (server, realm) = (allocation.server, allocation.realm);
        let duration = ended.since(allocation.started.get());
        let whole = seen && cause.is_whole(allocation.origin);
        self.servers.get_mut(server).closed.add(cause as usize);
        let group = self.realms.group(realm);
        group.ages(self.allocations[at].is(Flag::Revived)).remove(&mut self.allocations, at);
        group.series.closed.add(cause as usize);
        if whole {
            group.series.allocation_durations.observe_duration(duration);
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
    pub(super) fn fall_overdue(&mut self, at: u32) {
        let allocation = &self.allocations[at];
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
        let allocation = &mut self.allocations[at];
        allocation.phase = Phase::Overdue;
        allocation.set(Flag::OverdueOrphan, !released);
        self.member_settled(at);
        if !released {
            let allocation = &self.allocations[at];
            let series = self.realms.series(allocation.realm);
            series.orphans.add(Orphan::Overdue as usize);
            series.orphaned.add(Orphan::Overdue as usize);
        }
        self.wake_at(at, self.now.plus(OVERDUE_MEMORY));
    }

    /// A refresh of an open record at `moment`; one that was overdue lives again.
    pub(super) fn refresh(&mut self, at: u32, granted: &Granted, moment: Timestamp) {
        if self.allocations[at].phase == Phase::Live {
            self.uncount_live(at);
            self.locate(at, granted);
            self.allocations[at].grant(moment, granted);
            self.count_live(at);
        } else {
            self.absolve(at);
            if self.allocations[at].phase == Phase::Gone {
                self.contradict(at);
            }
            self.locate(at, granted);
            let allocation = &mut self.allocations[at];
            allocation.phase = Phase::Live;
            allocation.set(Flag::EndTold, false);
            allocation.deadline = PackedTime::MAX;
            allocation.grant(moment, granted);
            self.join_session(at, Joining::Adopted);
            self.enter(at, false);
        }
        self.note_sign(at);
        self.allocations[at].meet_status();
        self.judge(at);
    }

    /// Takes over where a status says that the client is, and which server speaks.
    fn locate(&mut self, at: u32, granted: &Granted) {
        let before = self.allocations[at].server;
        self.allocations[at].locate(granted);
        if let Some(client) = granted.client.filter(|_| granted.long_form) {
            self.clients.put(&mut self.allocations[at].client, client);
        }
        self.servers.get_mut(before).records -= 1;
        self.servers.get_mut(self.allocations[at].server).records += 1;
    }

    /// Something of it was heard.
    pub(super) fn note_sign(&mut self, at: u32) {
        let allocation = &mut self.allocations[at];
        allocation.last_sign = self.now.into();
        allocation.set(Flag::ScannedBirth, false);
        self.servers.get_mut(allocation.server).last_seen = self.now;
        self.note(at);
    }

    /// Removes a record that has ended, whose sums are final.
    pub(super) fn finish(&mut self, at: u32) {
        self.absolve(at);
        self.gatherings.leave(&mut self.allocations, at);
        self.allocations[at].phase = Phase::Closing;
        self.member_settled(at);
        let hash = key_hash(&self.hasher, &name_of(&self.allocations, &self.realms, &self.users, at));
        // One that was replaced ended by the word of the next.
        if !self.allocations[at].is(Flag::EndTold) && self.allocations[at].cause != Some(Cause::Replaced) {
            self.forget(hash);
        }
        if let Ok(entry) = self.by_key.find_entry(hash, |&other| other == at) {
            entry.remove();
        }
        if let Some(room) = rehashed(self.by_key.len().max(self.expected), self.by_key.capacity()) {
            let (hasher, allocations, realms, users) =
                (&self.hasher, &self.allocations, &self.realms, &self.users);
            self.by_key.shrink_to(room, |&at| key_hash(hasher, &name_of(allocations, realms, users, at)));
        }
        self.endings.remove(at);
        if let Some(allocation) = self.allocations.remove(at) {
            if let Some(source) = self.sources.get_mut(allocation.source().0 as usize) {
                source.places.taken -= 1;
            }
            self.clients.remove(allocation.client);
            self.realms.release(allocation.realm);
            self.users.release(allocation.user);
            self.servers.get_mut(allocation.server).records -= 1;
        }
        self.reports.cut(self.allocations.places());
    }

    /// An overdue allocation is no orphan any more.
    pub(super) fn absolve(&mut self, at: u32) {
        let allocation = &mut self.allocations[at];
        if allocation.take(Flag::OverdueOrphan) {
            if let Some(keeping) = &mut self.keeping {
                keeping.note(at);
            }
            self.realms.series(allocation.realm).orphans.sub(Orphan::Overdue as usize);
        }
    }

    /// Two servers under one key: from now on nobody knows whose its totals are.
    fn notice_other_server(&mut self, hash: u64, name: &SourceKey<'_>, granted: &Granted) {
        // Who has a record of its own by its connection is not mixed up with a server that has lost its.
        if self.is_told_apart(hash, name) {
            return;
        }
        let other = self.find(hash, name, |allocation| allocation.is_of_other_server(granted));
        if other.is_some() && self.shared.insert(self.now, hash) {
            self.anomalies.add(Anomaly::SharedKey as usize);
        }
    }

    fn remember_end(&mut self, at: u32) {
        let source = self.allocations[at].source().0;
        let hash = key_hash(&self.hasher, &name_of(&self.allocations, &self.realms, &self.users, at));
        if let Some(scan) = self.sources.get_mut(source as usize).and_then(|source| source.scan.as_mut()) {
            scan.remember_end(hash);
        }
    }

    fn count_live(&mut self, at: u32) {
        let allocation = &self.allocations[at];
        self.realms.series(allocation.realm).live.add(allocation.transport as usize);
        self.servers.get_mut(allocation.server).live += 1;
        if let Some(source) = self.sources.get_mut(allocation.source().0 as usize) {
            source.live += 1;
        }
    }

    fn uncount_live(&mut self, at: u32) {
        let allocation = &self.allocations[at];
        self.realms.series(allocation.realm).live.sub(allocation.transport as usize);
        self.servers.get_mut(allocation.server).live -= 1;
        if let Some(source) = self.sources.get_mut(allocation.source().0 as usize) {
            source.live -= 1;
        }
    }
}

/// The key of a record.
pub(in crate::state) fn name_of<'a>(
    allocations: &'a Slab<Allocation>,
    realms: &'a Realms,
    users: &'a Interner,
    at: u32,
) -> SourceKey<'a> {
    let allocation = &allocations[at];
    SourceKey {
        source: allocation.source().0,
        realm: realms.name(allocation.realm),
        user: users.get(allocation.user),
        id: allocation.id,
    }
}

impl Granted {
    fn of_lifetime(mut self, lifetime: std::time::Duration) -> Self {
        self.lifetime = lifetime;
        self
    }
}
