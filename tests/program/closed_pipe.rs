//! `coturn-exporter usage | head -1`: whoever has read enough has closed the pipe, and no command complains of that.

use std::io::{PipeReader, pipe};
use std::process::{Command, Stdio};

use crate::common::net::ports::Port;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;

const CAPTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/mixed-4.6.1.jsonl");

/// What a shell has for a program that SIGPIPE has ended, which says nothing either.
const ENDED_BY_PIPE: i32 = 141;

/// The program with a pipe for its output.
fn piped(dir: &TempDir, args: &[&str]) -> (Command, PipeReader) {
    let (reader, writer) = pipe().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_coturn-exporter"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("COTURN_EXPORTER_") {
            command.env_remove(name);
        }
    }
    command.args(args).env("TMPDIR", dir.path()).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
    (command, reader)
}

#[test]
fn a_closed_pipe_ends_every_command_that_prints_without_a_word() {
    let dir = TempDir::new("closed-pipe");
    let store = dir.path().join("old.db");
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store/version-1.db"), &store).unwrap();
    let store = store.display().to_string();
    let redis = Redis::start();
    let url = redis.url(0);
    let exporter = Exporter::watching(&url);
    let web = format!("http://{}", exporter.address);
    let port = Port::claim();
    for (args, code) in [
        (&["--help"][..], 0),
        (&["usage", "--help"], 0),
        (&["help", "replay"], 0),
        (&["--version"], 0),
        (&["replay", CAPTURE], ENDED_BY_PIPE),
        (&["usage", "--store.path", &store], ENDED_BY_PIPE),
        (&["usage", "--format", "csv", "--store.path", &store], ENDED_BY_PIPE),
        (&["usage", "--format", "json", "--store.path", &store], ENDED_BY_PIPE),
        (&["ledger", "schema"], ENDED_BY_PIPE),
        (&["doctor", "--redis.url", &url], ENDED_BY_PIPE),
        (&["doctor", "--json", "--redis.url", &url], ENDED_BY_PIPE),
        (&["prune", "--redis.url", &url], ENDED_BY_PIPE),
        (&["healthcheck", "--url", &web], ENDED_BY_PIPE),
        (&["demo", "--port", &port.number.to_string()], ENDED_BY_PIPE),
    ] {
        let (mut command, reader) = piped(&dir, args);
        drop(reader);
        let output = command.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
        assert_eq!(output.status.code(), Some(code), "{args:?}");
    }
}

/// It writes for as long as it runs: the first message that nobody takes ends it.
#[test]
fn a_recorder_ends_with_the_reader_of_its_output() {
    let dir = TempDir::new("closed-pipe");
    let redis = Redis::start();
    let (mut command, reader) = piped(&dir, &["record", "--redis.url", &redis.url(0)]);
    drop(reader);
    let recorder = command.spawn().unwrap();
    drop(command);
    poll::until(PATIENCE, "record to be subscribed", || match redis.calls("psubscribe") {
        0 => Err("not yet".to_owned()),
        _ => Ok(()),
    });
    Statsdb::connect(&redis, 0).open(&Allocation::new("one.example", "alice", 1), 600);
    let output = recorder.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(ENDED_BY_PIPE), "{said}");
    assert!(!said.contains("error"), "{said}");
}
