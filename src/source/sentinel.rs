//! Asks sentinels where the master is. Remembers nothing: they are asked anew each time, for a failover changes the
//! answer.

use std::time::Duration;

use redis::{RedisError, cmd};
use tokio::time::timeout;

use super::error::{LinkError, SentinelError, SentinelProblem};
use super::login::{Login, log_in};
use super::reply_error::is_forbidden;
use super::server::RedisServer;
use crate::config::{Endpoint, Password, Sentinels, Tls};

/// How long one sentinel may take, so that one that is gone does not hold up the others.
const DEADLINE: Duration = Duration::from_secs(3);

/// The master, as the first of the sentinels says that knows it.
///
/// # Errors
///
/// [`SentinelError`] when none does.
pub(super) async fn master(sentinels: &Sentinels, tls: Option<&Tls>) -> Result<Endpoint, SentinelError> {
    let mut answers = Vec::new();
    for endpoint in &sentinels.endpoints {
        let asked = timeout(DEADLINE, ask(endpoint, sentinels, tls)).await;
        match asked.unwrap_or(Err(SentinelProblem::Timeout(DEADLINE))) {
            Ok(master) => return Ok(master),
            Err(problem) => answers.push((endpoint.clone(), problem)),
        }
    }
    Err(SentinelError { master: sentinels.master.clone(), answers })
}

async fn ask(
    endpoint: &Endpoint,
    sentinels: &Sentinels,
    tls: Option<&Tls>,
) -> Result<Endpoint, SentinelProblem> {
    let password = sentinels.password.as_ref().map(Password::current);
    let login = Login { username: sentinels.username.as_deref(), password: password.as_deref(), db: 0 };
    let connecting = log_in(&RedisServer::Tcp(endpoint.clone()), tls, login).await;
    let mut connection = connecting.map_err(|error| match error {
        LinkError::Login(error) => SentinelProblem::Login(error),
        error => SentinelProblem::Link(error),
    })?;
    let mut question = cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(&sentinels.master);
    let answer: Option<(String, u16)> =
        question.query_async(&mut connection).await.map_err(|error: RedisError| match error.code() {
            Some("NOAUTH") => SentinelProblem::Login(error),
            _ if is_forbidden(&error) => SentinelProblem::Forbidden(error),
            _ => SentinelProblem::Command(error),
        })?;
    let (host, port) = answer.ok_or(SentinelProblem::Unknown)?;
    Ok(Endpoint { host, port })
}
