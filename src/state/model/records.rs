//! The records of allocations, how one is found by its key, and what is kept beside a record by its number.

use super::ids::{OfAllocation, RecordId};
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::ops::{Index, IndexMut};

use hashbrown::HashTable;

use super::allocation::{Allocation, Flag, Phase};
use super::end_records::{EndRecord, EndRecords};
use super::key::SourceKey;
use super::rates::Rates;
use super::realms::Realms;
use super::session_owner::SessionOwner;
use crate::clock::Timestamp;
use crate::state::image::Persist;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::storage::addresses::Addresses;
use crate::state::storage::age_list::link_back;
use crate::state::storage::free_list::rehashed;
use crate::state::storage::interner::Interner;
use crate::state::storage::shared_names::{NameReader, NameWriter};
use crate::state::storage::slab::Slab;

/// All records, each under a number that stays the same while it lives.
///
/// Each record is in the key table once, under the hash of its key; several records may have one key. What is kept beside a
/// record (its client's address, its end, its rate) goes with it. The names of users are those of records and sessions.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) slab: Slab<OfAllocation, Allocation>,
    by_key: HashTable<RecordId>,
    hasher: ahash::RandomState,
    pub(crate) users: Interner,
    addresses: Addresses,
    ends: EndRecords,
    pub(crate) rates: Rates,
    /// So many records there will be soon, as a scan says: their room is not given back.
    expected: usize,
}

