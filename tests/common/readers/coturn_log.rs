//! coturn's own log (with `verbose`), read as the account that the exporter's numbers have to agree with.
//!
//! ```text
//! 2: : session 001000000000000001: new, realm=<one.example>, username=<tcp>, lifetime=15
//! 2: : session 001000000000000001: refreshed, realm=<one.example>, username=<tcp>, lifetime=0
//! 2: : session 001000000000000001: usage: realm=<one.example>, username=<tcp>, rp=3, rb=292, sp=3, sb=300
//! 2: : session 001000000000000001: peer usage: realm=<one.example>, username=<tcp>, rp=0, rb=0, sp=0, sb=0
//! 2: : session 001000000000000001: closed (2nd stage), user <tcp> realm <...> ..., reason: allocation timeout
//! 2: : session 001000000000000001: delete: realm=<one.example>, username=<tcp>
//! ```
//!
//! The two `usage` lines are written by the function that publishes `traffic` and `traffic/peer`, with the same
//! numbers: increments, not sums. A session without `new` never held an allocation: a probe, a refused login, the
//! data connection of a TCP relay.

use std::collections::BTreeMap;
use std::fmt;

use crate::common::models::traffic::{Legs, Traffic};

/// All sessions by id.
#[derive(Clone, Debug, Default)]
pub struct CoturnLog {
    pub sessions: BTreeMap<u64, Session>,
}

/// What coturn says about one client connection.
#[derive(Clone, Debug, Default)]
pub struct Session {
    pub realm: String,
    pub user: String,
    /// `new` lines.
    pub opened: u64,
    /// `refreshed` lines with a lifetime.
    pub refreshed: u64,
    /// `refreshed` lines without one: the client gave the allocation back.
    pub released: u64,
    /// `delete` lines.
    pub deleted: u64,
    /// Pairs of `usage` lines, one per `traffic` message.
    pub reports: u64,
    pub reason: Option<String>,
    pub legs: Legs,
}

/// How an allocation ended, in the words of the exporter's `cause` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    Released,
    Expired,
    Disconnected,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Disconnected => "disconnected",
        })
    }
}

impl Session {
    pub fn has_allocation(&self) -> bool {
        self.opened > 0
    }

    pub fn is_live(&self) -> bool {
        self.opened > self.deleted
    }

    /// Why the allocation ended, as coturn tells it.
    pub fn cause(&self) -> Cause {
        match self.reason.as_deref() {
            // After a refresh to 0 coturn says "allocation timeout" a second later, or "closed by client" if the
            // client was faster.
            _ if self.released > 0 => Cause::Released,
            Some("allocation timeout") => Cause::Expired,
            Some(reason) if reason.starts_with("TCP connection closed by client") => Cause::Disconnected,
            // A client that was killed with bytes unread resets its connection.
            Some(reason) if reason.starts_with("TCP socket buffer operation error") => Cause::Disconnected,
            other => panic!("a reason not seen before: {other:?} in {self:?}"),
        }
    }
}

impl CoturnLog {
    pub fn parse(text: &str) -> Self {
        let mut log = Self::default();
        // The last line may be half written.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            log.line(line);
        }
        log
    }

    fn line(&mut self, line: &str) {
        let Some((_, rest)) = line.split_once(": session ") else { return };
        let Some((id, what)) = rest.split_once(": ") else { return };
        let Ok(id) = id.parse() else { return };
        let Some(event) = Event::parse(what) else { return };
        let session = self.sessions.entry(id).or_default();
        if let Event::Closed { reason } = event {
            session.reason = Some(reason.to_owned());
            return;
        }
        let Event::Published { realm, user, kind } = event else { return };
        realm.clone_into(&mut session.realm);
        user.clone_into(&mut session.user);
        match kind {
            Kind::New => session.opened += 1,
            Kind::Refreshed { lifetime: 0 } => session.released += 1,
            Kind::Refreshed { .. } => session.refreshed += 1,
            Kind::Usage(traffic) => {
                session.reports += 1;
                session.legs.client += traffic;
            }
            Kind::PeerUsage(traffic) => session.legs.peer += traffic,
            Kind::Delete => session.deleted += 1,
        }
    }

    /// Those that held an allocation.
    pub fn allocations(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().filter(|session| session.has_allocation())
    }

    /// Those that never did.
    pub fn unallocated(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().filter(|session| !session.has_allocation())
    }

    /// How many allocations are live.
    pub fn live(&self) -> u64 {
        self.allocations().filter(|session| session.is_live()).count() as u64
    }

    /// How many allocations were opened.
    pub fn opened(&self) -> u64 {
        self.allocations().map(|session| session.opened).sum()
    }

    /// How many reports of traffic the allocations made.
    pub fn reports(&self) -> u64 {
        self.allocations().map(|session| session.reports).sum()
    }

    /// Whether every session that began is over.
    pub fn all_ended(&self) -> bool {
        self.sessions.values().all(|session| session.reason.is_some() && !session.is_live())
    }

    /// How many allocations ended in each way.
    pub fn causes(&self) -> BTreeMap<Cause, u64> {
        let mut causes = BTreeMap::new();
        for session in self.allocations().filter(|session| !session.is_live()) {
            *causes.entry(session.cause()).or_default() += 1;
        }
        causes
    }

    /// What all allocations relayed.
    pub fn relayed(&self) -> Legs {
        sum(self.allocations())
    }
}

/// The legs of several sessions together.
pub fn sum<'a>(sessions: impl Iterator<Item = &'a Session>) -> Legs {
    let mut legs = Legs::default();
    for session in sessions {
        legs += session.legs;
    }
    legs
}

enum Event<'a> {
    Published { realm: &'a str, user: &'a str, kind: Kind },
    Closed { reason: &'a str },
}

enum Kind {
    New,
    Refreshed { lifetime: u64 },
    Usage(Traffic),
    PeerUsage(Traffic),
    Delete,
}

impl<'a> Event<'a> {
    fn parse(what: &'a str) -> Option<Self> {
        if what.starts_with("closed (2nd stage)") {
            return Some(Self::Closed { reason: what.split_once("reason: ")?.1 });
        }
        let (word, rest) = what.split_once("realm=<")?;
        let (realm, rest) = rest.split_once(">, username=<")?;
        let (user, rest) = rest.split_once('>')?;
        let values = rest.strip_prefix(", ").unwrap_or("");
        let kind = match word {
            "new, " => Kind::New,
            "refreshed, " => {
                Kind::Refreshed { lifetime: values.strip_prefix("lifetime=")?.parse().expect("a lifetime") }
            }
            "usage: " => Kind::Usage(Traffic::parse(values).expect("four counters")),
            "peer usage: " => Kind::PeerUsage(Traffic::parse(values).expect("four counters")),
            "delete: " => Kind::Delete,
            _ => return None,
        };
        Some(Self::Published { realm, user, kind })
    }
}
