//! The sinks that are configured, made before anything starts: a mistake ends the program at once.

use super::SinkTask;
use crate::app::Error;
use crate::app::store::TableStore;
use crate::app::supervise::Supervisor;
use crate::config::SinksConfig;
use crate::sinks::postgres::{PostgresConfig, PostgresSink};

/// Sinks that have not begun.
#[derive(Debug, Default)]
pub(in crate::app) struct ReadySinks {
    exporter: String,
    postgres: Option<PostgresSink>,
}

impl ReadySinks {
    /// # Errors
    ///
    /// A URL, or a file that it needs, that cannot be used.
    pub(in crate::app) fn new(config: &SinksConfig) -> Result<Self, Error> {
        let of_postgres = |settings| PostgresConfig::new(settings).map(PostgresSink::new);
        let postgres = config.postgres.as_ref().map(of_postgres).transpose();
        let wrong = |error| Error::Sink { flag: "--ledger.postgres-url", error: Box::new(error) };
        Ok(Self { exporter: config.exporter.clone(), postgres: postgres.map_err(wrong)? })
    }

    /// From now on they take what is in the store's ledger.
    pub(in crate::app) fn spawn(self, store: &TableStore, tasks: &mut Supervisor) {
        let Self { exporter, postgres } = self;
        if let Some(sink) = postgres {
            let (name, store) = (SinksConfig::POSTGRES.to_owned(), store.clone());
            tasks.spawn("PostgreSQL", SinkTask { name, exporter, sink, store }.run());
        }
    }
}
