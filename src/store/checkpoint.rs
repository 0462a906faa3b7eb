//! What is written when a scraper is told, when something ends, and what is read at the start.

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::rows::{self, AllocationRow, END_TOLD, NOTHING, Sums, UPSERT, Walls};
use super::{Checkpoint, Found};
use crate::clock::Timestamp;
use crate::state::{
    AllocationRecord, Cause, Concluded, EndedRecords, SavedAllocation, SavedSession, SavedSource, SavedTable,
    SourceId, Stage,
};

/// How long it is of use to go on from what ended, from a realm that is not in use, and from a source that is not watched.
const MEMORY: Duration = Duration::from_secs(24 * 3600);

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

/// Which rows a scraper is told of that are not in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToldRows {
    /// Those that have ended.
    Ended,
    /// Some that were written without being told, too.
    Any,
}

/// Writes a batch in one transaction.
pub(super) fn write(
    connection: &mut Connection,
    sources: &[String],
    rest_separator: u8,
    walls: Walls,
    ended: &EndedRecords,
    checkpoint: Option<&Checkpoint>,
    told: Option<ToldRows>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let writer = Writer { transaction: &transaction, sources, rest_separator, walls };
    for kept in &ended.allocations {
        writer.end(kept)?;
    }
    for session in &ended.sessions {
        writer.conclude(session)?;
    }
    if let Some(checkpoint) = checkpoint {
        writer.checkpoint(checkpoint, told)?;
    }
    transaction.commit()
}

struct Writer<'a> {
    transaction: &'a Transaction<'a>,
    sources: &'a [String],
    rest_separator: u8,
    walls: Walls,
}

