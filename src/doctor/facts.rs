//! What was seen of a Redis, as plain values: collected by `source`, judged by the other files of this folder.

use std::fmt;
use std::time::Duration;

use super::retention::Retention;

pub use super::look::{ConfigValues, Look};

/// Which Redis is judged, and by which settings of the exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The source's name: its URL without user and password, with the db.
    pub name: String,
    /// `redis-cli` with the arguments that reach this Redis, quoted for a shell; without a login.
    pub redis_cli: String,
    /// The db that status keys are read from.
    pub db: u32,
    /// The ACL user that the exporter logs in as; `None` is Redis' default user.
    pub user: Option<String>,
    /// coturn's file, where the login is that of its `redis-statsdb`.
    pub login_of: Option<String>,
    /// A key that is idle for longer belongs to no live allocation.
    pub stale_after: Duration,
}

impl Subject {
    /// The URL of another db of the same Redis.
    pub fn url_of(&self, db: u32) -> String {
        if self.name.starts_with("unix:") {
            let socket = self.name.split_once("?db=").map_or(self.name.as_str(), |(socket, _)| socket);
            return if db == 0 { socket.to_owned() } else { format!("{socket}?db={db}") };
        }
        let address = self.name.rsplit_once('/').map_or(self.name.as_str(), |(address, _)| address);
        format!("{address}/{db}")
    }
}

/// Everything that was seen of one Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whose facts these are.
    pub subject: Subject,
    /// What was seen, or why nothing could be.
    pub seen: Result<Seen, Unreachable>,
}

/// Why nothing could be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// What kind of failure it is: it decides the advice.
    pub obstacle: Obstacle,
    /// The error's text.
    pub text: String,
}

/// What prevented `doctor` from checking a Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// No connection, or no answer on it.
    Connection,
    /// A connection without TLS, and bytes on it that are not the protocol of Redis.
    Protocol,
    /// What listens there is no Redis but an exporter, to which coturn reports.
    Listener,
    /// The TLS handshake failed.
    Tls {
        /// What makes the certificate one that is accepted, where the certificate is at fault.
        fix: Option<String>,
    },
    /// Redis refuses the login.
    Login,
    /// No sentinel says where the master is.
    Sentinel,
    /// The sentinels call a replica the master.
    Replica,
    /// Redis answers, but cannot serve clients now.
    Refusal,
}

/// What was seen of a Redis that answers and accepts the login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The ACL user of the connection.
    pub user: Look<String>,
    /// The version of Redis.
    pub version: Look<Version>,
    /// Whether `CLIENT NO-TOUCH` is known there (Redis 7.2).
    pub no_touch: Look<bool>,
    /// Master or replica.
    pub role: Look<Role>,
    /// Its settings.
    pub settings: Look<ConfigValues>,
    /// Its mode and its memory, from `INFO`.
    pub retention: Look<Retention>,
    /// What the exporter needs, tried.
    pub rights: Rights,
    /// Dangerous commands that the user may call without needing them.
    pub excess: Look<Vec<String>>,
    /// The other connections.
    pub clients: Look<Clients>,
    /// What became of all that was published.
    pub published: Look<PublishCount>,
    /// Patterns that anyone is subscribed to.
    pub patterns: Look<u64>,
    /// Dbs that were read, with their status keys; the configured one among them if it could be selected.
    pub dbs: Vec<Db>,
    /// Whether other dbs than the configured one could be read.
    pub other_dbs: Look<()>,
}

/// A version of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The 7 of 7.2.4.
    pub major: u32,
    /// The 2 of 7.2.4.
    pub minor: u32,
    /// The 4 of 7.2.4.
    pub patch: u32,
}

impl Version {
    /// From `7.2.4`; the rest is ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part.get(..digits)?.parse().ok()
        });
        let major = parts.next()??;
        let mut next = || parts.next().flatten().unwrap_or(0);
        Some(Self { major, minor: next(), patch: next() })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The role of a Redis server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Master,
    /// It repeats a master.
    Replica(MasterLink),
    /// Another word (`sentinel`).
    Other(String),
}

/// How a replica stands to its master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterLink {
    /// It has a copy and follows.
    Connected,
    /// It has reached the master and is getting its copy (`master_sync_in_progress`), or agrees on one.
    Syncing,
    /// It has no connection to the master.
    Lost,
}

impl MasterLink {
    /// From the fourth word of `ROLE`.
    pub fn from_role(state: &str) -> Self {
        match state {
            "connected" => Self::Connected,
            "sync" | "handshake" => Self::Syncing,
            // `connect`, `connecting`, `none`
            _ => Self::Lost,
        }
    }

    /// From the lines of `INFO replication` of a replica.
    pub fn from_info(info: &str) -> Self {
        let has = |line: &str| info.lines().any(|other| other.trim_end() == line);
        if has("master_link_status:up") {
            Self::Connected
        } else if has("master_sync_in_progress:1") {
            Self::Syncing
        } else {
            Self::Lost
        }
    }
}

