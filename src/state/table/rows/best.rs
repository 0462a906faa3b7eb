//! The first rows of an order, out of many: a heap that never holds more than a page and one.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::{Matched, Order, RowBound, RowPage, RowQuery};
use crate::clock::Timestamp;
use crate::state::model::series::Orphan;

/// What a row is put in order by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SortValue {
    /// A number, or a moment in milliseconds.
    Number(u64),
    /// A name.
    Text(Arc<[u8]>),
}

/// Where a row stands in an order. Rows of equal value go by the number of their record, which no two share at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortPosition {
    /// What it is put in order by.
    pub value: SortValue,
    /// The number of its record.
    pub number: u32,
}

impl SortPosition {
    fn cmp(&self, other: &Self, order: Order) -> Ordering {
        let by_value = self.value.cmp(&other.value);
        let by_value = if order.descending { by_value.reverse() } else { by_value };
        by_value.then(self.number.cmp(&other.number))
    }
}

#[derive(Debug)]
struct RankedRow<R> {
    order: Order,
    is_backwards: bool,
    place: SortPosition,
    row: R,
}

impl<R> PartialEq for RankedRow<R> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<R> Eq for RankedRow<R> {}

impl<R> PartialOrd for RankedRow<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R> Ord for RankedRow<R> {
    fn cmp(&self, other: &Self) -> Ordering {
        let forwards = self.place.cmp(&other.place, self.order);
        if self.is_backwards { forwards.reverse() } else { forwards }
    }
}

/// The first rows of an order, or the last before a place; at most a page and one.
#[derive(Debug)]
pub(super) struct Best<R> {
    order: Order,
    limit: usize,
    from: Option<RowBound>,
    /// What goes first when there are too many is on top: the last of the order, or backwards the first.
    rows: BinaryHeap<RankedRow<R>>,
    matched: Matched,
    /// Rows on the other side of the place, itself among them.
    beyond: u64,
}

impl<R> Best<R> {
    pub(super) fn new(wanted: &RowQuery) -> Self {
        let (order, limit, from) = (wanted.order, wanted.limit, wanted.from.clone());
        Self { order, limit, from, rows: BinaryHeap::new(), matched: Matched::default(), beyond: 0 }
    }

    /// Takes a row that passes the filter, if it may be on the page; `make` is asked only then.
    pub(super) fn offer(&mut self, place: SortPosition, reason: Option<Orphan>, make: impl FnOnce() -> R) {
        self.matched.all += 1;
        match reason {
            Some(Orphan::Idle) => self.matched.idle += 1,
            Some(Orphan::Overdue) => self.matched.overdue += 1,
            None => {}
        }
        let wanted = match &self.from {
            None => true,
            Some(RowBound::After(bound)) => place.cmp(bound, self.order) == Ordering::Greater,
            Some(RowBound::Before(bound)) => place.cmp(bound, self.order) == Ordering::Less,
        };
        if !wanted {
            self.beyond += 1;
            return;
        }
        let is_backwards = matches!(self.from, Some(RowBound::Before(_)));
        let rank = |a: &SortPosition, b: &SortPosition, order| {
            let forwards = a.cmp(b, order);
            if is_backwards { forwards.reverse() } else { forwards }
        };
        // One more than the page, to know whether there is another one.
        let is_full = self.rows.len() > self.limit;
        if is_full
            && self.rows.peek().is_some_and(|last| rank(&place, &last.place, self.order) != Ordering::Less)
        {
            return;
        }
        if is_full {
            self.rows.pop();
        }
        self.rows.push(RankedRow { order: self.order, is_backwards, place, row: make() });
    }

    pub(super) fn found(self, now: Timestamp) -> RowPage<R> {
        let mut entries = self.rows.into_sorted_vec();
        let has_more = entries.len() > self.limit;
        entries.truncate(self.limit);
        let is_backwards = matches!(self.from, Some(RowBound::Before(_)));
        if is_backwards {
            entries.reverse();
        }
        let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        let start = if is_backwards {
            self.matched.all.saturating_sub(self.beyond).saturating_sub(count)
        } else {
            self.beyond
        };
        let (is_first, is_last) =
            if is_backwards { (!has_more, self.beyond == 0) } else { (self.beyond == 0, !has_more) };
        let previous = entries.first().filter(|_| !is_first).map(|first| first.place.clone());
        let next = entries.last().filter(|_| !is_last).map(|last| last.place.clone());
        let rows = entries.into_iter().map(|entry| entry.row).collect();
        RowPage { now, rows, start, previous, next, matched: self.matched }
    }

    /// Rows held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::rows::{Filter, Sort};
    use proptest::prelude::*;

    fn wanted(descending: bool, limit: usize, from: Option<RowBound>) -> RowQuery {
        RowQuery { filter: Filter::default(), order: Order { sort: Sort::Bytes, descending }, limit, from }
    }

    fn page(values: &[u64], wanted: &RowQuery) -> RowPage<(u64, u32)> {
        let mut best = Best::new(wanted);
        for (&value, number) in values.iter().zip(0..) {
            best.offer(SortPosition { value: SortValue::Number(value), number }, None, || (value, number));
            assert!(best.len() <= wanted.limit + 1);
        }
        let found = best.found(Timestamp::ZERO);
        assert_eq!(found.matched.all, values.len() as u64);
        assert!(found.rows.len() <= wanted.limit);
        found
    }

    proptest! {
        /// Page after page is the sorted whole, forwards and back again, and no page ever held more than its rows and one.
        #[test]
        fn pages_are_the_sorted_whole(values in prop::collection::vec(0_u64..20, 0..60), limit in 1_usize..9, descending in any::<bool>()) {
            let mut expected: Vec<(u64, u32)> = values.iter().copied().zip(0..).collect();
            expected.sort_by_key(|&(value, number)| (if descending { u64::MAX - value } else { value }, number));
            let (mut got, mut from) = (Vec::new(), None);
            let mut last = loop {
                let found = page(&values, &wanted(descending, limit, from));
                prop_assert_eq!(found.start, got.len() as u64);
                prop_assert_eq!(found.previous.is_some(), !got.is_empty() && !found.rows.is_empty());
                got.extend(found.rows);
                from = found.next.map(RowBound::After);
                if from.is_none() { break found.previous; }
            };
            prop_assert_eq!(&got, &expected);
            let mut end = got.len() - (got.len().saturating_sub(1) % limit + 1).min(got.len());
            while let Some(place) = last {
                let found = page(&values, &wanted(descending, limit, Some(RowBound::Before(place))));
                let start = end - found.rows.len();
                prop_assert_eq!(found.start, start as u64);
                prop_assert_eq!(&found.rows[..], &expected[start..end]);
                prop_assert!(found.next.is_some());
                end = start;
                last = found.previous;
            }
            prop_assert_eq!(end, 0);
        }
    }

    #[test]
    fn rows_that_cannot_be_on_the_page_are_never_made() {
        let from = RowBound::After(SortPosition { value: SortValue::Number(5), number: 0 });
        let mut best = Best::new(&wanted(false, 1, Some(from)));
        let mut made = Vec::new();
        for value in [5, 4, 9, 8, 7, 8, 9] {
            best.offer(SortPosition { value: SortValue::Number(value), number: 0 }, None, || {
                made.push(value);
            });
        }
        assert_eq!(made, [9, 8, 7]);
    }
}
