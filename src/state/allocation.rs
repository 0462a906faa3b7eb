//! One allocation: what is known of it, and the rules that need no more than that.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::ages::{Aged, Links};
use super::carriers::Carrier;
use super::series::ByLeg;
use crate::clock::Timestamp;
use crate::wire::{AllocationId, Leg, Traffic, Transport};

/// The lifetime assumed where no status has told one: coturn's default for `max-allocate-lifetime`.
pub(super) const UNKNOWN_LIFETIME: Duration = Duration::from_secs(3600);

/// A `deleted` so shortly before the end of the lifetime is that end: coturn's timers and ours do not agree to the
/// second.
const EXPIRY_SLACK: Duration = Duration::from_secs(2);

/// How an allocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The client asked for the end.
    Released,
    /// The client vanished: the lifetime ran out.
    Expired,
    /// The client's connection closed, or it was killed or drained by the server.
    Disconnected,
    /// Its key came anew: the server restarted, or two servers share ids.
    Replaced,
    /// Overdue without a gap in the watch: its server died, or coturn lost the end.
    Abandoned,
    /// The watch had a part in it: how it ended cannot be told.
    Missed,
}

impl Cause {
    /// Every cause, in the order of its discriminant.
    pub const ALL: [Self; 6] =
        [Self::Released, Self::Expired, Self::Disconnected, Self::Replaced, Self::Abandoned, Self::Missed];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Disconnected => "disconnected",
            Self::Replaced => "replaced",
            Self::Abandoned => "abandoned",
            Self::Missed => "missed",
        }
    }

    /// coturn itself reported this end, so its moment is known.
    pub(super) const fn is_reported(self) -> bool {
        matches!(self, Self::Released | Self::Expired | Self::Disconnected)
    }
}

/// Where in its life an allocation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Counted.
    Live,
    /// Ended; its totals may still come.
    Closing,
    /// Past due without a word; its end is counted, its sums are kept.
    Overdue,
}

/// How an allocation came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By status `new`: its whole life is watched.
    Born,
    /// By another status, or by its key.
    Adopted,
    /// By traffic of its peer leg; no status yet.
    Traffic,
}

/// What a status says, kept in our own terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) lifetime: Duration,
    pub(super) transport: Transport,
    /// The server, by its number in the table.
    pub(super) server: u32,
    /// The server's port; with the server it tells two servers of one host apart.
    pub(super) server_port: u16,
    pub(super) client: Option<SocketAddr>,
    /// The status had the long form: coturn 4.6 or later, which reports both legs.
    pub(super) long_form: bool,
}

/// One report of a leg: the present rate follows from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// Both directions together.
    pub(super) bytes: u32,
    /// Since the report before.
    pub(super) millis: u32,
}

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own; a state machine of them has 32 states"
)]
pub(super) struct Allocation {
    /// Its number for ever; 0 where no store keeps it.
    pub(super) serial: u64,
    pub(super) id: AllocationId,
    pub(super) user: Arc<[u8]>,
    pub(super) realm: u32,
    pub(super) source: u32,
    /// The connection that it is told of over.
    pub(super) carrier: Carrier,
    pub(super) session: u32,
    pub(super) server: u32,
    pub(super) server_port: u16,
    pub(super) transport: Transport,
    pub(super) client: Option<SocketAddr>,

    /// Opening; of an adopted one the last status known at its adoption.
    pub(super) started: Timestamp,
    /// The last status that granted a lifetime.
    pub(super) granted_at: Timestamp,
    pub(super) lifetime: Duration,
    /// End of the lifetime, by the last grant or by later proof of life.
    pub(super) alive_until: Timestamp,
    /// Any event of it.
    pub(super) last_sign: Timestamp,
    /// Nothing was relayed since; the moment of adoption where nothing was seen at all.
    pub(super) quiet_since: Timestamp,
    pub(super) ended: Timestamp,
    /// When its key was read by us, which set the key's idle time to zero.
    pub(super) read_at: Timestamp,
    /// The last scan that found its key.
    pub(super) seen_in_scan: u32,
    /// The one entry in the deadlines that is this record's.
    pub(super) deadline: Timestamp,

    /// What was counted as relayed.
    pub(super) counted: ByLeg<Traffic>,
    /// What the last report told, and in how long it came together.
    pub(super) report: Report,
    /// Bytes of it that an earlier session has accounted for.
    pub(super) accounted_bytes: u64,

    pub(super) age: Links,
    /// Neighbours in its gathering, in a circle.
    pub(super) gathering: Links,
    /// What the gathering was joined by; the client may have moved since.
    pub(super) gathering_key: u64,

    pub(super) phase: Phase,
    pub(super) origin: Origin,
    /// Its last end.
    pub(super) cause: Option<Cause>,
    /// `counted` holds all that was ever told of it: what a total has beyond was told by nobody.
    pub(super) is_past_known: bool,
    /// coturn told its end: its key, met again, is another allocation's.
    pub(super) is_end_told: bool,
    /// A store has it with its final sums.
    pub(super) is_kept: bool,
    pub(super) settled: ByLeg<bool>,
    pub(super) long_form: bool,
    /// A report of the peer leg was seen: coturn 4.5.1.2 or later.
    pub(super) has_peer_leg: bool,
    pub(super) release_pending: bool,
    /// Its key told of another grant of the same lifetime, which may not have been one; `alive_until` is its end.
    pub(super) granted_perhaps: bool,
    /// Adopted from a key whose value was `new`: its birth may still be on the way.
    pub(super) scanned_birth: bool,
    pub(super) relayed: bool,
    pub(super) over_max_lifetime: bool,
    pub(super) idle: bool,
    /// Overdue and held against somebody: not one that was released without a word.
    pub(super) overdue_orphan: bool,
}

