//! Plays a TURN service, so that dashboards move without a coturn: calls of different lengths, clients that gather and
//! never relay, web pages that never close what they opened, a server that crashes now and then.
//!
//! ```sh
//! make run                                             # in one terminal
//! cargo run --release --example simulate               # in another: into the exporter
//! cargo run --release --example simulate -- --to 127.0.0.1:6379 --calls 500 --speed 10     # into a Redis
//! ```
//!
//! It speaks as coturn 4.6 does, from `--servers` servers with a connection each. `--calls` is how many are going on at
//! one time; `--speed 10` lets their time pass ten times as fast (lifetimes are told in the exporter's time). It goes on
//! until it is interrupted, or for `--seconds`.

#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a toy: its places are its own, its numbers small and not negative"
)]

use std::collections::BinaryHeap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use coturn_exporter::clock::{Clock, SystemClock};
use coturn_exporter::resp::command;

/// What is granted, as coturn does by default.
const LIFETIME: u64 = 600;

/// A client refreshes a minute before the end.
const REFRESH: f64 = 540.0;

/// coturn reports each 4096 packets.
const REPORT: u64 = 4096;

/// How long a page stays open that has forgotten its connection.
const LEAK: f64 = 4.0 * 3600.0;

const REALMS: [&str; 3] = ["eu.example.org", "us.example.org", "support.example.org"];
const TRANSPORTS: [(&str, &str); 4] = [
    ("UDP", "ssl=NONE, cipher=NONE"),
    ("TCP", "ssl=NONE, cipher=NONE"),
    ("TLS/TCP", "ssl=TLSv1.3, cipher=TLS_AES_256_GCM_SHA384"),
    ("DTLS", "ssl=DTLSv1.2, cipher=ECDHE-RSA-AES256-GCM-SHA384"),
];

/// What is asked for on the command line.
struct Options {
    to: String,
    servers: usize,
    calls: usize,
    speed: f64,
    seconds: Option<f64>,
    /// Seconds of the service between two crashes, on average; 0 for none.
    crash: f64,
    seed: u64,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            to: "127.0.0.1:6390".to_owned(),
            servers: 2,
            calls: 100,
            speed: 1.0,
            seconds: None,
            crash: 1_800.0,
            seed: 1,
        };
        while let Some(flag) = args.next() {
            let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
            let wrong = || format!("{flag}: {value:?} is not a number that can be used");
            let number = || value.parse::<f64>().ok().filter(|number| *number >= 0.0).ok_or_else(wrong);
            match flag.as_str() {
                "--to" => options.to.clone_from(&value),
                "--servers" => options.servers = value.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?,
                "--calls" => options.calls = value.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?,
                "--speed" => options.speed = number()?.max(0.001),
                "--seconds" => options.seconds = Some(number()?),
                "--crash" => options.crash = number()?,
                "--seed" => options.seed = value.parse().map_err(|_| wrong())?,
                _ => {
                    return Err(format!(
                        "{flag} is not known; there are --to --servers --calls --speed --seconds --crash --seed"
                    ));
                }
            }
        }
        Ok(options)
    }
}

/// What a client is like.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    /// Relays, and gives back.
    Talks,
    /// Relays, and vanishes.
    Vanishes,
    /// Gathers, finds another path, gives back.
    Gathers,
    /// Gathers and refreshes for hours: a page that never closes its connection.
    Leaks,
}

struct Allocation {
    server: usize,
    realm: &'static str,
    user: String,
    id: u64,
    path: String,
    habit: Habit,
    ends_at: f64,
    refresh_at: f64,
    /// Packets per second and direction, and bytes in each.
    rate: f64,
    size: u64,
    /// Packets not reported yet, and all sums: client received and sent, peer received and sent.
    unreported: f64,
    totals: [(u64, u64); 4],
    last: f64,
}

/// One server and its connection.
struct Server {
    stream: Option<TcpStream>,
    address: String,
    next_id: u64,
    out: Vec<u8>,
}

impl Server {
    fn say(&mut self, parts: &[&[u8]]) {
        command(&mut self.out, parts);
    }

    /// Sends what was said; the answers are read and not looked at.
    fn send(&mut self, to: &str) -> std::io::Result<()> {
        let out = std::mem::take(&mut self.out);
        if out.is_empty() {
            return Ok(());
        }
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(to)?;
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(Duration::from_millis(1)))?;
                none.insert(stream)
            }
        };
        stream.write_all(&out)?;
        let mut answers = [0; 8_192];
        while let Ok(1..) = stream.read(&mut answers) {}
        Ok(())
    }
}

/// The service.
struct Service {
    options: Options,
    random: fastrand::Rng,
    servers: Vec<Server>,
    allocations: Vec<Allocation>,
    /// Times at which somebody calls, soonest first.
    arrivals: BinaryHeap<std::cmp::Reverse<u64>>,
    crash_at: f64,
}

