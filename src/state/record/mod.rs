//! What a store keeps of an allocation and of a session: the one description, which taking, writing, reading and restoring
//! go through.
//!
//! A new fact of an allocation needs an edit in each of these, all of them in this file: the field of [`AllocationRecord`],
//! [`AllocationRecord::of`] (out of the table), [`AllocationRecord::put_into`] (back into it), [`AllocationRecord::columns`]
//! and [`AllocationRecord::from_columns`] (to and from the file); and a column in the migrations of `store::schema`. A yes or
//! no needs a line in [`STORED_FLAGS`] only. Moments are of the table's clock; a store moves [`ColumnValue::Time`] onto the wall
//! clock.

pub(in crate::state) mod events;

use super::model::ids::RecordId;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::model::allocation::{Allocation, Cause, Flag, Flags, Origin, Phase};
use super::model::ids::SourceId;
use super::model::realms::Realms;
use super::model::records::Records;
use super::model::servers::Servers;
use super::model::session::Session;
use super::model::sessions::Sessions;
use crate::clock::Timestamp;
use crate::state::image::reader::{ImageReader, Unreadable};
use crate::state::image::writer::ImageWriter;
use crate::state::image::{Persist, persist};
use crate::wire::{AllocationId, ByLeg, Traffic, Transport, Volume};
use events::session_serial;

/// The flags that a store keeps. The place of each is its bit in the column `facts`, for ever: add at the end.
const STORED_FLAGS: [Flag; 9] = [
    Flag::PastKnown,
    Flag::LongForm,
    Flag::PeerLeg,
    Flag::ReleasePending,
    Flag::GrantedPerhaps,
    Flag::Relayed,
    Flag::Idle,
    Flag::OverdueOrphan,
    Flag::EndReported,
];

/// What a store calls an allocation of which nothing more will come.
const FINAL: &str = "ended";

/// One allocation, as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocationRecord {
    /// Its number for ever; no other allocation of the store has had it.
    pub serial: u64,
    /// The number of its session; `None` where that is settled without it.
    pub session: Option<u64>,
    /// The source it was met on. The file has its name instead, which is for the store to write.
    pub source: SourceId,
    /// Its realm; empty where coturn has none.
    pub realm: Arc<[u8]>,
    /// Its user.
    pub user: Arc<[u8]>,
    /// coturn's number for it.
    pub id: AllocationId,
    /// Where in its life it is; one whose process ended is stored as overdue.
    pub phase: Phase,
    /// Nothing more will come of it.
    pub is_final: bool,
    /// How it came to be known.
    pub origin: Origin,
    /// How it ended, if it did.
    pub cause: Option<Cause>,
    /// The flags that a store keeps; others are not among them.
    pub flags: Flags,
    /// The server's label: its host.
    pub server: Arc<str>,
    /// The server's port.
    pub server_port: u16,
    /// How the client reaches the server.
    pub transport: Transport,
    /// Where the client is.
    pub client: Option<SocketAddr>,
    /// Opening, or the first that was known of it.
    pub started: Timestamp,
    /// The last status that granted a lifetime.
    pub granted_at: Timestamp,
    /// That lifetime.
    pub lifetime: Duration,
    /// End of the lifetime, by the last grant or by later proof of life.
    pub alive_until: Timestamp,
    /// Any event of it.
    pub last_sign: Timestamp,
    /// Nothing was relayed since.
    pub quiet_since: Timestamp,
    /// Its end; [`Timestamp::ZERO`] while it never ended.
    pub ended: Timestamp,
    /// When its key was read by us; [`Timestamp::ZERO`] if never.
    pub read_at: Timestamp,
    /// What was counted as relayed.
    pub sums: ByLeg<Traffic>,
}

persist! {
    AllocationRecord {
        serial, session, source, realm, user, id, phase, is_final, origin, cause, flags, server, server_port, transport,
        client, started, granted_at, lifetime, alive_until, last_sign, quiet_since, ended, read_at, sums
    }
}

