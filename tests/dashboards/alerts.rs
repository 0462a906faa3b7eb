//! The rule files as they are written: promtool's tests of them, and what each alert must have.
//!
//! What they do over hours of the exporter's own pages is in `stories.rs`.

use std::collections::BTreeSet;

use crate::common::readers::dashboards;
use crate::common::readers::own_labels::{Names, own_labels};
use crate::common::readers::promql;
use crate::common::readers::promtool::{self, alerts_dir, rule_files};
use crate::common::servers::prometheus::{Prometheus, Rule};
use coturn_exporter::metrics::names;

/// Labels of a target that the rules of a fleet fold.
const FOLDED_IN_A_FLEET: [&str; 2] = ["instance", "replica"];

fn paths(folder: &str) -> Vec<String> {
    let files = std::fs::read_dir(alerts_dir().join(folder)).expect("a folder of alerts/");
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path().display().to_string()).collect();
    paths.sort_unstable();
    paths
}

fn rules() -> Vec<Rule> {
    let [recording, alerting] = rule_files();
    Prometheus::with_rules(&[recording, alerting, promtool::fleet_alerts()]).rules()
}

fn alerts() -> Vec<Rule> {
    rules().into_iter().filter(|rule| rule.r#type == "alerting").collect()
}

fn rules_of_a_fleet() -> Vec<Rule> {
    Prometheus::with_rules(&[promtool::fleet_rules()]).rules()
}

#[test]
fn promtool_accepts_the_rules() {
    let files = rule_files().map(|file| file.display().to_string());
    let fleet = [promtool::fleet_rules(), promtool::fleet_alerts()].map(|file| file.display().to_string());
    let (content, said) = promtool::run(&["check", "rules", &files[0], &files[1], &fleet[0], &fleet[1]]);
    assert!(content && said.matches("SUCCESS").count() == 4, "{said}");
}

#[test]
fn the_tests_of_the_rules_pass() {
    let tests = paths("tests");
    assert!(tests.len() >= 3, "{tests:?}");
    let mut args = vec!["test", "rules"];
    args.extend(tests.iter().map(String::as_str));
    let (content, said) = promtool::run(&args);
    assert!(content && said.matches("SUCCESS").count() == tests.len(), "{said}");
}

/// Each alert has a test in which it fires, one in which it is quiet, and a series that is missing for a while.
#[test]
fn every_alert_is_tested_both_ways() {
    let text: String = paths("tests").iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for alert in alerts() {
        let name = alert.name;
        assert!(text.contains(&format!("alertname: {name}\n        exp_alerts:\n")), "{name} never fires");
        let quiet = format!("alertname: {name}, exp_alerts: []");
        assert!(text.matches(&quiet).count() >= 2, "{name} is not quiet before and after");
    }
}

#[test]
fn every_alert_says_what_to_do() {
    let alerts = alerts();
    assert!(alerts.len() >= 12);
    let uids: Vec<_> = dashboards::all().into_iter().map(|dashboard| dashboard.name).collect();
    for alert in &alerts {
        let name = &alert.name;
        assert!(name.starts_with("Coturn") && name.chars().all(char::is_alphanumeric), "{name}");
        assert!(alert.duration >= 120.0, "{name}: fires at once");
        let severity = alert.labels.get("severity").map(String::as_str);
        assert!(matches!(severity, Some("critical" | "warning" | "info")), "{name}: {severity:?}");
        let annotation =
            |key: &str| alert.annotations.get(key).cloned().unwrap_or_else(|| panic!("{name} has no {key}"));
        let summary = annotation("summary");
        assert!(summary.ends_with('.') && !summary.contains("{{"), "{name}: a static sentence: {summary}");
        let description = annotation("description");
        assert!(description.ends_with('.') && description.contains("{{"), "{name}: {description}");
        assert_eq!(annotation("runbook_url"), format!("https://coturn-exporter.example/runbooks/{name}.md"));
        let dashboard = annotation("dashboard_url");
        let uid =
            dashboard.strip_prefix("https://grafana.example/d/").and_then(|rest| rest.split('?').next());
        assert!(uids.iter().any(|known| Some(known.as_str()) == uid), "{name}: {dashboard}");
    }
}

/// A comparison, so that an alert is no mere presence; and no absence without a label.
#[test]
fn every_alert_compares() {
    for alert in alerts() {
        let (name, query) = (&alert.name, &alert.query);
        assert!(
            ["==", ">=", "<=", ">", "<"].iter().any(|operator| query.contains(operator)),
            "{name}: {query}"
        );
        for selected in promql::selectors(query).unwrap() {
            let absent = selected.within.iter().any(|function| function.starts_with("absent"));
            assert!(!absent || !selected.matchers.is_empty(), "{name}: a bare absent()");
        }
    }
}

/// Windows over what coturn reports are long: per 4096 packets, never by time.
#[test]
fn windows_are_long() {
    for rule in rules() {
        for selected in promql::selectors(&rule.query).unwrap() {
            let Some(range) = selected.range else { continue };
            assert!(range.as_secs() >= 15 * 60, "{}: {} over {range:?}", rule.name, selected.metric);
        }
    }
}

/// The labels of a metric beside the target's: of the exporter's own, of a recorded one by its level, of Prometheus' own.
fn labels_of(metric: &str) -> Option<Names> {
    if let Some((level, _)) = metric.split_once(':') {
        return Some(level.split('_').skip(1).map(str::to_owned).collect());
    }
    let is_it = |name: &str| metric == name || metric.strip_prefix(name).is_some_and(is_of_histogram);
    let Some(family) = names::ALL.iter().find(|family| is_it(family.name)) else {
        return (metric == "up").then(Names::new);
    };
    let mut labels: Names = family.labels.iter().map(|&label| label.to_owned()).collect();
    if metric.ends_with("_bucket") {
        labels.insert("le".to_owned());
    }
    Some(labels)
}

fn is_of_histogram(ending: &str) -> bool {
    ["_bucket", "_sum", "_count"].contains(&ending)
}

#[test]
fn recording_rules_are_named_by_level_metric_and_operation() {
    let recorded: Vec<_> = rules().into_iter().filter(|rule| rule.r#type == "recording").collect();
    assert!(!recorded.is_empty());
    for rule in &recorded {
        let parts: Vec<_> = rule.name.split(':').collect();
        assert!(
            parts.len() == 3 && parts[0].starts_with("instance") && parts[1].starts_with("coturn_"),
            "{parts:?}"
        );
        // The level is the target, by its `instance`, and what labels of our own are left.
        let left = own_labels(&rule.query, &labels_of).unwrap_or_else(|why| panic!("{}: {why}", rule.name));
        assert_eq!(labels_of(&rule.name), Some(left), "{}: {}", rule.name, rule.query);
    }
}

/// Those of a fleet fold `instance` and `replica`, and no other label of the target.
#[test]
fn rules_of_a_fleet_fold_instances_and_replicas_only() {
    let known = |metric: &str| {
        let mut labels = labels_of(metric)?;
        match metric.split_once(':').map(|(level, _)| level.split('_').next().unwrap_or_default()) {
            // One exporter, or both of a pair where which of them counts is yet to be chosen.
            None => labels.extend(FOLDED_IN_A_FLEET.map(str::to_owned)),
            Some("instance") if metric.ends_with(":topk") => {
                labels.extend(FOLDED_IN_A_FLEET.map(str::to_owned));
            }
            Some("instance") => labels.extend(["instance".to_owned()]),
            Some("job") => {}
            Some(other) => panic!("{metric}: level {other}"),
        }
        Some(labels)
    };
    let rules = rules_of_a_fleet();
    assert!(rules.len() > 10 && rules.iter().all(|rule| rule.r#type == "recording"));
    for rule in rules {
        assert_eq!(own_labels(&rule.query, &known), Ok(known(&rule.name).unwrap()), "{}", rule.name);
        assert_eq!(rule.name.split(':').count(), 3, "{}", rule.name);
        for selected in promql::selectors(&rule.query).unwrap() {
            let over_time = |name: &String| name == "last_over_time" || name == "min_over_time";
            assert!(
                selected.range.is_none() || selected.within.first().is_some_and(over_time),
                "{}",
                rule.name
            );
        }
    }
}

/// Whatever labels a target has are kept, and joined by: a rule names those of our own metrics only.
#[test]
fn rules_keep_the_labels_of_the_target() {
    let mut wrong = Vec::new();
    for rule in rules() {
        if let Err(why) = own_labels(&rule.query, &labels_of) {
            wrong.push(format!("{}: {why}", rule.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn folded_and_listed_labels_of_a_target_are_found() {
    let bad = [
        "sum by (job, instance, realm) (coturn_allocations)",
        "sum (coturn_allocations)",
        "sum without (instance, transport) (coturn_allocations)",
        "coturn_exporter_gaps_total unless on (job, instance, source) coturn_exporter_source_up",
        // too little and too much
        "coturn_sessions unless coturn_exporter_source_up",
        "coturn_sessions unless ignoring (realm, source, server) coturn_exporter_source_up",
        "sum without (realm) (coturn_no_such_thing)",
    ];
    for query in bad {
        assert!(own_labels(query, &labels_of).is_err(), "{query}");
    }
    let good = "coturn_sessions unless ignoring (realm, source) (coturn_exporter_source_up == 0)";
    assert_eq!(own_labels(good, &labels_of), Ok(Names::from(["realm".to_owned()])));
}

/// Each alert is tested in two clusters that have the same job and instance, of which one has the trouble.
#[test]
fn every_alert_is_tested_in_two_clusters() {
    let tests = paths("tests").into_iter().filter(|path| path.contains("/clusters-"));
    let text: String = tests.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for alert in alerts() {
        let name = alert.name;
        let fires = format!("alertname: {name}\n        exp_alerts:\n          - exp_labels: {{cluster: a, ");
        assert!(text.contains(&fires), "{name} does not fire for cluster a alone");
    }
    assert!(!text.contains("exp_labels: {cluster: b"));
}

/// Where the job's name has to be changed is one place.
#[test]
fn the_jobs_name_stands_in_one_alert() {
    let named: Vec<_> =
        rules().into_iter().filter(|rule| rule.query.contains("job=\"")).map(|rule| rule.name).collect();
    assert_eq!(named, ["CoturnExporterDown"]);
    let rules = rules_of_a_fleet().into_iter();
    assert!(
        rules
            .filter(|rule| rule.query.contains("job=\""))
            .all(|rule| rule.name.contains("coturn_exporter_targets"))
    );
}

/// One page for each alert, with what a person needs who was just woken.
#[test]
fn every_alert_has_a_runbook() {
    let alerts: BTreeSet<_> = alerts().into_iter().map(|alert| alert.name).collect();
    let mut pages = BTreeSet::new();
    for path in paths("runbooks") {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = text.lines().next().unwrap().trim_start_matches("# ").to_owned();
        assert!(path.ends_with(&format!("{name}.md")), "{path} is about {name}");
        for heading in ["## Meaning", "## Impact", "## Diagnosis", "## Fix", "## False alarms"] {
            assert!(text.contains(&format!("\n{heading}\n")), "{name} has no {heading}");
        }
        assert!(text.contains("```promql"), "{name} has no query to run");
        pages.insert(name);
    }
    assert_eq!(pages, alerts);
}

/// The example for Alertmanager speaks of alerts that exist.
#[test]
fn the_inhibit_rules_name_alerts() {
    let text = std::fs::read_to_string(alerts_dir().join("alertmanager.example.yaml")).unwrap();
    let alerts: BTreeSet<_> = alerts().into_iter().map(|alert| alert.name).collect();
    let words = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words: Vec<_> = words.flat_map(|line| line.split(|c: char| !c.is_alphanumeric())).collect();
    let named: BTreeSet<_> =
        words.into_iter().filter(|word| word.starts_with("Coturn") && *word != "Coturn").collect();
    assert!(named.len() > 2);
    for name in named {
        assert!(alerts.contains(name), "there is no {name}");
    }
}
