//! One allocation: what is known of it, and the rules that need no more than that.

use std::net::SocketAddr;
use std::time::Duration;

use super::ids::{Mark, Membership, OfAllocation, RealmId, ServerId, SourceId};
use super::sums::Sums;
use crate::clock::Timestamp;
use crate::state::storage::addresses::PackedAddress;
use crate::state::storage::age_list::{Aged, Links};
use crate::state::storage::interner::NameId;
use crate::state::storage::packed::{PackedTime, Seconds, Serial};
use crate::wire::{AllocationId, Leg, Traffic, Transport};

/// The lifetime assumed where no status has one: coturn's default for `max-allocate-lifetime`.
pub(crate) const UNKNOWN_LIFETIME: Duration = Duration::from_secs(3600);

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
    /// It fell into a gap in the stream: how it ended is not known.
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
    const fn is_reported(self) -> bool {
        matches!(self, Self::Released | Self::Expired | Self::Disconnected)
    }

    /// An end that coturn reported of an allocation whose birth was witnessed: its duration is true.
    pub(in crate::state) fn is_whole(self, origin: Origin) -> bool {
        self.is_reported() && origin == Origin::Born
    }
}

/// Where in its life an allocation is; of a session, whether it is open. The one life cycle: of records, rows and the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Counted as live.
    Live,
    /// Past due without a word; its end is counted, its sums stay. No session is overdue: its last allocation's end was its
    /// own.
    Overdue,
    /// Its server's process ended or was restarted, and it with it, whatever was granted; its end is counted, its sums stay.
    Gone,
    /// Ended; its totals may still come.
    Closing,
}

impl Phase {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Live, Self::Overdue, Self::Gone, Self::Closing];

    /// Its name in a query, in a row and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Overdue => "overdue",
            Self::Gone => "gone",
            Self::Closing => "closing",
        }
    }
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

impl Origin {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Born, Self::Adopted, Self::Traffic];

    /// Its name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Born => "born",
            Self::Adopted => "adopted",
            Self::Traffic => "traffic",
        }
    }
}

/// What a status says, kept in our own terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) lifetime: Duration,
    pub(crate) transport: Transport,
    /// The server, by its number in the table.
    pub(crate) server: ServerId,
    /// The server's port; with the server it tells two servers of one host apart.
    pub(crate) server_port: u16,
    pub(crate) client: Option<SocketAddr>,
    /// The status had the long form: coturn 4.6 or later, which reports both legs.
    pub(crate) long_form: bool,
}

/// A yes or no of an allocation. Its place in the list is its bit in images: a new one goes to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// Its sums hold all that was ever reported of it: what a total has beyond was exported by nobody.
    PastKnown,
    /// coturn reported its end: its key, met again, is another allocation's.
    EndReported,
    /// A store has it with its final sums.
    Stored,
    /// The total of the client leg has come.
    ClientSettled,
    /// The total of the peer leg has come.
    PeerSettled,
    /// The status had the long form: coturn 4.6 or later, which reports both legs.
    LongForm,
    /// A report of the peer leg was seen: coturn 4.5.1.2 or later.
    PeerLeg,
    /// `refreshed lifetime=0` was its last status.
    ReleasePending,
    /// Its key shows another grant of the same lifetime, which may not have been one; `alive_until` is its end.
    GrantedPerhaps,
    /// Adopted from a key whose value was `new`: its birth may still be on the way.
    ScannedBirth,
    /// It relayed enough to count as used.
    Relayed,
    /// Older than the largest grant.
    OverMaxLifetime,
    /// Held without use.
    Idle,
    /// Overdue and an orphan: not one that was released without a word.
    OverdueOrphan,
    /// It has ended once, and lives again.
    Revived,
    /// The session that it is alone in was not watched from its beginning.
    SessionPartial,
}

impl Flag {
    /// The total of a leg has come.
    pub(in crate::state) const fn settled(leg: Leg) -> Self {
        match leg {
            Leg::Client => Self::ClientSettled,
            Leg::Peer => Self::PeerSettled,
        }
    }
}

