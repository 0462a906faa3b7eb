//! Finished sessions as rows of the ledger, for those who take them elsewhere.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde_json::{Map, Value};

use super::rows;
use crate::clock::Timestamp;

/// A finished session, as the ledger has it. Moments are of the wall clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedSession {
    /// Its number in this ledger, for ever.
    pub serial: u64,
    /// The number of the event that changed it last.
    pub revision: u64,
    /// The name of the source it was met on.
    pub source: String,
    /// Its realm; empty where coturn has none.
    pub realm: String,
    /// Its user, byte for byte.
    pub user: Vec<u8>,
    /// Of a TURN REST name the user id, else the whole name.
    pub user_id: Vec<u8>,
    /// Address and port of the client of its last allocation that relayed.
    pub client: Option<String>,
    /// The host of that allocation's server.
    pub server: String,
    /// How that client reached the server.
    pub transport: String,
    /// How that allocation ended.
    pub cause: String,
    /// First opening.
    pub started: Timestamp,
    /// Last end. It does not change any more.
    pub ended: Timestamp,
    /// First opening and last end of its allocations that relayed; `None` if none did.
    pub relay: Option<(Timestamp, Timestamp)>,
    /// Its allocations.
    pub allocations: u64,
    /// It was not watched from its first opening to its last end.
    pub is_partial: bool,
    /// Bytes of the peer leg, both directions (of coturn before 4.5.1.2: of the client leg).
    pub relayed_bytes: u64,
    /// What was relayed, in the order of `state::sums_to_numbers`.
    pub sums: [u64; 8],
}

/// Names of [`FinishedSession::sums`], in their order; they are columns, and keys of an event.
pub const SUMS: [&str; 8] = [
    "client_received_bytes",
    "client_received_packets",
    "client_sent_bytes",
    "client_sent_packets",
    "peer_received_bytes",
    "peer_received_packets",
    "peer_sent_bytes",
    "peer_sent_packets",
];

const COLUMNS: &str = "serial, revision, source, realm, user, user_id, client, server, transport, cause, started, ended, \
     relay_started, relay_ended, allocations, is_partial, relayed_bytes, client_received_bytes, client_received_packets, \
     client_sent_bytes, client_sent_packets, peer_received_bytes, peer_received_packets, peer_sent_bytes, peer_sent_packets";

/// The place of the first of [`SUMS`] among [`COLUMNS`].
const FIRST_SUM: usize = 17;

/// The first `most` sessions that changed after the event `after`, in the order of their changes.
pub(super) fn changed_after(
    connection: &Connection,
    after: u64,
    most: usize,
) -> rusqlite::Result<Vec<FinishedSession>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM session WHERE revision > 0 AND revision > ?1 ORDER BY revision LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    statement.query_map([rows::serial(after), most], of_row)?.collect()
}

/// The session of that number, finished or not.
pub(super) fn session(connection: &Connection, serial: i64) -> rusqlite::Result<Option<FinishedSession>> {
    let sql = format!("SELECT {COLUMNS} FROM session WHERE serial = ?1");
    connection.prepare_cached(&sql)?.query_row([serial], of_row).optional()
}

fn of_row(row: &Row<'_>) -> rusqlite::Result<FinishedSession> {
    let number = |column: usize| row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or(0));
    let bytes = |column: usize| {
        row.get_ref(column).map(|value| match value {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        })
    };
    let moment = |column: usize| row.get(column).map(rows::moment);
    let relay: (Option<i64>, Option<i64>) = (row.get(12)?, row.get(13)?);
    let mut sums = [0; SUMS.len()];
    for (column, sum) in (FIRST_SUM..).zip(&mut sums) {
        *sum = number(column)?;
    }
    Ok(FinishedSession {
        serial: number(0)?,
        revision: number(1)?,
        source: row.get(2)?,
        realm: row.get(3)?,
        user: bytes(4)?,
        user_id: bytes(5)?,
        client: row.get(6)?,
        server: row.get(7)?,
        transport: row.get(8)?,
        cause: row.get(9)?,
        started: moment(10)?,
        ended: moment(11)?,
        relay: relay.0.zip(relay.1).map(|(first, last)| (rows::moment(first), rows::moment(last))),
        allocations: number(14)?,
        is_partial: row.get(15)?,
        relayed_bytes: number(16)?,
        sums,
    })
}

impl FinishedSession {
    /// What an event says of it.
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes));
        let mut data = Map::new();
        let mut put = |key: &str, value: Value| data.insert(key.to_owned(), value);
        put("session", self.serial.into());
        put("source", self.source.as_str().into());
        put("realm", self.realm.as_str().into());
        put("user", text(&self.user));
        put("user_id", text(&self.user_id));
        put("client", self.client.as_deref().into());
        put("server", self.server.as_str().into());
        put("transport", self.transport.as_str().into());
        put("cause", self.cause.as_str().into());
        put("started", self.started.rfc3339().into());
        put("ended", self.ended.rfc3339().into());
        if let Some((first, last)) = self.relay {
            put("relay_started", first.rfc3339().into());
            put("relay_ended", last.rfc3339().into());
        }
        put("allocations", self.allocations.into());
        put("partial", self.is_partial.into());
        put("relayed_bytes", self.relayed_bytes.into());
        for (name, sum) in SUMS.iter().zip(self.sums) {
            put(name, sum.into());
        }
        data
    }
}
