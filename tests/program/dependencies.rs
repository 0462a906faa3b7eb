//! The crates in `Cargo.lock` against `deny.toml`: a licence that is accepted, and no second version without a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn deny() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of a list of `deny.toml`: `name = [`, an entry a line, `]`.
fn entries(list: &str) -> Vec<String> {
    let text = deny();
    let start = format!("{list} = [");
    let lines = text.lines().skip_while(|line| *line != start).skip(1).take_while(|line| *line != "]");
    let entries: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
    assert!(!entries.is_empty(), "deny.toml has no list {list}");
    entries
}

/// What stands in the first quotes behind `before`.
fn quoted<'a>(entry: &'a str, before: &str) -> &'a str {
    let quoted = entry.split_once(before).and_then(|(_, rest)| rest.split('"').nth(1));
    quoted.filter(|text| !text.is_empty()).unwrap_or_else(|| panic!("deny.toml: {entry}"))
}

/// What is built on this platform, tests and benchmarks included.
fn packages() -> Vec<(String, String, String)> {
    let host = Command::new("rustc").arg("-vV").output().expect("rustc");
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let arguments = ["metadata", "--locked", "--format-version", "1", "--filter-platform", host];
    let output = Command::new(env!("CARGO")).args(arguments).output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let built: BTreeSet<&str> = nodes.iter().map(|node| node["id"].as_str().unwrap()).collect();
    let all = metadata["packages"].as_array().unwrap().iter();
    all.filter(|package| built.contains(package["id"].as_str().unwrap()))
        .map(|package| {
            let text = |name: &str| package[name].as_str().unwrap_or_default().to_owned();
            (text("name"), text("version"), text("license"))
        })
        .collect()
}

/// Whether an SPDX expression can be satisfied; older crates write `/` for `OR`.
fn is_accepted(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut words = words.as_slice();
    let accepted = any_of(&mut words, allowed);
    accepted && words.is_empty()
}

fn any_of(words: &mut &[&str], allowed: &[&str]) -> bool {
    let mut accepted = all_of(words, allowed);
    while let ["OR", rest @ ..] = words {
        *words = rest;
        accepted |= all_of(words, allowed);
    }
    accepted
}

fn all_of(words: &mut &[&str], allowed: &[&str]) -> bool {
    let mut accepted = one(words, allowed);
    while let ["AND", rest @ ..] = words {
        *words = rest;
        accepted &= one(words, allowed);
    }
    accepted
}

fn one(words: &mut &[&str], allowed: &[&str]) -> bool {
    match words {
        ["(", rest @ ..] => {
            *words = rest;
            let accepted = any_of(words, allowed);
            let closes = words.first() == Some(&")");
            *words = words.get(1..).unwrap_or_default();
            accepted && closes
        }
        // An exception only grants more.
        [licence, "WITH", _, rest @ ..] | [licence, rest @ ..] => {
            let accepted = allowed.contains(licence);
            *words = rest;
            accepted
        }
        [] => false,
    }
}

#[test]
fn every_licence_is_accepted() {
    let allow = entries("allow");
    let allowed: Vec<&str> = allow.iter().map(|entry| quoted(entry, "")).collect();
    let packages = packages();
    assert!(packages.len() > 100, "{packages:?}");
    let wrong: Vec<_> = packages.iter().filter(|(.., licence)| !is_accepted(licence, &allowed)).collect();
    assert!(wrong.is_empty(), "not in deny.toml: {wrong:?}");
}

#[test]
fn every_second_version_has_a_reason() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, version, _) in packages() {
        versions.entry(name).or_default().insert(version);
    }
    let skip = entries("skip");
    for entry in &skip {
        assert!(quoted(entry, "reason =").len() > 3, "{entry}");
        let (name, version) = quoted(entry, "crate =").split_once('@').expect("NAME@VERSION");
        let known = versions.get_mut(name).is_some_and(|of_name| of_name.remove(version));
        assert!(known, "deny.toml: {name} {version} is not used any more");
    }
    for (name, left) in &versions {
        assert!(left.len() == 1, "{name}: {left:?}; one of them needs a reason in deny.toml, or must go");
    }
}

#[test]
fn an_expression_is_read_as_spdx_has_it() {
    let allowed = ["MIT", "ISC", "Apache-2.0"];
    for (expression, accepted) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("Unlicense/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("Apache-2.0 AND ISC", true),
        ("(GPL-3.0 OR Apache-2.0) AND ISC", true),
        ("(GPL-3.0 OR Apache-2.0) AND BSD-2-Clause", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("", false),
        ("(MIT", false),
    ] {
        assert_eq!(is_accepted(expression, &allowed), accepted, "{expression}");
    }
}