impl Records {
    pub(crate) fn new(are_rates_kept: bool) -> Self {
        Self {
            slab: Slab::new(),
            by_key: HashTable::new(),
            hasher: ahash::RandomState::new(),
            users: Interner::new(),
            addresses: Addresses::new(),
            ends: EndRecords::default(),
            rates: Rates::new(are_rates_kept),
            expected: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.slab.len()
    }

    /// Each number that is in use is below this.
    pub(crate) const fn places(&self) -> usize {
        self.slab.places()
    }

    pub(crate) fn get(&self, at: RecordId) -> Option<&Allocation> {
        self.slab.get(at)
    }

    pub(crate) fn get_mut(&mut self, at: RecordId) -> Option<&mut Allocation> {
        self.slab.get_mut(at)
    }

    /// What a key is found by.
    pub(crate) fn key_hash(&self, key: &SourceKey<'_>) -> u64 {
        key_hash(&self.hasher, key)
    }

    /// The hash of a record's key.
    pub(crate) fn hash_of(&self, realms: &Realms, at: RecordId) -> u64 {
        self.key_hash(&self.key_of(realms, at))
    }

    /// A record's key.
    pub(crate) fn key_of<'a>(&'a self, realms: &'a Realms, at: RecordId) -> SourceKey<'a> {
        key_of(&self.slab, realms, &self.users, at)
    }

    /// What the owner of a session is found by.
    pub(crate) fn owner_hash(&self, realms: &Realms, owner: &SessionOwner) -> u64 {
        let mut state = self.hasher.build_hasher();
        state.write_u32(owner.source.0);
        realms.name(owner.realm).hash(&mut state);
        self.users.get(owner.user).hash(&mut state);
        owner.host.hash(&mut state);
        state.finish()
    }

    /// All records of a key. Their order is the hash table's, by which nothing may be decided.
    pub(crate) fn of_key(
        &self,
        realms: &Realms,
        hash: u64,
        key: &SourceKey<'_>,
    ) -> impl Iterator<Item = RecordId> {
        let of_hash = self.by_key.iter_hash(hash).copied();
        of_hash.filter(move |&at| self.has_key(realms, &self.slab[at], key))
    }

    /// Some record of that hash: most likely, but not for certain, one of the key.
    pub(crate) fn likely_of(&self, hash: u64) -> Option<RecordId> {
        self.by_key.find(hash, |_| true).copied()
    }

    /// Whether it is a record of that key.
    pub(crate) fn has_key(&self, realms: &Realms, allocation: &Allocation, key: &SourceKey<'_>) -> bool {
        allocation.id == key.id
            && allocation.source() == key.source
            && self.users.get(allocation.user) == key.user
            && realms.name(allocation.realm) == key.realm
    }

    /// Takes a new record in, under the hash of its key; gives its number.
    pub(crate) fn insert(&mut self, realms: &Realms, hash: u64, allocation: Allocation) -> RecordId {
        let at = self.slab.insert(allocation);
        self.rates.clear(at);
        let (hasher, slab, users) = (&self.hasher, &self.slab, &self.users);
        self.by_key.insert_unique(hash, at, |&at| key_hash(hasher, &key_of(slab, realms, users, at)));
        at
    }

    /// Takes a record out, and what is kept beside it; `hash` is that of its key. The name of its user is still held.
    pub(crate) fn remove(&mut self, realms: &Realms, hash: u64, at: RecordId) -> Option<Allocation> {
        if let Ok(entry) = self.by_key.find_entry(hash, |&other| other == at) {
            entry.remove();
        }
        if let Some(room) = rehashed(self.by_key.len().max(self.expected), self.by_key.capacity()) {
            let (hasher, slab, users) = (&self.hasher, &self.slab, &self.users);
            self.by_key.shrink_to(room, |&at| key_hash(hasher, &key_of(slab, realms, users, at)));
        }
        self.ends.remove(at);
        let removed = self.slab.remove(at);
        if let Some(allocation) = &removed {
            self.addresses.remove(allocation.client);
        }
        self.rates.cut(self.slab.places());
        removed
    }

    /// Makes room for so many records more, and keeps it until [`Self::expect_no_more`].
    pub(crate) fn expect(&mut self, realms: &Realms, more: usize) {
        self.expected = self.slab.len() + more;
        let (hasher, slab, users) = (&self.hasher, &self.slab, &self.users);
        self.by_key.reserve(more, |&at| key_hash(hasher, &key_of(slab, realms, users, at)));
    }

    /// Room may be given back again.
    pub(crate) const fn expect_no_more(&mut self) {
        self.expected = 0;
    }

    pub(crate) const fn expected(&self) -> usize {
        self.expected
    }

    /// Where the client is, as far as is known.
    pub(crate) fn client(&self, allocation: &Allocation) -> Option<SocketAddr> {
        self.addresses.get(allocation.client)
    }

    pub(crate) fn client_host(&self, allocation: &Allocation) -> Option<IpAddr> {
        self.client(allocation).map(|address| address.ip())
    }

    pub(crate) fn set_client(&mut self, at: RecordId, client: SocketAddr) {
        self.addresses.put(&mut self.slab[at].client, client);
    }

    /// What is known of the record's last end, if it has ended.
    pub(crate) fn end(&self, at: RecordId) -> Option<&EndRecord> {
        self.ends.get(at)
    }

    /// What is known of the record's last end, to be changed.
    pub(crate) fn end_mut(&mut self, at: RecordId) -> &mut EndRecord {
        self.ends.of(at)
    }

    /// When the record ended; [`Timestamp::ZERO`] if it never did.
    pub(crate) fn ended_at(&self, at: RecordId) -> Timestamp {
        self.ends.moment(at)
    }
}

impl Records {
    /// The same once more, to be written only. Rates are not among it: the next report of each brings them again.
    pub(crate) fn share(&mut self) -> Self {
        let Self { slab, by_key: _, hasher, users, addresses, ends, rates: _, expected } = self;
        Self {
            slab: slab.share(),
            by_key: HashTable::new(),
            hasher: hasher.clone(),
            users: users.share(),
            addresses: addresses.share(),
            ends: ends.share(),
            rates: Rates::new(false),
            expected: *expected,
        }
    }

    pub(crate) fn write(&self, names: &mut NameWriter<'_>, to: &mut ImageWriter<'_>) {
        let Self { slab, by_key: _, hasher: _, users: _, addresses, ends, rates: _, expected } = self;
        expected.write(to);
        slab.write(to, |at, record, to| record.write(at, (&mut *names, addresses), to));
        ends.write(to);
    }

