//! A Redis to watch: where it is, how it is spoken to, what it is called. Values only: it opens nothing, connects to
//! nothing and knows no client library.

use std::fmt;
use std::path::PathBuf;

use super::Password;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address; an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Where a Redis answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisAddress {
    /// Over TCP.
    Tcp(Endpoint),
    /// Over a unix socket.
    Unix {
        /// The socket.
        path: PathBuf,
    },
    /// Wherever the sentinels say that the master is.
    Sentinel(Sentinels),
}

impl RedisAddress {
    /// Whether both lead to one Redis, whoever logs in.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sentinel(ours), Self::Sentinel(theirs)) => {
                ours.master == theirs.master
                    && ours.endpoints.iter().any(|endpoint| theirs.endpoints.contains(endpoint))
            }
            _ => self == other,
        }
    }
}

/// Those who know where a master is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentinels {
    /// Who is asked, in this order; at least one.
    pub endpoints: Vec<Endpoint>,
    /// What they call the master.
    pub master: String,
    /// The sentinels' own ACL user; `None` is their default user.
    pub username: Option<String>,
    /// The sentinels' own password, from the URL or from a file.
    pub password: Option<Password>,
}

/// TLS to a Redis and to its sentinels. The files are read again for each connection, so that new certificates are
/// taken up without a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The CAs that may have signed the server's certificate; those of the system when `None`.
    pub ca_file: Option<PathBuf>,
    /// What we show to a server that asks who we are.
    pub client: Option<ClientCertificate>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, then those of the CAs between it and the root, if any.
    pub cert_file: PathBuf,
    /// Its key, not encrypted.
    pub key_file: PathBuf,
}

/// One Redis to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSource {
    /// The value of the `source` label: the URL in its full form without users and passwords,
    /// `redis://127.0.0.1:6379/0`, `unix:///run/redis.sock` (with `?db=1` where the db is not 0) or
    /// `redis+sentinel://a:26379,b:26379/mymaster/0`, whichever server is the master.
    pub name: String,
    /// Where it answers.
    pub address: RedisAddress,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// The db that holds coturn's keys (events come from all of them).
    pub db: u32,
    /// The ACL user; `None` is Redis' default user.
    pub username: Option<String>,
    /// The password, from the URL or from a file.
    pub password: Option<Password>,
}

impl RedisSource {
    /// Whether sentinels say which server it is.
    pub const fn has_sentinels(&self) -> bool {
        matches!(self.address, RedisAddress::Sentinel(_))
    }
}

impl fmt::Display for RedisSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
