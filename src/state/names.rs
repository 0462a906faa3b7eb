//! Realms and servers: their identity, which strangers' input can make many of, apart from their series, which are few.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;

use super::ages::Ages;
use super::allocation::{Allocation, Cause};
use super::series::{RealmSeries, Tally};
use super::session::Session;
use super::shared::RecentKeys;
use super::slab::Slab;
use crate::clock::Timestamp;

/// The label value shared by those past the cap.
pub const OTHER: &str = "_other";

/// The longest label value, in bytes as they stand on the page. coturn's realms are host names as a rule; a longer name shares
/// [`OTHER`], for each stands on the page some 160 times, for ever.
pub(super) const MAX_LABEL: usize = 128;

/// A server without live allocations is forgotten so long after its last sign.
pub(super) const SERVER_MEMORY: Duration = Duration::from_secs(24 * 3600);

/// One label value's sums and order of ages.
#[derive(Debug)]
pub(super) struct RealmGroup {
    pub(super) label: Arc<str>,
    pub(super) series: RealmSeries,
    /// Allocations that have lived on end.
    pub(super) allocations: Ages,
    /// Allocations that live again: their sessions are younger than they.
    pub(super) revived: Ages,
    /// Sessions that have a record.
    pub(super) sessions: Ages,
}

impl RealmGroup {
    /// The order in which an allocation stands.
    pub(super) const fn ages(&mut self, revived: bool) -> &mut Ages {
        if revived { &mut self.revived } else { &mut self.allocations }
    }

    pub(super) fn oldest_allocation(&self, allocations: &Slab<Allocation>) -> Option<Timestamp> {
        let all = [&self.allocations, &self.revived];
        all.into_iter().filter_map(|ages| ages.oldest(allocations)).min()
    }

    /// A session without a record began with its allocation, and none with one began later than its allocations. So the
    /// oldest of both kinds is the oldest session.
    pub(super) fn oldest_session(
        &self,
        allocations: &Slab<Allocation>,
        sessions: &Slab<Session>,
    ) -> Option<Timestamp> {
        self.allocations.oldest(allocations).into_iter().chain(self.sessions.oldest(sessions)).min()
    }
}

#[derive(Debug)]
struct Realm {
    name: Arc<[u8]>,
    group: u32,
    users: u32,
}

/// Realms by name. One with a group of its own stays; one folded into `_other` goes with its last record.
#[derive(Debug)]
pub(super) struct Realms {
    /// Bytes of all names, those of labels not among them: they are few.
    name_bytes: usize,
    by_name: HashMap<Arc<[u8]>, u32, ahash::RandomState>,
    slots: Slab<Realm>,
    groups: Vec<RealmGroup>,
    by_label: HashMap<Arc<str>, u32, ahash::RandomState>,
    max_groups: usize,
    folded: u64,
}

impl Realms {
    pub(super) fn new(max_groups: usize, from_start: &[Vec<u8>]) -> Self {
        let mut realms = Self {
            name_bytes: 0,
            by_name: HashMap::default(),
            slots: Slab::new(),
            groups: Vec::new(),
            by_label: HashMap::default(),
            max_groups,
            folded: 0,
        };
        for name in from_start {
            // Whoever asks for it wants it, however long it is.
            realms.group_of(name, usize::MAX);
        }
        realms
    }

    /// A label that was told before gets its series again, while there is room.
    pub(super) fn recall(&mut self, label: &str) {
        if self.by_label.len() < self.max_groups {
            self.group_of(label.as_bytes(), MAX_LABEL);
        }
    }

    /// The realm's number; its record counts as one more user of it.
    pub(super) fn acquire(&mut self, name: &[u8]) -> u32 {
        if let Some(&at) = self.by_name.get(name) {
            self.slots[at].users += 1;
            return at;
        }
        let group = self.group_of(name, MAX_LABEL);
        self.name_bytes += name.len();
        let name: Arc<[u8]> = name.into();
        let at = self.slots.insert(Realm { name: Arc::clone(&name), group, users: 1 });
        self.by_name.insert(name, at);
        at
    }