impl Persist for Flags {
    fn write(&self, to: &mut ImageWriter<'_>) {
        self.bits().write(to);
    }

    fn read(from: &mut ImageReader<'_>) -> Result<Self, Unreadable> {
        Persist::read(from).map(Self::of_bits)
    }
}

impl AllocationRecord {
    /// It was watched from its birth to an end that coturn reported.
    pub fn is_whole(&self) -> bool {
        self.cause.is_some_and(|cause| cause.is_whole(self.origin))
    }

    /// The record at `at` as it is now.
    pub(in crate::state) fn of(
        at: RecordId,
        is_final: bool,
        records: &Records,
        (realms, servers, sessions): (&Realms, &Servers, &Sessions),
    ) -> Self {
        let allocation = &records[at];
        let stored = STORED_FLAGS.into_iter().filter(|&flag| allocation.is(flag));
        let flags = stored.fold(Flags::default(), |flags, flag| flags.with(flag, true));
        let is_replaced = allocation.cause == Some(Cause::Replaced);
        Self {
            serial: allocation.serial.get(),
            session: session_serial(allocation, sessions),
            source: allocation.source(),
            realm: realms.shared_name(allocation.realm),
            user: records.users.get(allocation.user).into(),
            id: allocation.id,
            phase: if allocation.phase == Phase::Gone { Phase::Overdue } else { allocation.phase },
            is_final,
            origin: allocation.origin,
            cause: allocation.cause,
            flags: if is_replaced { flags.with(Flag::EndReported, true) } else { flags },
            server: servers.label(allocation.server),
            server_port: allocation.server_port,
            transport: allocation.transport,
            client: records.client(allocation),
            started: allocation.started.get(),
            granted_at: allocation.granted_at.get(),
            lifetime: allocation.lifetime.get(),
            alive_until: allocation.alive_until.get(),
            last_sign: allocation.last_sign.get(),
            quiet_since: allocation.quiet_since.get(),
            ended: records.ended_at(at),
            read_at: allocation.read_at.get(),
            sums: allocation.counted.both(),
        }
    }

    /// Gives a new record of the table what was kept, beyond what it is opened with (its key, its server, its client and
    /// its lifetime). No moment may lie ahead of `now`: a clock that was ahead must not keep it for years.
    pub(in crate::state) fn put_into(&self, allocation: &mut Allocation, now: Timestamp) {
        let past = |moment: Timestamp| moment.min(now).into();
        allocation.serial = self.serial.into();
        allocation.granted_at = past(self.granted_at);
        allocation.alive_until = self.alive_until.min(now.plus(allocation.lifetime.get())).into();
        allocation.last_sign = past(self.last_sign);
        allocation.quiet_since = past(self.quiet_since);
        allocation.read_at = past(self.read_at);
        allocation.counted = self.sums.into();
        allocation.phase = self.phase;
        allocation.cause = self.cause;
        for flag in STORED_FLAGS {
            allocation.set(flag, self.flags.has(flag));
        }
        // Whoever counts orphans sets these again.
        allocation.set(Flag::Idle, false);
        allocation
            .set(Flag::OverdueOrphan, self.phase == Phase::Overdue && self.flags.has(Flag::OverdueOrphan));
    }

