//! The first rows of an order, out of many: a heap that never holds more than a page and one.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::{Matched, Order, RowPage, RowQuery};
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
        self.place.cmp(&other.place, self.order)
    }
}

/// The first rows of an order, at most a page and one.
#[derive(Debug)]
pub(super) struct Best<R> {
    order: Order,
    limit: usize,
    after: Option<SortPosition>,
    /// The last of the order on top.
    rows: BinaryHeap<RankedRow<R>>,
    matched: Matched,
}

impl<R> Best<R> {
    pub(super) fn new(wanted: &RowQuery) -> Self {
        let (order, limit, after) = (wanted.order, wanted.limit, wanted.after.clone());
        Self { order, limit, after, rows: BinaryHeap::new(), matched: Matched::default() }
    }

    /// Takes a row that passes the filter, if it may be among the first; `make` is asked only then.
    pub(super) fn offer(&mut self, place: SortPosition, reason: Option<Orphan>, make: impl FnOnce() -> R) {
        self.matched.all += 1;
        match reason {
            Some(Orphan::Idle) => self.matched.idle += 1,
            Some(Orphan::Overdue) => self.matched.overdue += 1,
            None => {}
        }
        if self.after.as_ref().is_some_and(|after| place.cmp(after, self.order) != Ordering::Greater) {
            return;
        }
        // One more than the page, to know whether there is a next one.
        let is_full = self.rows.len() > self.limit;
        if is_full
            && self.rows.peek().is_some_and(|last| place.cmp(&last.place, self.order) != Ordering::Less)
        {
            return;
        }
        if is_full {
            self.rows.pop();
        }
        self.rows.push(RankedRow { order: self.order, place, row: make() });
    }

    pub(super) fn found(self, now: Timestamp) -> RowPage<R> {
        let mut entries = self.rows.into_sorted_vec();
        let more = entries.len() > self.limit;
        entries.truncate(self.limit);
        let next = entries.last().filter(|_| more).map(|last| last.place.clone());
        let rows = entries.into_iter().map(|entry| entry.row).collect();
        RowPage { now, rows, next, matched: self.matched }
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

    fn wanted(descending: bool, limit: usize, after: Option<SortPosition>) -> RowQuery {
        RowQuery { filter: Filter::default(), order: Order { sort: Sort::Bytes, descending }, limit, after }
    }

    proptest! {
        /// Page after page is the sorted whole, and no page ever held more than its rows and one.
        #[test]
        fn pages_are_the_sorted_whole(values in prop::collection::vec(0_u64..20, 0..60), limit in 1_usize..9, descending in any::<bool>()) {
            let mut expected: Vec<(u64, u32)> = values.iter().copied().zip(0..).collect();
            expected.sort_by_key(|&(value, number)| (if descending { u64::MAX - value } else { value }, number));
            let (mut got, mut after) = (Vec::new(), None);
            loop {
                let mut best = Best::new(&wanted(descending, limit, after));
                for (&value, number) in values.iter().zip(0..) {
                    best.offer(SortPosition { value: SortValue::Number(value), number }, None, || (value, number));
                    prop_assert!(best.len() <= limit + 1);
                }
                let found = best.found(Timestamp::ZERO);
                prop_assert_eq!(found.matched.all, values.len() as u64);
                prop_assert!(found.rows.len() <= limit);
                got.extend(found.rows);
                after = found.next;
                if after.is_none() { break; }
            }
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn rows_that_cannot_be_on_the_page_are_never_made() {
        let mut best =
            Best::new(&wanted(false, 1, Some(SortPosition { value: SortValue::Number(5), number: 0 })));
        let mut made = Vec::new();
        for value in [5, 4, 9, 8, 7, 8, 9] {
            best.offer(SortPosition { value: SortValue::Number(value), number: 0 }, None, || {
                made.push(value);
            });
        }
        assert_eq!(made, [9, 8, 7]);
    }
}
