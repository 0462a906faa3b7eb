//! The configuration, validated and typed. Knows nothing of flags or variables, and opens nothing but
//! password files.

mod command;
mod error;
mod health_check;
mod listen;
mod redis_source;
mod redis_url;
mod secret;
mod sinks;
mod statsdb;
mod telemetry_path;
pub mod turnserver;
mod turnserver_line;
pub mod value;
pub mod web_file;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use command::{
    Command, Demo, LedgerPlace, ReportForm, Simulation, UsageColumns, UsageFormat, UsageQuery, UsageTime,
};
pub use error::{ConfigError, RedisUrlError, StatsdbLineError};
pub use health_check::{HealthCheck, asks_for_tls};
pub use listen::{ListenAddress, STATSDB_PORT, WEB_PORT};
pub use redis_source::{ClientCertificate, Endpoint, RedisAddress, RedisSource, Sentinels, Tls};
pub use redis_url::{message_without_credentials, split_list as split_redis_urls, without_credentials};
pub use secret::{Password, Secret};
pub use sinks::{EventBounds, PostgresSettings, SinksConfig, WebhookSettings};
pub use statsdb::{ServerCertificate, Statsdb, server_certificate};
pub use telemetry_path::TelemetryPath;
pub use turnserver::TurnserverConf;
pub use turnserver_line::{TurnserverLine, redis_statsdb_line};

use crate::metrics::DisabledFamilies;
use crate::reload::Reloaded;
use crate::state::{OTHER, Settings};

/// Everything that flags and variables configure. Parts that the command does not use hold their defaults ([`Config::sources`]: none).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// What to do.
    pub command: Command,
    /// The HTTP server.
    pub web: Web,
    /// The log.
    pub log: Log,
    /// The Redis servers to watch, with names that differ; one for `record`, none for `replay`.
    pub sources: Vec<RedisSource>,
    /// Where coturn reports to without a Redis, if anywhere.
    pub statsdb: Option<Statsdb>,
    /// coturn's own file, if it is to be read.
    pub coturn: Option<CoturnFile>,
    /// How the table judges what it sees.
    pub table: Settings,
    /// What is left off the page.
    pub disabled_families: DisabledFamilies,
    /// What outlives the process; `None` if nothing does.
    pub store: Option<StoreConfig>,
    /// Passwords that stand in files, which are read again when they change.
    pub password_files: Vec<Reloaded<Secret>>,
    /// Password files that others than their owner may read.
    pub exposed_password_files: Vec<PathBuf>,
}

/// coturn's configuration file, and what was taken from it.
#[derive(Clone, Debug, PartialEq)]
pub struct CoturnFile {
    /// The file.
    pub path: PathBuf,
    /// What it says, read again when it changes.
    pub conf: Reloaded<TurnserverConf>,
    /// The flags whose values came from it, because they were not given.
    pub used_for: Vec<&'static str>,
    /// A flag says where coturn reports to, whatever the file says.
    pub has_source_beside: bool,
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Its file.
    pub path: PathBuf,
    /// How long a finished session stays in the ledger.
    pub retention: Duration,
    /// Who takes what is in the ledger elsewhere.
    pub sinks: SinksConfig,
}

/// The HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Where to listen; at least one, no two alike.
    pub listen: Vec<ListenAddress>,
    /// The path of the page.
    pub telemetry_path: TelemetryPath,
    /// Pages rendered at one time; at least 1.
    pub max_requests: usize,
    /// Connections open at one time; at least 1.
    pub max_connections: usize,
    /// Write in `OpenMetrics` when counters were 0.
    pub openmetrics_created: bool,
    /// Serve details too, which show users and addresses.
    pub enable_details: bool,
    /// Host names that details may be asked for by, in lower case.
    pub details_hosts: Vec<String>,
    /// TLS, users and headers, if they are set.
    pub config_file: Option<WebConfigFile>,
    /// Listen on the sockets that systemd hands over, and on no address.
    pub systemd_socket: bool,
}

/// TLS, users and headers of the HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebConfigFile {
    /// The file.
    pub path: PathBuf,
    /// Answer `/-/healthy` and `/-/ready` also to those who are no user.
    pub open_health_paths: bool,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress::Any { port: WEB_PORT }],
            telemetry_path: TelemetryPath::default(),
            max_requests: 40,
            max_connections: 512,
            openmetrics_created: false,
            enable_details: false,
            details_hosts: Vec::new(),
            config_file: None,
            systemd_socket: false,
        }
    }
}

/// The log, on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least important lines that are written.
    pub level: LogLevel,
    /// What a line looks like.
    pub format: LogFormat,
}

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// For the developer.
    Debug,
    /// What an operator may want to know.
    #[default]
    Info,
    /// What an operator should look at.
    Warn,
    /// What does not work.
    Error,
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `ts=... level=info msg="..." key=value`.
    #[default]
    Logfmt,
    /// One JSON object.
    Json,
}

