//! What a store tells others of a session that begins, and of an allocation that became an orphan.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::state::image::{persist, persist_words};
use crate::state::model::allocation::Allocation;
use crate::state::model::ids::{RecordId, SourceId};
use crate::state::model::realms::Realms;
use crate::state::model::records::Records;
use crate::state::model::series::Orphan;
use crate::state::model::servers::Servers;
use crate::state::model::sessions::Sessions;
use crate::wire::{AllocationId, Transport};

/// An allocation by name: who holds it, on which server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocationNames {
    /// The number of its session; 0 where it has none.
    pub session: u64,
    /// coturn's number for it.
    pub id: AllocationId,
    /// The source it was met on.
    pub source: SourceId,
    /// Its realm; empty where coturn has none.
    pub realm: Arc<[u8]>,
    /// Its user.
    pub user: Arc<[u8]>,
    /// The server's label: its host.
    pub server: Arc<str>,
    /// How the client reaches the server.
    pub transport: Transport,
    /// Where the client is.
    pub client: Option<SocketAddr>,
    /// Opening, or the first that was known of it.
    pub started: Timestamp,
}

/// A session began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedSession {
    /// Its first allocation.
    pub first: AllocationNames,
    /// It was met in the middle of its life.
    pub is_adopted: bool,
}

/// An allocation became an orphan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrphanedAllocation {
    /// The allocation.
    pub allocation: AllocationNames,
    /// Why.
    pub reason: Orphan,
    /// When that was seen.
    pub since: Timestamp,
}

persist! { AllocationNames { session, id, source, realm, user, server, transport, client, started } }
persist! { OpenedSession { first, is_adopted } }
persist! { OrphanedAllocation { allocation, reason, since } }
persist_words! { Orphan { Idle = 0, Overdue = 1 } }

impl AllocationNames {
    /// The record at `at` as it is now.
    pub(in crate::state) fn of(
        at: RecordId,
        records: &Records,
        (realms, servers, sessions): (&Realms, &Servers, &Sessions),
    ) -> Self {
        let allocation = &records[at];
        Self {
            session: session_serial(allocation, sessions).unwrap_or(0),
            id: allocation.id,
            source: allocation.source(),
            realm: realms.shared_name(allocation.realm),
            user: records.users.get(allocation.user).into(),
            server: servers.label(allocation.server),
            transport: allocation.transport,
            client: records.client(allocation),
            started: allocation.started.get(),
        }
    }
}

/// The number of the session that an allocation is in.
pub(in crate::state) fn session_serial(allocation: &Allocation, sessions: &Sessions) -> Option<u64> {
    match allocation.session.session() {
        None if allocation.is_alone() => Some(allocation.serial.get()),
        session => session.map(|session| sessions[session].serial),
    }
}
