//! The service as a whole: who calls, and what goes wrong.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::allocation::{Habit, REFRESH, SimulatedAllocation, millis};
use super::profile::Profile;
use super::server::Server;

/// Realms, the busiest first: of six calls three, two and one.
const REALMS: [&str; 6] = [
    "eu.example.org",
    "eu.example.org",
    "eu.example.org",
    "us.example.org",
    "us.example.org",
    "support.example.org",
];

/// Of ten clients seven use UDP.
const TRANSPORTS: [(&str, &str); 10] = {
    let udp = ("UDP", "ssl=NONE, cipher=NONE");
    [
        udp,
        udp,
        udp,
        udp,
        udp,
        udp,
        udp,
        ("TCP", "ssl=NONE, cipher=NONE"),
        ("TLS/TCP", "ssl=TLSv1.3, cipher=TLS_AES_256_GCM_SHA384"),
        ("DTLS", "ssl=DTLSv1.2, cipher=ECDHE-RSA-AES256-GCM-SHA384"),
    ]
};

/// How long a connection is cut.
const CUT: Duration = Duration::from_secs(120);

/// The first calls begin within so long.
const FIRST_CALLS: Duration = Duration::from_secs(30);

/// Something that an onlooker should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A server died without a word and is back: its connection closes.
    Crashed {
        /// Its place among the servers.
        server: usize,
        /// Its relay address.
        address: String,
    },
    /// What a server publishes does not arrive for a while.
    Cut {
        /// Its place among the servers.
        server: usize,
        /// Its relay address.
        address: String,
    },
}

/// A service and its clients.
#[derive(Debug)]
pub struct Service {
    profile: Profile,
    random: fastrand::Rng,
    servers: Vec<Server>,
    allocations: Vec<SimulatedAllocation>,
    /// Milliseconds at which somebody calls, soonest first.
    calls: BinaryHeap<Reverse<u64>>,
    now: u64,
    crash_at: u64,
    cut_at: u64,
    clients: u64,
}

impl Service {
    /// One that begins.
    pub fn new(profile: Profile) -> Self {
        let mut random = fastrand::Rng::with_seed(profile.seed);
        let threads = profile.threads();
        let servers = (0..profile.servers.max(1)).map(|number| Server::new(number, threads)).collect();
        let calls = (0..profile.calls).map(|_| Reverse(random.u64(..millis(FIRST_CALLS)))).collect();
        let first = |every: Duration| if every.is_zero() { u64::MAX } else { millis(every) };
        let (crash_at, cut_at) = (first(profile.crash_every), first(profile.cut_every));
        Self {
            profile,
            random,
            servers,
            allocations: Vec::new(),
            calls,
            now: 0,
            crash_at,
            cut_at,
            clients: 0,
        }
    }

    /// How many servers there are.
    pub const fn servers(&self) -> usize {
        self.servers.len()
    }

    /// Allocations that live.
    pub const fn live(&self) -> usize {
        self.allocations.len()
    }

    /// Those of them that nobody will close.
    pub fn leaks(&self) -> usize {
        self.allocations.iter().filter(|allocation| allocation.habit == Habit::Leaks).count()
    }

    /// Lets time come to `passed` of the clock since the start. What goes wrong is given; what the servers send is taken
    /// by [`Self::take`].
    pub fn advance(&mut self, passed: Duration) -> Vec<Happening> {
        self.now = millis(self.profile.service_time(passed)).max(self.now);
        while self.calls.peek().is_some_and(|next| next.0 <= self.now) {
            self.calls.pop();
            let free_at = self.call();
            self.calls.push(Reverse(free_at));
        }
        let mut happenings = Vec::new();
        if self.now >= self.crash_at {
            happenings.extend(self.crash());
        }
        if self.now >= self.cut_at {
            happenings.extend(self.cut());
        }
        let Self { profile, servers, allocations, now, .. } = self;
        allocations.retain_mut(|allocation| {
            servers.get_mut(allocation.server).is_some_and(|server| allocation.live_on(*now, profile, server))
        });
        happenings
    }

    /// What a server sends now, in the Redis protocol.
    pub fn take(&mut self, server: usize) -> Vec<u8> {
        let now = self.now;
        self.servers.get_mut(server).map(|server| server.take(now)).unwrap_or_default()
    }

