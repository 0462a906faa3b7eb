//! The last hour as points in memory, and what is counted between two of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::state::{Cause, Orphan, RealmView, Snapshot};
use crate::wire::{ByLeg, Traffic};

/// Between two points.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Points kept: an hour.
pub const POINTS: usize = 360;

/// Realms with points of their own.
pub const REALMS: usize = 16;

/// Rates are means over so many points: coturn reports every 4096 packets, which takes a call of two people most of a
/// minute.
const SMOOTHED: usize = 6;

/// What is drawn of a realm, or of all of them, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) live: u32,
    pub(super) sessions: u32,
    /// Orphans, by [`Orphan`].
    pub(super) orphans: [u32; Orphan::ALL.len()],
    /// Payload since the point before, in bytes.
    pub(super) to_clients: u64,
    pub(super) to_peers: u64,
}

/// One moment of all realms together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) at: Timestamp,
    pub(super) all: Figures,
    /// Ends since the point before, by [`Cause`].
    pub(super) ended: [u32; Cause::ALL.len()],
}

/// The points of one realm; the last of them belongs to the last point of all.
#[derive(Clone, Debug)]
pub(super) struct RealmHistory {
    pub(super) label: Arc<str>,
    pub(super) figures: VecDeque<Figures>,
}

/// What a realm had counted at the last look.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    payload: Payload,
    closed: [u64; Cause::ALL.len()],
}

/// Bytes on the peer leg, which is the payload. coturn before 4.5.1.2 does not report it: there the client leg stands in,
/// on which the directions are the other way round.
#[derive(Clone, Copy, Debug, Default)]
struct Payload {
    to_clients: u64,
    to_peers: u64,
}

/// A realm at one look.
#[derive(Clone, Copy, Debug)]
struct Present<'a> {
    label: &'a Arc<str>,
    figures: Figures,
    /// It was not there at the look before.
    is_new: bool,
}

/// What becomes of the point of a look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LookKind {
    /// It stays: one every [`INTERVAL`].
    #[default]
    Regular,
    /// The point of the next look takes its place.
    Between,
}

/// The last hour.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    points: VecDeque<Point>,
    /// Of the look that the last point belongs to.
    last: LookKind,
    realms: Vec<RealmHistory>,
    /// At the last regular look. `None` before the first: what was counted before it belongs to no interval.
    before: Option<BTreeMap<Arc<str>, Counted>>,
}

impl History {
    /// Takes the point of a moment. One that is not later than the last is left out.
    pub(super) fn add(&mut self, snapshot: &Snapshot, kind: LookKind) {
        if self.points.back().is_some_and(|last| last.at >= snapshot.now) {
            return;
        }
        if std::mem::replace(&mut self.last, kind) == LookKind::Between {
            self.points.pop_back();
            for realm in &mut self.realms {
                realm.figures.pop_back();
            }
        }
        let mut all = Figures::default();
        let mut ended = [0_u32; Cause::ALL.len()];
        let mut counted = BTreeMap::new();
        let mut present = Vec::with_capacity(snapshot.realms.len());
        for realm in &snapshot.realms {
            let now = Counted::of(realm);
            // A realm that is new began at 0.
            let before = self.before.as_ref().map(|before| before.get(&realm.label).copied());
            let before = before.map_or(now, Option::unwrap_or_default);
            let figures = now.since(before, realm);
            all.add(figures);
            for (sum, (now, before)) in ended.iter_mut().zip(now.closed.into_iter().zip(before.closed)) {
                *sum = sum.saturating_add(small(now.saturating_sub(before)));
            }
            counted.insert(Arc::clone(&realm.label), now);
            let is_new = self.before.as_ref().is_some_and(|before| !before.contains_key(&realm.label));
            present.push(Present { label: &realm.label, figures, is_new });
        }
        if kind == LookKind::Regular {
            self.before = Some(counted);
        }
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points.push_back(Point { at: snapshot.now, all, ended });
        self.add_to_realms(&present);
    }

    fn add_to_realms(&mut self, present: &[Present<'_>]) {
        for known in &mut self.realms {
            let now = present.iter().find(|one| *one.label == known.label);
            known.push(now.map(|one| one.figures).unwrap_or_default());
        }
        let is_known = |one: &&Present<'_>| self.realms.iter().any(|realm| realm.label == *one.label);
        let mut others: Vec<_> = present.iter().filter(|one| !is_known(one)).copied().collect();
        others.sort_by_key(|one| std::cmp::Reverse(one.figures.live));
        for Present { label, figures, is_new } in others {
            if self.realms.len() == REALMS {
                // The one that was smallest within the hour gives way to one that is larger now.
                let smallest = self.realms.iter().enumerate().min_by_key(|(_, realm)| realm.peak());
                let Some((at, peak)) = smallest.map(|(at, realm)| (at, realm.peak())) else { return };
                if peak >= figures.live {
                    return;
                }
                self.realms.swap_remove(at);
            }
            let mut realm = RealmHistory { label: Arc::clone(label), figures: VecDeque::new() };
            if is_new {
                // At the point before, there was nothing of it.
                realm.push(Figures::default());
            }
            realm.push(figures);
            self.realms.push(realm);
        }
    }

    pub(super) const fn points(&self) -> &VecDeque<Point> {
        &self.points
    }

    /// The largest realms of the hour, by what is live now, then by name.
    pub(super) fn realms(&self) -> Vec<&RealmHistory> {
        let mut realms: Vec<_> = self.realms.iter().collect();
        realms.sort_by(|a, b| b.now().live.cmp(&a.now().live).then_with(|| a.label.cmp(&b.label)));
        realms
    }

    /// Times of the last points, as many as a realm has.
    pub(super) fn times(&self, count: usize) -> impl Iterator<Item = Timestamp> + '_ {
        self.points.iter().skip(self.points.len().saturating_sub(count)).map(|point| point.at)
    }

