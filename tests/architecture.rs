//! The one-way house, kept true: who may use which module, and who may name which crate.
//!
//! Reads the source as text. Tests within the source may use what they like; they stand in modules called `tests`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A room, the rooms it may use, and the outside crates it may name.
struct Room {
    name: &'static str,
    rooms: &'static [&'static str],
    crates: &'static [&'static str],
}

/// Everything in `src`, in the order of the way through the house. Crates that any room may name: none.
const HOUSE: &[Room] = &[
    Room { name: "clock", rooms: &[], crates: &["humantime"] },
    Room { name: "percent", rooms: &[], crates: &["percent_encoding"] },
    Room { name: "version", rooms: &[], crates: &["once_cell"] },
    Room { name: "shutdown", rooms: &[], crates: &["tokio"] },
    Room { name: "wire", rooms: &[], crates: &["memchr", "thiserror"] },
    Room { name: "state", rooms: &["wire", "clock"], crates: &["ahash", "hashbrown", "memchr"] },
    Room { name: "store", rooms: &["state", "wire", "clock"], crates: &["rusqlite", "rustix", "thiserror"] },
    Room {
        name: "config",
        rooms: &["clock", "percent", "state", "store"],
        crates: &["humantime", "thiserror"],
    },
    Room { name: "escape", rooms: &[], crates: &[] },
    Room { name: "net", rooms: &["config"], crates: &["rustix", "thiserror", "tokio", "tracing"] },
    Room { name: "resp", rooms: &[], crates: &["thiserror"] },
    // Pure: what `source` sees of a Redis comes in as its facts.
    Room { name: "doctor", rooms: &["escape", "wire"], crates: &["serde", "serde_json"] },
    Room {
        name: "source",
        rooms: &["clock", "config", "doctor", "net", "resp"],
        // `rustls` and its like for the connection to Redis, which is dialled here
        crates: &[
            "base64",
            "futures_util",
            "redis",
            "rustls",
            "rustls_native_certs",
            "serde",
            "serde_json",
            "subtle",
            "thiserror",
            "tokio",
            "tokio_rustls",
            "webpki",
        ],
    },
    Room {
        name: "metrics",
        rooms: &["state", "wire", "clock", "version"],
        crates: &["prometheus", "rustix", "thiserror"],
    },
    // Pure: rows come from whoever has the table.
    Room {
        name: "details",
        rooms: &["state", "wire", "clock", "escape", "percent"],
        crates: &["humantime", "serde", "serde_json", "thiserror"],
    },
    Room {
        name: "http",
        rooms: &["metrics", "details", "escape", "config", "net", "shutdown"],
        crates: &["flate2", "http_body_util", "hyper", "hyper_util", "thiserror", "tokio", "tracing"],
    },
    Room {
        name: "logging",
        rooms: &["clock", "config", "escape"],
        crates: &["thiserror", "tracing", "tracing_subscriber"],
    },
    Room { name: "cli", rooms: &["config", "state", "version"], crates: &["clap", "thiserror"] },
    Room {
        name: "app",
        rooms: &[
            "clock", "config", "details", "doctor", "http", "metrics", "net", "escape", "shutdown", "source",
            "state", "store", "version", "wire",
        ],
        // `rustix` for the limit of open files
        crates: &["csv", "fastrand", "rustix", "serde_json", "thiserror", "tokio", "tracing"],
    },
    Room { name: "main", rooms: &["app", "cli", "logging"], crates: &[] },
    Room { name: "lib", rooms: &[], crates: &[] },
];

