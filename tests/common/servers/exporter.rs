//! The program under test.

use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal};

use super::process::{Process, resident_memory};
use crate::common::net::http::Response;
use crate::common::net::tls::Scraper;
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::page::Page;
use crate::common::temp_dir::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coturn-exporter");

/// A running `coturn-exporter`.
#[derive(Debug)]
pub struct Exporter {
    process: Process,
    pub address: SocketAddr,
    /// How the tests ask it.
    pub scraper: Scraper,
    _dir: TempDir,
}

impl Exporter {
    /// Starts it with these arguments, on a port of the kernel's choice, and waits until it listens.
    pub fn start(args: &[&str]) -> Self {
        Self::start_with_variables(&[], args)
    }

    /// The same, with these variables in its environment.
    pub fn start_with_variables(variables: &[(&str, &str)], args: &[&str]) -> Self {
        Self::launch(Command::new(PROGRAM), "127.0.0.1:0", variables, args)
    }

    /// Starts it where it is expected, life after life, as one who is told by an error, and not killed by a signal, where a
    /// file may not grow. `limit`: none beyond so many bytes, from its start on.
    pub fn start_heedless_of_limits_at(address: SocketAddr, limit: Option<u64>, args: &[&str]) -> Self {
        Self::launch(heedless(limit), &address.to_string(), &[], args)
    }

