//! Recounts everything from the records and compares it with what the table keeps in step.

use std::collections::HashMap;

use super::{
    BYTES_BUCKETS, DURATION_BUCKETS, Exemplar, Histogram, NativeBuckets, Orphan, RealmSeries, RealmView,
    Table,
};
use crate::state::model::allocation::{Allocation, Flag, Phase};
use crate::state::model::ids::{RealmId, RecordId, SessionId};
use crate::wire::{Direction, Leg, Transport};

/// Each open connection counts the live records that it reported last.
fn connections_count_what_is_live(table: &Table) -> Result<(), String> {
    for (mark, live) in table.connections.live_by_mark() {
        let reported = |record: &Allocation| record.phase == Phase::Live && record.mark == Some(mark);
        let counted = table.records.slab.iter().filter(|(_, record)| reported(record)).count();
        if counted != live {
            return Err(format!("{mark:?}: reports {counted} live records, and counts {live}"));
        }
    }
    Ok(())
}

/// When the oldest session of each label began, in milliseconds.
fn oldest_sessions(table: &Table) -> HashMap<String, u64> {
    let mut starts: HashMap<String, u64> = HashMap::new();
    let mut began = |realm: RealmId, started: crate::clock::Timestamp| {
        let oldest = starts.entry(table.realms.label_of(realm).to_owned()).or_insert(u64::MAX);
        *oldest = started.as_millis().min(*oldest);
    };
    for (_, session) in table.sessions.slab.iter().filter(|(_, session)| session.facts().open) {
        began(session.realm, session.facts().started);
    }
    // One whose session is still counted in `_other`, while its realm has series of its own by now, stands for it there.
    let stands_for_session = |allocation: &Allocation| match allocation.session.session() {
        Some(session) if allocation.phase == Phase::Live && !allocation.is(Flag::Revived) => {
            table.sessions[session].realm != allocation.realm
        }
        _ => allocation.is_alone(),
    };
    for (_, allocation) in table.records.slab.iter().filter(|(_, allocation)| stands_for_session(allocation))
    {
        began(allocation.realm, allocation.started.get());
    }
    starts
}

/// What is wrong with the table, if anything. Long: one part of the table after the other.
pub(crate) fn audit(table: &Table) -> Result<(), String> {
    let snapshot = table.snapshot();
    let mut recount: HashMap<String, [u64; 4]> = HashMap::new();
    let mut oldest: HashMap<String, u64> = HashMap::new();
    let mut transports: HashMap<(String, Transport), u64> = HashMap::new();
    let mut live_by_session: HashMap<SessionId, u64> = HashMap::new();
    let mut sessions_without_record = 0;
    let oldest_sessions = oldest_sessions(table);
    for (at, allocation) in table.records.slab.iter() {
        let label = table.realms.label_of(allocation.realm).to_owned();
        let counts = recount.entry(label.clone()).or_default();
        if allocation.phase == Phase::Live {
            counts[0] += 1;
            counts[1] += u64::from(allocation.is(Flag::Idle));
            counts[2] += u64::from(allocation.is(Flag::OverMaxLifetime));
            if let Some(session) = allocation.session.session() {
                *live_by_session.entry(session).or_default() += 1;
            }
            sessions_without_record += usize::from(allocation.is_alone());
            *transports.entry((label.clone(), allocation.transport)).or_default() += 1;
            let started = allocation.started.get().as_millis();
            oldest.entry(label).and_modify(|start| *start = started.min(*start)).or_insert(started);
            if allocation.deadline.get() <= table.now {
                return Err(format!("{at}: its deadline has passed: {allocation:?}"));
            }
        } else if allocation.is_alone() {
            return Err(format!("{at}: not live, but stands for a session: {allocation:?}"));
        } else if allocation.is(Flag::Idle) || allocation.is(Flag::OverMaxLifetime) {
            return Err(format!("{at}: not live, but counted among the old: {allocation:?}"));
        }
        counts[3] += u64::from(allocation.is(Flag::OverdueOrphan));
        if !table.records.is_found(&table.realms, at) {
            return Err(format!("{at}: not found under its key: {allocation:?}"));
        }
    }
    connections_count_what_is_live(table)?;
    let circle_of = |at| {
        crate::state::model::gatherings::members(&table.records.slab, at).take(100).collect::<Vec<RecordId>>()
    };
    let named: Vec<RecordId> = table.gatherings.named().collect();
    for &member in &named {
        let known = table.records.get(member);
        if !known.is_some_and(|known| known.phase != Phase::Closing) {
            return Err(format!("{member}: named by a gathering, but has ended: {known:?}"));
        }
        let namers = circle_of(member).iter().filter(|&at| named.contains(at)).count();
        if namers != 1 {
            return Err(format!("{member}: {namers} gatherings name one circle: {:?}", circle_of(member)));
        }
    }
    for (at, allocation) in table.records.slab.iter().filter(|(_, one)| one.phase == Phase::Live) {
        let circle = circle_of(at);
        let is_whole = circle.iter().all(|&member| {
            let member = &table.records[member];
            member.phase != Phase::Closing
                && member.source() == allocation.source()
                && table.realms.name(member.realm) == table.realms.name(allocation.realm)
                && table.records.users.get(member.user) == table.records.users.get(allocation.user)
        });
        if !is_whole || circle.len() > 64 {
            return Err(format!("{at}: its gathering holds others: {circle:?}"));
        }
    }
    for (number, session) in table.sessions.slab.iter() {
        session.check(live_by_session.get(&number).copied().unwrap_or(0))?;
    }
    let records = table.sessions.slab.iter().filter(|(_, session)| session.facts().open).count();
    if table.sessions.owners() != records + sessions_without_record {
        let found = table.sessions.owners();
        return Err(format!("{found} owners for {records} + {sessions_without_record} open sessions"));
    }
    if table.records.keys() != table.records.len() {
        return Err(format!("{} keys for {} records", table.records.keys(), table.records.len()));
    }
    for realm in &snapshot.realms {
        let label = realm.label.to_string();
        compare(realm, recount.get(&label).copied().unwrap_or_default())?;
        let start = realm.oldest_allocation.map(crate::clock::Timestamp::as_millis);
        let session = realm.oldest_session.map(crate::clock::Timestamp::as_millis);
        let oldest_session = oldest_sessions.get(&label).copied().filter(|_| realm.series.sessions > 0);
        expect(&label, "oldest session", session, oldest_session)?;
        expect(&label, "oldest allocation", start, oldest.get(&label).copied())?;
        for (place, transport) in Transport::ALL.into_iter().enumerate() {
            let counted = transports.get(&(label.clone(), transport)).copied().unwrap_or(0);
            expect(&label, transport.as_str(), realm.series.live.get(place), counted)?;
        }
    }
    places(table)?;
    let live: u64 = recount.values().map(|counts| counts[0]).sum();
    // Those that are not watched any more are not on the page.
    expect("all", "by source", table.sources.iter().map(|source| source.live).sum(), live)?;
    expect("all", "by server", table.servers.all().iter().map(|server| server.live).sum(), live)
}

