//! Sessions as rows. What their live allocations add is summed up on the way through the allocations, for no session
//! knows its members.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::super::Table;
use super::allocations::{ranked, rate_of};
use super::best::{Best, SortPosition, SortValue};
use super::{Filter, RowPage, RowQuery, RowWalk, Sort, slice, source_name};
use crate::clock::Timestamp;
use crate::state::model::allocation::{Allocation, Flag, Phase};
use crate::state::model::ids::{RealmId, RecordId, SessionId, SourceId};
use crate::state::model::series::Orphan;
use crate::state::model::session::SessionFacts;
use crate::state::model::session_owner::{Holder, PackedHolder};

/// One session.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// The source that reports it.
    pub source: Arc<str>,
    /// The realm's name; empty where coturn has none.
    pub realm: Arc<[u8]>,
    /// The user's name.
    pub user: Arc<[u8]>,
    /// The client host, where it tells sessions of one user apart.
    pub client: Option<IpAddr>,
    /// Live (it may also linger without a live allocation), or closing.
    pub state: Phase,
    /// When its first allocation began.
    pub started: Timestamp,
    /// Not all of it was watched: it may be older, and have relayed more.
    pub partial: bool,
    /// Since the start; of a closing one until its end.
    pub age: Duration,
    /// Allocations that live.
    pub live: u32,
    /// Allocations that it has had.
    pub allocations: u32,
    /// Live ones that are idle orphans.
    pub idle: u32,
    /// The last report of relayed traffic by a live allocation; without any, the last end.
    pub active: Timestamp,
    /// One of its allocations was used.
    pub relayed: bool,
    /// Bytes of both directions on the leg that decides.
    pub bytes: u64,
    /// Bytes in a second, by the last reports.
    pub rate: u64,
}

/// What the members of one session add to it.
#[derive(Debug)]
struct Members {
    /// Whose they are: a place may go to another session between two slices.
    serial: u64,
    bytes: u64,
    rate: u64,
    idle: u32,
    active: Timestamp,
    relayed: bool,
}

impl Members {
    const fn of(serial: u64) -> Self {
        Self { serial, bytes: 0, rate: 0, idle: 0, active: Timestamp::ZERO, relayed: false }
    }

    /// Adds what an allocation has that its session does not know yet.
    fn add(&mut self, table: &Table, at: RecordId, allocation: &Allocation, now: Timestamp) {
        let accounted = table.records.end(at).map_or(0, |ending| ending.accounted_bytes);
        let bytes = allocation.decisive_traffic().bytes().saturating_sub(accounted);
        self.bytes = self.bytes.saturating_add(bytes);
        self.relayed |= allocation.is(Flag::Relayed);
        if allocation.phase == Phase::Live {
            self.rate = self.rate.saturating_add(rate_of(table, at, now));
            self.idle += u32::from(allocation.is(Flag::Idle));
            self.active = self.active.max(allocation.quiet_since.get());
        }
    }
}

/// A session, whoever stands for it.
struct SessionView<'a> {
    source: SourceId,
    realm: RealmId,
    user: &'a [u8],
    host: Option<IpAddr>,
    facts: SessionFacts,
    members: Option<&'a Members>,
}

/// Where a walk goes on.
#[derive(Clone, Copy, Debug)]
enum WalkStage {
    /// Allocations, for what they add to their sessions.
    Member(u32),
    /// Sessions.
    Session(u32),
    /// Allocations that stand for a session themselves. One that gets company meanwhile is left out of the page.
    Alone(u32),
}

/// A walk through the allocations, then through the sessions.
#[derive(Debug)]
pub struct SessionWalk {
    wanted: RowQuery,
    best: Best<SessionRow>,
    now: Option<Timestamp>,
    /// By the number of the session.
    members: Vec<Option<Members>>,
    next: WalkStage,
}

impl RowWalk for SessionWalk {
    type Row = SessionRow;

    fn new(wanted: RowQuery) -> Self {
        let best = Best::new(&wanted);
        Self { wanted, best, now: None, members: Vec::new(), next: WalkStage::Member(0) }
    }

    fn step(&mut self, table: &Table) -> bool {
        let now = *self.now.get_or_insert(table.now);
        match self.next {
            WalkStage::Member(next) => {
                let (places, more) = slice(next, table.records.places());
                self.next = if more { WalkStage::Member(places.end) } else { WalkStage::Session(0) };
                for at in places.map(RecordId::of_place) {
                    self.add(table, at, now);
                }
                true
            }
            WalkStage::Session(next) => {
                let (places, more) = slice(next, table.sessions.places());
                self.next = if more { WalkStage::Session(places.end) } else { WalkStage::Alone(0) };
                for number in places.map(SessionId::of_place) {
                    self.offer_session(table, number, now);
                }
                true
            }
            WalkStage::Alone(next) => {
                let (places, more) = slice(next, table.records.places());
                self.next = WalkStage::Alone(places.end);
                for at in places.map(RecordId::of_place) {
                    self.offer_alone(table, at, now);
                }
                more
            }
        }
    }

    fn found(self) -> RowPage<SessionRow> {
        self.best.found(self.now.unwrap_or_default())
    }
}

