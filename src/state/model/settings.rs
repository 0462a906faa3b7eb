//! What an operator may set about the table. Plain values; no parsing, no defaults of the command line's own.

use std::time::Duration;

use crate::state::image::{persist, persist_words};
use crate::wire::turn_rest;

/// Which allocations belong to one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionBy {
    /// All allocations of one user: right where each client has a name or a credential of its own.
    #[default]
    User,
    /// All allocations of one user from one client host: for a static user that all clients share.
    Client,
}

/// No grant is believed beyond this, unless the setting says more. coturn's own default for the largest is an hour.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How the table judges and what it may grow to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long after the end of its lifetime an allocation may still report its end. coturn delays ends by up to
    /// 60 s where mobility is on.
    pub grace: Duration,
    /// coturn's `max-allocate-lifetime`: the largest single grant. Older allocations are well if they relay.
    pub max_lifetime: Duration,
    /// An allocation past `max_lifetime` whose gathering has not relayed for so long is an orphan.
    pub idle_after: Duration,
    /// Which allocations belong to one session.
    pub session_by: SessionBy,
    /// How long a session waits for another allocation after its last one has ended.
    pub linger: Duration,
    /// An allocation relayed if more packets than this passed on its peer leg.
    pub relayed_packets: u64,
    /// coturn's `rest-api-separator`: what stands between the moment and the user id in a TURN REST name.
    pub rest_separator: u8,
    /// The table's cap: allocations beyond it are refused and counted.
    pub max_allocations: usize,
    /// Realms with series of their own; the others share the realm `_other`.
    pub max_realms: usize,
    /// Servers with series of their own; the others share the server `_other`.
    pub max_servers: usize,
    /// Realms whose series exist from the start.
    pub realms: Vec<Vec<u8>>,
    /// Whether somebody may ask for the present rate of an allocation: eight bytes of each are spent on it.
    pub are_rates_kept: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(90),
            max_lifetime: Duration::from_secs(3600),
            idle_after: Duration::from_secs(30 * 60),
            session_by: SessionBy::User,
            linger: Duration::ZERO,
            relayed_packets: 50,
            rest_separator: turn_rest::DEFAULT_SEPARATOR,
            max_allocations: 1_000_000,
            max_realms: 100,
            max_servers: 100,
            realms: Vec::new(),
            are_rates_kept: false,
        }
    }
}

impl Settings {
    /// The longest that a live allocation goes without a status: the largest grant and the grace. A status key that has been
    /// idle for longer is stale.
    pub const fn longest_silence(&self) -> Duration {
        self.max_lifetime.saturating_add(self.grace)
    }

    /// The longest lifetime that is believed.
    pub(in crate::state) fn longest_lifetime(&self) -> Duration {
        self.max_lifetime.max(LONGEST)
    }
}

persist_words! { SessionBy { User = 0, Client = 1 } }

persist! {
    Settings {
        grace, max_lifetime, idle_after, session_by, linger, relayed_packets, rest_separator, max_allocations, max_realms,
        max_servers, realms, are_rates_kept
    }
}
