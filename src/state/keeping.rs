//! What a store is told of the table: records that changed, records that ended, sessions that are over.
//!
//! Noted while the table works, taken when the store wants it. Nothing is noted until [`Table::keep_changes`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::allocation::{Cause, Fact, Origin, Phase};
use super::free::shrunk;
use super::series::ByLeg;
use super::shared::RecentKeys;
use super::{SourceId, Table};
use crate::clock::Timestamp;
use crate::wire::{AllocationId, Traffic, Transport};

/// Where in its life an allocation is, for a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Counted among the living.
    Live,
    /// Ended; its totals may still come.
    Closing,
    /// Past due without a word.
    Overdue,
    /// Nothing more will come.
    Ended,
}

/// One allocation, as a store keeps it. Moments are of the table's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the facts of an allocation, each of its own")]
pub struct Kept {
    /// Its number for ever; no other allocation of the store has had it.
    pub serial: u64,
    /// The number of its session; `None` where that is settled without it.
    pub session: Option<u64>,
    /// The source it was met on.
    pub source: SourceId,
    /// Its realm; empty where coturn has none.
    pub realm: Arc<[u8]>,
    /// Its user.
    pub user: Arc<[u8]>,
    /// coturn's number for it.
    pub id: AllocationId,
    /// Where it is.
    pub stage: Stage,
    /// How it came to be known.
    pub origin: Origin,
    /// How it ended, if it did.
    pub cause: Option<Cause>,
    /// Its sums hold all that was ever told of it.
    pub is_past_known: bool,
    /// coturn told its end; met again, its key is another allocation's.
    pub is_end_told: bool,
    /// The server's label: its host.
    pub server: Arc<str>,
    /// The server's port.
    pub server_port: u16,
    /// How the client reaches the server.
    pub transport: Transport,
    /// Where the client is.
    pub client: Option<SocketAddr>,
    /// Opening, or the first that was known of it.
    pub started: Timestamp,
    /// The last status that granted a lifetime.
    pub granted_at: Timestamp,
    /// That lifetime.
    pub lifetime: Duration,
    /// End of the lifetime, by the last grant or by later proof of life.
    pub alive_until: Timestamp,
    /// Any event of it.
    pub last_sign: Timestamp,
    /// Nothing was relayed since.
    pub quiet_since: Timestamp,
    /// Its end; [`Timestamp::ZERO`] while it never ended.
    pub ended: Timestamp,
    /// When its key was read by us; [`Timestamp::ZERO`] if never.
    pub read_at: Timestamp,
    /// A status of the long form was seen.
    pub long_form: bool,
    /// The peer leg was reported.
    pub has_peer_leg: bool,
    /// `refreshed lifetime=0` was the last status.
    pub release_pending: bool,
    /// `alive_until` is a grant's that is possible, not certain.
    pub granted_perhaps: bool,
    /// It relayed enough to count as used.
    pub relayed: bool,
    /// Held without use.
    pub idle: bool,
    /// Overdue and held against somebody.
    pub overdue_orphan: bool,
    /// What was counted as relayed.
    pub sums: ByLeg<Traffic>,
}

impl Kept {
    /// It was watched from its birth to an end that coturn reported.
    pub fn is_whole(&self) -> bool {
        self.cause.is_some_and(|cause| cause.is_whole(self.origin))
    }

    /// Bytes of the leg that says what it relayed.
    pub const fn relayed_bytes(&self) -> u64 {
        if self.has_peer_leg || self.long_form { self.sums.peer.bytes() } else { self.sums.client.bytes() }
    }
}

/// A session of which nothing more will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concluded {
    /// Its number for ever.
    pub serial: u64,
    /// First opening.
    pub started: Timestamp,
    /// Last end.
    pub ended: Timestamp,
    /// First opening and last end of its allocations that relayed; `None` if none did.
    pub relay: Option<(Timestamp, Timestamp)>,
    /// Its allocations.
    pub allocations: u32,
    /// Not watched from its first opening to its last end.
    pub is_partial: bool,
}

