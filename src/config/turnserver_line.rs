//! The line of `turnserver.conf` by which coturn reports to a source, without any password.

use std::net::SocketAddr;

use super::{Endpoint, RedisAddress, RedisSource, Statsdb};

/// The line, and what must be known to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnserverLine {
    /// The line; `None` where coturn cannot report there.
    pub line: Option<String>,
    /// A sentence or two.
    pub note: String,
}

const SECRET: &str = "SECRET is the password.";

impl Statsdb {
    /// For a coturn on this host, where the exporter listens at `bound`.
    pub fn turnserver_line(&self, bound: &[SocketAddr]) -> TurnserverLine {
        let bound = bound.iter().find(|address| address.is_ipv4()).or_else(|| bound.first());
        let Some(bound) = bound else {
            return TurnserverLine { line: None, note: "The exporter listens nowhere.".to_owned() };
        };
        let ip = match bound.ip() {
            ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
            ip => ip.to_string(),
        };
        let mut note =
            "coturn on this host connects so; from another host, ip is an address of this one.".to_owned();
        if self.tls.is_some() {
            note.push_str(
                " The exporter speaks TLS there: coturn from 4.14 on does with tls=1 and ca=FILE in the line; for an older one ip \
                 and port are those of a proxy.",
            );
        }
        if self.password.is_some() {
            note = format!("{note} {SECRET}");
        }
        TurnserverLine { line: Some(redis_statsdb_line(&ip, bound.port(), 0, self.password.is_some())), note }
    }
}

impl RedisSource {
    /// For a coturn that reaches the Redis by the same address.
    pub fn turnserver_line(&self) -> TurnserverLine {
        let has_password = self.password.is_some() || self.username.is_some();
        let (endpoint, mut note) = match &self.address {
            RedisAddress::Tcp(endpoint) => {
                (endpoint.clone(), "ip is the address of this Redis as coturn's host sees it.".to_owned())
            }
            RedisAddress::Sentinel(sentinels) => (
                Endpoint { host: "MASTER".to_owned(), port: 6379 },
                format!("MASTER is the address of {}: coturn asks no Sentinel.", sentinels.master),
            ),
            RedisAddress::Unix { .. } => {
                let note = "coturn connects to a Redis by TCP only: let this one listen on a port, and name it in \
                            redis-statsdb of turnserver.conf.";
                return TurnserverLine { line: None, note: note.to_owned() };
            }
        };
        if self.tls.is_some() {
            note.push_str(
                " coturn from 4.14 on speaks TLS to a Redis with tls=1 and ca=FILE in the line; an older one needs a port \
                 without, or a proxy.",
            );
        }
        if has_password {
            note.push_str(" SECRET is the password of coturn's user there, the default user.");
        }
        TurnserverLine {
            line: Some(redis_statsdb_line(&endpoint.host, endpoint.port, self.db, has_password)),
            note,
        }
    }
}

/// The setting as `turnserver.conf` has it; `SECRET` stands for a password.
pub fn redis_statsdb_line(host: &str, port: u16, db: u32, has_password: bool) -> String {
    let password = if has_password { "password=SECRET " } else { "" };
    format!("redis-statsdb=\"ip={host} dbname={db} {password}port={port} connect_timeout=30\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, Tls};

    fn statsdb(password: Option<&str>) -> Statsdb {
        Statsdb {
            name: String::new(),
            listen: ":6390".parse().unwrap(),
            systemd_socket: false,
            password: password.map(|password| Secret::new(password).into()),
            tls: None,
            max_connections: 1,
            is_behind_proxy: false,
            forward: None,
        }
    }

    fn redis(address: RedisAddress, password: Option<&str>) -> RedisSource {
        RedisSource {
            name: String::new(),
            address,
            tls: None,
            db: 2,
            username: None,
            password: password.map(|password| Secret::new(password).into()),
        }
    }

    #[test]
    fn of_a_listener() {
        let bound: Vec<SocketAddr> = vec!["[::]:6390".parse().unwrap(), "0.0.0.0:6391".parse().unwrap()];
        let TurnserverLine { line, note } = statsdb(None).turnserver_line(&bound);
        assert_eq!(line.unwrap(), "redis-statsdb=\"ip=127.0.0.1 dbname=0 port=6391 connect_timeout=30\"");
        assert!(!note.contains("SECRET"), "{note}");
        let bound: Vec<SocketAddr> = vec!["192.0.2.7:6390".parse().unwrap()];
        let TurnserverLine { line, note } = statsdb(Some("hunter2")).turnserver_line(&bound);
        let line = line.unwrap();
        assert_eq!(
            line,
            "redis-statsdb=\"ip=192.0.2.7 dbname=0 password=SECRET port=6390 connect_timeout=30\""
        );
        assert!(note.contains("SECRET") && !note.contains("hunter2"), "{note}");
        assert_eq!(statsdb(None).turnserver_line(&[]).line, None);
    }

    #[test]
    fn of_a_redis() {
        let endpoint = Endpoint { host: "redis.example".to_owned(), port: 6380 };
        let plain = redis(RedisAddress::Tcp(endpoint.clone()), None);
        assert_eq!(
            plain.turnserver_line().line.unwrap(),
            "redis-statsdb=\"ip=redis.example dbname=2 port=6380 connect_timeout=30\""
        );
        let guarded = redis(RedisAddress::Tcp(endpoint), Some("hunter2"));
        let TurnserverLine { line, note } = guarded.turnserver_line();
        assert!(line.unwrap().contains(" password=SECRET ") && note.contains("SECRET"));
        let tls = RedisSource { tls: Some(Tls::default()), ..guarded };
        assert!(tls.turnserver_line().note.contains("TLS"));
        let unix = redis(RedisAddress::Unix { path: "/run/redis.sock".into() }, None);
        assert_eq!(unix.turnserver_line().line, None);
    }
}
