//! What an event costs, side by side in one run: this exporter behind a Redis and without one, redis-server itself, a
//! program that only frames the bytes, and small subscribers in Go, JavaScript and Python. Prints a table and writes
//! `docs/benchmarks.md`. Not part of the tests: figures of a noisy machine decide nothing by themselves, ratios do.
//!
//! `BENCH_EVENTS` says how many events (2,000,000).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a program for developers: it says what failed and ends"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::exporter::Exporter;
use common::listener;
use common::poll;
use common::redis::Redis;
use coturn_exporter::resp::{Limits, Reader};

/// Live allocations, each of a user of its own.
const ALLOCATIONS: u64 = 50_000;
const REALMS: u64 = 10;

/// A run that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(600);

/// What an event cost one process.
#[derive(Debug)]
struct Cost {
    who: &'static str,
    /// User and system, microseconds per event.
    micros: f64,
    /// Resident at the end, MiB.
    memory: f64,
    lost: u64,
}

/// How to start a contestant that subscribes to a Redis and ends after so many events; `Err` says what is missing.
type Start = fn(SocketAddr, u64) -> Result<Command, String>;

const OTHERS: [(&str, Start); 4] = [
    ("framing the bytes only", framing),
    ("Go: redigo, client_golang", go),
    ("Node: ioredis, prom-client", node),
    ("Python: redis-py, prometheus_client", python),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == FLOOR) {
        return floor(arguments[at + 1].parse().unwrap(), arguments[at + 2].parse().unwrap());
    }
    let events =
        std::env::var("BENCH_EVENTS").map_or(2_000_000, |events| events.parse().expect("BENCH_EVENTS"));
    let mut costs = Vec::new();
    costs.extend(through_redis(events));
    costs.push(straight(events));
    let mut skipped = Vec::new();
    for (who, start) in OTHERS {
        match subscriber(who, start, events) {
            Ok(cost) => costs.push(cost),
            Err(why) => skipped.push((who, why)),
        }
    }
    let text = report(&costs, &skipped, events);
    println!("{text}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.md");
    let document = std::fs::read_to_string(&path).expect("docs/benchmarks.md");
    let (before, rest) = document.split_once(BEGIN).expect("a place for the figures");
    let (_, after) = rest.split_once(END).expect("the end of the figures");
    std::fs::write(path, format!("{before}{BEGIN}\n{text}\n{END}{after}")).expect("docs/benchmarks.md");
}

const FLOOR: &str = "--floor";
const BEGIN: &str = "<!-- figures -->";
const END: &str = "<!-- end of figures -->";

/// The exporter behind a Redis, and that Redis.
fn through_redis(events: u64) -> [Cost; 2] {
    let redis = Redis::start();
    let exporter = Exporter::watching(&redis.url(0));
    let mut publisher = Publisher::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, redis.port())));
    publisher.open_all();
    taken_in(&exporter, ALLOCATIONS);
    let before = [exporter.process_id(), redis.process_id()].map(cpu_micros);
    publisher.go_on(events);
    let heard = taken_in(&exporter, ALLOCATIONS + events) - ALLOCATIONS;
    let ids = [exporter.process_id(), redis.process_id()];
    let mut costs = ["this exporter, behind a Redis", "redis-server, with one subscriber"]
        .into_iter()
        .zip(ids.into_iter().zip(before))
        .map(|(who, (id, before))| Cost {
            who,
            micros: (cpu_micros(id) - before) / events as f64,
            memory: memory(id),
            lost: events - heard,
        });
    [costs.next().unwrap(), costs.next().unwrap()]
}

/// The exporter to which coturn reports itself.
fn straight(events: u64) -> Cost {
    let (exporter, address) = listener::listening(&[]);
    let mut publisher = Publisher::connect(address);
    publisher.open_all();
    taken_in(&exporter, ALLOCATIONS);
    let before = cpu_micros(exporter.process_id());
    publisher.go_on(events);
    let heard = taken_in(&exporter, ALLOCATIONS + events) - ALLOCATIONS;
    let id = exporter.process_id();
    Cost {
        who: "this exporter, without a Redis",
        micros: (cpu_micros(id) - before) / events as f64,
        memory: memory(id),
        lost: events - heard,
    }
}

