//! Lives of allocations as coturn would tell them, on a time line of the test's own: seconds from the beginning.

use super::traffic::{Legs, Traffic};
use crate::common::net::statsdb::{Allocation, counters};

/// One message at its time.
#[derive(Clone, Debug)]
pub struct Told {
    pub at: f64,
    pub channel: String,
    pub payload: String,
}

/// How an allocation's story ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client asks for it.
    Released,
    /// The client falls silent, and coturn waits for the lifetime's end.
    Expired,
    /// The client's connection closes.
    Disconnected,
    /// coturn falls silent.
    Killed,
}

/// One allocation.
#[derive(Clone, Debug)]
pub struct Life {
    pub realm: &'static str,
    pub user: String,
    pub id: u64,
    pub server: &'static str,
    /// As the status says it.
    pub transport: &'static str,
    /// What coturn grants at each refresh, in seconds; the client refreshes a minute before.
    pub lifetime: u32,
    pub from: f64,
    pub until: f64,
    pub ending: Ending,
    /// Until when it relays, and how often it reports meanwhile, in seconds.
    pub relays_until: f64,
    pub report_every: f64,
}

impl Life {
    /// A call of a browser: granted ten minutes, 600 kbit/s, released.
    pub fn call(realm: &'static str, id: u64, from: f64, until: f64) -> Self {
        Self {
            realm,
            user: format!("{}:user{id}", 1_800_000_000 + id),
            id,
            server: "192.0.2.1:3478",
            transport: "UDP",
            lifetime: 600,
            from,
            until,
            ending: Ending::Released,
            relays_until: until,
            report_every: 22.0,
        }
    }

    /// The same until somebody stops using it; it is held on nevertheless.
    #[must_use]
    pub fn idle_from(mut self, at: f64) -> Self {
        self.relays_until = at;
        self
    }

    #[must_use]
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    #[must_use]
    pub fn on(mut self, server: &'static str) -> Self {
        self.server = server;
        self
    }

    #[must_use]
    pub fn granted(mut self, lifetime: u32) -> Self {
        self.lifetime = lifetime;
        self
    }

    #[must_use]
    pub fn over(mut self, transport: &'static str) -> Self {
        self.transport = transport;
        self
    }

    fn allocation(&self) -> Allocation {
        Allocation::new(self.realm, &self.user, self.id).of_server(self.server)
    }

    /// All that coturn publishes about it, in order.
    pub fn told(&self) -> Vec<Told> {
        let allocation = self.allocation();
        let mut told = Vec::new();
        let mut say = |at: f64, kind: &str, payload: String| {
            told.push(Told { at, channel: allocation.channel(kind), payload });
        };
        let status = |word, lifetime| {
            allocation.status(word, lifetime).replace("type=UDP", &format!("type={}", self.transport))
        };
        say(self.from, "status", status("new", self.lifetime));
        let mut granted = self.from;
        let every = f64::from(self.lifetime) - 60.0;
        while granted + every < self.until {
            granted += every;
            say(granted, "status", status("refreshed", self.lifetime));
        }
        let mut sum = Legs::default();
        let mut report = self.from + self.report_every;
        while report < self.relays_until {
            sum += REPORT;
            say(report, "traffic", counters(REPORT.client));
            say(report, "traffic/peer", counters(REPORT.peer));
            report += self.report_every;
        }
        let end = match self.ending {
            Ending::Released => {
                say(self.until, "status", status("refreshed", 0));
                self.until + 1.0
            }
            Ending::Expired => granted + f64::from(self.lifetime),
            Ending::Disconnected => self.until,
            Ending::Killed => return sorted(told),
        };
        // Who never relayed has sent nothing but requests.
        let rest = if self.relays_until > self.from { REST } else { REQUESTS };
        say(end, "traffic", counters(rest.client));
        say(end, "traffic/peer", counters(rest.peer));
        say(end, "status", "deleted".to_owned());
        sum += rest;
        say(end, "total_traffic", counters(sum.client));
        say(end, "total_traffic/peer", counters(sum.peer));
        sorted(told)
    }
}

/// In the order of time; what comes at one time stays as it is.
pub fn sorted(mut told: Vec<Told>) -> Vec<Told> {
    told.sort_by(|one, other| one.at.total_cmp(&other.at));
    told
}

const fn traffic(packets: u64, received: u64, sent: u64) -> Traffic {
    Traffic {
        received_packets: packets / 2,
        received_bytes: received,
        sent_packets: packets / 2,
        sent_bytes: sent,
    }
}

/// 4096 packets of video: what a publisher sends, and little comes back.
const REPORT: Legs =
    Legs { client: traffic(2048, 1_650_000, 90_000), peer: traffic(2048, 82_000, 1_640_000) };

/// Since the last report.
const REST: Legs = Legs { client: traffic(120, 9_000, 3_000), peer: traffic(100, 2_500, 8_000) };

/// An allocation, a permission, a release.
const REQUESTS: Legs = Legs { client: traffic(12, 1100, 900), peer: traffic(0, 0, 0) };
