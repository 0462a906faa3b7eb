//! What a store is told of the table: records that changed, records that ended, sessions that are over.
//!
//! Noted while the table works, taken when the store wants it. Nothing is noted until [`Table::keep_changes`].

use std::sync::Arc;

use super::Table;
use crate::clock::Timestamp;
use crate::state::model::allocation::{Cause, Flag, Phase};
use crate::state::record::{AllocationRecord, Concluded, EndedRecords, Stage};
use crate::state::storage::free_list::shrunk;
use crate::state::storage::recent_keys::RecentKeys;

/// More than so many allocations, and so many sessions, do not wait for a store; the next ones are lost to the ledger.
pub(super) const MAX_ENDED: usize = 200_000;

/// The notes.
#[derive(Debug)]
pub(in crate::state) struct Changes {
    /// Places of records that changed since they were taken, each once.
    changed: Vec<u32>,
    /// Whether a place is in `changed`.
    is_noted: Vec<bool>,
    ended: EndedRecords,
    /// Keys whose records went without coturn's word: should they be met again, something of them has been told. Overdue
    /// ones are kept for a day before, so an allocation may be silent for two days and still be known.
    forgotten: RecentKeys,
}

impl Changes {
    pub(super) fn note(&mut self, at: u32) {
        let place = at as usize;
        if place >= self.is_noted.len() {
            self.is_noted.resize(place + 1, false);
        }
        if !std::mem::replace(&mut self.is_noted[place], true) {
            self.changed.push(at);
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        self.forgotten.expire(now);
    }
}

impl Table {
    /// From now on changes are noted. Numbers begin with `first_serial`.
    pub fn keep_changes(&mut self, first_serial: u64) {
        self.next_serial = first_serial;
        self.keeping = Some(Changes {
            changed: Vec::new(),
            is_noted: Vec::new(),
            ended: EndedRecords::default(),
            forgotten: RecentKeys::default(),
        });
    }

    /// Records that have not ended and changed since they were last taken, as of this moment.
    pub fn take_changed(&mut self) -> Vec<AllocationRecord> {
        let Some(keeping) = &mut self.keeping else { return Vec::new() };
        let changed = std::mem::take(&mut keeping.changed);
        keeping.is_noted.clear();
        if let Some(room) = shrunk(self.allocations.places(), keeping.is_noted.capacity()) {
            keeping.is_noted.shrink_to(room);
        }
        changed.into_iter().filter_map(|at| self.kept_as_it_is(at)).collect()
    }

    /// All records that have not ended, as of this moment; none of them counts as changed any more.
    pub fn take_all(&mut self) -> Vec<AllocationRecord> {
        drop(self.take_changed());
        let places = u32::try_from(self.allocations.places()).unwrap_or(u32::MAX);
        (0..places).filter_map(|at| self.kept_as_it_is(at)).collect()
    }

    /// What ended since it was last taken.
    pub fn take_ended(&mut self) -> EndedRecords {
        self.keeping.as_mut().map(|keeping| std::mem::take(&mut keeping.ended)).unwrap_or_default()
    }

    /// How far each source had been heard, in the order of the sources. What is live at that moment is in the table.
    pub fn heard(&self) -> impl Iterator<Item = Timestamp> {
        self.sources
            .iter()
            .map(|source| if source.up { source.heard_until.min(self.now) } else { source.lost_at })
    }

    /// Labels of realms with live allocations or open sessions.
    pub fn realms_in_use(&self) -> impl Iterator<Item = Arc<str>> {
        let in_use = self
            .realms
            .groups()
            .iter()
            .filter(|group| group.series.live.total() > 0 || group.series.sessions > 0);
        in_use.map(|group| Arc::clone(&group.label))
    }

    /// A number for a new record or session.
    pub(super) const fn next_serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial - 1
    }

    /// A record changed in a way that a store should know.
    pub(super) fn note(&mut self, at: u32) {
        if let Some(keeping) = &mut self.keeping {
            keeping.note(at);
        }
    }

