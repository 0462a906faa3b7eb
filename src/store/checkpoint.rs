//! What is written when a scraper is answered, and when something ends.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::rows::{self, NOTHING, UPSERT};
use super::takeover::StoredAllocation;
use super::{Checkpoint, MEMORY};
use crate::clock::{Timestamp, WallTime};
use crate::state::{AllocationRecord, Cause, END_REPORTED_BIT, EndedRecords, Flag, SessionRecord};
use crate::wire::{ByLeg, Leg, Traffic};

/// Sessions that leave the ledger at once.
const SLICE: u32 = 10_000;

/// Adds an ended allocation to its session; the first one makes the row. What the session is called after (client,
/// server, cause …) is its last allocation, of those that relayed if any did.
const JOIN: &str = "
    INSERT INTO session VALUES (
        :serial, 1, :source, :realm, :user, :user_id, :client, :server, :transport, :cause, :started, :ended,
        :relay_started, :relay_ended, 1, :is_partial, :relayed_bytes, :n0, :n1, :n2, :n3, :n4, :n5, :n6, :n7
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

/// Adds what an allocation still reported after its session was over.
const AMEND: &str = "
    UPDATE session SET
        relayed_bytes = min(relayed_bytes + :relayed_bytes, 1 << 61),
        client_received_bytes = min(client_received_bytes + :n0, 1 << 61), client_received_packets = min(client_received_packets + :n1, 1 << 61),
        client_sent_bytes = min(client_sent_bytes + :n2, 1 << 61), client_sent_packets = min(client_sent_packets + :n3, 1 << 61),
        peer_received_bytes = min(peer_received_bytes + :n4, 1 << 61), peer_received_packets = min(peer_received_packets + :n5, 1 << 61),
        peer_sent_bytes = min(peer_sent_bytes + :n6, 1 << 61), peer_sent_packets = min(peer_sent_packets + :n7, 1 << 61)
    WHERE serial = :serial";

/// Which rows a scraper is exported of that are not in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExportedRows {
    /// Those that have ended.
    Ended,
    /// Some that were written without being exported, too.
    Any,
}

/// Writes a batch in one transaction.
pub(super) fn write(
    connection: &mut Connection,
    sources: &[String],
    rest_separator: u8,
    times: WallTime,
    ended: &EndedRecords,
    checkpoint: Option<&Checkpoint>,
    exported: Option<ExportedRows>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let writer = BatchWriter { transaction: &transaction, sources, rest_separator, times };
    for record in &ended.allocations {
        writer.end(record)?;
    }
    for session in &ended.sessions {
        writer.conclude(session)?;
    }
    if let Some(checkpoint) = checkpoint {
        writer.checkpoint(checkpoint, exported)?;
    }
    transaction.commit()
}

struct BatchWriter<'a> {
    transaction: &'a Transaction<'a>,
    sources: &'a [String],
    rest_separator: u8,
    times: WallTime,
}

