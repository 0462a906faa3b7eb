//! What can be wrong with a value, as one line that says what would be right. The caller adds which option it was.

use std::io;
use std::path::PathBuf;

/// Why a value, or several together, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A number that is none, or out of range.
    #[error("{value:?} is not a whole number from {min} to {max}")]
    Count {
        /// As typed.
        value: String,
        /// The least that is accepted.
        min: u64,
        /// The most that is accepted.
        max: u64,
    },
    /// No duration at all.
    #[error("{value:?} is not a duration; write a number with its unit, for example 90s, 30m or 1h")]
    Duration {
        /// As typed.
        value: String,
    },
    /// A number without a unit, which might be meant in seconds or in days.
    #[error("{value:?} has no unit; write {value}s for seconds, or another unit: 500ms, 30m, 1h, 90d")]
    NoUnit {
        /// As typed.
        value: String,
    },
    /// Zero where it makes no sense.
    #[error("{value:?} is too short; it must be at least 1ms, for example 90s, 30m or 1h")]
    ZeroDuration {
        /// As typed.
        value: String,
    },
    /// A moment of a capture that cannot be one.
    #[error("{value:?} is not a time in a capture; write seconds, for example 90 or 12.5")]
    Seconds {
        /// As typed.
        value: String,
    },
    /// Neither a day, nor a moment, nor a duration.
    #[error("{value:?} is not a moment; write 2026-11-22, 2026-11-22T08:30:00Z, or how long ago: 36h, 7d")]
    Moment {
        /// As typed.
        value: String,
    },
    /// The ledger is in the store.
    #[error(
        "it is not given; usage reads the ledger of a store: give the directory of the store, or say with --from which \
         store or database to read"
    )]
    NoStore,
    /// Not the URL of a database.
    #[error(
        "it names no database; write postgres://host[:port]/database, with user@ before the host where it needs one"
    )]
    NoDatabase,
    /// None of a few words.
    #[error("{value:?} is not accepted; it must be one of {accepted}")]
    Choice {
        /// As typed.
        value: String,
        /// The words that are, separated by commas.
        accepted: String,
    },
    /// Not what can stand between a timestamp and a user id.
    #[error(
        "{value:?} is not a separator; write the one character that coturn's rest-api-separator is: visible ASCII, no \
         digit, for example : or |"
    )]
    Separator {
        /// As typed.
        value: String,
    },
    /// Not an address to listen on.
    #[error(
        "{value:?} is not an address to listen on; write [host]:port, for example 127.0.0.1:{usual}, [::1]:{usual} or, \
         for all addresses, :{usual}"
    )]
    ListenAddress {
        /// As typed.
        value: String,
        /// The port that this listener usually has.
        usual: u16,
    },
    /// Not the URL of a web server.
    #[error(
        "it is not the URL of an exporter; write http[s]://host:port, for example http://127.0.0.1:10641"
    )]
    HealthUrl,
    /// A path, and a flag that stands for another one.
    #[error("it asks for /-/ready, but --url has another path; leave out that path, or --ready")]
    HealthPath,
    /// A web config file that cannot be used.
    #[error("cannot use {path:?}: {problem}; mend the file, or say with --url where the exporter is")]
    WebConfigFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Addresses beside the sockets of systemd.
    #[error(
        "--web.systemd-socket takes the sockets that systemd hands over, and listens nowhere else; leave out one of the two \
         flags"
    )]
    ListenBesideSystemd,
    /// Health paths that are open anyway.
    #[error(
        "without --web.config.file there are no logins, and every path is open; give that flag too, or leave this one out"
    )]
    NoLogins,
    /// The same address twice.
    #[error("{value:?} is given twice; give each address once")]
    ListenTwice {
        /// The address.
        value: String,
    },
    /// Not the name of a host.
    #[error("{value:?} is not a host name; write it without a port, for example turn.example.org")]
    HostName {
        /// As typed.
        value: String,
    },
    /// A path that cannot be served, or is taken.
    #[error(
        "{value:?} is not a path to serve metrics on; it must begin with / (not with /-/, /api/v1/ or \
         /allocations, which are taken) and hold only letters, digits and -._~!$&'()*+,;=:@%/, for example /metrics"
    )]
    TelemetryPath {
        /// As typed.
        value: String,
    },
    /// Not the URL of a Redis.
    #[error(transparent)]
    RedisUrl(#[from] RedisUrlError),
    /// Two sources that are one Redis.
    #[error(
        "{first} and {second} are one Redis, whose subscribers get the events of all its dbs: everything would count \
         twice; name it once, with the db of coturn's redis-statsdb"
    )]
    SourceTwice {
        /// The name of the first.
        first: String,
        /// The name of the other.
        second: String,
    },
    /// More sources than a capture can tell apart.
    #[error("record watches one Redis, but {given} are given; give the flag once")]
    ManySources {
        /// How many were given.
        given: usize,
    },
    /// A password file that cannot be read.
    #[error(
        "cannot read {path:?}: {error}; check the path and the rights of the user that runs the exporter"
    )]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A password file that holds no password.
    #[error("{path:?} does not hold a password: it must be one line of UTF-8 text, at most {max} bytes long")]
    NotAPassword {
        /// The file.
        path: PathBuf,
        /// The longest that is read, in bytes.
        max: usize,
    },
    /// A file that holds no secrets.
    #[error("{path:?} holds no secrets: it must be UTF-8 text, one secret a line, at most {max} bytes long")]
    NoSecrets {
        /// The file.
        path: PathBuf,
        /// The longest that is read, in bytes.
        max: usize,
    },
    /// coturn's file cannot be read.
    #[error(
        "cannot read {path:?}: {error}; check the path, and let the user that runs the exporter read it, for example as a \
         member of the file's group"
    )]
    TurnserverConf {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The statsdb of coturn's file is no place to watch.
    #[error("redis-statsdb in this file cannot be used: {0}; or name the Redis with --redis.url")]
    StatsdbLine(StatsdbLineError),
    /// A password file that no source would use.
    #[error(
        "every --redis.url has a password already, so the one in this file would not be used; take the passwords out of the \
         URLs, or leave this flag out"
    )]
    PasswordFileUnused,
    /// A password file that no sentinel would get.
    #[error(
        "no --redis.url has sentinels without a password, so the one in this file would not be used; write \
         redis+sentinel:// without sentinel-pass, or leave this flag out"
    )]
    SentinelPasswordUnused,
    /// A certificate alone.
    #[error("a client certificate needs its key; give --redis.tls-key-file too")]
    KeyMissing,
    /// A key alone.
    #[error("the key of a client certificate needs the certificate; give --redis.tls-cert-file too")]
    CertificateMissing,
    /// TLS settings that no source would use.
    #[error(
        "no --redis.url asks for TLS; write rediss:// or rediss+sentinel:// there, or leave this flag out"
    )]
    TlsUnused,
    /// A listener that every host can write to.
    #[error(
        "{address} can be reached from other hosts, and whoever reaches it can report allocations; give \
         --statsdb.password-file, listen on 127.0.0.1, or allow it with --statsdb.open"
    )]
    StatsdbOpen {
        /// The address.
        address: String,
    },
    /// A flag of a listener that is not there.
    #[error("without --statsdb.listen-address it has no effect; give that flag too, or leave this one out")]
    StatsdbUnused,
    /// A certificate without its key, or the other way round.
    #[error(
        "a certificate and its key come together; give both --statsdb.tls-cert-file and --statsdb.tls-key-file"
    )]
    StatsdbPair,
    /// No column of `usage`.
    #[error("{value:?} is not a column; the columns are {accepted}")]
    UsageColumn {
        /// As typed.
        value: String,
        /// Those that there are, separated by commas.
        accepted: String,
    },
    /// Not a speed.
    #[error("{value:?} is not a speed; write a number from 0.01 to 1000, for example 10")]
    Speed {
        /// As typed.
        value: String,
    },
    /// Not an address to connect to.
    #[error("{value:?} is not a host and a port; write HOST:PORT, for example 127.0.0.1:6390")]
    HostAndPort {
        /// As typed.
        value: String,
    },
    /// A flag of a database that is not named.
    #[error("without --ledger.postgres-url it has no effect; give that flag too, or leave this one out")]
    PostgresUnused,
    /// A flag of web hooks that are not named.
    #[error("without --events.url it has no effect; give that flag too, or leave this one out")]
    EventsUnused,
    /// Sinks without a ledger.
    #[error(
        "it needs a store, in which sessions and events wait until they are taken; give --store.path too"
    )]
    SinkWithoutStore,
    /// Not the URL of a web hook.
    #[error(
        "it is not the URL of a web hook: its host would be {host:?}; write http://host[:port]/path or \
         https://host[:port]/path"
    )]
    WebhookUrl {
        /// What stands where the host should be, without what may be secret.
        host: String,
    },
    /// Not a name for an exporter.
    #[error(
        "{value:?} is not a name for an exporter; write 1 to 200 characters, none of them a control character"
    )]
    ExporterName {
        /// As typed.
        value: String,
    },
    /// A realm name that is taken.
    #[error("{value:?} is the label of all realms beyond --metrics.max-realms, not of one; leave it out")]
    ReservedRealm {
        /// As typed.
        value: String,
    },
    /// Not the name of a family.
    #[error(
        "there is no metric {value:?}; similar names are {near} (docs/cardinality.md lists those with most series)"
    )]
    UnknownFamily {
        /// As typed.
        value: String,
        /// The names that are most like it.
        near: String,
    },
    /// A family without which the others cannot be judged or found.
    #[error(
        "{value:?} cannot be disabled: it is one series for each source or exporter, and by it alerts and dashboards tell \
         silence from health; leave it out"
    )]
    RequiredFamily {
        /// As typed.
        value: String,
    },
    /// More realms asked for than allowed.
    #[error("{given} realms are given, but --metrics.max-realms is {max}; raise that, or give fewer realms")]
    TooManyRealms {
        /// How many were given.
        given: usize,
        /// How many are allowed.
        max: usize,
    },
}

