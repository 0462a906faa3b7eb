//! Allocations as rows.

use crate::state::model::ids::RecordId;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::super::Table;
use super::best::{Best, SortPosition, SortValue};
use super::{Filter, RowPage, RowQuery, RowWalk, Sort, rate, slice, source_name};
use crate::clock::Timestamp;
use crate::state::model::allocation::{Allocation, Flag, Origin, Phase};
use crate::state::model::gatherings::members;
use crate::state::model::series::Orphan;
use crate::wire::{AllocationId, ByLeg, Traffic, Transport};

/// One allocation.
#[derive(Clone, Debug)]
pub struct AllocationRow {
    /// The source that reports it.
    pub source: Arc<str>,
    /// The realm's name; empty where coturn has none.
    pub realm: Arc<[u8]>,
    /// The user's name, as the client sent it.
    pub user: Arc<[u8]>,
    /// coturn's number for it.
    pub id: AllocationId,
    /// The server's address as on the metrics page.
    pub server: Arc<str>,
    /// How the client reaches the server.
    pub transport: Transport,
    /// Where the client is, if the status says.
    pub client: Option<SocketAddr>,
    /// Where in its life.
    pub state: Phase,
    /// Why it is an orphan.
    pub reason: Option<Orphan>,
    /// When it began; of an adopted one, the last status known when it was adopted.
    pub started: Timestamp,
    /// First met in the middle of its life, so that it may be older.
    pub adopted: bool,
    /// Since the start; of a closing one until its end.
    pub age: Duration,
    /// The last status that granted a lifetime.
    pub granted: Timestamp,
    /// The lifetime granted then.
    pub lifetime: Duration,
    /// The end of the lifetime, by that status or by later proof of life.
    pub expires: Timestamp,
    /// The last report of relayed traffic, its own or of those gathered with it; the moment it was met, if none was seen.
    pub active: Timestamp,
    /// It was used, by the threshold of packets.
    pub relayed: bool,
    /// Older than the largest grant.
    pub over_max_lifetime: bool,
    /// What was counted as relayed.
    pub traffic: ByLeg<Traffic>,
    /// Bytes of both directions on the leg that decides: the peer's, where coturn tells of it.
    pub bytes: u64,
    /// Bytes in a second, by its last report.
    pub rate: u64,
}

/// A walk through the allocations.
#[derive(Debug)]
pub struct AllocationWalk {
    wanted: RowQuery,
    best: Best<AllocationRow>,
    now: Option<Timestamp>,
    next: u32,
}

impl RowWalk for AllocationWalk {
    type Row = AllocationRow;

    fn new(wanted: RowQuery) -> Self {
        Self { best: Best::new(&wanted), wanted, now: None, next: 0 }
    }

    fn step(&mut self, table: &Table) -> bool {
        let now = *self.now.get_or_insert(table.now);
        let (places, more) = slice(self.next, table.records.places());
        self.next = places.end;
        for at in places.map(RecordId::of_place) {
            let Some(allocation) = table.records.get(at) else { continue };
            if passes(&self.wanted.filter, table, at, now) {
                let place =
                    SortPosition { value: value(self.wanted.order.sort, table, at, now), number: at.place() };
                self.best.offer(place, reason(allocation), || row(table, at, now));
            }
        }
        more
    }

    fn found(self) -> RowPage<AllocationRow> {
        self.best.found(self.now.unwrap_or_default())
    }
}

fn passes(filter: &Filter, table: &Table, at: RecordId, now: Timestamp) -> bool {
    let allocation = &table.records[at];
    filter.state.is_none_or(|wanted| allocation.phase == wanted)
        && filter.reason.is_none_or(|wanted| reason(allocation) == Some(wanted))
        && filter.passes_age(age(table, at, now))
        && filter.transport.is_none_or(|wanted| allocation.transport == wanted)
        && filter.passes_client(|| table.records.client(allocation).map(|client| client.ip()))
        && filter
            .server
            .as_ref()
            .is_none_or(|wanted| table.servers.label(allocation.server).as_bytes() == wanted)
        && filter.passes_name(table, allocation.realm, table.records.users.get(allocation.user))
}