/// The flags that are set, a bit each.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(u16);

/// The last flag has a bit.
const _: () = assert!((Flag::SessionPartial as u32) < u16::BITS);

impl Flags {
    /// Those of the list.
    pub fn of(flags: &[Flag]) -> Self {
        flags.iter().fold(Self::default(), |set, &flag| set.with(flag, true))
    }

    /// Whether the flag is set.
    pub const fn has(self, flag: Flag) -> bool {
        self.0 & 1 << flag as u16 != 0
    }

    /// The bits, for an image: their places are those of the flags for ever.
    pub(in crate::state) const fn bits(self) -> u32 {
        self.0 as u32
    }

    /// What [`Self::bits`] gave; a later exporter's flags are dropped.
    pub(in crate::state) fn of_bits(bits: u32) -> Self {
        Self(u16::try_from(bits & u32::from(u16::MAX)).unwrap_or_default())
    }

    /// These with the flag set or not.
    #[must_use]
    pub const fn with(self, flag: Flag, is_set: bool) -> Self {
        let bit = 1 << flag as u16;
        Self(if is_set { self.0 | bit } else { self.0 & !bit })
    }

    /// The leg that decides whether an allocation relayed, and how much: the peer's, or the client's where coturn is older
    /// than 4.5.1.2 and reports no other. The one definition.
    // docs/semantics.md#the-deciding-leg
    pub const fn deciding_leg(self) -> Leg {
        if self.has(Flag::PeerLeg) || self.has(Flag::LongForm) { Leg::Peer } else { Leg::Client }
    }
}

impl std::fmt::Debug for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#b}", self.0)
    }
}

/// A record. There may be a million: what it holds is held in small forms.
#[derive(Clone, Debug)]
pub(crate) struct Allocation {
    /// Its number for ever.
    pub(crate) serial: Serial,
    pub(crate) id: AllocationId,
    /// What was counted as relayed.
    pub(crate) counted: Sums,
    /// Where the client is, or where that is held; see `storage::addresses`.
    pub(crate) client: PackedAddress,
    pub(crate) user: NameId,
    pub(crate) realm: RealmId,
    /// The connection that reports it; of a Redis the last scan that found its key.
    pub(crate) mark: Option<Mark>,
    pub(crate) session: Membership,
    pub(crate) server: ServerId,
    /// What was granted last.
    pub(crate) lifetime: Seconds,

    pub(crate) age: Links<OfAllocation>,
    /// Neighbours in its gathering, in a circle.
    pub(crate) gathering: Links<OfAllocation>,

    pub(crate) source: u16,
    pub(crate) server_port: u16,
    pub(crate) flags: Flags,

    /// Opening; of an adopted one the last status known at its adoption.
    pub(crate) started: PackedTime,
    /// The last status that granted a lifetime.
    pub(crate) granted_at: PackedTime,
    /// End of the lifetime, by the last grant or by later proof of life.
    pub(crate) alive_until: PackedTime,
    /// Any event of it.
    pub(crate) last_sign: PackedTime,
    /// Nothing was relayed since; the moment of adoption where nothing was seen at all.
    pub(crate) quiet_since: PackedTime,
    /// When its key was read by us, which set the key's idle time to zero.
    pub(crate) read_at: PackedTime,
    /// The one entry in the deadlines that is this record's.
    pub(crate) deadline: PackedTime,

    pub(crate) transport: Transport,
    pub(crate) phase: Phase,
    pub(crate) origin: Origin,
    /// Its last end.
    pub(crate) cause: Option<Cause>,
}

impl Aged for Allocation {
    type Of = OfAllocation;

    fn started(&self) -> Timestamp {
        self.started.get()
    }
    fn age_links(&mut self) -> &mut Links<OfAllocation> {
        &mut self.age
    }
}

