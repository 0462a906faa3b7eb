//! Why there is no connection to a Redis, and what the operator can do about it. An error carries its cause in its text and
//! has no `source()`.

use std::fmt;
use std::io;
use std::time::Duration;

use redis::RedisError;

use super::reply_error::words;
use super::server::RedisServer;
use super::statsdb::NOBODY_IS_TOLD;
use super::tls::TlsError;
use crate::config::Endpoint;
use crate::doctor::facts::MasterLink;

fn refused_subscription(error: &RedisError) -> String {
    let words = words(error);
    let advice = if words.contains(NOBODY_IS_TOLD) {
        NO_REDIS_THERE
    } else {
        "the ACL user needs +psubscribe and &turn/*"
    };
    format!("Redis refuses the subscription: {words}; {advice}")
}

/// What to do where the listener of an exporter was taken for a Redis.
const NO_REDIS_THERE: &str = "give --redis.url the Redis that coturn reports to, or let coturn report to --statsdb.listen-address of this exporter";

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
    Replica(RedisServer),
    /// The sentinels name another master.
    #[error("the master has moved from {from} to {to}")]
    Moved {
        /// Where we are connected.
        from: RedisServer,
        /// Where the master is.
        to: RedisServer,
    },
    /// A connection without TLS that ended before an answer came.
    #[error("no Redis answers: {}; a port that expects TLS needs rediss:// in the URL", words(.0))]
    Unintelligible(RedisError),
    /// A replica without its master that answers nothing until it has it again.
    #[error("{}", without_master(*.link))]
    MasterDown {
        /// How it stands to its master, where it says.
        link: Option<MasterLink>,
    },
    /// A Redis that refuses every client, or every client for now.
    #[error("Redis cannot serve this client now: {}", words(.0))]
    Unusable(RedisError),
    /// Wrong or missing password.
    #[error("Redis refuses the login: {}; set the password (--redis.password-file) or the ACL user", words(.0))]
    Login(RedisError),
    /// Wrong or missing password of a listener.
    #[error("the login is refused: {}: {NOBODY_IS_TOLD}; {NO_REDIS_THERE}", words(.0))]
    LoginOfListener(RedisError),
    /// The db does not exist, or the user may not change to it.
    #[error("{}; check the db in the URL; for a db other than 0 the ACL user needs +select", words(.0))]
    Db(RedisError),
    /// Without PING, a connection that is dead looks like a quiet one.
    #[error("Redis refuses PING, by which a dead connection is noticed: {}; the ACL user needs +ping", words(.0))]
    PingRefused(RedisError),
    /// The subscription is not allowed.
    #[error("{}", refused_subscription(.0))]
    Refused(RedisError),
    /// Something took too long.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The connection was there and is gone.
    #[error("the connection was lost: {}", words(.0))]
    Lost(RedisError),
    /// The connection was closed by Redis, without a word.
    #[error("Redis closed the connection")]
    Closed,
}

fn without_master(link: Option<MasterLink>) -> &'static str {
    match link {
        Some(MasterLink::Syncing | MasterLink::Connected) => {
            "this Redis is a replica that is being synchronized with its master, and answers when it has its copy \
             (replica-serve-stale-data no)"
        }
        Some(MasterLink::Lost) => {
            "this Redis is a replica that has lost its master, and answers nothing until it has it again \
             (replica-serve-stale-data no); name the master in --redis.url, where coturn writes"
        }
        None => {
            "this Redis is a replica whose link to its master is down, because it is being synchronized or has lost it, \
             and answers nothing meanwhile (replica-serve-stale-data no); +role lets the exporter see which"
        }
    }
}

/// No sentinel that knows the master.
#[derive(Debug)]
pub struct SentinelError {
    /// The name of the master.
    pub(super) master: String,
    /// Why each of them did not name it.
    pub(super) answers: Vec<(Endpoint, SentinelProblem)>,
}

/// Why a sentinel did not name the master.
#[derive(Debug, thiserror::Error)]
pub(super) enum SentinelProblem {
    #[error("{0}")]
    Link(LinkError),
    #[error("it refuses the login: {}; set its own password (--redis.sentinel-password-file)", words(.0))]
    Login(RedisError),
    #[error("it forbids the question: {}; its user needs +sentinel|get-master-addr-by-name", words(.0))]
    Forbidden(RedisError),
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("it does not know this name")]
    Unknown,
    #[error("{}; is this a sentinel?", words(.0))]
    Command(RedisError),
}

impl SentinelError {
    /// The first TLS connection to one of them that failed.
    pub(super) fn tls(&self) -> Option<&TlsError> {
        self.answers.iter().find_map(|(_, problem)| match problem {
            SentinelProblem::Link(LinkError::Tls(error)) => Some(error),
            _ => None,
        })
    }
}

impl fmt::Display for SentinelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no sentinel says where the master {:?} is", self.master)?;
        for (number, (endpoint, problem)) in self.answers.iter().enumerate() {
            write!(f, "{} {endpoint}: {problem}", if number == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl std::error::Error for SentinelError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::reply_error::error_reply;

    #[test]
    fn a_listener_is_no_redis_that_lacks_a_right() {
        let advice = |detail: &str| LinkError::Refused(error_reply(detail.as_bytes())).to_string();
        let text = advice(&format!("ERR unknown command 'PSUBSCRIBE': {NOBODY_IS_TOLD}"));
        assert!(text.contains("a coturn-exporter listens") && !text.contains("+psubscribe"), "{text}");
        let error = error_reply(b"WRONGPASS no.");
        let text = LinkError::LoginOfListener(error).to_string();
        assert!(text.starts_with("the login is refused: WRONGPASS no: here a coturn-exporter"), "{text}");
        assert!(text.ends_with(NO_REDIS_THERE), "{text}");
        assert!(advice("NOPERM no").ends_with("NOPERM no; the ACL user needs +psubscribe and &turn/*"));
    }
}