/// Why a text is not the URL of a Redis. The URLs in it have lost their user and password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    /// Another scheme, or none.
    #[error(
        "{url:?} is not a Redis URL; write redis://[user:password@]host[:port][/db] (rediss:// for TLS; \
         valkey:// and valkeys:// mean the same), unix:///path/to/socket[?db=1] or redis+sentinel://[user:password@]host[:port],.../MASTER[/db]"
    )]
    Scheme {
        /// The URL.
        url: String,
    },
    /// White space or a control character.
    #[error("{url:?} has a blank or a control character; in a password write %20 for a blank")]
    Blank {
        /// The URL.
        url: String,
    },
    /// No host, or a malformed one.
    #[error("{url:?} names no valid host; write redis://host[:port][/db], IPv6 addresses in brackets")]
    Host {
        /// The URL.
        url: String,
    },
    /// A port that is none.
    #[error(
        "{url:?} has a bad port; it must be a number from 1 to 65535, as in redis://[user:password@]host[:port][/db]"
    )]
    Port {
        /// The URL.
        url: String,
    },
    /// A db that is none.
    #[error(
        "{url:?} has a bad db; it must be a whole number, for example redis://host/2 or unix:///path?db=2"
    )]
    Db {
        /// The URL.
        url: String,
    },
    /// A socket path that is not absolute, or a host beside it.
    #[error("{url:?} names no socket by its absolute path; write unix:///path/to/socket")]
    Socket {
        /// The URL.
        url: String,
    },
    /// Sentinels without the name of their master, or with one that they would not take.
    #[error(
        "{url:?} names no master by letters, digits, dots, dashes and underscores; write \
         redis+sentinel://host[:port],host[:port]/MASTER[/db], with the name from `sentinel monitor`"
    )]
    Master {
        /// The URL.
        url: String,
    },
    /// A parameter nobody knows.
    #[error(
        "{url:?} has a part after ? or # that is not known; unix:// takes db, user and pass, redis+sentinel:// takes \
         sentinel-user and sentinel-pass"
    )]
    Parameter {
        /// The URL.
        url: String,
    },
    /// A broken percent sign.
    #[error(
        "{url:?} has a % that is not followed by two hex digits, or makes no UTF-8; write %25 for a % itself"
    )]
    Percent {
        /// The URL.
        url: String,
    },
}

/// Why coturn cannot use the value of its `redis-statsdb`: it then runs, and reports nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatsdbLineError {
    /// A blank ends a password, and quotes do not help.
    #[error(
        "what follows the blank behind password=... is no key=value: coturn ends a password at a blank, and then refuses the \
         line; use a password without blanks and quotes"
    )]
    BlankInPassword,
    /// A word without `=`; not shown where it may be a part of a password.
    #[error(
        "the word {word:?} is no key=value; write \"ip=127.0.0.1 dbname=0 port=6379 connect_timeout=30\""
    )]
    Word {
        /// The word.
        word: String,
    },
    /// Two blanks at the end: coturn reads a word without a name.
    #[error("it ends with blanks, which coturn takes for a word without a name; remove them")]
    BlanksAtTheEnd,
    /// A key that coturn does not know.
    #[error(
        "coturn does not know the key {key:?}, and then refuses the whole line; it takes ip, port, dbname, password and \
         connect_timeout, from 4.14 on also tls, ca, cert and clientkey"
    )]
    Key {
        /// The key.
        key: String,
    },
    /// Single quotes, which coturn takes as part of the value.
    #[error("coturn knows no single quotes; use double ones")]
    SingleQuotes,
}
