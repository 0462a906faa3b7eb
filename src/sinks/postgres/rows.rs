//! Finished sessions as columns of one statement.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use tokio_postgres::types::{ToSql, Type};

use crate::clock::Timestamp;
use crate::store::ledger::{FinishedSession, SUMS};

/// The longest text that is kept of a user or a realm, in bytes: an index takes 2700.
const LONGEST: usize = 1000;

/// The last moment that a table shows, in milliseconds since 1970: the end of the year 9999. Only damaged data is later.
const LATEST: u64 = 253_402_300_799_999;

/// Columns of one type, with their names.
type Named<T> = Vec<(&'static str, Vec<T>)>;

/// A batch, column by column. What the database cannot hold is made what it can: a number of 2^63 or more becomes 2^63 - 1.
pub(super) struct Columns<'a> {
    numbers: Named<i64>,
    moments: Named<Option<SystemTime>>,
    texts: Named<Option<Cow<'a, str>>>,
    bytes: Named<Option<&'a [u8]>>,
    is_partial: Vec<bool>,
}

impl<'a> Columns<'a> {
    /// Each session once, as it was changed last.
    pub(super) fn new(sessions: &'a [FinishedSession]) -> Self {
        let mut last: HashMap<(u64, Timestamp), &FinishedSession> = HashMap::with_capacity(sessions.len());
        for session in sessions {
            let known = last.entry((session.serial, session.ended)).or_insert(session);
            if known.revision < session.revision {
                *known = session;
            }
        }
        // In an order: two who write the same ledger must not wait for each other's rows.
        let mut last: Vec<_> = last.into_values().collect();
        last.sort_unstable_by_key(|session| session.serial);
        Self::of(&last)
    }

