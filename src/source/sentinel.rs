//! Asks sentinels where the master is. Remembers nothing: they are asked anew each time, for a failover changes the
//! answer.

use std::fmt;
use std::time::Duration;

use redis::{RedisError, cmd};
use tokio::time::timeout;

use super::connect::{Server, log_in, login};
use super::redis::LinkError;
use super::tls::TlsError;
use crate::config::{Endpoint, Sentinels, Tls};

/// How long one sentinel may take, so that one that is gone does not hold up the others.
const DEADLINE: Duration = Duration::from_secs(3);

/// No sentinel that knows the master.
#[derive(Debug)]
pub struct SentinelError {
    /// What they call it.
    master: String,
    /// What came of asking each of them.
    answers: Vec<(Endpoint, Problem)>,
}

/// What came of asking a sentinel.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}")]
    Link(LinkError),
    #[error("it refuses the login: {0}; set its own password (--redis.sentinel-password-file)")]
    Login(RedisError),
    #[error("it forbids the question: {0}; its user needs +sentinel|get-master-addr-by-name")]
    Forbidden(RedisError),
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Timeout,
    #[error("it does not know this name")]
    Unknown,
    #[error("{0}; is this a sentinel?")]
    Command(RedisError),
}

impl SentinelError {
    /// The first TLS connection to one of them that failed.
    pub(super) fn tls(&self) -> Option<&TlsError> {
        self.answers.iter().find_map(|(_, problem)| match problem {
            Problem::Link(LinkError::Tls(error)) => Some(error),
            _ => None,
        })
    }
}

impl fmt::Display for SentinelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no sentinel tells where the master {:?} is", self.master)?;
        for (number, (endpoint, problem)) in self.answers.iter().enumerate() {
            write!(f, "{} {endpoint}: {problem}", if number == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl std::error::Error for SentinelError {}

/// The master, as the first of the sentinels says that knows it.
///
/// # Errors
///
/// [`SentinelError`] when none does.
pub(super) async fn master(sentinels: &Sentinels, tls: Option<&Tls>) -> Result<Endpoint, SentinelError> {
    let mut answers = Vec::new();
    for endpoint in &sentinels.endpoints {
        let asked = timeout(DEADLINE, ask(endpoint, sentinels, tls)).await;
        match asked.unwrap_or(Err(Problem::Timeout)) {
            Ok(master) => return Ok(master),
            Err(problem) => answers.push((endpoint.clone(), problem)),
        }
    }
    Err(SentinelError { master: sentinels.master.clone(), answers })
}

async fn ask(endpoint: &Endpoint, sentinels: &Sentinels, tls: Option<&Tls>) -> Result<Endpoint, Problem> {
    let login = login(sentinels.username.as_deref(), sentinels.password.as_ref());
    let connecting = log_in(&Server::Tcp(endpoint.clone()), tls, &login).await;
    let mut connection = connecting.map_err(|error| match error {
        LinkError::Login(error) => Problem::Login(error),
        error => Problem::Link(error),
    })?;
    let mut question = cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(&sentinels.master);
    let answer: Option<(String, u16)> =
        question.query_async(&mut connection).await.map_err(|error: RedisError| match error.code() {
            Some("NOAUTH") => Problem::Login(error),
            Some("NOPERM") => Problem::Forbidden(error),
            _ => Problem::Command(error),
        })?;
    let (host, port) = answer.ok_or(Problem::Unknown)?;
    Ok(Endpoint { host, port })
}
