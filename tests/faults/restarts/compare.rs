//! Two pages, of an exporter that was restarted and of one that never stopped, and what scrapers have added up.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::common::readers::page::{Page, Series};
use crate::common::readers::tally::Tally;

/// What tells of the process' own links and clients, and of what it could not write, and so of its restarts.
pub(crate) const OF_PROCESS: [&str; 9] = [
    "coturn_exporter_gaps_total",
    "coturn_exporter_gap_seconds_total",
    "coturn_exporter_resyncs_total",
    "coturn_exporter_http_refusals_total",
    "coturn_exporter_dropped_log_lines_total",
    "coturn_exporter_ledger_lost_records_total",
    "coturn_exporter_statsdb_refused_connections_total",
    "coturn_exporter_statsdb_refused_commands_total",
    "coturn_exporter_statsdb_forwarded_commands_total",
];

/// Cumulative series of a page that both twins must agree on.
pub(crate) fn counted(page: &Page) -> BTreeMap<Series, f64> {
    let cumulative = page.cumulative().filter(|(series, _)| !OF_PROCESS.contains(&series.name.as_str()));
    cumulative.map(|(series, value)| (series.clone(), value)).collect()
}

/// The twin listens elsewhere, which is the name of its source.
pub(crate) fn without_source(counted: BTreeMap<Series, f64>) -> BTreeMap<Series, f64> {
    let renamed = counted.into_iter().map(|(mut series, value)| {
        series.labels.remove("source");
        (series, value)
    });
    renamed.collect()
}

/// Each counter and histogram is that of the twin. Seconds are measured by two clocks, from events that reached both
/// within one round: their sums may differ by a round for each end of each observation, and what is near an edge may be
/// on either side of it.
#[track_caller]
pub(crate) fn assert_equal(own: &Page, twin: &Page, longest_round: Duration) {
    let (own, twin) = (without_source(counted(own)), without_source(counted(twin)));
    let names = |page: &BTreeMap<Series, f64>| page.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&own), names(&twin), "not the same series");
    let observed = |series: &Series| {
        let name = series.name.replace("_sum", "_count");
        own[&Series { name, labels: series.labels.clone() }]
    };
    for (series, &value) in &own {
        let allowed = match series.name.as_str() {
            name if name.ends_with("_duration_seconds_bucket") && series.labels["le"] != "+Inf" => continue,
            name if name.ends_with("_duration_seconds_sum") => {
                observed(series) * (2.0 * longest_round.as_secs_f64() + 0.05)
            }
            _ => 0.0,
        };
        let (difference, twins) = ((value - twin[series]).abs(), twin[series]);
        assert!(difference <= allowed, "{series} is {value}, and {twins} of one that never stopped");
    }
}

/// What a scraper has added up is what the last page says.
#[track_caller]
pub(crate) fn assert_summed(who: &str, tally: &Tally, page: &Page) {
    tally.assert_nothing_fell(who);
    for (series, sum) in tally.sums().filter(|(series, _)| !OF_PROCESS.contains(&series.name.as_str())) {
        let told = page.get(series).unwrap_or_else(|| panic!("{series} is not on the last page"));
        assert!((sum - told).abs() < 1e-3, "{who} has {sum} of {series}, which is {told}");
    }
}

/// What an exporter that began with an empty table may show anew of the allocations that it met: they are adopted, their past
/// is unseen, and one that had relayed already relays once more.
const ANEW: [&str; 6] = [
    "coturn_allocations_adopted_total",
    "coturn_sessions_adopted_total",
    "coturn_unseen_bytes_total",
    "coturn_unseen_packets_total",
    "coturn_recovered_bytes_total",
    "coturn_recovered_packets_total",
];

/// The same series without what tells how something ended: an allocation whose beginning is forgotten may end otherwise, but
/// not once more.
fn by_family(sums: impl Iterator<Item = (Series, f64)>) -> BTreeMap<Series, f64> {
    let mut families = BTreeMap::new();
    let is_compared = |series: &Series| {
        !OF_PROCESS.contains(&series.name.as_str())
            && !ANEW.contains(&series.name.as_str())
            && series.name != "coturn_allocations_relayed_total"
            && !series.name.ends_with("_bucket")
            && !series.name.ends_with("_seconds_sum")
    };
    for (mut series, value) in sums.filter(|(series, _)| is_compared(series)) {
        for label in ["source", "cause", "path", "reason"] {
            series.labels.remove(label);
        }
        *families.entry(series).or_default() += value;
    }
    families
}

/// No scraper has added up more than the twin has, which never stopped.
#[track_caller]
pub(crate) fn assert_nothing_doubled(who: &str, tally: &Tally, twin: &Page) {
    let told = by_family(tally.sums().map(|(series, sum)| (series.clone(), sum)));
    let truth = by_family(counted(twin).into_iter());
    for (series, sum) in told {
        let most = truth.get(&series).copied().unwrap_or_default();
        assert!(sum <= most, "{who} has {sum} of {series}, and there are {most}");
    }
}