impl Aged for Allocation {
    fn started(&self) -> Timestamp {
        self.started
    }
    fn age_links(&mut self) -> &mut Links {
        &mut self.age
    }
}

impl Allocation {
    /// Takes over what a status says. Lifetime 0 is not among them: it grants nothing.
    pub(super) fn grant(&mut self, at: Timestamp, granted: &Granted) {
        self.granted_at = at;
        self.lifetime = granted.lifetime;
        self.alive_until = at.plus(granted.lifetime);
        self.release_pending = false;
        self.granted_perhaps = false;
    }

    /// A grant at that moment is possible, not certain.
    pub(super) fn grant_perhaps(&mut self, at: Timestamp) {
        self.alive_until = self.alive_until.max(at.plus(self.lifetime));
        self.granted_perhaps = true;
    }

    /// Takes over where the client is; a mobility move changes it.
    pub(super) fn locate(&mut self, granted: &Granted) {
        if granted.long_form {
            self.long_form = true;
            self.server = granted.server;
            self.server_port = granted.server_port;
            self.transport = granted.transport;
            self.client = granted.client.or(self.client);
        }
    }

    /// The birth that was read from the key before it was heard.
    pub(super) fn is_birth_of_scanned(&self, granted: &Granted) -> bool {
        self.scanned_birth
            && (self.lifetime, self.transport, self.long_form)
                == (granted.lifetime, granted.transport, granted.long_form)
            && (self.server, self.server_port) == (granted.server, granted.server_port)
            && self.client == granted.client
    }

    /// The status may be the one that made it. The short form does not say whose it is.
    pub(super) fn may_be_born_by(&self, granted: &Granted) -> bool {
        !(self.long_form && granted.long_form)
            || (self.transport, self.server, self.server_port, self.client)
                == (granted.transport, granted.server, granted.server_port, granted.client)
    }

    /// The status comes from another server than the one before, as far as is known.
    pub(super) fn is_of_other_server(&self, granted: &Granted) -> bool {
        self.long_form
            && granted.long_form
            && (self.server, self.server_port) != (granted.server, granted.server_port)
    }

    /// Traffic after the lifetime's end: a refresh was lost on the way. True if it was so.
    pub(super) fn prove_alive(&mut self, now: Timestamp) -> bool {
        let lost = now > self.alive_until;
        if lost {
            self.alive_until = now.plus(self.lifetime);
            self.granted_perhaps = false;
        }
        lost
    }

    /// How it ended, if `deleted` comes now and its end was still open.
    pub(super) fn cause_of_deleted(&self, now: Timestamp, grace: Duration) -> Cause {
        let heard = self.granted_at.plus(self.lifetime);
        let end = if self.granted_perhaps { self.alive_until } else { heard };
        let is_heard_end = now >= heard.minus(EXPIRY_SLACK) && now <= heard.plus(EXPIRY_SLACK);
        if self.origin == Origin::Traffic || now > end.plus(grace) {
            Cause::Missed
        } else if self.release_pending {
            Cause::Released
        } else if is_heard_end || now >= end.minus(EXPIRY_SLACK) {
            Cause::Expired
        } else {
            Cause::Disconnected
        }
    }

    /// The leg that says whether it relayed: the peer's, or the client's where coturn is older than 4.5.1.2 and has no
    /// other.
    pub(super) const fn deciding_leg(&self) -> &Traffic {
        if self.has_peer_leg || self.long_form { &self.counted.peer } else { &self.counted.client }
    }

    /// Keeps what a report of a live allocation told. Both legs report in the same moment, the client's first; what the
    /// peer's tells takes its place.
    pub(super) fn note_report(&mut self, now: Timestamp, leg: Leg, traffic: &Traffic) {
        const SAME_MOMENT: Duration = Duration::from_secs(1);
        let since = now.since(self.quiet_since);
        if leg == Leg::Client || since > SAME_MOMENT {
            self.report.millis = u32::try_from(since.as_millis()).unwrap_or(u32::MAX);
        }
        self.report.bytes = u32::try_from(traffic.bytes()).unwrap_or(u32::MAX);
    }

    /// Enough passed, and something came from a peer (by the client leg: went to the client).
    pub(super) fn has_relayed(&self, threshold: u64) -> bool {
        if self.has_peer_leg || self.long_form {
            self.counted.peer.packets() > threshold && self.counted.peer.received.packets > 0
        } else {
            self.counted.client.packets() > threshold && self.counted.client.sent.packets > 0
        }
    }

    /// No more totals are to come.
    pub(super) const fn is_settled(&self) -> bool {
        self.settled.client && self.settled.peer
    }

    pub(super) fn client_host(&self) -> Option<IpAddr> {
        self.client.map(|address| address.ip())
    }
}