    /// A record as a file has kept it; of no source in particular.
    ///
    /// # Errors
    ///
    /// Whatever `column` gives, and `wrong` of a column whose value nobody has written.
    pub fn from_columns<E>(
        column: impl Fn(&'static str) -> Result<ColumnValue<'static>, E>,
        wrong: impl Fn(&'static str) -> E,
    ) -> Result<Self, E> {
        let integer = |name| column(name)?.integer().ok_or_else(|| wrong(name));
        let time = |name| Ok(Timestamp::from_millis(u64::try_from(integer(name)?).unwrap_or(0)));
        let text = |name| column(name)?.text().ok_or_else(|| wrong(name));
        let blob = |name| column(name)?.blob().ok_or_else(|| wrong(name));
        let stage = text("stage")?;
        let is_final = *stage == *FINAL;
        let cause = column("cause")?.text();
        Ok(Self {
            serial: integer("serial")?.cast_unsigned(),
            session: column("session")?.integer().map(i64::cast_unsigned),
            source: SourceId(u32::MAX),
            realm: blob("realm")?.into(),
            user: blob("user")?.into(),
            id: AllocationId(integer("id")?.cast_unsigned()),
            phase: if is_final { Some(Phase::Closing) } else { of_word(&Phase::ALL, Phase::as_str, &stage) }
                .ok_or_else(|| wrong("stage"))?,
            is_final,
            origin: of_word(&Origin::ALL, Origin::as_str, &text("origin")?).ok_or_else(|| wrong("origin"))?,
            cause: match cause {
                None => None,
                Some(cause) => {
                    Some(of_word(&Cause::ALL, Cause::as_str, &cause).ok_or_else(|| wrong("cause"))?)
                }
            },
            flags: flags_of_bits(integer("facts")?),
            server: text("server")?.into(),
            server_port: integer("server_port")?.try_into().map_err(|_| wrong("server_port"))?,
            transport: of_word(&Transport::ALL, Transport::as_str, &text("transport")?)
                .ok_or_else(|| wrong("transport"))?,
            client: column("client")?.text().and_then(|text| text.parse().ok()),
            started: time("started")?,
            granted_at: time("granted_at")?,
            lifetime: Duration::from_millis(integer("lifetime")?.try_into().unwrap_or(0)),
            alive_until: time("alive_until")?,
            last_sign: time("last_sign")?,
            quiet_since: time("quiet_since")?,
            ended: time("ended")?,
            read_at: time("read_at")?,
            sums: sums_of_bytes(&blob("sums")?).ok_or_else(|| wrong("sums"))?,
        })
    }
}

/// A value of a file's column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnValue<'a> {
    /// Nothing.
    Null,
    /// A number; of a moment, its milliseconds.
    Integer(i64),
    /// A word.
    Text(Cow<'a, str>),
    /// Bytes.
    Blob(Cow<'a, [u8]>),
}

impl ColumnValue<'_> {
    const fn integer(&self) -> Option<i64> {
        if let Self::Integer(number) = self { Some(*number) } else { None }
    }

    fn text(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text.into_owned()) } else { None }
    }

    fn blob(self) -> Option<Vec<u8>> {
        if let Self::Blob(bytes) = self { Some(bytes.into_owned()) } else { None }
    }
}

/// The bit of the column `facts` that says that coturn has reported the end.
#[cfg(test)]
const END_REPORTED_BIT: i64 = 1 << 8;

/// The column `facts`.
#[cfg(test)]
fn stored_bits(flags: Flags) -> i64 {
    (0..).zip(STORED_FLAGS).map(|(place, flag)| i64::from(flags.has(flag)) << place).sum()
}

fn flags_of_bits(bits: i64) -> Flags {
    let set = (0..).zip(STORED_FLAGS).filter(|(place, _)| bits >> place & 1 == 1);
    set.fold(Flags::default(), |flags, (_, flag)| flags.with(flag, true))
}

fn of_word<T: Copy>(all: &[T], word: impl Fn(T) -> &'static str, wanted: &str) -> Option<T> {
    all.iter().copied().find(|&one| word(one) == wanted)
}

/// The eight numbers of an allocation: client leg, then peer leg; received, then sent; bytes, then packets.
pub fn sums_to_numbers(sums: &ByLeg<Traffic>) -> [u64; 8] {
    let [a, b] = [sums.client.received, sums.client.sent];
    let [c, d] = [sums.peer.received, sums.peer.sent];
    [a.bytes, a.packets, b.bytes, b.packets, c.bytes, c.packets, d.bytes, d.packets]
}

