//! The sessions, and how one is found by whose it is.

use super::ids::{OfSession, RecordId, SessionId};
use std::ops::{Index, IndexMut};

use hashbrown::HashTable;

use super::realms::Realms;
use super::records::Records;
use super::session::Session;
use super::session_owner::{Holder, PackedHolder, SessionOwner};
use crate::clock::Timestamp;
use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::storage::age_list::link_back;
use crate::state::storage::free_list::rehashed;
use crate::state::storage::queue::Queue;
use crate::state::storage::shared_names::{NameReader, NameWriter};
use crate::state::storage::slab::Slab;

/// All sessions: records of those that have one, and for each open session of either kind its holder.
///
/// Each open session is in the table of owners once, under the hash of its owner; no owner has two.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) slab: Slab<OfSession, Session>,
    by_owner: HashTable<PackedHolder>,
    /// Sessions without a live allocation, in the order in which they close; one that was joined meanwhile may be among
    /// them.
    lingering: Queue<(Timestamp, SessionId)>,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self { slab: Slab::new(), by_owner: HashTable::new(), lingering: Queue::new() }
    }

    pub(crate) fn get(&self, number: SessionId) -> Option<&Session> {
        self.slab.get(number)
    }

    /// Each number that is in use is below this.
    pub(crate) const fn places(&self) -> usize {
        self.slab.places()
    }

    pub(crate) fn insert(&mut self, session: Session) -> SessionId {
        self.slab.insert(session)
    }

    pub(crate) fn remove(&mut self, number: SessionId) -> Option<Session> {
        self.slab.remove(number)
    }

    /// Who holds the open session of an owner; `hash` is the owner's.
    pub(crate) fn holder_of(
        &self,
        records: &Records,
        realms: &Realms,
        hash: u64,
        owner: &SessionOwner,
    ) -> Option<Holder> {
        let (user, realm) = (records.users.get(owner.user), realms.name(owner.realm));
        let is_owners = |&holder: &PackedHolder| {
            let other = owner_of(&self.slab, records, holder);
            (other.source, other.host) == (owner.source, owner.host)
                && records.users.get(other.user) == user
                && realms.name(other.realm) == realm
        };
        self.by_owner.find(hash, is_owners).map(|holder| holder.get())
    }

    /// The session of this owner is open from now on.
    pub(crate) fn open(&mut self, records: &Records, realms: &Realms, hash: u64, holder: Holder) {
        let slab = &self.slab;
        let hash_of = |holder: &PackedHolder| records.owner_hash(realms, &owner_of(slab, records, *holder));
        self.by_owner.insert_unique(hash, holder.into(), hash_of);
    }

    /// An open session has a record from now on, which stands for it in the place of its only allocation.
    pub(crate) fn give_record(&mut self, hash: u64, alone: RecordId, number: SessionId) {
        let alone = PackedHolder::from(Holder::Alone(alone));
        if let Some(holder) = self.by_owner.find_mut(hash, |&holder| holder == alone) {
            *holder = Holder::Session(number).into();
        }
    }

    /// The session is not open any more; `hash` is its owner's.
    pub(crate) fn close(&mut self, records: &Records, realms: &Realms, hash: u64, number: SessionId) {
        let holder = PackedHolder::from(Holder::Session(number));
        if let Ok(entry) = self.by_owner.find_entry(hash, |&other| other == holder) {
            entry.remove();
        }
        let used = self.by_owner.len().max(records.expected());
        if let Some(room) = rehashed(used, self.by_owner.capacity()) {
            let slab = &self.slab;
            let hash_of =
                |holder: &PackedHolder| records.owner_hash(realms, &owner_of(slab, records, *holder));
            self.by_owner.shrink_to(room, hash_of);
        }
    }

    /// Makes room for so many open sessions more.
    pub(crate) fn expect(&mut self, records: &Records, realms: &Realms, more: usize) {
        let slab = &self.slab;
        let hash_of = |holder: &PackedHolder| records.owner_hash(realms, &owner_of(slab, records, *holder));
        self.by_owner.reserve(more, hash_of);
    }

    /// The session closes at `until`, unless an allocation joins it before.
    pub(crate) fn linger(&mut self, number: SessionId, until: Timestamp) {
        self.slab[number].lingers_until = until;
        self.lingering.push_back((until, number));
    }

    /// Those that linger close at `until`, if they would later.
    pub(crate) fn shorten_linger(&mut self, until: Timestamp) {
        let before = std::mem::take(&mut self.lingering);
        for &(moment, number) in before.iter() {
            // An entry of an earlier lingering stays none of the session's.
            if moment > until
                && let Some(session) = self.slab.get_mut(number)
                && session.lingers_until == moment
            {
                session.lingers_until = until;
            }
            self.lingering.push_back((moment.min(until), number));
        }
    }

    /// A session that lingered until now without being joined.
    pub(crate) fn next_lingered(&mut self, now: Timestamp) -> Option<SessionId> {
        while let Some(&(until, number)) = self.lingering.front()
            && until <= now
        {
            self.lingering.pop_front();
            let Some(session) = self.slab.get(number) else { continue };
            // One that was joined and left again has a later entry.
            if session.open && session.live == 0 && session.lingers_until == until {
                return Some(number);
            }
        }
        None
    }
}

