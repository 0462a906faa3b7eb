//! Those who take sessions and events elsewhere (sinks): what waits for each, and how far each has come.
//!
//! Sessions wait as rows of the ledger, for as long as it keeps them: a sink that was away for a month misses nothing, and a
//! new one takes over the history. Events wait in a table of their own, which is bounded.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, named_params, params};

use super::error::LedgerError;
use super::events::{self, LedgerEvent};
use super::sessions::{self, FinishedSession};
use super::{SessionLedger, rows};
use crate::clock::Timestamp;

/// What a sink takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkContents {
    /// Finished sessions as they are now.
    Sessions,
    /// Everything that happens, from when it was first named.
    Events,
}

/// What came of deliveries since it was last written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkProgress {
    /// The sink has everything up to the event of this number.
    pub taken: u64,
    /// So many sessions or events were taken.
    pub delivered: u64,
    /// So many deliveries failed.
    pub failed: u64,
    /// So many were given up.
    pub dropped: u64,
}

impl SinkProgress {
    /// What came of the next deliveries.
    pub fn add(&mut self, more: Self) {
        self.taken = self.taken.max(more.taken);
        self.delivered = self.delivered.saturating_add(more.delivered);
        self.failed = self.failed.saturating_add(more.failed);
        self.dropped = self.dropped.saturating_add(more.dropped);
    }
}

/// How it stands with a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkFigures {
    /// Its name.
    pub name: String,
    /// It has everything up to the event of this number.
    pub taken: u64,
    /// What it has taken, ever.
    pub delivered: u64,
    /// Deliveries that failed, ever.
    pub failed: u64,
    /// What it will never get, ever.
    pub dropped: u64,
    /// How many sessions or events wait, up to a million.
    pub pending: u64,
    /// When what waits longest happened.
    pub oldest: Option<Timestamp>,
}

/// More that waits is not counted: it would take long.
const MOST_COUNTED: u64 = 1_000_000;

/// How long and how many events wait at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventBounds {
    /// Older ones are given up.
    pub age: Duration,
    /// Of more than so many, the oldest are given up.
    pub count: u64,
}

/// Events that leave at once.
const SLICE: u64 = 10_000;

