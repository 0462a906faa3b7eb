//! Questions to the ledger: who used how much.

use std::path::Path;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, ToSql};

use super::schema::{self, OpenError};
use crate::clock::Timestamp;

/// What the sums are made for each of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The user: of a TURN REST name the user id, else the whole name.
    User,
    /// The whole name.
    Credential,
    /// The realm.
    Realm,
    /// The day (UTC) on which sessions ended.
    Day,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::User, Self::Credential, Self::Realm, Self::Day];

    /// What it is called on the command line and in the answer.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Credential => "credential",
            Self::Realm => "realm",
            Self::Day => "day",
        }
    }

    const fn column(self) -> &'static str {
        match self {
            Self::User => "user_id",
            Self::Credential => "user",
            Self::Realm => "realm",
            Self::Day => "date(ended / 1000, 'unixepoch')",
        }
    }
}

/// A question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// One answer for each of these together; none: one answer for all.
    pub by: Vec<By>,
    /// Only sessions that ended at this moment or later.
    pub since: Option<Timestamp>,
    /// Only sessions that ended before this moment.
    pub until: Option<Timestamp>,
    /// Only so many, those that relayed most.
    pub top: Option<u32>,
}

/// One answer: sums over finished sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageSums {
    /// Of whom, in the order of [`Question::by`]. A name that is not UTF-8 has its bytes replaced.
    pub of: Vec<String>,
    /// The sums, in the order of [`FIGURES`].
    pub figures: [u64; FIGURES.len()],
}

/// A sum, and how it is made.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    sql: &'static str,
}

macro_rules! figures {
    ($($name:literal = $sql:literal),* $(,)?) => { [$(Figure { name: $name, sql: $sql }),*] };
}

/// Everything that is summed. Seconds are rounded down for each session; `relayed_bytes` is the peer leg, both
/// directions (of coturn before 4.5.1.2: the client leg).
pub const FIGURES: [Figure; 15] = figures![
    "sessions" = "1",
    "relayed_sessions" = "relay_started IS NOT NULL",
    "partial_sessions" = "is_partial",
    "allocations" = "allocations",
    "seconds" = "max(ended - started, 0) / 1000",
    "relay_seconds" = "max(coalesce(relay_ended - relay_started, 0), 0) / 1000",
    "relayed_bytes" = "relayed_bytes",
    "client_received_bytes" = "client_received_bytes",
    "client_received_packets" = "client_received_packets",
    "client_sent_bytes" = "client_sent_bytes",
    "client_sent_packets" = "client_sent_packets",
    "peer_received_bytes" = "peer_received_bytes",
    "peer_received_packets" = "peer_received_packets",
    "peer_sent_bytes" = "peer_sent_bytes",
    "peer_sent_packets" = "peer_sent_packets",
];

/// The answers, those that relayed most first. Reads a store that may be in use by an exporter.
///
/// # Errors
///
/// Whatever is there and no store of this version.
pub fn usage(path: &Path, question: &Question) -> Result<Vec<UsageSums>, OpenError> {
    let connection = schema::open_to_read(path)?;
    ask(&connection, question).map_err(|error| OpenError::Damaged { path: path.to_owned(), error })
}

fn ask(connection: &Connection, question: &Question) -> rusqlite::Result<Vec<UsageSums>> {
    let groups: Vec<&str> = question.by.iter().map(|by| by.column()).collect();
    // In two halves: whatever anybody publishes, no sum goes beyond SQLite's integers.
    let figures = FIGURES.iter().flat_map(|Figure { sql, .. }| {
        [format!("total(({sql}) >> 32)"), format!("total(({sql}) & 0xffffffff)")]
    });
    let columns: Vec<String> = groups.iter().map(|&group| group.to_owned()).chain(figures).collect();
    let by = if groups.is_empty() { String::new() } else { format!("GROUP BY {}", groups.join(", ")) };
    // The names decide between equals, so that the same question has the same answer.
    let names = (1..=groups.len()).map(|column| column.to_string());
    let order: Vec<String> = std::iter::once("total(relayed_bytes) DESC".to_owned()).chain(names).collect();
    let sql = format!(
        "SELECT {} FROM session WHERE NOT is_open AND ended >= ?1 AND ended < ?2 {by} ORDER BY {} LIMIT ?3",
        columns.join(", "),
        order.join(", "),
    );
    let mut statement = connection.prepare(&sql)?;
    let limit = question.top.map_or(-1, i64::from);
    let bounds: [&dyn ToSql; 3] =
        [&TimeBound(question.since, 0), &TimeBound(question.until, i64::MAX), &limit];
    let answer = |row: &Row<'_>| answer(row, groups.len());
    statement.query_map(&bounds[..], answer)?.collect()
}

fn answer(row: &Row<'_>, groups: usize) -> rusqlite::Result<UsageSums> {
    let of = (0..groups).map(|column| {
        Ok(match row.get_ref(column)? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        })
    });
    let of = of.collect::<rusqlite::Result<_>>()?;
    let mut figures = [0; FIGURES.len()];
    for (column, figure) in (groups..).step_by(2).zip(&mut figures) {
        let (high, low): (f64, f64) = (row.get(column)?, row.get(column + 1)?);
        *figure = whole(high).saturating_mul(1 << 32).saturating_add(whole(low));
    }
    Ok(UsageSums { of, figures })
}

/// A sum of whole numbers, which is exact below 2^53.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "never negative, and saturating")]
const fn whole(sum: f64) -> u64 {
    sum as u64
}

/// A bound, or what stands for none.
struct TimeBound(Option<Timestamp>, i64);

impl ToSql for TimeBound {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let millis = self.0.map(|moment| i64::try_from(moment.as_millis()).unwrap_or(i64::MAX));
        Ok(millis.unwrap_or(self.1).into())
    }
}
