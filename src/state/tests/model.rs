//! The rules of the design once more, the slow and simple way: a list, scanned for everything. What the table keeps
//! in step with heaps, rings and flags must come to the same numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::Cause;
use crate::clock::Timestamp;
use crate::wire::{AllocationId, Event, Grant, Key, Leg, Traffic, Volume};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Live,
    Closing {
        until: Timestamp,
        settled: [bool; 2],
        client_loss: Option<Traffic>,
    },
    Overdue {
        until: Timestamp,
    },
    /// Ended with its process.
    Gone {
        until: Timestamp,
    },
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the plain facts, as the rules name them")]
struct Record {
    realm: Vec<u8>,
    user: Vec<u8>,
    id: AllocationId,
    phase: Phase,
    born: bool,
    by_traffic: bool,
    /// Its status says which server it is of, which is the same for all.
    long_form: bool,
    /// Its coturn reports the peer leg.
    peer_leg: bool,
    started: Timestamp,
    last_sign: Timestamp,
    granted_at: Timestamp,
    lifetime: Duration,
    alive_until: Timestamp,
    release_pending: bool,
    overdue_orphan: bool,
    counted: [Traffic; 2],
}

/// Traffic that waits for its status, with the moment it waits until.
type Unclaimed = (Timestamp, Vec<u8>, Vec<u8>, AllocationId, Traffic);

/// What both must agree on, realm by realm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) live: u64,
    pub(super) opened: u64,
    pub(super) adopted: u64,
    pub(super) refreshes: u64,
    pub(super) closed: [u64; 6],
    pub(super) overdue: u64,
    pub(super) sessions: u64,
    pub(super) relayed: [Traffic; 2],
    pub(super) recovered: [Traffic; 2],
    pub(super) unseen: [Traffic; 2],
}

/// The model of a table with one source and one server.
#[derive(Debug, Default)]
pub(super) struct Model {
    now: Timestamp,
    up: bool,
    resumed_at: Timestamp,
    records: Vec<Record>,
    held: Vec<Unclaimed>,
    realms: BTreeMap<Vec<u8>, Numbers>,
    /// Ids of the present process in statuses of the long form, with the moments they were first seen at.
    ids: Vec<(AllocationId, Timestamp)>,
    last_status: Timestamp,
    /// Since when births may be those of a new process, the last status before them, and the highest id then.
    unsure: Option<(Timestamp, Timestamp, u64)>,
    /// Two processes share the server's address until then.
    rests_until: Timestamp,
    pub(super) unallocated: Traffic,
}

const GRACE: Duration = Duration::from_secs(90);
const UNKNOWN: Duration = Duration::from_secs(3600);

impl Model {
    pub(super) fn new() -> Self {
        Self { up: true, ..Self::default() }
    }

    pub(super) fn numbers(&self) -> BTreeMap<Vec<u8>, Numbers> {
        let mut all = self.realms.clone();
        for (realm, numbers) in &mut all {
            let of_realm = || self.records.iter().filter(|record| record.realm == *realm);
            let live = || of_realm().filter(|record| record.phase == Phase::Live);
            numbers.live = live().count() as u64;
            numbers.sessions = live().map(|record| &record.user).collect::<BTreeSet<_>>().len() as u64;
            numbers.overdue = of_realm().filter(|record| record.overdue_orphan).count() as u64;
        }
        all
    }

    pub(super) fn link_down(&mut self, now: Timestamp) {
        self.advance(now);
        self.up = false;
    }

    pub(super) fn link_up(&mut self, now: Timestamp) {
        self.advance(now);
        if !self.up {
            self.resumed_at = now;
        }
        self.up = true;
    }

    pub(super) fn advance(&mut self, now: Timestamp) {
        self.now = now;
        for at in 0..self.records.len() {
            let record = &self.records[at];
            let due = self.due(record);
            if record.phase == Phase::Live && self.up && now > due {
                self.fall_overdue(at, due.plus(Duration::from_millis(1)));
            }
        }
        self.records.retain(|record| match record.phase {
            Phase::Closing { until, .. } | Phase::Overdue { until } | Phase::Gone { until } => until > now,
            Phase::Live => true,
        });
        let unclaimed = self.held.extract_if(.., |held| held.0 <= now);
        for (.., traffic) in unclaimed {
            self.unallocated.add(&traffic);
        }
    }

