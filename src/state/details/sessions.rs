//! Sessions as rows. What their live allocations add is summed up on the way through the allocations, for no session
//! knows its members.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::allocations::{State, ranked, rate_of};
use super::best::{Best, Place, Value};
use super::{Filter, Found, Sort, Walk, Wanted, slice, source_name};
use crate::clock::Timestamp;
use crate::state::Table;
use crate::state::allocation::{Fact, Phase};
use crate::state::series::Orphan;
use crate::state::session::Facts;
use crate::state::slab::NONE;

/// One session.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// The Redis that told of it.
    pub source: Arc<str>,
    /// The realm's name; empty where coturn has none.
    pub realm: Arc<[u8]>,
    /// The user's name.
    pub user: Arc<[u8]>,
    /// The client host, where it tells sessions of one user apart.
    pub client: Option<IpAddr>,
    /// Live (it may also linger without a live allocation), or closing.
    pub state: State,
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

/// A walk through the allocations, then through the sessions.
#[derive(Debug)]
pub struct SessionWalk {
    wanted: Wanted,
    best: Best<SessionRow>,
    now: Option<Timestamp>,
    /// By the number of the session.
    members: Vec<Option<Members>>,
    next_allocation: u32,
    next_session: Option<u32>,
}

impl Walk for SessionWalk {
    type Row = SessionRow;

    fn new(wanted: Wanted) -> Self {
        let best = Best::new(&wanted);
        Self { wanted, best, now: None, members: Vec::new(), next_allocation: 0, next_session: None }
    }

    fn step(&mut self, table: &Table) -> bool {
        let now = *self.now.get_or_insert(table.now);
        let Some(next) = self.next_session else {
            let (places, more) = slice(self.next_allocation, table.allocations.places());
            self.next_allocation = places.end;
            for at in places {
                self.add(table, at, now);
            }
            self.next_session = (!more).then_some(0);
            return true;
        };
        let (places, more) = slice(next, table.sessions.places());
        self.next_session = Some(places.end);
        for number in places {
            self.offer(table, number, now);
        }
        more
    }

    fn found(self) -> Found<SessionRow> {
        self.best.found(self.now.unwrap_or_default())
    }
}

impl SessionWalk {
    /// Adds what an allocation has that its session does not know yet.
    fn add(&mut self, table: &Table, at: u32, now: Timestamp) {
        let Some(allocation) = table.allocations.get(at).filter(|one| one.session != NONE) else { return };
        let serial = table.sessions[allocation.session].serial;
        let number = allocation.session as usize;
        if self.members.len() <= number {
            self.members.resize_with(number + 1, || None);
        }
        let Some(place) = self.members.get_mut(number) else { return };
        let members = match place {
            Some(members) if members.serial == serial => members,
            _ => place.insert(Members {
                serial,
                bytes: 0,
                rate: 0,
                idle: 0,
                active: Timestamp::ZERO,
                relayed: false,
            }),
        };
        let bytes =
            allocation.deciding_leg().bytes().saturating_sub(table.accounted.get(&at).copied().unwrap_or(0));
        members.bytes = members.bytes.saturating_add(bytes);
        members.relayed |= allocation.is(Fact::Relayed);
        if allocation.phase == Phase::Live {
            members.rate = members.rate.saturating_add(rate_of(allocation, now));
            members.idle += u32::from(allocation.is(Fact::Idle));
            members.active = members.active.max(allocation.quiet_since.get());
        }
    }

    fn offer(&mut self, table: &Table, number: u32, now: Timestamp) {
        let Some(session) = table.sessions.get(number) else { return };
        let (facts, order) = (session.facts(), self.wanted.order);
        let members = self.members.get(number as usize).and_then(Option::as_ref);
        let members = members.filter(|members| members.serial == session.serial);
        let user = table.users.get(session.user);
        let row = || row(table, session.source, session.realm, user, session.host, &facts, members, now);
        let idle = members.map_or(0, |members| members.idle);
        let reason = (idle > 0).then_some(Orphan::Idle);
        let filter = &self.wanted.filter;
        if !passes(filter, &facts, reason, now) || !filter.passes_name(table, session.realm, user) {
            return;
        }
        let value = match order.sort {
            Sort::Realm => Value::Text(table.realms.shared_name(session.realm)),
            Sort::User => Value::Text(user.into()),
            _ => Value::Number(number_of(order.sort, &facts, members)),
        };
        self.best.offer(Place { value, number }, reason, row);
    }
}

fn passes(filter: &Filter, facts: &Facts, reason: Option<Orphan>, now: Timestamp) -> bool {
    filter.state.is_none_or(|wanted| state(facts) == wanted)
        && filter.reason.is_none_or(|wanted| reason == Some(wanted))
        && filter.passes_age(age(facts, now))
}

fn state(facts: &Facts) -> State {
    if facts.open { State::Live } else { State::Closing }
}

fn age(facts: &Facts, now: Timestamp) -> Duration {
    if facts.open { now.since(facts.started) } else { facts.ended.since(facts.started) }
}

fn active(facts: &Facts, members: Option<&Members>) -> Timestamp {
    match members {
        Some(members) if facts.live > 0 => members.active,
        _ => facts.ended,
    }
}

fn bytes(facts: &Facts, members: Option<&Members>) -> u64 {
    facts.bytes.saturating_add(members.map_or(0, |members| members.bytes))
}

fn number_of(sort: Sort, facts: &Facts, members: Option<&Members>) -> u64 {
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

#[expect(clippy::too_many_arguments, reason = "the parts of one row, each used once")]
fn row(
    table: &Table,
    source: u32,
    realm: u32,
    user: &[u8],
    client: Option<IpAddr>,
    facts: &Facts,
    members: Option<&Members>,
    now: Timestamp,
) -> SessionRow {
    SessionRow {
        source: source_name(table, source),
        realm: table.realms.shared_name(realm),
        user: user.into(),
        client,
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
