//! What is generated from the program's own definitions and kept in the repository: the flags, the metrics, the manual
//! pages, the completions. `make reference` writes them anew.

mod flags;
mod metrics;
mod shell;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::readers::promql;
use crate::common::readers::promtool;
use crate::common::temp_dir::TempDir;
use crate::common::update;
use coturn_exporter::metrics::names::{self, FamilyType};
use coturn_exporter::metrics::origins::{FamilyOrigin, GROUPS};

/// Folders in which everything is generated.
const FOLDERS: [&str; 2] = [shell::MAN, shell::COMPLETIONS];

/// Labels that Prometheus gives to what it scrapes.
const TARGET: [&str; 2] = ["job", "instance"];

/// Every file by its path from the root of the repository.
fn files() -> BTreeMap<PathBuf, String> {
    let command = flags::shown(&coturn_exporter::cli::definitions()).version(env!("CARGO_PKG_VERSION"));
    let mut files = BTreeMap::from([
        (PathBuf::from("docs/flags.md"), flags::document(&command)),
        (PathBuf::from("docs/metrics.md"), metrics::document()),
    ]);
    files.extend(shell::manual_pages(&command));
    files.extend(shell::completions(&command));
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the two folders hold.
fn present() -> BTreeSet<PathBuf> {
    let entries = FOLDERS.iter().flat_map(|folder| {
        let entries = fs::read_dir(root().join(folder)).into_iter().flatten();
        entries.map(move |entry| Path::new(folder).join(entry.unwrap().file_name()))
    });
    entries.collect()
}

#[test]
fn what_is_kept_is_what_is_generated() {
    let files = files();
    let foreign: Vec<_> = present().into_iter().filter(|path| !files.contains_key(path)).collect();
    if update::is_wanted("REFERENCE") {
        for path in foreign {
            fs::remove_file(root().join(path)).unwrap();
        }
        for (path, text) in files {
            let path = root().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        return;
    }
    let differs = |(path, text): &(PathBuf, String)| {
        fs::read_to_string(root().join(path)).ok().as_deref() != Some(text.as_str())
    };
    let stale: Vec<_> = files.into_iter().filter(differs).map(|(path, _)| path).collect();
    assert!(
        stale.is_empty() && foreign.is_empty(),
        "not as the program's definitions give it: {stale:?}; of no definition: {foreign:?}. Run: make reference"
    );
}

fn origins() -> impl Iterator<Item = &'static FamilyOrigin> {
    GROUPS.iter().flat_map(|group| group.origins)
}

#[test]
fn every_metric_has_an_origin_in_the_order_of_the_page() {
    let documented: Vec<_> = origins().map(|origin| origin.family.name).collect();
    let all: Vec<_> = names::ALL.iter().map(|family| family.name).collect();
    let missing: Vec<_> = all.iter().filter(|name| !documented.contains(name)).collect();
    assert!(missing.is_empty(), "no origin and no query in src/metrics/origins.rs: {missing:?}");
    assert_eq!(documented, all, "the order is another");
    for origin in origins() {
        let name = origin.family.name;
        assert!(!origin.from.is_empty() && !origin.answers.is_empty(), "{name}: an empty text");
        let asked = promql::selectors(origin.query).unwrap_or_else(|why| panic!("{name}: {why}"));
        let is_asked = asked.iter().any(|selected| metrics::family_of(&selected.metric) == Some(name));
        assert!(is_asked, "{name}: its query asks for something else: {}", origin.query);
    }
}

/// Labels that a series of this name has; `None` if no family has such a series.
fn labels_of(series: &str) -> Option<Vec<&'static str>> {
    let name = metrics::family_of(series)?;
    let family = names::ALL.iter().find(|family| family.name == name)?;
    let le = (family.kind == FamilyType::Histogram && series.ends_with("_bucket")).then_some("le");
    Some(family.labels.iter().copied().chain(TARGET).chain(le).collect())
}

/// The labels in `by (...)`, `on (...)` and the like.
fn grouped_by(query: &str) -> Vec<String> {
    let words = ["by (", "without (", "on (", "ignoring (", "group_left ("];
    let lists = words.iter().flat_map(|word| query.split(word).skip(1));
    let labels = lists.flat_map(|rest| rest.split(')').next().unwrap().split(','));
    labels.map(|label| label.trim().to_owned()).filter(|label| !label.is_empty()).collect()
}

#[test]
fn every_query_names_what_exists() {
    let mut wrong = Vec::new();
    for FamilyOrigin { family, query, .. } in origins() {
        let mut known = BTreeSet::new();
        for selected in promql::selectors(query).unwrap() {
            let Some(labels) = labels_of(&selected.metric) else {
                wrong.push(format!("{}: there is no {}", family.name, selected.metric));
                continue;
            };
            for (label, operator, value) in &selected.matchers {
                if !labels.contains(&label.as_str()) {
                    wrong.push(format!("{}: {} has no label {label}", family.name, selected.metric));
                }
                let values = metrics::values(&selected.metric, label).unwrap_or_default();
                let unknown = value.split('|').filter(|value| !values.iter().any(|have| have == value));
                if !values.is_empty() && ["=", "=~", "!="].contains(&operator.as_str()) {
                    wrong.extend(unknown.map(|value| format!("{}: {label} is never {value}", family.name)));
                }
            }
            known.extend(labels);
        }
        for label in grouped_by(query).iter().filter(|label| !known.contains(label.as_str())) {
            wrong.push(format!("{}: nothing in the query has the label {label}", family.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn prometheus_reads_every_query() {
    let rules: Vec<_> = origins()
        .map(|origin| serde_json::json!({"record": format!("reference:{}", origin.family.name), "expr": origin.query}))
        .collect();
    let file = serde_json::json!({"groups": [{"name": "reference", "rules": rules}]});
    let dir = TempDir::new("reference");
    let file = dir.write("reference.yaml", &file.to_string());
    let (content, said) = promtool::run(&["check", "rules", &file.display().to_string()]);
    assert!(content, "{said}");
}

#[test]
fn bash_completes_flags_and_commands() {
    let script = root().join(shell::COMPLETIONS).join("coturn-exporter");
    let complete = |words: &str, current: usize| {
        let line = format!(
            "source '{}'; COMP_WORDS=({words}); COMP_CWORD={current}; \
             _coturn__exporter coturn-exporter \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        let output = std::process::Command::new("bash").args(["-c", &line]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("coturn-exporter --statsdb.l", 1), "--statsdb.listen-address");
    assert_eq!(complete("coturn-exporter rec", 1), "record");
    assert_eq!(complete("coturn-exporter record --out", 2), "--output");
    // What a command refuses is not offered for it.
    assert_eq!(complete("coturn-exporter replay --redis.u", 2), "");
}
