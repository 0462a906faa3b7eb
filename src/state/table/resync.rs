//! What the status keys in Redis tell that the events did not: at the start, and after a gap.
//!
//! Keys are hints. Events win; a key that is missing proves little (any coturn that starts wipes all keys of its db),
//! and the time since it was set is known to the second only, if nobody has read it meanwhile.

use std::time::Duration;

use super::Table;
use crate::clock::Timestamp;
use crate::state::input::{Input, KeyRef};
use crate::state::model::allocation::{Allocation, Cause, Flag, Origin, Phase, UNKNOWN_LIFETIME};
use crate::state::model::ids::{RecordId, SourceId};
use crate::state::model::key::{MANGLED, SourceKey};
use crate::state::model::key_scan::{Adopts, KnownRedis, OtherRedis, PRECISION, ScanProgress};
use crate::state::model::source::Source;
use crate::state::storage::slab_map::SlabMap;
use crate::wire::status_key::is_believed;
use crate::wire::{Event, Grant, Key};

/// Records looked at by one call of [`Table::sweep`]: a few milliseconds.
const SWEEP: u32 = 8192;

/// What to do with a key that a scan found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyCheck {
    /// Its value is wanted.
    Read,
    /// It tells nothing new.
    Known,
    /// This scan has found it before.
    Again,
    /// It is older than any lifetime allows.
    Stale,
}

/// What became of a key whose value was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// Its allocation was known, or ended while the scan went on.
    Known,
    /// Its allocation is live from now on.
    Adopted,
    /// Older than its lifetime allows: a left-over of a server that died, or of a lost end.
    Stale,
    /// The table is full.
    Refused,
}

/// How far a sweep has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Where to go on; `None` at the end.
    pub next: Option<u32>,
    /// Live allocations whose key the scan did not find though their last status came since the source is up. A
    /// restart of Redis in a gap takes keys away; no gap, no such excuse.
    pub absent: u64,
}

impl Table {
    /// A scan of the source's keys begins: ends are remembered until it is over.
    pub fn scan_begins(&mut self, now: Timestamp, source: SourceId) {
        self.note(now, &Input::ScanBegins { source });
        self.pass(now);
        let began = self.now;
        for server in self.servers.of_source(source) {
            server.oldest_key = Timestamp::MAX;
        }
        if let Some(source) = self.sources.get_mut(source) {
            source.stats.resyncs += 1;
            source.mark = Some(self.connections.next_mark());
            let after_gap = source.known && !source.up;
            let adopts = match (source.known, source.up) {
                (false, _) => Adopts::All,
                (true, false) => Adopts::SetSince(source.lost_at),
                (true, true) => Adopts::Nothing,
            };
            source.scan = Some(ScanProgress {
                began,
                after_gap,
                may_miss_keys: false,
                kept_until: Timestamp::ZERO,
                adopts,
                ended: SlabMap::default(),
                found: 0,
            });
        }
    }

    /// The present scan proves nothing by a key that it does not find: this Redis does not take or does not keep all of
    /// them. Keys that it finds count as ever.
    pub fn scan_may_miss_keys(&mut self, source: SourceId) {
        self.note(self.now, &Input::ScanMayMissKeys { source });
        if let Some(scan) = self.sources.get_mut(source).and_then(|source| source.scan.as_mut()) {
            scan.may_miss_keys = true;
        }
    }

    /// The present scan reads this `redis`: the id of its process, a blank, and that of the history of its data. Its process has
    /// run for `uptime`, where it says so. After a gap another one than before may lack the newest keys of that, and have keys
    /// that one had deleted.
    // docs/semantics.md#a-missing-key
    pub fn scan_of(&mut self, now: Timestamp, source: SourceId, redis: &str, uptime: Option<Duration>) {
        let uptime = uptime.map(whole_millis);
        self.note(now, &Input::ScanOf { source, redis, uptime });
        self.pass(now);
        let (now, longest) = (self.now, self.settings.longest_silence());
        let Some(source) = self.sources.get_mut(source) else { return };
        let is_other_process = source.redis.as_ref().is_none_or(|before| !before.is_of_process(redis));
        if source.known && is_other_process {
            source.redis_began = uptime.map_or(Timestamp::ZERO, |uptime| now.minus(uptime));
        }
        let Some(before) = &mut source.redis else {
            source.redis = Some(KnownRedis::new(redis, now));
            return;
        };
        // Whatever is received while the link lasts may come from the one before.
        if before.is_seen_again(redis, now, source.up) || source.up {
            return;
        }
        let until = before.received_until(source.lost_at, redis);
        source.redis = Some(KnownRedis::new(redis, now));
        if source.known {
            // Keys that were set on one between prove nothing of what that one lacked, until all that lives was set anew.
            let last = source.other_redis.filter(|last| now.since(last.since) <= longest);
            let until = last.map_or(until, |last| last.until.min(until));
            let since = source.scan.as_ref().map_or(now, |scan| scan.began);
            source.other_redis = Some(OtherRedis { until, since });
        }
    }

