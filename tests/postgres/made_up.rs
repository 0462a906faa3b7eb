//! Sessions made up for a test, a database for it, and its answers.

use coturn_exporter::clock::Timestamp;
use coturn_exporter::config::{PostgresSettings, Secret};
use coturn_exporter::sinks::postgres::{PostgresConfig, PostgresError, PostgresSink};
use coturn_exporter::sinks::{Delivered, LedgerOrigin, Sink as _};
use coturn_exporter::store::ledger::FinishedSession;
use tokio::runtime::Runtime;

use crate::common::servers::postgres::Postgres;

/// 2026-03-01T00:00:00Z, in milliseconds.
pub(crate) const MARCH: u64 = 1_772_323_200_000;

/// A ledger.
pub(crate) const STORE: &str = "5a3e1f0c-7d7e-4b5c-8a6f-000000000001";

pub(crate) fn config(url: &str) -> PostgresConfig {
    let settings = PostgresSettings { url: Secret::new(url), password: None };
    PostgresConfig::new(&settings).unwrap_or_else(|error| panic!("{url}: {error}"))
}

pub(crate) fn origin(last_event: u64) -> LedgerOrigin {
    LedgerOrigin {
        store: STORE.to_owned(),
        exporter: "here".to_owned(),
        last_event,
        copied_event: 0,
        taken: 0,
    }
}

/// The sink beside a test that waits for it.
pub(crate) struct Writer {
    runtime: Runtime,
    sink: PostgresSink,
}

impl Writer {
    pub(crate) fn new(url: &str) -> Self {
        Self::of(config(url))
    }

    pub(crate) fn of(config: PostgresConfig) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        Self { runtime, sink: PostgresSink::new(config) }
    }

    pub(crate) fn try_write(&mut self, sessions: &[FinishedSession]) -> Result<Delivered, PostgresError> {
        let newest = sessions.iter().map(|session| session.revision).max().unwrap_or(0);
        self.try_write_of(&origin(newest), sessions)
    }

    pub(crate) fn try_write_of(
        &mut self,
        origin: &LedgerOrigin,
        sessions: &[FinishedSession],
    ) -> Result<Delivered, PostgresError> {
        self.runtime.block_on(self.sink.deliver(origin, sessions))
    }

    /// Looks whether it would be taken.
    pub(crate) fn probe(&mut self, origin: &LedgerOrigin) -> Result<bool, PostgresError> {
        self.runtime.block_on(self.sink.probe(origin))
    }

    #[track_caller]
    pub(crate) fn write(&mut self, sessions: &[FinishedSession]) {
        let delivered = self.try_write(sessions).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(delivered, Delivered { done: sessions.len(), dropped: 0 });
    }

    /// What it says of the way there.
    #[track_caller]
    pub(crate) fn refusal(&mut self) -> String {
        match self.try_write(&[session(1, 1)]) {
            Ok(_) => panic!("it was taken"),
            Err(error) => error.to_string(),
        }
    }
}

/// A session that ended `serial` seconds after March began.
pub(crate) fn session(serial: u64, revision: u64) -> FinishedSession {
    let ended = MARCH + 1000 * serial;
    let at = Timestamp::from_millis;
    FinishedSession {
        serial,
        revision,
        source: "redis://h:6379/0".to_owned(),
        realm: "example.org".to_owned(),
        user: format!("1764000000:user{serial}").into_bytes(),
        user_id: format!("user{serial}").into_bytes(),
        client: Some("192.0.2.1:5000".to_owned()),
        server: "192.0.2.9".to_owned(),
        transport: "udp".to_owned(),
        cause: "released".to_owned(),
        started: at(ended - 60_001),
        ended: at(ended),
        relay: Some((at(ended - 50_000), at(ended - 1))),
        allocations: 2,
        is_partial: false,
        relayed_bytes: 1000 * serial,
        sums: [1, 2, 3, 4, 5, 6, 7, 8].map(|part| part * revision),
    }
}

/// Number, revision and relayed bytes of all rows.
pub(crate) fn rows(postgres: &Postgres, database: &str) -> Vec<(u64, u64, u64)> {
    let sql = "SELECT session, revision, relayed_bytes FROM coturn_ledger.session ORDER BY store_id, session";
    let text = postgres.sql(database, sql);
    let row = |line: &str| {
        let numbers: Vec<u64> = line.split('|').map(|number| number.parse().unwrap()).collect();
        (numbers[0], numbers[1], numbers[2])
    };
    text.lines().map(row).collect()
}
