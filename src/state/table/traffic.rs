//! Traffic and totals: every byte once.

use crate::state::model::ids::RecordId;
use std::time::Duration;

use super::{Applied, Table};
use crate::state::model::allocation::{Cause, Flag, Origin, Phase};
use crate::state::model::key::SourceKey;
use crate::state::model::plausible::{LEAST_LIFE, LEAST_REPORT, UNKNOWN_PAST, can_pass};
use crate::state::model::series::Anomaly;
use crate::state::model::totals;
use crate::wire::{Leg, Traffic};

impl Table {
    // docs/semantics.md#unclaimed-traffic
    pub(super) fn on_traffic(
        &mut self,
        key: &SourceKey<'_>,
        hash: u64,
        leg: Leg,
        traffic: &Traffic,
    ) -> Applied {
        let known = self.find_open(hash, key).or_else(|| self.find_closing(hash, key));
        if let Some(at) = known {
            if traffic.is_zero() || !self.is_plausible(known, traffic) {
                self.count(at, leg, traffic);
                return Applied::Updated;
            }
            if leg == Leg::Client && self.may_be_refused(at) {
                return self.set_aside(key, traffic);
            }
            let is_gone = self.records[at].phase == Phase::Gone;
            let revived = leg == Leg::Peer && self.revive(at);
            if is_gone {
                self.claim_for(at);
            }
            self.count(at, leg, traffic);
            return if revived { Applied::Adopted } else { Applied::Updated };
        }
        if traffic.is_zero() {
            return Applied::SetAside;
        }
        if !self.is_plausible(None, traffic) {
            self.counters.count_anomaly(Anomaly::Implausible);
            return Applied::SetAside;
        }
        match leg {
            Leg::Client => self.set_aside(key, traffic),
            // Only an allocation has peers: its status was lost, or came before our time.
            Leg::Peer => {
                let granted = self.nothing_granted(key.source);
                let Some(at) = self.open(key, hash, &granted, Origin::Traffic, self.now) else {
                    return Applied::Refused;
                };
                self.count(at, leg, traffic);
                Applied::Adopted
            }
        }
    }

    /// Whether a report of the client leg under the key of the record may be of a session without an allocation: probes and
    /// refused logins report it, too, and a new process gives out the ids of the old one. The peer leg only an allocation
    /// has.
    fn may_be_refused(&self, at: RecordId) -> bool {
        let record = &self.records[at];
        match record.phase {
            Phase::Gone => record.has_peer(),
            // The total has all that it reported.
            Phase::Closing => record.is(Flag::ClientSettled),
            Phase::Live | Phase::Overdue => false,
        }
    }

    /// Client traffic that may be no allocation's is kept for the status, or the peer leg, that shows whose it is.
    fn set_aside(&mut self, key: &SourceKey<'_>, traffic: &Traffic) -> Applied {
        let unclaimed = self.keys.unclaimed.add(self.now, self.key_ids.of_key(key), traffic);
        self.counters.unallocated.add(&unclaimed);
        Applied::SetAside
    }

    /// What was set aside under the key of the record is the record's.
    pub(super) fn claim_for(&mut self, at: RecordId) {
        let (records, realms, ids) = (&self.records, &self.realms, self.key_ids);
        let claimed = self.keys.unclaimed.claim(|| ids.of_key(&records.key_of(realms, at)));
        if !claimed.is_zero() {
            self.count(at, Leg::Client, &claimed);
        }
    }

    // docs/semantics.md#totals
    pub(super) fn on_total(&mut self, key: &SourceKey<'_>, hash: u64, leg: Leg, total: &Traffic) -> Applied {
        let waiting = self.find_ended_last(hash, key, |allocation| !allocation.is(Flag::settled(leg)));
        if let Some(at) = waiting {
            self.settle(key, at, leg, total);
            return Applied::Updated;
        }
        if let Some(at) = self.find_open(hash, key) {
            let applied = self.end(at, Some(Cause::Missed));
            self.settle(key, at, leg, total);
            return applied;
        }
        if self.find_closing(hash, key).is_some() {
            return Applied::SetAside;
        }
        // Nothing else of it arrived, not even `deleted`.
        let Some(at) = self.adopt_ended(key, hash) else { return Applied::Refused };
        self.settle(key, at, leg, total);
        Applied::Closed(Cause::Missed)
    }