    /// Records as they were written; none is found by its key until [`Self::index`].
    pub(crate) fn read(
        are_rates_kept: bool,
        names: &mut NameReader,
        from: &mut ImageReader<'_>,
    ) -> Result<Self, Unreadable> {
        let mut records = Self::new(are_rates_kept);
        records.expected = Persist::read(from)?;
        let addresses = &mut records.addresses;
        records.slab =
            Slab::read(from, |at, from| Allocation::read(at, (&mut *names, &mut *addresses), from))?;
        records.ends = Persist::read(from)?;
        Ok(records)
    }

    /// Takes records into the orders of age and the key table.
    pub(crate) fn index(&mut self, users: Interner, realms: &mut Realms) -> Result<(), Unreadable> {
        self.users = users;
        self.slab.iter().try_for_each(|(_, record)| realms.check(record.realm))?;
        link_back(&mut self.slab, |record| &mut record.age)?;
        link_back(&mut self.slab, |record| &mut record.gathering)?;
        for (at, record) in self.slab.iter() {
            if record.gathering.next.is_some() != record.gathering.prev.is_some() {
                return Err(Unreadable::Malformed("a gathering is no circle"));
            }
            if record.phase == Phase::Live && record.age.prev.is_none() {
                realms
                    .group(record.realm)
                    .ages(record.is(Flag::Revived))
                    .read_first(at, record.started.get())?;
            }
        }
        let (hasher, slab, users) = (&self.hasher, &self.slab, &self.users);
        let hash_of = |&at: &RecordId| key_hash(hasher, &key_of(slab, realms, users, at));
        self.by_key.reserve(slab.len(), hash_of);
        for (at, _) in slab.iter() {
            self.by_key.insert_unique(hash_of(&at), at, hash_of);
        }
        Ok(())
    }
}

impl Index<RecordId> for Records {
    type Output = Allocation;

    fn index(&self, at: RecordId) -> &Allocation {
        &self.slab[at]
    }
}

impl IndexMut<RecordId> for Records {
    fn index_mut(&mut self, at: RecordId) -> &mut Allocation {
        &mut self.slab[at]
    }
}

fn key_hash(hasher: &ahash::RandomState, key: &SourceKey<'_>) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_u64(key.id.0);
    state.write_u32(key.source.0);
    key.realm.hash(&mut state);
    key.user.hash(&mut state);
    state.finish()
}

/// The key of a record.
fn key_of<'a>(
    slab: &'a Slab<OfAllocation, Allocation>,
    realms: &'a Realms,
    users: &'a Interner,
    at: RecordId,
) -> SourceKey<'a> {
    let allocation = &slab[at];
    SourceKey {
        source: allocation.source(),
        realm: realms.name(allocation.realm),
        user: users.get(allocation.user),
        id: allocation.id,
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Records {
    /// Whether the record is in the key table.
    pub(crate) fn is_found(&self, realms: &Realms, at: RecordId) -> bool {
        self.by_key.find(self.hash_of(realms, at), |&other| other == at).is_some()
    }

    pub(crate) fn keys(&self) -> usize {
        self.by_key.len()
    }
}

#[cfg(test)]
impl Records {
    /// Places of the records, the key table, the ends, the rates and the addresses.
    pub(crate) fn room(&self) -> [usize; 5] {
        let Self { slab, by_key, ends, rates, addresses, .. } = self;
        [slab.room(), by_key.capacity(), ends.room(), rates.room(), addresses.room()]
    }

    /// Addresses that are held apart from their records.
    pub(crate) fn has_long_addresses(&self) -> bool {
        !self.addresses.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slab.len() == 0
            && self.by_key.is_empty()
            && self.users.is_empty()
            && self.addresses.is_empty()
            && self.ends.is_empty()
    }
}
