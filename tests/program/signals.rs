//! Signals that a service gets now and then: none of them kills without a word.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::process::Process;
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;
use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coturn-exporter");

/// A `record` that has begun, started by `command`.
fn record(mut command: Command, dir: &TempDir, redis: &Redis) -> Process {
    command.args(["record", "--redis.url", &redis.url(0), "--output", "stream.jsonl"]);
    let recorder = Process::spawn(command, dir.path(), "record").expect("it starts");
    until_logged(&recorder, "msg=recording");
    recorder
}

fn until_logged(process: &Process, words: &str) {
    poll::until(PATIENCE, &format!("{words:?} in the log"), || {
        let log = process.stderr();
        if log.contains(words) { Ok(()) } else { Err(log) }
    });
}

#[test]
fn an_exporter_survives_them_and_says_what_they_do() {
    let redis = Redis::start();
    let mut exporter = Exporter::watching(&redis.url(0));
    // As if a reader were gone. Ignored without a line: writing fails then, and that is noticed.
    exporter.signal(Signal::PIPE);
    for (signal, name, says) in [
        (Signal::HUP, "signal=SIGHUP", "all files are read again"),
        (Signal::USR1, "signal=SIGUSR1", "effect=none"),
        (Signal::USR2, "signal=SIGUSR2", "effect=none"),
        (Signal::HUP, "signal=SIGHUP", "all files are read again"),
    ] {
        exporter.signal(signal);
        let line = exporter.until_logged(&["msg=\"signal received\"", name, "level=info"]);
        assert!(line.contains(says), "{line}");
    }
    poll::until(PATIENCE, "the second SIGHUP to be said", || match exporter.log() {
        log if log.matches("signal=SIGHUP").count() == 2 => Ok(()),
        log => Err(log),
    });
    assert_eq!(exporter.status("/-/ready"), 200);
    assert!(exporter.stop(Signal::TERM).success());
}

#[test]
fn a_recording_survives_those_of_no_meaning_and_is_whole_when_its_terminal_is_closed() {
    let (redis, dir) = (Redis::start(), TempDir::new("signals"));
    // The tests may have it ignored themselves, as under nohup.
    let mut hung_up = Command::new("env");
    hung_up.args(["--default-signal=HUP", PROGRAM]);
    let mut recorder = record(hung_up, &dir, &redis);
    for (signal, name) in [(Signal::USR1, "signal=SIGUSR1"), (Signal::USR2, "signal=SIGUSR2")] {
        recorder.signal(signal);
        until_logged(&recorder, name);
    }
    Statsdb::connect(&redis, 0).open(&Allocation::new("one.example", "alice", 1), 600);
    poll::until(PATIENCE, "the message to be recorded", || {
        let capture = std::fs::read_to_string(dir.path().join("stream.jsonl")).unwrap();
        if capture.lines().count() == 1 { Ok(()) } else { Err(capture) }
    });
    recorder.signal(Signal::HUP);
    assert!(recorder.wait(PATIENCE).success(), "{}", recorder.output());
    let log = recorder.stderr();
    assert!(log.contains("signal=SIGHUP") && log.contains("msg=recorded messages=1"), "{log}");
}

#[test]
fn a_recording_goes_on_under_nohup() {
    let (redis, dir) = (Redis::start(), TempDir::new("nohup"));
    let mut nohup = Command::new("nohup");
    nohup.arg(PROGRAM);
    let mut recorder = record(nohup, &dir, &redis);
    recorder.signal(Signal::HUP);
    // Had it ended of the first one, nobody would answer the second.
    recorder.signal(Signal::USR1);
    until_logged(&recorder, "signal=SIGUSR1");
    assert!(recorder.exited().is_none(), "{}", recorder.output());
    recorder.signal(Signal::TERM);
    assert!(recorder.wait(PATIENCE).success(), "{}", recorder.output());
    assert!(!recorder.stderr().contains("SIGHUP"), "{}", recorder.output());
}

/// Ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_recording_whose_output_nobody_reads_ends_when_asked_to() {
    let (redis, dir) = (Redis::start(), TempDir::new("unread"));
    let log = dir.path().join("log");
    let mut command = Command::new(PROGRAM);
    command.args(["record", "--redis.url", &redis.url(0)]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut recorder = Ended(command.stderr(File::create(&log).unwrap()).spawn().unwrap());
    let log = || std::fs::read_to_string(&log).unwrap();
    poll::until(PATIENCE, "record to be subscribed", || match log() {
        log if log.contains("msg=recording") => Ok(()),
        log => Err(log),
    });
    // Far more than a pipe holds.
    let mut coturn = Statsdb::connect(&redis, 0);
    for id in 0..2000 {
        coturn.open(&Allocation::new("one.example", "alice", id), 600);
    }
    let (mut before, mut looks) = (0, 0);
    poll::until(PATIENCE, "the pipe to be full", || {
        let waiting = rustix::io::ioctl_fionread(recorder.0.stdout.as_ref().unwrap()).unwrap();
        looks = if waiting == before { looks + 1 } else { 0 };
        before = waiting;
        if waiting > 1 << 14 && looks >= 25 { Ok(()) } else { Err(format!("{waiting} bytes")) }
    });
    kill_process(Pid::from_child(&recorder.0), Signal::TERM).unwrap();
    let ended = poll::until(PATIENCE, "record to end", || recorder.0.try_wait().unwrap().ok_or_else(log));
    assert_eq!(ended.code(), Some(1), "{}", log());
    assert!(log().ends_with("its reader has stopped reading; the capture ends in the middle\n"), "{}", log());
}
