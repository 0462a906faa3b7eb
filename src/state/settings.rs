//! What the table is told by its operator. Plain values: nothing here is read, parsed or checked (see `config`).

use std::time::Duration;

/// Whose allocations form one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SessionBy {
    /// All allocations of one user of one realm: right where each client has a user name of its own.
    #[default]
    User,
    /// All allocations of one user and one client host: for a static user that clients share.
    Client,
}

/// How the table judges ages, ends and sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long after its granted lifetime an allocation may stay silent before it is overdue.
    pub grace: Duration,
    /// coturn's `max-allocate-lifetime`: the longest grant, and the age past which idling is suspicious.
    pub max_lifetime: Duration,
    /// How long no allocation of a gathering may have relayed anything before the old ones are idle orphans.
    pub idle_after: Duration,
    /// Cap of the table, in allocations; what comes beyond is refused and counted.
    pub max_allocations: usize,
    /// Whose allocations form one session.
    pub session_by: SessionBy,
    /// How long a session waits for another allocation after its last one has ended.
    pub linger: Duration,
    /// An allocation has relayed once *more* than this many packets crossed it.
    pub relayed_packets: u64,
    /// How many realms get series of their own; the others are folded into one.
    pub max_realms: usize,
    /// How many servers get series of their own; the others are folded into one.
    pub max_servers: usize,
    /// Realms whose series exist from the start, as coturn writes them (bytes).
    pub realms: Vec<Vec<u8>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(90),
            max_lifetime: Duration::from_secs(3600),
            idle_after: Duration::from_secs(30 * 60),
            max_allocations: 1_000_000,
            session_by: SessionBy::User,
            linger: Duration::ZERO,
            relayed_packets: 50,
            max_realms: 100,
            max_servers: 100,
            realms: Vec::new(),
        }
    }
}
