//! The README against the program: its tables name every metric and every flag, and nothing else.

use std::path::Path;
use std::process::Command;

use coturn_exporter::metrics::names::{self, FamilyType};

/// The cells of every row of the tables below a heading of the README, up to the next heading; the two lines at a
/// table's head are left out.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = readme.lines().skip_while(|line| line.trim_start_matches('#').trim() != heading);
    assert!(lines.next().is_some_and(|line| line.starts_with('#')), "no heading {heading:?} in README.md");
    let rows: Vec<_> = lines
        .take_while(|line| !line.starts_with('#'))
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "no table below {heading:?}");
    rows
}

/// The words in code quotes of a cell.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_metrics_table_names_every_family() {
    // A row may hold several names, of one type and with the same labels.
    let told: Vec<(String, String, Vec<String>)> = rows("Metrics")
        .into_iter()
        .flat_map(|cells| {
            let [names, kind, labels, meaning] = &cells[..] else { panic!("four cells: {cells:?}") };
            assert!(!meaning.is_empty(), "{names} has no meaning");
            let (kind, labels) = (kind.clone(), quoted(labels));
            quoted(names).into_iter().map(move |name| (name, kind.clone(), labels.clone()))
        })
        .collect();
    let families: Vec<_> = names::ALL
        .iter()
        .map(|family| {
            let kind = match family.kind {
                FamilyType::Counter => "counter",
                FamilyType::Gauge => "gauge",
                FamilyType::Histogram => "histogram",
            };
            let labels = family.labels.iter().map(|&label| label.to_owned()).collect();
            (family.name.to_owned(), kind.to_owned(), labels)
        })
        .collect();
    for family in &families {
        assert!(told.contains(family), "not in README.md's table, or otherwise: {family:?}");
    }
    for row in &told {
        assert!(families.contains(row), "README.md tells of it, the program does not: {row:?}");
    }
    assert_eq!(told, families, "the order is another");
}

/// A flag with its variable and its default, each empty where there is none.
type Flag = (String, String, String);

/// The flags in the help of `arguments`, without `--help` and `--version`.
fn flags_in_help(arguments: &[&str]) -> Vec<Flag> {
    let output = Command::new(env!("CARGO_BIN_EXE_coturn-exporter")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut flags: Vec<(String, String)> = Vec::new();
    for line in text.lines().map(str::trim) {
        let flag = line.split_whitespace().find(|word| word.starts_with("--"));
        match flag.filter(|_| line.starts_with('-')) {
            // `--flag...` may be repeated, `--flag[=<BOOL>]` may have a value.
            Some(flag) => {
                let flag = flag.split('[').next().unwrap();
                flags.push((flag.trim_end_matches("...").to_owned(), String::new()));
            }
            // Lines are broken to fit; a flag's text goes on until the next one.
            None => {
                if let Some((_, text)) = flags.last_mut() {
                    text.push_str(line);
                    text.push(' ');
                }
            }
        }
    }
    flags.retain(|(flag, _)| !["--help", "--version"].contains(&flag.as_str()));
    flags
        .into_iter()
        .map(|(flag, text)| (flag, bracketed(&text, "env"), bracketed(&text, "default")))
        .collect()
}

/// What stands in `[word: ...]`.
fn bracketed(text: &str, word: &str) -> String {
    let opening = format!("[{word}: ");
    let inside = text.split_once(&opening).and_then(|(_, rest)| rest.split_once(']'));
    inside.map(|(inside, _)| inside.trim_end_matches('=').to_owned()).unwrap_or_default()
}

fn flags_in_readme(heading: &str) -> Vec<Flag> {
    let flag = |cells: Vec<String>| {
        let [flag, variable, default, meaning] = &cells[..] else { panic!("four cells: {cells:?}") };
        assert!(!meaning.is_empty(), "{flag} has no meaning");
        let one = |cell| quoted(cell).concat();
        (one(flag).split(' ').next().unwrap().to_owned(), one(variable), one(default))
    };
    rows(heading).into_iter().map(flag).collect()
}

#[test]
fn the_flags_table_is_the_help() {
    assert_eq!(flags_in_readme("Flags"), flags_in_help(&["--help"]));
}

#[test]
fn the_subcommands_flags_are_their_help() {
    let everywhere = flags_in_help(&["--help"]);
    let own = |command: &str| {
        let flags = flags_in_help(&[command, "--help"]).into_iter().filter(|flag| !everywhere.contains(flag));
        flags
            .map(|(flag, variable, default)| (format!("{command} {flag}"), variable, default))
            .collect::<Vec<_>>()
    };
    let told: Vec<_> = rows("Captures: record and replay")
        .into_iter()
        .map(|cells| {
            let words: Vec<_> = quoted(&cells[0]).concat().split(' ').take(2).map(str::to_owned).collect();
            (words.join(" "), String::new(), String::new())
        })
        .collect();
    assert_eq!(told, [own("record"), own("replay")].concat());
    let told: Vec<String> = rows("The store and its ledger: `usage`")
        .iter()
        .map(|cells| quoted(&cells[0]).concat().split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(told, own("usage").into_iter().map(|(flag, ..)| flag).collect::<Vec<_>>());
}