    /// Somebody calls, and asks for one to three relays; gives when the next one may.
    fn call(&mut self) -> u64 {
        self.clients += 1;
        let leak_one_in = u64::from(self.profile.leak_one_in);
        let is_leak = leak_one_in > 0 && self.clients.is_multiple_of(leak_one_in);
        let length = if is_leak { millis(self.profile.leak_lasts) } else { self.length() };
        let user = format!("{}:user{}", 1_795_343_956 + self.now / 1000, self.random.u32(..100_000));
        let realm = self.random.choice(REALMS).unwrap_or("example.org");
        let (transport, cipher) = self.random.choice(TRANSPORTS).unwrap_or(("UDP", ""));
        let server = self.random.usize(..self.servers.len());
        let is_direct = self.random.u8(..3) == 0;
        let (rate, size) = if self.random.bool() { (220, 980) } else { (50, 172) };
        for relay in 0..self.random.usize(1..4) {
            let habit = match relay {
                _ if is_leak => Habit::Leaks,
                0 if !is_direct && self.random.u8(..8) == 0 => Habit::Vanishes,
                0 if !is_direct => Habit::Talks,
                _ => Habit::Gathers,
            };
            let client = format!("198.51.100.{}:{}", self.random.u8(1..), self.random.u16(1_024..));
            let Some(of) = self.servers.get_mut(server) else { continue };
            let allocation = SimulatedAllocation {
                server,
                key: format!("turn/realm/{realm}/user/{user}/allocation/{:018}", of.next_id()),
                path: format!("type={transport}, local={}, remote={client}, {cipher}", of.address),
                habit,
                ends_at: self.now + length,
                refresh_at: self.now + millis(REFRESH),
                rate,
                size,
                unreported: 0,
                totals: Default::default(),
                last: self.now,
            };
            allocation.open(&self.profile, of);
            self.allocations.push(allocation);
        }
        // Who leaks has left long ago, and somebody else calls.
        self.now + if is_leak { self.length() } else { length }
    }

    /// Most calls are short, some are very long.
    fn length(&mut self) -> u64 {
        let longer = if self.random.u8(..10) == 0 { 8 } else { 1 };
        20_000 + self.around(Duration::from_secs(240)) * longer
    }

    /// A random time with this mean.
    fn around(&mut self, mean: Duration) -> u64 {
        millis(mean.mul_f64(-(1.0 - self.random.f64()).ln()))
    }

    fn crash(&mut self) -> Option<Happening> {
        let number = self.random.usize(..self.servers.len());
        self.crash_at = self.now.saturating_add(self.around(self.profile.crash_every).max(1));
        self.allocations.retain(|allocation| allocation.server != number);
        let server = self.servers.get_mut(number)?;
        server.restart();
        Some(Happening::Crashed { server: number, address: server.address.clone() })
    }

