//! Sessions: which one an allocation joins, when it ends, and what it came to. A session is all allocations of one user,
//! what a person calls a connection.

use crate::state::model::ids::{Membership, RealmId, RecordId, SessionId};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Table;
use crate::clock::Timestamp;
use crate::state::model::allocation::{Flag, Origin};
use crate::state::model::key::MANGLED;
use crate::state::model::series::Outcome;
use crate::state::model::session::{Joining, Session};
use crate::state::model::session_owner::{Holder, SessionOwner};
use crate::state::model::settings::SessionBy;
use crate::state::record::SessionRecord;
use crate::wire::turn_rest;

/// A session that an earlier process left.
#[derive(Clone, Copy, Debug)]
pub(super) struct EarlierSession {
    pub(super) serial: u64,
    /// What its ended allocations came to, if it has any.
    pub(super) saved: Option<SessionRecord>,
}

/// Which session of this process goes on from each of an earlier one.
pub(super) type Reopened = HashMap<u64, Holder>;

impl Table {
    /// Puts a new live allocation into its session, an open one or a new one.
    // docs/semantics.md#what-a-session-is
    pub(super) fn join_session(&mut self, at: RecordId, joining: Joining) {
        // One that lives again was part of a session before; its part in this one begins now.
        let revived = self.records.ended_at(at) > Timestamp::ZERO;
        let allocation = &mut self.records[at];
        allocation.set(Flag::Revived, revived);
        let whole = match joining {
            Joining::Born => true,
            Joining::Adopted => false,
            Joining::Restored => allocation.origin == Origin::Born && !revived,
        };
        let started = if revived { self.now } else { allocation.started.get() };
        let (realm, user) = (allocation.realm, allocation.user);
        let host = self.records.client_host(&self.records[at]);
        let host = self.session_host(self.records.users.get(user), host);
        let owner = self.records[at].owner(host);
        let hash = self.records.owner_hash(&self.realms, &owner);
        let mut is_new = false;
        let session = match self.sessions.holder_of(&self.records, &self.realms, hash, &owner) {
            Some(Holder::Session(session)) => session,
            Some(Holder::Alone(other)) => self.session_of(other),
            None => {
                self.count_session(realm, joining == Joining::Born);
                if !revived && host.is_none() {
                    let allocation = &mut self.records[at];
                    allocation.session = Membership::ALONE;
                    allocation.set(Flag::SessionPartial, !whole);
                    self.sessions.open(&self.records, &self.realms, hash, Holder::Alone(at));
                    self.tell_opened(at, joining);
                    return;
                }
                is_new = true;
                self.open_session(hash, owner, started)
            }
        };
        self.records[at].session = Membership::of(session);
        self.share_user(at, session);
        self.backdate(session, started);
        let session = &mut self.sessions[session];
        session.live += 1;
        session.unsettled += 1;
        session.allocations = session.allocations.saturating_add(1);
        session.partial |= !whole;
        if is_new {
            self.tell_opened(at, joining);
        }
    }

    /// A session began with the allocation at `at`; one that was restored was announced by an earlier process.
    fn tell_opened(&mut self, at: RecordId, joining: Joining) {
        if joining != Joining::Restored {
            self.give_opened(at, joining == Joining::Adopted);
        }
    }

    /// The session's number; its record is made if it had none.
    pub(super) fn session_of(&mut self, at: RecordId) -> SessionId {
        let allocation = &self.records[at];
        if let Some(session) = allocation.session.session() {
            return session;
        }
        let owner = allocation.owner(None);
        // The session has no other allocation, and the allocation was in no other session: its number will do.
        let mut session = Session::new(allocation.serial.get(), owner, allocation.started.get());
        session.begin_with(allocation.is(Flag::SessionPartial));
        self.hold_names(&owner);
        let number = self.sessions.insert(session);
        self.records[at].session = Membership::of(number);
        self.realms.group(owner.realm).sessions.insert(&mut self.sessions.slab, number);
        let hash = self.records.owner_hash(&self.realms, &owner);
        self.sessions.give_record(hash, at, number);
        number
    }

    /// The names of a session's owner have one user more.
    fn hold_names(&mut self, owner: &SessionOwner) {
        self.realms.hold(owner.realm);
        self.records.users.hold(owner.user);
    }

