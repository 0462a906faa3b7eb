//! Reads the status keys: the allocations that a subscription does not show, because nothing is published about them now.
//! SCAN and OBJECT IDLETIME, then GET; never KEYS, which blocks Redis.
//!
//! The order matters: a GET sets a key's idle time to zero (7.0.15), and the idle time is the only sign of its age.

use std::ops::Range;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, cmd};

use super::connect::connect_to;
use super::error::LinkError;
use super::pipeline::{self, PipelineReader, PipelineWriter, Reply};
use super::reply_error::{is_busy, is_elsewhere, is_forbidden, unexpected_reply, wants_login, words};
use super::server::RedisServer;
use crate::config::RedisSource;

/// What Redis looks for. The pattern of status keys would take it twice as long, a second in a million; what else begins
/// like this (coturn's own data base of users) does not end like them.
const MATCH: &str = "turn/*";

/// How many keys Redis looks at in one step: one to five milliseconds of its time.
const COUNT: usize = 1000;

/// Why a scan stopped.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// No second connection.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The subscription died meanwhile.
    #[error(transparent)]
    Subscription(LinkError),
    /// The rights to scan are missing: no resync, now or later.
    #[error("Redis forbids it: {}; the ACL user needs +scan +get +object|idletime and ~turn/*", words(.0))]
    Forbidden(RedisError),
    /// A command failed that may well work the next time.
    #[error("a command failed: {}", words(.0))]
    Command(RedisError),
    /// A command is unknown there, renamed, or answered by something else than its answer.
    #[error(
        "Redis does not answer SCAN and GET as it should: {}; use a Redis, without a proxy, that knows both and does \
         not rename them, or none at all: --statsdb.listen-address",
        words(.0)
    )]
    Unsupported(RedisError),
    /// The connection that asks is closed or gets no answer, again and again, while the subscription lives.
    #[error(
        "Redis closes the connection or does not answer when it is asked for keys: {}; use a Redis, without a proxy, \
         that answers SCAN and GET, or none at all: --statsdb.listen-address",
        words(.0)
    )]
    Unanswered(RedisError),
}

/// A key that a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundKey {
    /// The key, as stored.
    pub key: Vec<u8>,
    /// Time since it was last set or read; `None` where Redis does not know it (an LFU policy) or was not asked yet.
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

    /// An estimate of how many there are in the whole db, if there are `many` in this part; `None` for an empty part.
    pub fn extrapolate(self, many: usize) -> Option<usize> {
        let many = u64::try_from(many).ok()?.checked_mul(1 << 32)?;
        usize::try_from(many.checked_div(self.0)?).ok()
    }
}

/// What one step of a scan found.
#[derive(Debug, Default)]
pub struct ScannedKeys {
    /// Keys, perhaps none; one may come twice. Their idle times are not known yet.
    pub keys: Vec<FoundKey>,
    /// How much of the db they and those before come from.
    pub part: Part,
}

/// A scan of the keys.
#[derive(Debug)]
pub struct KeyScan {
    connection: MultiplexedConnection,
    /// Where it goes on; `None` at the end.
    cursor: Option<u64>,
}

impl KeyScan {
    /// Connects to the server that the subscription is on: the keys of another server belong to another stream.
    ///
    /// # Errors
    ///
    /// [`ScanError::Link`].
    pub async fn begin(source: &RedisSource, server: &RedisServer) -> Result<Self, ScanError> {
        Ok(Self { connection: connect_to(source, server).await?, cursor: Some(0) })
    }

    /// The connection, between two steps.
    pub(super) const fn connection(&mut self) -> &mut MultiplexedConnection {
        &mut self.connection
    }

    /// Whether there is no step more.
    pub const fn is_over(&self) -> bool {
        self.cursor.is_none()
    }

    /// The next keys; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ScanError`]; the scan is over then.
    pub async fn step(&mut self) -> Result<Option<ScannedKeys>, ScanError> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(MATCH).arg("COUNT").arg(COUNT);
        let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(&mut self.connection).await?;
        if next == cursor && next != 0 {
            return Err(ScanError::Unsupported(unexpected_reply()));
        }
        self.cursor = (next != 0).then_some(next);
        let keys = keys.into_iter().filter(|key| key.ends_with(b"/status"));
        let keys = keys.map(|key| FoundKey { key, idle: None }).collect();
        Ok(Some(ScannedKeys { keys, part: Part::at(self.cursor) }))
    }
}

