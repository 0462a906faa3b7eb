//! The query: from the part of a URL after `?` to what the table is asked for. An invalid query is refused in one
//! sentence.

use std::time::Duration;

use super::cursor;
use super::list::List;
use crate::escape::printable;
use crate::percent;
use crate::state::rows::{Filter, Order, RowBound, RowQuery, Sort};
use crate::state::{Orphan, Phase};
use crate::wire::Transport;

/// The longest query that is read, in bytes. Three times the longest cursor, which holds the longest name of coturn.
pub(super) const MAX_LENGTH: usize = 4096;

/// Rows of a page without `limit` in the query.
const DEFAULT_LIMIT: usize = 100;

/// Rows of a page at most.
const MAX_LIMIT: usize = 1000;

/// What is wrong with a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum QueryError {
    #[error("the query is longer than {MAX_LENGTH} bytes")]
    TooLong,
    #[error("{0} is not a parameter here; the parameters are {PARAMETERS}")]
    Unknown(String),
    #[error("{0} is given twice")]
    Twice(&'static str),
    #[error("{0:?} has a % without two hexadecimal digits after it")]
    Encoding(String),
    #[error("limit must be a whole number from 1 to {MAX_LIMIT}, not {0:?}")]
    Limit(String),
    #[error("min_age must be seconds or a duration like 90s or 30m, not {0:?}")]
    MinAge(String),
    #[error("{name} must be {accepted}, not {given:?}")]
    Choice { name: &'static str, accepted: String, given: String },
    #[error("client must be the address of a host, not {0:?}")]
    Client(String),
    #[error("{0} is not a filter of sessions, whose allocations may differ in it: see /api/v1/allocations")]
    OfAllocations(&'static str),
    #[error("a session is never overdue or gone: see its allocations in /api/v1/allocations")]
    SessionOverdue,
    #[error("cursor is not one that this list gave for this sort; leave it out to start from the first row")]
    Cursor,
}

const PARAMETERS: &str =
    "realm, user, state, reason, min_age, server, transport, client, sort, limit and cursor";

const NAMES: [&str; 11] = [
    "realm",
    "user",
    "state",
    "reason",
    "min_age",
    "server",
    "transport",
    "client",
    "sort",
    "limit",
    "cursor",
];

/// A valid query, and its parameters as given, to show them again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) list: List,
    pub(super) filter: Filter,
    pub(super) order: Order,
    pub(super) limit: usize,
    pub(super) from: Option<RowBound>,
    /// As typed, for the form.
    pub(super) min_age: String,
    /// The given parameters without `sort` and `cursor`, decoded.
    pub(super) given: Vec<(&'static str, Vec<u8>)>,
}

impl Query {
    /// Reads a query. An empty value counts as not given, for a form sends its empty fields too.
    pub(super) fn parse(list: List, text: &str) -> Result<Self, QueryError> {
        if text.len() > MAX_LENGTH {
            return Err(QueryError::TooLong);
        }
        let mut query = Self {
            list,
            filter: Filter::default(),
            order: Order::default(),
            limit: DEFAULT_LIMIT,
            from: None,
            min_age: String::new(),
            given: Vec::new(),
        };
        let mut seen = Vec::new();
        let mut cursor = None;
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            let name = known(&name).ok_or_else(|| QueryError::Unknown(quoted(&name)))?;
            if seen.contains(&name) {
                return Err(QueryError::Twice(name));
            }
            seen.push(name);
            if value.is_empty() {
                continue;
            }
            match name {
                "realm" => query.filter.realm = Some(value.clone()),
                "user" => query.filter.user = Some(value.clone()),
                "server" => query.filter.server = Some(value.clone()),
                "cursor" => cursor = Some(value.clone()),
                _ => query.take(name, &printable(&value))?,
            }
            if !matches!(name, "sort" | "cursor") {
                query.given.push((name, value));
            }
        }
        let of_allocations = query.given.iter().find(|(name, _)| matches!(*name, "server" | "transport"));
        if let (List::Sessions, Some((name, _))) = (list, of_allocations) {
            return Err(QueryError::OfAllocations(name));
        }
        let is_overdue = matches!(query.filter.state, Some(Phase::Overdue | Phase::Gone))
            || query.filter.reason == Some(Orphan::Overdue);
        if list == List::Sessions && is_overdue {
            return Err(QueryError::SessionOverdue);
        }
        query.from = cursor
            .map(|text| cursor::parse(list, query.order, &text).ok_or(QueryError::Cursor))
            .transpose()?;
        Ok(query)
    }

    fn take(&mut self, name: &'static str, value: &str) -> Result<(), QueryError> {
        match name {
            "state" => {
                self.filter.state = Some(choice(name, value, Phase::ALL.map(|one| (one.as_str(), one)))?);
            }
            "reason" => {
                self.filter.reason = Some(choice(name, value, Orphan::ALL.map(|one| (one.as_str(), one)))?);
            }
            "transport" => {
                let all = Transport::ALL.map(|one| (one.as_str(), one));
                self.filter.transport = Some(choice(name, value, all)?);
            }
            "client" => {
                let host = value.parse().map_err(|_| QueryError::Client(value.to_owned()))?;
                self.filter.client = Some(host);
            }
            "min_age" => {
                self.filter.min_age = Some(age(value).ok_or_else(|| QueryError::MinAge(value.to_owned()))?);
                value.clone_into(&mut self.min_age);
            }
            "limit" => {
                let is_digits = value.bytes().all(|byte| byte.is_ascii_digit());
                let limit = is_digits.then(|| value.parse().ok()).flatten();
                let limit = limit.filter(|limit| (1..=MAX_LIMIT).contains(limit));
                self.limit = limit.ok_or_else(|| QueryError::Limit(value.to_owned()))?;
            }
            _ => self.order = order(self.list, value)?,
        }
        Ok(())
    }

    /// The question to the table.
    pub(super) fn wanted(&self) -> RowQuery {
        RowQuery {
            filter: self.filter.clone(),
            order: self.order,
            limit: self.limit,
            from: self.from.clone(),
        }
    }
}

fn known(name: &[u8]) -> Option<&'static str> {
    NAMES.into_iter().find(|known| known.as_bytes() == name)
}