impl Service {
    fn new(options: Options) -> Self {
        let mut random = fastrand::Rng::with_seed(options.seed);
        let server = |number: usize| Server {
            stream: None,
            address: format!("203.0.113.{}:3478", number + 1),
            next_id: 1,
            out: Vec::new(),
        };
        let servers = (0..options.servers).map(server).collect();
        // The first ones call within half a minute.
        let arrivals = (0..options.calls).map(|_| std::cmp::Reverse(random.u64(..30_000))).collect();
        let crash_at = if options.crash > 0.0 { options.crash } else { f64::INFINITY };
        Self { options, random, servers, allocations: Vec::new(), arrivals, crash_at }
    }

    /// What is granted, in the exporter's time.
    fn lifetime(&self) -> u64 {
        ((LIFETIME as f64 / self.options.speed) as u64).max(1)
    }

    /// Lets the service's time come to `now`.
    fn advance(&mut self, now: f64) {
        while self.arrivals.peek().is_some_and(|next| (next.0 as f64) / 1000.0 <= now) {
            self.arrivals.pop();
            let ended = self.call(now);
            self.arrivals.push(std::cmp::Reverse((ended * 1000.0) as u64));
        }
        if now >= self.crash_at {
            self.crash(now);
        }
        let mut place = 0;
        while place < self.allocations.len() {
            if self.live_on(place, now) {
                place += 1;
            } else {
                self.allocations.swap_remove(place);
            }
        }
    }

    /// Somebody calls, and asks for one to three relays; gives when the place is free for the next.
    fn call(&mut self, now: f64) -> f64 {
        let lifetime = self.lifetime();
        let random = &mut self.random;
        let server = random.usize(..self.servers.len());
        // Most calls are short, some are very long.
        let length = 20.0 + 240.0 * -(1.0 - random.f64()).ln() * if random.u8(..10) == 0 { 8.0 } else { 1.0 };
        let user = format!("{}:user{}", 1_795_343_956 + now as u64, random.u32(..100_000));
        let realm = REALMS[[0, 0, 0, 1, 1, 2][random.usize(..6)]];
        let (transport, ssl) = TRANSPORTS[random.usize(..10).saturating_sub(6)];
        let relays = random.usize(1..4);
        let video = random.bool();
        let leaks = random.u8(..50) == 0;
        let direct = random.u8(..3) == 0;
        for relay in 0..relays {
            let random = &mut self.random;
            let habit = match relay {
                _ if leaks => Habit::Leaks,
                0 if !direct && random.u8(..8) == 0 => Habit::Vanishes,
                0 if !direct => Habit::Talks,
                _ => Habit::Gathers,
            };
            let port = random.u16(1_024..);
            let remote = format!("198.51.100.{}:{port}", random.u8(1..));
            let of = &mut self.servers[server];
            let id = (server as u64 % 4) * 1_000_000_000_000_000 + of.next_id;
            of.next_id += 1;
            let path = format!("type={transport}, local={}, remote={remote}, {ssl}", of.address);
            let allocation = Allocation {
                server,
                realm,
                user: user.clone(),
                id,
                path,
                habit,
                ends_at: now + if leaks { LEAK } else { length },
                refresh_at: now + REFRESH,
                rate: if video { 220.0 } else { 50.0 },
                size: if video { 980 } else { 172 },
                unreported: 0.0,
                totals: Default::default(),
                last: now,
            };
            self.status(&allocation, &format!("new lifetime={lifetime}, {}", allocation.path));
            self.allocations.push(allocation);
        }
        now + if leaks { 600.0 } else { length }
    }

    /// One allocation's life up to `now`; false when it is over.
    fn live_on(&mut self, place: usize, now: f64) -> bool {
        let lifetime = self.lifetime();
        let allocation = &mut self.allocations[place];
        let until = now.min(allocation.ends_at);
        if matches!(allocation.habit, Habit::Talks | Habit::Vanishes) {
            // Both directions, on both legs.
            allocation.unreported += (until - allocation.last) * allocation.rate * 4.0;
        }
        allocation.last = until;
        let is_over = now >= allocation.ends_at;
        if allocation.unreported >= REPORT as f64 || is_over {
            self.report(place, is_over);
        }
        let allocation = &mut self.allocations[place];
        if is_over {
            match allocation.habit {
                // Nobody refreshes it: it ends by itself when its grant does.
                Habit::Vanishes if now < allocation.refresh_at + LIFETIME as f64 - REFRESH => {
                    allocation.ends_at = allocation.refresh_at + LIFETIME as f64 - REFRESH;
                    allocation.habit = Habit::Gathers;
                    return true;
                }
                Habit::Talks | Habit::Gathers | Habit::Leaks
                    if allocation.ends_at < allocation.refresh_at =>
                {
                    self.release(place);
                }
                _ => {}
            }
            self.end(place);
            return false;
        }
        if now >= allocation.refresh_at
            && allocation.ends_at > allocation.refresh_at + LIFETIME as f64 - REFRESH
        {
            allocation.refresh_at = now + REFRESH;
            let payload = format!("refreshed lifetime={lifetime}, {}", allocation.path);
            self.tell_status(place, &payload);
        }
        true
    }

