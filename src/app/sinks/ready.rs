//! The sinks that are configured, made before anything starts: a mistake ends the program at once.

use super::SinkTask;
use crate::app::Error;
use crate::app::store::TableStore;
use crate::app::supervise::Supervisor;
use crate::config::SinksConfig;
use crate::sinks::postgres::{PostgresConfig, PostgresSink};
use crate::sinks::webhook::WebhookSink;

/// Sinks that have not begun.
#[derive(Debug, Default)]
pub(in crate::app) struct ReadySinks {
    exporter: String,
    postgres: Option<PostgresSink>,
    /// With their names.
    webhooks: Vec<(String, WebhookSink)>,
}

impl ReadySinks {
    /// # Errors
    ///
    /// A URL, or a file that it needs, that cannot be used.
    pub(in crate::app) fn new(config: &SinksConfig) -> Result<Self, Error> {
        let of_postgres = |settings| PostgresConfig::new(settings).map(PostgresSink::new);
        let postgres = config.postgres.as_ref().map(of_postgres).transpose();
        let wrong = |error| Error::Sink { flag: "--ledger.postgres-url", error: Box::new(error) };
        let postgres = postgres.map_err(wrong)?;
        let webhooks = config.webhooks.iter().map(|settings| {
            let wrong = |error| Error::Sink { flag: "--events.url", error: Box::new(error) };
            Ok((settings.name.clone(), WebhookSink::new(settings).map_err(wrong)?))
        });
        let webhooks = webhooks.collect::<Result<_, _>>()?;
        Ok(Self { exporter: config.exporter.clone(), postgres, webhooks })
    }

    /// From now on they take what is in the store's ledger.
    pub(in crate::app) fn spawn(self, store: &TableStore, tasks: &mut Supervisor) {
        let Self { exporter, postgres, webhooks } = self;
        if let Some(sink) = postgres {
            let (name, exporter, store) = (SinksConfig::POSTGRES.to_owned(), exporter.clone(), store.clone());
            tasks.spawn("PostgreSQL", SinkTask { name, exporter, sink, store }.run());
        }
        for (name, sink) in webhooks {
            let (exporter, store) = (exporter.clone(), store.clone());
            tasks.spawn("web hook", SinkTask { name, exporter, sink, store }.run());
        }
    }
}
