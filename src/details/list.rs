//! The two lists, and how they are sorted.

use crate::state::rows::{Order, Sort};

/// Which rows are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Allocations,
    Sessions,
}

impl List {
    /// Whether it can be sorted so.
    pub(super) fn takes(self, sort: Sort) -> bool {
        match self {
            Self::Allocations => sort != Sort::Allocations,
            Self::Sessions => sort != Sort::LifetimeLeft,
        }
    }

    pub(super) fn sorts(self) -> impl Iterator<Item = &'static str> {
        Sort::ALL.into_iter().filter(move |&sort| self.takes(sort)).map(Sort::as_str)
    }
}

/// The order as a query names it.
pub(super) fn sort_text(order: Order) -> String {
    let sign = if order.descending { "-" } else { "" };
    format!("{sign}{}", order.sort.as_str())
}
