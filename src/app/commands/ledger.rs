//! `ledger`: the tables of the ledger in a database.

use std::io::Write;
use std::time::Duration;

use crate::app::Error;
use crate::clock::{Clock as _, SystemClock};
use crate::config::PostgresSettings;
use crate::sinks::postgres::{self, PostgresConfig, PostgresError};

/// Prints the SQL that makes the tables, and nothing else.
///
/// # Errors
///
/// An output that takes no more.
pub(in crate::app) fn print_schema(out: &mut impl Write) -> Result<(), Error> {
    out.write_all(postgres::schema_sql().as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)
}

/// Lists the months that were over `keep` ago, and drops them if `applies`.
///
/// # Errors
///
/// A database that does not answer, or does not let this role; an output that takes no more.
pub(in crate::app) async fn prune(
    database: &PostgresSettings,
    keep: Duration,
    applies: bool,
    out: &mut impl Write,
) -> Result<(), Error> {
    let config = PostgresConfig::new(database).map_err(PostgresError::Url).map_err(Error::Postgres)?;
    let before = SystemClock::new().now().minus(keep);
    let found = postgres::prune(&config, before, applies).await.map_err(Error::Postgres)?;
    let written = (|| {
        let verb = if applies { "dropped" } else { "would drop" };
        for month in &found.months {
            writeln!(out, "{verb} coturn_ledger.{} ({} bytes)", month.table, month.bytes)?;
        }
        let verb = if applies { "deleted" } else { "would delete" };
        writeln!(out, "{verb} {} sessions of no month", found.others)?;
        if !applies && (!found.months.is_empty() || found.others > 0) {
            writeln!(out, "nothing was changed; run again with --apply")?;
        }
        out.flush()
    })();
    written.map_err(Error::Output)
}
