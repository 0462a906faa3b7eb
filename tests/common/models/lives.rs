//! Lives of allocations without end, made up at random, and what they add up to: a stream for a soak and its model,
//! which only sums.

use std::io::Write as _;

use super::sums;
use super::traffic::{Legs, Traffic};
use crate::common::readers::page::Page;

const REALMS: usize = 8;

/// Rounds that an allocation relays for, at most.
const ROUNDS: u32 = 12;

/// A lifetime is refreshed after so many rounds at the latest.
const REFRESHED_AFTER: u32 = 6;

/// How an allocation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client asks for it.
    Released,
    /// `deleted` in the middle of a lifetime.
    Disconnected,
    /// `deleted` when a short lifetime, granted the round before, is over.
    Expired,
    /// `deleted` is lost, the totals are not.
    Untold,
    /// `new` for a key that lives: it goes on as another allocation.
    Replaced,
    /// Nothing more is heard of it.
    Abandoned,
}

impl End {
    /// Of those whose totals come, reports may be lost: the totals bring them back.
    const fn has_totals(self) -> bool {
        !matches!(self, Self::Replaced | Self::Abandoned)
    }

    const fn cause(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Disconnected => "disconnected",
            Self::Expired => "expired",
            Self::Untold => "missed",
            Self::Replaced => "replaced",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What is fixed for all lives.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Granted in seconds, and refreshed in time.
    pub lifetime: u32,
    /// What is granted at last to those that expire.
    pub last_lifetime: u32,
    /// How they end.
    pub ends: &'static [End],
}

/// What one realm has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sums {
    opened: u64,
    adopted: u64,
    refreshes: u64,
    closed: [u64; 6],
    relayed: Legs,
    recovered: Legs,
    unseen: Legs,
}

const CAUSES: [&str; 6] = ["released", "disconnected", "expired", "missed", "replaced", "abandoned"];

#[derive(Clone, Debug)]
struct Life {
    realm: usize,
    user: u64,
    id: u64,
    end: End,
    /// Rounds to come.
    rounds: u32,
    granted_rounds_ago: u32,
    /// All of it, reports that were lost included.
    relayed: Legs,
}

/// See the file's head.
#[derive(Debug)]
pub struct Lives {
    rules: Rules,
    random: fastrand::Rng,
    living: Vec<Life>,
    ids: u64,
    users: u64,
    realms: Vec<Sums>,
    unallocated: Traffic,
    events: u64,
    channel: Vec<u8>,
    payload: Vec<u8>,
}

/// Takes what is published: channel and payload.
pub trait Publish {
    fn publish(&mut self, channel: &[u8], payload: &[u8]);
}