    pub(super) fn apply(&mut self, now: Timestamp, key: &Key<'_>, event: &Event<'_>) {
        self.advance(now);
        match event {
            Event::New(grant) => {
                let new_process = grant.path.is_some() && self.is_new_process(key.id);
                if let Some(at) = self.open_record(key) {
                    if self.records[at].phase == Phase::Live {
                        self.close(at, Cause::Replaced);
                    }
                    self.records.remove(at);
                }
                let at = self.open(key, seconds(grant.lifetime), true, false);
                self.records[at].long_form = grant.path.is_some();
                if new_process {
                    self.end_old_process(at);
                }
                self.note_id(grant, at, true, false);
            }
            Event::Refreshed(grant) if grant.lifetime == 0 => {
                let at = self.open_record(key).unwrap_or_else(|| {
                    let at = self.open(key, UNKNOWN, false, false);
                    self.records[at].long_form = grant.path.is_some();
                    at
                });
                self.records[at].last_sign = now;
                if self.records[at].long_form {
                    self.meet(at);
                }
                (self.records[at].release_pending, self.records[at].by_traffic) = (true, false);
            }
            Event::Refreshed(grant) => {
                let lifetime = seconds(grant.lifetime);
                let known = self.open_record(key);
                let at = known.unwrap_or_else(|| self.open(key, lifetime, false, false));
                self.note_id(grant, at, false, known.is_none());
                self.contradict(at);
                let was_gone = self.is_gone(at);
                let record = &mut self.records[at];
                record.long_form |= grant.path.is_some();
                if record.phase != Phase::Live {
                    record.phase = Phase::Live;
                    record.overdue_orphan = false;
                    self.realms.get_mut(&record.realm).unwrap().adopted += 1;
                }
                record.granted_at = now;
                record.lifetime = lifetime;
                record.alive_until = now.plus(lifetime);
                (record.release_pending, record.by_traffic) = (false, false);
                self.realms.get_mut(&record.realm).unwrap().refreshes += 1;
                if was_gone {
                    self.claim(at);
                }
                self.records[at].last_sign = now;
            }
            Event::Deleted => match self.open_record(key) {
                Some(at) => self.end(at, None),
                None if self.closing_record(key, None).is_some() => {}
                None => {
                    let at = self.open(key, UNKNOWN, false, false);
                    self.end(at, Some(Cause::Missed));
                }
            },
            Event::Traffic(leg, traffic) => self.traffic(key, *leg, traffic),
            Event::Total(leg, total) => self.total(key, *leg, total),
        }
    }

    fn traffic(&mut self, key: &Key<'_>, leg: Leg, traffic: &Traffic) {
        let known = self.open_record(key).or_else(|| self.closing_record(key, None));
        let at = match known {
            Some(at) if leg == Leg::Client && self.may_be_of_another(at, traffic) => {
                self.hold(key, traffic);
                return;
            }
            Some(at) => at,
            None if traffic.is_zero() || !fits(traffic, 1000) => return,
            None if leg == Leg::Peer => self.open(key, UNKNOWN, false, true),
            None => {
                self.hold(key, traffic);
                return;
            }
        };
        if self.is_gone(at) && !traffic.is_zero() && self.is_plausible(at, traffic) {
            if leg == Leg::Peer {
                self.revive(at);
            }
            self.claim(at);
        }
        self.count(at, leg, traffic);
    }

    fn is_gone(&self, at: usize) -> bool {
        matches!(self.records[at].phase, Phase::Gone { .. })
    }

    fn is_plausible(&self, at: usize, traffic: &Traffic) -> bool {
        fits(traffic, self.now.since(self.records[at].last_sign).as_millis().max(1000))
    }

    /// A client report under the key of what ended with its process, from a coturn that would report peers, too; or of what
    /// has had its total.
    fn may_be_of_another(&self, at: usize, traffic: &Traffic) -> bool {
        let record = &self.records[at];
        let has_ended = match record.phase {
            Phase::Gone { .. } => record.long_form || record.peer_leg,
            Phase::Closing { settled, .. } => settled[Leg::Client as usize],
            Phase::Live | Phase::Overdue { .. } => false,
        };
        has_ended && !traffic.is_zero() && self.is_plausible(at, traffic)
    }

    fn hold(&mut self, key: &Key<'_>, traffic: &Traffic) {
        let (realm, user, id) = owned(key);
        let same = |held: &&mut Unclaimed| (&held.1, &held.2, held.3) == (&realm, &user, id);
        match self.held.iter_mut().find(same) {
            Some(held) => held.4.add(traffic),
            None => self.held.push((self.now.plus(seconds(10)), realm, user, id, *traffic)),
        }
    }

