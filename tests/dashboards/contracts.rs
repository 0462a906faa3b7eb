//! Metrics against their users: what dashboards, alerts and runbooks ask for exists, and what exists is asked for.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::readers::dashboards;
use crate::common::readers::promql;
use crate::common::readers::promtool;
use crate::common::servers::prometheus::Prometheus;
use coturn_exporter::metrics::names::{self, FamilyType};

/// Metrics that stand on no dashboard and in no alert, each with the reason.
const EXCEPTED: &[(&str, &str)] =
    &[("coturn_exporter_dropped_log_lines_total", "no number is wrong for it, and the log itself says so")];

/// Metrics that are Prometheus' own.
const PROMETHEUS: [&str; 3] = ["up", "scrape_duration_seconds", "ALERTS"];

/// Families by the names of their series, with their labels.
fn series_names() -> BTreeMap<String, (&'static str, BTreeSet<String>)> {
    let mut names = BTreeMap::new();
    for family in names::ALL {
        let mut labels: BTreeSet<String> = family.labels.iter().map(|&label| label.to_owned()).collect();
        labels.extend(["region", "cluster", "namespace", "job", "instance", "replica"].map(str::to_owned));
        let endings: &[&str] = match family.kind {
            FamilyType::Histogram => &["_bucket", "_sum", "_count"],
            FamilyType::Counter | FamilyType::Gauge => &[""],
        };
        for ending in endings {
            let mut labels = labels.clone();
            if *ending == "_bucket" {
                labels.insert("le".to_owned());
            }
            names.insert(format!("{}{ending}", family.name), (family.name, labels));
        }
    }
    names
}

/// Everything that is asked: where, and the query.
fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for query in dashboards::all().iter().flat_map(dashboards::Dashboard::queries) {
        let text = match query.label_values() {
            Some((metric, _)) => metric,
            None => query.filled_in("5m"),
        };
        queries.push((format!("{}: {}", query.dashboard, query.place), text));
    }
    let mut files = promtool::rule_files().to_vec();
    files.extend([promtool::fleet_rules(), promtool::fleet_alerts(), promtool::migration_rules()]);
    for rule in Prometheus::with_rules(&files).rules() {
        queries.push((rule.name, rule.query));
    }
    for (name, text) in promtool::runbooks() {
        for query in promtool::promql_blocks(&text) {
            queries.push((name.clone(), query));
        }
    }
    queries
}

#[test]
fn every_metric_that_is_used_exists_with_its_labels() {
    let known = series_names();
    let queries = queries();
    let recorded: BTreeSet<_> =
        queries.iter().map(|(place, _)| place.clone()).filter(|name| name.contains(':')).collect();
    let mut wrong = Vec::new();
    for (place, query) in &queries {
        let selectors = promql::selectors(query).unwrap_or_else(|why| panic!("{place}: {why}: {query}"));
        for selected in selectors {
            let metric = &selected.metric;
            if PROMETHEUS.contains(&metric.as_str()) || recorded.contains(metric) {
                continue;
            }
            let Some((_, labels)) = known.get(metric) else {
                wrong.push(format!("{place}: there is no {metric}"));
                continue;
            };
            for (label, ..) in selected.matchers.iter().filter(|(label, ..)| !labels.contains(label)) {
                wrong.push(format!("{place}: {metric} has no label {label}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_metric_of_the_contract_is_used() {
    let known = series_names();
    let used: BTreeSet<_> = queries()
        .iter()
        .flat_map(|(_, query)| promql::selectors(query).unwrap())
        .filter_map(|selected| known.get(&selected.metric).map(|(family, _)| *family))
        .collect();
    let excepted: BTreeSet<_> = EXCEPTED.iter().map(|(name, _)| *name).collect();
    let unused: Vec<_> =
        names::ALL.iter().map(|family| family.name).filter(|name| !used.contains(name)).collect();
    let forgotten: Vec<_> = unused.iter().filter(|name| !excepted.contains(**name)).collect();
    assert!(forgotten.is_empty(), "on no dashboard, in no alert, and not excepted: {forgotten:?}");
    let needless: Vec<_> = excepted.iter().filter(|name| !unused.contains(name)).collect();
    assert!(needless.is_empty(), "excepted and used, or gone: {needless:?}");
}