    /// Ends of the hour, by [`Cause`].
    pub(super) fn ended(&self) -> [u64; Cause::ALL.len()] {
        let mut sums = [0_u64; Cause::ALL.len()];
        for point in &self.points {
            for (sum, count) in sums.iter_mut().zip(point.ended) {
                *sum += u64::from(count);
            }
        }
        sums
    }

    /// Bits per second at each of the last points: the mean of the minute before it. `bytes` are those since the point
    /// before.
    pub(super) fn rates(&self, bytes: &[u64]) -> Vec<u64> {
        let times: Vec<Timestamp> = self.times(bytes.len()).collect();
        (0..bytes.len())
            .map(|at| {
                // The first has no point before it, and so no bytes.
                let from = at.saturating_sub(SMOOTHED);
                let sum: u64 = bytes.iter().take(at + 1).skip(from + 1).sum();
                let (Some(end), Some(begin)) = (times.get(at), times.get(from)) else { return 0 };
                let millis = u64::try_from(end.since(*begin).as_millis()).unwrap_or(u64::MAX);
                sum.saturating_mul(8000).checked_div(millis).unwrap_or(0)
            })
            .collect()
    }
}

impl RealmHistory {
    fn push(&mut self, figures: Figures) {
        if self.figures.len() == POINTS {
            self.figures.pop_front();
        }
        self.figures.push_back(figures);
    }

    pub(super) fn now(&self) -> Figures {
        self.figures.back().copied().unwrap_or_default()
    }

    /// The most allocations within the hour.
    pub(super) fn peak(&self) -> u32 {
        self.figures.iter().map(|figures| figures.live).max().unwrap_or(0)
    }
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.live = self.live.saturating_add(other.live);
        self.sessions = self.sessions.saturating_add(other.sessions);
        for (sum, count) in self.orphans.iter_mut().zip(other.orphans) {
            *sum = sum.saturating_add(count);
        }
        self.to_clients = self.to_clients.saturating_add(other.to_clients);
        self.to_peers = self.to_peers.saturating_add(other.to_peers);
    }

    /// What is left without another's.
    pub(super) fn without(self, other: Self) -> Self {
        let mut left = self;
        left.live = left.live.saturating_sub(other.live);
        left.sessions = left.sessions.saturating_sub(other.sessions);
        for (count, other) in left.orphans.iter_mut().zip(other.orphans) {
            *count = count.saturating_sub(other);
        }
        left.to_clients = left.to_clients.saturating_sub(other.to_clients);
        left.to_peers = left.to_peers.saturating_sub(other.to_peers);
        left
    }

    /// Live allocations that a client refreshes without using them; what is overdue is not live, and not among them.
    pub(super) fn leaked(self) -> u64 {
        self.orphans.get(Orphan::Idle as usize).copied().unwrap_or(0).into()
    }
}

impl Counted {
    fn of(realm: &RealmView) -> Self {
        let mut closed = [0; Cause::ALL.len()];
        for (at, count) in closed.iter_mut().enumerate() {
            *count = realm.series.closed.get(at);
        }
        Self { payload: Payload::of(&realm.series.relayed), closed }
    }

    fn since(self, before: Self, realm: &RealmView) -> Figures {
        let mut orphans = [0; Orphan::ALL.len()];
        for (at, count) in orphans.iter_mut().enumerate() {
            *count = small(realm.series.orphans.get(at));
        }
        Figures {
            live: small(realm.series.live.total()),
            sessions: small(realm.series.sessions),
            orphans,
            to_clients: self.payload.to_clients.saturating_sub(before.payload.to_clients),
            to_peers: self.payload.to_peers.saturating_sub(before.payload.to_peers),
        }
    }
}

impl Payload {
    fn of(relayed: &ByLeg<Traffic>) -> Self {
        let ByLeg { client, peer } = relayed;
        if *peer == Traffic::ZERO {
            Self { to_clients: client.sent.bytes, to_peers: client.received.bytes }
        } else {
            Self { to_clients: peer.received.bytes, to_peers: peer.sent.bytes }
        }
    }
}

fn small(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