    /// Counts what a report tells, for the realm and for the allocation.
    // The record is looked up once: no other function is called as often.
    pub(super) fn count(&mut self, at: RecordId, leg: Leg, traffic: &Traffic) {
        let now = self.now;
        let allocation = &mut self.records.slab[at];
        let is_plausible = can_pass(traffic, now.since(allocation.last_sign.get()).max(LEAST_REPORT));
        allocation.note_sign(now);
        self.servers.get_mut(allocation.server).last_seen = now;
        if !is_plausible {
            self.counters.count_anomaly(Anomaly::Implausible);
            return;
        }
        // A client report with no peer report behind it until the next: this coturn has no peer leg.
        let unpaired = leg == Leg::Client && !allocation.counted.get(leg).is_zero();
        if leg == Leg::Peer {
            allocation.set(Flag::PeerLeg, true);
        }
        if traffic.is_zero() {
            return;
        }
        allocation.counted.add(leg, traffic);
        let series = self.realms.series(allocation.realm);
        series.relayed.get_mut(leg).add(traffic);
        if leg == Leg::Peer || unpaired {
            let is_first = allocation.begin_relaying(self.settings.relayed_packets);
            series.relayed_allocations += u64::from(is_first);
        }
        if allocation.phase == Phase::Closing {
            return;
        }
        // Whatever became of it, its gathering is in use.
        let quiet = now.since(allocation.note_traffic(now));
        let mut refresh_was_lost = false;
        if allocation.phase == Phase::Live {
            refresh_was_lost = allocation.prove_alive(now);
            self.records.rates.note(at, quiet, leg, traffic);
        }
        if quiet >= self.settings.idle_after {
            self.end_idleness(at);
        }
        if refresh_was_lost {
            self.judge(at);
        }
    }

    /// Settles a closing allocation's leg with coturn's own total.
    fn settle(&mut self, key: &SourceKey<'_>, at: RecordId, leg: Leg, total: &Traffic) {
        self.note_sign(at);
        let allocation = &mut self.records[at];
        allocation.set(Flag::settled(leg), true);
        if leg == Leg::Peer {
            allocation.set(Flag::PeerLeg, true);
        }
        let ids = self.key_ids;
        if !self.keys.shared.contains(|| ids.of_key(key)) {
            let sum = allocation.counted.get(leg);
            let client_loss = self.records.end(at).and_then(|end| end.client_loss);
            match totals::lost(leg, total, &sum, client_loss.as_ref()) {
                Ok(lost) if self.can_have_lost(at, &lost) => self.add_lost(at, leg, &lost),
                Ok(_) => self.counters.count_anomaly(Anomaly::Implausible),
                Err(anomaly) => self.counters.count_anomaly(anomaly),
            }
        }
        // A client total alone does not decide: the peer leg does, where this coturn reports it, and it comes next.
        if self.records[at].has_peer() {
            self.judge_relayed(at);
        }
        if self.records[at].is_settled() {
            // The record stays for its time: should the final block come twice, it is nobody's end again.
            self.member_settled(at);
        }
    }

    /// Adds what only the total revealed: to what was relayed, or, where an earlier process may have exported it, apart.
    // docs/semantics.md#unseen-traffic
    fn add_lost(&mut self, at: RecordId, leg: Leg, lost: &Traffic) {
        if leg == Leg::Client {
            self.records.end_mut(at).client_loss = Some(*lost);
        }
        let allocation = &mut self.records[at];
        let series = self.realms.series(allocation.realm);
        if allocation.is(Flag::PastKnown) {
            allocation.counted.add(leg, lost);
            series.relayed.get_mut(leg).add(lost);
            series.recovered.get_mut(leg).add(lost);
        } else {
            series.unseen.get_mut(leg).add(lost);
        }
    }

    /// Counts an allocation as used once it has relayed enough.
    pub(super) fn judge_relayed(&mut self, at: RecordId) {
        let allocation = &mut self.records[at];
        if allocation.begin_relaying(self.settings.relayed_packets) {
            self.realms.series(allocation.realm).relayed_allocations += 1;
        }
    }
}

impl Table {
    /// Whether a report can be true, of the record at `at`, or of an allocation that is not known.
    // docs/semantics.md#plausibility
    pub(super) fn is_plausible(&self, at: Option<RecordId>, report: &Traffic) -> bool {
        let last_sign = at.map(|at| self.records[at].last_sign.get());
        let since = last_sign.map_or(Duration::ZERO, |last_sign| self.now.since(last_sign));
        can_pass(report, since.max(LEAST_REPORT))
    }

    /// Whether an allocation can have lost so much, as its total says.
    pub(super) fn can_have_lost(&self, at: RecordId, lost: &Traffic) -> bool {
        let record = &self.records[at];
        let past = if record.is(Flag::PastKnown) { LEAST_LIFE } else { UNKNOWN_PAST };
        can_pass(lost, self.now.since(record.started.get()).saturating_add(past))
    }
}