impl Index<SessionId> for Sessions {
    type Output = Session;

    fn index(&self, number: SessionId) -> &Session {
        &self.slab[number]
    }
}

impl IndexMut<SessionId> for Sessions {
    fn index_mut(&mut self, number: SessionId) -> &mut Session {
        &mut self.slab[number]
    }
}

/// Whose the session of a holder is.
fn owner_of(slab: &Slab<OfSession, Session>, records: &Records, holder: PackedHolder) -> SessionOwner {
    match holder.get() {
        Holder::Session(number) => slab[number].owner(),
        Holder::Alone(at) => records[at].owner(None),
    }
}

impl Sessions {
    /// The same once more, to be written only.
    pub(crate) fn share(&mut self) -> Self {
        let Self { slab, by_owner: _, lingering } = self;
        Self { slab: slab.share(), by_owner: HashTable::new(), lingering: lingering.share() }
    }

    pub(crate) fn write(&self, names: &mut NameWriter<'_>, to: &mut ImageWriter<'_>) {
        let Self { slab, by_owner: _, lingering } = self;
        slab.write(to, |at, session, to| session.write(at, names, to));
        lingering.write(to);
    }

    /// Sessions as they were written; none is found by its owner until [`Self::index`].
    pub(crate) fn read(names: &mut NameReader, from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let slab = Slab::read(from, |at, from| Session::read(at, names, from))?;
        Ok(Self { slab, by_owner: HashTable::new(), lingering: Persist::read(from)? })
    }

    /// Takes open sessions into the orders of age and the table of owners.
    pub(crate) fn index(&mut self, records: &Records, realms: &mut Realms) -> Result<(), Unreadable> {
        self.slab.iter().try_for_each(|(_, session)| realms.check(session.realm))?;
        link_back(&mut self.slab, |session| &mut session.age)?;
        for (at, session) in
            self.slab.iter().filter(|(_, session)| session.open && session.age.prev.is_none())
        {
            realms.group(session.realm).sessions.read_first(at, session.started)?;
        }
        let open = self.slab.iter().filter(|(_, session)| session.open);
        let with_record = open.map(|(at, _)| Holder::Session(at));
        let alone = records.slab.iter().filter(|(_, record)| record.is_alone());
        let holders: Vec<Holder> = with_record.chain(alone.map(|(at, _)| Holder::Alone(at))).collect();
        self.expect(records, realms, holders.len());
        for holder in holders {
            let hash = records.owner_hash(realms, &owner_of(&self.slab, records, holder.into()));
            self.open(records, realms, hash, holder);
        }
        Ok(())
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Sessions {
    pub(crate) fn owners(&self) -> usize {
        self.by_owner.len()
    }
}

#[cfg(test)]
impl Sessions {
    /// Places of the records, the table of owners and the queue.
    pub(crate) fn room(&self) -> [usize; 3] {
        [self.slab.room(), self.by_owner.capacity(), self.lingering.room()]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slab.len() == 0 && self.by_owner.is_empty() && self.lingering.is_empty()
    }
}
