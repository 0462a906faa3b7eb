//! How the panels show their numbers: one line for each series, one unit for each axis, last and largest in the legend, links
//! to details and runbooks, and no empty place.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::readers::dashboards::{self, Dashboard};
use crate::common::readers::promql;
use coturn_exporter::metrics::names::{self, FamilyType};
use serde_json::{Value, json};

/// The dashboard of recorded series, in which nothing but regions can be chosen.
const FLEET: &str = "coturn-fleet";

/// Labels of our own that can be chosen, besides the realm.
const CHOICES: [&str; 3] = ["source", "server", "transport"];

fn curves(dashboard: &Dashboard) -> impl Iterator<Item = &Value> {
    dashboard.panels().filter(|panel| panel["type"] == "timeseries")
}

fn expressions(panel: &Value) -> Vec<String> {
    let targets = panel["targets"].as_array().into_iter().flatten();
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// What is wrong with the panels, each with its place.
fn objections(dashboard: &Dashboard) -> Vec<String> {
    let mut wrong = Vec::new();
    for panel in curves(dashboard) {
        let mut object = |what: &str| wrong.push(format!("{}: {}: {what}", dashboard.name, panel["title"]));
        let defaults = &panel["fieldConfig"]["defaults"];
        // A stack hides small realms above large ones, and so do areas.
        if defaults["custom"]["stacking"]["mode"] != "none" || defaults["custom"]["fillOpacity"] != 0 {
            object("stacked or filled");
        }
        let legend = json!({
            "calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": true,
        });
        if panel["options"]["legend"] != legend {
            object("a legend without last and max");
        }
        let properties = panel["fieldConfig"]["overrides"].as_array().unwrap().iter();
        let mut properties = properties.flat_map(|entry| entry["properties"].as_array().unwrap());
        if properties.any(|one| one["id"] == "unit" || one["id"] == "custom.axisPlacement") {
            object("two units");
        }
        let scales: BTreeSet<_> = expressions(panel).iter().map(|text| scale(text)).collect();
        if scales.len() != 1 {
            object(&format!("numbers of several kinds: {scales:?}"));
        }
        let is_per_hour = scales.iter().any(|(factor, _)| factor == "3600");
        if is_per_hour != (defaults["custom"]["axisLabel"] == "per hour") {
            object("the axis does not say that it is per hour, or says so wrongly");
        }
    }
    wrong.extend(rates_in_bytes(dashboard));
    wrong.extend(empty_places(dashboard));
    wrong
}

/// The factor before an expression, and whether it is one of change: what two curves of one axis have in common.
fn scale(expression: &str) -> (String, bool) {
    let factor = expression.split_once(" * ").map(|(factor, _)| factor).unwrap_or_default();
    let is_number = !factor.is_empty() && factor.bytes().all(|byte| byte.is_ascii_digit());
    let changes = ["rate(", "increase("].iter().any(|name| expression.contains(name));
    (if is_number { factor.to_owned() } else { String::new() }, changes)
}

/// Networks are counted in bit/s: a rate of bytes has a factor of 8 and that unit. A share or a mean has none.
fn rates_in_bytes(dashboard: &Dashboard) -> Vec<String> {
    let mut wrong = Vec::new();
    for panel in dashboard.panels() {
        let of_bytes = |text: &str| {
            let is_rate = text.contains("bytes_total{") && text.contains("rate(coturn");
            let is_recorded = text.contains("bytes:increase1m{");
            let divided = text.split(" / ").nth(1).is_some_and(|by| by.contains("coturn"));
            (is_rate || is_recorded) && !divided
        };
        let unit = |name: &str| {
            let overrides = panel["fieldConfig"]["overrides"].as_array().into_iter().flatten();
            let mut own = overrides.filter(|entry| entry["matcher"]["options"] == name);
            let own = own.find_map(|entry| {
                entry["properties"]
                    .as_array()?
                    .iter()
                    .find(|one| one["id"] == "unit")
                    .map(|one| one["value"].clone())
            });
            own.unwrap_or_else(|| panel["fieldConfig"]["defaults"]["unit"].clone())
        };
        let renamed = panel["transformations"][1]["options"]["renameByName"].clone();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let text = target["expr"].as_str().unwrap().to_owned();
            let column =
                renamed[format!("Value #{}", target["refId"].as_str().unwrap())].as_str().unwrap_or_default();
            let right = text.starts_with("8 * ") && unit(column) == "bps";
            if of_bytes(&text) != right {
                wrong.push(format!("{}: {}: bit/s: {text}", dashboard.name, panel["title"]));
            }
        }
    }
    wrong
}

