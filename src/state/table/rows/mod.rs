//! Rows for people: which allocations and which sessions there are, and what is known of each.
//!
//! A scrape never comes here. A [`RowWalk`] goes through the records in slices, so that whoever holds the table's lock for
//! it does so for [`SLICE`] records at a time, however many there are; it keeps no more rows than one page has, and
//! gives plain copies. What changes between two slices may appear as before or as after.

mod allocations;
mod best;
mod sessions;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Table;
use crate::clock::Timestamp;
use crate::state::model::allocation::Phase;
use crate::state::model::ids::{RealmId, SourceId};
use crate::state::model::series::Orphan;
use crate::wire::{Transport, turn_rest};

pub use allocations::{AllocationRow, AllocationWalk};
pub use best::{SortPosition, SortValue};
pub use sessions::{SessionRow, SessionWalk};

/// Places of records that one slice looks at.
pub const SLICE: u32 = 4096;

/// Which rows are wanted. What is `None` lets all pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The realm's name, or its label on the metrics page.
    pub realm: Option<Vec<u8>>,
    /// The user's name; of a TURN REST name ([`turn_rest`]) the user id will do.
    pub user: Option<Vec<u8>>,
    /// Where in its life.
    pub state: Option<Phase>,
    /// Why it is an orphan; of a session, whether one of its allocations is.
    pub reason: Option<Orphan>,
    /// How old at least.
    pub min_age: Option<Duration>,
    /// The server's address as on the metrics page; of allocations only.
    pub server: Option<Vec<u8>>,
    /// How the client reaches the server; of allocations only.
    pub transport: Option<Transport>,
    /// The host of the client, where it is known.
    pub client: Option<IpAddr>,
}

/// What rows are put in order by. Ascending goes from small to large as shown: from young to old for the age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Orphans first (idle, then overdue), the oldest first among them and among the others.
    #[default]
    Orphans,
    /// By the start.
    Age,
    /// By the time since something was relayed.
    Idle,
    /// By the end of the granted lifetime; allocations only.
    LifetimeLeft,
    /// By the bytes relayed.
    Bytes,
    /// By the bytes relayed in a second, of late.
    Rate,
    /// By the realm's name.
    Realm,
    /// By the user's name.
    User,
    /// By the number of live allocations; sessions only.
    Allocations,
}

impl Sort {
    /// Each of them.
    pub const ALL: [Self; 9] = [
        Self::Orphans,
        Self::Age,
        Self::Idle,
        Self::LifetimeLeft,
        Self::Bytes,
        Self::Rate,
        Self::Realm,
        Self::User,
        Self::Allocations,
    ];

    /// Its name in a query.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Orphans => "orphans",
            Self::Age => "age",
            Self::Idle => "idle",
            Self::LifetimeLeft => "lifetime_left",
            Self::Bytes => "bytes",
            Self::Rate => "rate",
            Self::Realm => "realm",
            Self::User => "user",
            Self::Allocations => "allocations",
        }
    }

    /// Whether rows are put in order by a name, not by a number.
    pub const fn is_by_name(self) -> bool {
        matches!(self, Self::Realm | Self::User)
    }
}

/// An order of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub sort: Sort,
    /// From large to small.
    pub descending: bool,
}

/// One page of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowQuery {
    /// Which rows.
    pub filter: Filter,
    /// In which order.
    pub order: Order,
    /// How many at most.
    pub limit: usize,
    /// Only those on one side of a place in the order.
    pub from: Option<RowBound>,
}

/// One side of a place in an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowBound {
    /// The first that come after it.
    After(SortPosition),
    /// The last that come before it.
    Before(SortPosition),
}

/// How many rows pass the filter, whatever the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Matched {
    /// All of them.
    pub all: u64,
    /// Those that are idle orphans; of sessions, those that hold one.
    pub idle: u64,
    /// Those that are overdue orphans.
    pub overdue: u64,
}

/// What a walk found.
#[derive(Clone, Debug)]
pub struct RowPage<R> {
    /// The moment that ages are counted from.
    pub now: Timestamp,
    /// The page, in order.
    pub rows: Vec<R>,
    /// How many rows come before it.
    pub start: u64,
    /// The place of its first row, if others come before it.
    pub previous: Option<SortPosition>,
    /// The place of its last row, if more come after it.
    pub next: Option<SortPosition>,
    /// How many pass the filter.
    pub matched: Matched,
}

/// A way through all records, a slice at a time.
pub trait RowWalk {
    /// What it gathers.
    type Row;

    /// A walk that has not begun.
    fn new(wanted: RowQuery) -> Self;

    /// Takes in the next slice of the table; whether there is another one.
    fn step(&mut self, table: &Table) -> bool;

    /// What has been found.
    fn found(self) -> RowPage<Self::Row>;
}

impl Filter {
    fn passes_name(&self, table: &Table, realm: RealmId, user: &[u8]) -> bool {
        let wants_realm = |wanted: &Vec<u8>| {
            table.realms.name(realm) == wanted || table.realms.label_of(realm).as_bytes() == wanted
        };
        let separator = table.settings.rest_separator;
        let wants_user =
            |wanted: &Vec<u8>| user == wanted || turn_rest::user_id(user, separator) == Some(wanted);
        self.realm.as_ref().is_none_or(wants_realm) && self.user.as_ref().is_none_or(wants_user)
    }

    fn passes_client(&self, client: impl Fn() -> Option<IpAddr>) -> bool {
        self.client
            .is_none_or(|wanted| client().is_some_and(|host| host.to_canonical() == wanted.to_canonical()))
    }

    fn passes_age(&self, age: Duration) -> bool {
        self.min_age.is_none_or(|min_age| age >= min_age)
    }
}

/// Bytes in a second, by the last report: over the time it took, or since, whichever is longer. Silence makes it sink.
fn rate(bytes: u32, took: Duration, since: Duration) -> u64 {
    let millis = u64::try_from(took.max(since).as_millis()).unwrap_or(u64::MAX);
    (u64::from(bytes) * 1000).checked_div(millis.max(1)).unwrap_or(0)
}

/// The name of a source, shared.
fn source_name(table: &Table, source: SourceId) -> Arc<str> {
    table.sources.get(source).map_or_else(|| Arc::from(""), |source| Arc::clone(&source.name))
}

/// The next slice of `places` from `next` on, and where the one after it begins.
fn slice(next: u32, places: usize) -> (std::ops::Range<u32>, bool) {
    let places = u32::try_from(places).unwrap_or(u32::MAX);
    let end = next.saturating_add(SLICE).min(places);
    (next..end, end < places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_makes_the_rate_sink() {
        let ms = Duration::from_millis;
        assert_eq!(rate(2000, ms(500), ms(0)), 4000);
        assert_eq!(rate(2000, ms(500), ms(2000)), 1000);
        assert_eq!(rate(2000, ms(0), ms(0)), 2_000_000);
        assert_eq!(rate(0, ms(0), ms(0)), 0);
    }

    #[test]
    fn slices_cover_all_places_once() {
        assert_eq!(slice(0, 10), (0..10, false));
        let (first, more) = slice(0, 5000);
        assert_eq!((first.clone(), more), (0..SLICE, true));
        assert_eq!(slice(first.end, 5000), (SLICE..5000, false));
        assert_eq!(slice(0, 0), (0..0, false));
    }
}
