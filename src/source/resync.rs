//! Reading the status keys: what lives, where the subscription cannot tell. SCAN and OBJECT IDLETIME, then GET; never
//! KEYS, which holds Redis up.
//!
//! The order matters: a GET sets a key's idle time to zero (7.0.15), and the idle time is the only sign of its age.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, cmd};
use tokio::try_join;

use super::connect::{Server, connect_to};
use super::questions::{Answer, Questions};
use super::redis::LinkError;
use crate::config::RedisSource;
use crate::doctor::facts::ConfigValues;

/// The keys of coturn's that hold a status.
pub(super) const MATCH: &str = "turn/*/allocation/*/status";

/// How many keys Redis looks at in one step: some hundreds of microseconds of its time.
const COUNT: usize = 500;

/// Why a scan stopped.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// No second connection.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The subscription died meanwhile.
    #[error(transparent)]
    Pulse(LinkError),
    /// The rights to scan are missing: no resync, now or later.
    #[error("Redis forbids it: {0}; the ACL user needs +scan +get +object|idletime and ~turn/*")]
    Forbidden(RedisError),
    /// A command failed.
    #[error("a command failed: {0}")]
    Command(RedisError),
}

/// A key that a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundKey {
    /// The key, as stored.
    pub key: Vec<u8>,
    /// Time since it was last set or read; `None` where Redis cannot tell (an LFU policy).
    pub idle: Option<Duration>,
}

/// A part of a db, in 2^32ths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part(u64);

impl Part {
    /// The beginning, where it is worth to make room for what is to come.
    pub const EARLY: Self = Self((1 << 32) / 20);

    /// Redis counts the bits of a cursor from the other end: the lowest says in which half of the db it stands.
    const fn at(cursor: Option<u64>) -> Self {
        match cursor {
            Some(cursor) => Self(cursor.reverse_bits() >> 32),
            None => Self(1 << 32),
        }
    }

    /// How many there are in all of the db, if there are so `many` in this part; `None` where it is too small to tell.
    pub fn extrapolate(self, many: usize) -> Option<usize> {
        let many = u64::try_from(many).ok()?.checked_mul(1 << 32)?;
        usize::try_from(many.checked_div(self.0)?).ok()
    }
}

/// A walk over the keys. While the ages of some are asked for, the next are looked for already, on another connection.
#[derive(Debug)]
pub struct Scan {
    connection: MultiplexedConnection,
    questions: Questions,
    /// Keys whose ages are not known yet.
    ahead: Vec<Vec<u8>>,
    /// How far the scan was after those, and after those before them.
    part_ahead: Part,
    part: Part,
    /// Where the scan goes on; `None` at the end.
    cursor: Option<u64>,
}

impl Scan {
    /// Connects to the server that the subscription is on: keys of another would tell of another stream.
    ///
    /// # Errors
    ///
    /// [`ScanError::Link`].
    pub async fn begin(source: &RedisSource, server: &Server) -> Result<Self, ScanError> {
        let connection = connect_to(source, server).await?;
        let questions = Questions::connect(source, server).await?;
        let (ahead, part_ahead, part) = (Vec::new(), Part(0), Part(0));
        Ok(Self { connection, questions, ahead, part_ahead, part, cursor: Some(0) })
    }

    /// The values of these settings; `None` where Redis does not tell.
    pub async fn settings(&mut self, names: &[&str]) -> Option<ConfigValues> {
        let mut values = Vec::new();
        for name in names {
            let pairs: HashMap<String, String> =
                cmd("CONFIG").arg("GET").arg(*name).query_async(&mut self.connection).await.ok()?;
            values.extend(pairs);
        }
        Some(values.into_iter().collect())
    }

    /// The next keys, perhaps none; `None` at the end. A key may come twice.
    ///
    /// # Errors
    ///
    /// [`ScanError`]; the scan is over then.
    pub async fn step(&mut self) -> Result<Option<Vec<FoundKey>>, ScanError> {
        if self.ahead.is_empty() && self.cursor.is_none() {
            return Ok(None);
        }
        let keys = std::mem::take(&mut self.ahead);
        let found = ages(&mut self.questions, keys);
        let (found, (ahead, cursor)) = try_join!(found, next_keys(&mut self.connection, self.cursor))?;
        self.part = self.part_ahead;
        (self.ahead, self.cursor, self.part_ahead) = (ahead, cursor, Part::at(cursor));
        Ok(Some(found))
    }