/// Every place of the grid of 24 columns is taken.
fn empty_places(dashboard: &Dashboard) -> Vec<String> {
    let mut taken: BTreeMap<u64, u64> = BTreeMap::new();
    for panel in dashboard.json["panels"].as_array().unwrap() {
        let [y, w, h] = ["y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        for line in y..y + h {
            *taken.entry(line).or_default() += w;
        }
    }
    let bottom = taken.keys().max().copied().unwrap_or_default();
    let empty = (0..=bottom).filter(|line| taken.get(line) != Some(&24));
    empty.map(|line| format!("{}: line {line} is not full", dashboard.name)).collect()
}

#[test]
fn the_panels_show_each_series_in_one_unit_and_leave_no_place_empty() {
    let wrong: Vec<_> = dashboards::all().iter().flat_map(objections).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each rule objects to a dashboard that breaks it.
#[test]
fn what_is_wrong_with_a_panel_is_found() {
    let good = dashboards::all().into_iter().find(|one| one.name == "coturn-overview").unwrap();
    let index = |title: &str| {
        let panels = good.json["panels"].as_array().unwrap();
        panels.iter().position(|panel| panel["title"] == title).unwrap_or_else(|| panic!("no {title}"))
    };
    let realm = index("Live allocations by realm");
    let traffic = index("Relayed payload by direction");
    for (pointer, value, says) in [
        (format!("/panels/{realm}/fieldConfig/defaults/custom/stacking/mode"), json!("normal"), "stacked"),
        (format!("/panels/{realm}/fieldConfig/defaults/custom/fillOpacity"), json!(30), "stacked"),
        (format!("/panels/{realm}/options/legend/calcs"), json!(["max"]), "a legend"),
        (
            format!("/panels/{realm}/fieldConfig/overrides"),
            json!([{"matcher": {"id": "byName", "options": "a"}, "properties": [{"id": "unit", "value": "s"}]}]),
            "two units",
        ),
        (format!("/panels/{realm}/fieldConfig/defaults/custom/axisLabel"), json!("per hour"), "per hour"),
        (
            format!("/panels/{}/targets/0/expr", index("Births, adoptions and refreshes")),
            json!("sum(a)"),
            "several kinds",
        ),
        (format!("/panels/{traffic}/fieldConfig/defaults/unit"), json!("Bps"), "bit/s"),
        (
            format!("/panels/{traffic}/targets/0/expr"),
            json!("sum(rate(coturn_relayed_bytes_total{}[5m]))"),
            "bit/s",
        ),
        (format!("/panels/{realm}/gridPos/w"), json!(4), "is not full"),
    ] {
        let mut dashboard = good.clone();
        *dashboard.json.pointer_mut(&pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
        assert!(objections(&dashboard).iter().any(|found| found.contains(says)), "{says}: {pointer}");
    }
}

/// A panel obeys the choice of a source, a server or a transport if each of its numbers has that label, else none of them
/// does: half of a comparison would be narrowed.
#[test]
fn panels_are_narrowed_by_what_all_of_their_numbers_have() {
    let mut labels: BTreeMap<String, &[&str]> = BTreeMap::new();
    for family in names::ALL {
        let endings: &[&str] =
            if family.kind == FamilyType::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
        labels.extend(endings.iter().map(|ending| (format!("{}{ending}", family.name), family.labels)));
    }
    let (mut wrong, mut obeyed) = (Vec::new(), BTreeSet::new());
    for dashboard in dashboards::all().iter().filter(|dashboard| dashboard.name != FLEET) {
        let annotations = dashboard.json["annotations"]["list"].as_array().unwrap().iter();
        let annotations =
            annotations.filter_map(|one| Some((one["name"].clone(), vec![one["expr"].as_str()?.to_owned()])));
        let panels = dashboard.panels().map(|panel| (panel["title"].clone(), expressions(panel)));
        for (place, texts) in panels.chain(annotations).filter(|(_, texts)| !texts.is_empty()) {
            let text = |text: &String| text.replace("$__rate_interval", "5m").replace("$__range", "1h");
            let selected: Vec<_> =
                texts.iter().flat_map(|one| promql::selectors(&text(one)).unwrap()).collect();
            for label in CHOICES {
                let have = |metric: &String| labels.get(metric).is_some_and(|labels| labels.contains(&label));
                let all_have = selected.iter().all(|one| have(&one.metric));
                let matcher = (label.to_owned(), "=~".to_owned(), format!("${label}"));
                if selected.iter().any(|one| one.matchers.contains(&matcher) != all_have) {
                    wrong.push(format!("{}: {place}: {label}", dashboard.name));
                }
                obeyed.extend(all_have.then_some(label));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(obeyed, BTreeSet::from(CHOICES), "each choice is obeyed somewhere");
}

/// From a realm, a server and a transport to the details, from an alert to its runbook. Prometheus does not know where the
/// exporter is reached: a variable holds it, by default one that leads nowhere.
#[test]
fn realms_servers_and_alerts_lead_to_details_and_runbooks() {
    let mut all = Vec::new();
    for dashboard in dashboards::all().iter().filter(|dashboard| dashboard.name != FLEET) {
        for variable in dashboard.variables().filter(|variable| variable["type"] == "textbox") {
            assert_eq!((&variable["query"], &variable["current"]["value"]), (&json!("#"), &json!("#")));
            assert!(variable["description"].as_str().is_some_and(|text| text.contains('#')), "{variable}");
        }
        all.extend(dashboard.links());
        // A panel of one line for each realm, server or transport has a link on each line.
        for panel in curves(dashboard) {
            let of = |label: &str| {
                let all = panel["targets"].as_array().unwrap().iter();
                all.clone()
                    .all(|one| one["legendFormat"].as_str().unwrap().starts_with(&format!("{{{{{label}}}}}")))
            };
            let is_live = expressions(panel).iter().all(|text| {
                ["coturn_allocations{", "coturn_sessions{", "coturn_orphaned", "coturn_server_allocations{"]
                    .iter()
                    .any(|name| text.contains(name))
            });
            let label = ["realm", "server", "transport"].into_iter().find(|label| of(label));
            let Some(label) = label.filter(|_| is_live && !expressions(panel)[0].contains("quota")) else {
                continue;
            };
            let url = panel["fieldConfig"]["defaults"]["links"][0]["url"].as_str().unwrap_or_default();
            let filter = format!("?{label}=${{__field.labels.{label}:percentencode}}");
            assert!(url.starts_with("${details}/") && url.ends_with(&filter), "{}: {url:?}", panel["title"]);
        }
    }
    let of_details: BTreeSet<_> = all.iter().filter_map(|url| url.strip_prefix("${details}")).collect();
    let by_value = |path: &str, label: &str| format!("{path}?{label}=${{__value.text:percentencode}}");
    for wanted in [
        by_value("/allocations", "realm"),
        by_value("/sessions", "realm"),
        by_value("/allocations", "server"),
    ] {
        assert!(of_details.contains(wanted.as_str()), "{wanted}: {of_details:?}");
    }
    for url in of_details {
        let (path, filter) = url.split_once('?').expect("a filter");
        assert!(["/allocations", "/sessions"].contains(&path), "{url}");
        assert!(["realm=", "server=", "transport="].iter().any(|name| filter.starts_with(name)), "{url}");
    }
    assert!(all.iter().any(|url| url == "${runbooks}/${__value.text:percentencode}.md"), "{all:?}");
}

/// Where the alerts are seen: Grafana's list, and a mark in each dashboard.
#[test]
fn alerts_are_listed_and_marked() {
    let all = dashboards::all();
    let overview = all.iter().find(|dashboard| dashboard.name == "coturn-overview").unwrap();
    let lists: Vec<_> = overview.panels().filter(|panel| panel["type"] == "alertlist").collect();
    assert_eq!(lists.len(), 1);
    assert!(lists[0]["links"].as_array().is_some_and(|links| links.len() == 2), "runbooks and alerts");
    let marks = |dashboard: &Dashboard| -> Vec<String> {
        let list = dashboard.json["annotations"]["list"].as_array().unwrap();
        list.iter()
            .filter(|one| one["enable"] == true)
            .filter_map(|one| Some(one["expr"].as_str()?.to_owned()))
            .collect()
    };
    for dashboard in &all {
        let marks = marks(dashboard);
        assert!(
            marks.iter().any(|text| text.contains("ALERTS{") && text.contains("firing")),
            "{}",
            dashboard.name
        );
        let restarts = ["process_start_time_seconds", "targets_up"];
        assert!(
            marks.iter().any(|text| restarts.iter().any(|name| text.contains(name))),
            "{}",
            dashboard.name
        );
    }
}
