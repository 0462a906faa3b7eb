//! Grafana's model of a dashboard (the classic one, schema version 37: Grafana 9 to 13), as far as ours use it. A field
//! that is not here is not in ours.

#![allow(clippy::struct_excessive_bools, reason = "the model is Grafana's")]

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

/// Units that Grafana 9 knows, of those that fit our numbers.
pub const UNITS: [&str; 10] =
    ["short", "bool_yes_no", "bps", "bytes", "pps", "cps", "cpm", "s", "percentunit", "dateTimeAsIso"];

type Object = BTreeMap<String, Value>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Dashboard {
    annotations: List<Annotation>,
    description: String,
    editable: bool,
    fiscal_year_start_month: u8,
    graph_tooltip: u8,
    links: Vec<Link>,
    live_now: bool,
    panels: Vec<Panel>,
    refresh: String,
    schema_version: u32,
    tags: Vec<String>,
    templating: List<Variable>,
    time: Time,
    timepicker: Object,
    timezone: String,
    title: String,
    uid: String,
    version: u32,
    week_start: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List<T> {
    list: Vec<T>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Time {
    from: String,
    to: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DataSource {
    r#type: String,
    uid: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "read for its form")]
struct Annotation {
    built_in: Option<u8>,
    datasource: DataSource,
    enable: bool,
    expr: Option<String>,
    hide: bool,
    icon_color: String,
    name: String,
    step: Option<String>,
    tag_keys: Option<String>,
    target: Option<Object>,
    text_format: Option<String>,
    title_format: Option<String>,
    r#type: Option<String>,
    use_value_for_time: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "read for its form")]
struct Link {
    as_dropdown: bool,
    icon: String,
    include_vars: bool,
    keep_time: bool,
    tags: Vec<String>,
    target_blank: bool,
    title: String,
    tooltip: String,
    r#type: String,
    url: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "read for its form")]
struct Variable {
    all_value: Option<String>,
    current: Object,
    datasource: Option<DataSource>,
    definition: Option<String>,
    description: Option<String>,
    hide: u8,
    include_all: bool,
    label: String,
    multi: bool,
    name: String,
    options: Vec<Value>,
    query: Value,
    refresh: u8,
    regex: String,
    skip_url_sync: bool,
    sort: Option<u8>,
    r#type: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Panel {
    collapsed: Option<bool>,
    datasource: DataSource,
    description: Option<String>,
    field_config: Option<FieldConfig>,
    grid_pos: GridPos,
    id: u32,
    #[expect(dead_code, reason = "it may be there; nothing is asked of it")]
    interval: Option<String>,
    #[expect(dead_code, reason = "read for its form")]
    links: Option<Vec<Link>>,
    options: Option<Value>,
    panels: Option<Vec<Value>>,
    targets: Option<Vec<Target>>,
    title: String,
    transformations: Option<Vec<Transformation>>,
    r#type: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GridPos {
    x: u32,
    y: u32,
    w: u32,
    h: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "read for its form")]