impl BatchWriter<'_> {
    /// An allocation ended, or is overdue and has left its session.
    fn end(&self, record: &AllocationRecord) -> rusqlite::Result<()> {
        let known = self
            .transaction
            .prepare_cached("SELECT * FROM allocation WHERE serial = ?")?
            .query_row([rows::serial(record.serial)], StoredAllocation::read)
            .optional()?;
        let (exported, accounted) =
            known.as_ref().map_or((NOTHING, NOTHING), |row| (row.exported, row.accounted));
        match record.session {
            Some(session) => self.join(session, record, &accounted)?,
            None => {
                if let Some(session) = known.and_then(|row| row.record.session) {
                    self.amend(session, record, &accounted)?;
                }
            }
        }
        // What was exported in full, and is over, leaves nothing to go on from.
        if record.is_final && record.flags.has(Flag::EndReported) && record.sums == exported {
            self.transaction
                .prepare_cached("DELETE FROM allocation WHERE serial = ?")?
                .execute([rows::serial(record.serial)])?;
            return Ok(());
        }
        let mut statement = self.transaction.prepare_cached(&UPSERT)?;
        rows::upsert(&mut statement, self.times, self.source(record), record, None, Some(&record.sums))
    }

    fn join(
        &self,
        session: u64,
        record: &AllocationRecord,
        accounted: &ByLeg<Traffic>,
    ) -> rusqlite::Result<()> {
        let serial = rows::serial(session);
        let (relay, ended) = (record.flags.has(Flag::Relayed), rows::millis(self.times, record.ended));
        let before = self
            .transaction
            .prepare_cached("SELECT relay_ended, ended FROM session WHERE serial = ?")?
            .query_row([serial], |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        let names = match before {
            None => true,
            Some((Some(relay_ended), _)) => relay && ended >= relay_ended,
            Some((None, last)) => relay || ended >= last,
        };
        let started = rows::millis(self.times, record.started);
        let realm = String::from_utf8_lossy(&record.realm);
        let client = record.client.map(|client| client.to_string());
        let numbers = rows::added(&record.sums, accounted);
        self.transaction.prepare_cached(JOIN)?.execute(rusqlite::named_params! {
            ":serial": serial,
            ":names": names,
            ":source": self.source(record),
            ":realm": realm,
            ":user": rows::name(&record.user),
            ":user_id": rows::user_id(&record.user, self.rest_separator),
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
        session: u64,
        record: &AllocationRecord,
        accounted: &ByLeg<Traffic>,
    ) -> rusqlite::Result<()> {
        let numbers = rows::added(&record.sums, accounted);
        self.transaction.prepare_cached(AMEND)?.execute(rusqlite::named_params! {
            ":serial": rows::serial(session),
            ":relayed_bytes": relayed_bytes(record, &numbers),
            ":n0": numbers[0], ":n1": numbers[1], ":n2": numbers[2], ":n3": numbers[3],
            ":n4": numbers[4], ":n5": numbers[5], ":n6": numbers[6], ":n7": numbers[7],
        })?;
        Ok(())
    }

    /// A session is over: from now on it is in the ledger.
    fn conclude(&self, session: &SessionRecord) -> rusqlite::Result<()> {
        let millis = |moment| rows::millis(self.times, moment);
        let mut statement = self.transaction.prepare_cached(
            "UPDATE session SET is_open = 0, started = ?2, ended = ?3, relay_started = ?4, relay_ended = ?5,
                allocations = ?6, is_partial = ?7 WHERE serial = ?1",
        )?;
        statement.execute(params![
            rows::serial(session.serial),
            millis(session.started),
            millis(session.ended),
            session.relay.map(|(first, _)| millis(first)),
            session.relay.map(|(_, last)| millis(last)),
            session.allocations,
            session.is_partial,
        ])?;
        Ok(())
    }

    /// The table as it is now; all of it is exported, or what was exported stays as it is.
    fn checkpoint(&self, checkpoint: &Checkpoint, exported: Option<ExportedRows>) -> rusqlite::Result<()> {
        let Checkpoint { ref changed, is_all, ref received, ref realms } = *checkpoint;
        if is_all {
            self.drop_others(changed)?;
        }
        let mut statement = self.transaction.prepare_cached(&UPSERT)?;
        for record in changed {
            let exported_sums = exported.map(|_| &record.sums);
            rows::upsert(&mut statement, self.times, self.source(record), record, exported_sums, None)?;
        }
        if let Some(exported) = exported {
            let ended = match exported {
                ExportedRows::Ended => "stage = 'ended' AND ",
                ExportedRows::Any => "",
            };
            let sql = format!("UPDATE allocation SET told = sums WHERE {ended} told IS NOT sums");
            self.transaction.prepare_cached(&sql)?.execute([])?;
            // Nothing is left to go on from.
            let sql = format!("DELETE FROM allocation WHERE stage = 'ended' AND facts & {END_REPORTED_BIT}");
            self.transaction.prepare_cached(&sql)?.execute([])?;
        }
        let wall = rows::millis(self.times, self.times.now);
        let mut statement = self.transaction.prepare_cached(
            "INSERT INTO source VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET heard = excluded.heard",
        )?;
        for (source, &received) in self.sources.iter().zip(received) {
            // One that was never received has exported nothing that could be gone on from.
            if received > Timestamp::ZERO {
                statement.execute(params![source, wall, rows::millis(self.times, received)])?;
            }
        }
        let mut statement = self.transaction.prepare_cached(
            "INSERT INTO realm VALUES (?1, ?2) ON CONFLICT DO UPDATE SET seen = excluded.seen",
        )?;
        for realm in realms {
            statement.execute(params![&**realm, wall])?;
        }
        Ok(())
    }

    fn drop_others(&self, all: &[AllocationRecord]) -> rusqlite::Result<()> {
        let present: HashSet<i64> = all.iter().map(|record| rows::serial(record.serial)).collect();
        let mut statement =
            self.transaction.prepare("SELECT serial FROM allocation WHERE stage <> 'ended'")?;
        let serials: Vec<i64> =
            statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let mut delete = self.transaction.prepare_cached("DELETE FROM allocation WHERE serial = ?")?;
        for serial in serials.iter().filter(|serial| !present.contains(serial)) {
            delete.execute([serial])?;
        }
        Ok(())
    }

    fn source(&self, record: &AllocationRecord) -> &str {
        self.sources.get(record.source.0 as usize).map_or("", String::as_str)
    }
}

/// What an allocation adds to its session's relayed bytes, by the leg that decides.
const fn relayed_bytes(record: &AllocationRecord, [a, _, b, _, c, _, d, _]: &[i64; 8]) -> i64 {
    match record.flags.deciding_leg() {
        Leg::Client => a.saturating_add(*b),
        Leg::Peer => c.saturating_add(*d),
    }
}

/// Finds out whether the file can be written, at little cost.
pub(super) fn probe(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("INSERT INTO source VALUES ('', 0, 0)", [])?;
    transaction.execute("DELETE FROM source WHERE name = ''", [])?;
    transaction.commit()
}

/// Removes old sessions from the ledger, a slice at a time; gives whether there are more. And what is too old to be gone
/// on from.
pub(super) fn forget_before(
    connection: &Connection,
    horizon: Timestamp,
    wall: Timestamp,
) -> rusqlite::Result<bool> {
    let millis = |moment: Timestamp| i64::try_from(moment.as_millis()).unwrap_or(i64::MAX);
    let day_ago = millis(wall.minus(MEMORY));
    connection
        .prepare_cached("DELETE FROM allocation WHERE stage = 'ended' AND ended < ?1")?
        .execute([day_ago])?;
    connection.prepare_cached("DELETE FROM realm WHERE seen < ?1")?.execute([day_ago])?;
    let mut statement = connection.prepare_cached(
        "DELETE FROM session WHERE serial IN
            (SELECT serial FROM session WHERE NOT is_open AND ended < ?1 ORDER BY ended LIMIT ?2)",
    )?;
    Ok(statement.execute(params![millis(horizon), SLICE])? >= SLICE as usize)
}

/// How many sessions ended before `horizon`, and, if they are more than a `few`, whether they are more than one in `part`
/// of the ledger. Looks at no more rows than that takes.
pub(super) fn count_before(
    connection: &Connection,
    horizon: Timestamp,
    few: u64,
    part: u64,
) -> rusqlite::Result<(u64, bool)> {
    let horizon = i64::try_from(horizon.as_millis()).unwrap_or(i64::MAX);
    let count = |sql: &str, bound: i64| -> rusqlite::Result<u64> {
        let found: i64 = connection.prepare_cached(sql)?.query_row([bound], |row| row.get(0))?;
        Ok(u64::try_from(found).unwrap_or(0))
    };
    let old = count("SELECT count(*) FROM session WHERE NOT is_open AND ended < ?1", horizon)?;
    if old <= few {
        return Ok((old, false));
    }
    let enough = i64::try_from(old.saturating_mul(part)).unwrap_or(i64::MAX);
    let sql = "SELECT count(*) FROM (SELECT 1 FROM session WHERE NOT is_open LIMIT ?1)";
    Ok((old, count(sql, enough)? < enough.unsigned_abs()))
}
