//! Rows as JSON. The names of the fields are a contract; docs/api.md lists them.

use std::borrow::Cow;

use serde::Serialize;

use super::list::List;
use super::query::Query;
use super::{Listing, cursor};
use crate::clock::{Timestamp, WallTime};
use crate::percent::encode;
use crate::state::rows::{AllocationRow, RowBound, RowPage, SessionRow};
use crate::wire::{ByLeg, Traffic};

#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
}

#[derive(Serialize)]
struct Orphans {
    idle: u64,
    overdue: u64,
}

#[derive(Serialize)]
struct AllocationsPage<'a> {
    now: String,
    matched: u64,
    orphans: Orphans,
    #[serde(flatten)]
    pages: PageCursors,
    allocations: Vec<AllocationJson<'a>>,
}

#[derive(Serialize)]
struct SessionsPage<'a> {
    now: String,
    matched: u64,
    with_orphans: u64,
    #[serde(flatten)]
    pages: PageCursors,
    sessions: Vec<SessionJson<'a>>,
}

/// Where the page is among all, and the cursors of those beside it.
#[derive(Serialize)]
struct PageCursors {
    start: u64,
    previous_cursor: Option<String>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
pub(super) struct AllocationJson<'a> {
    source: &'a str,
    #[serde(flatten)]
    owner: Owner<'a>,
    id: String,
    server: &'a str,
    transport: &'static str,
    client: Option<String>,
    state: &'static str,
    reason: Option<&'static str>,
    started: String,
    adopted: bool,
    age_seconds: f64,
    last_grant: String,
    lifetime_seconds: f64,
    expires: String,
    lifetime_left_seconds: f64,
    last_active: String,
    idle_seconds: f64,
    over_max_lifetime: bool,
    relayed: bool,
    bytes: u64,
    bytes_per_second: u64,
    traffic: Legs,
}

#[derive(Serialize)]
pub(super) struct SessionJson<'a> {
    source: &'a str,
    #[serde(flatten)]
    owner: Owner<'a>,
    client: Option<String>,
    state: &'static str,
    started: String,
    partial: bool,
    age_seconds: f64,
    live_allocations: u32,
    idle_orphans: u32,
    allocations: u32,
    last_active: String,
    idle_seconds: f64,
    relayed: bool,
    bytes: u64,
    bytes_per_second: u64,
}

/// Names need not be UTF-8, so there are two forms: one to read, and an exact one that a filter accepts.
#[derive(Serialize)]
struct Owner<'a> {
    realm: Cow<'a, str>,
    realm_encoded: String,
    user: Cow<'a, str>,
    user_encoded: String,
}

#[derive(Serialize)]
struct Legs {
    client: Directions,
    peer: Directions,
}

#[derive(Serialize)]
struct Directions {
    received: VolumeJson,
    sent: VolumeJson,
}

#[derive(Serialize)]
struct VolumeJson {
    packets: u64,
    bytes: u64,
}

/// `{"error": "..."}`.
pub(super) fn error(sentence: &str) -> Vec<u8> {
    body(&Refusal { error: sentence })
}

/// The list of allocations.
pub(super) fn allocations(listing: &Listing<AllocationRow>, query: &Query) -> Vec<u8> {
    let RowPage { rows, matched, .. } = &listing.found;
    body(&AllocationsPage {
        now: listing.wall.rfc3339(),
        matched: matched.all,
        orphans: Orphans { idle: matched.idle, overdue: matched.overdue },
        pages: PageCursors::of(List::Allocations, query, &listing.found),
        allocations: rows.iter().map(|row| allocation(listing, row)).collect(),
    })
}

/// The list of sessions.
pub(super) fn sessions(listing: &Listing<SessionRow>, query: &Query) -> Vec<u8> {
    let RowPage { rows, matched, .. } = &listing.found;
    body(&SessionsPage {
        now: listing.wall.rfc3339(),
        matched: matched.all,
        with_orphans: matched.idle,
        pages: PageCursors::of(List::Sessions, query, &listing.found),
        sessions: rows.iter().map(|row| session(listing, row)).collect(),
    })
}

