//! The two lists, where they are, and how they are sorted.

use crate::markup::{ALLOCATIONS_PAGE, SESSIONS_PAGE};
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

    /// The path of its page.
    pub(super) const fn page(self) -> &'static str {
        match self {
            Self::Allocations => ALLOCATIONS_PAGE,
            Self::Sessions => SESSIONS_PAGE,
        }
    }

    /// The path of the list as JSON.
    pub(super) const fn json(self) -> &'static str {
        match self {
            Self::Allocations => "/api/v1/allocations",
            Self::Sessions => "/api/v1/sessions",
        }
    }

    /// The path of the list as CSV.
    pub(super) const fn csv(self) -> &'static str {
        match self {
            Self::Allocations => "/api/v1/allocations.csv",
            Self::Sessions => "/api/v1/sessions.csv",
        }
    }

    /// The heading of its page.
    pub(super) const fn heading(self) -> &'static str {
        match self {
            Self::Allocations => "Allocations",
            Self::Sessions => "Sessions",
        }
    }
}

/// The order as a query names it.
pub(super) fn sort_text(order: Order) -> String {
    let sign = if order.descending { "-" } else { "" };
    format!("{sign}{}", order.sort.as_str())
}
