//! The address of the server that a source stands for at one moment.

use std::fmt;
use std::path::PathBuf;

use crate::config::Endpoint;

/// One Redis server. A source with sentinels stands for another one after each failover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisServer {
    /// Over TCP.
    Tcp(Endpoint),
    /// Over a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(endpoint) => endpoint.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}
