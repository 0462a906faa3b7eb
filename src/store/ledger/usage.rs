//! Questions to the ledger: who used how much.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::error::LedgerError;
use super::{FILE, reading, rows};
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
    /// What a session adds, in parts of the sum's unit.
    sql: &'static str,
    /// So many parts are one of it; rounded down, once for each sum.
    parts: u64,
}

macro_rules! figures {
    ($($name:literal = $sql:literal / $parts:literal),* $(,)?) => {
        [$(Figure { name: $name, sql: $sql, parts: $parts }),*]
    };
}

/// Everything that is summed. Seconds are sums of milliseconds, rounded down once for each sum; `relayed_bytes` is the peer
/// leg, both directions (of coturn before 4.5.1.2: the client leg).
pub const FIGURES: [Figure; 15] = figures![
    "sessions" = "1" / 1,
    "relayed_sessions" = "relay_started IS NOT NULL" / 1,
    "partial_sessions" = "is_partial" / 1,
    "allocations" = "allocations" / 1,
    "seconds" = "ended - started" / 1000,
    "relay_seconds" = "coalesce(relay_ended - relay_started, 0)" / 1000,
    "relayed_bytes" = "relayed_bytes" / 1,
    "client_received_bytes" = "client_received_bytes" / 1,
    "client_received_packets" = "client_received_packets" / 1,
    "client_sent_bytes" = "client_sent_bytes" / 1,
    "client_sent_packets" = "client_sent_packets" / 1,
    "peer_received_bytes" = "peer_received_bytes" / 1,
    "peer_received_packets" = "peer_received_packets" / 1,
    "peer_sent_bytes" = "peer_sent_bytes" / 1,
    "peer_sent_packets" = "peer_sent_packets" / 1,
];

/// The figure that the answers are ordered by.
const ORDER: usize = 6;

/// How often a question is asked again because an exporter has begun to write meanwhile.
const ATTEMPTS: u32 = 3;

/// The answers, those that relayed most first. `path` is a store's directory, the ledger in it or a copy of one, or a store
/// of one file as earlier exporters made it; an exporter may be writing it.
///
/// # Errors
///
/// Whatever is there and no store of a known version.
pub fn usage(path: &Path, question: &Question) -> Result<Vec<UsageSums>, LedgerError> {
    let path = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
    let mut attempts = 1;
    loop {
        let reader = reading::open(&path)?;
        let answers = ask(&reader.connection, question);
        if reader.is_overtaken() && attempts < ATTEMPTS {
            attempts += 1;
            continue;
        }
        return answers.map_err(|error| LedgerError::of(&path, error));
    }
}

/// What sessions add, before it is rounded.
type FigureSums = [u128; FIGURES.len()];

/// Sums up in our own memory: a sort by SQLite would need a directory for temporary files, or memory for each session
/// instead of each answer.
fn ask(connection: &Connection, question: &Question) -> rusqlite::Result<Vec<UsageSums>> {
    let columns = question.by.iter().map(|by| by.column()).chain(FIGURES.iter().map(|figure| figure.sql));
    let columns: Vec<&str> = columns.collect();
    let columns = columns.join(", ");
    let sql = format!("SELECT {columns} FROM session WHERE NOT is_open AND ended >= ?1 AND ended < ?2");
    let mut statement = connection.prepare(&sql)?;
    let bound = |moment: Option<Timestamp>, or: i64| moment.map_or(or, rows::wall_millis);
    let mut sessions = statement.query([bound(question.since, 0), bound(question.until, i64::MAX)])?;
    let mut groups: HashMap<Vec<Vec<u8>>, FigureSums> = HashMap::new();
    if question.by.is_empty() {
        groups.insert(Vec::new(), FigureSums::default());
    }
    let mut key = vec![Vec::new(); question.by.len()];
    while let Some(session) = sessions.next()? {
        for (column, part) in key.iter_mut().enumerate() {
            part.clear();
            if let ValueRef::Text(bytes) | ValueRef::Blob(bytes) = session.get_ref(column)? {
                part.extend_from_slice(bytes);
            }
        }
        match groups.get_mut(&key) {
            Some(sums) => add(sums, session, key.len())?,
            None => add(groups.entry(key.clone()).or_default(), session, key.len())?,
        }
    }
    let mut answers: Vec<_> = groups.into_iter().collect();
    // The names decide between equals, so that the same question has the same answer.
    answers.sort_unstable_by(|(name, sums), (other_name, other)| {
        other[ORDER].cmp(&sums[ORDER]).then_with(|| name.cmp(other_name))
    });
    if let Some(top) = question.top {
        answers.truncate(usize::try_from(top).unwrap_or(usize::MAX));
    }
    Ok(answers.into_iter().map(|(name, sums)| UsageSums::of(&name, &sums)).collect())
}

/// Adds a session, whose figures follow so many names.
fn add(sums: &mut FigureSums, session: &Row<'_>, names: usize) -> rusqlite::Result<()> {
    for (column, sum) in (names..).zip(sums) {
        *sum += u128::from(u64::try_from(session.get::<_, i64>(column)?).unwrap_or(0));
    }
    Ok(())
}

impl UsageSums {
    /// The answer of these names and sums, which are in the parts of each figure.
    pub fn of(name: &[Vec<u8>], sums: &[u128; FIGURES.len()]) -> Self {
        let mut figures = [0; FIGURES.len()];
        for ((figure, sum), Figure { parts, .. }) in figures.iter_mut().zip(sums).zip(&FIGURES) {
            *figure = u64::try_from(sum / u128::from(*parts)).unwrap_or(u64::MAX);
        }
        Self { of: name.iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect(), figures }
    }
}
