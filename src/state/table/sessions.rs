//! One session: all allocations of one user, what a person calls a connection. The table's half of its life is here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Table;
use crate::clock::Timestamp;
use crate::state::model::allocation::{Flag, Origin};
use crate::state::model::key::{MANGLED, session_hash};
use crate::state::model::series::Outcome;
use crate::state::model::session::{Joining, Session};
use crate::state::model::session_owner::{ALONE, Holder, Owners, PackedHolder};
use crate::state::model::settings::SessionBy;
use crate::state::record::{Concluded, SavedSession};
use crate::state::storage::free_list::{rehashed, shrunk};
use crate::state::storage::interner::NameId;
use crate::state::storage::slab::NONE;
use crate::wire::turn_rest;

/// A session that an earlier process left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past {
    pub(super) serial: u64,
    /// What its ended allocations came to, if it has any.
    pub(super) saved: Option<SavedSession>,
}

impl Session {
    /// Adds what its ended allocations came to.
    fn recall(&mut self, saved: &SavedSession) {
        self.ended = self.ended.max(saved.ended);
        self.bytes = self.bytes.saturating_add(saved.relayed_bytes);
        self.allocations = self.allocations.saturating_add(saved.allocations);
        self.partial |= saved.is_partial;
        self.relay = match (self.relay, saved.relay) {
            (Some((first, last)), Some((saved_first, saved_last))) => {
                Some((first.min(saved_first), last.max(saved_last)))
            }
            (one, other) => one.or(other),
        };
    }
}

impl Table {
    /// Puts a new live allocation into its session, an open one or a new one.
    pub(super) fn join_session(&mut self, at: u32, entry: Joining) {
        // One that lives again was part of a session before; its part in this one begins now.
        let revived = self.endings.moment(at) > Timestamp::ZERO;
        let allocation = &mut self.allocations[at];
        allocation.set(Flag::Revived, revived);
        let whole = match entry {
            Joining::Born => true,
            Joining::Adopted => false,
            Joining::Restored => allocation.origin == Origin::Born && !revived,
        };
        let started = if revived { self.now } else { allocation.started.get() };
        let (source, realm, user) = (allocation.source().0, allocation.realm, allocation.user);
        let host = self.clients.get(self.allocations[at].client).map(|address| address.ip());
        let host = self.session_host(self.users.get(user), host);
        let hash = self.session_hash(source, self.realms.name(realm), self.users.get(user), host);
        let session = match self.session_of_owner(hash, source, realm, user, host) {
            Some(Holder::Session(session)) => session,
            Some(Holder::Alone(other)) => self.session_of(other),
            None => {
                self.count_session(realm, entry == Joining::Born);
                if !revived && host.is_none() {
                    let allocation = &mut self.allocations[at];
                    allocation.session = ALONE;
                    allocation.set(Flag::SessionPartial, !whole);
                    self.name_session(hash, Holder::Alone(at));
                    return;
                }
                self.open_session(hash, source, realm, user, host, started)
            }
        };
        self.allocations[at].session = session;
        self.share_user(at, session);
        self.backdate(session, started);
        let session = &mut self.sessions[session];
        session.live += 1;
        session.unsettled += 1;
        session.allocations = session.allocations.saturating_add(1);
        session.partial |= !whole;
    }

    /// The allocation bears the name of its session's user: it is stored once.
    fn share_user(&mut self, at: u32, session: u32) {
        let theirs = self.sessions[session].user;
        let ours = std::mem::replace(&mut self.allocations[at].user, theirs);
        self.users.hold(theirs);
        self.users.release(ours);
    }

    fn session_of_owner(
        &self,
        hash: u64,
        source: u32,
        realm: u32,
        user: NameId,
        host: Option<IpAddr>,
    ) -> Option<Holder> {
        let is_owners = |&holder: &PackedHolder| {
            let (owner, name) = match holder.get() {
                Holder::Session(number) => {
                    let session = &self.sessions[number];
                    ((session.source, session.realm, session.host), session.user)
                }
                Holder::Alone(at) => {
                    let allocation = &self.allocations[at];
                    ((allocation.source().0, allocation.realm, None), allocation.user)
                }
            };
            owner == (source, realm, host) && self.users.get(name) == self.users.get(user)
        };
        self.sessions_by_owner.find(hash, is_owners).map(|holder| holder.get())
    }

    fn name_session(&mut self, hash: u64, holder: Holder) {
        self.sized(|owners, hash_of| {
            owners.insert_unique(hash, holder.into(), hash_of);
        });
    }

    /// Room for so many sessions more.
    pub(super) fn reserve_sessions(&mut self, more: usize) {
        self.sized(|owners, hash_of| owners.reserve(more, hash_of));
    }