    /// Starts it where no more files than these may be open at one time.
    pub fn start_with_few_files(limit: u32, args: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\""), PROGRAM]);
        Self::launch(command, "127.0.0.1:0", &[], args)
    }

    /// From now on no file of its may grow beyond this (`None`: any may).
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit { current: bytes, maximum: None };
        let pid = Pid::from_raw(i32::try_from(self.process.id()).expect("a pid"));
        rustix::process::prlimit(pid, Resource::Fsize, limit).expect("prlimit");
    }

    /// From now on it may have no more files open than these.
    pub fn limit_open_files(&self, count: u64) {
        let limit = Rlimit { current: Some(count), maximum: Some(count) };
        let pid = Pid::from_raw(i32::try_from(self.process.id()).expect("a pid"));
        rustix::process::prlimit(pid, Resource::Nofile, limit).expect("prlimit");
    }

    /// Starts it where a Prometheus expects it, life after life.
    pub fn start_at(address: SocketAddr, args: &[&str]) -> Self {
        Self::launch(Command::new(PROGRAM), &address.to_string(), &[], args)
    }

    fn launch(mut command: Command, listen: &str, variables: &[(&str, &str)], args: &[&str]) -> Self {
        let dir = TempDir::new("exporter");
        command.args(["--web.listen-address", listen]).args(args);
        // Each flag has a variable: what somebody has set in the shell is none of the test's business.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("COTURN_EXPORTER") {
                command.env_remove(name);
            }
        }
        // As docs/troubleshooting.md advises where memory is to be given back after a peak.
        command.env("MALLOC_MMAP_THRESHOLD_", "131072");
        command.envs(variables.iter().copied());
        let mut process = Process::spawn(command, dir.path(), "coturn-exporter")
            .unwrap_or_else(|error| panic!("cannot start the exporter: {error}"));
        let address = poll::until(PATIENCE, "the exporter to listen", || {
            if let Some(address) = listening(&process.stderr()) {
                return Ok(address);
            }
            if let Some(status) = process.exited() {
                panic!("the exporter ended with {status} before it listened\n{}", process.output());
            }
            Err(process.output())
        });
        Self { process, address, scraper: Scraper::default(), _dir: dir }
    }

    /// Asked like this from now on.
    #[must_use]
    pub fn asked_by(self, scraper: Scraper) -> Self {
        Self { scraper, ..self }
    }

    /// Watching one Redis; waits until it is subscribed and has read the keys.
    pub fn watching(url: &str) -> Self {
        Self::watching_with(url, &[])
    }

    /// The same with more arguments.
    pub fn watching_with(url: &str, args: &[&str]) -> Self {
        let mut all = vec!["--redis.url", url];
        all.extend(args);
        let exporter = Self::start(&all);
        exporter.wait_ready();
        exporter
    }

    #[track_caller]
    pub fn wait_ready(&self) {
        poll::until(PATIENCE, "/-/ready to say 200", || match self.get("/-/ready") {
            Ok(response) if response.status == 200 => Ok(()),
            other => Err(format!("{other:?}\n{}", self.process.output())),
        });
    }

    /// Waits until there is a page: its store is loaded, whether its sources are there or not.
    #[track_caller]
    pub fn wait_loaded(&self) {
        poll::until(PATIENCE, "a page", || match self.get("/metrics") {
            Ok(response) if response.status == 200 => Ok(()),
            other => Err(format!("{other:?}\n{}", self.process.output())),
        });
    }

    pub fn get(&self, path: &str) -> Result<Response, String> {
        self.scraper.get(self.address, path)
    }

    #[track_caller]
    pub fn status(&self, path: &str) -> u16 {
        self.get(path).unwrap_or_else(|why| panic!("{why}\n{}", self.process.output())).status
    }

    /// The text of `/metrics`.
    #[track_caller]
    pub fn text(&self) -> String {
        let response = self.get("/metrics").unwrap_or_else(|why| panic!("{why}\n{}", self.process.output()));
        assert_eq!(response.status, 200, "{}", response.body);
        let content_type = response.header("content-type").unwrap_or_default();
        assert!(content_type.starts_with("text/plain; version=0.0.4"), "content type {content_type:?}");
        response.body
    }

    /// The page of this moment.
    #[track_caller]
    pub fn page(&self) -> Page {
        Page::parse(&self.text())
    }

    /// Waits until the page is as `look` wants it; `Err` says what is not yet so.
    #[track_caller]
    pub fn until<T>(&self, what: &str, mut look: impl FnMut(&Page) -> Result<T, String>) -> T {
        poll::until(PATIENCE, what, || look(&self.page()))
    }

    /// Waits for the value of one series.
    #[track_caller]
    pub fn until_value(&self, name: &str, labels: &[(&str, &str)], wanted: f64) {
        let what = format!("{name} {labels:?} to be {wanted}");
        self.until(&what, |page| match page.value(name, labels) {
            #[expect(clippy::float_cmp, reason = "counts, which f64 holds exactly")]
            Some(value) if value == wanted => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// The kernel's account of its CPU time, user and system (in ticks of 10 ms).
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("it runs");
        let (_, fields) = stat.rsplit_once(") ").expect("proc(5)");
        let ticks: f64 =
            fields.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().expect("ticks")).sum();
        ticks / 100.0
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Waits for a line in its log that holds all of these words, and gives the line.
    #[track_caller]
    pub fn until_logged(&self, words: &[&str]) -> String {
        poll::until(PATIENCE, &format!("a line with {words:?} in the log"), || {
            let log = self.log();
            let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
            line.map(str::to_owned).ok_or(log)
        })
    }

    /// Stops it without closing anything, as a host that hangs.
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// The most memory that it has had resident, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.process.peak_memory()
    }

    /// The memory that it has resident now, in bytes.
    pub fn resident_memory(&self) -> u64 {
        resident_memory(self.process.id())
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Sends a signal and waits for the end, as long as the contract allows: five seconds in which it waits for others.
    /// While it works, or would if it had a processor or the disk, no time counts: the machine may be busy.
    #[track_caller]
    pub fn stop(&mut self, signal: Signal) -> ExitStatus {
        const CONTRACT: Duration = Duration::from_secs(5);
        self.process.signal(signal);
        let mut asleep = Duration::ZERO;
        poll::until(PATIENCE, "the exporter to end", || {
            if let Some(status) = self.process.exited() {
                return Ok(status);
            }
            if self.process.sleeps() {
                asleep += poll::BETWEEN_LOOKS;
            }
            assert!(asleep < CONTRACT, "it waits instead of ending:\n{}", self.process.output());
            Err(self.process.output())
        })
    }
}

/// The program, as one that ignores the signal of a file that may not grow.
fn heedless(limit: Option<u64>) -> Command {
    // In blocks of 512 bytes, and so that it can be raised again.
    let limit = limit.map_or_else(String::new, |bytes| format!("ulimit -S -f {}; ", bytes / 512));
    let mut command = Command::new("sh");
    command.args(["-c", &format!("trap '' XFSZ; {limit}exec \"$0\" \"$@\""), PROGRAM]);
    command
}

/// From a line like `level=info msg="listening" address=127.0.0.1:40123`.
fn listening(log: &str) -> Option<SocketAddr> {
    let line =
        log.lines().find(|line| line.contains("msg=\"listening\"") || line.contains("msg=listening"))?;
    let (_, address) = line.split_once("address=")?;
    address.split_whitespace().next()?.trim_matches('"').parse().ok()
}