/// Whose it is: its key as a record holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedKey {
    pub(crate) source: u16,
    pub(crate) realm: RealmId,
    pub(crate) user: NameId,
    pub(crate) id: AllocationId,
}

impl Allocation {
    /// Something of its beginning, its middle and its end: it lies on three lines of the cache, or four.
    pub(crate) fn glimpse(&self) -> u64 {
        // Of the sums the tag is enough.
        let begins = u64::from(self.counted.is_large());
        begins ^ u64::from(self.realm.place()) ^ self.last_sign.get().as_millis() ^ self.phase as u64
    }

    /// One of which nothing is known but what a status said at `started`, met `now`. It is in no session yet.
    pub(crate) fn new(
        PackedKey { source, realm, user, id }: PackedKey,
        origin: Origin,
        granted: &Granted,
        started: Timestamp,
        now: Timestamp,
    ) -> Self {
        Self {
            serial: 0.into(),
            id,
            counted: Sums::ZERO,
            client: PackedAddress::NONE,
            user,
            realm,
            mark: None,
            session: Membership::NONE,
            server: granted.server,
            lifetime: granted.lifetime.into(),
            age: Links::ALONE,
            gathering: Links::ALONE,
            source,
            server_port: granted.server_port,
            flags: Flags::default().with(Flag::LongForm, granted.long_form),
            started: started.into(),
            granted_at: started.into(),
            alive_until: started.plus(granted.lifetime).into(),
            last_sign: started.into(),
            quiet_since: now.into(),
            read_at: PackedTime::ZERO,
            deadline: PackedTime::MAX,
            transport: granted.transport,
            phase: Phase::Live,
            origin,
            cause: None,
        }
    }

    pub(crate) const fn is(&self, flag: Flag) -> bool {
        self.flags.has(flag)
    }

    pub(crate) const fn set(&mut self, flag: Flag, is_set: bool) {
        self.flags = self.flags.with(flag, is_set);
    }

    /// Clears the flag; whether it was set.
    pub(crate) const fn take(&mut self, flag: Flag) -> bool {
        let was_set = self.is(flag);
        self.set(flag, false);
        was_set
    }

    /// The source it was met on.
    pub(crate) const fn source(&self) -> SourceId {
        SourceId(self.source as u32)
    }

    /// Takes over what a status says. Lifetime 0 is not among them: it grants nothing.
    pub(crate) fn grant(&mut self, at: Timestamp, granted: &Granted) {
        self.granted_at = at.into();
        self.lifetime = granted.lifetime.into();
        self.alive_until = at.plus(granted.lifetime).into();
        self.set(Flag::ReleasePending, false);
        self.set(Flag::GrantedPerhaps, false);
    }

    /// One that was known by its traffic only has a status now, and is like any other from here on.
    pub(crate) fn meet_status(&mut self) {
        if self.origin == Origin::Traffic {
            self.origin = Origin::Adopted;
        }
    }

    /// A grant at that moment is possible, not certain.
    pub(crate) fn grant_perhaps(&mut self, at: Timestamp) {
        self.alive_until = self.alive_until.get().max(at.plus(self.lifetime.get())).into();
        self.set(Flag::GrantedPerhaps, true);
    }

    /// Takes over which server speaks, and how the client reaches it.
    pub(crate) fn locate(&mut self, granted: &Granted) {
        if granted.long_form {
            self.set(Flag::LongForm, true);
            self.server = granted.server;
            self.server_port = granted.server_port;
            self.transport = granted.transport;
        }
    }

    /// The birth that was read from the key before its event came.
    // docs/semantics.md#events-win-over-the-scan
    pub(crate) fn is_birth_of_scanned(&self, client: Option<SocketAddr>, granted: &Granted) -> bool {
        self.is(Flag::ScannedBirth)
            && (self.lifetime.get(), self.transport, self.is(Flag::LongForm))
                == (granted.lifetime, granted.transport, granted.long_form)
            && (self.server, self.server_port) == (granted.server, granted.server_port)
            && client == granted.client
    }