    /// What was held of the record's key is its own.
    fn claim(&mut self, at: usize) {
        let Record { realm, user, id, .. } = &self.records[at];
        let of_key = |held: &Unclaimed| (&held.1, &held.2, &held.3) == (realm, user, id);
        if let Some(place) = self.held.iter().position(of_key) {
            let (.., traffic) = self.held.remove(place);
            self.count(at, Leg::Client, &traffic);
        }
    }

    fn revive(&mut self, at: usize) {
        if self.now <= self.records[at].alive_until {
            self.contradict(at);
            let record = &mut self.records[at];
            record.phase = Phase::Live;
            self.realms.get_mut(&record.realm).unwrap().adopted += 1;
        }
    }

    fn count(&mut self, at: usize, leg: Leg, traffic: &Traffic) {
        let record = &mut self.records[at];
        let since = self.now.since(std::mem::replace(&mut record.last_sign, self.now));
        if !fits(traffic, since.as_millis().max(1000)) {
            return;
        }
        let record = &mut self.records[at];
        record.peer_leg |= leg == Leg::Peer;
        record.counted[leg as usize].add(traffic);
        self.realms.get_mut(&record.realm).unwrap().relayed[leg as usize].add(traffic);
        if record.phase == Phase::Live
            && !traffic.is_zero()
            && self.now > record.granted_at.plus(record.lifetime)
        {
            record.alive_until = self.now.plus(record.lifetime);
        }
    }

    fn total(&mut self, key: &Key<'_>, leg: Leg, total: &Traffic) {
        let at = match (self.closing_record(key, Some(leg)), self.open_record(key)) {
            (Some(at), _) => at,
            (None, Some(at)) => {
                self.end(at, Some(Cause::Missed));
                at
            }
            (None, None) if self.closing_record(key, None).is_some() => return,
            (None, None) => {
                let at = self.open(key, UNKNOWN, false, false);
                self.end(at, Some(Cause::Missed));
                at
            }
        };
        let record = &mut self.records[at];
        let Phase::Closing { settled, client_loss, .. } = &mut record.phase else { unreachable!() };
        settled[leg as usize] = true;
        record.last_sign = self.now;
        record.peer_leg |= leg == Leg::Peer;
        // A minute more than its age; of one whose past is not known, a day.
        let most = self.now.since(record.started).as_millis() + if record.born { 60_000 } else { 86_400_000 };
        let lost = lost(leg, total, &record.counted[leg as usize], client_loss.as_ref());
        if let Some(lost) = lost.filter(|lost| fits(lost, most)) {
            if leg == Leg::Client {
                *client_loss = Some(lost);
            }
            let numbers = self.realms.get_mut(&record.realm).unwrap();
            if record.born {
                record.counted[leg as usize].add(&lost);
                numbers.relayed[leg as usize].add(&lost);
                numbers.recovered[leg as usize].add(&lost);
            } else {
                numbers.unseen[leg as usize].add(&lost);
            }
        }
    }

    /// Whether the birth of an id proves that the process is new: it was seen, or one above it was seen so long ago that
    /// a login, and the step of ten seconds in which that was, are over since.
    fn is_new_process(&self, id: AllocationId) -> bool {
        let settled = |seen: Timestamp| seen.as_millis() / 10_000 + 1 + 9 <= self.now.as_millis() / 10_000;
        let day = seconds(24 * 3600);
        self.now >= self.rests_until
            && self.now.since(self.last_status) < day
            && self.ids.iter().any(|&(other, seen)| other == id || other.0 >= id.0 && settled(seen))
    }

    fn note_id(&mut self, grant: &Grant<'_>, at: usize, is_birth: bool, is_adopted: bool) {
        if grant.path.is_none() {
            return;
        }
        if self.now.since(self.last_status) >= seconds(24 * 3600) {
            self.ids.clear();
            self.unsure = None;
        }
        let id = self.records[at].id;
        if !is_birth {
            self.meet(at);
        }
        if self.ids.iter().all(|&(other, _)| other.0 < id.0) {
            self.unsure.take_if(|unsure| self.now.since(unsure.0) > seconds(90) || id.0 > unsure.2 + 64);
        } else if is_birth || is_adopted && self.now > self.last_status {
            let highest = self.ids.iter().map(|&(other, _)| other.0).max();
            if let Some(highest) = highest.filter(|&highest| highest > id.0) {
                self.unsure.get_or_insert((self.now, self.last_status, highest));
            }
        }
        self.last_status = self.now;
        if !self.ids.iter().any(|&(other, _)| other == id) {
            self.ids.push((id, self.now));
        }
    }

