//! What an event costs, side by side in one run: this exporter behind a Redis and without one, redis-server itself, a
//! program that only frames the bytes, and small subscribers in Go, JavaScript and Python.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use coturn_exporter::resp::Reader;
use coturn_exporter::source::pubsub::LIMITS;

use crate::common::poll;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::listener;
use crate::common::servers::redis::Redis;
use crate::gauge::{cpu_micros, memory};
use crate::publisher::{PATIENCE, Publisher, Ready, address_of, taken_in};
use crate::row::Row;
use crate::stream::Fleet;

/// Live allocations: 50,000, each of a user of its own.
fn fleet(live: u64) -> Fleet {
    Fleet::new(live.min(50_000), 10)
}

/// What an event cost one process.
#[derive(Debug)]
struct Cost {
    who: &'static str,
    /// User and system, microseconds per event.
    micros: f64,
    /// Resident at the end, MiB.
    memory: f64,
    /// Flat out.
    lost: u64,
    /// The figures of CPU time and memory are of another run, in which nothing was lost.
    is_held_back: bool,
}

/// How to start a contestant that subscribes to a Redis and ends after so many events; `Err` says what is missing.
type Start = fn(SocketAddr, u64) -> Result<Command, String>;

const OTHERS: [(&str, Start); 4] = [
    ("framing the bytes only", framing),
    (GO, go),
    ("Node: ioredis, prom-client", node),
    ("Python: redis-py, prometheus_client", python),
];

/// How this program calls itself to be the floor.
pub(crate) const FLOOR: &str = "--floor";

/// All contestants, one after the other.
#[derive(Debug)]
pub(crate) struct Contest {
    costs: Vec<Cost>,
    skipped: Vec<(&'static str, String)>,
    fleet: Fleet,
    events: u64,
}

impl Contest {
    /// Runs it.
    pub(crate) fn run(events: u64, live: u64) -> Self {
        let fleet = fleet(live);
        let ready = Ready::new(fleet, events);
        let (mut costs, mut skipped) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            skipped.clear();
            for cost in through_redis(fleet, &ready) {
                keep_least(&mut costs, cost);
            }
            keep_least(&mut costs, straight(fleet, &ready));
            for (who, start) in OTHERS {
                match contestant(who, start, fleet, &ready) {
                    Ok(cost) => keep_least(&mut costs, cost),
                    Err(why) => skipped.push((who, why)),
                }
            }
        }
        Self { costs, skipped, fleet, events: ready.events }
    }

    /// The budgets of CPU time.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let micros = |who| self.costs.iter().find(|cost| cost.who == who).map(|cost| cost.micros);
        let ours = micros(OURS).expect("it is always measured");
        let live = self.fleet.allocations;
        let mut rows = vec![Row::new(
            format!("CPU per event, socket to counters, {live} live: 0.7 µs"),
            format!("{ours:.2} µs"),
            "-",
            ours <= 0.7,
        )];
        for (budget, who, most) in [
            ("under half of what redis-server spends", REDIS, 0.5),
            ("a sixth of the Go subscriber", GO, 1.0 / 6.0),
        ] {
            rows.push(micros(who).map_or_else(
                || Row::unknown(budget, who),
                |theirs| {
                    let ratio = ours / theirs;
                    Row::new(budget, format!("{ratio:.2}"), format!("{who}: {theirs:.2} µs"), ratio <= most)
                },
            ));
        }
        rows
    }
}

const OURS: &str = "this exporter, behind a Redis";
const REDIS: &str = "redis-server, with one subscriber";
const GO: &str = "Go: redigo, client_golang";

/// How often each has its turn. The least that it took counts: other programs, and other machines on the same
/// processor, only ever add to it.
const ROUNDS: usize = 5;

fn keep_least(costs: &mut Vec<Cost>, cost: Cost) {
    match costs.iter_mut().find(|other| other.who == cost.who) {
        None => costs.push(cost),
        Some(other) => {
            let lost = other.lost.max(cost.lost);
            if cost.micros < other.micros {
                *other = cost;
            }
            other.lost = lost;
        }
    }
}

/// The exporter behind a Redis, and that Redis.
fn through_redis(fleet: Fleet, ready: &Ready) -> [Cost; 2] {
    let redis = Redis::start();
    let exporter = Exporter::watching(&redis.url(0));
    let mut publisher = Publisher::connect(address_of(&redis));
    publisher.send(fleet.births());
    taken_in(&exporter, fleet.allocations);
    let before = [exporter.process_id(), redis.process_id()].map(cpu_micros);
    publisher.send_ready(ready);
    let heard = taken_in(&exporter, fleet.allocations + ready.events) - fleet.allocations;
    let ids = [exporter.process_id(), redis.process_id()];
    let mut costs =
        [OURS, REDIS].into_iter().zip(ids.into_iter().zip(before)).map(|(who, (id, before))| Cost {
            who,
            micros: (cpu_micros(id) - before) / ready.events as f64,
            memory: memory(id),
            lost: ready.events - heard,
            is_held_back: false,
        });
    [costs.next().unwrap(), costs.next().unwrap()]
}

