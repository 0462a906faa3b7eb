//! The end of retention in the database: months are dropped as a whole.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::config::PostgresConfig;
use super::connect::connect;
use super::error::PostgresError;
use super::{BEGIN, rows, schema};
use crate::clock::Timestamp;

/// A month that is over for so long that nobody wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerMonth {
    /// Its table.
    pub table: String,
    /// What it takes on disk, in bytes.
    pub bytes: u64,
}

/// What was found, and dropped if that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerPrune {
    /// Months whose sessions all ended before.
    pub months: Vec<LedgerMonth>,
    /// Sessions in no month that ended before.
    pub others: u64,
}

/// Finds the months that were over at `before`, and the older sessions of no month; drops them if `applies`.
///
/// # Errors
///
/// [`PostgresError`]; dropping needs the owner of the tables.
pub async fn prune(
    config: &PostgresConfig,
    before: Timestamp,
    applies: bool,
) -> Result<LedgerPrune, PostgresError> {
    let session = connect(config).await?;
    let client = &session.client;
    schema::check(client).await?;
    let found = find(client, before).await?;
    if applies {
        for month in &found.months {
            drop_month(client, &month.table).await?;
        }
        let sql = "DELETE FROM coturn_ledger.session_default WHERE ended < $1";
        client.query_typed(sql, &[(&rows::moment(before), Type::TIMESTAMPTZ)]).await?;
    }
    Ok(found)
}

async fn find(client: &Client, before: Timestamp) -> Result<LedgerPrune, PostgresError> {
    let before = rows::moment(before);
    // Months have their names from `make_months`; a partition that somebody else has made is theirs.
    let sql = "SELECT c.relname::text, pg_catalog.pg_total_relation_size(c.oid) \
        FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid \
        WHERE i.inhparent = 'coturn_ledger.session'::pg_catalog.regclass AND c.relname ~ '^session_[0-9]{6}$' \
        AND (pg_catalog.to_date(right(c.relname, 6), 'YYYYMM')::timestamp + interval '1 month') AT TIME ZONE 'UTC' <= $1 \
        ORDER BY 1";
    let mut found = LedgerPrune::default();
    for row in client.query_typed(sql, &[(&before, Type::TIMESTAMPTZ)]).await? {
        let bytes: i64 = row.try_get(1)?;
        found.months.push(LedgerMonth { table: row.try_get(0)?, bytes: u64::try_from(bytes).unwrap_or(0) });
    }
    let sql = "SELECT count(*) FROM coturn_ledger.session_default WHERE ended < $1";
    let rows = client.query_typed(sql, &[(&before, Type::TIMESTAMPTZ)]).await?;
    let others: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    Ok(LedgerPrune { others: u64::try_from(others).unwrap_or(0), ..found })
}

/// One transaction each, so that writers wait for one at most.
async fn drop_month(client: &Client, table: &str) -> Result<(), PostgresError> {
    // The name is of digits behind `session_`: see `find`.
    Ok(client.batch_execute(&format!("{BEGIN}; DROP TABLE coturn_ledger.{table}; COMMIT")).await?)
}