    /// The allocation of the record is reported: births that came after its own are of the same process.
    fn meet(&mut self, at: usize) {
        let started = self.records[at].started;
        self.unsure.take_if(|unsure| started < unsure.0);
    }

    /// What may have ended with the old process, the oldest first: all of the model are of one server and one thread.
    fn of_old_process(&mut self, newborn: usize) -> Vec<usize> {
        let (since, last_status, _) = self.unsure.take().unwrap_or((Timestamp::MAX, self.last_status, 0));
        let mut of_server: Vec<usize> =
            (0..self.records.len()).filter(|&at| at != newborn && self.records[at].long_form).collect();
        // One that was born with a higher id, before those who log in now connected, is no newer.
        let (newest, connected) = (self.records[newborn].id, self.now.minus(seconds(90)));
        let is_sure = |record: &&Record| {
            record.started < since || record.id.0 >= newest.0 && record.started < connected
        };
        let sure = of_server.iter().map(|&at| &self.records[at]).filter(is_sure);
        let mut last_sign = sure.map(|record| record.last_sign).fold(last_status, Timestamp::max);
        of_server.retain(|&at| matches!(self.records[at].phase, Phase::Live | Phase::Overdue { .. }));
        of_server.sort_by_key(|&at| self.records[at].started);
        let mut is_its = |at: &usize| {
            let record = &self.records[*at];
            let is_its = record.started <= last_sign.plus(Duration::from_millis(100));
            if record.started <= last_sign {
                last_sign = last_sign.max(record.last_sign);
            }
            is_its
        };
        let end = of_server.iter().take_while(|at| is_its(at)).count();
        of_server.truncate(end);
        of_server
    }

    fn end_old_process(&mut self, newborn: usize) {
        self.ids.clear();
        let until = self.now.plus(seconds(24 * 3600));
        for at in self.of_old_process(newborn) {
            let record = &mut self.records[at];
            match record.phase {
                Phase::Live => {
                    record.phase = Phase::Gone { until };
                    self.close(at, Cause::Replaced);
                }
                Phase::Overdue { until } => {
                    (record.phase, record.overdue_orphan) = (Phase::Gone { until }, false);
                }
                Phase::Closing { .. } | Phase::Gone { .. } => {}
            }
        }
    }

    /// What was ended with its process is reported again.
    fn contradict(&mut self, at: usize) {
        if matches!(self.records[at].phase, Phase::Gone { .. }) && self.now >= self.rests_until {
            self.rests_until = self.now.plus(seconds(24 * 3600));
        }
    }

    fn end(&mut self, at: usize, cause: Option<Cause>) {
        self.contradict(at);
        if self.records[at].long_form {
            self.meet(at);
        }
        if self.is_gone(at) {
            self.claim(at);
        }
        self.records[at].last_sign = self.now;
        let record = &self.records[at];
        if record.phase == Phase::Live {
            let end = record.granted_at.plus(record.lifetime);
            let by_moment = if record.by_traffic || self.now > end.plus(GRACE) {
                Cause::Missed
            } else if record.release_pending {
                Cause::Released
            } else if self.now >= end.minus(seconds(2)) {
                Cause::Expired
            } else {
                Cause::Disconnected
            };
            self.close(at, cause.unwrap_or(by_moment));
        }
        let until = self.now.plus(seconds(10));
        let record = &mut self.records[at];
        record.phase = Phase::Closing { until, settled: [false; 2], client_loss: None };
        record.overdue_orphan = false;
    }

    fn due(&self, record: &Record) -> Timestamp {
        let due = record.alive_until.plus(GRACE);
        let after_gap = self.resumed_at.plus(record.lifetime).plus(GRACE);
        if record.granted_at < self.resumed_at { due.max(after_gap) } else { due }
    }

    fn fall_overdue(&mut self, at: usize, moment: Timestamp) {
        let record = &self.records[at];
        let released = record.release_pending;
        let cause = match record.granted_at < self.resumed_at {
            true => Cause::Missed,
            false if released => Cause::Released,
            false => Cause::Abandoned,
        };
        self.close(at, cause);
        self.records[at].phase = Phase::Overdue { until: moment.plus(seconds(24 * 3600)) };
        self.records[at].overdue_orphan = !released;
    }

    fn close(&mut self, at: usize, cause: Cause) {
        self.realms.get_mut(&self.records[at].realm).unwrap().closed[cause as usize] += 1;
    }

