//! Counts that arrive as totals of the running process, and go on from those of the processes before it.

use std::collections::BTreeMap;

use crate::state::image::persist;

/// What the running process came to so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessCounts<'a> {
    /// Lines of the log that were dropped.
    pub dropped_log_lines: u64,
    /// What the web server refused, by the label value of the reason.
    pub http_refusals: &'a [(&'a str, u64)],
}

/// A total of the running process, and what those before it came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Continued {
    pub(crate) before: u64,
    pub(crate) present: u64,
}

impl Continued {
    const fn total(self) -> u64 {
        self.before.saturating_add(self.present)
    }

    const fn rebase(&mut self) {
        *self = Self { before: self.total(), present: 0 };
    }
}

/// What all processes came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessTotals {
    pub(in crate::state) dropped_log_lines: Continued,
    pub(in crate::state) http_refusals: BTreeMap<Box<str>, Continued>,
}

impl ProcessTotals {
    /// Lines of the log that were dropped.
    pub const fn dropped_log_lines(&self) -> u64 {
        self.dropped_log_lines.total()
    }

    /// What the web server refused for this reason.
    pub fn http_refusals(&self, reason: &str) -> u64 {
        self.http_refusals.get(reason).map_or(0, |count| count.total())
    }

    /// Whether the running process is known to have come so far.
    pub(in crate::state) fn is(&self, counts: &ProcessCounts<'_>) -> bool {
        let present = |reason: &str| self.http_refusals.get(reason).map_or(0, |count| count.present);
        self.dropped_log_lines.present == counts.dropped_log_lines
            && counts.http_refusals.iter().all(|&(reason, count)| present(reason) == count)
    }

    /// The running process has come so far.
    pub(in crate::state) fn note(&mut self, counts: &ProcessCounts<'_>) {
        self.dropped_log_lines.present = counts.dropped_log_lines;
        for &(reason, count) in counts.http_refusals {
            self.http_refusals.entry(reason.into()).or_default().present = count;
        }
    }

    /// The process has ended; the next one counts from 0.
    pub(in crate::state) fn rebase(&mut self) {
        self.dropped_log_lines.rebase();
        self.http_refusals.values_mut().for_each(Continued::rebase);
    }
}

persist! { Continued { before, present } }
persist! { ProcessTotals { dropped_log_lines, http_refusals } }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_goes_on_from_those_before_it() {
        let mut totals = ProcessTotals::default();
        for (dropped, busy) in [(3, 5), (4, 5)] {
            let counts = ProcessCounts { dropped_log_lines: dropped, http_refusals: &[("busy", busy)] };
            totals.note(&counts);
            assert!(totals.is(&counts));
        }
        totals.rebase();
        assert_eq!((totals.dropped_log_lines(), totals.http_refusals("busy")), (4, 5));
        totals.note(&ProcessCounts { dropped_log_lines: 1, http_refusals: &[("busy", 2)] });
        assert_eq!((totals.dropped_log_lines(), totals.http_refusals("busy")), (5, 7));
        assert_eq!(totals.http_refusals("host"), 0);
    }
}
