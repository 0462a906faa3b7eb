//! Reads what an earlier process left, and drops what is of no use any more.

use rusqlite::{Connection, TransactionBehavior, params};

use super::LoadedStore;
use super::ledger::rows;
use super::takeover::{highest_serial, read_saved};
use crate::clock::Timestamp;

/// Reads the file. A source that is not watched now may be so again, after a mistake in a flag: what is known of it stays
/// for a day.
pub(super) fn load(
    connection: &mut Connection,
    sources: &[String],
    wall: Timestamp,
) -> rusqlite::Result<LoadedStore> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let saved = read_saved(&transaction, sources)?;
    let first_serial = highest_serial(&transaction)? + 1;
    let day_ago = rows::wall_millis(wall.minus(super::MEMORY));
    {
        let mut names = transaction.prepare("SELECT name FROM source WHERE heard < ?1")?;
        let mut forget = transaction.prepare("DELETE FROM source WHERE name = ?1")?;
        for name in names.query_map([day_ago], |row| row.get::<_, String>(0))? {
            let name = name?;
            if !sources.contains(&name) {
                forget.execute(params![name])?;
            }
        }
    }
    transaction.execute("DELETE FROM allocation WHERE source NOT IN (SELECT name FROM source)", [])?;
    transaction.execute("DELETE FROM realm WHERE seen < ?1", [day_ago])?;
    transaction.execute(
        "UPDATE session SET is_open = 0 WHERE is_open AND serial NOT IN
            (SELECT session FROM allocation WHERE session IS NOT NULL AND stage IN ('live', 'closing'))",
        [],
    )?;
    transaction.commit()?;
    Ok(LoadedStore { saved, first_serial })
}
