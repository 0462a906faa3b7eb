//! All that the table is a function of: each input as a value, and how inputs stand in a recording.
//!
//! A recording is a row of inputs, each a byte that says what it is and what belongs to it; between them stands how much time
//! passed ([`Recorder`] writes it, [`Decoder`] reads it). Whoever changes how they stand, or what the table makes of them, raises
//! [`RULES_VERSION`](crate::state::RULES_VERSION).

mod address;
mod bytes;
mod decoder;
mod other;
mod parts;
mod recorder;

use std::net::IpAddr;
use std::time::Duration;

use super::model::connection::{ClosedBy, ProcessVerdict};
use super::model::ids::{Mark, RecordId, SourceId};
use super::model::key::SourceKey;
use super::model::settings::Settings;
use super::model::source_stats::{ForwardStats, StatusKeys};
use crate::clock::Timestamp;
use crate::wire::{Event, Leg, Rejection, Traffic};

pub(in crate::state) use bytes::Malformed;
pub(in crate::state) use decoder::{Decoder, Step};
pub(in crate::state) use parts::TextRoom;
pub(in crate::state) use recorder::Recorder;

/// Whose an event is.
#[derive(Clone, Copy, Debug)]
pub(in crate::state) enum KeyRef<'a> {
    /// That of the record at this place.
    Known(RecordId),
    /// This one.
    Full(SourceKey<'a>),
}

/// What came of a scan that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanOutcome {
    /// The keys that it found.
    pub keys: StatusKeys,
    /// Live allocations whose keys it did not find.
    pub absent: u64,
    /// Keys of live allocations may be missing from a db that is the right one.
    pub hides_db: bool,
    /// How long it took.
    pub duration: Duration,
}

/// One input of the table. The moment at which it comes stands beside it.
#[derive(Clone, Debug)]
pub(in crate::state) enum Input<'a> {
    /// Nothing but time.
    TimePasses,
    /// A report of the live allocation at this place.
    Report { at: RecordId, connection: Option<Mark>, leg: Leg, traffic: Traffic },
    /// Any event.
    Event { of: KeyRef<'a>, connection: Option<Mark>, event: Event<'a> },
    /// A message that was not understood.
    Rejected { source: SourceId, reason: Rejection },
    /// The source is subscribed and resynced.
    LinkUp { source: SourceId },
    /// The subscription is confirmed.
    Subscribed { source: SourceId },
    /// The subscription is lost.
    LinkLost { source: SourceId },
    /// All that was published up to that moment has been taken in.
    ReceivedUntil { source: SourceId, moment: Timestamp },
    /// The source is a listener, which refuses connections and commands for these reasons.
    Listens { source: SourceId, connections: Vec<&'a str>, commands: Vec<&'a str> },
    /// A scan of the status keys begins.
    ScanBegins { source: SourceId },
    /// The scan reads this Redis: its process, a blank, and the history of its data; and how long the process has run.
    ScanOf { source: SourceId, redis: &'a str, uptime: Option<Duration> },
    /// The scan proves nothing by a key that it does not find.
    ScanMayMissKeys { source: SourceId },
    /// A key was found.
    KeyChecked { of: KeyRef<'a>, idle: Option<Duration> },
    /// A key was read.
    KeyScanned { of: KeyRef<'a>, event: Event<'a>, idle: Option<Duration> },
    /// A part of the records was judged after a scan.
    Swept { source: SourceId, from: u32 },
    /// The scan came to its end.
    ScanSucceeded { source: SourceId, outcome: ScanOutcome },
    /// The scan failed.
    ScanFailed { source: SourceId },
    /// The settings of the source's Redis.
    RedisSettings { source: SourceId, settings: Vec<(&'a str, bool)> },
    /// A connection is open.
    ConnectionOpened { source: SourceId, peer: IpAddr },
    /// Bytes came over it.
    ConnectionActive { connection: Mark },
    /// It said what a coturn says when its process starts.
    ProcessStarted { connection: Mark },
    /// It was lost, or closed by us.
    ConnectionInterrupted { source: SourceId, connection: Mark },
    /// It is gone.
    ConnectionClosed { connection: Mark, by: ClosedBy },
    /// Its end was judged.
    ConnectionJudged { connection: Mark },
    /// A part of the records was looked at for what these connections reported.
    EndReportedBy { ended: Vec<(Mark, ProcessVerdict)>, from: u32 },
    /// The listener closed a connection, or did not take it.
    ConnectionRefused { source: SourceId, reason: &'a str },
    /// The listener refused a command.
    CommandRefused { source: SourceId, reason: &'a str },
    /// Clients of the listener.
    Callers { source: SourceId, refused_clients: u64, coturn_seen: bool },
    /// How forwarding goes.
    Forwarded { source: SourceId, state: Option<ForwardStats> },
    /// What the process came to so far.
    ProcessCounted { dropped_log_lines: u64, http_refusals: Vec<(&'a str, u64)> },
    /// The ledger has all outputs up to this number.
    LedgerWritten { up_to: u64 },
    /// Another process goes on with the table.
    Restarted,
    /// The settings in force, and the names of the sources that are watched.
    SettingsAdopted { settings: Settings, sources: Vec<&'a str> },
}
