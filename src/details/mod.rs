//! Details for an operator who follows up an alert: the allocations and sessions of this moment, as JSON, as CSV and as pages.
//!
//! Pure: a query in, an answer out; rows come through [`Inspect`]. Knows neither sockets nor the table's lock. Names are
//! chosen by clients: JSON is made by a library, and everything in HTML is escaped.

mod allocation_table;
mod csv_rows;
mod cursor;
mod json;
mod link;
mod list;
mod page;
mod query;
mod session_table;

use crate::clock::Timestamp;
use crate::state::rows::{AllocationRow, RowPage, RowQuery, SessionRow};
use list::List;
use query::Query;

/// Where rows come from.
pub trait Inspect: Send + Sync + 'static {
    /// The requested allocations.
    fn allocations(&self, wanted: RowQuery) -> Listing<AllocationRow>;

    /// The requested sessions.
    fn sessions(&self, wanted: RowQuery) -> Listing<SessionRow>;
}

/// Rows, and the wall clock.
#[derive(Clone, Debug)]
pub struct Listing<R> {
    /// The rows.
    pub found: RowPage<R>,
    /// The moment of the rows by the wall clock.
    pub wall: Timestamp,
}

/// One resource of the details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The allocations as JSON.
    Allocations,
    /// The sessions as JSON.
    Sessions,
    /// The allocations as CSV.
    AllocationsCsv,
    /// The sessions as CSV.
    SessionsCsv,
    /// The allocations as HTML.
    AllocationsPage,
    /// The sessions as HTML.
    SessionsPage,
}

impl Detail {
    /// Each of them.
    pub const ALL: [Self; 6] = [
        Self::Allocations,
        Self::Sessions,
        Self::AllocationsCsv,
        Self::SessionsCsv,
        Self::AllocationsPage,
        Self::SessionsPage,
    ];

    const fn parts(self) -> (List, Language) {
        match self {
            Self::Allocations => (List::Allocations, Language::Json),
            Self::Sessions => (List::Sessions, Language::Json),
            Self::AllocationsCsv => (List::Allocations, Language::Csv),
            Self::SessionsCsv => (List::Sessions, Language::Csv),
            Self::AllocationsPage => (List::Allocations, Language::Html),
            Self::SessionsPage => (List::Sessions, Language::Html),
        }
    }

    /// Its path.
    pub const fn path(self) -> &'static str {
        match self.parts() {
            (list, Language::Json) => list.json(),
            (list, Language::Csv) => list.csv(),
            (list, Language::Html) => list.page(),
        }
    }

    /// The resource at a path.
    pub fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|detail| detail.path() == path)
    }

    /// The type of its answers.
    pub const fn content_type(self) -> &'static str {
        match self.parts().1 {
            Language::Json => "application/json",
            Language::Csv => "text/csv; charset=utf-8; header=present",
            Language::Html => "text/html; charset=utf-8",
        }
    }
}

/// What an answer is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Json,
    Csv,
    Html,
}

/// The answer to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The query is valid; otherwise the body says why it is not.
    pub ok: bool,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Answers a query: the part of a URL after `?`.
pub fn answer(inspect: &dyn Inspect, detail: Detail, query: &str) -> Answer {
    let (list, language) = detail.parts();
    let query = match Query::parse(list, query) {
        Ok(query) => query,
        Err(problem) => return Answer { ok: false, body: refusal(detail, &problem.to_string()) },
    };
    let body = match list {
        List::Allocations => allocations(&inspect.allocations(query.wanted()), &query, language),
        List::Sessions => sessions(&inspect.sessions(query.wanted()), &query, language),
    };
    Answer { ok: true, body }
}

fn allocations(listing: &Listing<AllocationRow>, query: &Query, language: Language) -> Vec<u8> {
    match language {
        Language::Json => json::allocations(listing, query),
        Language::Csv => {
            let rows = listing.found.rows.iter();
            csv_rows::table(&csv_rows::ALLOCATION, rows.map(|row| json::allocation(listing, row)))
        }
        Language::Html => {
            let mut table = String::new();
            if !listing.found.rows.is_empty() {
                allocation_table::write(&mut table, listing, query);
            }
            page::page(listing, query, &table, &allocation_table::STATES).into_bytes()
        }
    }
}

fn sessions(listing: &Listing<SessionRow>, query: &Query, language: Language) -> Vec<u8> {
    match language {
        Language::Json => json::sessions(listing, query),
        Language::Csv => {
            let rows = listing.found.rows.iter();
            csv_rows::table(&csv_rows::SESSION, rows.map(|row| json::session(listing, row)))
        }
        Language::Html => {
            let mut table = String::new();
            if !listing.found.rows.is_empty() {
                session_table::write(&mut table, listing, query);
            }
            page::page(listing, query, &table, &session_table::STATES).into_bytes()
        }
    }
}

/// The body of an error, in one sentence.
pub fn refusal(detail: Detail, sentence: &str) -> Vec<u8> {
    match detail.parts() {
        (_, Language::Json) => json::error(sentence),
        (_, Language::Csv) => csv_rows::error(sentence),
        (list, Language::Html) => page::error(list, sentence).into_bytes(),
    }
}

#[cfg(test)]
mod tests;