/// What the row is put in order by. Of ages the moments are taken, turned round: they stay while time passes, so that a
/// page that is asked for later still follows on.
fn value(sort: Sort, table: &Table, at: RecordId, now: Timestamp) -> SortValue {
    let allocation = &table.records[at];
    SortValue::Number(match sort {
        Sort::Realm => return SortValue::Text(table.realms.shared_name(allocation.realm)),
        Sort::User => return SortValue::Text(table.records.users.get(allocation.user).into()),
        Sort::Orphans => {
            let group = match (reason(allocation), allocation.phase) {
                (Some(Orphan::Idle), _) => 0,
                (Some(Orphan::Overdue), _) => 1,
                (None, Phase::Live) => 2,
                (None, _) => 3,
            };
            ranked(group, allocation.started.get())
        }
        Sort::Age => !allocation.started.get().as_millis(),
        Sort::Idle => !active(table, at).as_millis(),
        Sort::LifetimeLeft => allocation.alive_until.get().as_millis(),
        Sort::Bytes => allocation.decisive_traffic().bytes(),
        Sort::Rate => rate_of(table, at, now),
        Sort::Allocations => 0,
    })
}

/// A moment within a group: groups first, then the earlier moment.
pub(super) fn ranked(group: u64, moment: Timestamp) -> u64 {
    const BITS: u32 = 56;
    group << BITS | moment.as_millis().min((1 << BITS) - 1)
}

fn reason(allocation: &Allocation) -> Option<Orphan> {
    match (allocation.is(Flag::Idle), allocation.is(Flag::OverdueOrphan)) {
        (true, _) => Some(Orphan::Idle),
        (false, true) => Some(Orphan::Overdue),
        (false, false) => None,
    }
}

fn age(table: &Table, at: RecordId, now: Timestamp) -> Duration {
    let allocation = &table.records[at];
    let until = if matches!(allocation.phase, Phase::Closing | Phase::Gone) {
        table.records.ended_at(at)
    } else {
        now
    };
    until.since(allocation.started.get())
}

/// What the allocation's gathering is judged by.
fn active(table: &Table, at: RecordId) -> Timestamp {
    let all = members(&table.records.slab, at).map(|member| table.records[member].quiet_since.get());
    all.max().unwrap_or_default()
}

pub(super) fn rate_of(table: &Table, at: RecordId, now: Timestamp) -> u64 {
    let (allocation, report) = (&table.records[at], table.records.rates.get(at));
    rate(
        report.bytes,
        Duration::from_millis(u64::from(report.millis)),
        now.since(allocation.quiet_since.get()),
    )
}

fn row(table: &Table, at: RecordId, now: Timestamp) -> AllocationRow {
    let allocation = &table.records[at];
    AllocationRow {
        source: source_name(table, allocation.source()),
        realm: table.realms.shared_name(allocation.realm),
        user: table.records.users.get(allocation.user).into(),
        id: allocation.id,
        server: table.servers.label(allocation.server),
        transport: allocation.transport,
        client: table.records.client(allocation),
        state: allocation.phase,
        reason: reason(allocation),
        started: allocation.started.get(),
        adopted: allocation.origin != Origin::Born,
        age: age(table, at, now),
        granted: allocation.granted_at.get(),
        lifetime: allocation.lifetime.get(),
        expires: allocation.alive_until.get(),
        active: active(table, at),
        relayed: allocation.is(Flag::Relayed),
        over_max_lifetime: allocation.is(Flag::OverMaxLifetime),
        traffic: allocation.counted.both(),
        bytes: allocation.decisive_traffic().bytes(),
        rate: rate_of(table, at, now),
    }
}