impl SessionWalk {
    fn add(&mut self, table: &Table, at: RecordId, now: Timestamp) {
        let Some(allocation) = table.records.get(at) else { return };
        let Some(number) = allocation.session.session() else { return };
        let session = &table.sessions[number];
        let number = number.place() as usize;
        if self.members.len() <= number {
            self.members.resize_with(number + 1, || None);
        }
        let Some(place) = self.members.get_mut(number) else { return };
        let members = match place {
            Some(members) if members.serial == session.serial => members,
            _ => place.insert(Members::of(session.serial)),
        };
        members.add(table, at, allocation, now);
    }

    fn offer_session(&mut self, table: &Table, number: SessionId, now: Timestamp) {
        let Some(session) = table.sessions.get(number) else { return };
        let members = self.members.get(number.place() as usize).and_then(Option::as_ref);
        let seen = SessionView {
            source: session.source,
            realm: session.realm,
            user: table.records.users.get(session.user),
            host: session.host,
            facts: session.facts(),
            members: members.filter(|members| members.serial == session.serial),
        };
        offer(&mut self.best, &self.wanted, table, &seen, number.place(), now);
    }

    fn offer_alone(&mut self, table: &Table, at: RecordId, now: Timestamp) {
        let Some(allocation) = table.records.get(at).filter(|one| one.is_alone()) else { return };
        let mut members = Members::of(allocation.serial.get());
        members.add(table, at, allocation, now);
        let started = allocation.started.get();
        let facts = SessionFacts {
            started,
            ended: started,
            open: true,
            partial: allocation.is(Flag::SessionPartial),
            live: 1,
            allocations: 1,
            bytes: 0,
            relayed: false,
        };
        let seen = SessionView {
            source: allocation.source(),
            realm: allocation.realm,
            user: table.records.users.get(allocation.user),
            host: None,
            facts,
            members: Some(&members),
        };
        offer(
            &mut self.best,
            &self.wanted,
            table,
            &seen,
            PackedHolder::from(Holder::Alone(at)).number(),
            now,
        );
    }
}

fn offer(
    best: &mut Best<SessionRow>,
    wanted: &RowQuery,
    table: &Table,
    seen: &SessionView<'_>,
    number: u32,
    now: Timestamp,
) {
    let (facts, members, filter) = (&seen.facts, seen.members, &wanted.filter);
    let idle = members.map_or(0, |members| members.idle);
    let reason = (idle > 0).then_some(Orphan::Idle);
    let is_wanted = passes(filter, facts, reason, now)
        && filter.passes_client(|| seen.host)
        && filter.passes_name(table, seen.realm, seen.user);
    if !is_wanted {
        return;
    }
    let value = match wanted.order.sort {
        Sort::Realm => SortValue::Text(table.realms.shared_name(seen.realm)),
        Sort::User => SortValue::Text(seen.user.into()),
        sort => SortValue::Number(number_of(sort, facts, members)),
    };
    best.offer(SortPosition { value, number }, reason, || row(table, seen, now));
}

fn passes(filter: &Filter, facts: &SessionFacts, reason: Option<Orphan>, now: Timestamp) -> bool {
    filter.state.is_none_or(|wanted| state(facts) == wanted)
        && filter.reason.is_none_or(|wanted| reason == Some(wanted))
        && filter.passes_age(age(facts, now))
}

fn state(facts: &SessionFacts) -> Phase {
    if facts.open { Phase::Live } else { Phase::Closing }
}

fn age(facts: &SessionFacts, now: Timestamp) -> Duration {
    if facts.open { now.since(facts.started) } else { facts.ended.since(facts.started) }
}

fn active(facts: &SessionFacts, members: Option<&Members>) -> Timestamp {
    match members {
        Some(members) if facts.live > 0 => members.active,
        _ => facts.ended,
    }
}

fn bytes(facts: &SessionFacts, members: Option<&Members>) -> u64 {
    facts.bytes.saturating_add(members.map_or(0, |members| members.bytes))
}

fn number_of(sort: Sort, facts: &SessionFacts, members: Option<&Members>) -> u64 {
    match sort {
        Sort::Orphans => {
            let group = match members {
                Some(members) if members.idle > 0 => 0,
                _ if facts.open => 2,
                _ => 3,
            };
            ranked(group, facts.started)
        }
        Sort::Age => !facts.started.as_millis(),
        Sort::Idle => !active(facts, members).as_millis(),
        Sort::Bytes => bytes(facts, members),
        Sort::Rate => members.map_or(0, |members| members.rate),
        Sort::Allocations => u64::from(facts.live),
        Sort::LifetimeLeft | Sort::Realm | Sort::User => 0,
    }
}

fn row(table: &Table, seen: &SessionView<'_>, now: Timestamp) -> SessionRow {
    let (facts, members) = (&seen.facts, seen.members);
    SessionRow {
        source: source_name(table, seen.source),
        realm: table.realms.shared_name(seen.realm),
        user: seen.user.into(),
        client: seen.host,
        state: state(facts),
        started: facts.started,
        partial: facts.partial,
        age: age(facts, now),
        live: facts.live,
        allocations: facts.allocations,
        idle: members.map_or(0, |members| members.idle),
        active: active(facts, members),
        relayed: facts.relayed || members.is_some_and(|members| members.relayed),
        bytes: bytes(facts, members),
        rate: members.map_or(0, |members| members.rate),
    }
}