fn choice<T, const N: usize>(name: &'static str, value: &str, all: [(&str, T); N]) -> Result<T, QueryError> {
    let accepted = all.each_ref().map(|(word, _)| *word).join(" or ");
    let found = all.into_iter().find(|(word, _)| *word == value).map(|(_, found)| found);
    found.ok_or_else(|| QueryError::Choice { name, accepted, given: value.to_owned() })
}

fn order(list: List, value: &str) -> Result<Order, QueryError> {
    let (descending, word) = match value.strip_prefix('-') {
        Some(word) => (true, word),
        None => (false, value),
    };
    let sort = Sort::ALL.into_iter().find(|sort| sort.as_str() == word && list.takes(*sort));
    sort.map(|sort| Order { sort, descending }).ok_or_else(|| QueryError::Choice {
        name: "sort",
        accepted: format!(
            "one of {}, with - in front for large to small",
            list.sorts().collect::<Vec<_>>().join(", ")
        ),
        given: value.to_owned(),
    })
}

/// `90` (seconds), `90s`, `1h 30m`.
fn age(value: &str) -> Option<Duration> {
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    humantime::parse_duration(value).ok()
}

/// Percent-decoding as forms encode: `+` is a blank.
fn decode(text: &str) -> Result<Vec<u8>, QueryError> {
    let decoded = percent::decode(&text.replace('+', " "));
    decoded.ok_or_else(|| QueryError::Encoding(printable(text.as_bytes())))
}

