//! Files for containers, the chart and the workflows: that they name what exists, and agree with `Cargo.toml`. What needs more
//! tools is in `make deploy-test`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn workflows() -> Vec<(String, String)> {
    let files = std::fs::read_dir(root().join(".github/workflows")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert!(files.len() >= 2, "{files:?}");
    files.into_iter().map(|name| (name.clone(), read(format!(".github/workflows/{name}")))).collect()
}

/// What follows each `marker`, up to the end of the word.
fn words<'a>(text: &'a str, marker: &str) -> Vec<&'a str> {
    let ends = |c: char| c.is_whitespace() || "\"'`,)]}".contains(c);
    text.match_indices(marker).map(|(at, _)| text[at + marker.len()..].split(ends).next().unwrap()).collect()
}

#[test]
fn the_oldest_rust_is_the_same_everywhere() {
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    for document in ["README.md", "CONTRIBUTING.md"] {
        let text = read(document);
        let named: Vec<_> = words(&text, "Rust 1.").into_iter().map(|minor| format!("1.{minor}")).collect();
        assert!(!named.is_empty() && named.iter().all(|version| version == oldest), "{document}: {named:?}");
    }
    // clippy takes it from Cargo.toml, unless its own file has another one.
    assert!(!read("clippy.toml").contains("msrv"), "clippy.toml: leave msrv out");
    let ci = read(".github/workflows/ci.yaml");
    let job = ci.split("\n  msrv:\n").nth(1).unwrap().split("\n  deny:\n").next().unwrap();
    assert!(job.contains(&format!("toolchain: '{oldest}'")), "ci.yaml: {job}");
}

#[test]
fn releases_are_built_by_one_tool_chain() {
    let mut versions = BTreeSet::new();
    let dockerfile = read("Dockerfile");
    versions.extend(words(&dockerfile, "FROM rust:").into_iter().map(|tag| tag.split('-').next().unwrap()));
    let workflows = workflows();
    for (_, text) in &workflows {
        versions.extend(words(text, "toolchain: ").into_iter().filter(|version| !version.is_empty()));
    }
    assert_eq!(versions.len(), 1, "{versions:?}");
}

#[test]
fn the_version_of_the_image_is_that_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(words(&read("Dockerfile"), "ARG VERSION="), [version]);
    assert_eq!(words(&read("compose.yaml"), "image: coturn-exporter:"), [version]);
    assert!(read("deploy/helm/coturn-exporter/Chart.yaml").contains(&format!("appVersion: \"{version}\"")));
}

#[test]
fn compose_names_files_and_variables_that_exist() {
    let compose = read("compose.yaml");
    let mounted = words(&compose, "- ./");
    assert!(mounted.len() >= 8, "{mounted:?}");
    for mount in &mounted {
        let path = mount.split(':').next().unwrap();
        assert!(root().join(path).is_file(), "compose.yaml mounts {path}");
    }
    for rules in words(&read("deploy/compose/prometheus.yml"), "- /etc/prometheus/") {
        assert!(compose.contains(&format!(":/etc/prometheus/{rules}:ro")), "{rules} is not mounted");
    }
    let help = Command::new(env!("CARGO_BIN_EXE_coturn-exporter")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let variables = words(&compose, "      COTURN_EXPORTER_");
    assert!(variables.len() >= 6, "{variables:?}");
    for variable in variables {
        let variable = variable.trim_end_matches(':');
        assert!(help.contains(&format!("[env: COTURN_EXPORTER_{variable}]")), "no flag has {variable}");
    }
    // Each secret has a line that says how it is made, and none stands in a file.
    let secrets = read("deploy/compose/secrets/README.md");
    for secret in words(&compose, "{file: ./deploy/compose/secrets/") {
        assert!(secrets.contains(&format!("| `{secret}` |")), "{secret}");
    }
    assert!(!compose.contains("PASSWORD:"), "a password stands in compose.yaml");
}

/// The chart has links to the files of the project, which Helm follows: no copies that could be old.
#[test]
fn the_charts_rules_and_dashboards_are_the_projects() {
    let files = root().join("deploy/helm/coturn-exporter/files");
    let links = |folder: &Path| -> BTreeSet<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_symlink()).map(|path| path.canonicalize().unwrap()).collect()
    };
    let of_the_project = |folder: &str, ending: &str| -> BTreeSet<PathBuf> {
        let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let is_wanted = |path: &PathBuf| path.to_str().unwrap().ends_with(ending);
        entries.filter(is_wanted).map(|path| path.canonicalize().unwrap()).collect()
    };
    assert_eq!(links(&files.join("dashboards")), of_the_project("dashboards", ".json"));
    let mut rules = of_the_project("alerts", ".rules.yaml");
    rules.insert(root().join("alerts/coturn.alerts.yaml").canonicalize().unwrap());
    assert_eq!(links(&files), rules);
}

#[test]
fn workflows_call_what_the_makefile_has_and_may_do_little() {
    let makefile = read("Makefile");
    let mut called = 0;
    for (name, text) in workflows() {
        for target in words(&text, "run: make ") {
            assert!(makefile.contains(&format!("\n{target}:")), "{name}: make {target}");
            called += 1;
        }
        assert!(text.contains("\npermissions:\n  contents: read\n"), "{name} may do more than read");
        for action in words(&text, "uses: ") {
            let major = action.split_once("@v").map(|(_, version)| version).unwrap_or_default();
            assert!(!major.is_empty() && major.bytes().all(|byte| byte.is_ascii_digit()), "{name}: {action}");
        }
    }
    assert!(called >= 3);
}
