//! Deletes status keys that were found stale, unless they came back to life meanwhile: Redis looks at the idle time
//! again and deletes in one step. Reads no value; the caller decides which keys are stale.
//!
//! One script does it; where scripts are forbidden, a transaction. Neither touches an idle time by looking: OBJECT
//! IDLETIME in a script, WATCH and MULTI leave it alone (7.0.15). WATCH notices a SET and a DEL, not a GET, which is no
//! sign of life.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value, cmd, pipe};

use super::connect::connect_to;
use super::error::LinkError;
use super::reply_error::{is_forbidden, words};
use super::resync::FoundKey;
use super::server::RedisServer;
use crate::config::RedisSource;
use crate::doctor::{MOST_IDLE, is_stale};

/// Keys deleted in one step: some tens of microseconds of Redis' time.
const BATCH: usize = 100;

/// For each key: is it idle for longer than the limit, believably, and not touched since it was found? KEYS: the keys;
/// ARGV: the limit, the most that is believed, then the idle time that each key was found with.
const SCRIPT: &str = "\
local done = {}
for i, key in ipairs(KEYS) do
  local idle = redis.call('OBJECT', 'IDLETIME', key)
  if not idle then
    done[i] = 0
  elseif idle > tonumber(ARGV[1]) and idle < tonumber(ARGV[2]) and idle >= tonumber(ARGV[i + 2]) then
    redis.call('UNLINK', key)
    done[i] = 1
  else
    done[i] = 2
  end
end
return done";

/// Why deleting stopped.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// No connection.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The rights to delete are missing.
    #[error(
        "Redis forbids deleting: {}; the user needs ~turn/* +scan +object|idletime +unlink and +eval \
         (or +watch +unwatch +multi +exec)",
        words(.0)
    )]
    Forbidden(RedisError),
    /// A command failed.
    #[error("a command failed: {}", words(.0))]
    Command(RedisError),
    /// Redis does not know idle times.
    #[error(
        "Redis does not say how long keys have been idle, which an LFU maxmemory-policy makes impossible; set \
         maxmemory-policy to volatile-lru or noeviction and wait for idle times to build up"
    )]
    NoIdleTime,
}

/// What became of keys that were to be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Deleted by us.
    pub deleted: u64,
    /// Set or read by somebody since they were found, and left alone.
    pub revived: u64,
    /// Deleted by somebody else before.
    pub gone: u64,
}

impl Pruned {
    /// The sum of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            deleted: self.deleted + other.deleted,
            revived: self.revived + other.revived,
            gone: self.gone + other.gone,
        }
    }
}

/// How Redis is made to look and delete in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// With a script.
    Script,
    /// With WATCH, MULTI and EXEC.
    Transaction,
}

/// Deletes keys, on a connection of its own.
#[derive(Debug)]
pub struct Pruner {
    connection: MultiplexedConnection,
    guard: Guard,
    /// A key idle for longer may be deleted.
    limit: Duration,
}

impl Pruner {
    /// Connects to the server that was scanned. A key is deleted only if it is idle for longer than `limit`, and for no less than it was found with.
    ///
    /// # Errors
    ///
    /// [`PruneError::Link`].
    pub async fn begin(
        source: &RedisSource,
        server: &RedisServer,
        limit: Duration,
    ) -> Result<Self, PruneError> {
        Ok(Self { connection: connect_to(source, server).await?, guard: Guard::Script, limit })
    }

    /// How it is done; known for sure once something was deleted.
    pub const fn guard(&self) -> Guard {
        self.guard
    }

    /// Deletes what is still stale.
    ///
    /// # Errors
    ///
    /// [`PruneError`]; some of the keys may be deleted then.
    pub async fn delete(&mut self, stale: &[FoundKey]) -> Result<Pruned, PruneError> {
        let mut pruned = Pruned::default();
        for batch in stale.chunks(BATCH) {
            pruned = pruned.and(self.delete_batch(batch).await?);
        }
        Ok(pruned)
    }