fn quoted(name: &[u8]) -> String {
    const SHOWN: usize = 40;
    let shown: String = printable(name).chars().take(SHOWN).collect();
    format!("{shown:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::percent::encode;
    use proptest::prelude::*;

    fn read(text: &str) -> Query {
        Query::parse(List::Allocations, text).unwrap_or_else(|problem| panic!("{text}: {problem}"))
    }

    #[test]
    fn each_parameter_finds_its_place() {
        let query = read("realm=a%20b&user=%FF%3A&state=live&reason=idle&min_age=30m&sort=-rate&limit=7");
        assert_eq!(query.filter.realm, Some(b"a b".to_vec()));
        assert_eq!(query.filter.user, Some(b"\xff:".to_vec()));
        assert_eq!((query.filter.state, query.filter.reason), (Some(Phase::Live), Some(Orphan::Idle)));
        assert_eq!(query.filter.min_age, Some(Duration::from_secs(1800)));
        assert_eq!((query.order, query.limit), (Order { sort: Sort::Rate, descending: true }, 7));
        assert_eq!(read("min_age=90").filter.min_age, Some(Duration::from_secs(90)));
        assert_eq!(read("user=a+b").filter.user, Some(b"a b".to_vec()));
    }

    #[test]
    fn an_empty_form_wants_everything() {
        let all = read("");
        assert_eq!((&all.filter, all.order, all.limit), (&Filter::default(), Order::default(), 100));
        assert_eq!(read("realm=&user=&state=&reason=&min_age=&sort=&limit=&cursor="), all);
        assert_eq!(read("&&realm&"), all);
    }

    #[test]
    fn what_is_not_understood_is_refused_in_one_sentence() {
        for (query, part) in [
            ("limit=-1", "limit must be a whole number from 1 to 1000, not \"-1\""),
            ("limit=0", "from 1 to 1000"),
            ("limit=1001", "from 1 to 1000"),
            ("limit=1e2", "from 1 to 1000"),
            ("limit=99999999999999999999999", "from 1 to 1000"),
            ("colour=red", "\"colour\" is not a parameter here"),
            ("Realm=x", "\"Realm\" is not a parameter"),
            ("%ff%00=x", "is not a parameter"),
            ("user=a&user=b", "user is given twice"),
            ("user=&user=", "user is given twice"),
            ("user=%zz", "without two hexadecimal digits"),
            ("user=%2", "without two hexadecimal digits"),
            ("user=%", "without two hexadecimal digits"),
            ("state=dead", "state must be live or overdue or gone or closing, not \"dead\""),
            ("reason=none", "reason must be idle or overdue"),
            ("min_age=-5", "min_age must be"),
            ("min_age=5 parsecs", "min_age must be"),
            ("transport=smoke", "transport must be udp or tcp"),
            ("client=turn.example", "client must be the address of a host, not \"turn.example\""),
            ("client=192.0.2.1:80", "client must be"),
            ("sort=colour", "sort must be one of orphans, age"),
            ("sort=--age", "sort must be one of"),
            ("sort=allocations", "sort must be one of"),
            ("cursor=nonsense", "cursor is not one"),
            ("state=%0a%1b[2J", "state must be"),
        ] {
            let problem = Query::parse(List::Allocations, query).unwrap_err().to_string();
            assert!(problem.contains(part), "{query}: {problem}");
            assert!(!problem.contains(char::is_control), "{query}: {problem:?}");
        }
        let long = format!("user={}", "a".repeat(MAX_LENGTH));
        assert_eq!(Query::parse(List::Allocations, &long), Err(QueryError::TooLong));
    }

    #[test]
    fn sessions_have_an_order_of_their_own_and_are_never_overdue() {
        let parse = |text| Query::parse(List::Sessions, text);
        assert_eq!(parse("sort=allocations").unwrap().order.sort, Sort::Allocations);
        assert!(matches!(parse("sort=lifetime_left"), Err(QueryError::Choice { name: "sort", .. })));
        assert_eq!(parse("state=overdue"), Err(QueryError::SessionOverdue));
        assert_eq!(parse("state=gone"), Err(QueryError::SessionOverdue));
        assert_eq!(parse("reason=overdue"), Err(QueryError::SessionOverdue));
        assert_eq!(parse("server=192.0.2.1"), Err(QueryError::OfAllocations("server")));
        assert_eq!(parse("transport=udp"), Err(QueryError::OfAllocations("transport")));
        assert!(parse("client=192.0.2.1").is_ok());
    }

    proptest! {
        #[test]
        fn a_name_of_any_bytes_comes_back(name in prop::collection::vec(any::<u8>(), 1..80)) {
            prop_assert_eq!(read(&format!("user={}", encode(&name))).filter.user, Some(name));
        }

        #[test]
        fn whatever_comes_is_read_or_refused(text in "\\PC{0,80}") {
            let _ = Query::parse(List::Allocations, &text);
        }
    }
}
