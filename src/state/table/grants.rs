//! Lifetimes that are granted, and how far they are believed.
//!
//! coturn grants up to its `max-allocate-lifetime`. A longer grant than [`Settings::max_lifetime`] most likely means that
//! the setting is not coturn's, so it is believed, counted and reported. But whoever may publish may claim anything up to
//! 136 years, and a record that is not due for so long would keep its place in the table: no grant is believed beyond a
//! day.

use std::time::Duration;

use super::Table;
use crate::clock::Timestamp;
use crate::state::model::allocation::Granted;
use crate::state::model::discovery::Discovery;
use crate::state::model::ids::SourceId;
use crate::state::model::key::address;
use crate::state::model::long_lifetime::LongLifetime;
use crate::wire::Grant;

/// Long grants of one source are one episode until there was none for so long.
const EPISODE: Duration = Duration::from_secs(24 * 3600);

impl Table {
    /// A status in our own terms; meets its server.
    pub(super) fn read_status(&mut self, source: SourceId, grant: &Grant<'_>) -> Granted {
        let path = grant.path;
        let local = path.map_or(&[][..], |path| path.local);
        let server = self.servers.meet(self.now, &self.key_ids, source, local);
        let server_port = address(local).map_or(0, |address| address.port());
        if path.is_some() {
            self.connections.note_server(server, server_port);
        }
        Granted {
            lifetime: self.believed_lifetime(source, grant.lifetime),
            transport: path.map_or_else(Default::default, |path| path.transport),
            server,
            server_port,
            client: path.and_then(|path| address(path.remote)),
            long_form: path.is_some(),
        }
    }

    /// The lifetime that a status of the source grants, as far as it is believed.
    // docs/semantics.md#granted-lifetimes
    pub(super) fn believed_lifetime(&mut self, source: SourceId, seconds: u32) -> Duration {
        let granted = Duration::from_secs(u64::from(seconds));
        if granted <= self.settings.max_lifetime {
            return granted;
        }
        let longest = self.settings.longest_lifetime();
        let outcome = if granted > longest { LongLifetime::Cut } else { LongLifetime::Believed };
        let now = self.now;
        if let Some(of_source) = self.sources.get_mut(source) {
            of_source.long_lifetimes.add(outcome as usize);
            let before = std::mem::replace(&mut of_source.last_long_lifetime, now);
            if before == Timestamp::ZERO || now.since(before) >= EPISODE {
                self.discoveries.add(Discovery::LongLifetime { source, seconds, outcome });
            }
        }
        granted.min(longest)
    }
}
