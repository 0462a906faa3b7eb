//! A real Prometheus with the rules of `coturn.fleet.rules.yaml`, their minute shortened to seconds, and what they add up.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::{Add, Sub};
use std::time::Duration;

use crate::common::poll::{self, PATIENCE};
use crate::common::readers::promtool;
use crate::common::servers::prometheus::Prometheus;
use crate::common::temp_dir::TempDir;

/// Between two scrapes: a scrape may take as long, and the interval of the rules has four.
pub const SCRAPE: Duration = Duration::from_millis(500);

/// What came about: births, ends, and bytes sent to peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub opened: u64,
    pub closed: u64,
    pub bytes: u64,
}

impl Totals {
    pub fn is_at_least(self, other: Self) -> bool {
        self.opened >= other.opened && self.closed >= other.closed && self.bytes >= other.bytes
    }
}

impl Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            opened: self.opened + other.opened,
            closed: self.closed + other.closed,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl Sub for Totals {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            opened: self.opened - other.opened,
            closed: self.closed - other.closed,
            bytes: self.bytes - other.bytes,
        }
    }
}

/// The rules of a fleet, at this interval instead of a minute.
pub fn rules_every(interval: Duration) -> String {
    let rules = std::fs::read_to_string(promtool::fleet_rules()).expect("the rules");
    let halves = [("interval: 1m", 2), ("offset 1m", 2), ("[1m", 2), ("offset 30s", 1), ("offset 90s", 3)];
    halves.iter().fold(rules, |rules, (duration, halves)| {
        assert!(rules.contains(duration), "no {duration}");
        let before = duration.trim_end_matches(|of: char| of.is_ascii_alphanumeric());
        rules.replace(duration, &format!("{before}{}ms", halves * interval.as_millis() / 2))
    })
}

/// See the file's head.
pub struct Fleet {
    pub prometheus: Prometheus,
    /// Of the rules, instead of a minute.
    interval: f64,
}

impl Fleet {
    /// One that scrapes these, each with labels of its own in YAML.
    pub fn of(targets: &[(SocketAddr, String)]) -> Self {
        Self::every(SCRAPE, targets)
    }

    /// As [`Self::of`], but for many, whose scrapes would take too long.
    pub fn of_many(targets: &[(SocketAddr, String)]) -> Self {
        Self::every(3 * SCRAPE, targets)
    }

    fn every(scrape: Duration, targets: &[(SocketAddr, String)]) -> Self {
        let dir = TempDir::new("fleet");
        let interval = 4 * scrape;
        let rules = dir.write("fleet.yaml", &rules_every(interval));
        let mut config = format!(
            "global: {{scrape_interval: {0}ms, scrape_timeout: {0}ms}}\nrule_files: ['{1}']\n\
             scrape_configs:\n  - job_name: coturn\n    static_configs:\n",
            scrape.as_millis(),
            rules.display()
        );
        for (address, labels) in targets {
            writeln!(config, "      - {{targets: ['{address}'], labels: {labels}}}").unwrap();
        }
        Self { prometheus: Prometheus::with_config(dir, &config), interval: interval.as_secs_f64() }
    }

    /// Waits until the rules have seen all that is on the pages now.
    pub fn settle(&self) {
        // One evaluation may have begun with older pages, the next is of half an interval before it, and may have met a page
        // of a second ago then.
        let last = self.evaluated();
        poll::until(PATIENCE, "the rules to be evaluated", || {
            let now = self.evaluated();
            if now > last + 3.0 * self.interval { Ok(()) } else { Err(format!("at {now}, after {last}")) }
        });
    }

    /// When, in seconds since 1970; 0 before the first time.
    fn evaluated(&self) -> f64 {
        let moments = self.prometheus.query("max(timestamp(job:coturn_exporter_targets:count))");
        moments.values().copied().next().unwrap_or_default()
    }

    /// All that the rules have counted so far.
    pub fn totals(&self) -> Totals {
        totals(&self.prometheus, "")
    }

    /// Live allocations by the rules.
    pub fn live(&self) -> u64 {
        number(&self.prometheus, "sum(job_realm:coturn_allocations:sum)")
    }
}

/// What a Prometheus has of the series of the rules, among those that a matcher selects.
pub fn totals(prometheus: &Prometheus, matcher: &str) -> Totals {
    let total = |metric: &str, more: &str| {
        number(prometheus, &format!("sum(sum_over_time({metric}:increase1m{{{matcher}{more}}}[1h]))"))
    };
    Totals {
        opened: total("job_realm:coturn_allocations_opened", ""),
        closed: total("job_realm_cause:coturn_allocations_closed", ""),
        bytes: total("job_realm_leg_direction:coturn_relayed_bytes", "leg=\"peer\", direction=\"sent\""),
    }
}

/// The one value of a query; 0 if it has none.
pub fn number(prometheus: &Prometheus, query: &str) -> u64 {
    let values = prometheus.query(query);
    assert!(values.len() < 2, "{query}: {values:?}");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
    let number = values.values().next().map_or(0, |value| value.round() as u64);
    number
}