impl SessionLedger {
    /// From now on these take sessions or events elsewhere. One that is new gets all sessions, or events from now on.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn set_sinks(&mut self, sinks: Vec<(String, SinkContents)>) -> Result<(), LedgerError> {
        for (name, contents) in &sinks {
            let first = match contents {
                SinkContents::Sessions => 0,
                SinkContents::Events => self.first_event,
            };
            let sql = "INSERT INTO sink (name, taken) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            let inserted = self.file.connection.execute(sql, params![name, rows::serial(first)]);
            inserted.map_err(|error| LedgerError::of(&self.path, error))?;
        }
        self.settings.keeps_events = sinks.iter().any(|(_, contents)| *contents == SinkContents::Events);
        self.sinks = sinks;
        Ok(())
    }

    /// The ledger's own UUID.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn store_id(&self) -> Result<String, LedgerError> {
        let store = self.file.connection.query_row("SELECT store FROM identity", [], |row| row.get(0));
        store.map_err(|error| LedgerError::of(&self.path, error))
    }

    /// The number of the last event that a ledger has from the one that it was copied from; 0 for others. What came up to
    /// it was delivered under another UUID.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn copied_event(&self) -> Result<u64, LedgerError> {
        let sql = "SELECT copied_event FROM identity";
        let number = self.file.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        number.map(i64::cast_unsigned).map_err(|error| LedgerError::of(&self.path, error))
    }

    /// The number of the last event.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn last_event(&self) -> Result<u64, LedgerError> {
        events::last_event(&self.file.connection).map_err(|error| LedgerError::of(&self.path, error))
    }

    /// The first `most` finished sessions that changed after the event `after`.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn sessions_after(&self, after: u64, most: usize) -> Result<Vec<FinishedSession>, LedgerError> {
        sessions::changed_after(&self.file.connection, after, most)
            .map_err(|error| LedgerError::of(&self.path, error))
    }

    /// The first `most` events after the event `after`.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn events_after(&self, after: u64, most: usize) -> Result<Vec<LedgerEvent>, LedgerError> {
        events::after(&self.file.connection, after, most).map_err(|error| LedgerError::of(&self.path, error))
    }

    /// Writes how far a sink has come.
    ///
    /// # Errors
    ///
    /// A file that cannot be written, or is not the one that was opened; nothing was written.
    pub fn note_progress(&mut self, sink: &str, progress: SinkProgress) -> Result<(), LedgerError> {
        self.check_file()?;
        let SinkProgress { taken, delivered, failed, dropped } = progress;
        let sql = "UPDATE sink SET taken = max(taken, :taken), delivered = delivered + :delivered,
            failed = failed + :failed, dropped = dropped + :dropped WHERE name = :name";
        let written = self.file.connection.prepare_cached(sql).and_then(|mut statement| {
            statement.execute(named_params! {
                ":name": sink,
                ":taken": rows::serial(taken),
                ":delivered": rows::serial(delivered),
                ":failed": rows::serial(failed),
                ":dropped": rows::serial(dropped),
            })
        });
        written.map(drop).map_err(|error| LedgerError::of(&self.path, error))
    }

    /// A sink has no more than what came up to the event of this number.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn go_back(&mut self, sink: &str, to: u64) -> Result<(), LedgerError> {
        let sql = "UPDATE sink SET taken = min(taken, ?2) WHERE name = ?1";
        let written = self.file.connection.execute(sql, params![sink, rows::serial(to)]);
        written.map(drop).map_err(|error| LedgerError::of(&self.path, error))
    }

    /// The number of the event up to which a sink has everything.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn taken_by(&self, sink: &str) -> Result<u64, LedgerError> {
        let taken = taken(&self.file.connection, sink).map_err(|error| LedgerError::of(&self.path, error))?;
        Ok(taken.unwrap_or(0).cast_unsigned())
    }

    /// How it stands with each sink.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn sink_figures(&self) -> Result<Vec<SinkFigures>, LedgerError> {
        let figures =
            self.sinks.iter().map(|(name, contents)| figures(&self.file.connection, name, *contents));
        figures.collect::<rusqlite::Result<_>>().map_err(|error| LedgerError::of(&self.path, error))
    }

    /// Removes events that all sinks have, and those beyond the bounds, some thousands at most; gives whether there are more.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn trim_events(&mut self, bounds: EventBounds, wall: Timestamp) -> Result<bool, LedgerError> {
        let takers = self.sinks.iter().filter(|(_, contents)| *contents == SinkContents::Events);
        let takers: Vec<String> = takers.map(|(name, _)| name.clone()).collect();
        trim(&mut self.file.connection, &takers, bounds, wall)
            .map_err(|error| LedgerError::of(&self.path, error))
    }

    /// The ledger is an older copy of one that has gone on elsewhere: it takes a UUID of its own. What has changed since it was
    /// opened, and was not taken by the sink under the other UUID, goes to the sink under that.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn become_another(&mut self, sink: &str) -> Result<(), LedgerError> {
        let first = rows::serial(self.first_event);
        let renewed = self.file.connection.transaction().and_then(|transaction| {
            let begins_after = taken(&transaction, sink)?.unwrap_or(0).max(first);
            transaction
                .execute(&format!("UPDATE identity SET store = {UUID}, copied_event = ?1"), [begins_after])?;
            transaction.execute("UPDATE sink SET taken = ?2 WHERE name = ?1", params![sink, begins_after])?;
            transaction.commit()
        });
        renewed.map_err(|error| LedgerError::of(&self.path, error))
    }

    /// Counts the sessions that leave the ledger before a sink has them.
    pub(super) fn count_dropped(&self, revisions: &[i64]) -> rusqlite::Result<()> {
        let takers = self.sinks.iter().filter(|(_, contents)| *contents == SinkContents::Sessions);
        for (name, _) in takers {
            let Some(taken) = taken(&self.file.connection, name)? else { continue };
            let dropped = revisions.iter().filter(|&&revision| revision > taken).count();
            if dropped > 0 {
                let dropped = i64::try_from(dropped).unwrap_or(i64::MAX);
                let sql = "UPDATE sink SET dropped = dropped + ?2 WHERE name = ?1";
                self.file.connection.prepare_cached(sql)?.execute(params![name, dropped])?;
            }
        }
        Ok(())
    }
}

