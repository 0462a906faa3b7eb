//! The connections of coturn's own that report allocations straight to us, and what it means when one closes.
//!
//! A relay thread of coturn has one connection and reports all of its allocations over it; other threads hold idle ones.
//! So a key on two open connections is two servers', and a process that dies takes its connections and its allocations
//! along. But proxies, NAT and load balancers close idle connections of a coturn that lives: it connects again, at once
//! the first time and with its next event later (every version up to 4.17.1). [`StatsdbConnections::verdict`] tells the two
//! apart.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::allocation::Allocation;
use super::ids::{ConnectionId, Mark, Marks, ServerId, SourceId};
use crate::clock::Timestamp;
use crate::state::image::{persist, persist_words};
use crate::state::storage::queue::Queue;
use crate::state::storage::slab_map::SlabMap;

/// How long after a connection has closed it is judged: its process' other connections close, or
/// come again, within this.
pub const VERDICT_AFTER: Duration = Duration::from_secs(1);

/// Connections that close within so long of one another closed at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Idle times that differ by no more than this are equal, and no device cuts a connection that was idle for less than
/// [`SHORTEST_CUT`].
const EQUALLY_IDLE: Duration = Duration::from_millis(500);

/// See [`EQUALLY_IDLE`].
const SHORTEST_CUT: Duration = Duration::from_secs(1);

/// How long a closed connection is evidence.
const EVIDENCE: Duration = Duration::from_secs(5);

/// Closed connections, and addresses of which something is remembered, are bounded by this each.
const MAX_REMEMBERED: usize = 4096;

/// How long an address whose connections were closed while its coturn lived is not judged by closed connections.
const DISTRUST: Duration = Duration::from_secs(24 * 3600);

/// Connections of which it is remembered that they were interrupted: beyond that the oldest are forgotten.
const MAX_INTERRUPTED: usize = 65_536;

/// Servers remembered for each connection: the addresses that one process listens on for clients.
const MAX_SERVERS: usize = 16;

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// The other end closed it: its process, or a device on the way.
    Peer,
    /// We closed it, or it was lost, or the link is one on which a closed connection says nothing about its process.
    Other,
}

/// What a closed connection says about the process that held it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessVerdict {
    /// It lives, or there is no telling: its allocations stay until they are due.
    Lives,
    /// It died: its allocations ended with it.
    Died,
    /// It died, and a new process has started at its address.
    Restarted,
}

/// Connections that ended with their processes.
#[derive(Clone, Debug, Default)]
pub struct EndedConnections(pub(in crate::state) HashMap<Mark, ProcessVerdict, ahash::RandomState>);

impl EndedConnections {
    /// Adds one, unless its process lives.
    pub fn insert(&mut self, connection: ConnectionId, verdict: ProcessVerdict) {
        if verdict != ProcessVerdict::Lives {
            self.0.insert(connection.0, verdict);
        }
    }