    /// The allocation bears the name of its session's user: it is stored once.
    fn share_user(&mut self, at: RecordId, session: SessionId) {
        let theirs = self.sessions[session].user;
        let ours = std::mem::replace(&mut self.records[at].user, theirs);
        self.records.users.hold(theirs);
        self.records.users.release(ours);
    }

    /// A session more is open.
    fn count_session(&mut self, realm: RealmId, born: bool) {
        let series = self.realms.series(realm);
        series.sessions += 1;
        if born {
            series.sessions_opened += 1;
        } else {
            series.sessions_adopted += 1;
        }
    }

    /// An open session began no later than `started`.
    fn backdate(&mut self, number: SessionId, started: Timestamp) {
        if started < self.sessions[number].started {
            let group = self.realms.group(self.sessions[number].realm);
            group.sessions.remove(&mut self.sessions.slab, number);
            self.sessions[number].started = started;
            group.sessions.insert(&mut self.sessions.slab, number);
        }
    }

    /// The session that a live allocation has joined is one of an earlier process: takes over what is known of it.
    pub(super) fn recall_session(&mut self, at: RecordId, earlier: EarlierSession, reopened: &mut Reopened) {
        let allocation = &self.records[at];
        if allocation.is_alone() && allocation.serial.get() == earlier.serial && earlier.saved.is_none() {
            reopened.insert(earlier.serial, Holder::Alone(at));
            return;
        }
        let number = self.session_of(at);
        if reopened.insert(earlier.serial, Holder::Session(number)).is_some() {
            return;
        }
        self.sessions[number].serial = earlier.serial;
        if let Some(saved) = earlier.saved {
            self.backdate(number, saved.started.min(self.now));
            self.sessions[number].add_ended(&saved);
        }
    }

    /// An ended allocation of an earlier process waits for its totals, and its session with it.
    pub(super) fn rejoin_settling(&mut self, at: RecordId, earlier: EarlierSession, reopened: &mut Reopened) {
        let number = match reopened.get(&earlier.serial) {
            Some(&Holder::Session(number)) => number,
            Some(&Holder::Alone(live)) => self.session_of(live),
            None => self.settling_session(at, earlier),
        };
        reopened.insert(earlier.serial, Holder::Session(number));
        let allocation = &mut self.records[at];
        allocation.session = Membership::of(number);
        let whole = allocation.cause.is_some_and(|cause| cause.is_whole(allocation.origin));
        let session = &mut self.sessions[number];
        session.unsettled += 1;
        session.allocations = session.allocations.saturating_add(1);
        session.ended = session.ended.max(self.records.ended_at(at));
        session.partial |= !whole;
    }

    /// A session that is closed and waits for totals, as an earlier process left it.
    fn settling_session(&mut self, at: RecordId, earlier: EarlierSession) -> SessionId {
        let allocation = &self.records[at];
        let owner = allocation.owner(None);
        let mut session = Session::new(earlier.serial, owner, allocation.started.get());
        self.hold_names(&owner);
        (session.ended, session.open) = (self.records.ended_at(at), false);
        if let Some(saved) = earlier.saved {
            session.started = session.started.min(saved.started);
            session.add_ended(&saved);
        }
        self.sessions.insert(session)
    }

    /// A record for a session that is open and has no allocation yet.
    fn open_session(&mut self, hash: u64, owner: SessionOwner, started: Timestamp) -> SessionId {
        let serial = self.changes.next_serial();
        self.hold_names(&owner);
        let number = self.sessions.insert(Session::new(serial, owner, started));
        self.realms.group(owner.realm).sessions.insert(&mut self.sessions.slab, number);
        self.sessions.open(&self.records, &self.realms, hash, Holder::Session(number));
        number
    }

    /// An allocation of it has ended at `ended`; `whole` if it was watched from its birth to that end.
    pub(super) fn member_ended(&mut self, at: RecordId, ended: Timestamp, whole: bool) {
        let number = self.session_of(at);
        let session = &mut self.sessions[number];
        session.live -= 1;
        session.ended = session.ended.max(ended);
        session.partial |= !whole;
        if session.live > 0 {
            return;
        }
        if self.settings.linger == Duration::ZERO {
            self.close_session(number, self.now);
        } else {
            self.sessions.linger(number, self.now.plus(self.settings.linger));
        }
    }

