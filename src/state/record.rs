//! What a store is told of the table: records that changed, records that ended, sessions that are over.
//!
//! Noted while the table works, taken when the store wants it. Nothing is noted until [`Table::keep_changes`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::state::model::allocation::{Cause, Origin};
use crate::state::model::ids::SourceId;
use crate::wire::{AllocationId, ByLeg, Traffic, Transport};

/// Where in its life an allocation is, for a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Counted among the living.
    Live,
    /// Ended; its totals may still come.
    Closing,
    /// Past due without a word.
    Overdue,
    /// Nothing more will come.
    Ended,
}

/// One allocation, as a store keeps it. Moments are of the table's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the facts of an allocation, each of its own")]
pub struct AllocationRecord {
    /// Its number for ever; no other allocation of the store has had it.
    pub serial: u64,
    /// The number of its session; `None` where that is settled without it.
    pub session: Option<u64>,
    /// The source it was met on.
    pub source: SourceId,
    /// Its realm; empty where coturn has none.
    pub realm: Arc<[u8]>,
    /// Its user.
    pub user: Arc<[u8]>,
    /// coturn's number for it.
    pub id: AllocationId,
    /// Where it is.
    pub stage: Stage,
    /// How it came to be known.
    pub origin: Origin,
    /// How it ended, if it did.
    pub cause: Option<Cause>,
    /// Its sums hold all that was ever told of it.
    pub is_past_known: bool,
    /// coturn told its end; met again, its key is another allocation's.
    pub is_end_told: bool,
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
    /// A status of the long form was seen.
    pub long_form: bool,
    /// The peer leg was reported.
    pub has_peer_leg: bool,
    /// `refreshed lifetime=0` was the last status.
    pub release_pending: bool,
    /// `alive_until` is a grant's that is possible, not certain.
    pub granted_perhaps: bool,
    /// It relayed enough to count as used.
    pub relayed: bool,
    /// Held without use.
    pub idle: bool,
    /// Overdue and held against somebody.
    pub overdue_orphan: bool,
    /// What was counted as relayed.
    pub sums: ByLeg<Traffic>,
}

impl AllocationRecord {
    /// It was watched from its birth to an end that coturn reported.
    pub fn is_whole(&self) -> bool {
        self.cause.is_some_and(|cause| cause.is_whole(self.origin))
    }

    /// Bytes of the leg that says what it relayed.
    pub const fn relayed_bytes(&self) -> u64 {
        if self.has_peer_leg || self.long_form { self.sums.peer.bytes() } else { self.sums.client.bytes() }
    }
}

/// A session of which nothing more will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concluded {
    /// Its number for ever.
    pub serial: u64,
    /// First opening.
    pub started: Timestamp,
    /// Last end.
    pub ended: Timestamp,
    /// First opening and last end of its allocations that relayed; `None` if none did.
    pub relay: Option<(Timestamp, Timestamp)>,
    /// Its allocations.
    pub allocations: u32,
    /// Not watched from its first opening to its last end.
    pub is_partial: bool,
}

/// Allocations and sessions of which nothing more will come, in the order of their ends.
#[derive(Debug, Default)]
pub struct EndedRecords {
    /// The allocations.
    pub allocations: Vec<AllocationRecord>,
    /// The sessions; each allocation of theirs has been given before, or is among the above.
    pub sessions: Vec<Concluded>,
    /// Allocations and sessions that are left out because nobody took the others for too long.
    pub lost: usize,
}

/// An allocation as it was kept, and what had been told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedAllocation {
    /// The record.
    pub kept: AllocationRecord,
    /// What scrapers had been told of its sums; never more than these.
    pub told: ByLeg<Traffic>,
    /// Bytes of its deciding leg that an earlier session has accounted for.
    pub accounted_bytes: u64,
}

/// What was kept of a session that was not over: the sums of its allocations that had ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedSession {
    /// Its number for ever.
    pub serial: u64,
    /// First opening.
    pub started: Timestamp,
    /// Last end.
    pub ended: Timestamp,
    /// First opening and last end of those that relayed.
    pub relay: Option<(Timestamp, Timestamp)>,
    /// How many they were.
    pub allocations: u32,
    /// What they relayed, by the leg that decides.
    pub relayed_bytes: u64,
    /// Not all of it was watched.
    pub is_partial: bool,
}

/// A source that was watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedSource {
    /// Its place in the list of sources.
    pub source: SourceId,
    /// Since when the store knows it.
    pub since: Timestamp,
    /// How far it had been heard.
    pub heard: Timestamp,
}

/// All that a store has kept, its moments on the clock of the present process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedTable {
    /// Allocations that had not ended, and those that had but of which not all was told.
    pub allocations: Vec<SavedAllocation>,
    /// Sessions that were not over.
    pub sessions: Vec<SavedSession>,
    /// Sources that were watched.
    pub sources: Vec<SavedSource>,
    /// Labels of realms that were told of, the latest first: they begin at 0 again, so that the reset is seen as one.
    pub realms: Vec<String>,
}
