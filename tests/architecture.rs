//! The one-way house, kept true: who may use which module, and who may name which crate.
//!
//! Reads the source as text. Tests within the source may use what they like; they stand in modules called `tests`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only"
)]

use std::collections::{BTreeMap, BTreeSet};
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
    Room { name: "clock", rooms: &[], crates: &["humantime", "rustix"] },
    Room { name: "percent", rooms: &[], crates: &["percent_encoding"] },
    Room { name: "version", rooms: &[], crates: &["once_cell"] },
    // Pure: when a certificate of our own is valid, and what is wrong with that.
    Room { name: "validity", rooms: &["clock"], crates: &[] },
    Room { name: "shutdown", rooms: &[], crates: &["tokio"] },
    Room { name: "reload", rooms: &[], crates: &[] },
    Room { name: "wire", rooms: &[], crates: &["memchr", "thiserror"] },
    Room { name: "state", rooms: &["wire", "clock"], crates: &["ahash", "hashbrown", "memchr", "siphasher"] },
    Room {
        name: "store",
        rooms: &["state", "wire", "clock"],
        crates: &["crc32fast", "rusqlite", "rustix", "serde_json", "thiserror"],
    },
    Room {
        name: "config",
        rooms: &["clock", "metrics", "percent", "reload", "simulation", "state", "store"],
        crates: &["humantime", "rustix", "serde", "serde_saphyr", "thiserror"],
    },
    Room {
        name: "sinks",
        rooms: &["clock", "config", "net", "percent", "reload", "store"],
        // `rustls` and its like for the connections that are dialled here
        crates: &[
            "base64",
            "http_body_util",
            "httpdate",
            "hyper",
            "hyper_util",
            "ring",
            "rustls",
            "serde_json",
            "thiserror",
            "tokio",
            "tokio_postgres",
            "tokio_rustls",
        ],
    },
    Room { name: "escape", rooms: &[], crates: &[] },
    Room {
        name: "net",
        rooms: &["clock", "config", "validity"],
        crates: &[
            "futures_util",
            "listenfd",
            "rustix",
            "rustls",
            "rustls_native_certs",
            "socket2",
            "thiserror",
            "tokio",
            "tracing",
        ],
    },
    Room { name: "resp", rooms: &[], crates: &["thiserror"] },
    // Pure: what a service would send.
    Room { name: "simulation", rooms: &["resp"], crates: &["fastrand"] },
    // Pure: what `source` sees of a Redis comes in as its facts.
    Room {
        name: "doctor",
        rooms: &["clock", "escape", "validity", "wire"],
        crates: &["serde", "serde_json"],
    },
    Room {
        name: "source",
        rooms: &["clock", "config", "doctor", "net", "reload", "resp"],
        // `rustls` and its like for the connection to Redis, which is dialled here; `flate2` for packed captures
        crates: &[
            "base64",
            "flate2",
            "redis",
            "rustls",
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
        crates: &["itoa", "rustix", "strsim"],
    },
    // Pure: what all pages for people share.
    Room { name: "markup", rooms: &["escape"], crates: &[] },
    // Pure: rows come from whoever has the table.
    Room {
        name: "details",
        rooms: &["state", "wire", "clock", "escape", "markup", "percent"],
        crates: &["humantime", "serde", "serde_json", "thiserror"],
    },
    // Pure: looks at the table come from whoever has it.
    Room { name: "live", rooms: &["state", "wire", "clock", "escape", "markup", "percent"], crates: &[] },
    Room {
        name: "http",
        rooms: &["metrics", "details", "live", "markup", "clock", "config", "net", "reload", "shutdown"],
        crates: &[
            "base64",
            "bcrypt",
            "flate2",
            "futures_util",
            "http_body_util",
            "hyper",
            "hyper_util",
            "ring",
            "rustls",
            "subtle",
            "thiserror",
            "tokio",
            "tokio_rustls",
            "tracing",
        ],
    },
    Room {
        name: "logging",
        rooms: &["clock", "config", "escape"],
        crates: &["thiserror", "tracing", "tracing_subscriber"],
    },
    Room {
        name: "cli",
        rooms: &["config", "reload", "simulation", "state", "version"],
        crates: &["clap", "thiserror"],
    },
    Room {
        name: "app",
        rooms: &[
            "clock",
            "config",
            "details",
            "doctor",
            "http",
            "live",
            "metrics",
            "net",
            "escape",
            "validity",
            "reload",
            "shutdown",
            "simulation",
            "sinks",
            "source",
            "state",
            "store",
            "version",
            "wire",
        ],
        // `rustix` for the limit of open files
        crates: &["csv", "fastrand", "rustix", "serde_json", "thiserror", "tokio", "tracing"],
    },
    // What a fuzzer runs; in no program that is shipped.
    Room {
        name: "fuzzing",
        rooms: &["clock", "config", "details", "http", "metrics", "resp", "source", "state", "store", "wire"],
        crates: &["crc32fast", "hyper", "serde_json", "siphasher"],
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

/// What is built for users: the text of a file up to its unit tests. A `mod tests;` at the top ends nothing.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

/// The same without comments.
fn shipped_code(text: &str) -> String {
    let line = |line: &str| line.split("//").next().unwrap().to_owned();
    shipped(text).lines().map(line).collect::<Vec<_>>().join("\n")
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
        // One convention for unit tests (tests/README.md).
        assert!(!path.to_str().unwrap().ends_with("_tests.rs"), "{}: tests.rs, or in tests/", path.display());
        assert!(!read(&path).contains("#[path"), "{}: a module lies where its name says", path.display());
    }
}

#[test]
fn nothing_points_back() {
    let mut wrong = Vec::new();
    for (room, path) in source_files().into_iter().filter(|(_, path)| !is_test_code(path)) {
        let rules = HOUSE.iter().find(|known| known.name == room).unwrap();
        for used in rooms_used(&shipped_code(&read(&path))) {
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
    assert!(dependencies.contains(&"hyper".to_owned()), "{dependencies:?}");
    let mut wrong = Vec::new();
    let mut named = BTreeSet::new();
    for (room, path) in source_files().into_iter().filter(|(_, path)| !is_test_code(path)) {
        let rules = HOUSE.iter().find(|known| known.name == room).unwrap();
        let rooms: Vec<&str> = HOUSE.iter().map(|known| known.name).collect();
        for head in path_heads(&shipped_code(&read(&path))) {
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

/// Each sink has a protocol of its own, which the others know nothing of.
#[test]
fn crates_of_a_sink_stay_in_its_folder() {
    const OWNERS: &[(&str, &str)] = &[
        ("tokio_postgres", "postgres"),
        ("hyper", "webhook"),
        ("http_body_util", "webhook"),
        ("hyper_util", "webhook"),
        ("ring", "webhook"),
    ];
    for (_, path) in source_files().into_iter().filter(|(room, path)| room == "sinks" && !is_test_code(path))
    {
        let heads = path_heads(&shipped_code(&read(&path)));
        for (name, folder) in OWNERS {
            let is_owner = path.components().any(|part| part.as_os_str() == *folder);
            assert!(is_owner || !heads.contains(*name), "{} names {name}", path.display());
        }
    }
}

#[test]
fn only_the_clock_reads_clocks() {
    for (room, path) in source_files().into_iter().filter(|(_, path)| !is_test_code(path)) {
        let code = shipped_code(&read(&path));
        for clock in ["Instant::now", "SystemTime::now"] {
            assert!(room == "clock" || !code.contains(clock), "{}: {clock}", path.display());
        }
    }
}

/// A child that begins to run holds the locks of the stores that other tests of the same process have just closed. The
/// demonstration alone starts a program, and its tests start the demonstration as a program.
#[test]
fn nothing_in_the_library_starts_a_process() {
    let with_processes: Vec<_> = source_files()
        .into_iter()
        .map(|(_, path)| path)
        .filter(|path| read(path).contains("Command::new("))
        .filter(|path| !path.ends_with("src/app/commands/demo/prometheus.rs"))
        .collect();
    assert!(with_processes.is_empty(), "{with_processes:?}");
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

/// Within `state`: a wing, or a file that stands by itself, and what of `state` it may use.
const WINGS_OF_STATE: &[(&str, &[&str])] = &[
    ("image", &[]),
    ("storage", &["image"]),
    ("model", &["storage", "image"]),
    ("record", &["model", "image"]),
    ("input", &["model"]),
    ("table", &["record", "input", "model", "storage", "image"]),
    // Recounts a table; for tests and fuzzers.
    ("audit", &["table", "model"]),
    // What the other rooms see: names of the wings, nothing of its own.
    ("mod", &["record", "input", "table", "model", "storage", "image", "audit"]),
];

/// Every module of `src` with its path (`state::table::sessions`), its shipped code and the names that it brings in.
struct Modules {
    files: BTreeMap<String, Module>,
}

struct Module {
    file: String,
    code: String,
    /// A name that stands in this module by a `use`, and the whole path behind it.
    imports: BTreeMap<String, Vec<String>>,
}

impl Modules {
    fn read() -> Self {
        let src = root().join("src");
        let mut paths = Vec::new();
        rust_files(&src, &mut paths);
        let texts: BTreeMap<String, (String, String)> = paths
            .iter()
            .map(|path| {
                let file = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
                let module = file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
                let module = if module == "lib" { String::new() } else { module };
                (module, (file, read(path)))
            })
            .collect();
        let is_test = |module: &str| {
            let names: Vec<&str> = module.split("::").collect();
            (1..=names.len()).any(|depth| {
                let (name, parent) = (names[depth - 1], names[..depth - 1].join("::"));
                texts.get(&parent).is_some_and(|(_, text)| {
                    text.contains(&format!("#[cfg(test)]\nmod {name};"))
                        || text.contains(&format!("#[cfg(test)]\npub(super) mod {name};"))
                })
            })
        };
        let shipped = texts.iter().filter(|(module, _)| !is_test(module));
        let mut files: BTreeMap<String, Module> = shipped
            .map(|(module, (file, text))| {
                let (file, code) = (file.clone(), shipped_code(text));
                (module.clone(), Module { file, code, imports: BTreeMap::new() })
            })
            .collect();
        let names: BTreeSet<String> = files.keys().cloned().collect();
        for (module, content) in &mut files {
            for tree in use_trees(&content.code) {
                let mut leaves = Vec::new();
                expand(&tree, &mut Vec::new(), &mut leaves);
                for (mut path, name) in leaves {
                    if let Some(path) = absolute(module, &mut path, &names) {
                        content.imports.insert(name, path);
                    }
                }
            }
        }
        Self { files }
    }

    /// The module in which the path's item is defined; names that a module only hands on are followed.
    fn home(&self, path: &[String], depth: usize) -> Option<&str> {
        let known =
            (0..=path.len()).rev().find(|&length| self.files.contains_key(&path[..length].join("::")))?;
        let (module, content) = self.files.get_key_value(&path[..known].join("::"))?;
        let handed_on = path.get(known).and_then(|name| content.imports.get(name));
        if let Some(further) = handed_on.filter(|_| depth < 8) {
            let further: Vec<String> = further.iter().chain(&path[known + 1..]).cloned().collect();
            return self.home(&further, depth + 1);
        }
        Some(module)
    }

    /// Which module uses something that which other defines. A module and those within it are one piece of work: what they
    /// take from each other is not counted.
    fn arrows(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let names: BTreeSet<String> = self.files.keys().cloned().collect();
        for (module, content) in &self.files {
            let inline = inline_paths(&content.code);
            let inline = inline.into_iter().filter_map(|mut path| absolute(module, &mut path, &names));
            for path in content.imports.values().cloned().chain(inline) {
                let Some(home) = self.home(&path, 0) else { continue };
                let within = |a: &str, b: &str| a.is_empty() || b == a || b.starts_with(&format!("{a}::"));
                if !within(module, home) && !within(home, module) {
                    arrows.entry(module).or_default().insert(home);
                }
            }
        }
        arrows
    }
}

/// What stands between each `use` and its `;`.
fn use_trees(code: &str) -> Vec<String> {
    let mut trees = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let (before, after) = (&rest[..at], &rest[at + 4..]);
        let line = before.rsplit('\n').next().unwrap().trim();
        let tree = after.split(';').next().unwrap();
        if line.is_empty() || line.starts_with("pub") {
            trees.push(tree.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        rest = after;
    }
    trees
}

/// Each path of a tree of imports, with the name that it brings in.
fn expand(tree: &str, prefix: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, String)>) {
    let tree = tree.trim();
    if let Some(at) = tree.find('{') {
        let depth = prefix.len();
        prefix.extend(
            tree[..at].split("::").filter(|part| !part.is_empty()).map(|part| part.trim().to_owned()),
        );
        // A line of a text may begin with the word, too.
        let Some(inner) = tree[at + 1..].trim_end().strip_suffix('}') else { return };
        let (mut start, mut open) = (0, 0);
        for (at, letter) in inner.char_indices().chain([(inner.len(), ',')]) {
            match letter {
                '{' => open += 1,
                '}' => open -= 1,
                ',' if open == 0 => {
                    if !inner[start..at].trim().is_empty() {
                        expand(&inner[start..at], prefix, leaves);
                    }
                    start = at + 1;
                }
                _ => {}
            }
        }
        prefix.truncate(depth);
        return;
    }
    let (path, name) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name)));
    let mut path: Vec<String> = prefix.iter().cloned().chain(path.split("::").map(str::to_owned)).collect();
    if path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let name = name.map_or_else(|| path.last().unwrap().clone(), str::to_owned);
    leaves.push((path, name));
}

/// Paths within the code that begin at the crate or above.
fn inline_paths(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for head in ["crate::", "super::"] {
        for (at, _) in code.match_indices(head) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':') {
                continue;
            }
            let end =
                code[at..].find(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == ':'));
            let path = &code[at..end.map_or(code.len(), |end| at + end)];
            paths.push(path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect());
        }
    }
    paths
}

/// The path from the crate's root; `None` for one of another crate.
fn absolute(module: &str, path: &mut Vec<String>, modules: &BTreeSet<String>) -> Option<Vec<String>> {
    let mut base: Vec<String> =
        module.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
    match path.first()?.as_str() {
        "crate" | "coturn_exporter" => {
            base.clear();
            path.remove(0);
        }
        "self" => {
            path.remove(0);
        }
        "super" => {
            while path.first().is_some_and(|part| part == "super") {
                path.remove(0);
                base.pop();
            }
        }
        // A module within this one.
        first => {
            let inner = base.iter().map(String::as_str).chain([first]).collect::<Vec<_>>().join("::");
            if !modules.contains(&inner) {
                return None;
            }
        }
    }
    base.append(path);
    Some(base)
}

/// Modules that reach each other, each group once.
fn circles<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<BTreeSet<&'a str>> {
    let reach = |from: &'a str| {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(at) = next.pop() {
            next.extend(arrows.get(at).into_iter().flatten().filter(|to| reached.insert(**to)));
        }
        reached
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> = arrows.keys().map(|&from| (from, reach(from))).collect();
    let mut groups: Vec<BTreeSet<&str>> = Vec::new();
    for (from, to) in reached.iter().filter(|(from, to)| to.contains(*from)) {
        if !groups.iter().any(|group| group.contains(from)) {
            groups.push(
                to.iter()
                    .copied()
                    .filter(|to| reached.get(to).is_some_and(|back| back.contains(from)))
                    .collect(),
            );
        }
    }
    groups
}

