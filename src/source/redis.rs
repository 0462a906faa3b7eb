//! A Redis that coturn publishes to: the subscription with its pulse, and where it is reached. Bytes come out; what they mean is `wire`'s business.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo, RedisError,
};
use tokio::time::{sleep, timeout};

use crate::config::{RedisAddress, RedisSource};

/// What is subscribed to, to the letter: Redis' ACL compares the pattern as text (7.0.15), so the documented rule
/// `&turn/*` allows this one and no narrower one.
pub const PATTERN: &str = "turn/*";

/// How long connecting and subscribing may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// How often a link is asked whether it is there: a dead peer is not noticed otherwise.
pub const BEAT: Duration = Duration::from_secs(10);

/// How long a PONG may take before the link counts as dead.
const PONG_DEADLINE: Duration = Duration::from_secs(10);

/// Silence after which the system itself asks whether the other end is there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Messages handed on at once, at most: the table is locked for that many.
const BATCH: usize = 1024;

/// Why there is no link, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The address cannot be used at all.
    #[error("the address cannot be used: {0}")]
    Address(RedisError),
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(RedisError),
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
}

/// Connects, logs in and subscribes; done when Redis has confirmed the subscription.
///
/// # Errors
///
/// [`LinkError`]; nothing is left open.
pub async fn subscribe(source: &RedisSource) -> Result<Link, LinkError> {
    let client = client(source)?;
    let mut pubsub = in_time(client.get_async_pubsub()).await?.map_err(connect_error)?;
    in_time(pubsub.psubscribe(PATTERN)).await?.map_err(subscribe_error)?;
    let (sink, stream) = pubsub.split();
    Ok(Link { messages: Messages { stream }, pulse: Pulse { sink } })
}

/// A connection for commands, logged in, on which connecting and each answer have a deadline.
pub(super) async fn connect(source: &RedisSource) -> Result<MultiplexedConnection, LinkError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_DEADLINE))
        .set_response_timeout(Some(CONNECT_DEADLINE));
    client(source)?.get_multiplexed_async_connection_with_config(&config).await.map_err(connect_error)
}

/// The client library's view of a source.
fn client(source: &RedisSource) -> Result<Client, LinkError> {
    let address = match &source.address {
        RedisAddress::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
        RedisAddress::Unix { path } => ConnectionAddr::Unix(path.clone()),
    };
    // An ACL need not allow `CLIENT SETINFO`.
    let mut login = RedisConnectionInfo::default().set_db(i64::from(source.db)).set_skip_set_lib_name();
    if let Some(username) = &source.username {
        login = login.set_username(username);
    }
    if let Some(password) = &source.password {
        login = login.set_password(password.expose());
    }
    // A peer that vanished without a word is noticed while nothing is sent, and while something is.
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(3);
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(2 * KEEPALIVE);
    let info = address.into_connection_info().map_err(LinkError::Address)?;
    let info = info.set_redis_settings(login).set_tcp_settings(tcp);
    Client::open(info).map_err(LinkError::Address)
}

pub(super) fn connect_error(error: RedisError) -> LinkError {
    use redis::{ErrorKind, ServerErrorKind};
    let login =
        matches!(error.kind(), ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm));
    if login || wants_login(&error) {
        LinkError::Login(error)
    } else if error.to_string().starts_with(NO_SELECT) {
        LinkError::Db(error)
    } else {
        LinkError::Connect(error)
    }
}

fn subscribe_error(error: RedisError) -> LinkError {
    if wants_login(&error) { LinkError::Login(error) } else { LinkError::Refused(error) }
}

/// How the client library begins what it says of a failed SELECT; the error has nothing else to know it by.
const NO_SELECT: &str = "Redis server refused to switch database";

/// Whether the password is wrong or missing. Redis without a login answers NOAUTH to the first command, whatever it is;
/// where that is the SELECT of the client library, only the text is left of it.
fn wants_login(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
        || error.detail().is_some_and(|detail| detail.starts_with("Authentication required"))
}

async fn in_time<T>(attempt: impl Future<Output = T>) -> Result<T, LinkError> {
    timeout(CONNECT_DEADLINE, attempt).await.map_err(|_| LinkError::Timeout(CONNECT_DEADLINE))
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

/// Asks the subscription's other end whether it is there.
#[derive(Clone)]
pub struct Pulse {
    sink: PubSubSink,
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulse").finish_non_exhaustive()
    }
}

impl Pulse {
    /// Asks every ten seconds until an answer fails to come; gives the reason.
    pub async fn until_lost(mut self) -> LinkError {
        loop {
            sleep(BEAT).await;
            if let Err(error) = self.beat().await {
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
        let answer: Result<redis::Value, RedisError> =
            timeout(PONG_DEADLINE, self.sink.ping()).await.map_err(|_| LinkError::Timeout(PONG_DEADLINE))?;
        answer.map(drop).map_err(LinkError::Lost)
    }
}