/// Waits until the exporter has so many messages, or has no more for long; gives how many it has.
fn taken_in(exporter: &Exporter, messages: u64) -> u64 {
    let mut last = (0, 0);
    poll::until(PATIENCE, "the exporter to take all in", || {
        let page = exporter.page();
        let heard = page.count("coturn_exporter_messages_total", &[]);
        let gaps = page.count("coturn_exporter_gaps_total", &[]);
        last = if heard == last.0 { (heard, last.1 + 1) } else { (heard, 0) };
        // After a gap the rest is lost.
        if heard >= messages || (gaps > 0 && last.1 > 50) { Ok(heard) } else { Err(format!("{heard}")) }
    })
}

/// Somebody else's subscriber, which says itself what it has spent when it has all, or hears no more for 3 s.
fn subscriber(who: &'static str, start: Start, events: u64) -> Result<Cost, String> {
    let redis = Redis::start();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, redis.port()));
    let mut command = start(address, events)?;
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    poll::until(PATIENCE, "the subscription", || match redis.subscribers() {
        1 => Ok(()),
        _ if child.try_wait().is_ok_and(|ended| ended.is_some()) => panic!("{who} ended at once"),
        other => Err(other.to_string()),
    });
    Publisher::connect(address).go_on(events);
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    let words: Vec<&str> = said.split_whitespace().collect();
    let [heard, seconds, resident] = words[..] else { panic!("{who} said {said:?}") };
    let heard: u64 = heard.parse().expect("a count");
    let number = |word: &str| word.parse::<f64>().expect("a number");
    Ok(Cost {
        who,
        micros: number(seconds) * 1e6 / heard as f64,
        memory: number(resident) / f64::from(1 << 20),
        lost: events - heard,
    })
}

#[expect(clippy::unnecessary_wraps, reason = "one of several, which may lack something")]
fn framing(address: SocketAddr, events: u64) -> Result<Command, String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([FLOOR, &address.to_string(), &events.to_string()]);
    Ok(command)
}

/// Subscribes, frames, counts, and does nothing else.
fn floor(address: SocketAddr, events: u64) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"PSUBSCRIBE turn/*\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let mut reader = Reader::of_replies(Limits { frame: 64 << 10, values: 8, ahead: 192 << 10 });
    let mut heard = 0;
    // The first frame is the confirmation.
    while heard <= events {
        match stream.read(reader.space()) {
            Ok(bytes @ 1..) => reader.filled(bytes),
            _ => break,
        }
        while reader.frame().unwrap().is_some() {
            heard += 1;
        }
    }
    let id = std::process::id();
    println!("{} {} {}", heard - 1, cpu_micros(id) / 1e6, memory(id) * f64::from(1 << 20));
}

fn go(address: SocketAddr, events: u64) -> Result<Command, String> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-go");
    let source = source_of("subscriber.go");
    // Debian's packages of the two libraries lie outside of modules.
    let built = Command::new("go")
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .args(["build", "-o"])
        .args([&program, &source])
        .output()
        .map_err(|_| "no go: apt-get install golang-go golang-github-gomodule-redigo-dev golang-github-prometheus-client-golang-dev".to_owned())?;
    if !built.status.success() {
        return Err(format!("go build failed: {}", String::from_utf8_lossy(&built.stderr)));
    }
    Ok(with_arguments(Command::new(program), address, events))
}

fn node(address: SocketAddr, events: u64) -> Result<Command, String> {
    let home = installed(
        "bench-node",
        "npm",
        &["install", "--silent", "--no-audit", "--no-fund", "ioredis", "prom-client"],
    )?;
    let program = home.join("subscriber.mjs");
    std::fs::copy(source_of("subscriber.mjs"), &program).unwrap();
    let mut command = Command::new("node");
    command.arg(program);
    Ok(with_arguments(command, address, events))
}

fn python(address: SocketAddr, events: u64) -> Result<Command, String> {
    let home = installed("bench-python", "python3", &["-m", "venv", "."])?;
    let interpreter = home.join("bin/python");
    let pip = Command::new(&interpreter)
        .args(["-m", "pip", "install", "--quiet", "redis", "hiredis", "prometheus_client"])
        .output()
        .map_err(|error| error.to_string())?;
    if !pip.status.success() {
        return Err(format!("pip failed: {}", String::from_utf8_lossy(&pip.stderr)));
    }
    let mut command = Command::new(interpreter);
    command.arg(source_of("subscriber.py"));
    Ok(with_arguments(command, address, events))
}

fn source_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join(name)
}

