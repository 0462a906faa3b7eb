//! From a source to a connection for commands: finds the server, logs in, and checks that it is the master where the
//! source has sentinels.

use redis::aio::MultiplexedConnection;
use redis::{Role, cmd};

use super::error::LinkError;
use super::login::{Login, log_in, login_error};
use super::reply_error::is_forbidden;
use super::sentinel;
use super::server::RedisServer;
use crate::config::{Password, RedisAddress, RedisSource, Tls};

/// The server that a source stands for now: its sentinels are asked, if it has any.
///
/// # Errors
///
/// [`LinkError::Sentinel`].
pub async fn locate(source: &RedisSource) -> Result<RedisServer, LinkError> {
    match &source.address {
        RedisAddress::Tcp(endpoint) => Ok(RedisServer::Tcp(endpoint.clone())),
        RedisAddress::Unix { path } => Ok(RedisServer::Unix(path.clone())),
        RedisAddress::Sentinel(sentinels) => {
            let tls = source.tls.as_ref();
            sentinel::master(sentinels, tls).await.map(RedisServer::Tcp).map_err(LinkError::Sentinel)
        }
    }
}

/// A connection for commands to the server that the source stands for now. Each answer may take ten seconds.
///
/// # Errors
///
/// [`LinkError`]; nothing is left open.
pub async fn connect(source: &RedisSource) -> Result<MultiplexedConnection, LinkError> {
    connect_to(source, &locate(source).await?).await
}

/// A connection for commands to a server that [`locate`] found before. Each answer may take ten seconds.
///
/// # Errors
///
/// [`LinkError`]; nothing is left open.
pub async fn connect_to(
    source: &RedisSource,
    server: &RedisServer,
) -> Result<MultiplexedConnection, LinkError> {
    let password = source.password.as_ref().map(Password::current);
    let login = Login { username: source.username.as_deref(), password: password.as_deref(), db: source.db };
    let mut connection = log_in(server, source.tls.as_ref(), login).await?;
    if source.has_sentinels() {
        must_be_master(&mut connection, server, source.tls.as_ref()).await?;
    }
    Ok(connection)
}

/// Sentinels may be late: one that is cut off from the others calls the old master the master.
async fn must_be_master(
    connection: &mut MultiplexedConnection,
    server: &RedisServer,
    tls: Option<&Tls>,
) -> Result<(), LinkError> {
    match cmd("ROLE").query_async(connection).await {
        Ok(Role::Replica { .. }) => Err(LinkError::Replica(server.clone())),
        Ok(_) => Ok(()),
        // An ACL user without +role: the word of the sentinels must do.
        Err(error) if is_forbidden(&error) => Ok(()),
        Err(error) => Err(login_error(error, tls)),
    }
}