/// Allocations and sessions of which nothing more will come, in the order of their ends.
#[derive(Debug, Default)]
pub struct Ended {
    /// The allocations.
    pub allocations: Vec<Kept>,
    /// The sessions; each allocation of theirs has been given before, or is among the above.
    pub sessions: Vec<Concluded>,
    /// Allocations and sessions that are left out because nobody took the others for too long.
    pub lost: usize,
}

/// More than so many allocations, and so many sessions, do not wait for a store; the next ones are lost to the ledger.
pub(super) const MAX_ENDED: usize = 200_000;

/// The notes.
#[derive(Debug)]
pub(super) struct Keeping {
    /// Places of records that changed since they were taken, each once.
    changed: Vec<u32>,
    /// Whether a place is in `changed`.
    is_noted: Vec<bool>,
    ended: Ended,
    /// Keys whose records went without coturn's word: should they be met again, something of them has been told. Overdue
    /// ones are kept for a day before, so an allocation may be silent for two days and still be known.
    forgotten: RecentKeys,
}

impl Keeping {
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
        self.keeping = Some(Keeping {
            changed: Vec::new(),
            is_noted: Vec::new(),
            ended: Ended::default(),
            forgotten: RecentKeys::default(),
        });
    }

    /// Records that have not ended and changed since they were last taken, as of this moment.
    pub fn take_changed(&mut self) -> Vec<Kept> {
        let Some(keeping) = &mut self.keeping else { return Vec::new() };
        let changed = std::mem::take(&mut keeping.changed);
        keeping.is_noted.clear();
        if let Some(room) = shrunk(self.allocations.places(), keeping.is_noted.capacity()) {
            keeping.is_noted.shrink_to(room);
        }
        changed.into_iter().filter_map(|at| self.kept_as_it_is(at)).collect()
    }

    /// All records that have not ended, as of this moment; none of them counts as changed any more.
    pub fn take_all(&mut self) -> Vec<Kept> {
        drop(self.take_changed());
        let places = u32::try_from(self.allocations.places()).unwrap_or(u32::MAX);
        (0..places).filter_map(|at| self.kept_as_it_is(at)).collect()
    }

    /// What ended since it was last taken.
    pub fn take_ended(&mut self) -> Ended {
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
        if allocation.is(Fact::Kept) {
            return;
        }
        let is_kept = matches!(allocation.phase, Phase::Overdue | Phase::Gone);
        let stage = if is_kept { Stage::Overdue } else { Stage::Ended };
        allocation.set(Fact::Kept, stage == Stage::Ended);
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

    fn kept_as_it_is(&self, at: u32) -> Option<Kept> {
        let allocation = self.allocations.get(at)?;
        let stage = match allocation.phase {
            _ if allocation.is(Fact::Kept) => return None,
            Phase::Live => Stage::Live,
            Phase::Closing => Stage::Closing,
            Phase::Overdue | Phase::Gone => Stage::Overdue,
        };
        Some(self.kept(at, stage))
    }

    fn kept(&self, at: u32, stage: Stage) -> Kept {
        let allocation = &self.allocations[at];
        Kept {
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
            is_past_known: allocation.is(Fact::PastKnown),
            is_end_told: allocation.is(Fact::EndTold) || allocation.cause == Some(Cause::Replaced),
            server: self.servers.label(allocation.server),
            server_port: allocation.server_port,
            transport: allocation.transport,
            client: self.clients.get(allocation),
            started: allocation.started.get(),
            granted_at: allocation.granted_at.get(),
            lifetime: allocation.lifetime.get(),
            alive_until: allocation.alive_until.get(),
            last_sign: allocation.last_sign.get(),
            quiet_since: allocation.quiet_since.get(),
            ended: self.endings.moment(at),
            read_at: allocation.read_at.get(),
            long_form: allocation.is(Fact::LongForm),
            has_peer_leg: allocation.is(Fact::PeerLeg),
            release_pending: allocation.is(Fact::ReleasePending),
            granted_perhaps: allocation.is(Fact::GrantedPerhaps),
            relayed: allocation.is(Fact::Relayed),
            idle: allocation.is(Fact::Idle),
            overdue_orphan: allocation.is(Fact::OverdueOrphan),
            sums: allocation.counted.both(),
        }
    }
}
