//! The value of `redis-statsdb`: words `key=value` with one blank between them.

use super::line::number;
use crate::config::Secret;
use crate::config::error::StatsdbLineError;

/// Where coturn reports to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsdbTarget {
    /// `ip`, which may be a name; 127.0.0.1 where it is missing.
    pub host: String,
    /// `port`; 6379 where it is missing.
    pub port: u16,
    /// `dbname`; 0 where it is missing.
    pub db: u32,
    /// `password`, without which coturn does not log in.
    pub password: Option<Secret>,
    /// `connect_timeout` in seconds; 0 where coturn waits as long as the system does.
    pub connect_timeout: u64,
}

impl StatsdbTarget {
    pub(super) fn parse(value: &str) -> Result<Self, StatsdbLineError> {
        let mut target =
            Self { host: "127.0.0.1".to_owned(), port: 6379, db: 0, password: None, connect_timeout: 0 };
        if value.starts_with('\'') {
            return Err(StatsdbLineError::SingleQuotes);
        }
        let mut rest = value;
        let mut is_behind_password = false;
        while !rest.is_empty() {
            let (word, next) =
                rest.trim_start_matches(' ').split_once(' ').unwrap_or((rest.trim_start_matches(' '), ""));
            let Some((key, value)) = word.split_once('=') else {
                return Err(match word {
                    "" => StatsdbLineError::BlanksAtTheEnd,
                    _ if is_behind_password => StatsdbLineError::BlankInPassword,
                    _ => StatsdbLineError::Word { word: word.to_owned() },
                });
            };
            is_behind_password = false;
            match key {
                "ip" | "host" | "addr" | "ipaddr" | "hostaddr" => value.clone_into(&mut target.host),
                "dbname" | "db" | "database" => target.db = u32::try_from(number(value)).unwrap_or(0),
                "password" | "pwd" | "passwd" | "secret" => {
                    target.password = (!value.is_empty()).then(|| Secret::new(value));
                    is_behind_password = true;
                }
                "port" | "p" => {
                    target.port = u16::try_from(number(value)).ok().filter(|port| *port != 0).unwrap_or(6379);
                }
                "connect_timeout" | "timeout" => {
                    target.connect_timeout = u64::try_from(number(value)).unwrap_or(0);
                }
                // Taken, and of no use with a Redis: coturn logs in as the default user.
                "user" | "uname" | "name" => {}
                _ => return Err(StatsdbLineError::Key { key: key.to_owned() }),
            }
            rest = next;
        }
        Ok(target)
    }

    /// Its URL, without the password.
    pub fn url(&self) -> String {
        let Self { host, port, db, .. } = self;
        if host.contains(':') {
            format!("redis://[{host}]:{port}/{db}")
        } else {
            format!("redis://{host}:{port}/{db}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_any_order_and_defaults() {
        let target = StatsdbTarget::parse("host=r.example db=3 pwd=x p=6380 timeout=30").unwrap();
        let expected = StatsdbTarget {
            host: "r.example".to_owned(),
            port: 6380,
            db: 3,
            password: Some(Secret::new("x")),
            connect_timeout: 30,
        };
        assert_eq!(target, expected);
        assert_eq!(StatsdbTarget::parse("").unwrap().url(), "redis://127.0.0.1:6379/0");
        assert_eq!(
            StatsdbTarget::parse("port=0 user=u ").unwrap().port,
            6379,
            "one blank at the end is none too many"
        );
        let shown = format!("{target:?}");
        assert!(shown.contains("***") && !shown.contains("\"x\""), "{shown}");
    }

    #[test]
    fn what_coturn_refuses_is_refused() {
        let error = |value: &str| StatsdbTarget::parse(value).unwrap_err();
        assert_eq!(error("ip=a password=my secret port=1"), StatsdbLineError::BlankInPassword);
        assert_eq!(error("ip=a port=1  "), StatsdbLineError::BlanksAtTheEnd);
        assert_eq!(error("'ip=a port=1'"), StatsdbLineError::SingleQuotes);
        assert_eq!(error("127.0.0.1:6379"), StatsdbLineError::Word { word: "127.0.0.1:6379".to_owned() });
        assert_eq!(error("ip=a ssl=1"), StatsdbLineError::Key { key: "ssl".to_owned() });
        assert_eq!(error("ip=a usr=1"), StatsdbLineError::Key { key: "usr".to_owned() });
    }
}