#[test]
fn no_files_go_round_in_a_circle() {
    let modules = Modules::read();
    let arrows = modules.arrows();
    let count: usize = arrows.values().map(BTreeSet::len).sum();
    assert!(count > 300, "{count} imports found: the reading of them is broken");
    let arrows_of = |circle: BTreeSet<&str>| {
        let within =
            circle.iter().flat_map(|from| arrows[from].intersection(&circle).map(move |to| (from, to)));
        let line = |(from, to): (&&str, &&str)| {
            format!("{} uses {}", modules.files[*from].file, modules.files[*to].file)
        };
        within.map(line).collect::<Vec<_>>()
    };
    let found: Vec<_> = circles(&arrows).into_iter().map(arrows_of).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn circles_are_found() {
    let arrows = BTreeMap::from([
        ("a", BTreeSet::from(["b", "d"])),
        ("b", BTreeSet::from(["c"])),
        ("c", BTreeSet::from(["a"])),
        ("d", BTreeSet::from(["e"])),
        ("f", BTreeSet::from(["d", "a"])),
    ]);
    assert_eq!(circles(&arrows), [BTreeSet::from(["a", "b", "c"])]);
}

#[test]
fn the_wings_of_the_state_point_one_way() {
    let wing = |module: &str| {
        let name = module.strip_prefix("state")?;
        let name = name.strip_prefix("::").map_or("mod", |rest| rest.split("::").next().unwrap());
        Some(name.to_owned())
    };
    let modules = Modules::read();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (module, used) in modules.arrows() {
        let Some(from) = wing(module) else { continue };
        seen.insert(from.clone());
        let Some((_, allowed)) = WINGS_OF_STATE.iter().find(|(name, _)| *name == from) else {
            wrong.push(format!("{module} stands in no known wing"));
            continue;
        };
        let wrongly = used.iter().filter_map(|used| Some((used, wing(used)?)));
        let wrongly = wrongly.filter(|(_, to)| *to != from && !allowed.contains(&to.as_str()));
        wrong.extend(wrongly.map(|(used, _)| format!("{module} uses {used}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(["storage", "model", "table"].iter().all(|wing| seen.contains(*wing)), "{seen:?}");
}

#[test]
fn a_type_name_stands_for_one_thing() {
    let modules = Modules::read();
    let mut homes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for content in modules.files.values() {
        for line in content.code.lines() {
            let words: Vec<&str> =
                line.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
            for (at, word) in words.iter().enumerate() {
                // An indented `type` is one of a trait.
                let defines =
                    ["struct", "enum", "trait"].contains(word) || *word == "type" && !line.starts_with(' ');
                let name = words.get(at + 1).filter(|name| name.starts_with(char::is_uppercase));
                if let Some(name) = name.filter(|_| defines) {
                    homes.entry(name).or_default().push(&content.file);
                }
            }
        }
    }
    assert!(homes.len() > 200, "{} types found: the reading of them is broken", homes.len());
    homes.retain(|_, files| files.len() > 1);
    assert!(homes.is_empty(), "{homes:#?}");
}

/// Lines of a function that are read without scrolling.
const ONE_SCREEN: usize = 60;

/// A table that names a test which is gone proves nothing.
#[test]
fn tests_that_the_documentation_names_are_there() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches"] {
        rust_files(&root().join(folder), &mut files);
    }
    let code: Vec<String> = files.iter().map(|file| read(file)).collect();
    let names: BTreeSet<&str> = code.iter().flat_map(|code| code.split("fn ").skip(1)).map(word).collect();
    let text = read(&root().join("tests/README.md"));
    // `program::test_…` is the beginning of a name.
    let begun = text.split('`').skip(1).step_by(2).filter_map(|path| path.strip_suffix('…'));
    let begun: BTreeSet<&str> = begun.filter_map(|path| path.rsplit("::").next()).collect();
    let begun: Vec<&str> = begun.into_iter().filter(|name| word(name) == *name).collect();
    let gone: Vec<&&str> =
        begun.iter().filter(|begin| !names.iter().any(|name| name.starts_with(**begin))).collect();
    assert!(begun.len() > 50, "the documentation names few tests: {begun:?}");
    assert!(gone.is_empty(), "tests/README.md names tests that are gone: {gone:?}");
}

/// The name that a text begins with.
fn word(text: &str) -> &str {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default()
}

#[test]
fn a_function_longer_than_a_screen_says_why() {
    let mut wrong = Vec::new();
    let mut functions = 0;
    for content in Modules::read().files.values() {
        let text = read(&root().join("src").join(&content.file));
        let lines: Vec<&str> = shipped(&text).lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let words = line.split('(').next().unwrap().split_whitespace().collect::<Vec<_>>();
            if !words.contains(&"fn") || line.trim_start().starts_with("//") {
                continue;
            }
            functions += 1;
            let indent = &line[..line.len() - line.trim_start().len()];
            let length = lines[at..].iter().position(|line| *line == format!("{indent}}}")).unwrap_or(0) + 1;
            let above = lines[..at].iter().rev().take_while(|line| line.trim_start().starts_with(['/', '#']));
            let says_why = above.clone().any(|line| line.to_lowercase().contains("long"));
            if length > ONE_SCREEN && !says_why {
                wrong.push(format!("{}: {length} lines: {}", content.file, line.trim()));
            }
        }
    }
    assert!(functions > 1000, "{functions} functions found: the reading of them is broken");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
