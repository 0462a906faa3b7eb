//! Between the records of the table and the rows of the file.

use std::sync::LazyLock;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{ToSql, params_from_iter};

pub(super) use super::ledger::rows::{NOTHING, added, millis, name, serial, user_id};
use crate::clock::WallTime;
use crate::state::{AllocationRecord, ColumnValue, sums_to_bytes};
use crate::wire::{ByLeg, Traffic};

/// Columns of an allocation that are the store's own: the source's name, what scrapers were answered of the sums, and what
/// the sessions have of them.
const OWN_COLUMNS: [&str; 3] = ["source", "told", "accounted"];

/// Columns that stay as a record was first written.
const FIXED: [&str; 5] = ["serial", "source", "realm", "user", "id"];

/// Columns that keep what they have where there is nothing new.
const LASTING: [&str; 3] = ["session", "told", "accounted"];

/// Writes a record: its columns, then the store's own.
pub(super) static UPSERT: LazyLock<String> = LazyLock::new(|| {
    let columns = || AllocationRecord::COLUMNS.into_iter().chain(OWN_COLUMNS);
    let names: Vec<&str> = columns().collect();
    let values: Vec<String> = (1..=names.len()).map(|place| format!("?{place}")).collect();
    let updates = columns().filter(|column| !FIXED.contains(column)).map(|column| {
        if LASTING.contains(&column) {
            format!("{column} = coalesce(excluded.{column}, {column})")
        } else {
            format!("{column} = excluded.{column}")
        }
    });
    let updates: Vec<String> = updates.collect();
    format!(
        "INSERT INTO allocation ({}) VALUES ({}) ON CONFLICT (serial) DO UPDATE SET {}",
        names.join(", "),
        values.join(", "),
        updates.join(", "),
    )
});

/// Runs [`UPSERT`].
pub(super) fn upsert(
    statement: &mut rusqlite::CachedStatement<'_>,
    times: WallTime,
    source: &str,
    record: &AllocationRecord,
    exported: Option<&ByLeg<Traffic>>,
    accounted: Option<&ByLeg<Traffic>>,
) -> rusqlite::Result<()> {
    let sums = |sums: Option<&ByLeg<Traffic>>| {
        sums.map_or(ColumnValue::Null, |sums| ColumnValue::Blob(sums_to_bytes(sums).into()))
    };
    let own = [ColumnValue::Text(source.into()), sums(exported), sums(accounted)];
    let columns = record.columns().into_iter().map(|(_, value)| value).chain(own);
    statement.execute(params_from_iter(columns.map(|value| BoundColumn { value, times })))?;
    Ok(())
}

/// A value on its way into the file.
struct BoundColumn<'a> {
    value: ColumnValue<'a>,
    times: WallTime,
}

impl ToSql for BoundColumn<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match &self.value {
            ColumnValue::Null => ToSqlOutput::Owned(Value::Null),
            ColumnValue::Integer(number) => (*number).into(),
            ColumnValue::Time(moment) => millis(self.times, *moment).into(),
            ColumnValue::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            ColumnValue::Blob(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}