    /// So many allocations more may be met soon: makes room for them now. To grow while a million are met is to hash all
    /// names anew, again and again, and messages wait for it.
    pub fn expect(&mut self, more: usize) {
        let room = self.settings.max_allocations.saturating_sub(self.records.len());
        let more = more.min(room);
        self.records.expect(&self.realms, more);
        self.sessions.expect(&self.records, &self.realms, more);
        self.gatherings.expect(more);
    }

    /// The scan is over; gives the number of known allocations whose keys it found.
    pub(in crate::state) fn scan_ends(&mut self, source: SourceId) -> u64 {
        let source = self.sources.get_mut(source);
        let scan = source.and_then(|source| source.scan.take());
        if !self.sources.is_any_scanned() {
            self.records.expect_no_more();
            self.gatherings.expect(0);
        }
        scan.map_or(0, |scan| scan.found)
    }

    /// Whether the value of a key is worth a GET, which destroys its idle time (`idle`; `None` where Redis cannot
    /// tell). An unknown key is stale by the one definition, [`status_key::is_stale`](crate::wire::status_key::is_stale).
    // docs/semantics.md#which-keys-are-read
    pub fn check_key(
        &mut self,
        now: Timestamp,
        source: SourceId,
        key: &Key<'_>,
        idle: Option<Duration>,
    ) -> KeyCheck {
        let later = now.since(self.now);
        self.pass(now);
        let idle = idle.map(whole_millis).filter(|&idle| is_believed(idle));
        let key = SourceKey::of(source, key);
        if self.recorder.is_on() {
            // What is asked of an unknown key changes nothing.
            match self.find_open(self.records.key_hash(&key), &key) {
                Some(at) => self.recorder.other(later, &Input::KeyChecked { of: KeyRef::Known(at), idle }),
                None => self.note_time(later),
            }
        }
        self.check(&key, idle)
    }

    /// What to do with a key that has been idle for so long.
    pub(super) fn check(&mut self, key: &SourceKey<'_>, idle: Option<Duration>) -> KeyCheck {
        let (source, hash) = (key.source, self.records.key_hash(key));
        let Some(at) = self.find_open(hash, key) else {
            let set_at = self.true_set_at(key, idle);
            let longest = self.settings.longest_silence();
            let is_old = set_at.is_some_and(|set_at| self.now.since(set_at) > longest);
            return if self.ended_in_scan(key) {
                KeyCheck::Known
            } else if is_old || key.user == MANGLED || !self.adopts(source, set_at) {
                KeyCheck::Stale
            } else {
                KeyCheck::Read
            };
        };
        let set_at = idle.map(|idle| self.now.minus(idle));
        let mut after_gap = false;
        if let Some(source) = self.sources.get_mut(source) {
            let mark = source.mark;
            if source.scan.is_some() && self.records[at].mark == mark {
                return KeyCheck::Again;
            }
            if let Some(scan) = &mut source.scan {
                scan.found += 1;
                after_gap = scan.after_gap;
                if let (Some(set_at), Some(born_at)) = (set_at, self.records[at].born_at()) {
                    scan.found(source.other_redis, set_at, born_at);
                }
            }
            self.set_mark(at, mark);
        }
        if let Some(set_at) = set_at {
            let server = self.servers.get_mut(self.records[at].server);
            server.oldest_key = server.oldest_key.min(set_at);
        }
        let allocation = &self.records[at];
        if after_gap && self.was_set_since(allocation, set_at) {
            KeyCheck::Read
        } else if allocation.phase != Phase::Live {
            KeyCheck::Stale
        } else {
            KeyCheck::Known
        }
    }

