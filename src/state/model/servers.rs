//! Servers, by source and address, with their series.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;

use super::allocation::Cause;
use super::counts::Counts;
use super::ids::{ServerId, SourceId};
use super::key_ids::KeyIds;
use super::label::{MAX_LABEL, OTHER};
use super::seen_ids::SeenIds;
use crate::clock::Timestamp;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::image::{Persist, persist};
use crate::state::storage::recent_keys::RecentKeys;

/// A server without live allocations is forgotten so long after its last sign.
pub(crate) const SERVER_MEMORY: Duration = Duration::from_secs(24 * 3600);

/// A coturn, by the address its clients reach it at.
#[derive(Clone, Debug)]
pub(crate) struct TurnServer {
    pub(crate) source: SourceId,
    pub(crate) label: Arc<str>,
    pub(crate) live: u64,
    /// Records of the table that name it.
    pub(crate) records: u32,
    pub(crate) closed: Counts<{ Cause::ALL.len() }>,
    /// When its series began.
    pub(crate) created: Timestamp,
    pub(crate) last_seen: Timestamp,
    /// When the oldest of its keys was set that the present scan found.
    pub(crate) oldest_key: Timestamp,
}

impl TurnServer {
    pub(crate) fn is_forgotten(&self, now: Timestamp) -> bool {
        self.live == 0 && now.since(self.last_seen) > SERVER_MEMORY
    }
}

/// Servers by source and address, up to the cap; `_other` takes the rest. One that is forgotten gives its place away.
#[derive(Debug)]
pub(crate) struct Servers {
    hasher: ahash::RandomState,
    /// Places in `slots`, by what stands there: a status, which comes often, is looked up as it was read.
    by_name: HashTable<ServerId>,
    slots: Vec<TurnServer>,
    max: usize,
    /// Numbers of addresses that were folded, so that each counts once.
    folded_keys: RecentKeys,
    folded: u64,
    /// Ids that statuses of each server had.
    pub(crate) ids: SeenIds,
}

impl Servers {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            hasher: ahash::RandomState::new(),
            by_name: HashTable::new(),
            slots: Vec::new(),
            max,
            folded_keys: RecentKeys::default(),
            folded: 0,
            ids: SeenIds::default(),
        }
    }

    /// So many servers have series of their own from now on; those that have keep them.
    pub(crate) const fn set_limit(&mut self, max: usize) {
        self.max = max;
    }

    /// The number of the server at `local` (its port is left out), met in a status just now.
    pub(crate) fn meet(&mut self, now: Timestamp, ids: &KeyIds, source: SourceId, local: &[u8]) -> ServerId {
        let at = self.find_or_admit(now, ids, source, &host_of(local));
        let server = self.get_mut(at);
        if server.is_forgotten(now) {
            // Its series have left the page; they begin anew.
            (server.closed, server.created) = (Counts::default(), now);
        }
        server.last_seen = now;
        at
    }

    /// The number of the server of this label, last seen at `seen`. Of a new table.
    pub(crate) fn recall(
        &mut self,
        (now, seen): (Timestamp, Timestamp),
        ids: &KeyIds,
        source: SourceId,
        label: &str,
    ) -> ServerId {
        let at = self.find_or_admit(seen, ids, source, label);
        let server = self.get_mut(at);
        (server.last_seen, server.created) = (server.last_seen.max(seen), now);
        at
    }

    fn find_or_admit(&mut self, now: Timestamp, ids: &KeyIds, source: SourceId, label: &str) -> ServerId {
        let hash = self.hasher.hash_one((source, label));
        self.find(hash, source, label).unwrap_or_else(|| self.admit(now, ids, source, label))
    }

    fn find(&self, hash: u64, source: SourceId, label: &str) -> Option<ServerId> {
        let is_it = |server: &TurnServer| server.source == source && *server.label == *label;
        self.by_name.find(hash, |&at| is_it(&self.slots[at.0 as usize])).copied()
    }

    fn admit(&mut self, now: Timestamp, ids: &KeyIds, source: SourceId, label: &str) -> ServerId {
        if label.len() > MAX_LABEL {
            return self.fold(now, ids.of_server(source, label), source);
        }
        if self.slots.len() < self.max {
            return self.put(None, now, source, label);
        }
        let free = self.slots.iter().position(|server| server.records == 0 && server.is_forgotten(now));
        if let Some(free) = free {
            return self.put(Some(free), now, source, label);
        }
        self.fold(now, ids.of_server(source, label), source)
    }

    fn fold(&mut self, now: Timestamp, id: u64, source: SourceId) -> ServerId {
        self.folded += u64::from(self.folded_keys.insert(now, id));
        let other = self.hasher.hash_one((source, OTHER));
        self.find(other, source, OTHER).unwrap_or_else(|| self.put(None, now, source, OTHER))
    }

    /// A new server, in the place of one that is forgotten or in one more.
    fn put(&mut self, place: Option<usize>, created: Timestamp, source: SourceId, label: &str) -> ServerId {
        let server = TurnServer {
            source,
            label: label.into(),
            live: 0,
            records: 0,
            closed: Counts::default(),
            created,
            last_seen: Timestamp::ZERO,
            oldest_key: Timestamp::MAX,
        };
        let at = place.unwrap_or(self.slots.len());
        let number = ServerId(u32::try_from(at).unwrap_or(u32::MAX));
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
        let hash_of = |&at: &ServerId| {
            let server: &TurnServer = &slots[at.0 as usize];
            hasher.hash_one((server.source, &*server.label))
        };
        self.by_name.insert_unique(hash_of(&number), number, hash_of);
        number
    }

    pub(crate) fn get_mut(&mut self, at: ServerId) -> &mut TurnServer {
        &mut self.slots[at.0 as usize]
    }

    pub(crate) fn get(&self, at: ServerId) -> &TurnServer {
        &self.slots[at.0 as usize]
    }

    pub(crate) fn label(&self, at: ServerId) -> Arc<str> {
        self.slots.get(at.0 as usize).map_or_else(|| "".into(), |server| Arc::clone(&server.label))
    }

    pub(crate) fn of_source(&mut self, source: SourceId) -> impl Iterator<Item = &mut TurnServer> {
        self.slots.iter_mut().filter(move |server| server.source == source)
    }

    pub(crate) fn all(&self) -> &[TurnServer] {
        &self.slots
    }

    pub(crate) const fn folded(&self) -> u64 {
        self.folded
    }
}