    fn open(&mut self, key: &Key<'_>, lifetime: Duration, born: bool, by_traffic: bool) -> usize {
        let (realm, user, id) = owned(key);
        let numbers = self.realms.entry(realm.clone()).or_default();
        if born {
            numbers.opened += 1;
        } else {
            numbers.adopted += 1;
        }
        self.records.push(Record {
            realm,
            user,
            id,
            phase: Phase::Live,
            born,
            by_traffic,
            long_form: false,
            peer_leg: false,
            started: self.now,
            last_sign: self.now,
            granted_at: self.now,
            lifetime,
            alive_until: self.now.plus(lifetime),
            release_pending: false,
            overdue_orphan: false,
            counted: [Traffic::ZERO; 2],
        });
        let at = self.records.len() - 1;
        self.claim(at);
        at
    }

    fn open_record(&self, key: &Key<'_>) -> Option<usize> {
        self.positions(key).find(|&at| !matches!(self.records[at].phase, Phase::Closing { .. }))
    }

    /// The closing record of the key; with a leg, one that still waits for that leg's total.
    fn closing_record(&self, key: &Key<'_>, waiting: Option<Leg>) -> Option<usize> {
        let closing = self.positions(key).filter_map(|at| match self.records[at].phase {
            Phase::Closing { until, settled, .. } if waiting.is_none_or(|leg| !settled[leg as usize]) => {
                Some((until, at))
            }
            _ => None,
        });
        // The last to end.
        closing.max().map(|(_, at)| at)
    }

    fn positions(&self, key: &Key<'_>) -> impl Iterator<Item = usize> {
        let (realm, user, id) = owned(key);
        let is_its = move |record: &Record| (&record.realm, &record.user, record.id) == (&realm, &user, id);
        (0..self.records.len()).filter(move |&at| is_its(&self.records[at]))
    }
}

/// What a total says was lost, by trying all that it may mean; `None` for an anomaly. With four numbers that cannot all
/// be believed, none is.
fn lost(leg: Leg, total: &Traffic, sum: &Traffic, client_loss: Option<&Traffic>) -> Option<Traffic> {
    let numbers = |traffic: &Traffic| {
        [traffic.received.packets, traffic.received.bytes, traffic.sent.packets, traffic.sent.bytes]
    };
    let (total, sum) = (numbers(total), numbers(sum));
    // What a peer was sent is what the client sent in: the other direction of the other leg.
    let near = client_loss.map(numbers).map(|[a, b, c, d]| [c, d, a, b]);
    let mut lost = [0; 4];
    for place in 0..4 {
        lost[place] = match leg {
            Leg::Client => u64::try_from(i128::from(total[place]) - i128::from(sum[place])).ok()?,
            Leg::Peer => lost_of_peer(total[place], sum[place], near.map(|near| near[place]))?,
        };
    }
    let [packets_in, bytes_in, packets_out, bytes_out] = lost;
    Some(Traffic {
        received: Volume { packets: packets_in, bytes: bytes_in },
        sent: Volume { packets: packets_out, bytes: bytes_out },
    })
}

/// coturn keeps the peer leg's totals in 32 bits: the loss is m + k * 2^32 for any k from -1 on, and that one is taken
/// which is nearest to what the client leg lost.
fn lost_of_peer(total: u64, sum: u64, near: Option<u64>) -> Option<u64> {
    let round = 1_i128 << 32;
    let m = (i128::from(total) - i128::from(sum)).rem_euclid(round);
    let Some(near) = near.map(i128::from) else {
        return if m < round / 2 { u64::try_from(m).ok() } else { None };
    };
    // What is more than a round away cannot be the nearest. Of two, what is a loss at all, then the smaller one.
    let about = near / round;
    let candidates = (about - 2..=about + 2).filter(|&k| k >= -1).map(|k| m + k * round);
    let nearest =
        candidates.min_by_key(|candidate| ((candidate - near).abs(), *candidate < 0, *candidate))?;
    u64::try_from(nearest).ok()
}

/// Whether 100 Gbit/s, or as many of the smallest frames, can be so much in each direction within so long.
fn fits(traffic: &Traffic, millis: u128) -> bool {
    let fits = |volume: Volume| {
        u128::from(volume.bytes) * 8 <= 100_000_000 * millis && u128::from(volume.packets) <= 150_000 * millis
    };
    fits(traffic.received) && fits(traffic.sent)
}

fn owned(key: &Key<'_>) -> (Vec<u8>, Vec<u8>, AllocationId) {
    (key.realm.unwrap_or_default().to_vec(), key.user.to_vec(), key.id)
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}
