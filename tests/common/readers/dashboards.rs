//! The dashboards of the repository, and the queries in them.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// One file.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// Its name without the ending; the uid is the same.
    pub name: String,
    pub text: String,
    pub json: Value,
}

/// A query, and where it stands.
#[derive(Clone, Debug)]
pub struct Query {
    pub dashboard: String,
    /// The panel's title, or the annotation's or the variable's name.
    pub place: String,
    pub expression: String,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Panel,
    Annotation,
    Variable,
}

/// Where they are.
pub fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

/// All of them, in the order of their names.
pub fn all() -> Vec<Dashboard> {
    let names = ["coturn-exporter", "coturn-fleet", "coturn-overview", "coturn-realm"];
    names.into_iter().map(read).collect()
}

fn read(name: &str) -> Dashboard {
    let path = dir().join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Dashboard { name: name.to_owned(), text, json }
}

impl Dashboard {
    /// All panels but the headings of rows.
    pub fn panels(&self) -> impl Iterator<Item = &Value> {
        self.json["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
    }

    pub fn variables(&self) -> impl Iterator<Item = &Value> {
        self.json["templating"]["list"].as_array().unwrap().iter()
    }

    /// Where panels and what they show lead to.
    pub fn links(&self) -> Vec<String> {
        let mut found = Vec::new();
        add_links(&self.json["panels"], &mut found);
        found
    }

    fn annotations(&self) -> impl Iterator<Item = &Value> {
        let all = self.json["annotations"]["list"].as_array().unwrap().iter();
        all.filter(|annotation| annotation["builtIn"] != 1)
    }

    /// Everything that is asked of Prometheus.
    pub fn queries(&self) -> Vec<Query> {
        let query = |place: &Value, expression: &Value, kind| Query {
            dashboard: self.name.clone(),
            place: place.as_str().unwrap().to_owned(),
            expression: expression.as_str().unwrap().to_owned(),
            kind,
        };
        let mut queries = Vec::new();
        for panel in self.panels() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                queries.push(query(&panel["title"], &target["expr"], Kind::Panel));
            }
        }
        for annotation in self.annotations() {
            queries.push(query(&annotation["name"], &annotation["expr"], Kind::Annotation));
        }
        for variable in self.variables().filter(|variable| variable["type"] == "query") {
            queries.push(query(&variable["name"], &variable["definition"], Kind::Variable));
        }
        queries
    }
}

/// All addresses in a value.
fn add_links(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("url").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| add_links(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| add_links(value, found)),
        _ => {}
    }
}

impl Query {
    /// With everything chosen, as Grafana fills in variables; both intervals are `window`.
    pub fn filled_in(&self, window: &str) -> String {
        [
            ("$region", ".*"),
            ("$cluster", ".*"),
            ("$namespace", ".*"),
            ("$job", ".+"),
            ("$instance", ".+"),
            ("$realm", ".*"),
            ("$source", ".*"),
            ("$server", ".*"),
            ("$transport", ".*"),
            ("$__rate_interval", window),
            ("$__range", window),
        ]
        .iter()
        .fold(self.expression.clone(), |text, (variable, value)| text.replace(variable, value))
    }

    /// Metric and label of `label_values(metric, label)`.
    pub fn label_values(&self) -> Option<(String, String)> {
        let inside = self.expression.strip_prefix("label_values(")?.strip_suffix(')')?;
        let (metric, label) = inside.rsplit_once(", ")?;
        Some((metric.to_owned(), label.to_owned()))
    }
}