    fn cut(&mut self) -> Option<Happening> {
        let number = self.random.usize(..self.servers.len());
        self.cut_at = self.now.saturating_add(self.around(self.profile.cut_every).max(1));
        let server = self.servers.get_mut(number)?;
        server.is_cut_until = self.now + millis(CUT);
        Some(Happening::Cut { server: number, address: server.address.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Discovery, Settings, SourceId, Table};
    use crate::wire::{Message, parse};

    fn profile() -> Profile {
        Profile { calls: 200, speed: 60.0, leak_one_in: 40, ..Profile::default() }
    }

    /// Channels and payloads of the PUBLISH commands.
    fn published(mut bytes: &[u8]) -> Vec<(String, String)> {
        let mut line = || {
            let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
            let (line, rest) = (&bytes[..end], &bytes[end + 2..]);
            bytes = rest;
            Some(String::from_utf8(line.to_vec()).unwrap())
        };
        let mut published = Vec::new();
        while let Some(head) = line() {
            let parts: usize = head.strip_prefix('*').unwrap().parse().unwrap();
            let parts: Vec<String> = (0..parts).map(|_| line().and_then(|_| line()).unwrap()).collect();
            if parts[0] == "publish" {
                published.push((parts[1].clone(), parts[2].clone()));
            }
        }
        published
    }

    /// Runs a service for so many seconds into a table; gives the table and what went wrong.
    fn watched(profile: Profile, seconds: u64) -> (Table, Service, Vec<Happening>) {
        let settings = Settings {
            max_lifetime: Duration::from_secs(60),
            idle_after: Duration::from_secs(30),
            grace: Duration::from_secs(2),
            ..Settings::default()
        };
        let mut table = Table::new(settings, &["one"]);
        table.link_up(crate::clock::Timestamp::ZERO, SourceId(0));
        let mut service = Service::new(profile);
        let mut happenings = Vec::new();
        for tenth in 0..seconds * 10 {
            let passed = Duration::from_millis(tenth * 100);
            happenings.extend(service.advance(passed));
            let now = crate::clock::Timestamp::ZERO.plus(Duration::from_secs(1000) + passed);
            for server in 0..service.servers() {
                for (channel, payload) in published(&service.take(server)) {
                    let Ok(Message::Allocation(key, event)) = parse(channel.as_bytes(), payload.as_bytes())
                    else {
                        panic!("{channel} {payload}")
                    };
                    table.apply(now, SourceId(0), &key, &event);
                }
            }
            table.received_until(SourceId(0), now);
            table.advance(now);
        }
        (table, service, happenings)
    }

    #[test]
    fn everything_it_publishes_is_understood_and_adds_up() {
        let quiet = Profile { crash_every: Duration::ZERO, ..profile() };
        let (table, service, happenings) = watched(quiet, 60);
        assert_eq!(happenings, []);
        let snapshot = table.snapshot();
        let live: u64 = snapshot.sources.iter().map(|source| source.live).sum();
        assert_eq!(live, service.live() as u64);
        let sum = |count: fn(&crate::state::RealmSeries) -> u64| -> u64 {
            snapshot.realms.iter().map(|realm| count(&realm.series)).sum()
        };
        assert!(sum(|realm| realm.closed.total()) > 100);
        assert!(sum(|realm| realm.relayed.peer.received.bytes) > 1_000_000);
        assert_eq!(sum(|realm| realm.unseen.peer.received.bytes), 0);
        assert_eq!(snapshot.realms.len(), 3);
    }

    #[test]
    fn pages_that_are_never_closed_are_found() {
        let (table, service, _) = watched(Profile { crash_every: Duration::ZERO, ..profile() }, 110);
        let idle: u64 = table.snapshot().realms.iter().map(|realm| realm.series.orphans.get(0)).sum();
        assert!(idle > 0 && idle <= service.leaks() as u64, "{idle} of {}", service.leaks());
    }

    #[test]
    fn servers_die_and_connections_are_cut() {
        let often = Duration::from_secs(600);
        let bad = Profile { crash_every: often, cut_every: often, ..profile() };
        let (_, _, happenings) = watched(bad, 60);
        let is = |kind: fn(&Happening) -> bool| happenings.iter().any(kind);
        assert!(is(|one| matches!(one, Happening::Crashed { .. })), "{happenings:?}");
        assert!(is(|one| matches!(one, Happening::Cut { .. })), "{happenings:?}");
    }

    /// Ids that begin anew prove a restart by wall time (90 s for a login), which the demo's clock does not compress.
    #[test]
    fn a_server_of_the_demo_that_is_back_is_not_taken_for_two() {
        let mut restarts = 0;
        for seed in 0..2 {
            let (mut table, ..) = watched(Profile { seed, ..Profile::of_demo(100, 120) }, 600);
            for found in table.take_discoveries() {
                assert!(!matches!(found, Discovery::AddressShared { .. }), "seed {seed}: {found:?}");
                restarts += u32::from(matches!(found, Discovery::ServerRestarted { .. }));
            }
        }
        assert!(restarts > 0, "no server died");
    }

    #[test]
    fn equal_seeds_are_equal_services() {
        let bytes = |seed: u64| {
            let mut service = Service::new(Profile { seed, ..profile() });
            service.advance(Duration::from_secs(5));
            service.take(0)
        };
        assert_eq!(bytes(3), bytes(3));
        assert_ne!(bytes(3), bytes(4));
    }
}