    /// Takes in the value of a status key: its last status was `idle` ago; `None` where Redis cannot tell.
    ///
    /// The caller must have taken in everything published before the key was read: events win over the scan.
    // docs/semantics.md#events-win-over-the-scan
    pub fn scanned(
        &mut self,
        now: Timestamp,
        source: SourceId,
        key: &Key<'_>,
        event: &Event<'_>,
        idle: Option<Duration>,
    ) -> Scanned {
        let later = now.since(self.now);
        self.pass(now);
        let idle = idle.map(whole_millis).filter(|&idle| is_believed(idle));
        let key = SourceKey::of(source, key);
        if self.recorder.is_on() {
            let of = self.key_ref(&key, self.records.key_hash(&key));
            self.recorder.other(later, &Input::KeyScanned { of, event: *event, idle });
        }
        self.take_scanned(&key, event, idle)
    }

    pub(super) fn take_scanned(
        &mut self,
        key: &SourceKey<'_>,
        event: &Event<'_>,
        idle: Option<Duration>,
    ) -> Scanned {
        let (Event::New(grant) | Event::Refreshed(grant)) = event else { return Scanned::Known };
        let is_birth = matches!(event, Event::New(_));
        let hash = self.records.key_hash(key);
        let set_at = idle.map(|idle| self.now.minus(idle));
        if let Some(at) = self.find_open(hash, key) {
            let missed = self.was_set_since(&self.records[at], set_at);
            self.mark_read(at);
            return match set_at {
                Some(set_at) if missed => self.catch_up(key, hash, at, grant, is_birth, set_at),
                _ => Scanned::Known,
            };
        }
        if self.find_closing(hash, key).is_some() || self.ended_in_scan(key) {
            return Scanned::Known;
        }
        let set_at = self.true_set_at(key, idle);
        let mut granted = self.read_status(key.source, grant);
        let released = grant.lifetime == 0;
        if released {
            granted.lifetime = UNKNOWN_LIFETIME;
        }
        let is_over = |set_at| self.now.since(set_at) > granted.lifetime.saturating_add(self.settings.grace);
        if let Some(set_at) = set_at.filter(|&set_at| is_over(set_at)) {
            if let Some(source) = self.sources.get_mut(key.source) {
                source.left_overs.remember(self.key_ids.of_key(key), self.now, set_at);
            }
            return Scanned::Stale;
        }
        // No more is known than the second; those of one second are kept together.
        let set_at = set_at.unwrap_or(self.now).whole_second();
        let Some(at) = self.open(key, hash, &granted, Origin::Adopted, set_at) else {
            return Scanned::Refused;
        };
        let allocation = &mut self.records[at];
        allocation.set(Flag::ReleasePending, released);
        allocation.set(Flag::ScannedBirth, is_birth);
        self.mark_read(at);
        self.note_adopted(key.id, &granted, set_at);
        Scanned::Adopted
    }

    /// The record's key was found by the present scan and read by us.
    fn mark_read(&mut self, at: RecordId) {
        let allocation = &mut self.records[at];
        allocation.read_at = self.now.into();
        if let Some(source) = self.sources.get(allocation.source()) {
            self.set_mark(at, source.mark);
        }
    }

    /// A status of a known allocation that was missed in a gap, as its key tells it.
    // docs/semantics.md#missed-statuses
    fn catch_up(
        &mut self,
        key: &SourceKey<'_>,
        hash: u64,
        at: RecordId,
        grant: &Grant<'_>,
        is_birth: bool,
        set_at: Timestamp,
    ) -> Scanned {
        let granted = self.read_status(key.source, grant);
        let client = self.records.client(&self.records[at]);
        let allocation = &mut self.records[at];
        if is_birth && allocation.may_be_born_by(client, &granted) {
            // Its own birth, of which nothing more came: a restarted Redis, or somebody who read the key, made it
            // seem new.
            return Scanned::Known;
        }
        if is_birth {
            // Another allocation: the end of ours was missed too.
            self.end_missed(at);
            self.finish(at);
            let Some(at) = self.open(key, hash, &granted, Origin::Born, set_at) else {
                return Scanned::Refused;
            };
            self.records[at].set(Flag::ScannedBirth, true);
            self.records[at].read_at = self.now.into();
            return Scanned::Adopted;
        }
        if grant.lifetime == 0 {
            allocation.set(Flag::ReleasePending, true);
        } else if allocation.phase == Phase::Live && allocation.lifetime.get() == granted.lifetime {
            // A refresh was missed, or Redis was restarted, or somebody else has read the key: no telling which.
            allocation.grant_perhaps(set_at);
        } else {
            self.refresh(at, &granted, set_at);
        }
        Scanned::Known
    }

