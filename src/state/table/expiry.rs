//! What time alone does: due times, ages, idleness. Looked at when a deadline wakes a record, never by a scan.

use crate::state::model::ids::RecordId;
use std::time::Duration;

use super::Table;
use crate::clock::Timestamp;
use crate::state::model::allocation::{Flag, Phase};
use crate::state::model::gatherings::members;
use crate::state::model::series::Orphan;
use crate::state::record::events::session_serial;
use crate::state::storage::packed::PackedTime;

/// "Later than" is one tick of the clock later.
const TICK: Duration = Duration::from_millis(1);

/// How soon to ask again whether the source of an allocation that seems overdue has been received so far.
const NOT_RECEIVED: Duration = Duration::from_secs(1);

impl Table {
    /// Looks at a record whose moment has come.
    pub(super) fn wake(&mut self, at: RecordId, moment: Timestamp) {
        let Some(allocation) = self.records.get_mut(at) else { return };
        if allocation.deadline.get() != moment {
            return;
        }
        allocation.deadline = PackedTime::MAX;
        match allocation.phase {
            Phase::Live => self.judge(at),
            Phase::Closing | Phase::Overdue | Phase::Gone => self.finish(at),
        }
    }

    /// Sets the moment to look again; an earlier one that is set already stays.
    fn arm(&mut self, at: RecordId) {
        let moment = self.next_look(at);
        if moment < self.records[at].deadline.get() {
            self.wake_at(at, moment);
        }
    }

    pub(super) fn wake_at(&mut self, at: RecordId, moment: Timestamp) {
        self.timers.set(&mut self.records[at], at, moment);
        self.queue_ended(at, moment);
    }

    /// An allocation that was quiet for long reported traffic: its gathering is in use. Only one that was quiet for so long
    /// can hold idle ones.
    #[cold]
    pub(super) fn end_idleness(&mut self, at: RecordId) {
        let members: Vec<RecordId> = members(&self.records.slab, at).collect();
        for at in members {
            let allocation = &mut self.records[at];
            if allocation.take(Flag::Idle) {
                self.realms.series(allocation.realm).orphans.sub(Orphan::Idle as usize);
                self.arm(at);
            }
        }
    }

    /// Sees what time has done to a live allocation, and when to look again.
    // docs/semantics.md#idle-orphans
    pub(super) fn judge(&mut self, at: RecordId) {
        let now = self.now;
        if self.is_overdue(at) {
            self.become_overdue(at);
            return;
        }
        let allocation = &self.records[at];
        let realm = allocation.realm;
        if !allocation.is(Flag::OverMaxLifetime)
            && now.since(allocation.started.get()) > self.settings.max_lifetime
        {
            self.records[at].set(Flag::OverMaxLifetime, true);
            self.realms.series(realm).over_max_lifetime += 1;
        }
        let allocation = &self.records[at];
        // One whose lifetime is over is not being held: it waits for its end.
        let may_be_idle = allocation.is(Flag::OverMaxLifetime)
            && !allocation.is(Flag::Idle)
            && now <= allocation.alive_until.get();
        if may_be_idle && self.idle_from(at).is_some_and(|from| self.received_of(at) > from) {
            self.records[at].set(Flag::Idle, true);
            let series = self.realms.series(realm);
            series.orphans.add(Orphan::Idle as usize);
            series.orphaned.add(Orphan::Idle as usize);
            let session = session_serial(&self.records[at], &self.sessions);
            self.give_orphaned(at, session, Orphan::Idle);
        }
        self.arm(at);
    }

    /// Sees what a live allocation is by the settings that are in force now: not over its lifetime or idle any more, maybe.
    pub(super) fn judge_by_other_times(&mut self, at: RecordId) {
        let is_over = self.now.since(self.records[at].started.get()) > self.settings.max_lifetime;
        let of_gathering =
            members(&self.records.slab, at).map(|member| self.records[member].quiet_since.get());
        let quiet = of_gathering.max().map(|quiet_since| self.now.since(quiet_since));
        let may_be_idle = is_over && quiet.is_some_and(|quiet| quiet >= self.settings.idle_after);
        let allocation = &mut self.records[at];
        let series = self.realms.series(allocation.realm);
        if !is_over && allocation.take(Flag::OverMaxLifetime) {
            series.over_max_lifetime -= 1;
        }
        if !may_be_idle && allocation.take(Flag::Idle) {
            series.orphans.sub(Orphan::Idle as usize);
        }
        self.judge(at);
    }

    /// When a live allocation is due; `None` while its source is down: nothing becomes due then.
    // docs/semantics.md#due
    fn due(&self, at: RecordId) -> Option<Timestamp> {
        let allocation = &self.records[at];
        let source = self.sources.get(allocation.source())?;
        let due = allocation.alive_until.get().plus(self.settings.grace);
        let gap = self.last_gap_of(at);
        let refresh_may_be_lost = allocation.granted_at.get() < gap;
        let after_gap = gap.plus(allocation.lifetime.get()).plus(self.settings.grace);
        source.up.then(|| if refresh_may_be_lost { due.max(after_gap) } else { due })
    }

    /// When the last gap in what reports the allocation was over: that of its source, or of its connection.
    pub(super) fn last_gap_of(&self, at: RecordId) -> Timestamp {
        let allocation = &self.records[at];
        let source = self.sources.get(allocation.source());
        let resumed_at = source.map_or(Timestamp::ZERO, |source| source.resumed_at);
        resumed_at.max(self.connections.gap_of(allocation))
    }

    /// Whether a live allocation is overdue for certain: as far as its source has been received.
    fn is_overdue(&self, at: RecordId) -> bool {
        self.due(at).is_some_and(|due| self.received_of(at) > due)
    }

    /// How far the allocation's source has been received.
    fn received_of(&self, at: RecordId) -> Timestamp {
        let source = self.sources.get(self.records[at].source());
        source.map_or(self.now, |source| source.received_until.min(self.now))
    }

    /// The next moment at which [`Table::judge`] could find something, or an earlier one.
    fn next_look(&self, at: RecordId) -> Timestamp {
        let allocation = &self.records[at];
        // However soon the link is back, the allocation has its lifetime from then; and it is not back while time passes: a
        // long time in one step must not take a look for each lifetime.
        let down_until = self.timers.passing_to.max(self.now);
        let no_sooner = || down_until.plus(allocation.lifetime.get()).plus(self.settings.grace);
        let due = self.due(at).unwrap_or_else(no_sooner);
        let other = if !allocation.is(Flag::OverMaxLifetime) {
            allocation.started.get().plus(self.settings.max_lifetime)
        } else if !allocation.is(Flag::Idle) && self.now <= allocation.alive_until.get() {
            self.idle_from(at).unwrap_or_else(|| down_until.plus(self.settings.idle_after))
        } else {
            Timestamp::MAX
        };
        let next = due.min(other);
        // The source was not received so far yet.
        if next < self.now { self.timers.passing_to.plus(NOT_RECEIVED) } else { next.plus(TICK) }
    }

    /// Idle later than this, if its gathering stays quiet; `None` while the source is down. Quiet is only what was
    /// listened to: reports of a gap are lost, and a busy call must not look leaked for that.
    // docs/semantics.md#idle-orphans
    fn idle_from(&self, at: RecordId) -> Option<Timestamp> {
        let source = self.sources.get(self.records[at].source())?;
        let quiet = members(&self.records.slab, at)
            .map(|member| self.records[member].quiet_since.get().max(self.last_gap_of(member)));
        let quiet_since = quiet.max()?;
        source.up.then(|| quiet_since.plus(self.settings.idle_after))
    }
}