/// The listen addresses, if no two are alike.
///
/// # Errors
///
/// [`ConfigError::ListenTwice`].
pub fn distinct_addresses(addresses: Vec<ListenAddress>) -> Result<Vec<ListenAddress>, ConfigError> {
    let mut seen = HashSet::new();
    match addresses.iter().find(|address| !seen.insert(*address)) {
        Some(twice) => Err(ConfigError::ListenTwice { value: twice.to_string() }),
        None => Ok(addresses),
    }
}

/// The sources, if no two of them are one Redis: pub/sub knows no dbs, so both would get all events.
///
/// # Errors
///
/// [`ConfigError::SourceTwice`].
pub fn distinct_sources(sources: Vec<RedisSource>) -> Result<Vec<RedisSource>, ConfigError> {
    for (place, second) in sources.iter().enumerate() {
        if let Some(first) = sources.iter().take(place).find(|first| first.address.is_same(&second.address)) {
            return Err(ConfigError::SourceTwice { first: first.name.clone(), second: second.name.clone() });
        }
    }
    Ok(sources)
}

/// Whether there is one source only, as a capture needs: its lines do not say whose they are.
///
/// # Errors
///
/// [`ConfigError::ManySources`].
pub fn one_source(sources: &[RedisSource]) -> Result<(), ConfigError> {
    if sources.len() > 1 { Err(ConfigError::ManySources { given: sources.len() }) } else { Ok(()) }
}

/// Gives the password in `path` to every source whose URL holds none.
///
/// # Errors
///
/// As [`Password::from_file`]; [`ConfigError::PasswordFileUnused`] when no source wants it.
pub fn add_password(sources: &mut [RedisSource], path: &Path) -> Result<Reloaded<Secret>, ConfigError> {
    let secret = Password::from_file("--redis.password-file", path)?;
    let mut used = false;
    for source in sources.iter_mut().filter(|source| source.password.is_none()) {
        source.password = Some(Password::File(secret.clone()));
        used = true;
    }
    if used { Ok(secret) } else { Err(ConfigError::PasswordFileUnused) }
}

/// Gives the password in `path` to every source whose sentinels have none.
///
/// # Errors
///
/// As [`Password::from_file`]; [`ConfigError::SentinelPasswordUnused`] when no source wants it.
pub fn add_sentinel_password(
    sources: &mut [RedisSource],
    path: &Path,
) -> Result<Reloaded<Secret>, ConfigError> {
    let secret = Password::from_file("--redis.sentinel-password-file", path)?;
    let mut used = false;
    for source in sources {
        if let RedisAddress::Sentinel(sentinels) = &mut source.address
            && sentinels.password.is_none()
        {
            sentinels.password = Some(Password::File(secret.clone()));
            used = true;
        }
    }
    if used { Ok(secret) } else { Err(ConfigError::SentinelPasswordUnused) }
}

/// The client certificate, if both of its files are given, or none.
///
/// # Errors
///
/// [`ConfigError::KeyMissing`], [`ConfigError::CertificateMissing`].
pub fn client_certificate(
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
) -> Result<Option<ClientCertificate>, ConfigError> {
    match (cert_file, key_file) {
        (Some(cert_file), Some(key_file)) => Ok(Some(ClientCertificate { cert_file, key_file })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigError::KeyMissing),
        (None, Some(_)) => Err(ConfigError::CertificateMissing),
    }
}

/// Gives these settings to every source that speaks TLS.
///
/// # Errors
///
/// [`ConfigError::TlsUnused`] when there is none.
pub fn set_tls(sources: &mut [RedisSource], tls: &Tls) -> Result<(), ConfigError> {
    let mut used = false;
    for source in sources.iter_mut().filter(|source| source.tls.is_some()) {
        source.tls = Some(tls.clone());
        used = true;
    }
    if used { Ok(()) } else { Err(ConfigError::TlsUnused) }
}

