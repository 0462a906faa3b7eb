//! coturn's own configuration file, as coturn reads it: what it says of the statsdb, of lifetimes, ports and quotas. Text in,
//! values out; of coturn's many options it knows those that an exporter has a use for.
//!
//! The rules are those of coturn 4.6.1: `key=value`, `key value` or a key alone; a `#` begins a comment only at the start of a
//! line; double quotes around a value are dropped, single ones belong to it; of an option that is given twice the last counts.

mod line;
mod statsdb_line;

use std::path::Path;
use std::time::Duration;

use super::{ConfigError, RedisSource, Secret, StatsdbLineError};
use crate::reload::Reloaded;
use line::{lines, number, switch};
pub use statsdb_line::StatsdbTarget;

/// The flag that names the file.
pub const FLAG: &str = "--coturn.config-file";

/// coturn's `min-port` and `max-port` where the file has none.
const PORTS: (u16, u16) = (49152, 65535);

/// What the file says, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnserverConf {
    /// `redis-statsdb`; `None` without such a line.
    pub statsdb: Option<Result<StatsdbTarget, StatsdbLineError>>,
    /// `max-allocate-lifetime`.
    pub max_allocate_lifetime: Option<Duration>,
    /// `realm`, the default one; an empty one is none.
    pub realm: Option<String>,
    /// `rest-api-separator`, of which coturn takes the first character.
    pub rest_separator: Option<char>,
    /// `min-port` and `max-port`, the lower first: coturn takes them in either order.
    pub relay_ports: (u16, u16),
    /// `relay-ip`, each once; where there is none `listening-ip`, which coturn then relays on.
    pub relay_ips: Vec<String>,
    /// `total-quota`: allocations of one realm at one time; `None` for no limit.
    pub total_quota: Option<u64>,
    /// `user-quota`: allocations of one user at one time; `None` for no limit.
    pub user_quota: Option<u64>,
    /// `bps-capacity`: bytes per second of the whole server; `None` for no limit.
    pub bps_capacity: Option<u64>,
    /// `use-auth-secret` or `static-auth-secret`: names of users are those of the TURN REST API.
    pub has_rest_names: bool,
    /// Lines `user=name:key`.
    pub static_users: usize,
    /// `mobility`: ends of allocations come up to 60 s late.
    pub has_mobility: bool,
    /// `prometheus`: coturn serves a page of its own.
    pub has_prometheus: bool,
}

impl Default for TurnserverConf {
    fn default() -> Self {
        Self {
            statsdb: None,
            max_allocate_lifetime: None,
            realm: None,
            rest_separator: None,
            relay_ports: PORTS,
            relay_ips: Vec::new(),
            total_quota: None,
            user_quota: None,
            bps_capacity: None,
            has_rest_names: false,
            static_users: 0,
            has_mobility: false,
            has_prometheus: false,
        }
    }
}

impl TurnserverConf {
    /// What a file says.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        let mut listening_ips = Vec::new();
        let positive = |value: &str| u64::try_from(number(value)).ok().filter(|number| *number > 0);
        let port = |value: &str, default: u16| u16::try_from(number(value)).unwrap_or(default);
        for (option, value) in lines(text) {
            match option {
                "redis-statsdb" => conf.statsdb = Some(StatsdbTarget::parse(value)),
                "max-allocate-lifetime" => {
                    conf.max_allocate_lifetime = positive(value).map(Duration::from_secs);
                }
                "realm" => conf.realm = (!value.is_empty()).then(|| value.to_owned()),
                "rest-api-separator" => conf.rest_separator = value.chars().next().or(conf.rest_separator),
                "min-port" => conf.relay_ports.0 = port(value, PORTS.0),
                "max-port" => conf.relay_ports.1 = port(value, PORTS.1),
                "relay-ip" => add(&mut conf.relay_ips, value),
                "listening-ip" => add(&mut listening_ips, value),
                "total-quota" => conf.total_quota = positive(value),
                "user-quota" => conf.user_quota = positive(value),
                "bps-capacity" => conf.bps_capacity = positive(value),
                // coturn looks at no value of the two.
                "use-auth-secret" | "static-auth-secret" => conf.has_rest_names = true,
                "user" => conf.static_users += 1,
                "mobility" => conf.has_mobility = switch(value),
                "prometheus" => conf.has_prometheus = switch(value),
                _ => {}
            }
        }
        if conf.relay_ports.0 > conf.relay_ports.1 {
            conf.relay_ports = (conf.relay_ports.1, conf.relay_ports.0);
        }
        if conf.relay_ips.is_empty() {
            conf.relay_ips = listening_ips;
        }
        conf
    }

    /// Reads the file, and again when it changes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::TurnserverConf`] when it cannot be read.
    pub fn load(path: &Path) -> Result<Reloaded<Self>, ConfigError> {
        let path = path.to_owned();
        Reloaded::new(FLAG, move |files, _| {
            let bytes = files.read(&path);
            let bytes = bytes.map_err(|error| ConfigError::TurnserverConf { path: path.clone(), error })?;
            Ok(Self::parse(&String::from_utf8_lossy(&bytes)))
        })
    }

    /// The Redis that coturn reports to; `None` where the file has no `redis-statsdb`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::StatsdbLine`] for a line that coturn cannot use either; as a URL otherwise.
    pub fn source(&self) -> Result<Option<RedisSource>, ConfigError> {
        let target = match &self.statsdb {
            None => return Ok(None),
            Some(Err(error)) => return Err(ConfigError::StatsdbLine(error.clone())),
            Some(Ok(target)) => target,
        };
        let mut source: RedisSource = target.url().parse()?;
        source.password = target.password.clone().map(Secret::into);
        source.tls.clone_from(&target.tls);
        Ok(Some(source))
    }

    /// Ports that one address has for relaying; each allocation takes one.
    pub fn ports_of_each_ip(&self) -> u64 {
        let (first, last) = self.relay_ports;
        u64::from(last.abs_diff(first)) + 1
    }

    /// The options that a start is needed for to use them, where they are others than in `before`.
    pub fn needs_restart(&self, before: &Self) -> Vec<&'static str> {
        let differ = [
            ("redis-statsdb", self.statsdb != before.statsdb),
            ("max-allocate-lifetime", self.max_allocate_lifetime != before.max_allocate_lifetime),
            ("realm", self.realm != before.realm),
            ("rest-api-separator", self.rest_separator != before.rest_separator),
        ];
        differ.into_iter().filter(|(_, differs)| *differs).map(|(option, _)| option).collect()
    }
}