    /// After a whole scan: judges a part of the records, from number `from` on, whose keys it did not find.
    ///
    /// An overdue allocation is no orphan without its key. A live one has ended in the gap only if a key of its server
    /// is older than its own last status: a wipe would have taken both. Neither holds where keys may be missing anyway, the
    /// latter not of one that may have been lost with the Redis before.
    // docs/semantics.md#a-missing-key
    pub fn sweep(&mut self, now: Timestamp, source: SourceId, from: u32) -> Sweep {
        self.note(now, &Input::Swept { source, from });
        self.pass(now);
        let scan_of = |source: &Source| {
            let ScanProgress { began, after_gap, .. } = *source.scan.as_ref()?;
            Some((began, after_gap, source.absence()?, source.mark, source.resumed_at))
        };
        let Some((began, after_gap, absence, mark, resumed_at)) = self.sources.get(source).and_then(scan_of)
        else {
            return Sweep { next: None, absent: 0 };
        };
        let mut absent = 0;
        let until = from.saturating_add(SWEEP);
        for at in (from..until).map(RecordId::of_place) {
            let Some(allocation) = self.records.get(at) else { continue };
            // An event since then may have set its key behind the scan's back.
            let judged = allocation.source() == source
                && allocation.phase != Phase::Closing
                && allocation.mark != mark
                && allocation.last_sign.get() < began;
            if !judged {
                continue;
            }
            if allocation.phase != Phase::Live {
                if !absence.may_miss_keys {
                    self.clear_overdue_orphan(at);
                }
                continue;
            }
            let (granted_at, long_form, server) =
                (allocation.granted_at.get(), allocation.is(Flag::LongForm), allocation.server);
            let known = allocation.status_and_reading();
            absent += u64::from(!after_gap && granted_at >= resumed_at);
            let no_wipe = self.servers.get_mut(server).oldest_key.plus(PRECISION) < granted_at;
            if after_gap && long_form && no_wipe && absence.is_end(known) {
                self.end_missed(at);
            }
        }
        let more = (until as usize) < self.records.places();
        Sweep { next: more.then_some(until), absent }
    }

    /// When a key was set, our own reading of it set aside.
    fn true_set_at(&self, key: &SourceKey<'_>, idle: Option<Duration>) -> Option<Timestamp> {
        let seeming = self.now.minus(idle?);
        let source = self.sources.get(key.source);
        Some(source.map_or(seeming, |source| source.left_overs.set_at(|| self.key_ids.of_key(key), seeming)))
    }

    fn adopts(&self, source: SourceId, set_at: Option<Timestamp>) -> bool {
        let Some(source) = self.sources.get(source) else { return true };
        source.scan.as_ref().is_none_or(|scan| scan.adopts.includes(set_at, source.redis_began))
    }

    /// The key of an allocation was set later than by the status we know, and not merely read by us or loaded by Redis, in
    /// whichever gap that was.
    // docs/semantics.md#a-redis-that-was-restarted
    fn was_set_since(&self, allocation: &Allocation, set_at: Option<Timestamp>) -> bool {
        let source = self.sources.get(allocation.source());
        let loaded_at = source.map_or(Timestamp::ZERO, |source| source.redis_began);
        let known = allocation.granted_at.get().max(allocation.read_at.get());
        set_at.is_some_and(|set_at| set_at > known.plus(PRECISION) && set_at >= loaded_at.plus(PRECISION))
    }

    fn ended_in_scan(&self, key: &SourceKey<'_>) -> bool {
        let scan = self.sources.get(key.source).and_then(|source| source.scan.as_ref());
        scan.is_some_and(|scan| !scan.ended.is_empty() && scan.ended.contains_key(&self.key_ids.of_key(key)))
    }

    /// An open record turns out to have ended unheard.
    pub(super) fn end_missed(&mut self, at: RecordId) {
        if self.records[at].phase == Phase::Live {
            let last_sign = self.records[at].last_sign.get();
            self.close(at, Cause::Missed, last_sign, false);
        }
        self.begin_closing(at);
    }
}

/// As it is recorded.
pub(super) fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

impl Allocation {
    /// When its last status came, and when its key was last read.
    fn status_and_reading(&self) -> (Timestamp, Timestamp) {
        (self.granted_at.get(), self.read_at.get())
    }

    /// When it was born, if its `new` was received.
    fn born_at(&self) -> Option<Timestamp> {
        (self.origin == Origin::Born && !self.is(Flag::ScannedBirth)).then(|| self.started.get())
    }
}