/// Opens a connection that asks for the idle times of keys.
///
/// # Errors
///
/// [`ScanError::Link`].
pub async fn ages(
    source: &RedisSource,
    server: &RedisServer,
) -> Result<(PipelineWriter, IdleTimeReader), ScanError> {
    let (writer, reader) = pipeline::connect(source, server, &[b"OBJECT", b"IDLETIME"]).await?;
    Ok((writer, IdleTimeReader(reader)))
}

/// Opens a connection that asks for the values of keys, which sets their idle times to zero.
///
/// # Errors
///
/// [`ScanError`].
pub async fn values(
    source: &RedisSource,
    server: &RedisServer,
) -> Result<(PipelineWriter, ValueReader), ScanError> {
    let (mut writer, mut reader) = pipeline::connect(source, server, &[b"GET"]).await?;
    // Keeps the idle times as they are, from Redis 7.2 on; older ones do not know it.
    writer.send_one(&[b"CLIENT", b"NO-TOUCH", b"ON"]).await?;
    reader.read(1, |_| Ok::<_, ScanError>(())).await?;
    Ok((writer, ValueReader(reader)))
}

impl PipelineWriter {
    /// Asks about `keys`.
    ///
    /// # Errors
    ///
    /// [`ScanError::Command`].
    pub async fn ask_about(&mut self, keys: &[FoundKey]) -> Result<(), ScanError> {
        Ok(self.send_for(keys.iter().map(|found| found.key.as_slice())).await?)
    }
}

/// Reads idle times, in the order in which they were asked for.
#[derive(Debug)]
pub struct IdleTimeReader(PipelineReader);

impl IdleTimeReader {
    /// Gives `keys`, which were asked about next, with theirs; leaves out those that are gone.
    ///
    /// # Errors
    ///
    /// [`ScanError`].
    pub async fn of(&mut self, keys: Vec<FoundKey>) -> Result<Vec<FoundKey>, ScanError> {
        let many = keys.len();
        let (mut keys, mut dated) = (keys.into_iter(), Vec::with_capacity(many));
        let visit = |answer: Reply<'_>| {
            let key = keys.next();
            let idle = match answer {
                // Gone meanwhile.
                Reply::Nothing => return Ok(()),
                Reply::Number(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
                Reply::Error(error) if is_elsewhere(&error) => return Ok(()),
                Reply::Error(error) => match error.into() {
                    // It keeps none: an LFU policy, or a server of another make.
                    ScanError::Unsupported(_) => None,
                    error => return Err(error),
                },
                Reply::Bytes(_) | Reply::TooLong | Reply::Other => None,
            };
            dated.extend(key.map(|key| FoundKey { idle, ..key }));
            Ok(())
        };
        self.0.read(many, visit).await?;
        Ok(dated)
    }
}

/// Reads values, in the order in which they were asked for.
#[derive(Debug)]
pub struct ValueReader(PipelineReader);

impl ValueReader {
    /// Those of `keys`, which were asked for next.
    ///
    /// # Errors
    ///
    /// [`ScanError`].
    pub async fn of(&mut self, keys: &[FoundKey]) -> Result<ReadValues, ScanError> {
        let mut values = ReadValues::default();
        let visit = |answer: Reply<'_>| {
            values.push(match answer {
                Reply::Bytes(value) => Some(value),
                // Not a string: none of coturn's.
                Reply::Error(error) if error.code() == Some("WRONGTYPE") || is_elsewhere(&error) => None,
                Reply::Error(error) => return Err(error.into()),
                // Gone meanwhile; or longer than any of coturn's.
                Reply::Nothing | Reply::TooLong => None,
                Reply::Number(_) | Reply::Other => return Err(ScanError::Unsupported(unexpected_reply())),
            });
            Ok(())
        };
        self.0.read(keys.len(), visit).await?;
        Ok(values)
    }
}

/// Values in the order of their keys, in one piece of memory.
#[derive(Debug, Default)]
pub struct ReadValues {
    bytes: Vec<u8>,
    spans: Vec<Option<Range<usize>>>,
}

#[cfg(test)]
impl ReadValues {
    /// These, in the order of their keys.
    pub fn of(values: &[Option<&[u8]>]) -> Self {
        let mut all = Self::default();
        for value in values {
            all.push(*value);
        }
        all
    }
}

impl ReadValues {
    fn push(&mut self, value: Option<&[u8]>) {
        self.spans.push(value.map(|value| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(value);
            start..self.bytes.len()
        }));
    }

    /// One for each key; `None` for one that is gone.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.spans.iter().map(|span| self.bytes.get(span.clone()?))
    }
}

