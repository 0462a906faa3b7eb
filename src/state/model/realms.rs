//! Realms: their names, of which whoever sends events can make many, apart from their series, which are few.

use super::ids::{OfAllocation, OfRealm, OfSession, RealmId};
use std::collections::HashMap;
use std::sync::Arc;

use super::allocation::Allocation;
use super::label::{MAX_LABEL, OTHER};
use super::series::RealmSeries;
use super::session::Session;
use crate::clock::Timestamp;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::image::{Persist, persist};
use crate::state::storage::age_list::AgeList;
use crate::state::storage::slab::Slab;

/// One label value's sums and order of ages.
#[derive(Debug)]
pub(crate) struct RealmGroup {
    pub(crate) label: Arc<str>,
    /// When its series began; [`Timestamp::ZERO`] if they began with the table.
    pub(crate) created: Timestamp,
    pub(crate) series: RealmSeries,
    /// Allocations that have lived on end.
    pub(crate) allocations: AgeList<OfAllocation>,
    /// Allocations that live again: their sessions are younger than they.
    pub(crate) revived: AgeList<OfAllocation>,
    /// Sessions that have a record.
    pub(crate) sessions: AgeList<OfSession>,
}

impl RealmGroup {
    /// The order in which an allocation stands.
    pub(crate) const fn ages(&mut self, revived: bool) -> &mut AgeList<OfAllocation> {
        if revived { &mut self.revived } else { &mut self.allocations }
    }

    pub(crate) fn oldest_allocation(
        &self,
        allocations: &Slab<OfAllocation, Allocation>,
    ) -> Option<Timestamp> {
        let all = [&self.allocations, &self.revived];
        all.into_iter().filter_map(|ages| ages.oldest(allocations)).min()
    }

    /// A session without a record began with its allocation, and none with one began later than its allocations. So the
    /// oldest of both kinds is the oldest session. An allocation whose session is counted in `_other` counts among them where
    /// there are others; `None` without open sessions.
    pub(crate) fn oldest_session(
        &self,
        allocations: &Slab<OfAllocation, Allocation>,
        sessions: &Slab<OfSession, Session>,
    ) -> Option<Timestamp> {
        let oldest =
            self.allocations.oldest(allocations).into_iter().chain(self.sessions.oldest(sessions)).min();
        oldest.filter(|_| self.series.sessions > 0)
    }
}

#[derive(Clone, Debug)]
struct Realm {
    name: Arc<[u8]>,
    group: u32,
    users: u32,
}

/// Realms by name. A group stays; a realm goes with its last record. One that was folded into `_other` and gets a group of
/// its own has two numbers until the records of before are gone: they stay where they were counted.
#[derive(Debug)]
pub(crate) struct Realms {
    /// Bytes of all names, those of labels not among them: they are few.
    name_bytes: usize,
    by_name: HashMap<Arc<[u8]>, RealmId, ahash::RandomState>,
    slots: Slab<OfRealm, Realm>,
    groups: Vec<RealmGroup>,
    by_label: HashMap<Arc<str>, u32, ahash::RandomState>,
    max_groups: usize,
    folded: u64,
}

impl Realms {
    pub(crate) fn new(max_groups: usize, from_start: &[Vec<u8>]) -> Self {
        let mut realms = Self {
            name_bytes: 0,
            by_name: HashMap::default(),
            slots: Slab::new(),
            groups: Vec::new(),
            by_label: HashMap::default(),
            max_groups,
            folded: 0,
        };
        realms.set_limit(Timestamp::ZERO, max_groups, from_start);
        realms
    }

    /// So many realms have series of their own from now on; those that have keep them, and these get theirs now. Then those
    /// that were folded get theirs, as far as there is room, for the records to come.
    // docs/semantics.md#other-settings-after-a-restart
    pub(crate) fn set_limit(&mut self, now: Timestamp, max_groups: usize, wanted: &[Vec<u8>]) {
        self.max_groups = max_groups;
        for name in wanted {
            // Whoever asks for it wants it, however long it is, and however many there are.
            self.own_group(now, name, true);
        }
        let Some(&other) = self.by_label.get(OTHER) else { return };
        // By place: nothing may be decided by the order of a hash table.
        let folded = self.slots.iter().filter(|(_, realm)| realm.group == other);
        let folded: Vec<_> = folded.map(|(at, realm)| (at, Arc::clone(&realm.name))).collect();
        for (at, name) in folded.into_iter().filter(|(_, name)| name[..] != *OTHER.as_bytes()) {
            if self.by_name.get(&name) == Some(&at) && self.own_group(now, &name, false).is_some() {
                self.by_name.remove(&name);
            }
        }
    }

    /// A label that was on the page before gets its series again, while there is room.
    pub(crate) fn recall(&mut self, now: Timestamp, label: &str) {
        if self.by_label.len() < self.max_groups {
            self.group_of(now, label.as_bytes());
        }
    }