    /// Changes the table of owners in a way that may change its size, for which it needs all hashes anew.
    fn sized(&mut self, change: impl FnOnce(&mut Owners, &dyn Fn(&PackedHolder) -> u64)) {
        let (hasher, realms, users) = (&self.hasher, &self.realms, &self.users);
        let (sessions, allocations) = (&self.sessions, &self.allocations);
        change(&mut self.sessions_by_owner, &|holder| {
            let (source, realm, user, host) = match holder.get() {
                Holder::Session(number) => {
                    let session = &sessions[number];
                    (session.source, session.realm, session.user, session.host)
                }
                Holder::Alone(at) => {
                    let allocation = &allocations[at];
                    (allocation.source().0, allocation.realm, allocation.user, None)
                }
            };
            session_hash(hasher, source, realms.name(realm), users.get(user), host)
        });
    }

    /// A session more is open.
    fn count_session(&mut self, realm: u32, born: bool) {
        let series = self.realms.series(realm);
        series.sessions += 1;
        if born {
            series.sessions_opened += 1;
        } else {
            series.sessions_adopted += 1;
        }
    }

    /// An open session began no later than `started`.
    fn backdate(&mut self, number: u32, started: Timestamp) {
        if started < self.sessions[number].started {
            let group = self.realms.group(self.sessions[number].realm);
            group.sessions.remove(&mut self.sessions, number);
            self.sessions[number].started = started;
            group.sessions.insert(&mut self.sessions, number);
        }
    }

    /// The session that a live allocation has joined is one of an earlier process: takes over what is known of it.
    pub(super) fn recall_session(&mut self, at: u32, past: Past, reopened: &mut HashMap<u64, Holder>) {
        let allocation = &self.allocations[at];
        if allocation.is_alone() && allocation.serial.get() == past.serial && past.saved.is_none() {
            reopened.insert(past.serial, Holder::Alone(at));
            return;
        }
        let number = self.session_of(at);
        if reopened.insert(past.serial, Holder::Session(number)).is_some() {
            return;
        }
        self.sessions[number].serial = past.serial;
        if let Some(saved) = past.saved {
            self.backdate(number, saved.started.min(self.now));
            self.sessions[number].recall(&saved);
        }
    }

    /// An ended allocation of an earlier process waits for its totals, and its session with it.
    pub(super) fn rejoin_settling(&mut self, at: u32, past: Past, reopened: &mut HashMap<u64, Holder>) {
        let number = match reopened.get(&past.serial) {
            Some(&Holder::Session(number)) => number,
            Some(&Holder::Alone(live)) => self.session_of(live),
            None => self.settling_session(at, past),
        };
        reopened.insert(past.serial, Holder::Session(number));
        let allocation = &mut self.allocations[at];
        allocation.session = number;
        let whole = allocation.cause.is_some_and(|cause| cause.is_whole(allocation.origin));
        let session = &mut self.sessions[number];
        session.unsettled += 1;
        session.allocations = session.allocations.saturating_add(1);
        session.ended = session.ended.max(self.endings.moment(at));
        session.partial |= !whole;
    }

    /// A session that is closed and waits for totals, as an earlier process left it.
    fn settling_session(&mut self, at: u32, past: Past) -> u32 {
        let allocation = &self.allocations[at];
        let realm = self.realms.hold(allocation.realm);
        let user = self.users.hold(allocation.user);
        let mut session =
            Session::new(past.serial, allocation.source().0, realm, user, None, allocation.started.get());
        (session.ended, session.open) = (self.endings.moment(at), false);
        if let Some(saved) = past.saved {
            session.started = session.started.min(saved.started);
            session.recall(&saved);
        }
        self.sessions.insert(session)
    }

    /// A record for a session that is open and has no allocation yet.
    fn open_session(
        &mut self,
        hash: u64,
        source: u32,
        realm: u32,
        user: NameId,
        host: Option<IpAddr>,
        started: Timestamp,
    ) -> u32 {
        let serial = self.next_serial();
        let (realm, user) = (self.realms.hold(realm), self.users.hold(user));
        let number = self.sessions.insert(Session::new(serial, source, realm, user, host, started));
        self.realms.group(realm).sessions.insert(&mut self.sessions, number);
        self.name_session(hash, Holder::Session(number));
        number
    }

    /// An allocation of it has ended at `ended`; `whole` if it was watched from its birth to that end.
    pub(super) fn member_ended(&mut self, at: u32, ended: Timestamp, whole: bool) {
        let number = self.session_of(at);
        let session = &mut self.sessions[number];
        session.live -= 1;
        session.ended = session.ended.max(ended);
        session.partial |= !whole;
        if session.live > 0 {
            return;
        }
        if self.settings.linger == Duration::ZERO {
            self.close_session(number);
        } else {
            session.lingers_until = self.now.plus(self.settings.linger);
            self.lingering.push_back((session.lingers_until, number));
        }
    }

    /// Closes what has lingered in vain.
    pub(super) fn close_lingering(&mut self) {
        while let Some(&(until, number)) = self.lingering.front()
            && until <= self.now
        {
            self.lingering.pop_front();
            if let Some(room) = shrunk(self.lingering.len(), self.lingering.capacity()) {
                self.lingering.shrink_to(room);
            }
            let Some(session) = self.sessions.get(number) else { continue };
            // One that was joined and left again has a later entry.
            if session.open && session.live == 0 && session.lingers_until == until {
                self.close_session(number);
            }
        }
    }

