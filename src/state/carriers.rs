//! Connections that allocations are told of over, where coturn speaks to us itself. A relay thread of coturn has one and
//! tells all of its allocations over it; so a key on two open connections is two servers', and a connection that
//! coturn closed takes its allocations along.

use std::collections::HashSet;

use super::allocation::{Cause, Fact, Phase};
use super::compact::Moment;
use super::life::OVERDUE_MEMORY;
use super::session::Entry;
use super::{Allocation, Applied, Name, SourceId, Table};
use crate::clock::Timestamp;
use crate::wire::{Event, Key, Leg};

/// Records looked at by one call of [`Table::abandon`]: a few milliseconds.
const SLICE: u32 = 8192;

/// A connection. Numbers are not used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Carrier(Mark);

/// A connection, or a scan, as records name it. No two have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark(u32);

impl Mark {
    pub(super) const NONE: Self = Self(0);
}

/// Gives marks out.
#[derive(Debug)]
pub(super) struct Marks(u32);

impl Marks {
    pub(super) const fn new() -> Self {
        Self(0)
    }

    pub(super) fn next(&mut self) -> Mark {
        self.0 = self.0.wrapping_add(1).max(1);
        Mark(self.0)
    }
}

/// The connections that are open, and the one that is being listened to.
#[derive(Debug)]
pub(super) struct Carriers {
    /// [`Mark::NONE`] where it is a Redis.
    pub(super) speaking: Mark,
    open: HashSet<Mark, ahash::RandomState>,
}

impl Default for Carriers {
    fn default() -> Self {
        Self { speaking: Mark::NONE, open: HashSet::default() }
    }
}

impl Carriers {
    /// Whether the record is one that the present speaker tells of.
    pub(super) fn is_told(&self, allocation: &Allocation) -> bool {
        self.speaking == Mark::NONE || allocation.mark == self.speaking
    }

    /// Whether the record has lost its speaker, and the present one may be the same server's.
    pub(super) fn may_be_told(&self, allocation: &Allocation) -> bool {
        !self.open.contains(&allocation.mark)
    }
}

impl Table {
    /// A connection begins to tell of allocations.
    pub fn carrier_opens(&mut self) -> Carrier {
        let mark = self.marks.next();
        self.carriers.open.insert(mark);
        Carrier(mark)
    }

    /// The connection is gone, for whatever reason: its allocations may be told of over another one.
    pub fn carrier_closes(&mut self, carrier: Carrier) {
        self.carriers.open.remove(&carrier.0);
    }

    /// Takes one event in that came over a connection.
    pub fn apply_from(
        &mut self,
        now: Timestamp,
        source: SourceId,
        carrier: Carrier,
        key: &Key<'_>,
        event: &Event<'_>,
    ) -> Applied {
        self.advance(now);
        self.carriers.speaking = carrier.0;
        let name = Name::of(source, key);
        let hash = self.key_hash(&name);
        let revived = self.find_open(hash, &name).is_some_and(|at| {
            self.allocations[at].mark = carrier.0;
            // Probes and refused logins report on the client leg, too: the peer leg only an allocation has.
            matches!(event, Event::Traffic(Leg::Peer, traffic) if !traffic.is_zero()) && self.revive(at)
        });
        let applied = self.on_event(&name, hash, event);
        self.carriers.speaking = Mark::NONE;
        if revived { Applied::Adopted } else { applied }
    }

    /// Whether the connection that speaks has told of this key before, and it has not ended since.
    pub(super) fn is_told_apart(&self, hash: u64, name: &Name<'_>) -> bool {
        let speaking = self.carriers.speaking;
        let is_its_own = |record: &Allocation| record.mark == speaking && record.phase == Phase::Live;
        speaking != Mark::NONE && self.find_any(hash, name, is_its_own).is_some()
    }

    /// coturn closed the connection that carried the last word of these allocations: its thread is gone, and they with
    /// it. Looks at a part of the records, from number `from` on; gives where to go on.
    pub fn abandon(&mut self, now: Timestamp, carrier: Carrier, from: u32) -> Option<u32> {
        self.advance(now);
        let until = from.saturating_add(SLICE);
        for at in from..until {
            let Some(allocation) = self.allocations.get(at) else { continue };
            if allocation.mark != carrier.0 || allocation.phase != Phase::Live {
                continue;
            }
            let released = allocation.is(Fact::ReleasePending);
            self.close(at, if released { Cause::Released } else { Cause::Abandoned }, self.now, false);
            // Nobody holds it any more, so it is no orphan.
            self.allocations[at].phase = Phase::Overdue;
            self.member_settled(at);
            self.wake_at(at, self.now.plus(OVERDUE_MEMORY));
        }
        ((until as usize) < self.allocations.places()).then_some(until)
    }

    /// Traffic of an allocation whose grant still runs: only its connection was lost. True if it was so.
    fn revive(&mut self, at: u32) -> bool {
        let allocation = &mut self.allocations[at];
        if allocation.phase != Phase::Overdue || self.now > allocation.alive_until.get() {
            return false;
        }
        self.absolve(at);
        let allocation = &mut self.allocations[at];
        allocation.phase = Phase::Live;
        allocation.deadline = Moment::MAX;
        allocation.quiet_since = self.now.into();
        self.join_session(at, Entry::Adopted);
        self.enter(at, false);
        self.judge(at);
        true
    }
}