    /// One more user of a realm that has some.
    pub(super) fn hold(&mut self, at: u32) -> u32 {
        self.slots[at].users += 1;
        at
    }

    /// One user less; the last one takes the realm along (its group stays).
    pub(super) fn release(&mut self, at: u32) {
        let realm = &mut self.slots[at];
        realm.users -= 1;
        if realm.users == 0
            && let Some(realm) = self.slots.remove(at)
        {
            self.name_bytes -= realm.name.len();
            self.by_name.remove(&realm.name);
        }
    }

    pub(super) const fn name_bytes(&self) -> usize {
        self.name_bytes
    }

    pub(super) fn name(&self, at: u32) -> &[u8] {
        &self.slots[at].name
    }

    pub(super) fn shared_name(&self, at: u32) -> Arc<[u8]> {
        Arc::clone(&self.slots[at].name)
    }

    /// The label value under which the realm is told.
    pub(super) fn label_of(&self, at: u32) -> &str {
        &self.groups[self.slots[at].group as usize].label
    }

    pub(super) fn group(&mut self, at: u32) -> &mut RealmGroup {
        &mut self.groups[self.slots[at].group as usize]
    }

    pub(super) fn series(&mut self, at: u32) -> &mut RealmSeries {
        &mut self.group(at).series
    }

    pub(super) fn groups(&self) -> &[RealmGroup] {
        &self.groups
    }

    pub(super) const fn folded(&self) -> u64 {
        self.folded
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.slots.len() == 0
    }

    /// The group of a realm whose label may have so many bytes.
    fn group_of(&mut self, name: &[u8], longest: usize) -> u32 {
        // Names that differ in broken UTF-8 only share a label, so they must share the series.
        let label = String::from_utf8_lossy(name);
        if let Some(&group) = self.by_label.get(&*label) {
            return group;
        }
        let of_their_own = self.groups.len() - usize::from(self.by_label.contains_key(OTHER));
        let has_room = of_their_own < self.max_groups && label.len() <= longest;
        if has_room || label == OTHER {
            return self.new_group(&label);
        }
        self.folded += 1;
        match self.by_label.get(OTHER) {
            Some(&group) => group,
            None => self.new_group(OTHER),
        }
    }

    fn new_group(&mut self, label: &str) -> u32 {
        let label: Arc<str> = label.into();
        let group = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        self.by_label.insert(Arc::clone(&label), group);
        self.groups.push(RealmGroup {
            label,
            series: RealmSeries::default(),
            allocations: Ages::new(),
            revived: Ages::new(),
            sessions: Ages::new(),
        });
        group
    }
}

/// A coturn, by the address its clients reach it at.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) source: u32,
    pub(super) label: Arc<str>,
    pub(super) live: u64,
    /// Records of the table that name it.
    pub(super) records: u32,
    pub(super) closed: Tally<{ Cause::ALL.len() }>,
    pub(super) last_seen: Timestamp,
    /// When the oldest of its keys was set that the present scan found.
    pub(super) oldest_key: Timestamp,
}

impl Server {
    pub(super) fn is_forgotten(&self, now: Timestamp) -> bool {
        self.live == 0 && now.since(self.last_seen) > SERVER_MEMORY
    }
}

/// Servers by source and address, up to the cap; `_other` takes the rest. One that is forgotten gives its place away.
#[derive(Debug)]
pub(super) struct Servers {
    hasher: ahash::RandomState,
    /// Places in `slots`, by what stands there: a status, which comes often, is looked up as it was read.
    by_name: HashTable<u32>,
    slots: Vec<Server>,
    max: usize,
    /// Hashes of addresses that were folded, so that each counts once.
    folded_keys: RecentKeys,
    folded: u64,
}

impl Servers {
    pub(super) fn new(max: usize) -> Self {
        Self {
            hasher: ahash::RandomState::new(),
            by_name: HashTable::new(),
            slots: Vec::new(),
            max,
            folded_keys: RecentKeys::default(),
            folded: 0,
        }
    }