impl Lives {
    pub fn new(rules: Rules, seed: u64) -> Self {
        Self {
            rules,
            random: fastrand::Rng::with_seed(seed),
            living: Vec::new(),
            ids: 0,
            users: 0,
            realms: vec![Sums::default(); REALMS],
            unallocated: Traffic::default(),
            events: 0,
            channel: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// Published so far.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// How many live.
    pub const fn living(&self) -> usize {
        self.living.len()
    }

    /// Allocations that have ended.
    pub fn ended(&self) -> u64 {
        self.realms.iter().flat_map(|realm| realm.closed).sum()
    }

    /// Packets of those who passed by.
    pub const fn unallocated_packets(&self) -> u64 {
        self.unallocated.received_packets + self.unallocated.sent_packets
    }

    /// A user comes, with up to three allocations.
    pub fn come(&mut self, out: &mut impl Publish) {
        self.users += 1;
        let realm = self.random.usize(..REALMS);
        for _ in 0..self.random.u32(1..=3) {
            self.ids += 1;
            let mut life = self.fresh(realm, self.users, self.ids);
            self.stray(&life, out);
            if self.random.u32(..32) == 0 {
                // A session that resumes reports before its status comes.
                let early = Legs { client: self.amount(), peer: Traffic::default() };
                self.realms[realm].relayed += early;
                life.relayed = early;
                self.counters(&life, "traffic", early.client, out);
            }
            self.status(&life, "new", self.rules.lifetime, out);
            self.realms[realm].opened += 1;
            self.living.push(life);
        }
    }

    /// The next event or two of an allocation; `false` if it is gone.
    pub fn go_on(&mut self, at: usize, out: &mut impl Publish) -> bool {
        let mut life = self.living[at].clone();
        if life.rounds == 0 {
            if !self.end(&mut life, out) {
                self.living.swap_remove(at);
                if self.living.is_empty() {
                    // Who looks at memory now wants to see the table's.
                    self.living = Vec::new();
                }
                return false;
            }
            self.living[at] = life;
            return true;
        }
        life.rounds -= 1;
        life.granted_rounds_ago += 1;
        self.report(&mut life, out);
        if life.rounds == 0 && life.end == End::Expired {
            self.refresh(&life, self.rules.last_lifetime, out);
        } else if life.granted_rounds_ago >= REFRESHED_AFTER || self.random.u32(..4) == 0 {
            self.refresh(&life, self.rules.lifetime, out);
            life.granted_rounds_ago = 0;
        }
        self.living[at] = life;
        true
    }

    /// A report or a refresh of an allocation, which nears its end by neither.
    pub fn relay_on(&mut self, at: usize, out: &mut impl Publish) {
        let mut life = self.living[at].clone();
        if self.random.u32(..4) == 0 {
            self.refresh(&life, self.rules.lifetime, out);
        } else {
            self.report(&mut life, out);
        }
        self.living[at] = life;
    }

    fn fresh(&mut self, realm: usize, user: u64, id: u64) -> Life {
        let ends = self.rules.ends;
        Life {
            realm,
            user,
            id,
            end: ends[self.random.usize(..ends.len())],
            rounds: self.random.u32(1..=ROUNDS),
            granted_rounds_ago: 0,
            relayed: Legs::default(),
        }
    }

    /// Now and then somebody passes by who gets no allocation, or one of which only the end is heard.
    fn stray(&mut self, beside: &Life, out: &mut impl Publish) {
        let chance = self.random.u32(..64);
        if chance > 1 {
            return;
        }
        self.ids += 1;
        let life = self.fresh(beside.realm, beside.user, self.ids);
        let amount = self.amount();
        if chance == 0 {
            self.counters(&life, "traffic", amount, out);
            self.unallocated += amount;
        } else {
            self.tell(&life, "status", b"deleted", out);
            self.counters(&life, "total_traffic", amount, out);
            self.counters(&life, "total_traffic/peer", turned(amount), out);
            let sums = &mut self.realms[life.realm];
            sums.adopted += 1;
            sums.closed[3] += 1;
            sums.unseen += Legs { client: amount, peer: turned(amount) };
        }
    }

    fn report(&mut self, life: &mut Life, out: &mut impl Publish) {
        let client = self.amount();
        let more = Legs { client, peer: turned(client) };
        life.relayed += more;
        self.realms[life.realm].relayed += more;
        if life.end.has_totals() && self.random.u32(..64) == 0 {
            // Lost on the way.
            self.realms[life.realm].recovered += more;
            return;
        }
        self.counters(life, "traffic", more.client, out);
        self.counters(life, "traffic/peer", more.peer, out);
    }

    fn refresh(&mut self, life: &Life, lifetime: u32, out: &mut impl Publish) {
        self.status(life, "refreshed", lifetime, out);
        self.realms[life.realm].refreshes += 1;
    }

    /// Whether something goes on under this key.
    fn end(&mut self, life: &mut Life, out: &mut impl Publish) -> bool {
        let cause = CAUSES.iter().position(|cause| *cause == life.end.cause()).expect("all causes");
        self.realms[life.realm].closed[cause] += 1;
        match life.end {
            End::Replaced => {
                *life = self.fresh(life.realm, life.user, life.id);
                // Without an address, as of coturn before 4.6: with one, an id that comes again would prove that its server
                // was restarted, and end all that lives there.
                let payload = format!("new lifetime={}", self.rules.lifetime);
                self.tell(life, "status", payload.as_bytes(), out);
                self.realms[life.realm].opened += 1;
                return true;
            }
            End::Abandoned => return false,
            End::Released => self.status(life, "refreshed", 0, out),
            End::Disconnected | End::Expired | End::Untold => {}
        }
        self.report(life, out);
        if life.end != End::Untold {
            self.tell(life, "status", b"deleted", out);
        }
        self.counters(life, "total_traffic", life.relayed.client, out);
        self.counters(life, "total_traffic/peer", wrapped(life.relayed.peer), out);
        false
    }

    /// What a report tells of the client leg: mostly some packets, at times none, seldom more than a total can hold.
    fn amount(&mut self) -> Traffic {
        let (most, size) = match self.random.u32(..256) {
            0 => (1_000_000, 1500),
            1..=15 => return Traffic::default(),
            _ => (4096, 1200),
        };
        let (received, sent) = (self.random.u64(1..=most), self.random.u64(1..=most));
        Traffic {
            received_packets: received,
            received_bytes: received * self.random.u64(60..=size),
            sent_packets: sent,
            sent_bytes: sent * self.random.u64(60..=size),
        }
    }

    fn status(&mut self, life: &Life, word: &str, lifetime: u32, out: &mut impl Publish) {
        let (server, host, port) = (life.id % 4, life.user % 250, 1024 + life.id % 60_000);
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        write!(
            payload,
            "{word} lifetime={lifetime}, type=UDP, local=192.0.2.{server}:3478, remote=198.51.100.{host}:{port}, \
             ssl=NONE, cipher=NONE"
        )
        .expect("memory takes it");
        self.tell(life, "status", &payload, out);
        self.payload = payload;
    }

    fn counters(&mut self, life: &Life, kind: &str, traffic: Traffic, out: &mut impl Publish) {
        let Traffic { received_packets, received_bytes, sent_packets, sent_bytes } = traffic;
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        write!(
            payload,
            "rcvp={received_packets}, rcvb={received_bytes}, sentp={sent_packets}, sentb={sent_bytes}"
        )
        .expect("memory takes it");
        self.tell(life, kind, &payload, out);
        self.payload = payload;
    }

    fn tell(&mut self, life: &Life, kind: &str, payload: &[u8], out: &mut impl Publish) {
        let Life { realm, user, id, .. } = life;
        self.channel.clear();
        write!(
            self.channel,
            "turn/realm/{realm}.example/user/1795343956:user{user:09}/allocation/{id:018}/{kind}"
        )
        .expect("memory takes it");
        out.publish(&self.channel, payload);
        self.events += 1;
    }

    /// That the page tells of each realm what the lives came to, to the byte; all have ended.
    #[track_caller]
    pub fn assert_told(&self, page: &Page) {
        for (realm, expected) in self.realms.iter().enumerate() {
            let realm = format!("{realm}.example");
            assert_eq!(&told(page, &realm), expected, "{realm}");
        }
        self.assert_over(page);
    }

    /// The same where so many refreshes at most, and any reports of lives that ended in sight, were published while nobody
    /// was there: the totals brought the reports back.
    #[track_caller]
    pub fn assert_told_but_for(&self, refreshes: u64, page: &Page) {
        let (mut published, mut seen) = (0, 0);
        for (realm, expected) in self.realms.iter().enumerate() {
            let realm = format!("{realm}.example");
            let told = told(page, &realm);
            sums::assert_between(expected.recovered, told.recovered, expected.relayed);
            published += expected.refreshes;
            seen += told.refreshes;
            let (refreshes, recovered) = (told.refreshes, told.recovered);
            assert_eq!(told, Sums { refreshes, recovered, ..expected.clone() }, "{realm}");
        }
        assert!((published.saturating_sub(refreshes)..=published).contains(&seen), "{seen} of {published}");
        self.assert_over(page);
    }

    #[track_caller]
    fn assert_over(&self, page: &Page) {
        assert!(self.living.is_empty(), "{} go on", self.living.len());
        let of = |unit: &str, direction: &str| {
            page.count(&format!("coturn_unallocated_{unit}_total"), &[("direction", direction)])
        };
        let unallocated = Traffic {
            received_packets: of("packets", "received"),
            received_bytes: of("bytes", "received"),
            sent_packets: of("packets", "sent"),
            sent_bytes: of("bytes", "sent"),
        };
        assert_eq!(unallocated, self.unallocated);
        assert_eq!(page.count("coturn_exporter_accounting_anomalies_total", &[]), 0);
        for gone in ["coturn_allocations", "coturn_sessions", "coturn_orphaned_allocations"] {
            assert_eq!(page.count(gone, &[]), 0, "{gone}");
        }
        let sessions = |what: &str| page.count(&format!("coturn_sessions_{what}_total"), &[]);
        assert_eq!(sessions("opened") + sessions("adopted"), sessions("closed"));
    }
}

fn told(page: &Page, realm: &str) -> Sums {
    let labels = [("realm", realm)];
    let of = |name: &str| page.count(name, &labels);
    Sums {
        opened: of("coturn_allocations_opened_total"),
        adopted: of("coturn_allocations_adopted_total"),
        refreshes: of("coturn_allocation_refreshes_total"),
        closed: CAUSES
            .map(|cause| page.count("coturn_allocations_closed_total", &[labels[0], ("cause", cause)])),
        relayed: sums::legs(page, realm, "relayed"),
        recovered: sums::legs(page, realm, "recovered"),
        unseen: sums::legs(page, realm, "unseen"),
    }
}

/// What the peer leg has when the client leg has this: a peer is sent what the client sends.
const fn turned(client: Traffic) -> Traffic {
    Traffic {
        received_packets: client.sent_packets,
        received_bytes: client.sent_bytes,
        sent_packets: client.received_packets,
        sent_bytes: client.received_bytes,
    }
}

/// As coturn totals the peer leg: in 32 bits.
const fn wrapped(total: Traffic) -> Traffic {
    const ALL: u64 = 1 << 32;
    Traffic {
        received_packets: total.received_packets % ALL,
        received_bytes: total.received_bytes % ALL,
        sent_packets: total.sent_packets % ALL,
        sent_bytes: total.sent_bytes % ALL,
    }
}