impl PageCursors {
    fn of<R>(list: List, query: &Query, found: &RowPage<R>) -> Self {
        let text = |bound| cursor::text(list, query.order, &bound);
        Self {
            start: found.start,
            previous_cursor: found.previous.clone().map(RowBound::Before).map(text),
            next_cursor: found.next.clone().map(RowBound::After).map(text),
        }
    }
}

fn body(content: &impl Serialize) -> Vec<u8> {
    // Strings and numbers only, so it cannot fail.
    let mut body = serde_json::to_vec(content).unwrap_or_default();
    body.push(b'\n');
    body
}

/// One allocation.
pub(super) fn allocation<'a>(listing: &Listing<AllocationRow>, row: &'a AllocationRow) -> AllocationJson<'a> {
    let now = listing.found.now;
    AllocationJson {
        source: &row.source,
        owner: owner(&row.realm, &row.user),
        id: row.id.to_string(),
        server: &row.server,
        transport: row.transport.as_str(),
        client: row.client.map(|client| client.to_string()),
        state: row.state.as_str(),
        reason: row.reason.map(crate::state::Orphan::as_str),
        started: listing.moment(row.started),
        adopted: row.adopted,
        age_seconds: row.age.as_secs_f64(),
        last_grant: listing.moment(row.granted),
        lifetime_seconds: row.lifetime.as_secs_f64(),
        expires: listing.moment(row.expires),
        lifetime_left_seconds: left(row.expires, now),
        last_active: listing.moment(row.active),
        idle_seconds: now.since(row.active).as_secs_f64(),
        over_max_lifetime: row.over_max_lifetime,
        relayed: row.relayed,
        bytes: row.bytes,
        bytes_per_second: row.rate,
        traffic: legs(&row.traffic),
    }
}

/// One session.
pub(super) fn session<'a>(listing: &Listing<SessionRow>, row: &'a SessionRow) -> SessionJson<'a> {
    SessionJson {
        source: &row.source,
        owner: owner(&row.realm, &row.user),
        client: row.client.map(|client| client.to_string()),
        state: row.state.as_str(),
        started: listing.moment(row.started),
        partial: row.partial,
        age_seconds: row.age.as_secs_f64(),
        live_allocations: row.live,
        idle_orphans: row.idle,
        allocations: row.allocations,
        last_active: listing.moment(row.active),
        idle_seconds: listing.found.now.since(row.active).as_secs_f64(),
        relayed: row.relayed,
        bytes: row.bytes,
        bytes_per_second: row.rate,
    }
}

fn owner<'a>(realm: &'a [u8], user: &'a [u8]) -> Owner<'a> {
    Owner {
        realm: String::from_utf8_lossy(realm),
        realm_encoded: encode(realm),
        user: String::from_utf8_lossy(user),
        user_encoded: encode(user),
    }
}

/// Seconds until a moment; negative once it has passed.
pub(super) fn left(until: Timestamp, now: Timestamp) -> f64 {
    if until >= now { until.since(now).as_secs_f64() } else { -now.since(until).as_secs_f64() }
}

fn legs(traffic: &ByLeg<Traffic>) -> Legs {
    let directions = |traffic: &Traffic| Directions {
        received: VolumeJson { packets: traffic.received.packets, bytes: traffic.received.bytes },
        sent: VolumeJson { packets: traffic.sent.packets, bytes: traffic.sent.bytes },
    };
    Legs { client: directions(&traffic.client), peer: directions(&traffic.peer) }
}

impl<R> Listing<R> {
    /// A moment by the wall clock, as text.
    pub(super) fn moment(&self, moment: Timestamp) -> String {
        WallTime { now: self.found.now, wall: self.wall }.of(moment).rfc3339()
    }
}
