//! A child process: output in files, ended by its own id when the test lets go of it.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::poll;

/// A program that has to be installed.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Name, looked up in `PATH`.
    pub program: &'static str,
    /// Where Debian has it.
    pub package: &'static str,
}

impl Tool {
    /// A command line of it; what is missing fails the test and says what to install.
    pub fn command(self) -> Command {
        Command::new(self.program)
    }

    /// The message for an error of `spawn` or `output`.
    pub fn cannot_start(self, error: &std::io::Error) -> String {
        if error.kind() == ErrorKind::NotFound {
            format!("`{}` is not in PATH: install Debian's package `{}`", self.program, self.package)
        } else {
            format!("cannot start `{}`: {error}", self.program)
        }
    }
}

/// See the file's head.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts a tool in `dir`, where its output goes to `<name>.stdout` and `<name>.stderr`.
    pub fn tool(tool: Tool, args: &[String], dir: &Path, name: &str) -> Self {
        let mut command = tool.command();
        command.args(args);
        Self::spawn(command, dir, name).unwrap_or_else(|error| panic!("{}", tool.cannot_start(&error)))
    }

    /// Starts any command likewise.
    pub fn spawn(mut command: Command, dir: &Path, name: &str) -> std::io::Result<Self> {
        let stdout = dir.join(format!("{name}.stdout"));
        let stderr = dir.join(format!("{name}.stderr"));
        let child = command
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .spawn()?;
        Ok(Self { name: name.to_owned(), child, stdout, stderr })
    }

    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Both outputs with a heading, for messages.
    pub fn output(&self) -> String {
        format!("{} wrote:\n{}{}", self.name, tail(&self.stdout()), tail(&self.stderr()))
    }

    /// How it ended, if it did.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        // It is our child and not yet waited for: the id cannot have gone to another process.
        kill_process(pid, signal).unwrap_or_else(|error| panic!("signal {}: {error}", self.name));
    }

    /// Whether all its threads wait for something that is neither a processor nor the disk.
    pub fn sleeps(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.id())).into_iter().flatten();
        // One that ended meanwhile is none.
        let texts =
            threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
        // proc(5): the state follows the name, which is in parentheses.
        let states =
            texts.filter_map(|stat| stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()));
        let states: Vec<char> = states.collect();
        !states.is_empty() && states.iter().all(|&state| state == 'S')
    }

    /// The most memory that it has had resident, in bytes.
    pub fn peak_memory(&self) -> u64 {
        peak_memory(self.id())
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let what = format!("{} to end", self.name);
        poll::until(within, &what, || self.exited().ok_or_else(|| self.output()))
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.output());
        }
    }
}

/// What a process has resident now, in bytes.
pub fn resident_memory(process: u32) -> u64 {
    memory(process, "VmRSS:")
}

/// The most that it has had resident, in bytes.
pub fn peak_memory(process: u32) -> u64 {
    memory(process, "VmHWM:")
}

/// As Linux tells it.
fn memory(process: u32, what: &str) -> u64 {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("proc(5)");
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB")
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// The last lines: a failed test should not bury its message.
fn tail(text: &str) -> String {
    const LINES: usize = 30;
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::new();
    for line in lines.iter().skip(lines.len().saturating_sub(LINES)) {
        out.push_str("    ");
        out.push_str(line);
        out.push('\n');
    }
    out
}