/// The exporter to which coturn reports itself.
fn straight(fleet: Fleet, ready: &Ready) -> Cost {
    let (exporter, address) = listener::listening(&[]);
    let mut publisher = Publisher::connect(address);
    publisher.send(fleet.births());
    taken_in(&exporter, fleet.allocations);
    let before = cpu_micros(exporter.process_id());
    publisher.send_ready(ready);
    let heard = taken_in(&exporter, fleet.allocations + ready.events) - fleet.allocations;
    let id = exporter.process_id();
    Cost {
        who: "this exporter, without a Redis",
        micros: (cpu_micros(id) - before) / ready.events as f64,
        memory: memory(id),
        lost: ready.events - heard,
        is_held_back: false,
    }
}

/// Somebody else's subscriber: flat out, and once more with fewer events and held back if it loses some like that. What
/// is lost costs nothing, and would be divided among the few that are heard.
fn contestant(who: &'static str, start: Start, fleet: Fleet, ready: &Ready) -> Result<Cost, String> {
    let flat_out = subscriber(start, ready, Publisher::send_ready)?;
    let lost = ready.events - flat_out.heard;
    let is_held_back = lost > 0;
    let counts = if is_held_back {
        let fewer = Ready::new(fleet, ready.events / HELD_BACK);
        let again = subscriber(start, &fewer, Publisher::send_held_back)?;
        if again.heard < fewer.events {
            return Err(format!("it lost {} events even when held back", fewer.events - again.heard));
        }
        again
    } else {
        flat_out
    };
    let micros = counts.micros / counts.heard as f64;
    Ok(Cost { who, micros, memory: counts.memory, lost, is_held_back })
}

/// One event of so many, for who loses some.
const HELD_BACK: u64 = 10;

/// What a subscriber says at its end.
struct PubSubItem {
    heard: u64,
    /// CPU time of all events.
    micros: f64,
    /// MiB.
    memory: f64,
}

/// A subscriber that says what it has spent when it has all, or hears no more for 3 s. Its start does not count.
fn subscriber(start: Start, ready: &Ready, send: fn(&mut Publisher, &Ready)) -> Result<PubSubItem, String> {
    let redis = Redis::start();
    let address = address_of(&redis);
    let mut command = start(address, ready.events)?;
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let is_subscribed = poll::until(PATIENCE, "the subscription", || match redis.subscribers() {
        1 => Ok(true),
        _ if child.try_wait().is_ok_and(|ended| ended.is_some()) => Ok(false),
        other => Err(other.to_string()),
    });
    if !is_subscribed {
        return Err("it ended at once".to_owned());
    }
    let before = cpu_micros(child.id());
    send(&mut Publisher::connect(address), ready);
    let mut item = String::new();
    child.stdout.take().unwrap().read_to_string(&mut item).unwrap();
    child.wait().unwrap();
    let words: Vec<&str> = item.split_whitespace().collect();
    let [heard, seconds, bytes] = words[..] else { return Err(format!("it item {item:?}")) };
    let number = |word: &str| word.parse::<f64>().map_err(|_| format!("it item {item:?}"));
    Ok(PubSubItem {
        heard: heard.parse().map_err(|_| format!("it item {item:?}"))?,
        micros: number(seconds)? * 1e6 - before,
        memory: number(bytes)? / f64::from(1 << 20),
    })
}

#[expect(clippy::unnecessary_wraps, reason = "one of several, which may lack something")]
fn framing(address: SocketAddr, events: u64) -> Result<Command, String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([FLOOR, &address.to_string(), &events.to_string()]);
    Ok(command)
}

/// Subscribes, frames, counts, and does nothing else.
pub(crate) fn floor(address: SocketAddr, events: u64) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"PSUBSCRIBE turn/*\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let mut reader = Reader::of_replies(LIMITS);
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
    Ok(with_arguments(Command::new(built_go("subscriber.go")?), address, events))
}

/// A program of Go, built.
pub(crate) fn built_go(name: &str) -> Result<PathBuf, String> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).with_extension("bench");
    let source = source_of(name);
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
    Ok(program)
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

impl Contest {
    /// The table of all.
    pub(crate) fn table(&self) -> String {
        let Fleet { allocations, realms, .. } = self.fleet;
        let mut text =
            format!("{} events, {allocations} live allocations, {realms} realms.\n\n", self.events);
        text.push_str(
            "| who | CPU per event, µs | against the first | resident, MiB | events lost flat out |\n",
        );
        text.push_str("| --- | --- | --- | --- | --- |\n");
        let first = self.costs[0].micros;
        for Cost { who, micros, memory, lost, is_held_back } in &self.costs {
            let (ratio, how) = (micros / first, if *is_held_back { ", held back" } else { "" });
            writeln!(text, "| {who} | {micros:.2}{how} | {ratio:.2} | {memory:.0} | {lost} |").unwrap();
        }
        for (who, why) in &self.skipped {
            writeln!(text, "| {who} | skipped: {} | | | |", why.lines().next().unwrap_or_default()).unwrap();
        }
        text
    }
}
