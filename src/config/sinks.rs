//! Those who take what the ledger has elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use super::{Password, Secret};
pub use crate::store::ledger::EventBounds;
use crate::store::ledger::SinkContents;

/// Those who take what the ledger has elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinksConfig {
    /// The exporter's name in what they get.
    pub exporter: String,
    /// The database of finished sessions.
    pub postgres: Option<PostgresSettings>,
    /// Who is called when something happens; names differ.
    pub webhooks: Vec<WebhookSettings>,
    /// How long and how many events wait for a web hook at most.
    pub event_bounds: EventBounds,
}

/// The database of finished sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresSettings {
    /// Its URL, which may hold a password.
    pub url: Secret,
    /// The password, if the URL has none.
    pub password: Option<Password>,
}

/// One who is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Host and port, and a number behind them where another web hook has the same.
    pub name: String,
    /// The URL, whose path may be a secret.
    pub url: Secret,
    /// What events are signed with.
    pub secrets: Option<Password>,
    /// Events name users and client addresses.
    pub with_users: bool,
    /// Events in one request at most.
    pub batch_size: usize,
    /// CAs that may have signed its certificate; those that the system trusts if `None`.
    pub ca_file: Option<PathBuf>,
}

impl Default for SinksConfig {
    fn default() -> Self {
        let event_bounds = EventBounds { age: Duration::from_secs(7 * 24 * 3600), count: 1_000_000 };
        Self { exporter: String::new(), postgres: None, webhooks: Vec::new(), event_bounds }
    }
}

impl SinksConfig {
    /// The name of the database among the sinks.
    pub const POSTGRES: &'static str = "postgres";

    /// Their names, and what each takes.
    pub fn named(&self) -> Vec<(String, SinkContents)> {
        let postgres = self.postgres.iter().map(|_| (Self::POSTGRES.to_owned(), SinkContents::Sessions));
        let webhooks = self.webhooks.iter().map(|webhook| (webhook.name.clone(), SinkContents::Events));
        postgres.chain(webhooks).collect()
    }
}