/// A directory in which a tool has installed what is needed.
fn installed(name: &str, tool: &str, arguments: &[&str]) -> Result<PathBuf, String> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&home).unwrap();
    let output = Command::new(tool).args(arguments).current_dir(&home).output();
    let output = output.map_err(|error| format!("no {tool}: {error}"))?;
    if output.status.success() {
        Ok(home)
    } else {
        Err(format!("{tool} failed: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

fn with_arguments(mut command: Command, address: SocketAddr, events: u64) -> Command {
    command.args([address.ip().to_string(), address.port().to_string(), events.to_string()]);
    command
}

/// Speaks as coturn does, flat out.
struct Publisher {
    stream: TcpStream,
    out: Vec<u8>,
    sent: u64,
    answers: Arc<AtomicU64>,
}

impl Publisher {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("somebody listens");
        let answers = Arc::new(AtomicU64::new(0));
        let (mut reading, counted) = (stream.try_clone().unwrap(), Arc::clone(&answers));
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(bytes @ 1..) = reading.read(&mut buffer) {
                // Each answer is one line.
                #[expect(clippy::naive_bytecount, reason = "not worth a crate")]
                let lines = buffer[..bytes].iter().filter(|byte| **byte == b'\n').count();
                counted.fetch_add(lines as u64, Ordering::SeqCst);
            }
        });
        Self { stream, out: Vec::with_capacity(1 << 17), sent: 0, answers }
    }

    fn open_all(&mut self) {
        for allocation in 0..ALLOCATIONS {
            self.status(allocation, "new");
        }
        self.flush();
    }

    /// So many events: of ten in a row nine are reports, by turns of both legs, and one is a refresh.
    fn go_on(&mut self, events: u64) {
        for event in 0..events {
            let allocation = event / 10 % ALLOCATIONS;
            match event % 10 {
                9 => self.status(allocation, "refreshed"),
                leg => {
                    let kind = if leg % 2 == 0 { "traffic" } else { "traffic/peer" };
                    self.publish(allocation, kind, b"rcvp=2048, rcvb=307200, sentp=2048, sentb=1843200");
                }
            }
        }
        self.flush();
    }

    fn status(&mut self, allocation: u64, word: &str) {
        let value = format!(
            "{word} lifetime=600, type=UDP, local=192.0.2.1:3478, remote=198.51.100.{}:{}, ssl=NONE, cipher=NONE",
            allocation % 250,
            1024 + allocation % 60_000
        );
        let key = channel(allocation, "status");
        self.command(&[b"SET", key.as_bytes(), value.as_bytes()]);
        self.publish(allocation, "status", value.as_bytes());
    }

    fn publish(&mut self, allocation: u64, kind: &str, payload: &[u8]) {
        let channel = channel(allocation, kind);
        self.command(&[b"PUBLISH", channel.as_bytes(), payload]);
    }

    fn command(&mut self, parts: &[&[u8]]) {
        coturn_exporter::resp::command(&mut self.out, parts);
        self.sent += 1;
        if self.out.len() > 1 << 16 {
            self.write();
        }
    }

    fn write(&mut self) {
        self.stream.write_all(&self.out).expect("commands are taken");
        self.out.clear();
    }

    fn flush(&mut self) {
        self.write();
        poll::until(PATIENCE, "all answers", || match self.answers.load(Ordering::SeqCst) {
            answers if answers >= self.sent => Ok(()),
            answers => Err(format!("{answers} of {}", self.sent)),
        });
    }
}

fn channel(allocation: u64, kind: &str) -> String {
    let realm = allocation % REALMS;
    format!(
        "turn/realm/realm{realm}.example/user/1795343956:user{allocation:08}/allocation/{allocation:018}/{kind}"
    )
}

/// User and system time of a process, in microseconds.
fn cpu_micros(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("proc(5)");
    let ticks: f64 = fields.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().unwrap()).sum();
    // A tick is 10 ms on every Linux that Debian makes.
    ticks * 10_000.0
}

/// Resident memory of a process, in MiB.
fn memory(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("proc(5)");
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}

fn report(costs: &[Cost], skipped: &[(&str, String)], events: u64) -> String {
    let mut text = format!(
        "{events} events, {ALLOCATIONS} live allocations, {REALMS} realms, {} cores, version {}.\n\n",
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        env!("CARGO_PKG_VERSION")
    );
    text.push_str("| who | CPU per event, µs | against the first | resident, MiB | events lost |\n");
    text.push_str("| --- | --- | --- | --- | --- |\n");
    let first = costs[0].micros;
    for Cost { who, micros, memory, lost } in costs {
        writeln!(text, "| {who} | {micros:.2} | {:.2} | {memory:.0} | {lost} |", micros / first).unwrap();
    }
    for (who, why) in skipped {
        writeln!(text, "| {who} | skipped: {} | | | |", why.lines().next().unwrap_or_default()).unwrap();
    }
    text
}
