//! What a scraper adds up of the pages that it gets: raw samples, as `increase` without its extrapolation.

use std::collections::{BTreeMap, BTreeSet};

use super::page::{Page, Series};

/// See the file's head. The first sample of a series counts from 0.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    counters: BTreeMap<Series, Counter>,
    /// Each sample that was below the one before it, or missing after it was there.
    falls: Vec<String>,
    pages: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    last: f64,
    sum: f64,
    is_gone: bool,
}

impl Tally {
    /// Takes in the next page.
    pub fn add(&mut self, page: &Page) {
        self.add_series(page.cumulative());
    }

    /// The same of some series of a page.
    pub fn add_series<'a>(&mut self, series: impl IntoIterator<Item = (&'a Series, f64)>) {
        self.pages += 1;
        let mut present = BTreeSet::new();
        for (series, value) in series {
            present.insert(series);
            let counter = self.counters.entry(series.clone()).or_default();
            if value < counter.last {
                self.falls
                    .push(format!("page {}: {series} fell from {} to {value}", self.pages, counter.last));
                counter.sum += value;
            } else {
                counter.sum += value - counter.last;
            }
            (counter.last, counter.is_gone) = (value, false);
        }
        for (series, counter) in self.counters.iter_mut().filter(|(series, _)| !present.contains(series)) {
            if !std::mem::replace(&mut counter.is_gone, true) {
                self.falls.push(format!("page {}: {series} is gone at {}", self.pages, counter.last));
            }
        }
    }

    /// How many pages it has seen.
    pub const fn pages(&self) -> u64 {
        self.pages
    }

    /// Fails with what fell, if anything did.
    #[track_caller]
    pub fn assert_nothing_fell(&self, who: &str) {
        assert!(self.falls.is_empty(), "{who} saw {} falls:\n{}", self.falls.len(), self.falls.join("\n"));
    }

    /// How many samples fell.
    pub const fn falls(&self) -> usize {
        self.falls.len()
    }

    /// All series with the sums of their increments.
    pub fn sums(&self) -> impl Iterator<Item = (&Series, f64)> {
        self.counters.iter().map(|(series, counter)| (series, counter.sum))
    }
}
