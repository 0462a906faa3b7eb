//! Sessions of one allocation that lives and was always alone in it: the allocation stands for them. A session gets a
//! record when a second allocation joins, or when its only one ends.

use hashbrown::HashTable;

use super::Table;
use super::allocation::{Allocation, Fact};
use super::session::Session;
use super::slab::NONE;

/// In place of a session's number: the session has no record.
pub(super) const ALONE: u32 = NONE - 1;

/// What an owner's session is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// Its record.
    Session(u32),
    /// The allocation that is alone in it.
    Alone(u32),
}

/// A [`Holder`] in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PackedHolder(u32);

/// Open sessions by the hash of whose they are.
pub(super) type Owners = HashTable<PackedHolder>;

impl PackedHolder {
    const ALONE: u32 = 1 << 31;

    pub(super) const fn get(self) -> Holder {
        match self.0 & Self::ALONE {
            0 => Holder::Session(self.0),
            _ => Holder::Alone(self.0 & !Self::ALONE),
        }
    }

    /// Different for each holder.
    pub(super) const fn number(self) -> u32 {
        self.0
    }
}

impl From<Holder> for PackedHolder {
    fn from(holder: Holder) -> Self {
        match holder {
            Holder::Session(number) => Self(number),
            Holder::Alone(at) => Self(at | Self::ALONE),
        }
    }
}

impl Allocation {
    pub(super) const fn is_alone(&self) -> bool {
        self.session == ALONE
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
        session.begin_with(allocation.is(Fact::SessionPartial));
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
