//! The log through a pipe: a reader that stops, comes back, or is gone must not disturb the exporter.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::common::net::http;
use crate::common::net::ports::Port;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::page::Page;
use rustix::process::{Pid, Signal, kill_process};

const DROPPED: &str = "coturn_exporter_dropped_log_lines_total";

/// An exporter that coturn reports to, whose log goes into a pipe.
struct Piped {
    child: Child,
    web: Port,
    statsdb: Port,
}

impl Piped {
    /// Starts one, with all that it has to say; nobody reads the pipe.
    fn start() -> Self {
        Self::launch(Command::new(env!("CARGO_BIN_EXE_coturn-exporter")))
    }

    fn launch(mut command: Command) -> Self {
        let (web, statsdb) = (Port::claim(), Port::claim());
        command.args(["--log.level", "debug"]);
        command.args(["--web.listen-address", &address(&web).to_string()]);
        command.args(["--statsdb.listen-address", &address(&statsdb).to_string()]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("COTURN_EXPORTER") {
                command.env_remove(name);
            }
        }
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let piped = Self { child, web, statsdb };
        poll::until(PATIENCE, "the exporter to listen", || piped.get("/-/healthy").map(drop));
        piped
    }

    fn get(&self, path: &str) -> Result<String, String> {
        let response = http::get(address(&self.web), path)?;
        if response.status == 200 { Ok(response.body) } else { Err(format!("{response:?}")) }
    }

    #[track_caller]
    fn page(&self) -> Page {
        Page::parse(&self.get("/metrics").unwrap())
    }

    fn dropped(&self) -> u64 {
        self.page().count(DROPPED, &[])
    }

    /// Makes it say something, as often as that takes, until lines are dropped.
    fn until_dropping(&self) {
        poll::until(PATIENCE, "lines to be dropped", || {
            for _ in 0..500 {
                drop(self.connect());
            }
            let dropped = self.dropped();
            if dropped > 0 { Ok(()) } else { Err(format!("{dropped}")) }
        });
    }

    /// A connection of no coturn; its end is a line at the level debug.
    fn connect(&self) -> TcpStream {
        TcpStream::connect(address(&self.statsdb)).unwrap()
    }

    fn reader(&mut self) -> ChildStderr {
        self.child.stderr.take().expect("nobody reads it yet")
    }

    /// Reads the log from now on.
    fn read_log(&mut self) -> Arc<Mutex<String>> {
        let mut reader = self.reader();
        let log = Arc::new(Mutex::new(String::new()));
        let reading = Arc::clone(&log);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read) = reader.read(&mut bytes) {
                if read == 0 {
                    break;
                }
                reading
                    .lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(bytes.get(..read).unwrap_or_default()));
            }
        });
        log
    }

    fn end(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        // Far more than the contract's 5 s, for a busy machine: one that waits for its reader never ends.
        poll::until(Duration::from_secs(60), "the exporter to end", || {
            self.child.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
        })
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn address(port: &Port) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port.number).into()
}

/// The numbers in the lines that say how many are missing.
fn said(log: &str) -> Vec<u64> {
    let notes = log.lines().filter(|line| line.contains("log lines were dropped here"));
    notes.map(|line| line.rsplit_once(" lines=").unwrap().1.parse().unwrap()).collect()
}

#[test]
fn a_reader_that_stops_holds_up_nothing_and_is_told_what_it_missed() {
    let mut exporter = Piped::start();
    exporter.until_dropping();
    // The listener goes on, and so do scrapes.
    let mut coturn = Statsdb::at(address(&exporter.statsdb));
    coturn.open(&Allocation::new("one.example", "alice", 1), 600);
    poll::until(PATIENCE, "the allocation to be counted", || {
        let page = exporter.page();
        match page.count("coturn_allocations", &[("realm", "one.example"), ("transport", "udp")]) {
            1 => Ok(()),
            other => Err(other.to_string()),
        }
    });

    let log = exporter.read_log();
    let dropped = poll::until(PATIENCE, "all dropped lines to be said", || {
        let said = said(&log.lock().unwrap());
        let (all, dropped) = (said.iter().sum::<u64>(), exporter.dropped());
        if all > 0 && all == dropped { Ok(said) } else { Err(format!("{said:?} of {dropped}")) }
    });
    assert_eq!(dropped.len(), 1, "one line for all that are missing: {dropped:?}");
    {
        // What waited is whole, in order, and more than a pipe holds.
        let log = log.lock().unwrap();
        assert!(log.len() > 1 << 20, "{}", log.len());
        let broken = log.lines().find(|line| !(line.starts_with("ts=") && line.contains(" level=")));
        assert_eq!(broken, None);
        assert!(log.lines().take(10).any(|line| line.contains("msg=\"waiting for coturn\"")));
    }

    // From then on it is a log as any.
    assert!(exporter.end().success());
    poll::until(PATIENCE, "the last line", || {
        let log = log.lock().unwrap();
        let last = log.lines().last().unwrap_or_default();
        if last.contains("msg=stopping") { Ok(()) } else { Err(last.to_owned()) }
    });
}

#[test]
fn it_ends_when_asked_to_though_nobody_reads() {
    let mut exporter = Piped::start();
    exporter.until_dropping();
    assert!(exporter.end().success());
    // No line was cut by the end.
    let mut log = String::new();
    exporter.reader().read_to_string(&mut log).unwrap();
    let broken = log.lines().find(|line| !line.starts_with("ts="));
    assert!(log.ends_with('\n') && broken.is_none(), "{broken:?}");
}

#[test]
fn a_reader_that_is_gone_is_no_reason_to_end() {
    let mut exporter = Piped::start();
    drop(exporter.reader());
    // The first line that cannot be written, and the next.
    for lines in 1..=2 {
        drop(exporter.connect());
        poll::until(PATIENCE, "the line to be counted", || match exporter.dropped() {
            dropped if dropped >= lines => Ok(()),
            dropped => Err(format!("{dropped} of {lines}")),
        });
    }
    assert!(exporter.end().success());
}

#[test]
fn no_standard_error_at_all_will_do() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" 2>&-", env!("CARGO_BIN_EXE_coturn-exporter")]);
    let mut exporter = Piped::launch(shell);
    drop(exporter.connect());
    poll::until(PATIENCE, "the connection to be gone", || {
        match exporter.page().count("coturn_exporter_statsdb_connections", &[]) {
            0 => Ok(()),
            some => Err(some.to_string()),
        }
    });
    assert!(exporter.end().success());
}

#[test]
fn why_it_cannot_go_on_is_the_last_line() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_coturn-exporter"));
    command.args(["--web.listen-address", &taken.local_addr().unwrap().to_string()]);
    let output = command.output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.lines().last().unwrap().starts_with("coturn-exporter: error: "), "{log}");
}
