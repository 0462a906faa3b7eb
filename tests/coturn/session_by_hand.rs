//! `docs/session-by-hand.md`, typed as it stands: only the ports are others, and the exporter is that of the tests.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::common::net::ports::Port;
use crate::common::temp_dir::TempDir;

const DOCUMENT: &str = include_str!("../../docs/session-by-hand.md");

/// The blocks of the session, for a shell or what it prints, in their order.
fn blocks(fence: &str) -> Vec<&'static str> {
    let (session, _) = DOCUMENT.split_once("\n## ").unwrap_or((DOCUMENT, ""));
    let mut blocks = Vec::new();
    let mut rest = session;
    while let Some((_, opened)) = rest.split_once("```") {
        let (language, opened) = opened.split_once('\n').unwrap();
        let (block, after) = opened.split_once("\n```").unwrap();
        if language == fence {
            blocks.push(block);
        }
        rest = after;
    }
    blocks
}

/// Lines of the page by what stands before their value.
fn values<'a>(text: &'a str, beginning: &str) -> BTreeMap<&'a str, u64> {
    let lines = text.lines().filter(|line| line.starts_with(beginning));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

#[test]
fn the_document_works_as_it_is_typed() {
    let dir = TempDir::new("by-hand");
    let built = dir.path().join("target/quick");
    std::fs::create_dir_all(&built).unwrap();
    symlink(env!("CARGO_BIN_EXE_coturn-exporter"), built.join("coturn-exporter")).unwrap();
    let commands = blocks("sh");
    assert!(commands.len() >= 5, "{commands:?}");
    let mut script = commands.join("\n");
    let ports: Vec<_> = ["16379", "13478", "13480", "11641"].map(|typed| (typed, Port::claim())).into();
    for (typed, port) in &ports {
        assert!(script.contains(typed), "{typed} is not in the document");
        script = script.replace(typed, &port.number.to_string());
    }
    // Whatever happens, nothing stays: each job is ended by its number.
    let script = format!("trap 'kill $(jobs -p) 2> kills.log' EXIT\n{script}\ntrap - EXIT\nwait\n");
    let mut shell = Command::new("bash");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("COTURN_EXPORTER_")) {
        shell.env_remove(name);
    }
    let output = shell.args(["-c", &script]).current_dir(dir.path()).output().expect("bash");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = |name: &str| {
        std::fs::read_to_string(dir.path().join("target/by-hand").join(name)).unwrap_or_default()
    };
    let everything = format!("{said}\n{}\n{}", String::from_utf8_lossy(&output.stderr), log("exporter.log"));

    // What it prints is what the document shows. Bytes may be others, where a datagram is repeated.
    let shown = blocks("").join("\n");
    for family in [
        "coturn_allocations{",
        "coturn_sessions{",
        "coturn_allocations_closed_total",
        "coturn_sessions_closed_total",
    ] {
        assert_eq!(values(&said, family), values(&shown, family), "{everything}");
    }
    let by_the_log: Vec<_> =
        said.lines().filter(|line| line.contains(" received ") && line.contains(" sent ")).collect();
    assert_eq!(by_the_log.len(), 2, "{everything}");
    let page = log("page");
    assert!(Path::new(&dir.path().join("target/by-hand/demo.jsonl")).exists(), "{everything}");
    for line in by_the_log {
        let words: Vec<_> = line.split(' ').collect();
        for (direction, bytes) in [(words[1], words[2]), (words[3], words[4])] {
            let sample = format!("leg=\"{}\",direction=\"{direction}\"}} {bytes}\n", words[0]);
            assert!(
                page.contains(&format!("coturn_relayed_bytes_total{{realm=\"one.example\",{sample}")),
                "{line}: {everything}"
            );
        }
    }
    assert!(said.lines().any(|line| line == "same"), "{everything}");
}
