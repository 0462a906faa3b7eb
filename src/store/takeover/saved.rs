//! Reads the table out of a store of one file, as earlier exporters wrote it; changes nothing.

use std::collections::HashSet;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use crate::state::{
    AllocationRecord, ColumnValue, Phase, SavedAllocation, SavedSource, SavedTable, SessionRecord, SourceId,
    sums_of_bytes,
};
use crate::store::ledger::rows::{NOTHING, moment};
use crate::wire::{ByLeg, Traffic};

/// What an earlier process left of the sources that are watched now.
pub(in crate::store) fn read(connection: &Connection, sources: &[String]) -> rusqlite::Result<SavedTable> {
    let reader = SavedReader { connection, sources };
    let allocations = reader.allocations()?;
    // Others were closed by the last allocation that ended in the last moment of that process.
    let open: HashSet<u64> = allocations
        .iter()
        .filter(|saved| !saved.record.is_final && matches!(saved.record.phase, Phase::Live | Phase::Closing))
        .filter_map(|saved| saved.record.session)
        .collect();
    let mut sessions = reader.open_sessions()?;
    sessions.retain(|session| open.contains(&session.serial));
    Ok(SavedTable { sources: reader.sources()?, allocations, sessions, realms: reader.realms()? })
}

/// The highest number of an allocation or session.
pub(in crate::store) fn highest_serial(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT max(
        (SELECT coalesce(max(serial), 0) FROM allocation), (SELECT coalesce(max(session), 0) FROM allocation),
        (SELECT coalesce(max(serial), 0) FROM session))";
    let highest: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(highest.cast_unsigned())
}

struct SavedReader<'a> {
    connection: &'a Connection,
    sources: &'a [String],
}

impl SavedReader<'_> {
    /// The number of a source that is watched now.
    fn source(&self, name: &str) -> Option<SourceId> {
        (0..).zip(self.sources).find(|(_, source)| *source == name).map(|(number, _)| SourceId(number))
    }

    fn sources(&self) -> rusqlite::Result<Vec<SavedSource>> {
        let mut statement = self.connection.prepare("SELECT name, since, heard FROM source")?;
        let mut rows = statement.query([])?;
        let mut saved = Vec::new();
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            if let Some(source) = self.source(&name) {
                let (since, received_until) = (moment(row.get(1)?), moment(row.get(2)?));
                saved.push(SavedSource { source, since, received_until });
            }
        }
        Ok(saved)
    }

    fn allocations(&self) -> rusqlite::Result<Vec<SavedAllocation>> {
        let mut statement = self.connection.prepare("SELECT * FROM allocation")?;
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

    fn open_sessions(&self) -> rusqlite::Result<Vec<SessionRecord>> {
        let mut statement = self.connection.prepare(
            "SELECT serial, started, ended, relay_started, relay_ended, allocations, relayed_bytes, is_partial
             FROM session WHERE is_open",
        )?;
        statement.query_map([], session)?.collect()
    }

    fn realms(&self) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.connection.prepare("SELECT label FROM realm ORDER BY seen DESC, label")?;
        statement.query_map([], |row| row.get(0))?.collect()
    }
}

fn session(row: &Row<'_>) -> rusqlite::Result<SessionRecord> {
    let relay = row.get::<_, Option<i64>>(3)?.zip(row.get::<_, Option<i64>>(4)?);
    Ok(SessionRecord {
        serial: row.get::<_, i64>(0)?.cast_unsigned(),
        started: moment(row.get(1)?),
        ended: moment(row.get(2)?),
        relay: relay.map(|(first, last)| (moment(first), moment(last))),
        allocations: row.get(5)?,
        relayed_bytes: u64::try_from(row.get::<_, i64>(6)?).unwrap_or(0),
        is_partial: row.get(7)?,
    })
}

/// A row of `allocation` as it was written.
#[derive(Debug)]
pub(in crate::store) struct StoredAllocation {
    /// Of no source in particular: the name is beside it.
    pub(in crate::store) record: AllocationRecord,
    pub(in crate::store) source: String,
    pub(in crate::store) exported: ByLeg<Traffic>,
    pub(in crate::store) accounted: ByLeg<Traffic>,
}

impl StoredAllocation {
    pub(in crate::store) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let sums_or_nothing = |column: &str| -> rusqlite::Result<ByLeg<Traffic>> {
            let blob: Option<Vec<u8>> = row.get(column)?;
            blob.map_or(Ok(NOTHING), |blob| sums_of_bytes(&blob).ok_or_else(|| wrong(column)))
        };
        Ok(Self {
            record: AllocationRecord::from_columns(|name| column(row, name), wrong)?,
            source: row.get("source")?,
            exported: sums_or_nothing("told")?,
            accounted: sums_or_nothing("accounted")?,
        })
    }
}

fn column(row: &Row<'_>, name: &'static str) -> rusqlite::Result<ColumnValue<'static>> {
    Ok(match row.get_ref(name)? {
        ValueRef::Null => ColumnValue::Null,
        ValueRef::Integer(number) => ColumnValue::Integer(number),
        ValueRef::Text(text) => {
            ColumnValue::Text(std::str::from_utf8(text).map_err(|_| wrong(name))?.to_owned().into())
        }
        ValueRef::Blob(bytes) => ColumnValue::Blob(bytes.to_owned().into()),
        ValueRef::Real(_) => return Err(wrong(name)),
    })
}

/// A value that no exporter has written.
fn wrong(what: &str) -> rusqlite::Error {
    let error = format!("a value of the checkpoint makes no sense: {what}");
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
}
