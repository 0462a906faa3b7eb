//! Events: each change of a session that others may be called for, and each orphaned allocation, under a number of its own.

use std::cell::Cell;

use rusqlite::{Connection, Transaction, params};
use serde_json::{Map, Value};

use super::{rows, sessions};
use crate::clock::{Timestamp, WallTime};
use crate::state::{AllocationNames, OpenedSession, OrphanedAllocation};
use crate::wire::turn_rest;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A session began.
    SessionOpened,
    /// A session is over.
    SessionClosed,
    /// A closed session was added to.
    SessionAmended,
    /// An allocation became an orphan.
    AllocationOrphaned,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::SessionOpened, Self::SessionClosed, Self::SessionAmended, Self::AllocationOrphaned];

    /// Its name in an event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionOpened => "coturn.session.opened",
            Self::SessionClosed => "coturn.session.closed",
            Self::SessionAmended => "coturn.session.amended",
            Self::AllocationOrphaned => "coturn.allocation.orphaned",
        }
    }

    fn of_str(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Something that happened, for those who are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEvent {
    /// Its number in this ledger, for ever. Numbers rise; some are missing.
    pub number: u64,
    /// What happened.
    pub kind: EventKind,
    /// The number of the session; 0 for an allocation that is in none.
    pub session: u64,
    /// When, by the wall clock.
    pub at: Timestamp,
    /// A JSON object; `user`, `user_id` and `client` are names of persons.
    pub data: Map<String, Value>,
}

/// Writes events in the transaction that they belong to.
pub(super) struct EventWriter<'a> {
    transaction: &'a Transaction<'a>,
    /// Nobody is called: events have their numbers, but are not kept.
    is_kept: bool,
    last: Cell<u64>,
    /// The highest number of a session that was announced here.
    last_session: Cell<i64>,
}

impl<'a> EventWriter<'a> {
    pub(super) fn new(transaction: &'a Transaction<'a>, is_kept: bool) -> rusqlite::Result<Self> {
        Ok(Self {
            transaction,
            is_kept,
            last: Cell::new(last_event(transaction)?),
            last_session: Cell::new(0),
        })
    }

    /// The number of the next event.
    pub(super) fn next(&self) -> u64 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }

    /// The session changed: it is finished, and `number` is its revision.
    pub(super) fn changed(&self, kind: EventKind, number: u64, serial: i64, at: i64) -> rusqlite::Result<()> {
        if self.is_kept
            && let Some(session) = sessions::session(self.transaction, serial)?
        {
            self.write(number, kind, serial, at, &session.to_json())?;
        }
        Ok(())
    }

    pub(super) fn opened(
        &self,
        session: &OpenedSession,
        sources: &[String],
        separator: u8,
        times: WallTime,
    ) -> rusqlite::Result<()> {
        if !self.is_kept {
            return Ok(());
        }
        let mut data = names_to_json(&session.first, sources, separator, times);
        data.insert("adopted".to_owned(), session.is_adopted.into());
        let (serial, at) = (rows::serial(session.first.session), rows::millis(times, session.first.started));
        self.write(self.next(), EventKind::SessionOpened, serial, at, &data)
    }

    pub(super) fn orphaned(
        &self,
        orphan: &OrphanedAllocation,
        sources: &[String],
        separator: u8,
        times: WallTime,
    ) -> rusqlite::Result<()> {
        if !self.is_kept {
            return Ok(());
        }
        let mut data = names_to_json(&orphan.allocation, sources, separator, times);
        data.insert("reason".to_owned(), orphan.reason.as_str().into());
        let since = rows::millis(times, orphan.since);
        data.insert("since".to_owned(), rows::moment(since).rfc3339().into());
        let serial = rows::serial(orphan.allocation.session);
        self.write(self.next(), EventKind::AllocationOrphaned, serial, since, &data)
    }

    fn write(
        &self,
        number: u64,
        kind: EventKind,
        session: i64,
        at: i64,
        data: &Map<String, Value>,
    ) -> rusqlite::Result<()> {
        self.last_session.set(self.last_session.get().max(session));
        let data = serde_json::to_string(data).unwrap_or_default();
        self.transaction
            .prepare_cached("INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![rows::serial(number), kind.as_str(), session, at, data])?;
        Ok(())
    }

    /// Keeps the numbers of the last event and session.
    pub(super) fn finish(self) -> rusqlite::Result<()> {
        let sql =
            "UPDATE identity SET last_event = ?1, last_session = max(last_session, ?2) WHERE last_event < ?1";
        let last = rows::serial(self.last.get());
        self.transaction.prepare_cached(sql)?.execute([last, self.last_session.get()])?;
        Ok(())
    }
}

/// The number of the last event.
pub(super) fn last_event(connection: &Connection) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("SELECT last_event FROM identity")?;
    let number: i64 = statement.query_row([], |row| row.get(0))?;
    Ok(number.cast_unsigned())
}

/// The first `most` events after the event `after`.
pub(super) fn after(connection: &Connection, after: u64, most: usize) -> rusqlite::Result<Vec<LedgerEvent>> {
    let sql = "SELECT number, kind, session, at, data FROM event WHERE number > ?1 ORDER BY number LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let events = statement.query_map([rows::serial(after), most], |row| {
        let (kind, data): (String, String) = (row.get(1)?, row.get(4)?);
        let number: i64 = row.get(0)?;
        Ok(LedgerEvent {
            number: number.cast_unsigned(),
            kind: EventKind::of_str(&kind).ok_or_else(|| unknown(1))?,
            session: row.get::<_, i64>(2)?.cast_unsigned(),
            at: rows::moment(row.get(3)?),
            data: serde_json::from_str(&data).map_err(|_| unknown(4))?,
        })
    })?;
    events.collect()
}

/// What nobody has written.
fn unknown(column: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, String::new(), rusqlite::types::Type::Text)
}

fn names_to_json(
    names: &AllocationNames,
    sources: &[String],
    separator: u8,
    times: WallTime,
) -> Map<String, Value> {
    let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes));
    let mut data = Map::new();
    let mut put = |key: &str, value: Value| data.insert(key.to_owned(), value);
    if names.session != 0 {
        put("session", names.session.into());
    }
    put("allocation", names.id.to_string().into());
    put("source", sources.get(names.source.0 as usize).map_or("", String::as_str).into());
    put("realm", text(&names.realm));
    put("user", text(&names.user));
    put("user_id", text(turn_rest::user_id(&names.user, separator).unwrap_or(&names.user)));
    put("client", names.client.map(|client| client.to_string()).into());
    put("server", (&*names.server).into());
    put("transport", names.transport.as_str().into());
    put("started", rows::moment(rows::millis(times, names.started)).rfc3339().into());
    data
}
