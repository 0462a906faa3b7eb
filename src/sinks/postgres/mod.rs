//! Finished sessions into `PostgreSQL`: each once, as it was changed last, whatever becomes of connections and answers.

mod config;
mod connect;
mod error;
mod prune;
mod rows;
mod schema;
mod usage;

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

pub use config::{PostgresConfig, PostgresUrlError};
pub use error::PostgresError;
pub use prune::{LedgerMonth, LedgerPrune, prune};
pub use schema::schema_sql;
pub use usage::usage;

use super::{Delivered, LedgerOrigin, Sink};
use crate::store::ledger::FinishedSession;
use connect::{PostgresSession, connect};
use rows::Columns;

/// Sessions in one statement.
const BATCH: usize = 1000;

/// How long the database may take for one batch.
const BATCH_TIME: Duration = Duration::from_secs(30);

/// Begins a transaction. What it does when the database is told less by its settings: it ends, it waits for no lock for
/// ever, and what it has confirmed outlives a crash. Set for the transaction only, so that poolers do not mind.
const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '10s'; \
    SET LOCAL idle_in_transaction_session_timeout = '60s'; \
    SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'";

/// The sink.
pub struct PostgresSink {
    config: PostgresConfig,
    /// The session of the database, unless something went wrong in it.
    open: Option<Prepared>,
}

/// A session whose database has the tables.
struct Prepared {
    session: PostgresSession,
    /// Days, by their number since 1970, whose months were asked for in it.
    days: HashSet<u64>,
}

impl fmt::Debug for PostgresSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSink").field("config", &self.config).finish_non_exhaustive()
    }
}

impl PostgresSink {
    /// Connects with the first probe or delivery.
    pub const fn new(config: PostgresConfig) -> Self {
        Self { config, open: None }
    }

    async fn write(
        &mut self,
        origin: &LedgerOrigin,
        sessions: &[FinishedSession],
    ) -> Result<Delivered, PostgresError> {
        // Taken out: what is dropped in the middle of a batch, or fails in it, is never used again.
        let mut open = match self.open.take() {
            Some(open) if !open.session.client.is_closed() => open,
            _ => Prepared::new(&self.config).await?,
        };
        let sessions = sessions.get(..BATCH).unwrap_or(sessions);
        let columns = Columns::new(sessions);
        open.make_months(columns.ends()).await?;
        let newest = sessions.iter().map(|session| session.revision).max().unwrap_or(0);
        write_batch(&open.session.client, origin, newest, &columns).await?;
        self.open = Some(open);
        Ok(Delivered { done: sessions.len(), dropped: 0 })
    }

    /// Connects, and does all that a batch does, with no session in it: a missing right shows before the first session ends.
    async fn try_out(&mut self, origin: &LedgerOrigin) -> Result<(), PostgresError> {
        self.open = None;
        let open = Prepared::new(&self.config).await?;
        let client = &open.session.client;
        client.batch_execute(BEGIN).await?;
        have_months_made(client, &[]).await?;
        write_rows(client, origin, 0, &Columns::new(&[])).await?;
        client.batch_execute("ROLLBACK").await?;
        self.open = Some(open);
        Ok(())
    }
}

/// Within the time that a batch has.
async fn in_time<T>(
    place: String,
    what: &'static str,
    work: impl Future<Output = Result<T, PostgresError>>,
) -> Result<T, PostgresError> {
    let seconds = BATCH_TIME.as_secs();
    let silent = |_| PostgresError::Silent { server: place, what, seconds };
    timeout(BATCH_TIME, work).await.map_err(silent)?
}

impl Sink for PostgresSink {
    type Item = FinishedSession;
    type Error = PostgresError;

    fn most(&self) -> usize {
        BATCH
    }

    async fn probe(&mut self, origin: &LedgerOrigin) -> Result<bool, PostgresError> {
        if self.open.as_ref().is_none_or(|open| open.session.client.is_closed()) {
            let place = self.config.place.to_string();
            in_time(place, "a batch without sessions", Box::pin(self.try_out(origin))).await?;
        }
        Ok(true)
    }

