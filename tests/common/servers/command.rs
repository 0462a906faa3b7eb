//! The program under test, or the shell, run to its end.

use std::process::{Command, Output};

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
    ended(&command.output().unwrap_or_else(|error| panic!("cannot start the exporter: {error}")))
}

/// Runs a line as an operator would who copies it.
pub fn shell(line: &str) -> Ended {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    ended(&command.output().unwrap_or_else(|error| panic!("cannot start sh: {error}")))
}

fn ended(output: &Output) -> Ended {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}