    /// Closes what has lingered in vain.
    pub(super) fn close_lingering(&mut self) {
        while let Some(number) = self.sessions.next_lingered(self.now) {
            // Not when somebody looked.
            self.close_session(number, self.sessions[number].lingers_until);
        }
    }

    fn close_session(&mut self, number: SessionId, at: Timestamp) {
        let session = &mut self.sessions[number];
        session.open = false;
        let (owner, is_settled) = (session.owner(), session.unsettled == 0);
        let hash = self.records.owner_hash(&self.realms, &owner);
        self.sessions.close(&self.records, &self.realms, hash, number);
        let group = self.realms.group(owner.realm);
        group.series.sessions -= 1;
        group.sessions.remove(&mut self.sessions.slab, number);
        if is_settled {
            self.finish_session(number, at);
        }
    }

    /// The sums of an ended allocation are final: they go to its session's.
    // docs/semantics.md#how-a-session-ends
    pub(super) fn member_settled(&mut self, at: RecordId) {
        self.judge_relayed(at);
        self.give_ended(at);
        let allocation = &mut self.records[at];
        let left = std::mem::replace(&mut allocation.session, Membership::NONE);
        let Some(number) = left.session() else { return };
        let session = &mut self.sessions[number];
        let bytes = allocation.decisive_traffic().bytes();
        let (is_relayed, started) = (allocation.is(Flag::Relayed), allocation.started.get());
        session.settled(allocation.id, is_relayed);
        let end = self.records.end_mut(at);
        session.bytes = session.bytes.saturating_add(bytes.saturating_sub(end.accounted_bytes));
        end.accounted_bytes = bytes;
        if is_relayed {
            session.extend_relay(started.max(session.started), end.at);
        }
        session.unsettled -= 1;
        if !session.open && session.unsettled == 0 {
            self.finish_session(number, self.now);
        }
    }

    /// Counts a closed session, once, when nothing more can be added to it.
    // docs/semantics.md#session-durations
    fn finish_session(&mut self, number: SessionId, at: Timestamp) {
        let Some(session) = self.sessions.remove(number) else { return };
        self.changes.add_ended_session(SessionRecord::of(&session));
        let series = self.realms.series(session.realm);
        let (relay, example) = (session.relay.get(), session.exemplar);
        let outcome = if relay.is_some() { Outcome::Relayed } else { Outcome::Unrelayed };
        series.sessions_closed.add(outcome as usize);
        series.session_allocations.observe_allocations(u64::from(session.allocations));
        if relay.is_some() {
            series.session_bytes.observe_bytes(at, example, session.bytes);
        }
        if !session.partial {
            let duration = session.ended.since(session.started);
            match (relay, &mut series.session_durations) {
                (Some((first, last)), [relayed, _]) => {
                    relayed.observe_duration(at, example, duration);
                    series.session_relay_durations.observe_duration(at, example, last.since(first));
                }
                (None, [_, unrelayed]) => unrelayed.observe_duration(at, example, duration),
            }
        }
        self.realms.release(session.realm);
        self.records.users.release(session.user);
    }

    /// The client host, where it is part of a session's identity: sessions by client, and names that many clients share (none
    /// at all, or one that coturn mangled).
    // docs/semantics.md#what-a-session-is
    fn session_host(&self, user: &[u8], host: Option<IpAddr>) -> Option<IpAddr> {
        let is_shared = user.is_empty() || user == MANGLED;
        if is_shared || self.settings.session_by == SessionBy::Client { host } else { None }
    }

    /// Identity of the gatherings an allocation may belong to.
    // docs/semantics.md#gatherings
    pub(super) fn gathering_key(&self, at: RecordId) -> u64 {
        let allocation = &self.records[at];
        // A TURN REST name is one credential already: the host need not tell its gatherings apart, and must not, for
        // dual-stack clients have two.
        let name = self.records.users.get(allocation.user);
        let is_credential = turn_rest::user_id(name, self.settings.rest_separator).is_some();
        let host = if is_credential { None } else { self.records.client_host(allocation) };
        let realm = self.realms.name(allocation.realm);
        self.key_ids.of_owner(allocation.source(), realm, name, host)
    }
}