    /// Gives a record to the store for the last time, or as overdue.
    pub(super) fn keep_end(&mut self, at: u32) {
        let Some(keeping) = &mut self.keeping else { return };
        let allocation = &mut self.allocations[at];
        if allocation.is(Flag::Kept) {
            return;
        }
        let is_kept = matches!(allocation.phase, Phase::Overdue | Phase::Gone);
        let stage = if is_kept { Stage::Overdue } else { Stage::Ended };
        allocation.set(Flag::Kept, stage == Stage::Ended);
        if keeping.ended.allocations.len() >= MAX_ENDED {
            keeping.ended.lost += 1;
            return;
        }
        let kept = self.kept(at, stage);
        if let Some(keeping) = &mut self.keeping {
            keeping.ended.allocations.push(kept);
        }
    }

    /// A record leaves the table though its allocation may live, of which something has been told.
    pub(super) fn forget(&mut self, hash: u64) {
        if let Some(keeping) = &mut self.keeping {
            keeping.forgotten.renew(self.now, hash);
        }
    }

    /// What is noted is in the store already.
    pub(super) fn forget_notes(&mut self) {
        if let Some(keeping) = &mut self.keeping {
            keeping.changed.clear();
            keeping.is_noted.clear();
        }
    }

    /// Gives a session to the store.
    pub(super) fn keep_session(&mut self, session: Concluded) {
        let Some(keeping) = &mut self.keeping else { return };
        if keeping.ended.sessions.len() >= MAX_ENDED {
            keeping.ended.lost += 1;
        } else {
            keeping.ended.sessions.push(session);
        }
    }

    /// Whether an allocation that was never met has told nothing to anybody: the source has been watched ever since the
    /// store began, by us or by those before us.
    pub(super) fn has_told_nothing(&self, source: u32, hash: u64) -> bool {
        let remembered = self.sources.get(source as usize).is_some_and(|source| source.is_remembered);
        remembered && self.keeping.as_ref().is_some_and(|keeping| !keeping.forgotten.contains(hash))
    }

    fn kept_as_it_is(&self, at: u32) -> Option<AllocationRecord> {
        let allocation = self.allocations.get(at)?;
        let stage = match allocation.phase {
            _ if allocation.is(Flag::Kept) => return None,
            Phase::Live => Stage::Live,
            Phase::Closing => Stage::Closing,
            Phase::Overdue | Phase::Gone => Stage::Overdue,
        };
        Some(self.kept(at, stage))
    }

    fn kept(&self, at: u32, stage: Stage) -> AllocationRecord {
        let allocation = &self.allocations[at];
        AllocationRecord {
            serial: allocation.serial.get(),
            session: match self.sessions.get(allocation.session) {
                None if allocation.is_alone() => Some(allocation.serial.get()),
                session => session.map(|session| session.serial),
            },
            source: allocation.source(),
            realm: self.realms.shared_name(allocation.realm),
            user: self.users.get(allocation.user).into(),
            id: allocation.id,
            stage,
            origin: allocation.origin,
            cause: allocation.cause,
            is_past_known: allocation.is(Flag::PastKnown),
            is_end_told: allocation.is(Flag::EndTold) || allocation.cause == Some(Cause::Replaced),
            server: self.servers.label(allocation.server),
            server_port: allocation.server_port,
            transport: allocation.transport,
            client: self.clients.get(allocation.client),
            started: allocation.started.get(),
            granted_at: allocation.granted_at.get(),
            lifetime: allocation.lifetime.get(),
            alive_until: allocation.alive_until.get(),
            last_sign: allocation.last_sign.get(),
            quiet_since: allocation.quiet_since.get(),
            ended: self.endings.moment(at),
            read_at: allocation.read_at.get(),
            long_form: allocation.is(Flag::LongForm),
            has_peer_leg: allocation.is(Flag::PeerLeg),
            release_pending: allocation.is(Flag::ReleasePending),
            granted_perhaps: allocation.is(Flag::GrantedPerhaps),
            relayed: allocation.is(Flag::Relayed),
            idle: allocation.is(Flag::Idle),
            overdue_orphan: allocation.is(Flag::OverdueOrphan),
            sums: allocation.counted.both(),
        }
    }
}
