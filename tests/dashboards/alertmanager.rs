//! The example configuration for Alertmanager: `amtool` accepts it, each severity of the rules has a route, and a real
//! Alertmanager sends and holds back with it what it should.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::poll::{self, PATIENCE};
use crate::common::readers::promtool::{alerts_dir, rule_files};
use crate::common::servers::alertmanager::{Alertmanager, amtool};
use crate::common::servers::prometheus::{Prometheus, Rule};
use crate::common::servers::webhook::Webhook;
use serde_json::Value;

/// Where the example's receivers are.
const RECEIVERS: &str = "https://alerts.example";

fn path() -> String {
    alerts_dir().join("alertmanager.example.yaml").display().to_string()
}

fn text() -> String {
    std::fs::read_to_string(path()).expect("the example")
}

fn alerts() -> Vec<Rule> {
    let rules = Prometheus::with_rules(&rule_files()).rules();
    rules.into_iter().filter(|rule| rule.r#type == "alerting").collect()
}

/// Name and severity of each alert.
fn severities() -> BTreeMap<String, String> {
    alerts().into_iter().map(|alert| (alert.name, alert.labels["severity"].clone())).collect()
}

/// The receiver of alerts with these labels, by `amtool`.
fn receiver(labels: &[&str]) -> String {
    let config = format!("--config.file={}", path());
    let (content, receiver) = amtool(&[&["config", "routes", "test", &config], labels].concat());
    assert!(content, "{labels:?}: {receiver}");
    receiver.trim().to_owned()
}

#[test]
fn amtool_accepts_it() {
    let (content, said) = amtool(&["check-config", &path()]);
    assert!(content && said.contains("SUCCESS"), "{said}");
    assert!(said.contains("- 3 inhibit rules") && said.contains("- 4 receivers"), "{said}");
}

#[test]
fn each_severity_of_the_rules_has_a_route_and_no_other_has() {
    let rest = receiver(&["severity=of-somebody-else"]);
    let used: BTreeSet<_> = severities().into_values().collect();
    let receivers: BTreeSet<_> =
        used.iter().map(|severity| receiver(&[&format!("severity={severity}")])).collect();
    assert_eq!(receivers.len(), used.len(), "{used:?} go to {receivers:?}");
    assert!(!receivers.contains(&rest), "{rest} is for what has no route: {receivers:?}");
    for (name, severity) in severities() {
        let by_name = receiver(&[&format!("alertname={name}"), &format!("severity={severity}")]);
        assert!(receivers.contains(&by_name), "{name}: {by_name}");
    }
    let text = text();
    let routed = text.lines().filter_map(|line| line.trim().strip_prefix("- matchers: ['severity = "));
    let routed: BTreeSet<_> = routed.map(|rest| rest.trim_end_matches("']").to_owned()).collect();
    assert_eq!(routed, used);
}

/// The example with its receivers at `webhook`, and without its patience.
fn of_this_test(webhook: &Webhook) -> String {
    let mut config = text().replace(RECEIVERS, &format!("http://{}", webhook.address));
    for wait in ["group_wait: 30s", "group_wait: 15m"] {
        assert!(config.contains(wait), "{wait} is not in {config}");
        config = config.replace(wait, "group_wait: 1s");
    }
    assert!(!config.contains("https://"), "{config}");
    config
}

#[test]
fn a_real_alertmanager_sends_each_severity_its_way() {
    let webhook = Webhook::start();
    let alertmanager = Alertmanager::start(&of_this_test(&webhook));
    let sent = [
        ("CoturnAllocationsAbandoned", "critical", "/pager"),
        ("CoturnServerRestarted", "warning", "/tickets"),
        ("CoturnUncleanEnds", "info", "/digest"),
        ("SomethingElse", "of-somebody-else", "/chat"),
    ];
    let known = severities();
    for (name, severity, _) in sent {
        assert!(name == "SomethingElse" || known[name] == severity, "{name}: {known:?}");
        alertmanager.fire(&[
            ("alertname", name),
            ("severity", severity),
            ("job", "coturn"),
            ("instance", "turn:10641"),
        ]);
    }
    for (name, _, path) in sent {
        let alerts = poll::until(PATIENCE, &format!("{name} at {path}"), || match webhook.alerts(path) {
            alerts if alerts.is_empty() => Err(webhook.everything() + &alertmanager.output()),
            alerts => Ok(alerts),
        });
        let names: BTreeSet<_> = alerts.iter().map(|alert| alert["labels"]["alertname"].as_str()).collect();
        assert_eq!(names, BTreeSet::from([Some(name)]), "at {path}");
    }
}

/// Places and instances of the alerts of a name and a job in messages, where `label` tells the places.
fn sent(webhook: &Webhook, path: &str, name: &str, job: &str, label: &str) -> BTreeSet<(String, String)> {
    let alerts = webhook.alerts(path);
    let labels = alerts.iter().map(|alert| &alert["labels"]);
    let ours = labels.filter(|labels| labels["alertname"] == name && labels["job"] == job);
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ours.map(|labels| (word(&labels[label]), word(&labels["instance"]))).collect()
}

/// Whatever explains another alert does so within one exporter: each rule tells exporters apart by the same labels.
#[test]
fn each_inhibit_rule_has_the_same_labels() {
    let text = text();
    let equal: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("equal: ")).collect();
    assert_eq!(equal.len(), text.matches("- source_matchers:").count());
    assert!(equal.iter().all(|labels| *labels == equal[0]), "{equal:?}");
}

