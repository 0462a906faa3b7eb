//! `promtool` on rule files, and on tests that are made while a test runs.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::common::servers::process::Tool;
use crate::common::temp_dir::TempDir;

const PROMTOOL: Tool = Tool { program: "promtool", package: "prometheus" };

/// Where the rule files are.
pub fn alerts_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("alerts")
}

/// The rule files, recording rules first.
pub fn rule_files() -> [PathBuf; 2] {
    ["coturn.rules.yaml", "coturn.alerts.yaml"].map(|name| alerts_dir().join(name))
}

/// The alerts of the global Prometheus.
pub fn fleet_alerts() -> PathBuf {
    alerts_dir().join("coturn.fleet.alerts.yaml")
}

/// The recording rules of a fleet.
pub fn fleet_rules() -> PathBuf {
    alerts_dir().join("coturn.fleet.rules.yaml")
}

/// The rules that record the names of other exporters.
pub fn migration_rules() -> PathBuf {
    alerts_dir().join("coturn.migration.rules.yaml")
}

/// Runs it; gives whether it was content, and all that it said.
pub fn run(args: &[&str]) -> (bool, String) {
    let output = PROMTOOL.command().args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{}", PROMTOOL.cannot_start(&error)));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// One test of the rules over these series, a minute between two values: `alerts` and `expressions` as in
/// `promtool`'s `alert_rule_test` and `promql_expr_test`. Gives what promtool has to object.
pub fn test_rules(series: &[Value], alerts: &[Value], expressions: &[Value]) -> Result<(), String> {
    let dir = TempDir::new("promtool");
    // JSON is YAML.
    let file = json!({
        "rule_files": rule_files(),
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": series,
            "alert_rule_test": alerts,
            "promql_expr_test": expressions,
        }],
    });
    let file = dir.write("test.yaml", &serde_json::to_string_pretty(&file).unwrap());
    let (content, said) = run(&["test", "rules", &file.display().to_string()]);
    if content { Ok(()) } else { Err(said) }
}

/// Expects exactly these alerts to be firing at a minute, each with how many of them.
pub fn firing_at(minute: usize, alerts: &[(&str, usize)]) -> Value {
    firing("count by (alertname) (ALERTS{alertstate=\"firing\"})", minute, alerts)
}

/// Expects exactly these alerts to have fired at some time up to a minute, each with how many of them.
pub fn fired_by(minute: usize, alerts: &[(&str, usize)]) -> Value {
    let expression =
        format!("count by (alertname) (last_over_time(ALERTS{{alertstate=\"firing\"}}[{}m]))", minute + 1);
    firing(&expression, minute, alerts)
}

fn firing(expression: &str, minute: usize, alerts: &[(&str, usize)]) -> Value {
    let sample =
        |&(name, count): &(&str, usize)| json!({"labels": format!("{{alertname={name:?}}}"), "value": count});
    let samples: Vec<_> = alerts.iter().map(sample).collect();
    json!({"expr": expression, "eval_time": format!("{minute}m"), "exp_samples": samples})
}

/// The pages for the alerts: name and text.
pub fn runbooks() -> Vec<(String, String)> {
    let folder = alerts_dir().join("runbooks");
    let files = std::fs::read_dir(&folder).expect("alerts/runbooks");
    let pages = files.map(|file| {
        let path = file.unwrap().path();
        (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap())
    });
    pages.collect()
}

/// What stands in ```` ```promql ```` blocks; a blank line ends a query.
pub fn promql_blocks(text: &str) -> Vec<String> {
    let blocks = text.split("```promql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(|block| block.trim().split("\n\n")).map(str::to_owned).collect()
}