    /// The realm's number; its record counts as one more user of it.
    pub(crate) fn acquire(&mut self, now: Timestamp, name: &[u8]) -> RealmId {
        if let Some(&at) = self.by_name.get(name) {
            self.slots[at].users += 1;
            return at;
        }
        let group = self.group_of(now, name);
        self.name_bytes += name.len();
        let name: Arc<[u8]> = name.into();
        let at = self.slots.insert(Realm { name: Arc::clone(&name), group, users: 1 });
        self.by_name.insert(name, at);
        at
    }

    /// One more user of a realm that has some.
    pub(crate) fn hold(&mut self, at: RealmId) -> RealmId {
        self.slots[at].users += 1;
        at
    }

    /// One user less; the last one takes the realm along (its group stays).
    pub(crate) fn release(&mut self, at: RealmId) {
        let realm = &mut self.slots[at];
        realm.users -= 1;
        if realm.users == 0
            && let Some(realm) = self.slots.remove(at)
        {
            self.name_bytes -= realm.name.len();
            if self.by_name.get(&realm.name) == Some(&at) {
                self.by_name.remove(&realm.name);
            }
        }
    }

    pub(crate) const fn name_bytes(&self) -> usize {
        self.name_bytes
    }

    pub(crate) fn name(&self, at: RealmId) -> &[u8] {
        &self.slots[at].name
    }

    pub(crate) fn shared_name(&self, at: RealmId) -> Arc<[u8]> {
        Arc::clone(&self.slots[at].name)
    }

    /// The label value under which the realm is counted.
    pub(crate) fn label_of(&self, at: RealmId) -> &str {
        &self.groups[self.slots[at].group as usize].label
    }

    pub(crate) fn group(&mut self, at: RealmId) -> &mut RealmGroup {
        &mut self.groups[self.slots[at].group as usize]
    }

    pub(crate) fn series(&mut self, at: RealmId) -> &mut RealmSeries {
        &mut self.group(at).series
    }

    pub(crate) fn groups(&self) -> &[RealmGroup] {
        &self.groups
    }

    pub(crate) const fn folded(&self) -> u64 {
        self.folded
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.slots.len() == 0
    }

    /// The group in which a realm is counted.
    // docs/semantics.md#labels-past-the-cap
    fn group_of(&mut self, now: Timestamp, name: &[u8]) -> u32 {
        if let Some(group) = self.own_group(now, name, false) {
            return group;
        }
        self.folded += 1;
        match self.by_label.get(OTHER) {
            Some(&group) => group,
            None => self.new_group(now, OTHER),
        }
    }

    /// The group of a realm's label; a new one, if there is room for it or it `is_wanted`.
    fn own_group(&mut self, now: Timestamp, name: &[u8], is_wanted: bool) -> Option<u32> {
        // Names that differ in broken UTF-8 only share a label, so they must share the series.
        let label = String::from_utf8_lossy(name);
        if let Some(&group) = self.by_label.get(&*label) {
            return Some(group);
        }
        let of_their_own = self.groups.len() - usize::from(self.by_label.contains_key(OTHER));
        let has_room = of_their_own < self.max_groups && label.len() <= MAX_LABEL;
        (has_room || is_wanted || label == OTHER).then(|| self.new_group(now, &label))
    }

    fn new_group(&mut self, created: Timestamp, label: &str) -> u32 {
        let label: Arc<str> = label.into();
        let group = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        self.by_label.insert(Arc::clone(&label), group);
        self.groups.push(RealmGroup {
            label,
            created,
            series: RealmSeries::default(),
            allocations: AgeList::new(),
            revived: AgeList::new(),
            sessions: AgeList::new(),
        });
        group
    }
}

persist! { Realm { name, group, users } }
persist! { RealmGroup { label, since 2 created = Timestamp::ZERO, series, allocations, revived, sessions } }

impl RealmGroup {
    fn share(&self) -> Self {
        let Self { label, created, series, allocations, revived, sessions } = self;
        let (label, series) = (Arc::clone(label), series.clone());
        let (allocations, revived, sessions) = (allocations.share(), revived.share(), sessions.share());
        Self { label, created: *created, series, allocations, revived, sessions }
    }
}

impl Realms {
    /// The same once more, to be written only.
    pub(crate) fn share(&mut self) -> Self {
        let Self { name_bytes, by_name: _, slots, groups, by_label: _, max_groups, folded } = self;
        Self {
            name_bytes: *name_bytes,
            by_name: HashMap::default(),
            slots: slots.share(),
            groups: groups.iter().map(RealmGroup::share).collect(),
            by_label: HashMap::default(),
            max_groups: *max_groups,
            folded: *folded,
        }
    }

    /// Whether the realm is there.
    pub(crate) fn check(&self, at: RealmId) -> Result<(), Unreadable> {
        self.slots.get(at).map(|_| ()).ok_or(Unreadable::Malformed("a realm is not there"))
    }

    /// All records were read: whether those that the orders of age begin and end with are there.
    pub(crate) fn check_ages(
        &self,
        allocations: &Slab<OfAllocation, Allocation>,
        sessions: &Slab<OfSession, Session>,
    ) -> Result<(), Unreadable> {
        self.groups.iter().try_for_each(|group| {
            group.allocations.check_ends(allocations)?;
            group.revived.check_ends(allocations)?;
            group.sessions.check_ends(sessions)
        })
    }
}