/// What an inhibit rule's source explains is held back for its own exporter of its own cluster, and for no other, not even
/// the other one of a hot pair.
#[test]
fn what_another_alert_explains_is_held_back_for_its_own_exporter_only() {
    let webhook = Webhook::start();
    let alertmanager = Alertmanager::start(&of_this_test(&webhook));
    // Each with another of the labels that may tell exporters apart; the others are absent.
    let cases = [
        ("CoturnExporterDown", "CoturnNumbersIncomplete", "/tickets", "replica"),
        ("CoturnExporterDown", "CoturnSourceDown", "/pager", "cluster"),
        ("CoturnSourceDown", "CoturnNoMessages", "/tickets", "namespace"),
        ("CoturnAllocationsAbandoned", "CoturnStaleKeys", "/digest", "region"),
    ];
    let known = severities();
    for (index, (source, target, path, label)) in cases.into_iter().enumerate() {
        let job = format!("coturn-{index}");
        let fire = |name: &str, place: &str, instance: &str| {
            alertmanager.fire(&[
                ("alertname", name),
                ("severity", &known[name]),
                ("job", &job),
                (label, place),
                ("instance", instance),
            ]);
        };
        let pairs = |of: &[(&str, &str)]| -> BTreeSet<_> {
            of.iter().map(|(place, instance)| ((*place).to_owned(), (*instance).to_owned())).collect()
        };
        fire(source, "a", "turn:1");
        poll::until(PATIENCE, &format!("{source} to be sent"), || {
            let sent = sent(&webhook, "/pager", source, &job, label);
            if sent == pairs(&[("a", "turn:1")]) { Ok(()) } else { Err(webhook.everything()) }
        });
        for (place, instance) in [("a", "turn:1"), ("a", "turn:2"), ("b", "turn:1")] {
            fire(target, place, instance);
        }
        // `turn:2` of place a would be in one message with `turn:1`, if that were sent.
        poll::until(PATIENCE, &format!("{target} to be sent for two exporters"), || {
            let sent = sent(&webhook, path, target, &job, label);
            assert!(!sent.contains(&("a".to_owned(), "turn:1".to_owned())), "{source} explains {target}");
            let wanted = pairs(&[("a", "turn:2"), ("b", "turn:1")]);
            if sent == wanted { Ok(()) } else { Err(webhook.everything()) }
        });
        let held = alertmanager.alerts(&format!("job={job:?}"));
        let held: Vec<_> = held.iter().filter(|alert| alert["status"]["state"] == "suppressed").collect();
        let [held] = held[..] else { panic!("one is held back, not {held:?}") };
        let held = &held["labels"];
        assert_eq!([&held["alertname"], &held[label], &held["instance"]], [target, "a", "turn:1"]);
    }
}