    /// The number of the server at `local` (its port is left out), met in a status just now.
    pub(super) fn meet(&mut self, now: Timestamp, source: u32, local: &[u8]) -> u32 {
        let at = self.find_or_admit(now, source, &host_of(local));
        let server = self.get_mut(at);
        if server.is_forgotten(now) {
            // Its series have left the page; they begin anew.
            server.closed = Tally::default();
        }
        server.last_seen = now;
        at
    }

    /// The number of the server of this label, last heard of at `seen`.
    pub(super) fn recall(&mut self, seen: Timestamp, source: u32, label: &str) -> u32 {
        let at = self.find_or_admit(seen, source, label);
        let server = self.get_mut(at);
        server.last_seen = server.last_seen.max(seen);
        at
    }

    fn find_or_admit(&mut self, now: Timestamp, source: u32, label: &str) -> u32 {
        let hash = self.hasher.hash_one((source, label));
        self.find(hash, source, label).unwrap_or_else(|| self.admit(now, hash, source, label))
    }

    fn find(&self, hash: u64, source: u32, label: &str) -> Option<u32> {
        let is_it = |server: &Server| server.source == source && *server.label == *label;
        self.by_name.find(hash, |&at| is_it(&self.slots[at as usize])).copied()
    }

    fn admit(&mut self, now: Timestamp, hash: u64, source: u32, label: &str) -> u32 {
        if label.len() > MAX_LABEL {
            return self.fold(now, hash, source);
        }
        if self.slots.len() < self.max {
            return self.put(None, source, label);
        }
        let free = self.slots.iter().position(|server| server.records == 0 && server.is_forgotten(now));
        if let Some(free) = free {
            return self.put(Some(free), source, label);
        }
        self.fold(now, hash, source)
    }

    fn fold(&mut self, now: Timestamp, hash: u64, source: u32) -> u32 {
        self.folded += u64::from(self.folded_keys.insert(now, hash));
        let other = self.hasher.hash_one((source, OTHER));
        self.find(other, source, OTHER).unwrap_or_else(|| self.put(None, source, OTHER))
    }

    /// A new server, in the place of one that is forgotten or in one more.
    fn put(&mut self, place: Option<usize>, source: u32, label: &str) -> u32 {
        let server = Server {
            source,
            label: label.into(),
            live: 0,
            records: 0,
            closed: Tally::default(),
            last_seen: Timestamp::ZERO,
            oldest_key: Timestamp::MAX,
        };
        let at = place.unwrap_or(self.slots.len());
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        match self.slots.get_mut(at) {
            Some(slot) => {
                let old = std::mem::replace(slot, server);
                let hash = self.hasher.hash_one((old.source, &*old.label));
                if let Ok(entry) = self.by_name.find_entry(hash, |&found| found == number) {
                    entry.remove();
                }
            }
            None => self.slots.push(server),
        }
        let (hasher, slots) = (&self.hasher, &self.slots);
        let hash_of = |&at: &u32| {
            let server: &Server = &slots[at as usize];
            hasher.hash_one((server.source, &*server.label))
        };
        self.by_name.insert_unique(hash_of(&number), number, hash_of);
        number
    }

    pub(super) fn get_mut(&mut self, at: u32) -> &mut Server {
        &mut self.slots[at as usize]
    }

    pub(super) fn label(&self, at: u32) -> Arc<str> {
        self.slots.get(at as usize).map_or_else(|| "".into(), |server| Arc::clone(&server.label))
    }

    pub(super) fn of_source(&mut self, source: u32) -> impl Iterator<Item = &mut Server> {
        self.slots.iter_mut().filter(move |server| server.source == source)
    }

    pub(super) fn all(&self) -> &[Server] {
        &self.slots
    }

    pub(super) const fn folded(&self) -> u64 {
        self.folded
    }
}

