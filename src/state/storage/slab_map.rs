//! Values by key. They lie in a slab, so that a copy is frozen without a look at each, and their order is that of the calls
//! before, not that of a hash table.

use std::hash::Hash;

use hashbrown::HashTable;

use super::free_list::rehashed;
use super::id::Id;
use super::slab::Slab;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::image::{Persist, persist};

/// A key with its value.
#[derive(Clone, Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
}

/// Values by key, each key once.
#[derive(Debug)]
pub(crate) struct SlabMap<K, V> {
    entries: Slab<Entry<K, V>, Entry<K, V>>,
    by_key: HashTable<Id<Entry<K, V>>>,
    hasher: ahash::RandomState,
}

impl<K, V> Default for SlabMap<K, V> {
    fn default() -> Self {
        Self { entries: Slab::new(), by_key: HashTable::new(), hasher: ahash::RandomState::new() }
    }
}

impl<K, V> SlabMap<K, V> {
    pub(crate) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, in an order that depends on nothing but the calls before.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(_, Entry { key, value })| (key, value))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.entries.room().max(self.by_key.capacity())
    }
}

impl<K: Copy + Eq + Hash, V: Clone> SlabMap<K, V> {
    /// The same once more, to be gone through only: nothing is found in it by its key.
    pub(crate) fn share(&mut self) -> Self {
        let (by_key, hasher) = (HashTable::new(), self.hasher.clone());
        Self { entries: self.entries.share(), by_key, hasher }
    }

    fn find(&self, key: &K) -> Option<Id<Entry<K, V>>> {
        // Most of these are empty most of the time.
        if self.is_empty() {
            return None;
        }
        self.by_key.find(self.hasher.hash_one(key), |&at| self.entries[at].key == *key).copied()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        Some(&self.entries[self.find(key)?].value)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key)?;
        Some(&mut self.entries[at].value)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_some()
    }

    /// Puts a value in; gives the one that it replaces.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(before) = self.get_mut(&key) {
            return Some(std::mem::replace(before, value));
        }
        self.add(key, value);
        None
    }

    /// The value of the key; the default one if it has none yet.
    pub(crate) fn entry_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let at = self.find(&key).unwrap_or_else(|| self.add(key, V::default()));
        &mut self.entries[at].value
    }

    fn add(&mut self, key: K, value: V) -> Id<Entry<K, V>> {
        let at = self.entries.insert(Entry { key, value });
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.by_key.insert_unique(hasher.hash_one(key), at, |&at| hasher.hash_one(entries[at].key));
        at
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.find(key)?;
        if let Ok(entry) = self.by_key.find_entry(self.hasher.hash_one(key), |&other| other == at) {
            entry.remove();
        }
        if let Some(room) = rehashed(self.by_key.len(), self.by_key.capacity()) {
            let (entries, hasher) = (&self.entries, &self.hasher);
            self.by_key.shrink_to(room, |&at| hasher.hash_one(entries[at].key));
        }
        self.entries.remove(at).map(|entry| entry.value)
    }

    /// Drops those that are not to be kept.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&K, &V) -> bool) {
        let dropped: Vec<K> =
            self.iter().filter(|(key, value)| !is_kept(key, value)).map(|(key, _)| *key).collect();
        for key in dropped {
            self.remove(&key);
        }
    }
}

persist! { Entry<K, V> { key, value } }

impl<K: Persist + Copy + Eq + Hash, V: Persist + Clone> Persist for SlabMap<K, V> {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.entries.write(to, |_, entry, to| entry.write(to));
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let entries = Slab::read(from, |_, from| Entry::read(from))?;
        let (mut by_key, hasher) = (HashTable::with_capacity(entries.len()), ahash::RandomState::new());
        for (at, Entry { key, .. }) in entries.iter() {
            let hash = hasher.hash_one(key);
            if by_key.find(hash, |&other| entries[other].key == *key).is_some() {
                return Err(Unreadable::Malformed("a key is there twice"));
            }
            by_key.insert_unique(hash, at, |&at| hasher.hash_one(entries[at].key));
        }
        Ok(Self { entries, by_key, hasher })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_that_of_the_standard_library(steps in prop::collection::vec((0_u8..8, 0_u64..40, any::<u8>()), 1..400)) {
            let (mut map, mut twin, mut model) = (SlabMap::default(), SlabMap::default(), BTreeMap::new());
            let mut frozen = (map.share(), model.clone());
            for (step, key, value) in steps {
                for map in [&mut map, &mut twin] {
                    match step {
                        0..3 => drop(map.insert(key, value)),
                        3 => *map.entry_or_default(key) |= value,
                        4..6 => drop(map.remove(&key)),
                        6 => map.retain(|_, kept| *kept != value),
                        _ => {}
                    }
                }
                match step {
                    0..3 => drop(model.insert(key, value)),
                    3 => *model.entry(key).or_default() |= value,
                    4..6 => drop(model.remove(&key)),
                    6 => model.retain(|_, kept| *kept != value),
                    _ => frozen = (map.share(), model.clone()),
                }
                prop_assert_eq!((map.get(&key), map.len()), (model.get(&key), model.len()));
            }
            for (map, model) in [(&map, &model), (&frozen.0, &frozen.1)] {
                let all: BTreeMap<u64, u8> = map.iter().map(|(&key, &value)| (key, value)).collect();
                prop_assert_eq!(&all, model);
            }
            prop_assert!(map.iter().eq(twin.iter()), "the order depends on the hash seed");
        }
    }

    #[test]
    fn a_peak_is_given_back() {
        let mut map = SlabMap::default();
        for key in 0..20_000 {
            map.insert(key, ());
        }
        assert!(map.room() >= 20_000);
        for key in 0..20_000 {
            map.remove(&key);
        }
        assert!(map.is_empty() && map.room() <= 8192, "{}", map.room());
    }
}
