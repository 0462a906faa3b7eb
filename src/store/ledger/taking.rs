//! Writes the table's outputs into the ledger: sessions, and what may still be added to them.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, named_params, params};

use super::events::{EventKind, EventWriter};
use super::rows::{self, NOTHING};
use crate::clock::{Timestamp, WallTime};
use crate::state::{AllocationRecord, Cause, Flag, Output, SessionRecord, sums_of_bytes, sums_to_bytes};
use crate::wire::{ByLeg, Leg, Traffic};

/// Adds an ended allocation to its session; the first one makes the row. What the session is called after (client,
/// server, cause …) is its last allocation, of those that relayed if any did.
const JOIN: &str = "
    INSERT INTO session VALUES (
        :serial, 1, :source, :realm, :user, :user_id, :client, :server, :transport, :cause, :started, :ended,
        :relay_started, :relay_ended, 1, :is_partial, :relayed_bytes, :n0, :n1, :n2, :n3, :n4, :n5, :n6, :n7, 0
    ) ON CONFLICT (serial) DO UPDATE SET
        client = iif(:names, excluded.client, client), server = iif(:names, excluded.server, server),
        transport = iif(:names, excluded.transport, transport), cause = iif(:names, excluded.cause, cause),
        started = min(started, excluded.started), ended = max(ended, excluded.ended),
        relay_started = coalesce(min(relay_started, excluded.relay_started), relay_started, excluded.relay_started),
        relay_ended = coalesce(max(relay_ended, excluded.relay_ended), relay_ended, excluded.relay_ended),
        allocations = allocations + 1, is_partial = is_partial OR excluded.is_partial,
        relayed_bytes = min(relayed_bytes + excluded.relayed_bytes, 1 << 61),
        client_received_bytes = min(client_received_bytes + :n0, 1 << 61), client_received_packets = min(client_received_packets + :n1, 1 << 61),
        client_sent_bytes = min(client_sent_bytes + :n2, 1 << 61), client_sent_packets = min(client_sent_packets + :n3, 1 << 61),
        peer_received_bytes = min(peer_received_bytes + :n4, 1 << 61), peer_received_packets = min(peer_received_packets + :n5, 1 << 61),
        peer_sent_bytes = min(peer_sent_bytes + :n6, 1 << 61), peer_sent_packets = min(peer_sent_packets + :n7, 1 << 61)";

/// Adds what an allocation still reported after it had left its session.
const AMEND: &str = "
    UPDATE session SET
        revision = iif(is_open, 0, :revision),
        relayed_bytes = min(relayed_bytes + :relayed_bytes, 1 << 61),
        client_received_bytes = min(client_received_bytes + :n0, 1 << 61), client_received_packets = min(client_received_packets + :n1, 1 << 61),
        client_sent_bytes = min(client_sent_bytes + :n2, 1 << 61), client_sent_packets = min(client_sent_packets + :n3, 1 << 61),
        peer_received_bytes = min(peer_received_bytes + :n4, 1 << 61), peer_received_packets = min(peer_received_packets + :n5, 1 << 61),
        peer_sent_bytes = min(peer_sent_bytes + :n6, 1 << 61), peer_sent_packets = min(peer_sent_packets + :n7, 1 << 61)
    WHERE serial = :serial RETURNING is_open";

/// How outputs become rows.
#[derive(Debug)]
pub(super) struct TakeSettings {
    /// Names of the sources, by their numbers in the table.
    pub(super) sources: Vec<String>,
    /// What makes a TURN REST name, whose user id a row has.
    pub(super) rest_separator: u8,
    /// Events are kept for those who are called.
    pub(super) keeps_events: bool,
}

/// A table that was lost, whose sessions are open in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct LostTable {
    /// When, by the wall clock.
    pub(super) wall: Timestamp,
    /// The number of the last output that was in the file.
    pub(super) last_taken: u64,
}

impl TakeSettings {
    /// There is something to write for it.
    pub(super) const fn wants(&self, output: &Output) -> bool {
        self.keeps_events || !output.is_notice()
    }
}

