//! The dashboards by the rules of Grafana's dashboard linter, in a canonical form, and with nothing in them that
//! Grafana's schema does not know. No Grafana is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::common::readers::dashboards::{self, Dashboard, Kind};
use crate::common::readers::grafana;
use crate::common::readers::promql::{self, Selected};
use crate::common::update;
use serde_json::{Value, json};

/// Stands for `$__rate_interval`: nobody writes such a range.
const RATE_INTERVAL: (&str, Duration) = ("4242s", Duration::from_secs(4242));

/// What the rules object to: rule, dashboard, panel (empty where it is none), objection.
type Objection = (&'static str, String, String, String);

/// The rules about a dashboard's head.
fn of_the_head(dashboard: &Dashboard) -> Vec<Objection> {
    let mut objections = Vec::new();
    let mut object = |rule, what: &str| {
        objections.push((rule, title(dashboard), String::new(), what.to_owned()));
    };
    let variable = |name: &str| dashboard.variables().find(|variable| variable["name"] == name).cloned();

    let source = variable("datasource").unwrap_or_default();
    if source["type"] != "datasource" || source["query"] != "prometheus" || source["label"] != "Data source" {
        object("template-datasource-rule", "no variable `datasource` of type prometheus, called Data source");
    }
    for (rule, name, label) in
        [("template-job-rule", "job", "Job"), ("template-instance-rule", "instance", "Instance")]
    {
        let is = variable(name).unwrap_or_default();
        for (property, wanted) in [
            ("type", json!("query")),
            ("label", json!(label)),
            ("multi", json!(true)),
            ("includeAll", json!(true)),
            ("allValue", json!(".+")),
            ("datasource", json!({"type": "prometheus", "uid": "${datasource}"})),
        ] {
            if is[property] != wanted {
                object(rule, &format!("{name}: {property} is {}, not {wanted}", is[property]));
            }
        }
    }
    for query in dashboard.queries().iter().filter(|query| query.kind == Kind::Variable) {
        let valid = query.label_values().is_some_and(|(metric, label)| {
            promql::selectors(&metric).is_ok_and(|selectors| selectors.len() == 1)
                && label.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        });
        if !valid {
            object("template-label-promql-rule", &query.expression);
        }
    }
    for variable in dashboard.variables().filter(|variable| variable["type"] == "query") {
        if variable["refresh"] != 2 {
            object("template-on-time-change-reload-rule", &variable["name"].to_string());
        }
    }
    if dashboard.json["editable"] != false {
        object("uneditable-dashboard-rule", "editable");
    }
    objections
}

/// The rules about panels as such.
fn of_the_panels(dashboard: &Dashboard) -> Vec<Objection> {
    let mut objections = Vec::new();
    let ours = json!({"type": "prometheus", "uid": "${datasource}"});
    // A list of alerts asks Grafana, not a data source; the linter lets it be.
    for panel in dashboard.panels().filter(|panel| panel["type"] != "alertlist") {
        let name = panel["title"].as_str().unwrap_or_default().to_owned();
        let mut object = |rule, what: String| objections.push((rule, title(dashboard), name.clone(), what));
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        if panel["datasource"] != ours {
            object("panel-datasource-rule", panel["datasource"].to_string());
        }
        if name.is_empty() || panel["description"].as_str().is_none_or(str::is_empty) {
            object("panel-title-description-rule", panel["id"].to_string());
        }
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
        if !grafana::UNITS.contains(&unit) {
            object("panel-units-rule", format!("unit {unit:?}"));
        }
        if targets.is_empty() {
            object("panel-no-targets-rule", String::new());
        }
        // There is no Loki here, so neither of its two rules has anything to object to.
        for target in targets.iter().filter(|target| target["datasource"] != ours) {
            object("target-logql-rule", target["datasource"].to_string());
            object("target-logql-auto-rule", target["datasource"].to_string());
        }
    }
    objections
}

/// The rules about queries.
fn of_the_queries(dashboard: &Dashboard) -> Vec<Objection> {
    let mut objections = Vec::new();
    for query in dashboard.queries().iter().filter(|query| query.kind != Kind::Variable) {
        let mut object =
            |rule, what: String| objections.push((rule, title(dashboard), query.place.clone(), what));
        // `$job` and `$instance` stand within strings; the other two are ranges.
        let text = query.expression.replace("$__rate_interval", RATE_INTERVAL.0).replace("$__range", "1h");
        let selectors = match promql::selectors(&text) {
            Ok(selectors) => selectors,
            Err(why) => {
                object("target-promql-rule", format!("{why}: {text}"));
                continue;
            }
        };
        for selected in &selectors {
            for (rule, label) in [("target-job-rule", "job"), ("target-instance-rule", "instance")] {
                let wanted = (label.to_owned(), "=~".to_owned(), format!("${label}"));
                if !selected.matchers.contains(&wanted) {
                    object(rule, selected.metric.clone());
                }
            }
            let over_time = |name: &String| ["rate", "irate", "increase", "changes"].contains(&name.as_str());
            if query.kind == Kind::Panel
                && selected.within.iter().any(over_time)
                && selected.range != Some(RATE_INTERVAL.1)
            {
                object("target-rate-interval-rule", selected.metric.clone());
            }
            if is_counter(selected) && !selected.within.first().is_some_and(over_time) {
                object("target-counter-agg-rule", selected.metric.clone());
            }
        }
    }
    objections
}

fn is_counter(selected: &Selected) -> bool {
    ["_total", "_bucket", "_sum", "_count"].iter().any(|ending| selected.metric.ends_with(ending))
}

fn title(dashboard: &Dashboard) -> String {
    dashboard.json["title"].as_str().unwrap().to_owned()
}

fn objections(dashboard: &Dashboard) -> Vec<Objection> {
    [of_the_head(dashboard), of_the_panels(dashboard), of_the_queries(dashboard)].concat()
}

/// `entries`: each with `dashboard`, `panel` and `reason`.
type Waivers = BTreeMap<String, Vec<BTreeMap<String, String>>>;

/// Rule, dashboard and panel of what `dashboards/.lint` lets pass; no panel stands for all of the dashboard.
fn waived() -> BTreeSet<(String, String, String)> {
    let text = std::fs::read_to_string(dashboards::dir().join(".lint")).expect("dashboards/.lint");
    let lint: BTreeMap<String, BTreeMap<String, Waivers>> =
        serde_json::from_str(&text).expect("dashboards/.lint");
    let mut waived = BTreeSet::new();
    for (rule, entries) in &lint["exclusions"] {
        for entry in &entries["entries"] {
            assert!(entry["reason"].len() > 20, "{rule}: a reason");
            let panel = entry.get("panel").cloned().unwrap_or_default();
            waived.insert((rule.clone(), entry["dashboard"].clone(), panel));
        }
    }
    waived
}

#[test]
fn the_linters_rules_have_nothing_to_object_to() {
    let waivers = waived();
    let mut used = BTreeSet::new();
    let mut left = Vec::new();
    for dashboard in dashboards::all() {
        for (rule, title, panel, what) in objections(&dashboard) {
            let of_panels =
                [panel.as_str(), ""].map(|panel| (rule.to_owned(), title.clone(), panel.to_owned()));
            if let Some(waiver) = of_panels.into_iter().find(|waiver| waivers.contains(waiver)) {
                used.insert(waiver);
            } else {
                left.push(format!("{rule}: {title}: {panel}: {what}"));
            }
        }
    }
    assert!(left.is_empty(), "{}", left.join("\n"));
    assert_eq!(used, waivers, "a waiver that nothing needs");
}

/// Each rule objects to a dashboard that breaks it.
#[test]
fn the_linters_rules_find_what_is_wrong() {
    let good = dashboards::all().pop().expect("the last one");
    let broken: [(&str, &str, Value); 16] = [
        ("template-datasource-rule", "/templating/list/0/query", json!("loki")),
        ("template-job-rule", "/templating/list/3/multi", json!(false)),
        ("template-instance-rule", "/templating/list/4/allValue", json!(".*")),
        ("template-label-promql-rule", "/templating/list/3/definition", json!("label_values(up{, job)")),
        ("template-on-time-change-reload-rule", "/templating/list/3/refresh", json!(1)),
        ("uneditable-dashboard-rule", "/editable", json!(true)),
        ("panel-datasource-rule", "/panels/1/datasource/uid", json!("abc")),
        ("panel-title-description-rule", "/panels/1/description", json!("")),
        ("panel-units-rule", "/panels/1/fieldConfig/defaults/unit", json!("furlong")),
        ("panel-no-targets-rule", "/panels/1/targets", json!([])),
        ("target-logql-rule", "/panels/1/targets/0/datasource/type", json!("loki")),
        ("target-logql-auto-rule", "/panels/1/targets/0/datasource/type", json!("loki")),
        ("target-promql-rule", "/panels/1/targets/0/expr", json!("sum by (realm")),
        ("target-job-rule", "/panels/1/targets/0/expr", json!("up{instance=~\"$instance\"}")),
        ("target-instance-rule", "/panels/1/targets/0/expr", json!("up{job=~\"$job\"}")),
        (
            "target-counter-agg-rule",
            "/panels/1/targets/0/expr",
            json!("sum(a_total{job=~\"$job\", instance=~\"$instance\"})"),
        ),
    ];
    for (rule, pointer, value) in broken {
        let mut dashboard = good.clone();
        *dashboard.json.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
        let found = objections(&dashboard).iter().any(|(found, ..)| *found == rule);
        assert!(found, "{rule} does not see {pointer}");
    }
    let mut dashboard = good.clone();
    dashboard.json["panels"][1]["targets"][0]["expr"] =
        json!("rate(a_total{job=~\"$job\", instance=~\"$instance\"}[5m])");
    assert!(objections(&dashboard).iter().any(|(rule, ..)| *rule == "target-rate-interval-rule"));
}

/// Nothing but what Grafana's schema has, of the types that it has: what is misspelt would be ignored silently.
#[test]
fn the_schema_knows_everything_in_them() {
    for dashboard in dashboards::all() {
        let name = &dashboard.name;
        let model: grafana::Dashboard =
            serde_json::from_str(&dashboard.text).unwrap_or_else(|error| panic!("{name}: {error}"));
        model.check().unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(dashboard.json["uid"], dashboard.name.as_str(), "the uid is the file's name");
        assert!(dashboard.json.get("id").is_none() && dashboard.json.get("__inputs").is_none(), "{name}");
        for wrong in ["http://", "https://"] {
            assert!(!dashboard.text.contains(wrong), "{name} has an address in it");
        }
    }
}

/// Sorted and indented in one way, so that a change shows as what it is. `UPDATE_DASHBOARDS=1` writes them so.
#[test]
fn the_files_are_canonical() {
    for dashboard in dashboards::all() {
        let canonical = serde_json::to_string_pretty(&dashboard.json).unwrap() + "\n";
        if update::is_wanted("DASHBOARDS") {
            std::fs::write(dashboards::dir().join(format!("{}.json", dashboard.name)), &canonical).unwrap();
        } else {
            assert!(
                dashboard.text == canonical,
                "{}: run UPDATE_DASHBOARDS=1 cargo test --test dashboards canonical",
                dashboard.name
            );
        }
    }
}

/// Each dashboard has the same variables in this order, and leads to the others with time and variables kept. In that of
/// the fleet, which is about regions, no exporter can be chosen; runbooks are where the alerts are.
#[test]
fn variables_and_links_are_the_same_everywhere() {
    let all = dashboards::all();
    for dashboard in &all {
        let names: Vec<_> =
            dashboard.variables().map(|variable| variable["name"].as_str().unwrap()).collect();
        let target = ["cluster", "namespace", "job", "instance", "realm"];
        let own = ["source", "server", "transport", "details"];
        let wanted = match dashboard.name.as_str() {
            "coturn-fleet" => vec!["datasource", "region", "cluster", "namespace", "job", "realm"],
            "coturn-overview" => [&["datasource"], &target[..], &own, &["runbooks"]].concat(),
            _ => [&["datasource"], &target[..], &own].concat(),
        };
        assert_eq!(names, wanted, "{}", dashboard.name);
        let mut leads: Vec<_> = dashboard.json["links"].as_array().unwrap().iter().collect();
        leads.retain(|link| link["includeVars"] == true && link["keepTime"] == true);
        let leads: BTreeSet<_> = leads.iter().map(|link| link["url"].as_str().unwrap().to_owned()).collect();
        let others = all.iter().filter(|other| other.name != dashboard.name);
        assert_eq!(leads, others.map(|other| format!("/d/{}", other.name)).collect(), "{}", dashboard.name);
    }
}

/// Labels of a target that have a variable.
const TARGET: [&str; 5] = ["region", "cluster", "namespace", "job", "instance"];

/// Every query can be narrowed by each label of a target that has a variable, and all of them at once by choosing nothing.
#[test]
fn every_query_obeys_the_variables_of_the_target() {
    let mut wrong = Vec::new();
    for dashboard in dashboards::all() {
        let names: Vec<_> = dashboard.variables().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
        for variable in dashboard.variables() {
            let (name, all) = (variable["name"].as_str().unwrap(), &variable["allValue"]);
            if !["datasource", "job", "instance", "details", "runbooks"].contains(&name) {
                // A target need not have the label, nor a server an address.
                assert_eq!(
                    (all, &variable["multi"], &variable["includeAll"]),
                    (&json!(".*"), &json!(true), &json!(true))
                );
            }
        }
        for query in dashboard.queries() {
            // A variable depends on those before it.
            let own = names.iter().position(|name| query.kind == Kind::Variable && *name == query.place);
            let text = query.label_values().map_or(query.expression.clone(), |(metric, _)| metric);
            let text = text.replace("$__rate_interval", RATE_INTERVAL.0).replace("$__range", "1h");
            for selected in promql::selectors(&text).unwrap() {
                let of_target = names[..own.unwrap_or(names.len())].iter();
                let of_target = of_target.filter(|name| TARGET.contains(&name.as_str()));
                for name in of_target {
                    let wanted = (name.clone(), "=~".to_owned(), format!("${name}"));
                    if !selected.matchers.contains(&wanted) {
                        wrong.push(format!(
                            "{}: {}: {} has no {name}",
                            dashboard.name, query.place, selected.metric
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rates over reports that come per 4096 packets need long windows: Grafana makes `$__rate_interval` at least as long as
/// the panel's interval.
#[test]
fn rates_of_traffic_have_long_windows() {
    for dashboard in dashboards::all() {
        for panel in dashboard.panels() {
            let queries = panel["targets"].to_string();
            let bursty =
                ["relayed_bytes", "relayed_packets", "recovered", "unseen", "session_", "closed_total"];
            if queries.contains("$__rate_interval") && bursty.iter().any(|word| queries.contains(word)) {
                let interval = panel["interval"].as_str().unwrap_or_default();
                let minutes: u32 = interval.trim_end_matches('m').parse().unwrap_or(0);
                assert!(minutes >= 5, "{}: {}: interval {interval:?}", dashboard.name, panel["title"]);
            }
        }
    }
}

/// What is of one process, server or source is a line for each target: two clusters may have the same addresses and names.
/// A minimum may join them, for one that is wrong shows.
#[test]
fn what_is_of_one_exporter_is_not_added_up() {
    let mut wrong = Vec::new();
    for query in dashboards::all().iter().flat_map(Dashboard::queries) {
        let text = &query.expression;
        let mut folds = text.split("by (").collect::<Vec<_>>();
        let mut before = folds.remove(0);
        for rest in folds {
            let labels = rest.split(')').next().unwrap_or_default();
            let is_one = |label: &str| ["job", "instance", "server", "source"].contains(&label);
            if labels.split(", ").any(is_one) && !before.ends_with("min ") {
                wrong.push(format!("{}: {}: {text}", query.dashboard, query.place));
            }
            before = rest;
        }
        if text.contains(" on (") {
            wrong.push(format!(
                "{}: {}: joined by some labels of the target: {text}",
                query.dashboard, query.place
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
