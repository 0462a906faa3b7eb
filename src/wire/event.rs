//! The types of the stream: keys, status, traffic. Plain data that borrows from the message.

use std::fmt;

/// One published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Something happened to an allocation (or to a session that never got one).
    Allocation(Key<'a>, Event<'a>),
    /// `__XXX__`: coturn up to 4.6.1 with a user database keeps its connections open with it. Carries no information.
    Heartbeat,
}

/// Which allocation an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key<'a> {
    /// The realm; `None` when the channel has none (coturn's realm is the empty string then).
    pub realm: Option<&'a [u8]>,
    /// The user name, as the client sent it. Empty without authentication, and for clients that only use STUN.
    pub user: &'a [u8],
    /// coturn's id.
    pub id: AllocationId,
}

/// coturn's number for an allocation: thread * 10^15 + counter. Unique within one run of one server only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllocationId(pub u64);

impl fmt::Display for AllocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:018}", self.0)
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Status `new`: the allocation was made.
    New(Grant<'a>),
    /// Status `refreshed`: its lifetime starts again. Lifetime 0 asks for its end, or for the end of one of its two
    /// address families.
    Refreshed(Grant<'a>),
    /// Status `deleted`: it is over. Its totals follow.
    Deleted,
    /// `traffic` and `traffic/peer`: what passed since the report before.
    Traffic(Leg, Traffic),
    /// `total_traffic` and `total_traffic/peer`: what passed over the allocation's whole life. The peer leg's
    /// numbers are modulo 2^32 (32-bit fields in every coturn up to 4.17.1).
    Total(Leg, Traffic),
}

/// The kinds of message: values of the label `kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Status `new`.
    New,
    /// Status `refreshed`.
    Refreshed,
    /// Status `deleted`.
    Deleted,
    /// `traffic`.
    Traffic,
    /// `traffic/peer`.
    TrafficPeer,
    /// `total_traffic`.
    Total,
    /// `total_traffic/peer`.
    TotalPeer,
}

impl Kind {
    /// Every kind, in the order of its discriminant.
    pub const ALL: [Self; 7] = [
        Self::New,
        Self::Refreshed,
        Self::Deleted,
        Self::Traffic,
        Self::TrafficPeer,
        Self::Total,
        Self::TotalPeer,
    ];

    /// The label value: as in the channel, the status kinds by their first word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Refreshed => "refreshed",
            Self::Deleted => "deleted",
            Self::Traffic => "traffic",
            Self::TrafficPeer => "traffic/peer",
            Self::Total => "total_traffic",
            Self::TotalPeer => "total_traffic/peer",
        }
    }
}

impl Event<'_> {
    /// The kind of this event.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::New(_) => Kind::New,
            Self::Refreshed(_) => Kind::Refreshed,
            Self::Deleted => Kind::Deleted,
            Self::Traffic(Leg::Client, _) => Kind::Traffic,
            Self::Traffic(Leg::Peer, _) => Kind::TrafficPeer,
            Self::Total(Leg::Client, _) => Kind::Total,
            Self::Total(Leg::Peer, _) => Kind::TotalPeer,
        }
    }
}

/// The content of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant<'a> {
    /// Granted lifetime, in seconds from the moment of the status.
    pub lifetime: u32,
    /// Where the client is; `None` in the short form of coturn before 4.6.
    pub path: Option<Path<'a>>,
}

/// The client's connection to the server. The relay's address is never published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    /// How the client reaches the server.
    pub transport: Transport,
    /// The server's address and port, as coturn prints them: `192.0.2.7:3478`, `[::1]:3478`.
    pub local: &'a [u8],
    /// The client's address and port.
    pub remote: &'a [u8],
}

/// How the client reaches the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Plain UDP.
    Udp,
    /// Plain TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// DTLS over UDP.
    Dtls,
    /// SCTP, with or without TLS.
    Sctp,
    /// Something newer than this program, or coturn's own `UNKNOWN`.
    Other,
    /// Unknown: the short status form, or no status seen yet.
    #[default]
    Unknown,
}

impl Transport {
    /// Every transport, in the order of its discriminant.
    pub const ALL: [Self; 7] =
        [Self::Udp, Self::Tcp, Self::Tls, Self::Dtls, Self::Sctp, Self::Other, Self::Unknown];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Dtls => "dtls",
            Self::Sctp => "sctp",
            Self::Other => "other",
            Self::Unknown => "unknown",
        }
    }
}

/// The two sides of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leg {
    /// Between client and coturn: whole TURN messages, without UDP and IP headers.
    Client,
    /// Between the relay and the peers: payload.
    Peer,
}

impl Leg {
    /// Both legs, in the order of their discriminants.
    pub const ALL: [Self; 2] = [Self::Client, Self::Peer];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Peer => "peer",
        }
    }
}

/// Which way, as coturn sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// coturn got it.
    Received,
    /// coturn sent it.
    Sent,
}

impl Direction {
    /// Both directions, in the order of their discriminants.
    pub const ALL: [Self; 2] = [Self::Received, Self::Sent];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Sent => "sent",
        }
    }
}

/// A count of packets and of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Packets: TURN messages on the client leg, datagrams or reads on the peer leg.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Volume {
    /// Nothing at all.
    pub const ZERO: Self = Self { packets: 0, bytes: 0 };

    /// Adds; stays at the maximum instead of wrapping.
    pub const fn add(&mut self, more: Self) {
        self.packets = self.packets.saturating_add(more.packets);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }

    /// Neither packets nor bytes.
    pub const fn is_zero(self) -> bool {
        self.packets == 0 && self.bytes == 0
    }
}

/// One value for each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByDirection<T> {
    /// What coturn got.
    pub received: T,
    /// What coturn sent.
    pub sent: T,
}

impl<T: Copy> ByDirection<T> {
    /// The value of one direction.
    pub const fn get(&self, direction: Direction) -> T {
        match direction {
            Direction::Received => self.received,
            Direction::Sent => self.sent,
        }
    }
}

/// One report: what passed on a leg, each way.
pub type Traffic = ByDirection<Volume>;

impl Traffic {
    /// Nothing at all.
    pub const ZERO: Self = Self { received: Volume::ZERO, sent: Volume::ZERO };

    /// Adds, each direction to its own.
    pub const fn add(&mut self, more: &Self) {
        self.received.add(more.received);
        self.sent.add(more.sent);
    }

    /// Nothing in either direction.
    pub const fn is_zero(&self) -> bool {
        self.received.is_zero() && self.sent.is_zero()
    }

    /// Packets of both directions together.
    pub const fn packets(&self) -> u64 {
        self.received.packets.saturating_add(self.sent.packets)
    }

    /// Bytes of both directions together.
    pub const fn bytes(&self) -> u64 {
        self.received.bytes.saturating_add(self.sent.bytes)
    }
}