/// Crates of `Cargo.toml` as code names them.
fn dependencies() -> Vec<String> {
    let manifest = read(&root().join("Cargo.toml"));
    let section = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let names =
        section.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    names.map(|(name, _)| name.replace('-', "_")).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            rust_files(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
}

/// Each source file with the room it stands in.
fn source_files() -> Vec<(String, PathBuf)> {
    let src = root().join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let room = |path: &Path| {
        let first = path.strip_prefix(&src).unwrap().components().next().unwrap();
        first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    files.into_iter().map(|path| (room(&path), path)).collect()
}

/// The code of a file without its comments and its tests.
fn code(path: &Path) -> String {
    let text = read(path);
    let shipped = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let line = |line: &str| line.split("//").next().unwrap().to_owned();
    shipped.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn is_test_code(path: &Path) -> bool {
    let under_tests = path.components().any(|part| part.as_os_str() == "tests");
    under_tests || path.file_stem().unwrap().to_str().unwrap().ends_with("tests")
}

/// Names that stand before `::` in the code and are not part of a longer path or word.
fn path_heads(code: &str) -> BTreeSet<String> {
    let mut heads = BTreeSet::new();
    for (at, _) in code.match_indices("::") {
        let before = &code[..at];
        let start = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |found| found + 1);
        if start < at && !before[..start].ends_with("::") {
            heads.insert(before[start..].to_owned());
        }
    }
    heads
}

/// Rooms that the code names as `crate::room`, also within braces.
fn rooms_used(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for marker in ["crate::", "coturn_exporter::"] {
        for (at, _) in code.match_indices(marker) {
            let rest = &code[at + marker.len()..];
            let list = rest.strip_prefix('{').map_or(rest, |list| list.split(';').next().unwrap());
            let names: Vec<&str> =
                if list.len() == rest.len() { vec![rest] } else { list.split(',').collect() };
            for name in names {
                let end = name.trim_start().find(|c: char| !c.is_alphanumeric() && c != '_');
                rooms.insert(name.trim_start()[..end.unwrap_or(name.trim_start().len())].to_owned());
            }
        }
    }
    rooms
}

#[test]
fn every_file_stands_in_a_known_room_and_says_what_it_is_for() {
    for (room, path) in source_files() {
        assert!(HOUSE.iter().any(|known| known.name == room), "{}: no such room", path.display());
        assert!(read(&path).starts_with("//! "), "{}: its first line says nothing", path.display());
        assert!(!path.to_str().unwrap().contains("util"), "{}: say what it is", path.display());
    }
}

#[test]
fn nothing_points_back() {
    let mut wrong = Vec::new();
    for (room, path) in source_files().into_iter().filter(|(_, path)| !is_test_code(path)) {
        let rules = HOUSE.iter().find(|known| known.name == room).unwrap();
        for used in rooms_used(&code(&path)) {
            let is_room = HOUSE.iter().any(|known| known.name == used);
            if is_room && used != room && !rules.rooms.contains(&used.as_str()) {
                wrong.push(format!("{} uses {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn crates_stay_in_their_rooms() {
    let dependencies = dependencies();
    assert!(dependencies.contains(&"prometheus".to_owned()), "{dependencies:?}");
    let mut wrong = Vec::new();
    let mut named = BTreeSet::new();
    for (room, path) in source_files().into_iter().filter(|(_, path)| !is_test_code(path)) {
        let rules = HOUSE.iter().find(|known| known.name == room).unwrap();
        let rooms: Vec<&str> = HOUSE.iter().map(|known| known.name).collect();
        for head in path_heads(&code(&path)) {
            // `redis` and `metrics` are also our own modules: a crate is meant where no module of that name is.
            if !dependencies.contains(&head) || rooms.contains(&head.as_str()) {
                continue;
            }
            named.insert(head.clone());
            if !rules.crates.contains(&head.as_str()) {
                wrong.push(format!("{} names {head}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let idle: Vec<_> = dependencies.iter().filter(|name| !named.contains(*name)).collect();
    assert!(idle.is_empty(), "in Cargo.toml, but named nowhere: {idle:?}");
}

#[test]
fn only_the_clock_reads_clocks() {
    for (room, path) in source_files().into_iter().filter(|(_, path)| !is_test_code(path)) {
        let code = code(&path);
        for clock in ["Instant::now", "SystemTime::now"] {
            assert!(room == "clock" || !code.contains(clock), "{}: {clock}", path.display());
        }
    }
}

#[test]
fn every_dependency_says_why() {
    let manifest = read(&root().join("Cargo.toml"));
    let mut explained = false;
    for line in manifest.split("[dependencies]").nth(1).unwrap().split("\n[lints").next().unwrap().lines() {
        match line {
            _ if line.starts_with('#') => explained = true,
            // what belongs together shares a comment
            _ if line.contains(" = ") => assert!(explained, "{line}"),
            _ => explained = false,
        }
    }
}