    async fn deliver(
        &mut self,
        origin: &LedgerOrigin,
        items: &[FinishedSession],
    ) -> Result<Delivered, PostgresError> {
        let place = self.config.place.to_string();
        in_time(place, "a batch of sessions", Box::pin(self.write(origin, items))).await
    }
}

impl Prepared {
    async fn new(config: &PostgresConfig) -> Result<Self, PostgresError> {
        let session = connect(config).await?;
        schema::prepare(&session.client).await?;
        Ok(Self { session, days: HashSet::new() })
    }

    /// Has the months of these moments made, in a transaction of their own: it waits for those who insert.
    async fn make_months(&mut self, ends: impl Iterator<Item = SystemTime>) -> Result<(), PostgresError> {
        let mut of_new: Vec<SystemTime> = Vec::new();
        for end in ends {
            if self.days.insert(day(end)) {
                of_new.push(end);
            }
        }
        if of_new.is_empty() {
            return Ok(());
        }
        let client = &self.session.client;
        client.batch_execute(BEGIN).await?;
        have_months_made(client, &of_new).await?;
        Ok(client.batch_execute("COMMIT").await?)
    }
}

/// Has the months of these moments made, within a transaction.
async fn have_months_made(client: &Client, ends: &[SystemTime]) -> Result<(), PostgresError> {
    let sql = "SELECT coturn_ledger.make_months($1)";
    client.query_typed(sql, &[(&ends, Type::TIMESTAMPTZ_ARRAY)]).await?;
    Ok(())
}

/// The day (UTC) of a moment, as a number.
fn day(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400
}

/// Writes the rows and how far the ledger has come, both or nothing.
async fn write_batch(
    client: &Client,
    origin: &LedgerOrigin,
    newest: u64,
    columns: &Columns<'_>,
) -> Result<(), PostgresError> {
    client.batch_execute(BEGIN).await?;
    write_rows(client, origin, newest, columns).await?;
    Ok(client.batch_execute("COMMIT").await?)
}

/// Writes the rows, within a transaction that the caller began and ends.
async fn write_rows(
    client: &Client,
    origin: &LedgerOrigin,
    newest: u64,
    columns: &Columns<'_>,
) -> Result<(), PostgresError> {
    // Two who write the same ledger go one after the other.
    let sql = "INSERT INTO coturn_ledger.store AS known (store_id, exporter, last_revision) VALUES ($1::text::uuid, $2, $3) \
        ON CONFLICT (store_id) DO UPDATE SET exporter = EXCLUDED.exporter, last_seen = now() RETURNING last_revision";
    let store: &(dyn ToSql + Sync) = &origin.store;
    let exporter = origin.exporter.replace('\0', "\u{fffd}");
    let copied = i64::try_from(origin.copied_event).unwrap_or(i64::MAX);
    let values: [(&(dyn ToSql + Sync), Type); 3] =
        [(store, Type::TEXT), (&exporter, Type::TEXT), (&copied, Type::INT8)];
    let rows = client.query_typed(sql, &values).await?;
    let theirs: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    let theirs = u64::try_from(theirs).unwrap_or(0);
    if theirs > origin.last_event {
        return Err(PostgresError::LedgerIsOlder { theirs });
    }
    if theirs < origin.taken {
        return Err(PostgresError::DatabaseIsOlder { theirs, taken: origin.taken });
    }
    let (sql, parameters) = columns.statement();
    let parameters: Vec<_> = std::iter::once((store, Type::TEXT)).chain(parameters).collect();
    client.query_typed(&sql, &parameters).await?;
    let newest = i64::try_from(newest).unwrap_or(i64::MAX);
    let sql = "UPDATE coturn_ledger.store SET last_revision = $2 WHERE store_id = $1::text::uuid AND last_revision < $2";
    client.query_typed(sql, &[(store, Type::TEXT), (&newest, Type::INT8)]).await?;
    Ok(())
}
