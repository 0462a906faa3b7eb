//! The program under test, or the shell, run to its end.

use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Far longer than any of them takes. One that should have refused something runs on, and must not hold the tests up.
const LIMIT: Duration = Duration::from_secs(300);

/// What a command that has ended left behind.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `coturn-exporter` with these arguments.
pub fn exporter(args: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coturn-exporter"));
    command.args(args);
    // Each flag has a variable: what somebody has set in the shell is none of the test's business.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("COTURN_EXPORTER") {
            command.env_remove(name);
        }
    }
    run_to_its_end(command)
}

/// Runs a line as an operator would who copies it.
pub fn shell(line: &str) -> Ended {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    run_to_its_end(command)
}

#[track_caller]
fn run_to_its_end(mut command: Command) -> Ended {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let pid = Pid::from_child(&child);
    let (ended, ends) = channel::<()>();
    let guard = std::thread::spawn(move || {
        let is_late = ends.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
        is_late && kill_process(pid, Signal::KILL).is_ok()
    });
    let output = child.wait_with_output();
    drop(ended);
    let is_killed = guard.join().unwrap_or_default();
    let Output { status, stdout, stderr } = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (text(stdout), text(stderr));
    assert!(!is_killed, "{command:?} has not ended within {LIMIT:?}:\n{stderr}");
    Ended { code: status.code(), stdout, stderr }
}