    fn report(&mut self, place: usize, all: bool) {
        let allocation = &mut self.allocations[place];
        let packets = allocation.unreported as u64;
        let packets = if all { packets / 4 } else { REPORT / 4 * (packets / REPORT) };
        allocation.unreported -= (packets * 4) as f64;
        let (payload, whole) = (packets * allocation.size, packets * (allocation.size + 4));
        let deltas = [(packets, whole), (packets, whole), (packets, payload), (packets, payload)];
        for (total, delta) in allocation.totals.iter_mut().zip(deltas) {
            *total = (total.0 + delta.0, total.1 + delta.1);
        }
        self.counters(place, "traffic", [deltas[0], deltas[1]]);
        self.counters(place, "traffic/peer", [deltas[2], deltas[3]]);
    }

    fn release(&mut self, place: usize) {
        let payload = format!("refreshed lifetime=0, {}", self.allocations[place].path);
        self.tell_status(place, &payload);
    }

    fn end(&mut self, place: usize) {
        let allocation = &self.allocations[place];
        let totals = allocation.totals;
        let key = channel(allocation, "status");
        let server = &mut self.servers[allocation.server];
        server.say(&[b"del", key.as_bytes(), b""]);
        server.say(&[b"publish", key.as_bytes(), b"deleted"]);
        self.counters(place, "total_traffic", [totals[0], totals[1]]);
        // 32 bits wide in coturn.
        let wrapped = |(packets, bytes): (u64, u64)| (packets % (1 << 32), bytes % (1 << 32));
        self.counters(place, "total_traffic/peer", [wrapped(totals[2]), wrapped(totals[3])]);
    }

    fn counters(&mut self, place: usize, kind: &str, [received, sent]: [(u64, u64); 2]) {
        let allocation = &self.allocations[place];
        let channel = channel(allocation, kind);
        let payload = format!("rcvp={}, rcvb={}, sentp={}, sentb={}", received.0, received.1, sent.0, sent.1);
        self.servers[allocation.server].say(&[b"publish", channel.as_bytes(), payload.as_bytes()]);
    }

    fn tell_status(&mut self, place: usize, payload: &str) {
        let allocation = &self.allocations[place];
        let key = channel(allocation, "status");
        let server = &mut self.servers[allocation.server];
        server.say(&[b"set", key.as_bytes(), payload.as_bytes()]);
        server.say(&[b"publish", key.as_bytes(), payload.as_bytes()]);
    }

    fn status(&mut self, allocation: &Allocation, payload: &str) {
        let key = channel(allocation, "status");
        let server = &mut self.servers[allocation.server];
        server.say(&[b"set", key.as_bytes(), payload.as_bytes()]);
        server.say(&[b"publish", key.as_bytes(), payload.as_bytes()]);
    }

    /// A server dies without a word, and is back at once.
    fn crash(&mut self, now: f64) {
        let dead = self.random.usize(..self.servers.len());
        println!("{now:.0} s: server {} crashes", self.servers[dead].address);
        self.allocations.retain(|allocation| allocation.server != dead);
        let server = &mut self.servers[dead];
        (server.stream, server.next_id) = (None, 1);
        server.out.clear();
        self.crash_at = now + self.options.crash * -(1.0 - self.random.f64()).ln();
    }

    fn send(&mut self) -> std::io::Result<()> {
        for server in &mut self.servers {
            server.send(&self.options.to)?;
        }
        Ok(())
    }
}

fn channel(allocation: &Allocation, kind: &str) -> String {
    let Allocation { realm, user, id, .. } = allocation;
    format!("turn/realm/{realm}/user/{user}/allocation/{id:018}/{kind}")
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    println!("{} calls on {} servers, into {}", options.calls, options.servers, options.to);
    let clock = SystemClock::new();
    let started = clock.now();
    let mut service = Service::new(options);
    let mut told_at = 0.0;
    loop {
        let passed = clock.now().since(started).as_secs_f64();
        let now = passed * service.options.speed;
        service.advance(now);
        if let Err(error) = service.send() {
            eprintln!("{}: {error}; is the exporter (or the Redis) there?", service.options.to);
            return ExitCode::FAILURE;
        }
        if now - told_at >= 60.0 * service.options.speed {
            told_at = now;
            println!("{now:.0} s: {} allocations", service.allocations.len());
        }
        if service.options.seconds.is_some_and(|seconds| passed >= seconds) {
            return ExitCode::SUCCESS;
        }
        sleep(Duration::from_millis(100));
    }
}
