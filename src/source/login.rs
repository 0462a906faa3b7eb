//! From an address to a connection of the client library that has logged in: to a Redis or to a sentinel. And what a refusal
//! of its first commands means, whoever sends them.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError, Value, cmd};
use tokio::time::timeout;

use super::bounded::Bounded;
use super::dial::dial;
use super::error::LinkError;
use super::reply_error::{is_busy, wants_login};
use super::server::RedisServer;
use crate::config::{Secret, Tls};

/// How long each of connecting, logging in and subscribing may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// What Redis before 6, which knows no users, says of an AUTH with one.
const KNOWS_NO_USERS: &str = "wrong number of arguments for 'auth' command";

/// What a command of the handshake asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandshakeStep {
    Login,
    Db,
    /// A PING: PSUBSCRIBE is confirmed also by a Redis that then answers nothing, as one that is loading.
    Presence,
    Subscription,
}

/// As whom to log in, and to which db.
#[derive(Clone, Copy, Debug)]
pub(super) struct Login<'a> {
    /// `None` is the default user.
    pub(super) username: Option<&'a str>,
    pub(super) password: Option<&'a Secret>,
    pub(super) db: u32,
}

/// A connection for commands to any server, also to a sentinel.
pub(super) async fn log_in(
    server: &RedisServer,
    tls: Option<&Tls>,
    login: Login<'_>,
) -> Result<MultiplexedConnection, LinkError> {
    let stream = Bounded::new(in_time(dial(server, tls)).await??);
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(DEADLINE));
    // An ACL need not allow `CLIENT SETINFO`.
    let silent = RedisConnectionInfo::default().set_skip_set_lib_name();
    let connecting = MultiplexedConnection::new_with_config(&silent, stream, config);
    let (mut connection, driver) = in_time(connecting).await?.map_err(|error| login_error(error, tls))?;
    // It ends with the last handle of its connection.
    tokio::spawn(driver);
    introduce(&mut connection, login, tls.is_some()).await?;
    Ok(connection)
}

/// Says who we are and which db is meant. The client library can do that too, but of a refusal it keeps neither the code
/// nor the words.
async fn introduce(
    connection: &mut MultiplexedConnection,
    login: Login<'_>,
    is_tls: bool,
) -> Result<(), LinkError> {
    let refused = |step| move |error: RedisError| link_error(step, error, is_tls);
    if let Some(password) = login.password {
        let mut answer = authenticate(connection, login.username, password).await;
        if login.username.is_some() && answer.as_ref().is_err_and(knows_no_users) {
            answer = authenticate(connection, None, password).await;
        }
        answer.map_err(refused(HandshakeStep::Login))?;
    }
    if login.db != 0 {
        let selected = cmd("SELECT").arg(login.db).query_async::<Value>(connection).await;
        selected.map_err(refused(HandshakeStep::Db))?;
    }
    Ok(())
}

async fn authenticate(
    connection: &mut MultiplexedConnection,
    username: Option<&str>,
    password: &Secret,
) -> Result<(), RedisError> {
    let mut auth = cmd("AUTH");
    if let Some(username) = username {
        auth.arg(username);
    }
    auth.arg(password.expose()).query_async::<Value>(connection).await.map(drop)
}

/// What the first errors of a connection mean.
pub(super) fn login_error(error: RedisError, tls: Option<&Tls>) -> LinkError {
    if wants_login(&error) {
        LinkError::Login(error)
    } else if error.is_timeout() {
        LinkError::Timeout(DEADLINE)
    } else if tls.is_none() && matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse) {
        LinkError::Unintelligible(error)
    } else {
        LinkError::Unusable(error)
    }
}

/// Whether a Redis before 6 has refused an AUTH with a user.
pub(super) fn knows_no_users(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.contains(KNOWS_NO_USERS))
}

/// What an error at a step means for the connection.
pub(super) fn link_error(step: HandshakeStep, error: RedisError, is_tls: bool) -> LinkError {
    match (step, error.kind()) {
        _ if error.is_timeout() => LinkError::Timeout(DEADLINE),
        (_, ErrorKind::Io | ErrorKind::Parse) if is_tls => LinkError::Unusable(error),
        (_, ErrorKind::Io | ErrorKind::Parse) => LinkError::Unintelligible(error),
        _ if wants_login(&error) => LinkError::Login(error),
        // Whatever was asked: it serves no client, or none for now.
        _ if is_busy(&error) => LinkError::Unusable(error),
        (HandshakeStep::Login, _) => LinkError::Login(error),
        (HandshakeStep::Db, _) => LinkError::Db(error),
        (HandshakeStep::Presence, _) => LinkError::PingRefused(error),
        (HandshakeStep::Subscription, _) => LinkError::Refused(error),
    }
}

/// Waits for `attempt` for [`DEADLINE`] at most.
pub(super) async fn in_time<T>(attempt: impl Future<Output = T>) -> Result<T, LinkError> {
    timeout(DEADLINE, attempt).await.map_err(|_| LinkError::Timeout(DEADLINE))
}