impl Writer<'_> {
    /// An allocation ended, or is overdue and has left its session.
    fn end(&self, kept: &AllocationRecord) -> rusqlite::Result<()> {
        let known = self
            .transaction
            .prepare_cached("SELECT * FROM allocation WHERE serial = ?")?
            .query_row([rows::serial(kept.serial)], AllocationRow::read)
            .optional()?;
        let (told, accounted) = known.as_ref().map_or((NOTHING, NOTHING), |row| (row.told, row.accounted));
        match kept.session {
            Some(session) => self.join(session, kept, &accounted)?,
            None => {
                if let Some(session) = known.and_then(|row| row.kept.session) {
                    self.amend(session, kept, &accounted)?;
                }
            }
        }
        // What was told in full, and is over, leaves nothing to go on from.
        if kept.stage == Stage::Ended && kept.is_end_told && kept.sums == told {
            self.transaction
                .prepare_cached("DELETE FROM allocation WHERE serial = ?")?
                .execute([rows::serial(kept.serial)])?;
            return Ok(());
        }
        let mut statement = self.transaction.prepare_cached(UPSERT)?;
        rows::upsert(&mut statement, self.walls, self.source(kept), kept, None, Some(&kept.sums))
    }

    fn join(&self, session: u64, kept: &AllocationRecord, accounted: &Sums) -> rusqlite::Result<()> {
        let serial = rows::serial(session);
        let (relay, ended) = (kept.relayed, self.walls.millis(kept.ended));
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
        let started = self.walls.millis(kept.started);
        let realm = String::from_utf8_lossy(&kept.realm);
        let client = kept.client.map(|client| client.to_string());
        let numbers = rows::beyond(&kept.sums, accounted);
        self.transaction.prepare_cached(JOIN)?.execute(rusqlite::named_params! {
            ":serial": serial,
            ":names": names,
            ":source": self.source(kept),
            ":realm": realm,
            ":user": rows::name(&kept.user),
            ":user_id": rows::user_id(&kept.user, self.rest_separator),
            ":client": client,
            ":server": &*kept.server,
            ":transport": kept.transport.as_str(),
            ":cause": kept.cause.map_or("", Cause::as_str),
            ":started": started,
            ":ended": ended,
            ":relay_started": relay.then_some(started),
            ":relay_ended": relay.then_some(ended),
            ":is_partial": kept.stage != Stage::Ended || !kept.is_whole(),
            ":relayed_bytes": relayed_bytes(kept, &numbers),
            ":n0": numbers[0], ":n1": numbers[1], ":n2": numbers[2], ":n3": numbers[3],
            ":n4": numbers[4], ":n5": numbers[5], ":n6": numbers[6], ":n7": numbers[7],
        })?;
        Ok(())
    }

    fn amend(&self, session: u64, kept: &AllocationRecord, accounted: &Sums) -> rusqlite::Result<()> {
        let numbers = rows::beyond(&kept.sums, accounted);
        self.transaction.prepare_cached(AMEND)?.execute(rusqlite::named_params! {
            ":serial": rows::serial(session),
            ":relayed_bytes": relayed_bytes(kept, &numbers),
            ":n0": numbers[0], ":n1": numbers[1], ":n2": numbers[2], ":n3": numbers[3],
            ":n4": numbers[4], ":n5": numbers[5], ":n6": numbers[6], ":n7": numbers[7],
        })?;
        Ok(())
    }

    /// A session is over: from now on it is in the ledger.
    fn conclude(&self, session: &Concluded) -> rusqlite::Result<()> {
        let millis = |moment| self.walls.millis(moment);
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

    /// The table as it is now; all of it is told, or what was told stays as it is.
    fn checkpoint(&self, checkpoint: &Checkpoint, told: Option<ToldRows>) -> rusqlite::Result<()> {
        let Checkpoint { ref changed, is_all, ref heard, ref realms } = *checkpoint;
        if is_all {
            self.drop_others(changed)?;
        }
        let mut statement = self.transaction.prepare_cached(UPSERT)?;
        for kept in changed {
            let told_sums = told.map(|_| &kept.sums);
            rows::upsert(&mut statement, self.walls, self.source(kept), kept, told_sums, None)?;
        }
        if let Some(told) = told {
            let ended = match told {
                ToldRows::Ended => "stage = 'ended' AND ",
                ToldRows::Any => "",
            };
            let sql = format!("UPDATE allocation SET told = sums WHERE {ended} told IS NOT sums");
            self.transaction.prepare_cached(&sql)?.execute([])?;
            // Nothing is left to go on from.
            let sql = format!("DELETE FROM allocation WHERE stage = 'ended' AND facts & {END_TOLD}");
            self.transaction.prepare_cached(&sql)?.execute([])?;
        }
        let wall = self.walls.millis(self.walls.now);
        let mut statement = self.transaction.prepare_cached(
            "INSERT INTO source VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET heard = excluded.heard",
        )?;
        for (source, &heard) in self.sources.iter().zip(heard) {
            // One that was never heard has told nothing that could be gone on from.
            if heard > Timestamp::ZERO {
                statement.execute(params![source, wall, self.walls.millis(heard)])?;
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
        let present: HashSet<i64> = all.iter().map(|kept| rows::serial(kept.serial)).collect();
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

    fn source(&self, kept: &AllocationRecord) -> &str {
        self.sources.get(kept.source.0 as usize).map_or("", String::as_str)
    }
}

/// What an allocation adds to its session's relayed bytes, by the leg that decides.
fn relayed_bytes(kept: &AllocationRecord, [a, _, b, _, c, _, d, _]: &[i64; 8]) -> i64 {
    if kept.has_peer_leg || kept.long_form { c.saturating_add(*d) } else { a.saturating_add(*b) }
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

/// Reads what an earlier process left, and drops what is of no use any more. A source that is not watched now may be so
/// again, after a mistake in a flag: what is known of it stays for a day.
pub(super) fn load(
    connection: &mut Connection,
    sources: &[String],
    wall: Timestamp,
) -> rusqlite::Result<Found> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let number = |name: &str| {
        (0..).zip(sources).find(|(_, source)| *source == name).map(|(number, _)| SourceId(number))
    };
    let mut saved = SavedTable::default();
    {
        let day_ago = i64::try_from(wall.minus(MEMORY).as_millis()).unwrap_or(i64::MAX);
        let mut forget = transaction.prepare("DELETE FROM source WHERE heard < ?1 AND name = ?2")?;
        let mut statement = transaction.prepare("SELECT name, since, heard FROM source")?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let name: String = row.get(0)?;
            match number(&name) {
                Some(source) => saved.sources.push(SavedSource {
                    source,
                    since: rows::moment(row.get(1)?),
                    heard: rows::moment(row.get(2)?),
                }),
                None => drop(forget.execute(params![day_ago, name])?),
            }
        }
        transaction.execute("DELETE FROM allocation WHERE source NOT IN (SELECT name FROM source)", [])?;
        transaction.execute("DELETE FROM realm WHERE seen < ?1", [day_ago])?;
        let mut statement = transaction.prepare("SELECT * FROM allocation")?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let AllocationRow { mut kept, source, told, accounted } = AllocationRow::read(row)?;
            let Some(source) = number(&source) else { continue };
            kept.source = source;
            let accounted_bytes = AllocationRecord { sums: accounted, ..kept.clone() }.relayed_bytes();
            saved.allocations.push(SavedAllocation { kept, told, accounted_bytes });
        }
        // Their last allocation ended in the last moment of that process.
        transaction.execute(
            "UPDATE session SET is_open = 0 WHERE is_open AND serial NOT IN
                (SELECT session FROM allocation WHERE session IS NOT NULL AND stage IN ('live', 'closing'))",
            [],
        )?;
        let mut statement = transaction.prepare(
            "SELECT serial, started, ended, relay_started, relay_ended, allocations, relayed_bytes, is_partial
             FROM session WHERE is_open",
        )?;
        let session = |row: &rusqlite::Row<'_>| {
            let relay = row.get::<_, Option<i64>>(3)?.zip(row.get::<_, Option<i64>>(4)?);
            Ok(SavedSession {
                serial: row.get::<_, i64>(0)?.cast_unsigned(),
                started: rows::moment(row.get(1)?),
                ended: rows::moment(row.get(2)?),
                relay: relay.map(|(first, last)| (rows::moment(first), rows::moment(last))),
                allocations: row.get(5)?,
                relayed_bytes: u64::try_from(row.get::<_, i64>(6)?).unwrap_or(0),
                is_partial: row.get(7)?,
            })
        };
        saved.sessions = statement.query_map([], session)?.collect::<rusqlite::Result<_>>()?;
        let mut statement = transaction.prepare("SELECT label FROM realm ORDER BY seen DESC, label")?;
        saved.realms = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    }
    let highest: i64 = transaction.query_row(
        "SELECT max(
            (SELECT coalesce(max(serial), 0) FROM allocation), (SELECT coalesce(max(session), 0) FROM allocation),
            (SELECT coalesce(max(serial), 0) FROM session))",
        [],
        |row| row.get(0),
    )?;
    transaction.commit()?;
    Ok(Found { saved, first_serial: highest.cast_unsigned() + 1 })
}