/// What the exporter needs to do, each tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// `PING`. An error here that is not about rights is Redis's answer to every command at this moment.
    pub ping: Look<()>,
    /// `SELECT` of the configured db; not tried for db 0, in which every connection begins.
    pub select: Look<()>,
    /// `PSUBSCRIBE turn/*`.
    pub subscribe: Look<()>,
    /// `SCAN`.
    pub scan: Look<()>,
    /// `GET` of a status key.
    pub get: Look<()>,
    /// `OBJECT IDLETIME` of a status key.
    pub idle_time: Look<()>,
}

/// The connections of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// Subscribed to a pattern.
    pub subscribers: usize,
    /// Connections whose last command was PUBLISH: how long ago that was.
    pub publishers: Vec<Duration>,
    /// Exporters that forward what coturn reports to them: how long ago their last command was.
    pub forwarders: Vec<Duration>,
    /// All others, without those of `doctor`.
    pub others: usize,
}

/// How many PUBLISH came since the statistics of Redis began, with its start or `CONFIG RESETSTAT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishCount {
    /// Those that were carried out.
    pub accepted: u64,
    /// Those that were refused: no login, no right. Redis before 6.2 does not count them.
    pub refused: u64,
}

impl PublishCount {
    /// From the lines of `INFO commandstats`.
    pub fn of_info(info: &str) -> Self {
        let figures = info.lines().find_map(|line| line.strip_prefix("cmdstat_publish:")).unwrap_or_default();
        let figure = |name: &str| {
            let value = figures.split(',').find_map(|word| word.trim().strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse().ok()).unwrap_or_default()
        };
        Self { accepted: figure("calls"), refused: figure("rejected_calls") }
    }

    /// Whether none at all was carried out, and some were refused.
    pub const fn is_refused(self) -> bool {
        self.accepted == 0 && self.refused > 0
    }
}

/// The status keys of a db, or the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Db {
    /// Its number.
    pub number: u32,
    /// How long each key has been idle, where Redis reports it.
    pub idle: Vec<Option<Duration>>,
    /// Whether these are all.
    pub complete: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let version = |text| Version::parse(text).unwrap();
        assert!(version("7.0.15") < version("7.2.0") && version("10.0") > version("7.2.4"));
        assert_eq!(version("7.2.4-rc1").to_string(), "7.2.4");
        assert_eq!(version("5").to_string(), "5.0.0");
        assert_eq!((Version::parse(""), Version::parse("x.1")), (None, None));
    }

    #[test]
    fn refused_commands_are_no_calls() {
        let of = PublishCount::of_info;
        let line = "cmdstat_publish:calls=3,usec=9,usec_per_call=3.00,rejected_calls=58,failed_calls=0\r\n";
        assert_eq!(of(&format!("# Commandstats\r\n{line}")), PublishCount { accepted: 3, refused: 58 });
        assert_eq!(
            of("cmdstat_publish:calls=7,usec=9,usec_per_call=3.00"),
            PublishCount { accepted: 7, refused: 0 }
        );
        assert_eq!(of("cmdstat_ping:calls=1,rejected_calls=1"), PublishCount::default());
    }

    #[test]
    fn a_replica_that_is_copying_its_master_has_not_lost_it() {
        for (state, link) in [
            ("connected", MasterLink::Connected),
            ("sync", MasterLink::Syncing),
            ("handshake", MasterLink::Syncing),
            ("connecting", MasterLink::Lost),
            ("connect", MasterLink::Lost),
            ("none", MasterLink::Lost),
        ] {
            assert_eq!(MasterLink::from_role(state), link, "{state}");
        }
        for (status, syncing, link) in [
            ("up", 0, MasterLink::Connected),
            ("down", 1, MasterLink::Syncing),
            ("down", 0, MasterLink::Lost),
        ] {
            let info = format!(
                "# Replication\r\nrole:slave\r\nmaster_host:h\r\nmaster_link_status:{status}\r\n\
                 master_sync_in_progress:{syncing}\r\nslave_repl_offset:0\r\n"
            );
            assert_eq!(MasterLink::from_info(&info), link, "{info}");
        }
    }

    #[test]
    fn the_url_of_another_db_differs_in_the_db_only() {
        let subject = |name: &str| Subject {
            name: name.to_owned(),
            redis_cli: String::new(),
            db: 0,
            user: None,
            login_of: None,
            stale_after: Duration::ZERO,
        };
        for (name, db, url) in [
            ("redis://127.0.0.1:6379/0", 3, "redis://127.0.0.1:6379/3"),
            ("redis://[::1]:6379/13", 0, "redis://[::1]:6379/0"),
            ("unix:///run/redis.sock", 3, "unix:///run/redis.sock?db=3"),
            ("unix:///run/redis.sock?db=3", 0, "unix:///run/redis.sock"),
        ] {
            assert_eq!(subject(name).url_of(db), url);
        }
    }
}
