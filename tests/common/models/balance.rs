//! What holds on every page, whatever happened before: the books balance, and nothing that only rises has fallen.

use crate::common::readers::page::Page;

/// The pages of one life of an exporter, in order.
#[derive(Debug, Default)]
pub struct Books {
    last: Page,
}

impl Books {
    /// Looks at the next page.
    #[track_caller]
    pub fn look(&mut self, page: &Page) {
        for (series, before) in self.last.iter().filter(|(series, _)| self.last.is_cumulative(series)) {
            let now = page.get(series);
            assert!(now.is_some_and(|now| now >= before), "{series} fell from {before} to {now:?}");
        }
        for (series, value) in page.iter() {
            assert!(value >= 0.0, "{series} is {value}");
        }
        for realm in page.label_values("coturn_allocations", "realm") {
            let realm = [("realm", realm.as_str())];
            for what in ["coturn_allocations", "coturn_sessions"] {
                let of = |suffix: &str| page.count(&format!("{what}{suffix}"), &realm);
                let (came, gone) = (of("_opened_total") + of("_adopted_total"), of("_closed_total"));
                // What a session relayed is told when its last member has settled, some seconds after it closed.
                let settling = what == "coturn_sessions";
                let balanced = if settling { came >= gone + of("") } else { came == gone + of("") };
                assert!(balanced, "{what} {realm:?}: {came} came, {gone} are gone, {} are live", of(""));
            }
        }
        self.last = page.clone();
    }
}
