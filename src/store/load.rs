//! Reads what an earlier process left, and drops what is of no use any more.

use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};

use super::LoadedStore;
use super::rows::{self, StoredAllocation};
use crate::clock::Timestamp;
use crate::state::{SavedAllocation, SavedSource, SavedTable, SessionRecord, SourceId};

/// Reads the file. A source that is not watched now may be so again, after a mistake in a flag: what is known of it stays
/// for a day.
pub(super) fn load(
    connection: &mut Connection,
    sources: &[String],
    wall: Timestamp,
) -> rusqlite::Result<LoadedStore> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let loader = Loader { transaction: &transaction, sources };
    let day_ago = i64::try_from(wall.minus(super::MEMORY).as_millis()).unwrap_or(i64::MAX);
    let saved_sources = loader.sources(day_ago)?;
    transaction.execute("DELETE FROM allocation WHERE source NOT IN (SELECT name FROM source)", [])?;
    transaction.execute("DELETE FROM realm WHERE seen < ?1", [day_ago])?;
    let saved = SavedTable {
        sources: saved_sources,
        allocations: loader.allocations()?,
        sessions: loader.sessions()?,
        realms: loader.realms()?,
    };
    let first_serial = loader.highest_serial()?.cast_unsigned() + 1;
    transaction.commit()?;
    Ok(LoadedStore { saved, first_serial })
}

struct Loader<'a> {
    transaction: &'a Transaction<'a>,
    sources: &'a [String],
}

impl Loader<'_> {
    /// The number of a source that is watched now.
    fn source(&self, name: &str) -> Option<SourceId> {
        (0..).zip(self.sources).find(|(_, source)| *source == name).map(|(number, _)| SourceId(number))
    }

    /// The sources that are watched now; of the others those go that were last received before `day_ago`.
    fn sources(&self, day_ago: i64) -> rusqlite::Result<Vec<SavedSource>> {
        let mut forget = self.transaction.prepare("DELETE FROM source WHERE heard < ?1 AND name = ?2")?;
        let mut statement = self.transaction.prepare("SELECT name, since, heard FROM source")?;
        let mut rows = statement.query([])?;
        let mut saved = Vec::new();
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            if let Some(source) = self.source(&name) {
                let (since, received_until) = (rows::moment(row.get(1)?), rows::moment(row.get(2)?));
                saved.push(SavedSource { source, since, received_until });
            } else {
                forget.execute(params![day_ago, name])?;
            }
        }
        Ok(saved)
    }

    fn allocations(&self) -> rusqlite::Result<Vec<SavedAllocation>> {
        let mut statement = self.transaction.prepare("SELECT * FROM allocation")?;
        let mut rows = statement.query([])?;
        let mut saved = Vec::new();
        while let Some(row) = rows.next()? {
            let StoredAllocation { mut record, source, exported, accounted } = StoredAllocation::read(row)?;
            let Some(source) = self.source(&source) else { continue };
            record.source = source;
            let accounted_bytes = accounted.get(record.flags.deciding_leg()).bytes();
            saved.push(SavedAllocation { record, exported, accounted_bytes });
        }
        Ok(saved)
    }

    /// The sessions that are open. Others whose last allocation ended in the last moment of that process are closed now.
    fn sessions(&self) -> rusqlite::Result<Vec<SessionRecord>> {
        self.transaction.execute(
            "UPDATE session SET is_open = 0 WHERE is_open AND serial NOT IN
                (SELECT session FROM allocation WHERE session IS NOT NULL AND stage IN ('live', 'closing'))",
            [],
        )?;
        let mut statement = self.transaction.prepare(
            "SELECT serial, started, ended, relay_started, relay_ended, allocations, relayed_bytes, is_partial
             FROM session WHERE is_open",
        )?;
        statement.query_map([], session)?.collect()
    }

    fn realms(&self) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.transaction.prepare("SELECT label FROM realm ORDER BY seen DESC, label")?;
        statement.query_map([], |row| row.get(0))?.collect()
    }

    fn highest_serial(&self) -> rusqlite::Result<i64> {
        self.transaction.query_row(
            "SELECT max(
                (SELECT coalesce(max(serial), 0) FROM allocation), (SELECT coalesce(max(session), 0) FROM allocation),
                (SELECT coalesce(max(serial), 0) FROM session))",
            [],
            |row| row.get(0),
        )
    }
}

fn session(row: &Row<'_>) -> rusqlite::Result<SessionRecord> {
    let relay = row.get::<_, Option<i64>>(3)?.zip(row.get::<_, Option<i64>>(4)?);
    Ok(SessionRecord {
        serial: row.get::<_, i64>(0)?.cast_unsigned(),
        started: rows::moment(row.get(1)?),
        ended: rows::moment(row.get(2)?),
        relay: relay.map(|(first, last)| (rows::moment(first), rows::moment(last))),
        allocations: row.get(5)?,
        relayed_bytes: u64::try_from(row.get::<_, i64>(6)?).unwrap_or(0),
        is_partial: row.get(7)?,
    })
}