    async fn delete_batch(&mut self, batch: &[FoundKey]) -> Result<Pruned, PruneError> {
        if self.guard == Guard::Script {
            match self.by_script(batch).await {
                // The command itself is forbidden, or taken away by its name: nothing was done.
                Err(error) if is_forbidden(&error) || is_unknown(&error) => {
                    self.guard = Guard::Transaction;
                }
                result => return result.map_err(prune_error),
            }
        }
        if let Some(pruned) = self.by_transaction(batch).await? {
            return Ok(pruned);
        }
        // One of them has changed in this very moment; one by one, it is the only one that stays.
        let mut pruned = Pruned::default();
        for found in batch {
            let one = self.by_transaction(std::slice::from_ref(found)).await?;
            pruned = pruned.and(one.unwrap_or(Pruned { revived: 1, ..Pruned::default() }));
        }
        Ok(pruned)
    }

    async fn by_script(&mut self, batch: &[FoundKey]) -> Result<Pruned, RedisError> {
        let mut script = cmd("EVAL");
        script.arg(SCRIPT).arg(batch.len());
        for found in batch {
            script.arg(&found.key);
        }
        script.arg(self.limit.as_secs()).arg(MOST_IDLE.as_secs());
        for found in batch {
            script.arg(seconds_found(found));
        }
        let done: Vec<u64> = script.query_async(&mut self.connection).await?;
        let count = |wanted| done.iter().filter(|code| **code == wanted).count() as u64;
        Ok(Pruned { deleted: count(1), revived: count(2), gone: count(0) })
    }

    /// Idle times are whole seconds, so is the limit: both guards then agree.
    const fn whole_limit(&self) -> Duration {
        Duration::from_secs(self.limit.as_secs())
    }

    /// `None` when a key was set or deleted between our look and our deletion: then nothing was done.
    async fn by_transaction(&mut self, batch: &[FoundKey]) -> Result<Option<Pruned>, PruneError> {
        let mut watch = cmd("WATCH");
        let mut ages = pipe();
        for found in batch {
            watch.arg(&found.key);
            ages.cmd("OBJECT").arg("IDLETIME").arg(&found.key);
        }
        watch.query_async::<()>(&mut self.connection).await.map_err(prune_error)?;
        let ages: Vec<Option<u64>> = ages.query_async(&mut self.connection).await.map_err(prune_error)?;
        let mut pruned = Pruned::default();
        let mut unlink = cmd("UNLINK");
        for (found, age) in batch.iter().zip(ages) {
            match age {
                None => pruned.gone += 1,
                Some(idle)
                    if is_stale(Duration::from_secs(idle), self.whole_limit())
                        && idle >= seconds_found(found) =>
                {
                    unlink.arg(&found.key);
                    pruned.deleted += 1;
                }
                Some(_) => pruned.revived += 1,
            }
        }
        if pruned.deleted == 0 {
            cmd("UNWATCH").query_async::<()>(&mut self.connection).await.map_err(prune_error)?;
            return Ok(Some(pruned));
        }
        let mut transaction = pipe();
        transaction.atomic().add_command(unlink);
        let done: Option<Vec<Value>> =
            transaction.query_async(&mut self.connection).await.map_err(prune_error)?;
        Ok(done.map(|_| pruned))
    }
}

/// The idle time that a key was found with; a key without one is never deleted.
fn seconds_found(found: &FoundKey) -> u64 {
    // A number that a script holds exactly, and no idle time reaches.
    const NEVER: u64 = 1 << 52;
    found.idle.map_or(NEVER, |idle| idle.as_secs())
}

fn is_unknown(error: &RedisError) -> bool {
    error.to_string().to_ascii_lowercase().contains("unknown command")
}

fn prune_error(error: RedisError) -> PruneError {
    let text = error.to_string();
    // Within a script or a transaction it is an error of its own (7.0.15; the second in the client library's words).
    let within = ["can't run this command", "NoPerm"];
    if is_forbidden(&error) || within.iter().any(|words| text.contains(words)) {
        PruneError::Forbidden(error)
    } else if text.contains("idle time not tracked") {
        PruneError::NoIdleTime
    } else {
        PruneError::Command(error)
    }
}
