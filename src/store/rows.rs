//! Between the table's records and the file's rows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Row, named_params};

use crate::clock::Timestamp;
use crate::state::{AllocationRecord, Cause, Origin, SourceId, Stage};
use crate::wire::{AllocationId, ByLeg, Traffic, Transport, Volume, turn_rest};

/// A moment of the table's clock, moved onto the wall clock or back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walls {
    pub(super) now: Timestamp,
    pub(super) wall: Timestamp,
}

impl Walls {
    /// In milliseconds since 1970; the two ends of time stay where they are.
    pub(super) fn millis(self, moment: Timestamp) -> i64 {
        let moved = if moment == Timestamp::ZERO || moment == Timestamp::MAX {
            moment
        } else if moment > self.now {
            self.wall.plus(moment.since(self.now))
        } else {
            self.wall.minus(self.now.since(moment))
        };
        i64::try_from(moved.as_millis()).unwrap_or(i64::MAX)
    }
}

/// A moment as the file has it.
pub(super) fn moment(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// The eight numbers of an allocation: 8 bytes each, little end first; client leg, then peer leg; received, then sent;
/// bytes, then packets.
pub(super) type Sums = ByLeg<Traffic>;

pub(super) const NOTHING: Sums = Sums { client: Traffic::ZERO, peer: Traffic::ZERO };

pub(super) fn numbers(sums: &Sums) -> [u64; 8] {
    let Sums { client, peer } = sums;
    let [a, b] = [client.received, client.sent];
    let [c, d] = [peer.received, peer.sent];
    [a.bytes, a.packets, b.bytes, b.packets, c.bytes, c.packets, d.bytes, d.packets]
}

pub(super) fn blob(sums: &Sums) -> Vec<u8> {
    numbers(sums).iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// `None` for a blob of another length.
fn sums(blob: &[u8]) -> Option<Sums> {
    let mut numbers =
        blob.chunks_exact(8).filter_map(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
    let mut volume = || Some(Volume { bytes: numbers.next()?, packets: numbers.next()? });
    let mut traffic = || Some(Traffic { received: volume()?, sent: volume()? });
    (blob.len() == 64).then_some(())?;
    Some(Sums { client: traffic()?, peer: traffic()? })
}

/// More than that (8 PiB) nobody relays; it keeps what strangers publish within SQLite's integers.
const MOST: u64 = 1 << 53;

/// What `now` has beyond `before`.
pub(super) fn beyond(now: &Sums, before: &Sums) -> [i64; 8] {
    let mut beyond = [0; 8];
    for (place, (now, before)) in beyond.iter_mut().zip(numbers(now).iter().zip(numbers(before))) {
        *place = now.saturating_sub(before).min(MOST).cast_signed();
    }
    beyond
}

/// SQLite's integers have a sign; ids use all 64 bits.
fn id_column(id: AllocationId) -> i64 {
    id.0.cast_signed()
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

const STAGES: [(Stage, &str); 4] = [
    (Stage::Live, "live"),
    (Stage::Closing, "closing"),
    (Stage::Overdue, "overdue"),
    (Stage::Ended, "ended"),
];

const ORIGINS: [(Origin, &str); 3] =
    [(Origin::Born, "born"), (Origin::Adopted, "adopted"), (Origin::Traffic, "traffic")];

fn word_of<T: PartialEq>(words: &[(T, &'static str)], value: &T) -> &'static str {
    words.iter().find(|(one, _)| one == value).map_or("", |(_, word)| word)
}

fn of_word<T: Copy>(words: &[(T, &str)], wanted: &str) -> Option<T> {
    words.iter().find(|(_, word)| *word == wanted).map(|(one, _)| *one)
}

/// The bit of `facts` that says that coturn has told the end.
pub(super) const END_TOLD: i64 = 1 << 8;

/// The bits of `facts`, in the order of the fields.
fn facts(kept: &AllocationRecord) -> i64 {
    let bits = [
        kept.is_past_known,
        kept.long_form,
        kept.has_peer_leg,
        kept.release_pending,
        kept.granted_perhaps,
        kept.relayed,
        kept.idle,
        kept.overdue_orphan,
        kept.is_end_told,
    ];
    (0..).zip(bits).map(|(place, bit)| i64::from(bit) << place).sum()
}

/// Writes a record; of one that is known keeps the session where it has none now, and what was told where `told` is
/// nothing.
pub(super) const UPSERT: &str = "
    INSERT INTO allocation VALUES (
        :serial, :session, :source, :realm, :user, :id, :stage, :origin, :cause, :facts, :server, :server_port,
        :transport, :client, :started, :granted_at, :lifetime, :alive_until, :last_sign, :quiet_since, :ended, :read_at,
        :sums, :told, :accounted
    ) ON CONFLICT (serial) DO UPDATE SET
        session = coalesce(excluded.session, session), stage = excluded.stage, origin = excluded.origin,
        cause = excluded.cause, facts = excluded.facts, server = excluded.server, server_port = excluded.server_port,
        transport = excluded.transport, client = excluded.client, started = excluded.started,
        granted_at = excluded.granted_at, lifetime = excluded.lifetime, alive_until = excluded.alive_until,
        last_sign = excluded.last_sign, quiet_since = excluded.quiet_since, ended = excluded.ended,
        read_at = excluded.read_at, sums = excluded.sums, told = coalesce(excluded.told, told),
        accounted = coalesce(excluded.accounted, accounted)";

/// Runs [`UPSERT`].
pub(super) fn upsert(
    statement: &mut rusqlite::CachedStatement<'_>,
    walls: Walls,
    source: &str,
    kept: &AllocationRecord,
    told: Option<&Sums>,
    accounted: Option<&Sums>,
) -> rusqlite::Result<()> {
    let client = kept.client.map(|client| client.to_string());
    let lifetime = i64::try_from(kept.lifetime.as_millis()).unwrap_or(i64::MAX);
    let (sums, told, accounted) = (blob(&kept.sums), told.map(blob), accounted.map(blob));
    statement.execute(named_params! {
        ":serial": serial(kept.serial),
        ":session": kept.session.map(serial),
        ":source": source,
        ":realm": &*kept.realm,
        ":user": &*kept.user,
        ":id": id_column(kept.id),
        ":stage": word_of(&STAGES, &kept.stage),
        ":origin": word_of(&ORIGINS, &kept.origin),
        ":cause": kept.cause.map(Cause::as_str),
        ":facts": facts(kept),
        ":server": &*kept.server,
        ":server_port": kept.server_port,
        ":transport": kept.transport.as_str(),
        ":client": client,
        ":started": walls.millis(kept.started),
        ":granted_at": walls.millis(kept.granted_at),
        ":lifetime": lifetime,
        ":alive_until": walls.millis(kept.alive_until),
        ":last_sign": walls.millis(kept.last_sign),
        ":quiet_since": walls.millis(kept.quiet_since),
        ":ended": walls.millis(kept.ended),
        ":read_at": walls.millis(kept.read_at),
        ":sums": sums,
        ":told": told,
        ":accounted": accounted,
    })?;
    Ok(())
}

/// A row of `allocation` as it was written.
#[derive(Debug)]
pub(super) struct AllocationRow {
    /// Of no source in particular: the name is beside it.
    pub(super) kept: AllocationRecord,
    pub(super) source: String,
    pub(super) told: Sums,
    pub(super) accounted: Sums,
}

impl AllocationRow {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let time = |column: &str| row.get::<_, i64>(column).map(moment);
        let word = |column: &str| row.get::<_, String>(column);
        let facts: i64 = row.get("facts")?;
        let fact = |place: u32| facts >> place & 1 == 1;
        let cause: Option<String> = row.get("cause")?;
        let sums_or_nothing = |column: &str| -> rusqlite::Result<Sums> {
            let blob: Option<Vec<u8>> = row.get(column)?;
            blob.map_or(Ok(NOTHING), |blob| sums(&blob).ok_or_else(|| wrong(column)))
        };
        let kept = AllocationRecord {
            serial: row.get::<_, i64>("serial")?.cast_unsigned(),
            session: row.get::<_, Option<i64>>("session")?.map(i64::cast_unsigned),
            source: SourceId(u32::MAX),
            realm: row.get::<_, Vec<u8>>("realm")?.into(),
            user: row.get::<_, Vec<u8>>("user")?.into(),
            id: AllocationId(row.get::<_, i64>("id")?.cast_unsigned()),
            stage: of_word(&STAGES, &word("stage")?).ok_or_else(|| wrong("stage"))?,
            origin: of_word(&ORIGINS, &word("origin")?).ok_or_else(|| wrong("origin"))?,
            cause: cause.map(|cause| find(&Cause::ALL, Cause::as_str, &cause)).transpose()?,
            is_past_known: fact(0),
            is_end_told: fact(8),
            server: Arc::from(word("server")?),
            server_port: row.get("server_port")?,
            transport: find(&Transport::ALL, Transport::as_str, &word("transport")?)?,
            client: row.get::<_, Option<String>>("client")?.and_then(|text| text.parse::<SocketAddr>().ok()),
            started: time("started")?,
            granted_at: time("granted_at")?,
            lifetime: Duration::from_millis(row.get::<_, i64>("lifetime")?.try_into().unwrap_or(0)),
            alive_until: time("alive_until")?,
            last_sign: time("last_sign")?,
            quiet_since: time("quiet_since")?,
            ended: time("ended")?,
            read_at: time("read_at")?,
            long_form: fact(1),
            has_peer_leg: fact(2),
            release_pending: fact(3),
            granted_perhaps: fact(4),
            relayed: fact(5),
            idle: fact(6),
            overdue_orphan: fact(7),
            sums: sums_or_nothing("sums")?,
        };
        Ok(Self {
            source: word("source")?,
            told: sums_or_nothing("told")?,
            accounted: sums_or_nothing("accounted")?,
            kept,
        })
    }
}

fn find<T: Copy>(all: &[T], word: impl Fn(T) -> &'static str, wanted: &str) -> rusqlite::Result<T> {
    all.iter().copied().find(|&one| word(one) == wanted).ok_or_else(|| wrong(wanted))
}

/// A value that no exporter has written.
fn wrong(what: &str) -> rusqlite::Error {
    let error = format!("a value of the checkpoint makes no sense: {what}");
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_come_back_as_they_were() {
        let volume = |bytes| Volume { bytes, packets: bytes / 7 };
        let all = Sums {
            client: Traffic { received: volume(1), sent: volume(1 << 40) },
            peer: Traffic { received: volume(u64::MAX), sent: volume(9) },
        };
        assert_eq!(sums(&blob(&all)), Some(all));
        assert_eq!(sums(&blob(&all)[1..]), None);
        assert_eq!(sums(&[]), None);
        assert_eq!(beyond(&all, &NOTHING)[0], 1);
        assert_eq!(beyond(&NOTHING, &all), [0; 8]);
    }

    #[test]
    fn moments_follow_the_wall() {
        let at = |millis| Timestamp::from_millis(millis);
        let walls = Walls { now: at(1000), wall: at(5000) };
        assert_eq!(walls.millis(at(900)), 4900);
        assert_eq!(walls.millis(at(1300)), 5300);
        assert_eq!(walls.millis(Timestamp::ZERO), 0);
        assert_eq!(walls.millis(Timestamp::MAX), i64::MAX);
        assert_eq!(moment(-5), Timestamp::ZERO);
    }
}