struct Target {
    datasource: DataSource,
    editor_mode: String,
    expr: String,
    format: Option<String>,
    instant: bool,
    legend_format: String,
    range: bool,
    ref_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read for its form")]
struct Transformation {
    id: String,
    options: Object,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldConfig {
    defaults: Defaults,
    overrides: Vec<Override>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "read for its form")]
struct Defaults {
    color: Object,
    custom: Option<Value>,
    decimals: Option<u8>,
    links: Option<Vec<DataLink>>,
    mappings: Vec<Value>,
    max: Option<f64>,
    min: Option<f64>,
    no_value: String,
    thresholds: Thresholds,
    unit: String,
}

/// Of what a panel shows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "read for its form")]
struct DataLink {
    target_blank: bool,
    title: String,
    url: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read for its form")]
struct Thresholds {
    mode: String,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read for its form")]
struct Step {
    color: String,
    value: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Override {
    matcher: Named,
    properties: Vec<Property>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    id: String,
    options: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read for its form")]
struct Property {
    id: String,
    value: Value,
}

/// The options of a panel's type, and what `custom` may hold there.
const OPTIONS: [(&str, &[&str], &[&str]); 5] = [
    (
        "alertlist",
        &[
            "alertInstanceLabelFilter",
            "alertName",
            "dashboardAlerts",
            "groupBy",
            "groupMode",
            "maxItems",
            "showInactiveAlerts",
            "sortOrder",
            "stateFilter",
            "viewMode",
        ],
        &[],
    ),
    (
        "timeseries",
        &["legend", "tooltip"],
        &[
            "axisLabel",
            "axisPlacement",
            "barAlignment",
            "drawStyle",
            "fillOpacity",
            "gradientMode",
            "hideFrom",
            "lineInterpolation",
            "lineWidth",
            "pointSize",
            "scaleDistribution",
            "showPoints",
            "spanNulls",
            "stacking",
            "thresholdsStyle",
        ],
    ),
    ("stat", &["colorMode", "graphMode", "justifyMode", "orientation", "reduceOptions", "textMode"], &[]),
    (
        "table",
        &["cellHeight", "footer", "showHeader", "sortBy"],
        &["align", "filterable", "inspect", "minWidth"],
    ),
    (
        "heatmap",
        &[
            "calculate",
            "cellGap",
            "cellValues",
            "color",
            "exemplars",
            "filterValues",
            "legend",
            "rowsFrame",
            "showValue",
            "tooltip",
            "yAxis",
        ],
        &["hideFrom", "scaleDistribution"],
    ),
];

impl Dashboard {
    /// What types cannot say.
    pub fn check(&self) -> Result<(), String> {
        let is = |what: &str, right: bool| if right { Ok(()) } else { Err(what.to_owned()) };
        is("schema version of Grafana 9", self.schema_version == 37)?;
        is("tags", self.tags == ["coturn", "turn"])?;
        is("shared crosshair", self.graph_tooltip == 1)?;
        is("refresh and time", self.refresh == "30s" && self.time.from == "now-6h" && self.time.to == "now")?;
        is("time zone", self.timezone == "browser" && self.week_start.is_empty())?;
        is("head", !self.title.is_empty() && !self.uid.is_empty() && !self.description.is_empty())?;
        is(
            "fixed",
            !self.editable && !self.live_now && self.version == 1 && self.fiscal_year_start_month == 0,
        )?;
        is("time picker", self.timepicker.is_empty())?;
        is("links", !self.links.is_empty())?;
        is("variables", !self.templating.list.is_empty())?;
        is("annotations for gaps and restarts", self.annotations.list.len() >= 3)?;
        let ids: BTreeSet<_> = self.panels.iter().map(|panel| panel.id).collect();
        is("ids are distinct", ids.len() == self.panels.len())?;
        let mut taken = BTreeSet::new();
        for panel in &self.panels {
            panel.check().map_err(|why| format!("{}: {why}", panel.title))?;
            let GridPos { x, y, w, h } = panel.grid_pos;
            is("fits the grid of 24 columns", x + w <= 24 && w > 0 && h > 0)?;
            for cell in (x..x + w).flat_map(|column| (y..y + h).map(move |row| (column, row))) {
                is(&format!("{} covers another", panel.title), taken.insert(cell))?;
            }
        }
        Ok(())
    }
}

impl Panel {
    fn check(&self) -> Result<(), String> {
        if self.datasource.r#type != "prometheus" || self.datasource.uid != "${datasource}" {
            return Err("another data source".to_owned());
        }
        if self.r#type == "row" {
            let plain = self.collapsed == Some(false) && self.panels.as_ref().is_some_and(Vec::is_empty);
            return if plain { Ok(()) } else { Err("a row that hides panels".to_owned()) };
        }
        let known = OPTIONS.iter().find(|(kind, ..)| *kind == self.r#type);
        let (_, options, customs) = known.ok_or_else(|| format!("panels of type {}", self.r#type))?;
        let config = self.field_config.as_ref().ok_or("no field configuration")?;
        let keys = |value: Option<&Value>| -> Vec<String> {
            value
                .and_then(Value::as_object)
                .map(|object| object.keys().cloned().collect())
                .unwrap_or_default()
        };
        for (keys, known) in
            [(keys(self.options.as_ref()), options), (keys(config.defaults.custom.as_ref()), customs)]
        {
            if let Some(unknown) = keys.iter().find(|key| !known.contains(&key.as_str())) {
                return Err(format!("option {unknown}"));
            }
        }
        if config.defaults.no_value.is_empty() || self.description.is_none() {
            return Err("nothing is said where there is no data".to_owned());
        }
        for entry in &config.overrides {
            if entry.matcher.id != "byName" || entry.matcher.options.is_empty() || entry.properties.is_empty()
            {
                return Err("an override without a name".to_owned());
            }
        }
        if self.r#type == "alertlist" {
            // It asks Grafana.
            return self
                .targets
                .is_none()
                .then_some(())
                .ok_or_else(|| "a query in a list of alerts".to_owned());
        }
        let targets = self.targets.as_ref().ok_or("no query")?;
        let ids: BTreeSet<_> = targets.iter().map(|target| &target.ref_id).collect();
        if ids.len() != targets.len() || targets.iter().any(|target| target.instant == target.range) {
            return Err("queries with one id, or neither instant nor range".to_owned());
        }
        let table = self.r#type == "table";
        let formats = targets.iter().all(|target| match target.format.as_deref() {
            Some("table") => table,
            Some("heatmap") => self.r#type == "heatmap",
            other => other.is_none() && !table,
        });
        if !formats || table != self.transformations.is_some() {
            return Err("the format of a query does not fit".to_owned());
        }
        Ok(())
    }
}
