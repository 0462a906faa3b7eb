//! Reading the status keys: what lives, where the subscription cannot tell. SCAN and OBJECT IDLETIME, then GET; never
//! KEYS, which holds Redis up.
//!
//! The order matters: a GET sets a key's idle time to zero (7.0.15), and the idle time is the only sign of its age.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value, cmd, pipe};

use super::connect::{Server, connect_to};
use super::redis::LinkError;
use crate::config::RedisSource;
use crate::doctor::facts::ConfigValues;

/// The keys of coturn's that hold a status.
pub(super) const MATCH: &str = "turn/*/allocation/*/status";

/// How many keys Redis looks at in one step: some tens of microseconds of its time.
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

/// A walk over the keys, on a connection of its own.
#[derive(Debug)]
pub struct Scan {
    connection: MultiplexedConnection,
    /// Where the next step goes on; `None` at the end.
    cursor: Option<u64>,
}

impl Scan {
    /// Connects to the server that the subscription is on: keys of another would tell of another stream.
    ///
    /// # Errors
    ///
    /// [`ScanError::Link`].
    pub async fn begin(source: &RedisSource, server: &Server) -> Result<Self, ScanError> {
        let mut connection = connect_to(source, server).await?;
        // Keeps the idle times as they are, from Redis 7.2 on; older ones do not know it.
        let _: Result<Value, RedisError> =
            cmd("CLIENT").arg("NO-TOUCH").arg("ON").query_async(&mut connection).await;
        Ok(Self { connection, cursor: Some(0) })
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
        let Some(cursor) = self.cursor else { return Ok(None) };
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(MATCH).arg("COUNT").arg(COUNT);
        let (next, keys): (u64, Vec<Vec<u8>>) =
            scan.query_async(&mut self.connection).await.map_err(command_error)?;
        self.cursor = (next != 0).then_some(next);
        if keys.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let mut ages = pipe();
        for key in &keys {
            ages.cmd("OBJECT").arg("IDLETIME").arg(key);
        }
        // A key may be gone meanwhile, and LFU is an error of its own: each key for itself.
        let ages: Vec<Result<Option<u64>, RedisError>> =
            ages.ignore_errors().query_async(&mut self.connection).await.map_err(command_error)?;
        let found = keys.into_iter().zip(ages).filter_map(|(key, age)| match age {
            Ok(Some(seconds)) => Some(Ok(FoundKey { key, idle: Some(Duration::from_secs(seconds)) })),
            Ok(None) => None,
            Err(error) if is_forbidden(&error) => Some(Err(ScanError::Forbidden(error))),
            Err(_) => Some(Ok(FoundKey { key, idle: None })),
        });
        found.collect::<Result<Vec<_>, _>>().map(Some)
    }

    /// The values of `keys`, in their order; `None` for one that is gone. Sets their idle times to zero.
    ///
    /// # Errors
    ///
    /// [`ScanError`].
    pub async fn read<'a>(
        &mut self,
        keys: impl Iterator<Item = &'a FoundKey>,
    ) -> Result<Vec<Option<Vec<u8>>>, ScanError> {
        let mut values = pipe();
        let mut asked = 0;
        for found in keys {
            values.cmd("GET").arg(&found.key);
            asked += 1;
        }
        if asked == 0 {
            return Ok(Vec::new());
        }
        let values: Vec<Result<Option<Vec<u8>>, RedisError>> =
            values.ignore_errors().query_async(&mut self.connection).await.map_err(command_error)?;
        let value = |value: Result<Option<Vec<u8>>, RedisError>| match value {
            Ok(value) => Ok(value),
            Err(error) if is_forbidden(&error) => Err(ScanError::Forbidden(error)),
            // Not a string: none of coturn's.
            Err(_) => Ok(None),
        };
        values.into_iter().map(value).collect()
    }
}

fn command_error(error: RedisError) -> ScanError {
    if is_forbidden(&error) { ScanError::Forbidden(error) } else { ScanError::Command(error) }
}

fn is_forbidden(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}