impl Persist for Realms {
    fn write(&self, to: &mut ImageWriter<'_>) {
        let Self { name_bytes: _, by_name: _, slots, groups, by_label: _, max_groups, folded } = self;
        to.list(groups.len(), groups);
        max_groups.write(to);
        folded.write(to);
        slots.write(to, |_, realm, to| realm.write(to));
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let mut realms = Self::new(0, &[]);
        from.list(|group| realms.groups.push(group))?;
        realms.by_label =
            (0..).zip(&realms.groups).map(|(number, group)| (Arc::clone(&group.label), number)).collect();
        realms.max_groups = Persist::read(from)?;
        realms.folded = Persist::read(from)?;
        realms.slots = Slab::read(from, |_, from| Realm::read(from))?;
        for (at, realm) in realms.slots.iter() {
            realms.name_bytes += realm.name.len();
            if realm.group as usize >= realms.groups.len() {
                return Err(Unreadable::Malformed("a realm has no series"));
            }
            // One whose label has got series of its own since is found no more.
            let own = realms.by_label.get(&*String::from_utf8_lossy(&realm.name));
            if own.is_none_or(|&own| own == realm.group) {
                realms.by_name.insert(Arc::clone(&realm.name), at);
            }
        }
        Ok(realms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms_past_the_cap_share_a_group_but_not_an_identity() {
        let mut realms = Realms::new(2, &[b"first".to_vec()]);
        let (a, b, c) = (
            realms.acquire(Timestamp::ZERO, b"second"),
            realms.acquire(Timestamp::ZERO, b"third"),
            realms.acquire(Timestamp::ZERO, b"fourth"),
        );
        for (realm, label) in [(a, "second"), (b, OTHER), (c, OTHER)] {
            assert_eq!(&*realms.group(realm).label, label);
        }
        assert_ne!(b, c);
        assert_eq!(realms.folded(), 2);
        let labels: Vec<_> = realms.groups().iter().map(|group| &*group.label).collect();
        assert_eq!(labels, ["first", "second", OTHER]);
    }

    #[test]
    fn a_name_that_is_long_on_the_page_shares_the_group_unless_it_was_asked_for() {
        let wanted = "w".repeat(MAX_LABEL + 1);
        let mut realms = Realms::new(10, &[wanted.clone().into_bytes()]);
        let at = realms.acquire(Timestamp::ZERO, wanted.as_bytes());
        assert_eq!(realms.label_of(at), wanted);
        // U+FFFD takes three bytes.
        let (fits, broken) = ("a".repeat(MAX_LABEL), [0xff; MAX_LABEL / 3 + 1]);
        for (name, label, folded) in [
            (fits.as_bytes(), &*fits, 0),
            ("a".repeat(MAX_LABEL + 1).as_bytes(), OTHER, 1),
            (&broken[1..], &*"\u{fffd}".repeat(MAX_LABEL / 3), 1),
            (&broken, OTHER, 2),
        ] {
            let at = realms.acquire(Timestamp::ZERO, name);
            assert_eq!((realms.label_of(at), realms.folded()), (label, folded));
        }
        let labels: Vec<_> = realms.groups().iter().map(|group| group.label.len()).collect();
        assert_eq!(labels, [wanted.len(), fits.len(), OTHER.len(), 3 * (MAX_LABEL / 3)]);
    }

    #[test]
    fn a_realm_goes_with_its_last_record() {
        let mut realms = Realms::new(10, &[]);
        let at = realms.acquire(Timestamp::ZERO, b"r");
        assert_eq!(realms.acquire(Timestamp::ZERO, b"r"), at);
        realms.release(at);
        assert_eq!(realms.name(at), b"r");
        realms.release(at);
        assert_eq!(realms.slots.len(), 0);
        assert_eq!(realms.groups().len(), 1);
    }

    #[test]
    fn a_realm_that_got_a_group_is_found_by_its_new_number_also_when_the_old_one_goes() {
        let mut realms = Realms::new(1, &[]);
        realms.acquire(Timestamp::ZERO, b"first");
        let old = realms.acquire(Timestamp::ZERO, b"busy");
        realms.set_limit(Timestamp::ZERO, 2, &[]);
        let new = realms.acquire(Timestamp::ZERO, b"busy");
        assert_eq!((realms.label_of(old), realms.label_of(new)), (OTHER, "busy"));
        realms.release(old);
        assert_eq!(realms.acquire(Timestamp::ZERO, b"busy"), new);
    }

    #[test]
    fn broken_utf8_shares_one_label() {
        let mut realms = Realms::new(10, &[]);
        let (a, b) = (realms.acquire(Timestamp::ZERO, b"\xff"), realms.acquire(Timestamp::ZERO, b"\xfe"));
        assert_ne!(a, b);
        assert_eq!(realms.groups().len(), 1);
    }
}
