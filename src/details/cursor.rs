//! The cursor: where a page began or ended, as text that the query for the page before or after it contains. It names its
//! list and its order, so that it cannot be used with another one.

use std::fmt::Write as _;
use std::sync::Arc;

use super::list::{List, sort_text};
use crate::state::rows::{Order, RowBound, SortPosition, SortValue};

fn prefix(list: List, order: Order) -> String {
    let list = match list {
        List::Allocations => 'a',
        List::Sessions => 's',
    };
    format!("{list}.{}.", sort_text(order))
}

/// What comes before a place has this in front of it.
const BEFORE: &str = "before.";

/// The bound as text.
pub(super) fn text(list: List, order: Order, bound: &RowBound) -> String {
    let mut out = prefix(list, order);
    let place = match bound {
        RowBound::After(place) => place,
        RowBound::Before(place) => {
            out.push_str(BEFORE);
            place
        }
    };
    // Writing to a string cannot fail.
    let _ = match &place.value {
        SortValue::Number(number) => write!(out, "n{number:x}"),
        SortValue::Text(text) => {
            out.push('t');
            text.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
        }
    };
    let _ = write!(out, ".{}", place.number);
    out
}

/// The bound that a text of this list and order names.
pub(super) fn parse(list: List, order: Order, text: &[u8]) -> Option<RowBound> {
    let text = std::str::from_utf8(text).ok()?.strip_prefix(&prefix(list, order))?;
    match text.strip_prefix(BEFORE) {
        Some(text) => place(order, text).map(RowBound::Before),
        None => place(order, text).map(RowBound::After),
    }
}

fn place(order: Order, text: &str) -> Option<SortPosition> {
    let (value, number) = text.split_once('.')?;
    let is_plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = number.parse().ok().filter(|_| is_plain(number))?;
    let value = match value.split_at_checked(1)? {
        ("n", digits) if is_plain(digits) => SortValue::Number(u64::from_str_radix(digits, 16).ok()?),
        ("t", digits) if is_plain(digits) && digits.len() % 2 == 0 => SortValue::Text(bytes(digits)?),
        _ => return None,
    };
    let is_text = matches!(value, SortValue::Text(_));
    (is_text == order.sort.is_by_name()).then_some(SortPosition { value, number })
}

fn bytes(digits: &str) -> Option<Arc<[u8]>> {
    let pairs = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok());
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::rows::Sort;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn comes_back(number: u32, value: u64, name: Vec<u8>, descending: bool, is_before: bool) {
            for (sort, value) in [(Sort::Age, SortValue::Number(value)), (Sort::User, SortValue::Text(name.as_slice().into()))] {
                let (order, place) = (Order { sort, descending }, SortPosition { value, number });
                let bound = if is_before { RowBound::Before(place) } else { RowBound::After(place) };
                let text = text(List::Allocations, order, &bound);
                prop_assert_eq!(parse(List::Allocations, order, text.as_bytes()), Some(bound));
                prop_assert_eq!(parse(List::Sessions, order, text.as_bytes()), None);
                let other = Order { descending: !descending, ..order };
                prop_assert_eq!(parse(List::Allocations, other, text.as_bytes()), None);
            }
        }
    }

    #[test]
    fn nothing_else_is_one() {
        let order = Order { sort: Sort::Age, descending: false };
        assert!(parse(List::Allocations, order, b"a.age.n1.2").is_some());
        let wrong = [
            "",
            "a.age.",
            "a.age.n1",
            "a.age.n1.",
            "a.age.n.1",
            "a.age.n+1.1",
            "a.age.n1.+1",
            "a.age.n1.2.3",
            "a.age.x1.1",
            "a.age.t61.1",
            "a.age.n11111111111111111.1",
            "a.age.n1.4294967296",
            "a.age.n1.-1",
            "a.age.before.",
            "a.age.before.before.n1.2",
            "a.age.Before.n1.2",
        ];
        for text in wrong {
            assert_eq!(parse(List::Allocations, order, text.as_bytes()), None, "{text}");
        }
        let by_name = Order { sort: Sort::User, descending: false };
        for text in ["a.user.n1.1", "a.user.t6.1", "a.user.tzz.1", "a.user.té.1"] {
            assert_eq!(parse(List::Allocations, by_name, text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(List::Allocations, order, b"a.age.n\xff.1"), None);
    }
}
