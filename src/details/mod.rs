//! Details for an operator who follows up an alert: the allocations and sessions of this moment, as JSON and as a page.
//!
//! Pure: a query in, an answer out; rows come through [`Inspect`]. Knows neither sockets nor the table's lock. Names are
//! chosen by clients: JSON is made by a library, and everything in HTML is escaped.

mod cursor;
mod human;
mod json;
mod list;
mod page;
mod query;

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
    /// The allocations as HTML.
    Page,
    /// The script that refreshes the page.
    Script,
    /// The style sheet of the page.
    Style,
}

/// The path of the page.
pub const PAGE: &str = "/allocations";

/// Paths of the JSON lists; longer URLs than are read begin with one of these or with [`PAGE`].
pub const API: &str = "/api/v1/";

impl Detail {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Allocations, "/api/v1/allocations"),
        (Self::Sessions, "/api/v1/sessions"),
        (Self::Page, PAGE),
        (Self::Script, page::SCRIPT_PATH),
        (Self::Style, page::STYLE_PATH),
    ];

    /// The resource at a path.
    pub fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, at)| *at == path).map(|(detail, _)| detail)
    }

    /// Whether a path belongs to one of them.
    pub fn takes(path: &str) -> bool {
        Self::at(path).is_some()
    }

    /// The type of its answers.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Allocations | Self::Sessions => "application/json",
            Self::Page => "text/html; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
            Self::Style => "text/css; charset=utf-8",
        }
    }
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
    let answered = match detail {
        Detail::Allocations => Query::parse(List::Allocations, query)
            .map(|query| json::allocations(&inspect.allocations(query.wanted()), &query)),
        Detail::Sessions => Query::parse(List::Sessions, query)
            .map(|query| json::sessions(&inspect.sessions(query.wanted()), &query)),
        Detail::Page => Query::parse(List::Allocations, query)
            .map(|query| page::page(&inspect.allocations(query.wanted()), &query).into_bytes()),
        Detail::Script => Ok(page::SCRIPT.into()),
        Detail::Style => Ok(page::STYLE.into()),
    };
    match answered {
        Ok(body) => Answer { ok: true, body },
        Err(problem) => Answer { ok: false, body: refusal(detail, &problem.to_string()) },
    }
}

/// The body of an error, in one sentence.
pub fn refusal(detail: Detail, sentence: &str) -> Vec<u8> {
    match detail {
        Detail::Allocations | Detail::Sessions => json::error(sentence),
        Detail::Page => page::error(sentence).into_bytes(),
        Detail::Script | Detail::Style => format!("{sentence}\n").into_bytes(),
    }
}

#[cfg(test)]
mod tests;
