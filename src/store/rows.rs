//! Between the records of the table and the rows of the file.

use std::sync::LazyLock;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Row, ToSql, params_from_iter};

use crate::clock::{Timestamp, WallTime};
use crate::state::{AllocationRecord, ColumnValue, sums_of_bytes, sums_to_bytes, sums_to_numbers};
use crate::wire::{ByLeg, Traffic, turn_rest};

/// A moment of the table's clock in milliseconds since 1970 by the wall clock; the two ends of time stay where they are.
pub(super) fn millis(times: WallTime, moment: Timestamp) -> i64 {
    let is_end = moment == Timestamp::ZERO || moment == Timestamp::MAX;
    let moved = if is_end { moment } else { times.of(moment) };
    i64::try_from(moved.as_millis()).unwrap_or(i64::MAX)
}

/// A moment as the file has it.
pub(super) fn moment(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

pub(super) const NOTHING: ByLeg<Traffic> = ByLeg { client: Traffic::ZERO, peer: Traffic::ZERO };

/// More than that (8 PiB) nobody relays; it keeps what anybody may publish within SQLite's integers.
const MOST: u64 = 1 << 53;

/// What the sums have beyond those before, in the order of [`sums_to_numbers`].
pub(super) fn added(now: &ByLeg<Traffic>, before: &ByLeg<Traffic>) -> [i64; 8] {
    let mut added = [0; 8];
    for (place, (now, before)) in
        added.iter_mut().zip(sums_to_numbers(now).iter().zip(sums_to_numbers(before)))
    {
        *place = now.saturating_sub(before).min(MOST).cast_signed();
    }
    added
}

pub(super) fn serial(number: u64) -> i64 {
    number.cast_signed()
}

/// Text where it is some, for whoever looks into the file.
pub(super) fn name(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Text(text.to_owned()),
        Err(_) => Value::Blob(bytes.to_owned()),
    }
}

/// Of a TURN REST name the user id, else the whole name.
pub(super) fn user_id(user: &[u8], rest_separator: u8) -> Value {
    name(turn_rest::user_id(user, rest_separator).unwrap_or(user))
}

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

/// A row of `allocation` as it was written.
#[derive(Debug)]
pub(super) struct StoredAllocation {
    /// Of no source in particular: the name is beside it.
    pub(super) record: AllocationRecord,
    pub(super) source: String,
    pub(super) exported: ByLeg<Traffic>,
    pub(super) accounted: ByLeg<Traffic>,
}

impl StoredAllocation {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Volume;

    #[test]
    fn nothing_is_taken_away() {
        let volume = Volume { bytes: 1, packets: 0 };
        let all = ByLeg { client: Traffic { received: volume, sent: Volume::ZERO }, ..NOTHING };
        assert_eq!(added(&all, &NOTHING), [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(added(&NOTHING, &all), [0; 8]);
    }

    #[test]
    fn moments_follow_the_wall() {
        let at = Timestamp::from_millis;
        let times = WallTime { now: at(1000), wall: at(5000) };
        assert_eq!(millis(times, at(900)), 4900);
        assert_eq!(millis(times, at(1300)), 5300);
        assert_eq!(millis(times, Timestamp::ZERO), 0);
        assert_eq!(millis(times, Timestamp::MAX), i64::MAX);
        assert_eq!(moment(-5), Timestamp::ZERO);
    }
}