/// Writes what is new among the outputs in one transaction, with the number of the last; gives the number of the last that
/// is in the file. `lost_table`: the open sessions that are there are closed first.
pub(super) fn take(
    connection: &mut Connection,
    settings: &TakeSettings,
    times: WallTime,
    lost_table: Option<LostTable>,
    outputs: &[(u64, Output)],
) -> rusqlite::Result<u64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Asked anew each time: after a write that failed the file may have more than was believed.
    let before = last_taken(&transaction)?;
    let events = EventWriter::new(&transaction, settings.keeps_events)?;
    // With more in the file than when the table was lost, that was done by a write that seemed to fail.
    if let Some(LostTable { wall, .. }) = lost_table.filter(|lost_table| lost_table.last_taken == before) {
        close_rows(&transaction, &events, wall)?;
    }
    let writer = OutputWriter { transaction: &transaction, settings, times, events };
    let mut last = before;
    for (number, output) in outputs.iter().filter(|(number, _)| *number > before) {
        match output {
            Output::Allocation(record) => writer.end(record)?,
            Output::Session(session) => writer.close(session)?,
            Output::Opened(session) => {
                writer.events.opened(session, &settings.sources, settings.rest_separator, times)?;
            }
            Output::Orphaned(allocation) => {
                writer.events.orphaned(allocation, &settings.sources, settings.rest_separator, times)?;
            }
        }
        last = *number;
    }
    writer.events.finish()?;
    // Also where nothing is new: it shows whether the file can be written.
    transaction.prepare_cached("UPDATE taken SET number = ?1")?.execute([rows::serial(last)])?;
    transaction.commit()?;
    Ok(last)
}

/// Closes the sessions that are open, as partial, in one transaction: nothing will be added to any session.
pub(super) fn close_open(
    connection: &mut Connection,
    keeps_events: bool,
    wall: Timestamp,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let events = EventWriter::new(&transaction, keeps_events)?;
    close_rows(&transaction, &events, wall)?;
    events.finish()?;
    transaction.commit()
}

fn close_rows(
    transaction: &Transaction<'_>,
    events: &EventWriter<'_>,
    wall: Timestamp,
) -> rusqlite::Result<()> {
    let open: Vec<i64> = {
        let mut statement =
            transaction.prepare("SELECT serial FROM session WHERE is_open ORDER BY serial")?;
        statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
    };
    for serial in open {
        let number = events.next();
        transaction
            .prepare_cached(
                "UPDATE session SET is_open = 0, is_partial = 1, revision = ?2 WHERE serial = ?1",
            )?
            .execute([serial, rows::serial(number)])?;
        events.changed(EventKind::SessionClosed, number, serial, rows::wall_millis(wall))?;
    }
    transaction.execute("DELETE FROM member", [])?;
    Ok(())
}

/// The number of the last output that is in the file.
pub(super) fn last_taken(connection: &Connection) -> rusqlite::Result<u64> {
    let number: i64 =
        connection.prepare_cached("SELECT number FROM taken")?.query_row([], |row| row.get(0))?;
    Ok(number.cast_unsigned())
}

struct OutputWriter<'a> {
    transaction: &'a Transaction<'a>,
    settings: &'a TakeSettings,
    times: WallTime,
    events: EventWriter<'a>,
}

/// What the ledger has of an allocation that has ended before.
struct EndedMember {
    session: i64,
    sums: ByLeg<Traffic>,
}

