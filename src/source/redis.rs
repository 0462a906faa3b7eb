//! A Redis that coturn publishes to: the subscription with its pulse. Bytes come out; what they mean is `wire`'s
//! business, and how the server is reached is `connect`'s.

use std::fmt;
use std::io;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use redis::RedisError;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::time::{sleep, timeout};

use super::connect::{Server, connect_error, connect_pubsub, connect_to, in_time, locate};
use super::sentinel::SentinelError;
use super::tls::TlsError;
use crate::config::{RedisAddress, RedisSource, Tls};

/// What is subscribed to, to the letter: Redis' ACL compares the pattern as text (7.0.15), so the documented rule
/// `&turn/*` allows this one and no narrower one.
pub const PATTERN: &str = "turn/*";

/// How often a link is asked whether it is there: a dead peer is not noticed otherwise.
pub const BEAT: Duration = Duration::from_secs(10);

/// How long a PONG may take before the link counts as dead.
const PONG_DEADLINE: Duration = Duration::from_secs(10);

/// Messages handed on at once, at most: the table is locked for that many.
const BATCH: usize = 1024;

/// Why there is no link, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// A connection, but no TLS on it.
    #[error("no TLS connection: {0}")]
    Tls(#[from] TlsError),
    /// Nobody knows where to connect to.
    #[error("{0}")]
    Sentinel(SentinelError),
    /// What was called the master is none.
    #[error("{0} is a replica, though its sentinels call it the master; a failover should end that")]
    Replica(Server),
    /// The sentinels name another master.
    #[error("the master has moved from {from} to {to}")]
    Moved {
        /// Where we are connected.
        from: Server,
        /// Where the master is.
        to: Server,
    },
    /// A connection without TLS that ended before an answer came.
    #[error("no answer that Redis would give: {0}; a port that expects TLS needs rediss:// in the URL")]
    Unintelligible(RedisError),
    /// A Redis that does not want us, or not now.
    #[error("Redis is of no use: {0}")]
    Unusable(RedisError),
    /// Wrong or missing password.
    #[error("Redis refuses the login: {0}; set the password (--redis.password-file) or the ACL user")]
    Login(RedisError),
    /// The db does not exist, or the user may not change to it.
    #[error("{0}; check the db in the URL; for a db other than 0 the ACL user needs +select")]
    Db(RedisError),
    /// The subscription is not allowed.
    #[error("Redis refuses the subscription: {0}; the ACL user needs +psubscribe and &turn/*")]
    Refused(RedisError),
    /// Something took too long.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The connection was there and is gone.
    #[error("the connection was lost: {0}")]
    Lost(RedisError),
    /// The connection was closed by Redis, without a word.
    #[error("Redis closed the connection")]
    Closed,
}

/// One published message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawMessage {
    /// The channel, as sent.
    pub channel: Vec<u8>,
    /// The payload, as sent.
    pub payload: Vec<u8>,
}

/// A confirmed subscription.
#[derive(Debug)]
pub struct Link {
    /// What is published, in order.
    pub messages: Messages,
    /// Whether the other end is there.
    pub pulse: Pulse,
    /// The server at the other end.
    pub server: Server,
}

/// Connects, logs in and subscribes; done when Redis has confirmed the subscription and, where the source has
/// sentinels, that it is the master.
///
/// # Errors
///
/// [`LinkError`]; nothing is left open.
pub async fn subscribe(source: &RedisSource) -> Result<Link, LinkError> {
    let server = locate(source).await?;
    let mut pubsub = connect_pubsub(source, &server).await?;
    let refused = |error| subscribe_error(error, source.tls.as_ref());
    in_time(pubsub.psubscribe(PATTERN)).await?.map_err(refused)?;
    if has_sentinels(source) {
        // A master that is demoted drops its subscribers: one that is still the master now will not fool us later.
        connect_to(source, &server).await?;
    }
    let (sink, stream) = pubsub.split();
    Ok(Link {
        messages: Messages { stream },
        pulse: Pulse { sink, source: source.clone(), server: server.clone() },
        server,
    })
}

fn has_sentinels(source: &RedisSource) -> bool {
    matches!(source.address, RedisAddress::Sentinel(_))
}

fn subscribe_error(error: RedisError, tls: Option<&Tls>) -> LinkError {
    match connect_error(error, tls) {
        LinkError::Unusable(error) => LinkError::Refused(error),
        LinkError::Login(error) if error.code() == Some("NOPERM") => LinkError::Refused(error),
        other => other,
    }
}

/// The messages of a subscription.
pub struct Messages {
    stream: PubSubStream,
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}

impl Messages {
    /// Waits for a message and appends it to `batch` with what came along; `false` when the link is lost.
    ///
    /// Can be dropped while it waits: no message is lost by that.
    pub async fn next(&mut self, batch: &mut Vec<RawMessage>) -> bool {
        let Some(first) = self.stream.next().await else { return false };
        batch.extend(raw(&first));
        while batch.len() < BATCH
            && let Some(Some(message)) = self.stream.next().now_or_never()
        {
            batch.extend(raw(&message));
        }
        true
    }
}

fn raw(message: &redis::Msg) -> Option<RawMessage> {
    let channel = message.get_channel().ok()?;
    Some(RawMessage { channel, payload: message.get_payload_bytes().to_vec() })
}

/// Asks the subscription's other end whether it is there, and its sentinels whether it is the right one.
#[derive(Clone)]
pub struct Pulse {
    sink: PubSubSink,
    source: RedisSource,
    server: Server,
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulse").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Pulse {
    /// Asks every ten seconds until an answer fails to come; gives the reason.
    pub async fn until_lost(mut self) -> LinkError {
        loop {
            sleep(BEAT).await;
            if let Err(error) = self.beat_at_master().await {
                return error;
            }
        }
    }

    /// PING and its PONG. The answer is a barrier too: all that was published before the PING waits in [`Messages`].
    ///
    /// # Errors
    ///
    /// When the answer does not come in time, or the connection is gone.
    pub async fn beat(&mut self) -> Result<(), LinkError> {
        ping(&mut self.sink).await
    }

    /// The same, and the sentinels do not name another master meanwhile. A master that is cut off from them is not told
    /// of its end: it keeps its subscribers, and answers their PINGs.
    ///
    /// Sentinels that do not answer change nothing: they are not needed as long as the master lives.
    ///
    /// # Errors
    ///
    /// As [`Self::beat`]; [`LinkError::Moved`].
    pub async fn beat_at_master(&mut self) -> Result<(), LinkError> {
        if !has_sentinels(&self.source) {
            return self.beat().await;
        }
        let (answer, located) = tokio::join!(ping(&mut self.sink), locate(&self.source));
        answer?;
        match located {
            Ok(to) if to != self.server => Err(LinkError::Moved { from: self.server.clone(), to }),
            _ => Ok(()),
        }
    }
}

async fn ping(sink: &mut PubSubSink) -> Result<(), LinkError> {
    let answer: Result<redis::Value, RedisError> =
        timeout(PONG_DEADLINE, sink.ping()).await.map_err(|_| LinkError::Timeout(PONG_DEADLINE))?;
    answer.map(drop).map_err(LinkError::Lost)
}