fn add(addresses: &mut Vec<String>, value: &str) {
    if !value.is_empty() && !addresses.iter().any(|address| address == value) {
        addresses.push(value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Tls;

    #[test]
    fn a_file_is_read_as_coturn_reads_it() {
        let conf = TurnserverConf::parse(
            "# realm=comment\n  realm = first\nrealm=second # no comment\n\nmin-port 50010\r\nmax-port=50000\n\
             relay-ip=\"192.0.2.1\"\nrelay-ip=192.0.2.2\nrelay-ip=192.0.2.1\nlistening-ip=10.0.0.1\n\
             total-quota=1200x\nuser-quota=abc\nbps-capacity=0\nmobility\nprometheus=off\nuser=a:b\nuser=c:d\n\
             max-allocate-lifetime\t= \"7200\"  \nrest-api-separator=|x\nstatic-auth-secret=s\nunknown\n",
        );
        let expected = TurnserverConf {
            realm: Some("second # no comment".to_owned()),
            relay_ports: (50000, 50010),
            relay_ips: vec!["192.0.2.1".to_owned(), "192.0.2.2".to_owned()],
            total_quota: Some(1200),
            has_mobility: true,
            static_users: 2,
            max_allocate_lifetime: Some(Duration::from_secs(7200)),
            rest_separator: Some('|'),
            has_rest_names: true,
            ..TurnserverConf::default()
        };
        assert_eq!(conf, expected);
        assert_eq!(conf.ports_of_each_ip(), 11);
        assert_eq!(TurnserverConf::parse("listening-ip=10.0.0.1").relay_ips, ["10.0.0.1"]);
        assert_eq!(TurnserverConf::default().ports_of_each_ip(), 16384);
        assert_eq!(TurnserverConf::parse("realm=a\nrealm=").realm, None);
    }

    #[test]
    fn the_statsdb_is_a_source_with_its_password() {
        let source = |line: &str| TurnserverConf::parse(line).source();
        let redis = source("redis-statsdb=\"ip=::1 dbname=2 password=p@ss/ port=6380\"").unwrap().unwrap();
        assert_eq!(redis.name, "redis://[::1]:6380/2");
        assert_eq!((redis.db, redis.password), (2, Some(Secret::new("p@ss/").into())));
        assert_eq!(redis.tls, None);
        let guarded = source("redis-statsdb=\"ip=r.example tls=1 ca=/ca.pem\"").unwrap().unwrap();
        assert_eq!(guarded.name, "rediss://r.example:6379/0");
        assert_eq!(guarded.tls, Some(Tls { ca_file: Some("/ca.pem".into()), client: None }));
        assert_eq!(source("realm=a").unwrap(), None);
        let error = source("redis-statsdb=\"ip=a password=two words\"").unwrap_err().to_string();
        assert!(error.contains("redis-statsdb") && !error.contains("two"), "{error}");
    }

    #[test]
    fn what_only_a_start_takes_up_is_named() {
        let conf = TurnserverConf::parse;
        let before = conf("realm=a\nredis-statsdb=\"ip=a\"\ntotal-quota=5");
        assert!(conf("realm=a\nredis-statsdb=\"ip=a\"\nmin-port=5000").needs_restart(&before).is_empty());
        let changed = conf("realm=b\nredis-statsdb=\"ip=a password=x\"\nmax-allocate-lifetime=60");
        assert_eq!(changed.needs_restart(&before), ["redis-statsdb", "max-allocate-lifetime", "realm"]);
    }
}