/// `192.0.2.7:3478` without its port, `[::1]:3478` likewise with its brackets; empty where the status has none.
fn host_of(local: &[u8]) -> Cow<'_, str> {
    let host = local.iter().rposition(|&b| b == b':').and_then(|at| local.get(..at));
    String::from_utf8_lossy(host.unwrap_or(local))
}

persist! {
    TurnServer { source, label, live, records, closed, since 2 created = Timestamp::ZERO, last_seen, oldest_key }
}

impl Servers {
    /// The same once more, to be written only.
    pub(crate) fn share(&mut self) -> Self {
        let Self { hasher, by_name: _, slots, max, folded_keys, folded, ids } = self;
        Self {
            hasher: hasher.clone(),
            by_name: HashTable::new(),
            slots: slots.clone(),
            max: *max,
            folded_keys: folded_keys.share(),
            folded: *folded,
            ids: ids.share(),
        }
    }

    /// Whether the server is there.
    pub(crate) fn check(&self, at: ServerId) -> Result<(), Unreadable> {
        let there = self.slots.get(at.0 as usize);
        there.map(|_| ()).ok_or(Unreadable::Malformed("a server is not there"))
    }
}

impl Persist for Servers {
    fn write(&self, to: &mut ImageWriter<'_>) {
        let Self { hasher: _, by_name: _, slots, max, folded_keys, folded, ids } = self;
        to.list(slots.len(), slots);
        max.write(to);
        folded_keys.write(to);
        folded.write(to);
        ids.write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        let mut servers = Self::new(0);
        from.list(|server| servers.slots.push(server))?;
        let (hasher, slots) = (&servers.hasher, &servers.slots);
        let hash_of = |&at: &ServerId| {
            let server: &TurnServer = &slots[at.0 as usize];
            hasher.hash_one((server.source, &*server.label))
        };
        for at in (0..).map(ServerId).take(slots.len()) {
            servers.by_name.insert_unique(hash_of(&at), at, hash_of);
        }
        servers.max = Persist::read(from)?;
        servers.folded_keys = Persist::read(from)?;
        servers.folded = Persist::read(from)?;
        servers.ids = Persist::read(from)?;
        Ok(servers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: KeyIds = KeyIds::with([1, 2]);

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
        let a = servers.meet(now, &IDS, SourceId(0), b"a:1");
        assert_eq!(servers.meet(now, &IDS, SourceId(0), b"a:2"), a);
        let b = servers.meet(now, &IDS, SourceId(0), b"b:1");
        assert_eq!(servers.meet(now, &IDS, SourceId(0), b"c:1"), b);
        assert_eq!(&*servers.get_mut(b).label, OTHER);
        assert_eq!(servers.meet(now, &IDS, SourceId(0), b"c:9"), b);
        assert_eq!(servers.folded(), 2, "each address once");
    }

    #[test]
    fn a_long_address_is_no_label() {
        let mut servers = Servers::new(9);
        let now = Timestamp::from_millis(1);
        let long = servers.meet(now, &IDS, SourceId(0), &[b'a'; MAX_LABEL + 1]);
        assert_eq!((&*servers.label(long), servers.folded()), (OTHER, 1));
        let fits = servers.meet(now, &IDS, SourceId(0), &[b'a'; MAX_LABEL]);
        assert_eq!((servers.label(fits).len(), servers.folded()), (MAX_LABEL, 1));
    }

    #[test]
    fn a_forgotten_server_gives_its_place_away() {
        let mut servers = Servers::new(1);
        let first = servers.meet(Timestamp::from_millis(1), &IDS, SourceId(0), b"a:1");
        let later = Timestamp::from_millis(2).plus(SERVER_MEMORY);
        servers.get_mut(first).records = 1;
        let second = servers.meet(later, &IDS, SourceId(0), b"b:1");
        assert_eq!(&*servers.get_mut(second).label, OTHER, "a record still names the first");
        servers.get_mut(first).records = 0;
        assert_eq!(servers.meet(later, &IDS, SourceId(0), b"c:1"), first);
        assert_eq!(&*servers.get_mut(first).label, "c");
    }
}