impl OutputWriter<'_> {
    /// An allocation ended, or is overdue and has left its session.
    fn end(&self, record: &AllocationRecord) -> rusqlite::Result<()> {
        let member = self.member(record.serial)?;
        let before = member.as_ref().map_or(NOTHING, |member| member.sums);
        let session = match (record.session, &member) {
            (Some(session), _) => {
                self.join(session, record, &before)?;
                Some(rows::serial(session))
            }
            (None, Some(member)) => {
                self.amend(member.session, record, &before)?;
                Some(member.session)
            }
            (None, None) => None,
        };
        match session {
            Some(session) if !record.is_final => self.remember(record, session),
            _ if member.is_some() => self.forget(record.serial),
            _ => Ok(()),
        }
    }

    fn member(&self, serial: u64) -> rusqlite::Result<Option<EndedMember>> {
        let mut statement =
            self.transaction.prepare_cached("SELECT session, sums FROM member WHERE serial = ?1")?;
        let read = |row: &rusqlite::Row<'_>| {
            let sums: Vec<u8> = row.get(1)?;
            Ok(EndedMember { session: row.get(0)?, sums: sums_of_bytes(&sums).unwrap_or(NOTHING) })
        };
        statement.query_row([rows::serial(serial)], read).optional()
    }

    fn remember(&self, record: &AllocationRecord, session: i64) -> rusqlite::Result<()> {
        let mut statement = self.transaction.prepare_cached("REPLACE INTO member VALUES (?1, ?2, ?3, ?4)")?;
        let taken_at = rows::wall_millis(self.times.wall);
        statement.execute(params![
            rows::serial(record.serial),
            session,
            sums_to_bytes(&record.sums),
            taken_at
        ])?;
        Ok(())
    }

    fn forget(&self, serial: u64) -> rusqlite::Result<()> {
        self.transaction
            .prepare_cached("DELETE FROM member WHERE serial = ?1")?
            .execute([rows::serial(serial)])?;
        Ok(())
    }

    fn join(&self, session: u64, record: &AllocationRecord, before: &ByLeg<Traffic>) -> rusqlite::Result<()> {
        let serial = rows::serial(session);
        let (relay, ended) = (record.flags.has(Flag::Relayed), rows::millis(self.times, record.ended));
        let present = self
            .transaction
            .prepare_cached("SELECT relay_ended, ended FROM session WHERE serial = ?1")?
            .query_row([serial], |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        let names = match present {
            None => true,
            Some((Some(relay_ended), _)) => relay && ended >= relay_ended,
            Some((None, last)) => relay || ended >= last,
        };
        let started = rows::millis(self.times, record.started);
        let source = self.settings.sources.get(record.source.0 as usize).map_or("", String::as_str);
        let realm = String::from_utf8_lossy(&record.realm);
        let client = record.client.map(|client| client.to_string());
        let numbers = rows::added(&record.sums, before);
        self.transaction.prepare_cached(JOIN)?.execute(named_params! {
            ":serial": serial,
            ":names": names,
            ":source": source,
            ":realm": realm,
            ":user": rows::name(&record.user),
            ":user_id": rows::user_id(&record.user, self.settings.rest_separator),
            ":client": client,
            ":server": &*record.server,
            ":transport": record.transport.as_str(),
            ":cause": record.cause.map_or("", Cause::as_str),
            ":started": started,
            ":ended": ended,
            ":relay_started": relay.then_some(started),
            ":relay_ended": relay.then_some(ended),
            ":is_partial": !record.is_final || !record.is_whole(),
            ":relayed_bytes": relayed_bytes(record, &numbers),
            ":n0": numbers[0], ":n1": numbers[1], ":n2": numbers[2], ":n3": numbers[3],
            ":n4": numbers[4], ":n5": numbers[5], ":n6": numbers[6], ":n7": numbers[7],
        })?;
        Ok(())
    }

    fn amend(
        &self,
        session: i64,
        record: &AllocationRecord,
        before: &ByLeg<Traffic>,
    ) -> rusqlite::Result<()> {
        let numbers = rows::added(&record.sums, before);
        if numbers == [0; 8] {
            return Ok(());
        }
        let revision = self.events.next();
        let is_open = self
            .transaction
            .prepare_cached(AMEND)?
            .query_row(
                named_params! {
                    ":serial": session,
                    ":revision": rows::serial(revision),
                    ":relayed_bytes": relayed_bytes(record, &numbers),
                    ":n0": numbers[0], ":n1": numbers[1], ":n2": numbers[2], ":n3": numbers[3],
                    ":n4": numbers[4], ":n5": numbers[5], ":n6": numbers[6], ":n7": numbers[7],
                },
                |row| row.get::<_, bool>(0),
            )
            .optional()?;
        match is_open {
            Some(false) => {
                let at = rows::wall_millis(self.times.wall);
                self.events.changed(EventKind::SessionAmended, revision, session, at)
            }
            // Announced when it closes, or older than the ledger keeps.
            Some(true) | None => Ok(()),
        }
    }

    /// A session is over: from now on it is in the answers.
    fn close(&self, session: &SessionRecord) -> rusqlite::Result<()> {
        let millis = |moment| rows::millis(self.times, moment);
        let (serial, revision) = (rows::serial(session.serial), self.events.next());
        let mut statement = self.transaction.prepare_cached(
            "UPDATE session SET is_open = 0, started = ?2, ended = ?3, relay_started = ?4, relay_ended = ?5,
                allocations = ?6, is_partial = ?7, revision = ?8 WHERE serial = ?1",
        )?;
        statement.execute(params![
            serial,
            millis(session.started),
            millis(session.ended),
            session.relay.map(|(first, _)| millis(first)),
            session.relay.map(|(_, last)| millis(last)),
            session.allocations,
            session.is_partial,
            rows::serial(revision),
        ])?;
        self.events.changed(EventKind::SessionClosed, revision, serial, millis(session.ended))
    }
}

/// What an allocation adds to its session's relayed bytes, by the leg that decides.
const fn relayed_bytes(record: &AllocationRecord, [a, _, b, _, c, _, d, _]: &[i64; 8]) -> i64 {
    match record.flags.deciding_leg() {
        Leg::Client => a.saturating_add(*b),
        Leg::Peer => c.saturating_add(*d),
    }
}