    fn of(sessions: &[&'a FinishedSession]) -> Self {
        let numbers = |of: fn(&FinishedSession) -> u64| -> Vec<i64> {
            sessions.iter().map(|session| bigint(of(session))).collect()
        };
        let moments = |of: fn(&FinishedSession) -> Option<Timestamp>| -> Vec<_> {
            sessions.iter().map(|session| of(session).map(moment)).collect()
        };
        let texts = |of: fn(&'a FinishedSession) -> Option<Cow<'a, str>>| -> Vec<_> {
            sessions.iter().map(|session| of(session)).collect()
        };
        let bytes = |of: fn(&'a FinishedSession) -> &'a [u8]| -> Vec<_> {
            sessions.iter().map(|session| not_text(of(session))).collect()
        };
        let mut columns = Self {
            numbers: vec![
                ("session", numbers(|session| session.serial)),
                ("revision", numbers(|session| session.revision)),
                ("allocations", numbers(|session| session.allocations)),
                ("relayed_bytes", numbers(|session| session.relayed_bytes)),
            ],
            moments: vec![
                ("started", moments(|session| Some(session.started))),
                ("ended", moments(|session| Some(session.ended))),
                ("relay_started", moments(|session| session.relay.map(|(first, _)| first))),
                ("relay_ended", moments(|session| session.relay.map(|(_, last)| last))),
            ],
            texts: vec![
                ("source", texts(|session| Some(text(session.source.as_bytes())))),
                ("realm", texts(|session| Some(text(session.realm.as_bytes())))),
                ("user_name", texts(|session| Some(text(&session.user)))),
                ("user_id", texts(|session| Some(text(&session.user_id)))),
                ("client", texts(|session| session.client.as_deref().map(|client| text(client.as_bytes())))),
                ("server", texts(|session| Some(text(session.server.as_bytes())))),
                ("transport", texts(|session| Some(text(session.transport.as_bytes())))),
                ("cause", texts(|session| Some(text(session.cause.as_bytes())))),
            ],
            bytes: vec![
                ("user_name_bytes", bytes(|session| &session.user)),
                ("user_id_bytes", bytes(|session| &session.user_id)),
            ],
            is_partial: sessions.iter().map(|session| session.is_partial).collect(),
        };
        for (place, name) in SUMS.into_iter().enumerate() {
            let sum = |session: &&FinishedSession| bigint(session.sums.get(place).copied().unwrap_or(0));
            columns.numbers.push((name, sessions.iter().map(sum).collect()));
        }
        columns
    }

    /// Names of the columns, and what the statement takes of each.
    fn parameters(&self) -> Vec<(&'static str, &'static str, &(dyn ToSql + Sync), Type)> {
        let mut all: Vec<(_, _, &(dyn ToSql + Sync), _)> = Vec::new();
        all.extend(self.numbers.iter().map(|(name, of)| (*name, "bigint", of as _, Type::INT8_ARRAY)));
        all.extend(
            self.moments.iter().map(|(name, of)| (*name, "timestamptz", of as _, Type::TIMESTAMPTZ_ARRAY)),
        );
        all.extend(self.texts.iter().map(|(name, of)| (*name, "text", of as _, Type::TEXT_ARRAY)));
        all.extend(self.bytes.iter().map(|(name, of)| (*name, "bytea", of as _, Type::BYTEA_ARRAY)));
        all.push(("is_partial", "boolean", &self.is_partial, Type::BOOL_ARRAY));
        all
    }

    /// The statement that writes them for a ledger, whose UUID is `$1`, with its other parameters.
    pub(super) fn statement(&self) -> (String, Vec<(&(dyn ToSql + Sync), Type)>) {
        let parameters = self.parameters();
        let names: Vec<_> = parameters.iter().map(|(name, ..)| *name).collect();
        let arrays = (2..).zip(&parameters).map(|(place, (_, kind, ..))| format!("${place}::{kind}[]"));
        let arrays = arrays.collect::<Vec<_>>().join(", ");
        let set = names.iter().filter(|name| !["session", "ended"].contains(name));
        let set = set.map(|name| format!("{name} = EXCLUDED.{name}")).collect::<Vec<_>>().join(", ");
        let names = names.join(", ");
        let sql = format!(
            "INSERT INTO coturn_ledger.session AS known (store_id, {names}) \
             SELECT $1::text::uuid, given.* FROM unnest({arrays}) AS given ({names}) \
             ON CONFLICT (store_id, session, ended) DO UPDATE SET {set} WHERE known.revision < EXCLUDED.revision"
        );
        (sql, parameters.into_iter().map(|(_, _, column, kind)| (column, kind)).collect())
    }

    /// The moments at which they ended.
    pub(super) fn ends(&self) -> impl Iterator<Item = SystemTime> {
        let ended = self.moments.iter().find(|(name, _)| *name == "ended");
        ended.into_iter().flat_map(|(_, moments)| moments).filter_map(|moment| *moment)
    }
}

fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A moment as the database takes it.
pub(super) fn moment(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(at.as_millis().min(LATEST))
}

/// What can be shown of a name, and looked for.
fn text(name: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(name);
    let text = if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { text };
    if text.len() <= LONGEST {
        return text;
    }
    // No character takes more than four bytes.
    let end = (LONGEST - 3..=LONGEST).rev().find(|end| text.is_char_boundary(*end));
    Cow::Owned(text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned())
}

/// The bytes of a name that is not what [`text`] makes of it.
fn not_text(name: &[u8]) -> Option<&[u8]> {
    (text(name).as_bytes() != name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_kept_beside_what_can_be_shown() {
        let long = "\u{e9}".repeat(501);
        let cut = "\u{e9}".repeat(500);
        for (name, shown, is_text) in [
            (&b"ann"[..], "ann", true),
            (b"", "", true),
            ("caf\u{e9} \u{fffd}".as_bytes(), "caf\u{e9} \u{fffd}", true),
            (b"a\0b", "a\u{fffd}b", false),
            (b"\xff\xfe", "\u{fffd}\u{fffd}", false),
            (long.as_bytes(), cut.as_str(), false),
        ] {
            assert_eq!(text(name), shown);
            assert_eq!(not_text(name), (!is_text).then_some(name), "{shown}");
        }
    }

    #[test]
    fn moments_stay_within_what_a_table_shows() {
        let at =
            |millis| moment(Timestamp::from_millis(millis)).duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(at(0), Duration::ZERO);
        assert_eq!(at(1_764_000_000_123), Duration::from_millis(1_764_000_000_123));
        assert_eq!(at(u64::MAX), Duration::from_millis(LATEST));
        assert_eq!((bigint(1 << 53), bigint(u64::MAX)), (1 << 53, i64::MAX));
    }
}