fn places(table: &Table) -> Result<(), String> {
    let mut taken = vec![0; table.sources.iter().count()];
    for (_, allocation) in table.records.slab.iter() {
        taken[allocation.source().0 as usize] += 1;
    }
    for (source, taken) in table.sources.iter().zip(taken) {
        expect(&source.name, "records", source.records.taken, taken)?;
    }
    Ok(())
}

fn compare(realm: &RealmView, [live, idle, over, overdue]: [u64; 4]) -> Result<(), String> {
    let (label, series) = (&*realm.label, &realm.series);
    expect(label, "live", series.live.total(), live)?;
    let identity = series.opened.total() + series.adopted - series.closed.total();
    expect(label, "opened + adopted - closed", identity, live)?;
    expect(label, "idle", series.orphans.get(Orphan::Idle as usize), idle)?;
    expect(label, "overdue", series.orphans.get(Orphan::Overdue as usize), overdue)?;
    expect(label, "over max lifetime", series.over_max_lifetime, over)?;
    let RealmSeries { allocation_durations, session_durations: [relayed, unrelayed], .. } = series;
    for (what, durations) in [
        ("allocation durations", allocation_durations),
        ("relayed session durations", relayed),
        ("unrelayed session durations", unrelayed),
        ("session relay durations", &series.session_relay_durations),
    ] {
        histogram(&format!("{label}: {what}"), durations, &DURATION_BUCKETS.map(|edge| edge * 1000))?;
    }
    histogram(&format!("{label}: session bytes"), &series.session_bytes, &BYTES_BUCKETS)?;
    for leg in Leg::ALL {
        for direction in Direction::ALL {
            let relayed = series.relayed.get(leg).get(direction);
            let recovered = series.recovered.get(leg).get(direction);
            if recovered.bytes > relayed.bytes || recovered.packets > relayed.packets {
                return Err(format!("{label}: recovered {recovered:?} of {relayed:?}"));
            }
        }
    }
    Ok(())
}

/// Native buckets hold as many observations as those of the edges, and each exemplar is in its bucket.
fn histogram<const N: usize>(what: &str, histogram: &Histogram<N>, edges: &[u64; N]) -> Result<(), String> {
    let native = histogram.native().map_or(0, NativeBuckets::count);
    expect(what, "native buckets", native, histogram.count())?;
    if histogram.native().is_some_and(|native| native.iter().any(|(_, count)| count == 0)) {
        return Err(format!("{what}: a native bucket is empty: {histogram:?}"));
    }
    let above = histogram.count() - histogram.counts().iter().sum::<u64>();
    let counts = histogram.counts().iter().copied().chain([above]);
    for (place, (exemplar, count)) in histogram.exemplars().zip(counts).enumerate() {
        let Some(&Exemplar { value, .. }) = exemplar else { continue };
        let is_above = place == 0 || value > edges[place - 1];
        if count == 0 || !is_above || edges.get(place).is_some_and(|&edge| value > edge) {
            return Err(format!("{what}: bucket {place} of {count} has {exemplar:?}"));
        }
    }
    Ok(())
}

fn expect<T: PartialEq + std::fmt::Debug + Copy>(
    realm: &str,
    what: &str,
    shown: T,
    counted: T,
) -> Result<(), String> {
    if shown == counted {
        Ok(())
    } else {
        Err(format!("{realm}: {what}: shown {shown:?}, counted {counted:?}"))
    }
}

/// Whether nothing is left of what has been.
#[cfg(test)]
pub(super) fn is_empty(table: &Table) -> bool {
    table.records.is_empty()
        && table.sessions.is_empty()
        && table.realms.is_empty()
        && table.keys.is_empty()
        && table.gatherings.is_empty()
        && table.timers.len() == 0
        && table.sources.iter().all(|source| source.records.is_empty())
}