    fn close_session(&mut self, number: u32) {
        let holder = PackedHolder::from(Holder::Session(number));
        let session = &mut self.sessions[number];
        session.open = false;
        let (realm, settled) = (session.realm, session.unsettled == 0);
        let session = &self.sessions[number];
        let name = self.users.get(session.user);
        let hash = self.session_hash(session.source, self.realms.name(realm), name, session.host);
        if let Ok(entry) = self.sessions_by_owner.find_entry(hash, |&other| other == holder) {
            entry.remove();
        }
        if let Some(room) =
            rehashed(self.sessions_by_owner.len().max(self.expected), self.sessions_by_owner.capacity())
        {
            self.sized(|owners, hash_of| owners.shrink_to(room, hash_of));
        }
        let group = self.realms.group(realm);
        group.series.sessions -= 1;
        group.sessions.remove(&mut self.sessions, number);
        if settled {
            self.conclude_session(number);
        }
    }

    /// The sums of an ended allocation are final: they go to its session's.
    pub(super) fn member_settled(&mut self, at: u32) {
        self.judge_relayed(at);
        self.keep_end(at);
        let allocation = &mut self.allocations[at];
        let number = std::mem::replace(&mut allocation.session, NONE);
        let Some(session) = self.sessions.get_mut(number) else { return };
        let bytes = allocation.deciding_leg().bytes();
        let ending = self.endings.of(at);
        session.bytes = session.bytes.saturating_add(bytes.saturating_sub(ending.accounted_bytes));
        ending.accounted_bytes = bytes;
        if allocation.is(Flag::Relayed) {
            let started = allocation.started.get().max(session.started);
            let (first, last) = session.relay.unwrap_or((started, ending.at));
            session.relay = Some((first.min(started), last.max(ending.at)));
        }
        session.unsettled -= 1;
        if !session.open && session.unsettled == 0 {
            self.conclude_session(number);
        }
    }

    /// Records a closed session, once, when nothing more can be added to it.
    fn conclude_session(&mut self, number: u32) {
        let Some(session) = self.sessions.remove(number) else { return };
        self.keep_session(Concluded {
            serial: session.serial,
            started: session.started,
            ended: session.ended,
            relay: session.relay,
            allocations: session.allocations,
            is_partial: session.partial,
        });
        let series = self.realms.series(session.realm);
        let outcome = if session.relay.is_some() { Outcome::Relayed } else { Outcome::Unrelayed };
        series.sessions_closed.add(outcome as usize);
        series.session_allocations.observe_allocations(u64::from(session.allocations));
        if session.relay.is_some() {
            series.session_bytes.observe_bytes(session.bytes);
        }
        if !session.partial {
            let duration = session.ended.since(session.started);
            match (session.relay, &mut series.session_durations) {
                (Some((first, last)), [relayed, _]) => {
                    relayed.observe_duration(duration);
                    series.session_relay_durations.observe_duration(last.since(first));
                }
                (None, [_, unrelayed]) => unrelayed.observe_duration(duration),
            }
        }
        self.realms.release(session.realm);
        self.users.release(session.user);
    }

    /// The client host, where it is part of a session's identity: sessions by client, and names that many strangers
    /// share (none at all, or one that coturn mangled).
    fn session_host(&self, user: &[u8], host: Option<IpAddr>) -> Option<IpAddr> {
        let shared = user.is_empty() || user == MANGLED;
        if shared || self.settings.session_by == SessionBy::Client { host } else { None }
    }

    /// Identity of the gatherings an allocation may belong to.
    pub(super) fn gathering_key(&self, at: u32) -> u64 {
        let allocation = &self.allocations[at];
        // A TURN REST name is one credential already: the host need not tell its gatherings apart, and must not, for
        // dual-stack clients have two.
        let name = self.users.get(allocation.user);
        let is_credential = turn_rest::user_id(name, self.settings.rest_separator).is_some();
        let host = if is_credential {
            None
        } else {
            self.clients.get(allocation.client).map(|address| address.ip())
        };
        self.session_hash(allocation.source().0, self.realms.name(allocation.realm), name, host)
    }
}

impl Table {
    /// The session's number; its record is made if it had none.
    pub(super) fn session_of(&mut self, at: u32) -> u32 {
        let allocation = &self.allocations[at];
        if !allocation.is_alone() {
            return allocation.session;
        }
        let (realm, user) = (self.realms.hold(allocation.realm), self.users.hold(allocation.user));
        // The session has no other allocation, and the allocation was in no other session: its number will do.
        let (serial, source) = (allocation.serial.get(), allocation.source().0);
        let mut session = Session::new(serial, source, realm, user, None, allocation.started.get());
        session.begin_with(allocation.is(Flag::SessionPartial));
        let number = self.sessions.insert(session);
        self.allocations[at].session = number;
        self.realms.group(realm).sessions.insert(&mut self.sessions, number);
        let hash = self.session_hash(source, self.realms.name(realm), self.users.get(user), None);
        let alone = PackedHolder::from(Holder::Alone(at));
        if let Some(holder) = self.sessions_by_owner.find_mut(hash, |&holder| holder == alone) {
            *holder = Holder::Session(number).into();
        }
        number
    }
}