/// The realms to make series for at start, each once.
///
/// # Errors
///
/// [`ConfigError::ReservedRealm`], [`ConfigError::TooManyRealms`].
pub fn realms(names: Vec<String>, max: usize) -> Result<Vec<Vec<u8>>, ConfigError> {
    let mut realms: Vec<Vec<u8>> = Vec::new();
    for name in names {
        if name == OTHER {
            return Err(ConfigError::ReservedRealm { value: name });
        }
        if !realms.iter().any(|realm| realm.as_slice() == name.as_bytes()) {
            realms.push(name.into_bytes());
        }
    }
    if realms.len() > max {
        return Err(ConfigError::TooManyRealms { given: realms.len(), max });
    }
    Ok(realms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_redis_twice_is_refused_whatever_the_user_and_the_db() {
        for urls in [
            ["redis://a:b@h", "redis://h:6379/0"],
            ["redis://h/0", "redis://h/1"],
            ["redis://h/0", "rediss://h/0"],
        ] {
            let error = distinct_sources(urls.map(|url| url.parse().unwrap()).into()).unwrap_err();
            assert!(matches!(error, ConfigError::SourceTwice { first, .. } if first == "redis://h:6379/0"));
        }
        let sentinels = ["redis+sentinel://a,b/m?sentinel-pass=x", "redis+sentinel://b,c/m/1"];
        let sources = sentinels.map(|url| url.parse().unwrap());
        assert!(matches!(distinct_sources(sources.into()), Err(ConfigError::SourceTwice { .. })));
        let others = ["redis+sentinel://a,b/m", "redis+sentinel://a,b/n"].map(|url| url.parse().unwrap());
        assert_eq!(distinct_sources(others.into()).unwrap().len(), 2);
        let sources = ["redis://h:1/0", "redis://h:2/0"].map(|url| url.parse().unwrap());
        assert_eq!(distinct_sources(sources.into()).unwrap().len(), 2);
    }

    #[test]
    fn two_equal_addresses_are_refused() {
        let addresses = |texts: [&str; 2]| texts.map(|text| text.parse().unwrap()).into();
        assert!(distinct_addresses(addresses([":1", "[::]:1"])).is_ok());
        assert!(matches!(distinct_addresses(addresses([":1", ":1"])), Err(ConfigError::ListenTwice { .. })));
    }

    #[test]
    fn the_password_file_is_for_sources_without_one() {
        let path = std::env::temp_dir().join(format!("coturn-exporter-{}-add", std::process::id()));
        std::fs::write(&path, "file\n").unwrap();
        let mut sources = ["redis://:url@a", "redis://user@b"].map(|url| url.parse::<RedisSource>().unwrap());
        let added = add_password(&mut sources, &path);
        let [first, second] = &mut sources;
        let unused = add_password(std::slice::from_mut(first), &path);
        std::fs::remove_file(path).unwrap();
        added.unwrap();
        assert_eq!(first.password, Some(Secret::new("url").into()));
        assert_eq!(second.password, Some(Secret::new("file").into()));
        assert!(matches!(unused, Err(ConfigError::PasswordFileUnused)));
    }

    #[test]
    fn flags_that_no_source_would_use_are_refused() {
        let path = std::env::temp_dir().join(format!("coturn-exporter-{}-sentinel", std::process::id()));
        std::fs::write(&path, "file\n").unwrap();
        let tls = Tls { ca_file: Some("ca".into()), client: None };
        let mut sources =
            ["redis://a", "rediss+sentinel://b/m"].map(|url| url.parse::<RedisSource>().unwrap());
        let added = add_sentinel_password(&mut sources, &path);
        let unused = add_sentinel_password(&mut sources, &path);
        std::fs::remove_file(path).unwrap();
        added.unwrap();
        set_tls(&mut sources, &tls).unwrap();
        let [plain, sentinel] = &mut sources;
        let RedisAddress::Sentinel(sentinels) = &sentinel.address else { panic!("{sentinel:?}") };
        assert_eq!(sentinels.password, Some(Secret::new("file").into()));
        assert_eq!((&plain.tls, &sentinel.tls), (&None, &Some(tls.clone())));
        assert!(matches!(unused, Err(ConfigError::SentinelPasswordUnused)));
        assert!(matches!(set_tls(std::slice::from_mut(plain), &tls), Err(ConfigError::TlsUnused)));
    }

    #[test]
    fn a_certificate_and_its_key_come_together() {
        let file = |name: &str| Some(PathBuf::from(name));
        let both = client_certificate(file("c"), file("k")).unwrap().unwrap();
        assert_eq!((both.cert_file, both.key_file), ("c".into(), "k".into()));
        assert_eq!(client_certificate(None, None).unwrap(), None);
        assert!(matches!(client_certificate(file("c"), None), Err(ConfigError::KeyMissing)));
        assert!(matches!(client_certificate(None, file("k")), Err(ConfigError::CertificateMissing)));
    }

    #[test]
    fn realms_are_distinct_few_and_not_the_overflow() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(realms(names(&["a", "b", "a"]), 2).unwrap(), [b"a", b"b"]);
        assert!(matches!(
            realms(names(&["a", "b"]), 1),
            Err(ConfigError::TooManyRealms { given: 2, max: 1 })
        ));
        assert!(matches!(realms(names(&["_other"]), 9), Err(ConfigError::ReservedRealm { .. })));
    }
}
