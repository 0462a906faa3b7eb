//! The rules that give the names of other exporters: against what coturn itself published at the end of each allocation,
//! which is what its own exporter adds to its counters, and against the tables of `docs/migrating.md`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::common::readers::promtool::{self, alerts_dir, migration_rules};
use crate::common::readers::{capture, golden};
use crate::common::servers::prometheus::Prometheus;
use crate::common::temp_dir::TempDir;
use coturn_exporter::state::Settings;

/// Recorded name by realm: the sum of the totals that the capture has.
fn published_totals(case: &str) -> BTreeMap<(String, String), u64> {
    let mut sums = BTreeMap::new();
    for message in capture::read(&format!("{case}.jsonl")) {
        let channel = String::from_utf8(message.channel).unwrap();
        let payload = message.payload;
        let (leg, channel) = match channel.strip_suffix("/peer") {
            Some(channel) => ("peer_", channel),
            None => ("", channel.as_str()),
        };
        if !channel.ends_with("/total_traffic") {
            continue;
        }
        let realm = channel.strip_prefix("turn/realm/").and_then(|rest| rest.split_once("/user/")).unwrap().0;
        for part in payload.split(", ") {
            let (name, count) = part.split_once('=').unwrap();
            let name = format!("turn_traffic_{leg}{name}");
            *sums.entry((name, realm.to_owned())).or_default() += count.parse::<u64>().unwrap();
        }
    }
    sums
}

#[test]
fn after_the_end_of_all_sessions_the_old_names_have_coturns_own_sums() {
    for case in ["mixed-4.6.1", "mixed-4.17.1", "realms-4.17.1"] {
        let page = golden::replayed(Settings::default(), &golden::capture(case), None);
        assert_eq!(page.count("coturn_allocations", &[]), 0, "{case}: something is live");
        let relayed = page.iter().filter(|(series, _)| series.name.starts_with("coturn_relayed_"));
        let series: Vec<Value> = relayed
            .map(|(series, value)| {
                let labels = series.labels.iter().map(|(label, value)| format!("{label}={value:?}"));
                let series = format!("{}{{{}}}", series.name, labels.collect::<Vec<_>>().join(", "));
                json!({"series": series, "values": format!("{value}x1")})
            })
            .collect();
        let sums = published_totals(case);
        assert!(sums.len() >= 8 && sums.values().any(|&sum| sum > 1000), "{case}: {sums:?}");
        let names: BTreeSet<_> = sums.keys().map(|(name, _)| name).collect();
        let tests: Vec<Value> = names
            .into_iter()
            .map(|name| {
                let samples = sums.iter().filter(|((of, _), _)| of == name).map(
                    |((_, realm), sum)| json!({"labels": format!("{name}{{realm={realm:?}}}"), "value": sum}),
                );
                json!({"expr": name, "eval_time": "1m", "exp_samples": samples.collect::<Vec<_>>()})
            })
            .collect();
        let dir = TempDir::new("migration");
        let file = json!({
            "rule_files": [migration_rules()],
            "evaluation_interval": "1m",
            "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}],
        });
        let file = dir.write("test.yaml", &file.to_string());
        let (content, said) = promtool::run(&["test", "rules", &file.display().to_string()]);
        assert!(content, "{case}: {said}");
    }
}

#[test]
fn the_page_names_what_the_rules_record_and_nothing_else() {
    let rules = Prometheus::with_rules(&[migration_rules()]).rules();
    let recorded: BTreeSet<String> = rules.into_iter().map(|rule| rule.name).collect();
    assert!(recorded.len() >= 24, "{recorded:?}");
    let text = std::fs::read_to_string(alerts_dir().join("../docs/migrating.md")).unwrap();
    let mut named = BTreeSet::new();
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let is_recorded = !cells[1].trim().is_empty() && !cells[2].contains("not recorded");
        if is_recorded {
            named.extend(cells[0].split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    assert_eq!(named, recorded);
}