/// `192.0.2.7:3478` without its port, `[::1]:3478` likewise with its brackets; empty where the status told none.
fn host_of(local: &[u8]) -> Cow<'_, str> {
    let host = local.iter().rposition(|&b| b == b':').and_then(|at| local.get(..at));
    String::from_utf8_lossy(host.unwrap_or(local))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms_past_the_cap_share_a_group_but_not_an_identity() {
        let mut realms = Realms::new(2, &[b"first".to_vec()]);
        let (a, b, c) = (realms.acquire(b"second"), realms.acquire(b"third"), realms.acquire(b"fourth"));
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
        let at = realms.acquire(wanted.as_bytes());
        assert_eq!(realms.label_of(at), wanted);
        // U+FFFD takes three bytes.
        let (fits, broken) = ("a".repeat(MAX_LABEL), [0xff; MAX_LABEL / 3 + 1]);
        for (name, label, folded) in [
            (fits.as_bytes(), &*fits, 0),
            ("a".repeat(MAX_LABEL + 1).as_bytes(), OTHER, 1),
            (&broken[1..], &*"\u{fffd}".repeat(MAX_LABEL / 3), 1),
            (&broken, OTHER, 2),
        ] {
            let at = realms.acquire(name);
            assert_eq!((realms.label_of(at), realms.folded()), (label, folded));
        }
        let labels: Vec<_> = realms.groups().iter().map(|group| group.label.len()).collect();
        assert_eq!(labels, [wanted.len(), fits.len(), OTHER.len(), 3 * (MAX_LABEL / 3)]);
    }

    #[test]
    fn a_realm_goes_with_its_last_record() {
        let mut realms = Realms::new(10, &[]);
        let at = realms.acquire(b"r");
        assert_eq!(realms.acquire(b"r"), at);
        realms.release(at);
        assert_eq!(realms.name(at), b"r");
        realms.release(at);
        assert_eq!(realms.slots.len(), 0);
        assert_eq!(realms.groups().len(), 1);
    }

    #[test]
    fn broken_utf8_shares_one_label() {
        let mut realms = Realms::new(10, &[]);
        let (a, b) = (realms.acquire(b"\xff"), realms.acquire(b"\xfe"));
        assert_ne!(a, b);
        assert_eq!(realms.groups().len(), 1);
    }

    #[test]
    fn servers_go_by_address_without_port() {
        let rows: [(&[u8], &str); 5] = [
            (b"192.0.2.7:3478", "192.0.2.7"),
            (b"[::1]:3478", "[::1]"),
            (b"", ""),
            (b"nonsense", "nonsense"),
            (b"\xff:1", "\u{fffd}"),
        ];
        for (local, host) in rows {
            assert_eq!(host_of(local), host);
        }
    }

    #[test]
    fn servers_past_the_cap_share_one() {
        let mut servers = Servers::new(1);
        let now = Timestamp::from_millis(1);
        let a = servers.meet(now, 0, b"a:1");
        assert_eq!(servers.meet(now, 0, b"a:2"), a);
        let b = servers.meet(now, 0, b"b:1");
        assert_eq!(servers.meet(now, 0, b"c:1"), b);
        assert_eq!(&*servers.get_mut(b).label, OTHER);
        assert_eq!(servers.meet(now, 0, b"c:9"), b);
        assert_eq!(servers.folded(), 2, "each address once");
    }

    #[test]
    fn a_long_address_is_no_label() {
        let mut servers = Servers::new(9);
        let now = Timestamp::from_millis(1);
        let long = servers.meet(now, 0, &[b'a'; MAX_LABEL + 1]);
        assert_eq!((&*servers.label(long), servers.folded()), (OTHER, 1));
        let fits = servers.meet(now, 0, &[b'a'; MAX_LABEL]);
        assert_eq!((servers.label(fits).len(), servers.folded()), (MAX_LABEL, 1));
    }

    #[test]
    fn a_forgotten_server_gives_its_place_away() {
        let mut servers = Servers::new(1);
        let first = servers.meet(Timestamp::from_millis(1), 0, b"a:1");
        let later = Timestamp::from_millis(2).plus(SERVER_MEMORY);
        servers.get_mut(first).records = 1;
        let second = servers.meet(later, 0, b"b:1");
        assert_eq!(&*servers.get_mut(second).label, OTHER, "a record still names the first");
        servers.get_mut(first).records = 0;
        assert_eq!(servers.meet(later, 0, b"c:1"), first);
        assert_eq!(&*servers.get_mut(first).label, "c");
    }
}
