//! What is shown of one look at the table, beside the history.

use std::sync::Arc;
use std::time::Duration;

use super::history::Figures;
use crate::clock::Timestamp;
use crate::state::{DBNAME_FIX, DBNAME_SETTING, ServerView, SourceStats, SourceView};

/// How coturn is made to report to a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSetup {
    /// The line of `turnserver.conf`, without any password; `None` where coturn cannot report there by itself.
    pub line: Option<String>,
    /// What must be known to use the line.
    pub note: Option<String>,
}

/// Servers on the page.
pub(super) const SERVERS: usize = 20;

/// What was seen at the last look beside the history.
#[derive(Debug)]
pub(super) struct LastLook {
    pub(super) wall: Timestamp,
    pub(super) realms: u64,
    /// Realms without points of their own, and what they have together.
    pub(super) others: (u64, Figures),
    pub(super) servers: Vec<ServerNow>,
    /// Servers that are not among these.
    pub(super) other_servers: u64,
    pub(super) sources: Vec<SourceNow>,
    pub(super) is_store_ok: Option<bool>,
    pub(super) refused: u64,
}

/// A server.
#[derive(Debug)]
pub(super) struct ServerNow {
    pub(super) label: Arc<str>,
    pub(super) source: Arc<str>,
    pub(super) live: u64,
    /// Since its last event.
    pub(super) silent: Duration,
}

/// A source.
#[derive(Debug)]
pub(super) struct SourceNow {
    pub(super) name: Arc<str>,
    pub(super) setup: SourceSetup,
    pub(super) is_up: bool,
    /// Why it is not ready, if so.
    pub(super) trouble: Option<String>,
    pub(super) live: u64,
    /// Accepted in a second, since the last regular look before.
    pub(super) messages_per_second: Option<u64>,
    pub(super) last_message: Option<Duration>,
    pub(super) gaps: u64,
    /// What is not as it should be though it is up, in words.
    pub(super) faults: Vec<String>,
    pub(super) listener: Option<ListenerNow>,
}

/// A source that is a listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListenerNow {
    pub(super) connections: u64,
    pub(super) refused_clients: u64,
    pub(super) is_coturn_seen: bool,
}

impl ServerNow {
    pub(super) fn of(server: &ServerView, now: Timestamp) -> Self {
        Self {
            label: Arc::clone(&server.label),
            source: Arc::clone(&server.source),
            live: server.live,
            silent: now.since(server.last_seen),
        }
    }
}

impl SourceNow {
    pub(super) fn of(source: &SourceView, now: Timestamp) -> Self {
        let stats = &source.stats;
        Self {
            name: Arc::clone(&source.name),
            setup: SourceSetup::default(),
            is_up: source.up,
            trouble: None,
            live: source.live,
            messages_per_second: None,
            last_message: stats.last_message.map(|last| now.since(last)),
            gaps: stats.gaps,
            faults: faults(stats),
            listener: stats.statsdb.as_ref().map(|listener| ListenerNow {
                connections: listener.connections,
                refused_clients: listener.refused_clients,
                is_coturn_seen: listener.coturn_seen,
            }),
        }
    }

    /// Whether a coturn has reported anything there, to this process or to one before it.
    pub(super) const fn has_reported(&self) -> bool {
        self.last_message.is_some() || self.live > 0
    }
}

fn unfit_setting(setting: &str) -> String {
    if setting == DBNAME_SETTING {
        return format!("no live allocation has its key in this db; {DBNAME_FIX}");
    }
    format!("the setting {setting} is not as required")
}

fn faults(stats: &SourceStats) -> Vec<String> {
    let unfit = stats.settings_ok.iter().filter(|(_, is_ok)| !**is_ok);
    let mut faults: Vec<_> = unfit.map(|(setting, _)| unfit_setting(setting)).collect();
    if stats.resync_ok == Some(false) {
        faults.push("the status keys could not be read to their end".to_owned());
    }
    if stats.statsdb.as_ref().and_then(|listener| listener.forward).is_some_and(|forward| !forward.up) {
        faults.push("the Redis of --statsdb.forward-url is not connected".to_owned());
    }
    faults
}