    /// The status may be the one that made it. The short form does not say whose it is.
    pub(crate) fn may_be_born_by(&self, client: Option<SocketAddr>, granted: &Granted) -> bool {
        !(self.is(Flag::LongForm) && granted.long_form)
            || (self.transport, self.server, self.server_port, client)
                == (granted.transport, granted.server, granted.server_port, granted.client)
    }

    /// The status comes from another server than the one before, as far as is known.
    pub(crate) fn is_of_other_server(&self, granted: &Granted) -> bool {
        self.is(Flag::LongForm)
            && granted.long_form
            && (self.server, self.server_port) != (granted.server, granted.server_port)
    }

    /// Traffic after the end of the last status' lifetime: a refresh was lost on the way, and each report says anew that
    /// one was. True if it was so.
    // docs/semantics.md#due
    pub(crate) fn prove_alive(&mut self, now: Timestamp) -> bool {
        let lost = now > self.granted_until();
        if lost {
            self.alive_until = now.plus(self.lifetime.get()).into();
            self.set(Flag::GrantedPerhaps, false);
        }
        lost
    }

    /// The end of the lifetime by the last status, proof of life by traffic left aside.
    fn granted_until(&self) -> Timestamp {
        if self.is(Flag::GrantedPerhaps) {
            self.alive_until.get()
        } else {
            self.granted_at.get().plus(self.lifetime.get())
        }
    }

    /// How it ended, if `deleted` comes now and its end was still open.
    // docs/semantics.md#ends
    pub(crate) fn cause_of_deleted(&self, now: Timestamp, grace: Duration) -> Cause {
        let last_known = self.granted_at.get().plus(self.lifetime.get());
        let end = self.granted_until();
        let is_known_end = now >= last_known.minus(EXPIRY_SLACK) && now <= last_known.plus(EXPIRY_SLACK);
        if self.origin == Origin::Traffic || now > end.plus(grace) {
            Cause::Missed
        } else if self.is(Flag::ReleasePending) {
            Cause::Released
        } else if is_known_end || now >= end.minus(EXPIRY_SLACK) {
            Cause::Expired
        } else {
            Cause::Disconnected
        }
    }

    /// What passed on the leg that decides.
    pub(crate) fn decisive_traffic(&self) -> Traffic {
        self.counted.get(self.flags.deciding_leg())
    }

    /// An event of it came.
    pub(crate) fn note_sign(&mut self, now: Timestamp) {
        self.last_sign = now.into();
        self.set(Flag::ScannedBirth, false);
    }

    /// It reported traffic; gives since when it was quiet before.
    pub(crate) fn note_traffic(&mut self, now: Timestamp) -> Timestamp {
        std::mem::replace(&mut self.quiet_since, now.into()).get()
    }

    /// Whether it counts as relaying from now on, and did not before.
    pub(crate) fn begin_relaying(&mut self, threshold: u64) -> bool {
        let begins = !self.is(Flag::Relayed) && self.has_relayed(threshold);
        if begins {
            self.set(Flag::Relayed, true);
        }
        begins
    }

    /// Enough passed, and something came from a peer (by the client leg: went to the client).
    // docs/semantics.md#relayed-allocations
    pub(crate) fn has_relayed(&self, threshold: u64) -> bool {
        let sum = self.decisive_traffic();
        let to_client = if self.has_peer() { sum.received } else { sum.sent };
        sum.packets() > threshold && to_client.packets > 0
    }

    /// Its coturn reports the peer leg.
    pub(crate) const fn has_peer(&self) -> bool {
        matches!(self.flags.deciding_leg(), Leg::Peer)
    }

    /// No more totals are to come.
    pub(crate) const fn is_settled(&self) -> bool {
        self.is(Flag::ClientSettled) && self.is(Flag::PeerSettled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a place in the table costs. Let it grow only for something that is worth a megabyte in a million.
    #[test]
    fn a_record_stays_small() {
        assert_eq!(size_of::<Option<Allocation>>(), 152);
    }
}