    /// All of them, in the order of their numbers.
    pub(in crate::state) fn in_order(&self) -> Vec<(Mark, ProcessVerdict)> {
        let mut all: Vec<_> = self.0.iter().map(|(&mark, &verdict)| (mark, verdict)).collect();
        all.sort_by_key(|(mark, _)| mark.number());
        all
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where a connection comes from.
type Peer = (SourceId, IpAddr);

/// What is known of a connection.
#[derive(Clone, Debug)]
struct ConnectionFacts {
    peer: Peer,
    opened: Timestamp,
    /// When the last bytes came.
    active: Timestamp,
    /// It has reported allocations.
    reports: bool,
    /// When it said what a coturn says when its process starts, and only then.
    started: Option<Timestamp>,
    /// The servers that it has reported, by number and port: the addresses that its process listens on.
    servers: Vec<(ServerId, u16)>,
    /// Live records that it reported last.
    live: usize,
}

impl ConnectionFacts {
    /// Both report allocations of one server address, or neither says which: coturn before 4.6 does not.
    fn is_of_process_of(&self, other: &Self) -> bool {
        let are_unknown = self.servers.is_empty() && other.servers.is_empty();
        self.reports
            && other.reports
            && (are_unknown || self.servers.iter().any(|server| other.servers.contains(server)))
    }
}

#[derive(Clone, Debug)]
struct Closed {
    mark: Mark,
    facts: ConnectionFacts,
    at: Timestamp,
    by: ClosedBy,
}

impl Closed {
    /// For how long nothing had come over it.
    fn idle(&self) -> Duration {
        self.at.since(self.facts.active)
    }
}

/// The connections that are open, those that closed just now, and the one whose event is being applied.
#[derive(Debug)]
pub(crate) struct StatsdbConnections {
    marks: Marks,
    /// The connection whose event is being applied; `None` where it comes from a Redis.
    pub(crate) current: Option<Mark>,
    open: SlabMap<Mark, ConnectionFacts>,
    /// In the order of their ends.
    closed: Queue<Closed>,
    /// Addresses whose connections were closed though their coturn lived, and until when that is remembered.
    distrusted: SlabMap<Peer, Timestamp>,
    /// When a connection was interrupted, or one whose allocations it has taken over.
    interrupted: SlabMap<Mark, Timestamp>,
    /// The keys of `interrupted`, the oldest first.
    interruptions: Queue<Mark>,
}

impl Default for StatsdbConnections {
    fn default() -> Self {
        Self {
            marks: Marks::new(),
            current: None,
            open: SlabMap::default(),
            closed: Queue::new(),
            distrusted: SlabMap::default(),
            interrupted: SlabMap::default(),
            interruptions: Queue::new(),
        }
    }
}

impl StatsdbConnections {
    /// A mark for a connection, or for a scan.
    pub(crate) fn next_mark(&mut self) -> Mark {
        self.marks.next()
    }

    /// A connection from `peer` is open.
    pub(crate) fn open(&mut self, now: Timestamp, peer: Peer) -> Mark {
        let mark = self.next_mark();
        let (reports, started, servers) = (false, None, Vec::new());
        let facts = ConnectionFacts { peer, opened: now, active: now, reports, started, servers, live: 0 };
        self.open.insert(mark, facts);
        mark
    }

    /// Bytes came over the connection.
    pub(crate) fn note_activity(&mut self, now: Timestamp, mark: Mark) {
        if let Some(facts) = self.open.get_mut(&mark) {
            facts.active = now;
        }
    }

    /// The connection said what a coturn says when its process starts.
    pub(crate) fn note_start(&mut self, now: Timestamp, mark: Mark) {
        if let Some(facts) = self.open.get_mut(&mark) {
            facts.started = Some(now);
        }
    }

    /// An event of this connection is being applied, until [`Self::end_event`].
    pub(crate) fn begin_event(&mut self, mark: Mark) {
        self.current = Some(mark);
        if let Some(facts) = self.open.get_mut(&mark) {
            facts.reports = true;
        }
    }

    /// A live record of this mark is there.
    pub(crate) fn count_live(&mut self, mark: Option<Mark>) {
        if let Some(facts) = mark.and_then(|mark| self.open.get_mut(&mark)) {
            facts.live += 1;
        }
    }

    /// A live record of this mark is live no more, or another connection reports it now.
    pub(crate) fn uncount_live(&mut self, mark: Option<Mark>) {
        if let Some(facts) = mark.and_then(|mark| self.open.get_mut(&mark)) {
            facts.live -= 1;
        }
    }

    /// Whether the connection of the present event has its part of a table with `places`, of which `live` are taken, and
    /// what is left is kept for the other connections: a quarter of all places, in equal parts.
    pub(crate) fn is_over_share(&self, live: usize, places: usize) -> bool {
        let kept = places / 4;
        let current = self.current.and_then(|mark| Some((mark, self.open.get(&mark)?)));
        // While there is more room than that, nobody needs to be counted.
        let Some((mark, facts)) = current.filter(|_| live + kept >= places) else { return false };
        let reporting = || self.open.iter().filter(|(_, facts)| facts.reports);
        let share = kept / reporting().count().max(1);
        let of_others = || reporting().filter(|(other, _)| **other != mark);
        facts.live >= share
            && live + of_others().map(|(_, other)| share.saturating_sub(other.live)).sum::<usize>() >= places
    }

    /// Live records that each open connection reported last, for an audit.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn live_by_mark(&self) -> impl Iterator<Item = (Mark, usize)> {
        self.open.iter().map(|(mark, facts)| (*mark, facts.live))
    }

    pub(crate) const fn end_event(&mut self) {
        self.current = None;
    }

    /// The connection is gone. Gives whether it has reported any allocations.
    pub(crate) fn close(&mut self, now: Timestamp, mark: Mark, by: ClosedBy) -> bool {
        let Some(facts) = self.open.remove(&mark) else { return false };
        let reports = facts.reports;
        self.forget_old(now);
        self.closed.push_back(Closed { mark, facts, at: now, by });
        reports
    }

    /// The process has ended: its connections are gone, and nobody will judge those that closed.
    pub(crate) fn forget_all(&mut self) {
        (self.open, self.closed) = (SlabMap::default(), Queue::new());
    }

    /// The listener that has this open connection.
    pub(crate) fn open_source(&self, mark: Mark) -> Option<SourceId> {
        self.open.get(&mark).map(|facts| facts.peer.0)
    }

    /// Where a connection that closed just now came from, and how many live allocations it had reported.
    pub(crate) fn closed_peer(&self, mark: Mark) -> Option<(Peer, u64)> {
        let closed = self.closed.iter().find(|closed| closed.mark == mark)?;
        Some((closed.facts.peer, closed.facts.live as u64))
    }

    /// Whether the record is one that the connection of the present event reports.
    pub(crate) fn is_own(&self, allocation: &Allocation) -> bool {
        self.current.is_none() || allocation.mark == self.current
    }

    /// Whether the record has lost its connection, and that of the present event may be the same server's.
    pub(crate) fn may_be_taken_over(&self, allocation: &Allocation) -> bool {
        allocation.mark.is_none_or(|mark| !self.open.contains_key(&mark))
    }

    /// Whether the connection of the present event may report the record: it has before, or nobody else does.
    pub(crate) fn may_be_own(&self, allocation: &Allocation) -> bool {
        self.is_own(allocation) || self.may_be_taken_over(allocation)
    }

    /// The connection of the present event reports a status of a server.
    pub(crate) fn note_server(&mut self, server: ServerId, port: u16) {
        if let Some(current) = self.current
            && let Some(facts) = self.open.get_mut(&current)
            && !facts.servers.contains(&(server, port))
            && facts.servers.len() < MAX_SERVERS
        {
            facts.servers.push((server, port));
        }
    }

    /// What the closed connection says about its process, once [`VERDICT_AFTER`] has passed.
    ///
    /// - A new connection from its address that says what a starting coturn says: the process was restarted.
    /// - Another new connection from its address that stays, or an open one that reports the same server: it lives.
    /// - A process that dies closes all of its connections at once, however long each was idle. A device that cuts idle
    ///   ones closes each after the same idle time. So connections that closed at once after different idle times, or a
    ///   moment after their last bytes, are a death; all else is uncertain, and is none.
    // docs/semantics.md#what-shows-that-a-process-ended
    pub(crate) fn verdict(&self, mark: Mark, now: Timestamp) -> ProcessVerdict {
        let Some(gone) = self.closed.iter().find(|closed| closed.mark == mark) else {
            return ProcessVerdict::Lives;
        };
        let peer = gone.facts.peer;
        if gone.by != ClosedBy::Peer || self.distrusted.get(&peer).is_some_and(|&until| now < until) {
            return ProcessVerdict::Lives;
        }
        let of_peer = |facts: &&ConnectionFacts| facts.peer == peer;
        let open = || self.open.values().filter(of_peer);
        let closed = || self.closed.iter().filter(|closed| closed.facts.peer == peer);
        let mut starts = open().chain(closed().map(|closed| &closed.facts)).filter_map(|facts| facts.started);
        if starts.any(|started| gone.at.since(started) <= AT_ONCE) {
            return ProcessVerdict::Restarted;
        }
        if open().any(|facts| facts.opened > gone.at || facts.is_of_process_of(&gone.facts)) {
            return ProcessVerdict::Lives;
        }
        let at_once = || {
            let others = closed().filter(|closed| closed.facts.started.is_none());
            others.filter(|closed| gone.at.since(closed.at).max(closed.at.since(gone.at)) <= AT_ONCE)
        };
        // The threads that report nothing hold connections too. Those of this process did not close.
        let is_silent = |facts: &ConnectionFacts| !facts.reports;
        if open().any(is_silent) && !at_once().any(|closed| is_silent(&closed.facts)) {
            return ProcessVerdict::Lives;
        }
        let idle = gone.idle();
        let differ = |other: Duration| idle.abs_diff(other) > EQUALLY_IDLE;
        if idle < SHORTEST_CUT || at_once().any(|closed| differ(closed.idle())) {
            ProcessVerdict::Died
        } else {
            ProcessVerdict::Lives
        }
    }

    fn forget_old(&mut self, now: Timestamp) {
        while self.closed.len() > MAX_REMEMBERED
            || self.closed.front().is_some_and(|closed| now.since(closed.at) > EVIDENCE)
        {
            self.closed.pop_front();
        }
    }

    /// When the connection over which the record is reported was interrupted: what it reported before may be incomplete.
    /// [`Timestamp::ZERO`] if it was not.
    pub(crate) fn gap_of(&self, allocation: &Allocation) -> Timestamp {
        let gap = allocation.mark.and_then(|mark| self.interrupted.get(&mark));
        gap.copied().unwrap_or(Timestamp::ZERO)
    }

    /// What the connection reported up to `gap` may be incomplete.
    pub(crate) fn note_gap(&mut self, mark: Mark, gap: Timestamp) {
        if let Some(known) = self.interrupted.get_mut(&mark) {
            *known = gap.max(*known);
        } else {
            self.interrupted.insert(mark, gap);
            self.interruptions.push_back(mark);
        }
        if self.interruptions.len() > MAX_INTERRUPTED
            && let Some(oldest) = self.interruptions.pop_front()
        {
            self.interrupted.remove(&oldest);
        }
    }

    /// From now on closed connections from the address of the present event are no evidence. Gives the address if that is new.
    pub(crate) fn distrust_current(&mut self, now: Timestamp) -> Option<Peer> {
        let peer = self.open.get(&self.current?)?.peer;
        self.distrusted.retain(|_, until| now < *until);
        let is_new = !self.distrusted.contains_key(&peer) && self.distrusted.len() < MAX_REMEMBERED;
        if is_new {
            self.distrusted.insert(peer, now.plus(DISTRUST));
        }
        is_new.then_some(peer)
    }
}

persist_words! { ClosedBy { Peer = 0, Other = 1 } }
persist! { ConnectionFacts { peer, opened, active, reports, started, servers, live } }
persist! { Closed { mark, facts, at, by } }
persist! { StatsdbConnections { marks, current, open, closed, distrusted, interrupted, interruptions } }

impl StatsdbConnections {
    /// The same once more, to be written only.
    pub(crate) fn share(&mut self) -> Self {
        let Self { marks, current, open, closed, distrusted, interrupted, interruptions } = self;
        Self {
            marks: marks.clone(),
            current: *current,
            open: open.share(),
            closed: closed.share(),
            distrusted: distrusted.share(),
            interrupted: interrupted.share(),
            interruptions: interruptions.share(),
        }
    }
}