/// A random UUID (version 4), as SQL. The migrations have another copy, which never changes.
const UUID: &str =
    "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2)
    || '-8' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))";

fn taken(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT taken FROM sink WHERE name = ?1")?;
    statement.query_row([name], |row| row.get(0)).optional()
}

fn figures(connection: &Connection, name: &str, contents: SinkContents) -> rusqlite::Result<SinkFigures> {
    let mut statement =
        connection.prepare_cached("SELECT taken, delivered, failed, dropped FROM sink WHERE name = ?1")?;
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    let read = |row: &rusqlite::Row<'_>| {
        Ok([number(row.get(0)?), number(row.get(1)?), number(row.get(2)?), number(row.get(3)?)])
    };
    let [taken, delivered, failed, dropped] = statement.query_row([name], read)?;
    let (count, oldest) = match contents {
        SinkContents::Sessions => (
            "SELECT count(*) FROM (SELECT 1 FROM session WHERE revision > 0 AND revision > ?1 LIMIT ?2)",
            "SELECT ended FROM session WHERE revision > 0 AND revision > ?1 ORDER BY revision LIMIT 1",
        ),
        SinkContents::Events => (
            "SELECT count(*) FROM (SELECT 1 FROM event INDEXED BY event_waiting WHERE number > ?1 LIMIT ?2)",
            "SELECT at FROM event WHERE number > ?1 ORDER BY number LIMIT 1",
        ),
    };
    let after = rows::serial(taken);
    let pending = connection
        .prepare_cached(count)?
        .query_row([after, rows::serial(MOST_COUNTED)], |row| row.get::<_, i64>(0))?;
    let oldest = connection.prepare_cached(oldest)?.query_row([after], |row| row.get(0)).optional()?;
    Ok(SinkFigures {
        name: name.to_owned(),
        taken,
        delivered,
        failed,
        dropped,
        pending: number(pending),
        oldest: oldest.map(rows::moment),
    })
}

/// `takers` are those that take events.
fn trim(
    connection: &mut Connection,
    takers: &[String],
    bounds: EventBounds,
    wall: Timestamp,
) -> rusqlite::Result<bool> {
    let transaction = connection.transaction()?;
    let last_to_go = last_to_go(&transaction, bounds, wall)?;
    let mut all_have = i64::MAX;
    for name in takers {
        let Some(taken) = taken(&transaction, name)? else { continue };
        if taken < last_to_go {
            transaction
                .prepare_cached(
                    "UPDATE sink SET taken = ?2,
                        dropped = dropped + (SELECT count(*) FROM event INDEXED BY event_waiting
                            WHERE number > taken AND number <= ?2)
                     WHERE name = ?1",
                )?
                .execute(params![name, last_to_go])?;
        }
        all_have = all_have.min(taken.max(last_to_go));
    }
    let removed = transaction
        .prepare_cached(
            "DELETE FROM event WHERE number IN (SELECT number FROM event WHERE number <= ?1 ORDER BY number LIMIT ?2)",
        )?
        .execute(params![all_have, rows::serial(SLICE)])?;
    transaction.commit()?;
    Ok(removed as u64 >= SLICE)
}

/// The number of the last event that may not wait any longer. They are looked at in the order of their numbers, which is
/// nearly that of their times.
fn last_to_go(connection: &Connection, bounds: EventBounds, wall: Timestamp) -> rusqlite::Result<i64> {
    let edge = |sql: &str, bound: &[i64]| {
        let mut statement = connection.prepare_cached(sql)?;
        let edge = statement.query_row(rusqlite::params_from_iter(bound), |row| row.get::<_, i64>(0));
        edge.optional()
    };
    let newest = edge("SELECT number FROM event ORDER BY number DESC LIMIT 1", &[])?.unwrap_or(0);
    let too_old = rows::wall_millis(wall.minus(bounds.age));
    let sql = "SELECT number FROM event INDEXED BY event_waiting WHERE at >= ?1 ORDER BY number LIMIT 1";
    let by_age = edge(sql, &[too_old])?.map_or(newest, |first_young| first_young - 1);
    Ok(by_age.max(newest.saturating_sub(rows::serial(bounds.count))).max(0))
}