    /// How much of the db the keys that were given so far come from.
    pub const fn part(&self) -> Part {
        self.part
    }
}

/// The keys at `cursor`, and where it goes on.
async fn next_keys(
    connection: &mut MultiplexedConnection,
    cursor: Option<u64>,
) -> Result<(Vec<Vec<u8>>, Option<u64>), ScanError> {
    let Some(cursor) = cursor else { return Ok((Vec::new(), None)) };
    let mut scan = cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(MATCH).arg("COUNT").arg(COUNT);
    let (next, keys): (u64, _) = scan.query_async(connection).await?;
    Ok((keys, (next != 0).then_some(next)))
}

async fn ages(questions: &mut Questions, keys: Vec<Vec<u8>>) -> Result<Vec<FoundKey>, ScanError> {
    let mut ages = Vec::with_capacity(keys.len());
    let heard = |answer: Answer<'_>| {
        ages.push(match answer {
            // Gone meanwhile.
            Answer::Nothing => None,
            Answer::Number(seconds) => Some(u64::try_from(seconds).ok().map(Duration::from_secs)),
            Answer::Error(error) if is_forbidden(&error) => return Err(ScanError::Forbidden(error)),
            // LFU is an error of its own.
            Answer::Error(_) | Answer::Bytes(_) | Answer::Other => Some(None),
        });
        Ok(())
    };
    questions.ask(&[b"OBJECT", b"IDLETIME"], keys.iter().map(Vec::as_slice), heard).await?;
    let found = keys.into_iter().zip(ages);
    Ok(found.filter_map(|(key, age)| age.map(|idle| FoundKey { key, idle })).collect())
}

/// Reads values, on a connection of its own: while the walk goes on.
#[derive(Debug)]
pub struct Values(Questions);

impl Values {
    /// Connects to the server that is scanned.
    ///
    /// # Errors
    ///
    /// [`ScanError::Link`].
    pub async fn begin(source: &RedisSource, server: &Server) -> Result<Self, ScanError> {
        let mut questions = Questions::connect(source, server).await?;
        // Keeps the idle times as they are, from Redis 7.2 on; older ones do not know it.
        let once = std::iter::once(&b"ON"[..]);
        questions.ask(&[b"CLIENT", b"NO-TOUCH"], once, |_| Ok::<_, ScanError>(())).await?;
        Ok(Self(questions))
    }

    /// The values of `keys`, in their order; `None` for one that is gone. Sets their idle times to zero.
    ///
    /// # Errors
    ///
    /// [`ScanError`].
    pub async fn read(&mut self, keys: &[FoundKey]) -> Result<Vec<Option<Vec<u8>>>, ScanError> {
        let mut values = Vec::with_capacity(keys.len());
        let heard = |answer: Answer<'_>| {
            values.push(match answer {
                Answer::Bytes(value) => Some(value.to_vec()),
                Answer::Error(error) if is_forbidden(&error) => return Err(ScanError::Forbidden(error)),
                // Gone, or not a string: none of coturn's.
                Answer::Nothing | Answer::Number(_) | Answer::Error(_) | Answer::Other => None,
            });
            Ok(())
        };
        self.0.ask(&[b"GET"], keys.iter().map(|found| found.key.as_slice()), heard).await?;
        Ok(values)
    }
}

impl From<RedisError> for ScanError {
    fn from(error: RedisError) -> Self {
        if is_forbidden(&error) { Self::Forbidden(error) } else { Self::Command(error) }
    }
}

fn is_forbidden(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_tells_how_many_keys_are_to_come() {
        // Of 2^20 buckets, in Redis' order, the first 1000 have been looked at.
        let cursor = 1000_u64.reverse_bits() >> (64 - 20);
        assert_eq!(Part::at(Some(cursor)).extrapolate(1000), Some(1 << 20));
        assert_eq!(Part::at(Some(1)).extrapolate(7), Some(14));
        assert_eq!(Part::at(None).extrapolate(7), Some(7));
        assert_eq!(Part::at(Some(0)).extrapolate(7), None);
        assert!(Part::at(Some(cursor)) < Part::EARLY && Part::at(Some(1)) > Part::EARLY);
    }
}
