//! From an address to a connection of the client library that has logged in: to a Redis or to a sentinel.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind};
use tokio::time::timeout;

use super::bounded::Bounded;
use super::dial::dial;
use super::error::LinkError;
use super::reply_error::wants_login;
use super::server::RedisServer;
use crate::config::{Secret, Tls};

/// How long each of connecting, logging in and subscribing may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// How the client library begins what it says of a failed SELECT; nothing else tells this error from others.
const NO_SELECT: &str = "Redis server refused to switch database";

/// A connection for commands to any server, also to a sentinel.
pub(super) async fn log_in(
    server: &RedisServer,
    tls: Option<&Tls>,
    login: &RedisConnectionInfo,
) -> Result<MultiplexedConnection, LinkError> {
    let stream = Bounded::new(in_time(dial(server, tls)).await??);
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(DEADLINE));
    let connecting = MultiplexedConnection::new_with_config(login, stream, config);
    let (connection, driver) = in_time(connecting).await?.map_err(|error| login_error(error, tls))?;
    // It ends with the last handle of its connection.
    tokio::spawn(driver);
    Ok(connection)
}

/// User and password as the client library takes them.
pub(super) fn credentials(username: Option<&str>, password: Option<&Secret>) -> RedisConnectionInfo {
    // An ACL need not allow `CLIENT SETINFO`.
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(username) = username {
        login = login.set_username(username);
    }
    if let Some(password) = password {
        login = login.set_password(password.expose());
    }
    login
}

/// What the first errors of a connection mean.
pub(super) fn login_error(error: RedisError, tls: Option<&Tls>) -> LinkError {
    let kind = error.kind();
    let login = matches!(kind, ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm));
    if login || wants_login(&error) {
        LinkError::Login(error)
    } else if error.to_string().starts_with(NO_SELECT) {
        LinkError::Db(error)
    } else if tls.is_none() && matches!(kind, ErrorKind::Io | ErrorKind::Parse) {
        LinkError::Unintelligible(error)
    } else {
        LinkError::Unusable(error)
    }
}

/// Waits for `attempt` for [`DEADLINE`] at most.
pub(super) async fn in_time<T>(attempt: impl Future<Output = T>) -> Result<T, LinkError> {
    timeout(DEADLINE, attempt).await.map_err(|_| LinkError::Timeout(DEADLINE))
}
