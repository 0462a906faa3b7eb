//! The tables in the database: versioned migrations, made by the exporter or by an operator.

use tokio_postgres::Client;

use super::error::PostgresError;

/// What makes version n + 1 of version n; an empty database goes through all. Never change one that was released.
const MIGRATIONS: &[&str] = &[include_str!("migrations/1.sql")];

/// The version of the tables that is written.
const VERSION: i32 = 1;

/// One at a time makes tables or months: 20 exporters may start at once. `make_months` has the same number.
const LOCK: i64 = 7_165_061_902;

/// The SQL that makes the tables, or brings them up to date; where they are, it does nothing.
pub fn schema_sql() -> String {
    let mut sql = format!(
        "-- Tables of the ledger of coturn-exporter, version {VERSION}. Run it as the owner of the tables; once more does no harm.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT pg_advisory_xact_lock({LOCK});
CREATE SCHEMA IF NOT EXISTS coturn_ledger;
COMMENT ON SCHEMA coturn_ledger IS 'Finished TURN sessions, written by coturn-exporter';
CREATE TABLE IF NOT EXISTS coturn_ledger.schema_version (
    version integer PRIMARY KEY,
    applied timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE coturn_ledger.schema_version IS 'Versions of these tables that were made';
"
    );
    for (version, migration) in (1..).zip(MIGRATIONS) {
        let step = format!(
            "DO $version_{version}$
BEGIN
IF NOT EXISTS (SELECT FROM coturn_ledger.schema_version WHERE version = {version}) THEN
EXECUTE $migration_{version}$
{migration}$migration_{version}$;
INSERT INTO coturn_ledger.schema_version (version) VALUES ({version});
END IF;
END
$version_{version}$;
"
        );
        sql.push_str(&step);
    }
    sql.push_str("COMMIT;\n");
    sql
}

/// Makes the tables, or brings them up to date, where that is to be done.
pub(super) async fn prepare(client: &Client) -> Result<(), PostgresError> {
    match version(client).await? {
        version if version > VERSION => Err(PostgresError::Newer { version, known: VERSION }),
        VERSION => Ok(()),
        _ => make(client).await,
    }
}

/// Whether the tables are there, for those who only read.
pub(super) async fn check(client: &Client) -> Result<(), PostgresError> {
    match version(client).await? {
        version if version > VERSION => Err(PostgresError::Newer { version, known: VERSION }),
        VERSION => Ok(()),
        _ => Err(PostgresError::NoTables { version: VERSION }),
    }
}

async fn make(client: &Client) -> Result<(), PostgresError> {
    let encoding = client.query_typed("SHOW server_encoding", &[]).await?;
    let encoding: String = encoding.first().map_or(Ok(String::new()), |row| row.try_get(0))?;
    if encoding != "UTF8" {
        return Err(PostgresError::Encoding { encoding });
    }
    match client.batch_execute(&schema_sql()).await {
        Err(error) if PostgresError::is_lack_of_rights(&error) => {
            Err(PostgresError::NoTables { version: VERSION })
        }
        made => made.map_err(PostgresError::from),
    }
}

/// The version of the tables; 0 where there are none.
pub(super) async fn version(client: &Client) -> Result<i32, PostgresError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
        WHERE n.nspname = 'coturn_ledger' AND c.relname = 'schema_version')";
    let row = client.query_typed(sql, &[]).await?;
    if !row.first().map_or(Ok(false), |row| row.try_get(0))? {
        return Ok(0);
    }
    let sql = "SELECT coalesce(max(version), 0) FROM coturn_ledger.schema_version";
    let rows = client.query_typed(sql, &[]).await?;
    Ok(rows.first().map_or(Ok(0), |row| row.try_get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_last_migration() {
        assert_eq!(usize::try_from(VERSION), Ok(MIGRATIONS.len()));
        assert!(schema_sql().contains(&format!("pg_advisory_xact_lock({LOCK})")));
        assert!(
            MIGRATIONS[0].contains(&format!("pg_advisory_xact_lock({LOCK})")),
            "make_months has another lock"
        );
        // A migration may not end the text that it stands in.
        for (version, migration) in (1..).zip(MIGRATIONS) {
            assert!(!migration.contains(&format!("$migration_{version}$")));
            assert!(!migration.contains(&format!("$version_{version}$")));
        }
    }
}