impl From<RedisError> for ScanError {
    fn from(error: RedisError) -> Self {
        if is_forbidden(&error) {
            Self::Forbidden(error)
        } else if is_passing(&error) {
            Self::Command(error)
        } else {
            Self::Unsupported(error)
        }
    }
}

/// Whether the next attempt may well succeed. Whatever else is said to a well-formed question will be said again.
fn is_passing(error: &RedisError) -> bool {
    error.is_io_error()
        || is_busy(error)
        || wants_login(error)
        || matches!(error.code(), Some("CLUSTERDOWN" | "TRYAGAIN"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: [&str; 3]) -> Vec<FoundKey> {
        names.map(|name| FoundKey { key: name.into(), idle: None }).into()
    }

    #[tokio::test]
    async fn a_key_that_is_gone_or_none_of_coturns_is_left_out() {
        let mut ages =
            IdleTimeReader(PipelineReader::of(b":7\r\n$-1\r\n-ERR An LFU maxmemory policy is selected\r\n"));
        let dated = ages.of(keys(["a", "b", "c"])).await.unwrap();
        let [a, c] = &dated[..] else { panic!("{dated:?}") };
        assert_eq!((&a.key[..], a.idle), (&b"a"[..], Some(Duration::from_secs(7))));
        assert_eq!((&c.key[..], c.idle), (&b"c"[..], None));

        let mut values = ValueReader(PipelineReader::of(b"$1\r\nv\r\n$-1\r\n-WRONGTYPE of a list\r\n"));
        let read = values.of(&keys(["a", "b", "c"])).await.unwrap();
        assert_eq!(read.iter().collect::<Vec<_>>(), [Some(&b"v"[..]), None, None]);
    }

    #[tokio::test]
    async fn a_redis_that_is_busy_has_not_told_that_a_key_is_gone() {
        let busy = b"-BUSY Redis is busy running a script\r\n";
        let ages = IdleTimeReader(PipelineReader::of(busy)).of(keys(["a", "b", "c"])).await;
        assert!(matches!(ages, Err(ScanError::Command(_))), "{ages:?}");
        let values = ValueReader(PipelineReader::of(busy)).of(&keys(["a", "b", "c"])).await;
        assert!(matches!(values, Err(ScanError::Command(_))), "{values:?}");
        let forbidden = ValueReader(PipelineReader::of(b"-NOPERM no\r\n")).of(&keys(["a", "b", "c"])).await;
        assert!(matches!(forbidden, Err(ScanError::Forbidden(_))), "{forbidden:?}");
    }

    /// What a proxy, a managed Redis or another make says where the command is not to be had.
    #[tokio::test]
    async fn what_is_no_answer_makes_the_resync_impossible_and_an_age_unknown() {
        let odd = b"$3\r\nabc\r\n+OK\r\n-unsupported command 'object'\r\n";
        let dated = IdleTimeReader(PipelineReader::of(odd)).of(keys(["a", "b", "c"])).await.unwrap();
        assert_eq!(dated.iter().map(|key| key.idle).collect::<Vec<_>>(), [None; 3]);
        for odd in
            [&b":7\r\n"[..], b"+OK\r\n", b"-ERR unknown command 'GET'\r\n", b"-unsupported command 'get'\r\n"]
        {
            let values = ValueReader(PipelineReader::of(odd)).of(&keys(["a", "b", "c"])).await;
            assert!(matches!(values, Err(ScanError::Unsupported(_))), "{values:?}");
        }
        for passing in
            [&b"-LOADING dataset\r\n"[..], b"-ERR max number of clients reached\r\n", b"-NOAUTH x\r\n", b""]
        {
            let values = ValueReader(PipelineReader::of(passing)).of(&keys(["a", "b", "c"])).await;
            assert!(matches!(values, Err(ScanError::Command(_))), "{values:?}");
        }
    }

    #[tokio::test]
    async fn a_key_of_another_node_is_not_read_and_no_failure() {
        let moved = b"-MOVED 7 127.0.0.1:1\r\n:5\r\n-ASK 7 127.0.0.1:1\r\n";
        let dated = IdleTimeReader(PipelineReader::of(moved)).of(keys(["a", "b", "c"])).await.unwrap();
        assert_eq!(dated.iter().map(|key| &key.key[..]).collect::<Vec<_>>(), [b"b"]);
        let moved = b"-MOVED 7 127.0.0.1:1\r\n$1\r\nv\r\n-CLUSTERDOWN Hash slot not served\r\n";
        let read = ValueReader(PipelineReader::of(moved)).of(&keys(["a", "b", "c"])).await.unwrap();
        assert_eq!(read.iter().collect::<Vec<_>>(), [None, Some(&b"v"[..]), None]);
    }

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
