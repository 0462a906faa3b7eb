//! The table that an input begins with, under one of many settings.

use std::time::Duration;

use crate::state::{SessionBy, Settings, Table};

/// The secret of the table of each input.
const SECRET: [u64; 2] = [7, 11];

/// The names of its sources.
const SOURCES: [&str; 2] = ["redis", "listener"];

/// An empty table under the settings that a byte decides.
pub(super) fn fresh(decider: u8) -> Table {
    let mut table = Table::new(settings(decider), &SOURCES).with_key_secret(SECRET);
    table.begin_store(1, 1);
    table
}

/// The settings that a byte decides.
pub(super) fn settings(decider: u8) -> Settings {
    let one_of = |bit: u8, off: u64, on: u64| if decider >> bit & 1 == 1 { on } else { off };
    let small = |bit: u8, off: usize, on: usize| if decider >> bit & 1 == 1 { on } else { off };
    Settings {
        linger: Duration::from_secs(one_of(0, 0, 30)),
        session_by: if decider & 2 == 0 { SessionBy::User } else { SessionBy::Client },
        max_lifetime: Duration::from_secs(one_of(2, 3600, 60)),
        idle_after: Duration::from_secs(one_of(3, 1800, 100)),
        max_allocations: small(4, 100, 3),
        max_realms: small(5, 5, 1),
        max_servers: small(6, 3, 1),
        realms: if decider >> 7 == 0 { Vec::new() } else { vec![b"wanted".to_vec()] },
        are_rates_kept: decider & 1 == 1,
        ..Settings::default()
    }
}
