//! Links from a list to a part of it, to another page of it, and to its other forms. Filters stay.

use std::fmt::Write as _;

use super::cursor;
use super::list::{List, sort_text};
use super::query::Query;
use crate::percent::encode;
use crate::state::rows::{Order, RowBound};

/// The same rows in another order, from the first on.
pub(super) fn sorted(query: &Query, order: Order) -> String {
    address(query.list.page(), query, order, None, None)
}

/// The first page.
pub(super) fn first(query: &Query) -> String {
    sorted(query, query.order)
}

/// The page on that side of a place.
pub(super) fn from(query: &Query, bound: &RowBound) -> String {
    address(query.list.page(), query, query.order, None, Some(bound))
}

/// The same page in another form.
pub(super) fn form(query: &Query, path: &str) -> String {
    address(path, query, query.order, None, query.from.as_ref())
}

/// All but those that this filter lets pass alone.
pub(super) fn without(query: &Query, name: &str) -> String {
    address(query.list.page(), query, query.order, Some((name, b"")), None)
}

/// Bytes of filters that each link of a row repeats, at most.
const REPEATED: usize = 512;

/// Those rows that have this value too. Filters that are long do not stay: a thousand rows would repeat them.
pub(super) fn narrowed(query: &Query, name: &str, value: &[u8]) -> String {
    let length: usize = query.given.iter().map(|(_, value)| value.len()).sum();
    if length > REPEATED {
        return format!("{}?{name}={}", query.list.page(), encode(value));
    }
    address(query.list.page(), query, query.order, Some((name, value)), None)
}

/// The allocations that these rows are about, of one user.
pub(super) fn allocations_of(user: &[u8]) -> String {
    format!("{}?user={}", List::Allocations.page(), encode(user))
}

fn address(
    path: &str,
    query: &Query,
    order: Order,
    instead: Option<(&str, &[u8])>,
    bound: Option<&RowBound>,
) -> String {
    let mut out = format!("{path}?sort={}", sort_text(order));
    let stays = |name: &str| instead.is_none_or(|(other, _)| other != name);
    for (name, value) in query.given.iter().filter(|(name, _)| stays(name)) {
        let _ = write!(out, "&{name}={}", encode(value));
    }
    if let Some((name, value)) = instead.filter(|(_, value)| !value.is_empty()) {
        let _ = write!(out, "&{name}={}", encode(value));
    }
    if let Some(bound) = bound {
        let _ = write!(out, "&cursor={}", cursor::text(query.list, order, bound));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::rows::{SortPosition, SortValue};

    fn query(text: &str) -> Query {
        Query::parse(List::Allocations, text).unwrap()
    }

    #[test]
    fn filters_stay_and_one_is_exchanged() {
        let query = query("realm=a%26b&state=live&sort=-bytes&limit=7");
        assert_eq!(
            narrowed(&query, "server", b"192.0.2.1"),
            "/allocations?sort=-bytes&realm=a%26b&state=live&limit=7&server=192.0.2.1"
        );
        assert_eq!(narrowed(&query, "realm", b"c"), "/allocations?sort=-bytes&state=live&limit=7&realm=c");
        assert_eq!(without(&query, "realm"), "/allocations?sort=-bytes&state=live&limit=7");
        assert_eq!(first(&query), "/allocations?sort=-bytes&realm=a%26b&state=live&limit=7");
    }

    #[test]
    fn long_filters_are_not_repeated_in_each_row() {
        for (length, address) in [(512, "/allocations?sort=orphans&user="), (513, "/allocations?realm=r")] {
            let query = query(&format!("user={}", "a".repeat(length)));
            let link = narrowed(&query, "realm", b"r");
            assert!(link.starts_with(address), "{link}");
        }
    }

    #[test]
    fn the_other_forms_have_the_same_page() {
        let bound = RowBound::Before(SortPosition { value: SortValue::Number(255), number: 3 });
        let mut query = query("limit=7");
        query.from = Some(bound.clone());
        assert_eq!(from(&query, &bound), "/allocations?sort=orphans&limit=7&cursor=a.orphans.before.nff.3");
        assert_eq!(
            form(&query, List::Allocations.csv()),
            "/api/v1/allocations.csv?sort=orphans&limit=7&cursor=a.orphans.before.nff.3"
        );
    }
}
