//! From a source to a connection that Redis has accepted: finds the server, dials, logs in. The one place that does;
//! whoever has something to ask of a Redis comes here, and gets TLS and Sentinel with it.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError, Role, cmd};
use tokio::time::timeout;

use super::bounded::Bounded;
use super::dial::dial;
use super::redis::LinkError;
use super::sentinel;
use crate::config::{Endpoint, RedisAddress, RedisSource, Secret, Tls};

/// How long each of connecting, logging in and subscribing may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// The server that a source means at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// Over TCP.
    Tcp(Endpoint),
    /// Over a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(endpoint) => endpoint.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// The server that a source means now: its sentinels are asked, if it has any.
///
/// # Errors
///
/// [`LinkError::Sentinel`].
pub async fn locate(source: &RedisSource) -> Result<Server, LinkError> {
    match &source.address {
        RedisAddress::Tcp(endpoint) => Ok(Server::Tcp(endpoint.clone())),
        RedisAddress::Unix { path } => Ok(Server::Unix(path.clone())),
        RedisAddress::Sentinel(sentinels) => {
            let tls = source.tls.as_ref();
            sentinel::master(sentinels, tls).await.map(Server::Tcp).map_err(LinkError::Sentinel)
        }
    }
}

/// A connection for commands, logged in, to the server that the source means now: with TLS where the source wants it,
/// and to the master where it has sentinels. Each answer may take ten seconds.
///
/// # Errors
///
/// [`LinkError`]; nothing is left open.
pub async fn connect(source: &RedisSource) -> Result<MultiplexedConnection, LinkError> {
    connect_to(source, &locate(source).await?).await
}

/// The same, to a server that was found before.
///
/// # Errors
///
/// [`LinkError`]; nothing is left open.
pub async fn connect_to(source: &RedisSource, server: &Server) -> Result<MultiplexedConnection, LinkError> {
    let login = login(source.username.as_deref(), source.password.as_ref()).set_db(i64::from(source.db));
    let mut connection = log_in(server, source.tls.as_ref(), &login).await?;
    if matches!(source.address, RedisAddress::Sentinel(_)) {
        must_be_master(&mut connection, server, source.tls.as_ref()).await?;
    }
    Ok(connection)
}

/// A connection for commands to any server, a sentinel for one.
pub(super) async fn log_in(
    server: &Server,
    tls: Option<&Tls>,
    login: &RedisConnectionInfo,
) -> Result<MultiplexedConnection, LinkError> {
    let stream = Bounded::new(in_time(dial(server, tls)).await??);
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(DEADLINE));
    let connecting = MultiplexedConnection::new_with_config(login, stream, config);
    let (connection, driver) = in_time(connecting).await?.map_err(|error| connect_error(error, tls))?;
    // It ends with the last handle of its connection.
    tokio::spawn(driver);
    Ok(connection)
}

pub(super) fn login(username: Option<&str>, password: Option<&Secret>) -> RedisConnectionInfo {
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

/// Sentinels may be late: one that is cut off from the others calls the old master the master.
async fn must_be_master(
    connection: &mut MultiplexedConnection,
    server: &Server,
    tls: Option<&Tls>,
) -> Result<(), LinkError> {
    match cmd("ROLE").query_async(connection).await {
        Ok(Role::Replica { .. }) => Err(LinkError::Replica(server.clone())),
        Ok(_) => Ok(()),
        // An ACL user without +role: what the sentinels say must do.
        Err(error) if error.code() == Some("NOPERM") => Ok(()),
        Err(error) => Err(connect_error(error, tls)),
    }
}

pub(super) async fn in_time<T>(attempt: impl Future<Output = T>) -> Result<T, LinkError> {
    timeout(DEADLINE, attempt).await.map_err(|_| LinkError::Timeout(DEADLINE))
}

/// What the first errors of a connection mean.
pub(super) fn connect_error(error: RedisError, tls: Option<&Tls>) -> LinkError {
    use redis::{ErrorKind, ServerErrorKind};
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

/// How the client library begins what it says of a failed SELECT; the error has nothing else to know it by.
const NO_SELECT: &str = "Redis server refused to switch database";

/// Whether the password is wrong or missing. Redis without a login answers NOAUTH to the first command, whatever it is;
/// where that is the SELECT of the client library, only the text is left of it.
pub(super) fn wants_login(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
        || error.detail().is_some_and(|detail| detail.starts_with("Authentication required"))
}