/// The eight numbers in 8 bytes each, little end first.
pub fn sums_to_bytes(sums: &ByLeg<Traffic>) -> Vec<u8> {
    sums_to_numbers(sums).iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// What [`sums_to_bytes`] has written; `None` for bytes of another length.
pub fn sums_of_bytes(bytes: &[u8]) -> Option<ByLeg<Traffic>> {
    let mut numbers =
        bytes.chunks_exact(8).filter_map(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
    let mut volume = || Some(Volume { bytes: numbers.next()?, packets: numbers.next()? });
    let mut traffic = || Some(Traffic { received: volume()?, sent: volume()? });
    (bytes.len() == 64).then_some(())?;
    Some(ByLeg { client: traffic()?, peer: traffic()? })
}

/// One session, as a store keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its number for ever.
    pub serial: u64,
    /// First opening.
    pub started: Timestamp,
    /// Last end.
    pub ended: Timestamp,
    /// First opening and last end of its allocations that relayed; `None` if none did.
    pub relay: Option<(Timestamp, Timestamp)>,
    /// Its allocations; while it is open, those that have ended.
    pub allocations: u32,
    /// What these relayed, by the leg that decides.
    pub relayed_bytes: u64,
    /// Not watched from its first opening to its last end.
    pub is_partial: bool,
}

persist! { SessionRecord { serial, started, ended, relay, allocations, relayed_bytes, is_partial } }

impl SessionRecord {
    pub(in crate::state) const fn of(session: &Session) -> Self {
        Self {
            serial: session.serial,
            started: session.started,
            ended: session.ended,
            relay: session.relay.get(),
            allocations: session.allocations,
            relayed_bytes: session.bytes,
            is_partial: session.partial,
        }
    }
}

impl Session {
    /// Adds what its allocations that ended in an earlier process came to.
    pub(in crate::state) fn add_ended(&mut self, saved: &SessionRecord) {
        self.ended = self.ended.max(saved.ended);
        self.bytes = self.bytes.saturating_add(saved.relayed_bytes);
        self.allocations = self.allocations.saturating_add(saved.allocations);
        self.partial |= saved.is_partial;
        if let Some((first, last)) = saved.relay {
            self.extend_relay(first, last);
        }
    }
}

/// An allocation as a store has kept it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedAllocation {
    /// The record.
    pub record: AllocationRecord,
    /// What scrapers have been answered of its sums; never more than these.
    pub exported: ByLeg<Traffic>,
    /// Bytes of its deciding leg that an earlier session has accounted for.
    pub accounted_bytes: u64,
}

/// A source that was watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedSource {
    /// Its place in the list of sources.
    pub source: SourceId,
    /// Since when the store knows it.
    pub since: Timestamp,
    /// How far it had been received.
    pub received_until: Timestamp,
}

/// All that a store has kept, its moments on the clock of the present process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedTable {
    /// Allocations that had not ended, and those that had but of which not all was exported.
    pub allocations: Vec<SavedAllocation>,
    /// Sessions that were not over: the sums of their allocations that had ended.
    pub sessions: Vec<SessionRecord>,
    /// Sources that were watched.
    pub sources: Vec<SavedSource>,
    /// Labels of realms that were on the page, the latest first: they begin at 0 again, so that the reset is seen as one.
    pub realms: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_come_back_as_they_were() {
        let volume = |bytes| Volume { bytes, packets: bytes / 7 };
        let all = ByLeg {
            client: Traffic { received: volume(1), sent: volume(1 << 40) },
            peer: Traffic { received: volume(u64::MAX), sent: volume(9) },
        };
        assert_eq!(sums_of_bytes(&sums_to_bytes(&all)), Some(all));
        assert_eq!(sums_of_bytes(&sums_to_bytes(&all)[1..]), None);
        assert_eq!(sums_of_bytes(&[]), None);
    }

    /// Older files have these bits.
    #[test]
    fn flags_have_the_bits_that_they_always_had() {
        assert_eq!(stored_bits(Flags::of(&[Flag::PastKnown, Flag::GrantedPerhaps])), 0b1_0001);
        assert_eq!(stored_bits(Flags::of(&[Flag::EndReported])), END_REPORTED_BIT);
        for bits in 0..1 << STORED_FLAGS.len() {
            assert_eq!(stored_bits(flags_of_bits(bits)), bits);
        }
    }
}
