//! The flags as `clap` sees them: raw, as typed. Nothing is checked here; `read` turns them into a `Config`.
//!
//! A flag's id is its long name, and its variable follows from it; a test holds both to that.

use std::ffi::OsString;

use clap::Parser;

use super::command_args::CommandArgs;
use super::sink_args::SinkArgs;

/// Serves what coturn reports by its redis-statsdb as Prometheus metrics: straight to this exporter, or through a Redis.
///
/// A Redis is optional: with --statsdb.listen-address coturn reports to the exporter itself.
///
/// Every flag can be given by the variable named beside it; lists are separated by commas there. A flag beats its
/// variable. Durations are numbers with units: 500ms, 90s, 30m, 1h.
#[derive(Debug, Parser)]
#[command(name = crate::version::NAME, version = crate::version::line(), next_line_help = true)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<CommandArgs>,
    #[command(flatten)]
    pub(super) web: WebArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
    #[command(flatten)]
    pub(super) redis: RedisArgs,
    #[command(flatten)]
    pub(super) statsdb: StatsdbArgs,
    #[command(flatten)]
    pub(super) coturn: CoturnArgs,
    #[command(flatten)]
    pub(super) allocation: AllocationArgs,
    #[command(flatten)]
    pub(super) session: SessionArgs,
    #[command(flatten)]
    pub(super) metrics: MetricsArgs,
    #[command(flatten)]
    pub(super) store: StoreArgs,
    #[command(flatten)]
    pub(super) sinks: SinkArgs,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Web")]
pub(super) struct WebArgs {
    /// Address to serve metrics on; repeatable. Without a host: all addresses, IPv6 and IPv4.
    #[arg(
        id = "web.listen-address",
        long,
        env = "COTURN_EXPORTER_WEB_LISTEN_ADDRESS",
        value_name = "[HOST]:PORT",
        default_value = ":10641"
    )]
    pub(super) listen_address: Vec<String>,
    /// Listen on the sockets of a `.socket` unit, which systemd hands over, and on no address.
    #[arg(
        id = "web.systemd-socket",
        long,
        env = "COTURN_EXPORTER_WEB_SYSTEMD_SOCKET",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false"
    )]
    pub(super) systemd_socket: String,
    /// File with TLS, client certificates, users and headers of the web server, in the format of all Prometheus exporters;
    /// read again when it changes.
    #[arg(
        id = "web.config.file",
        long,
        env = "COTURN_EXPORTER_WEB_CONFIG_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(super) config_file: Option<OsString>,
    /// Answer /-/healthy and /-/ready also to those who are no user of --web.config.file.
    #[arg(
        id = "web.open-health-paths",
        long,
        env = "COTURN_EXPORTER_WEB_OPEN_HEALTH_PATHS",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false"
    )]
    pub(super) open_health_paths: String,
    /// Path of the metrics.
    #[arg(
        id = "web.telemetry-path",
        long,
        env = "COTURN_EXPORTER_WEB_TELEMETRY_PATH",
        value_name = "PATH",
        default_value = "/metrics"
    )]
    pub(super) telemetry_path: String,
    /// Pages rendered at one time. All who ask meanwhile for a page in the same form share one; more wait for 2 s and are then
    /// answered 503.
    #[arg(
        id = "web.max-requests",
        long,
        env = "COTURN_EXPORTER_WEB_MAX_REQUESTS",
        value_name = "COUNT",
        default_value = "40"
    )]
    pub(super) max_requests: String,
    /// Connections open at one time. For one more an older one of the address that has the most is closed, idle ones first; one
    /// address may have a quarter of them.
    #[arg(
        id = "web.max-connections",
        long,
        env = "COTURN_EXPORTER_WEB_MAX_CONNECTIONS",
        value_name = "COUNT",
        default_value = "512"
    )]
    pub(super) max_connections: String,
    /// Write samples `_created` in `OpenMetrics`: when each counter and histogram was 0, which with a store is before this
    /// process. They are as many again, and only some readers use them.
    #[arg(
        id = "web.openmetrics-created",
        long,
        env = "COTURN_EXPORTER_WEB_OPENMETRICS_CREATED",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false"
    )]
    pub(super) openmetrics_created: String,
    /// Also serve the single allocations and sessions: /allocations, /sessions and /api/v1/. They show user names and client
    /// addresses.
    #[arg(
        id = "web.enable-details",
        long,
        env = "COTURN_EXPORTER_WEB_ENABLE_DETAILS",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false"
    )]
    pub(super) enable_details: String,
    /// Host name that details may be asked for by, beside addresses and localhost; repeatable. Any other name gets 403, so that
    /// no web page can read them under a name of its own (DNS rebinding).
    #[arg(id = "web.details-host", long, env = "COTURN_EXPORTER_WEB_DETAILS_HOST", value_name = "NAME")]
    pub(super) details_host: Vec<String>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Log")]
pub(super) struct LogArgs {
    /// Least important lines to write: debug, info, warn or error.
    #[arg(
        id = "log.level",
        long,
        env = "COTURN_EXPORTER_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info",
        global = true
    )]
    pub(super) level: String,
    /// Form of the lines: logfmt or json. They go to standard error.
    #[arg(
        id = "log.format",
        long,
        env = "COTURN_EXPORTER_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "logfmt",
        global = true
    )]
    pub(super) format: String,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Redis")]
pub(super) struct RedisArgs {
    /// Redis that coturn reports to; repeatable. `redis://[user:password@]host[:port][/db]`,
    /// `unix:///path[?db=1]` or `redis+sentinel://[user:password@]host[:port],.../MASTER[/db]`;
    /// `rediss://` and `rediss+sentinel://` speak TLS; `valkey://` and `valkeys://` are other names of `redis://` and
    /// `rediss://`.
    #[arg(
        id = "redis.url",
        long,
        env = "COTURN_EXPORTER_REDIS_URL",
        value_name = "URL",
        default_value = "redis://127.0.0.1:6379/0",
        global = true
    )]
    pub(super) url: Vec<String>,
    /// File with the password for every Redis whose URL has none.
    #[arg(
        id = "redis.password-file",
        long,
        env = "COTURN_EXPORTER_REDIS_PASSWORD_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(super) password_file: Option<OsString>,
    /// File with the password for the sentinels of every `redis+sentinel://` whose URL has none.
    #[arg(
        id = "redis.sentinel-password-file",
        long,
        env = "COTURN_EXPORTER_REDIS_SENTINEL_PASSWORD_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(super) sentinel_password_file: Option<OsString>,
    /// CAs (PEM) that may have signed the certificate of a Redis; those that the system trusts if not given.
    #[arg(
        id = "redis.tls-ca-file",
        long,
        env = "COTURN_EXPORTER_REDIS_TLS_CA_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(super) tls_ca_file: Option<OsString>,
    /// Client certificate (PEM) for a Redis that wants one, with the certificates between it and its CA.
    #[arg(
        id = "redis.tls-cert-file",
        long,
        env = "COTURN_EXPORTER_REDIS_TLS_CERT_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(super) tls_cert_file: Option<OsString>,
    /// Key (PEM, not encrypted) of the client certificate.
    #[arg(
        id = "redis.tls-key-file",
        long,
        env = "COTURN_EXPORTER_REDIS_TLS_KEY_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(super) tls_key_file: Option<OsString>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Statsdb")]
pub(super) struct StatsdbArgs {
    /// Listen on this address for coturn, whose redis-statsdb names it instead of a Redis. A name stands for each of its
    /// addresses, no host for all, IPv6 and IPv4. No Redis is watched then, unless --redis.url is given.
    #[arg(
        id = "statsdb.listen-address",
        long,
        env = "COTURN_EXPORTER_STATSDB_LISTEN_ADDRESS",
        value_name = "[HOST]:PORT",
        global = true
    )]
    pub(super) listen_address: Option<String>,
    /// Take the socket of this listener from systemd: from a `.socket` unit with `FileDescriptorName=statsdb` that listens at
    /// --statsdb.listen-address. What coturn reports while the exporter is restarted waits in it.
    #[arg(id = "statsdb.systemd-socket", long, env = "COTURN_EXPORTER_STATSDB_SYSTEMD_SOCKET", value_name = "BOOL",
        num_args = 0..=1, default_value = "false", default_missing_value = "true", require_equals = true)]
    pub(super) systemd_socket: String,
    /// File with the password that coturn must give to this listener.
    #[arg(
        id = "statsdb.password-file",
        long,
        env = "COTURN_EXPORTER_STATSDB_PASSWORD_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(super) password_file: Option<OsString>,
    /// Listen without a password where other hosts can connect.
    #[arg(id = "statsdb.open", long, env = "COTURN_EXPORTER_STATSDB_OPEN", value_name = "BOOL", num_args = 0..=1,
        default_value = "false", default_missing_value = "true", require_equals = true)]
    pub(super) open: String,
    /// A proxy, load balancer or NAT is between coturn and this listener: a closed connection then ends no allocations;
    /// they stay until they expire or coturn restarts.
    #[arg(id = "statsdb.behind-proxy", long, env = "COTURN_EXPORTER_STATSDB_BEHIND_PROXY", value_name = "BOOL",
        num_args = 0..=1, default_value = "false", default_missing_value = "true", require_equals = true)]
    pub(super) behind_proxy: String,
    /// Certificate (PEM) of this listener, with the certificates between it and its CA; the listener then speaks TLS.
    #[arg(
        id = "statsdb.tls-cert-file",
        long,
        env = "COTURN_EXPORTER_STATSDB_TLS_CERT_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(super) tls_cert_file: Option<OsString>,
    /// Key (PEM, not encrypted) of the certificate.
    #[arg(
        id = "statsdb.tls-key-file",
        long,
        env = "COTURN_EXPORTER_STATSDB_TLS_KEY_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(super) tls_key_file: Option<OsString>,
    /// Connections that may be open to this listener at one time.
    #[arg(
        id = "statsdb.max-connections",
        long,
        env = "COTURN_EXPORTER_STATSDB_MAX_CONNECTIONS",
        value_name = "COUNT",
        default_value = "1024"
    )]
    pub(super) max_connections: String,
    /// Redis that every command of coturn is forwarded to, for other programs that read it.
    #[arg(id = "statsdb.forward-url", long, env = "COTURN_EXPORTER_STATSDB_FORWARD_URL", value_name = "URL")]
    pub(super) forward_url: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "coturn")]
pub(super) struct CoturnArgs {
    /// coturn's own file, usually /etc/turnserver.conf, which is read and never written: what it says takes the place of flags
    /// that are not given, and its limits are on the page.
    #[arg(
        id = "coturn.config-file",
        long,
        env = "COTURN_EXPORTER_COTURN_CONFIG_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(super) config_file: Option<OsString>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Allocations")]
pub(super) struct AllocationArgs {
    /// coturn's max-allocate-lifetime: the longest grant, and the age past which an idle allocation is an
    /// orphan.
    #[arg(
        id = "allocation.max-lifetime",
        long,
        env = "COTURN_EXPORTER_ALLOCATION_MAX_LIFETIME",
        value_name = "DURATION",
        default_value = "3600s",
        global = true
    )]
    pub(super) max_lifetime: String,
    /// Time without relayed traffic after which an old allocation is idle.
    #[arg(
        id = "allocation.idle-after",
        long,
        env = "COTURN_EXPORTER_ALLOCATION_IDLE_AFTER",
        value_name = "DURATION",
        default_value = "30m",
        global = true
    )]
    pub(super) idle_after: String,
    /// Time past the granted lifetime after which a silent allocation is overdue.
    #[arg(
        id = "allocation.grace",
        long,
        env = "COTURN_EXPORTER_ALLOCATION_GRACE",
        value_name = "DURATION",
        default_value = "90s",
        global = true
    )]
    pub(super) grace: String,
    /// Allocations held in memory at most, and 128 bytes of user and realm names for each. When it is full, ended ones are removed
    /// for live ones; what then finds no place is refused and counted. Half of it is reserved for the sources in equal parts.
    #[arg(
        id = "allocation.max-count",
        long,
        env = "COTURN_EXPORTER_ALLOCATION_MAX_COUNT",
        value_name = "COUNT",
        default_value = "1000000",
        global = true
    )]
    pub(super) max_count: String,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sessions")]
pub(super) struct SessionArgs {
    /// Whose allocations form a session: user, or client (user and client host, for a user name that
    /// clients share).
    #[arg(
        id = "session.by",
        long,
        env = "COTURN_EXPORTER_SESSION_BY",
        value_name = "KEY",
        default_value = "user",
        global = true
    )]
    pub(super) by: String,
    /// Time a session waits for another allocation after its last one has ended.
    #[arg(
        id = "session.linger",
        long,
        env = "COTURN_EXPORTER_SESSION_LINGER",
        value_name = "DURATION",
        default_value = "0s",
        global = true
    )]
    pub(super) linger: String,
    /// Packets that an allocation must exceed to count as used for relaying.
    #[arg(
        id = "session.relayed-packets",
        long,
        env = "COTURN_EXPORTER_SESSION_RELAYED_PACKETS",
        value_name = "COUNT",
        default_value = "50",
        global = true
    )]
    pub(super) relayed_packets: String,
    /// coturn's rest-api-separator: what stands between timestamp and user id in a TURN REST name.
    #[arg(
        id = "session.rest-separator",
        long,
        env = "COTURN_EXPORTER_SESSION_REST_SEPARATOR",
        value_name = "CHARACTER",
        default_value = ":",
        allow_hyphen_values = true,
        global = true
    )]
    pub(super) rest_separator: String,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Metrics")]
pub(super) struct MetricsArgs {
    /// Realms with series of their own; the others share the realm `_other`.
    #[arg(
        id = "metrics.max-realms",
        long,
        env = "COTURN_EXPORTER_METRICS_MAX_REALMS",
        value_name = "COUNT",
        default_value = "100",
        global = true
    )]
    pub(super) max_realms: String,
    /// TURN servers with series of their own; the others share the server `_other`.
    #[arg(
        id = "metrics.max-servers",
        long,
        env = "COTURN_EXPORTER_METRICS_MAX_SERVERS",
        value_name = "COUNT",
        default_value = "100",
        global = true
    )]
    pub(super) max_servers: String,
    /// Realm whose series exist from the start; repeatable.
    #[arg(
        id = "metrics.realm",
        long,
        env = "COTURN_EXPORTER_METRICS_REALM",
        value_name = "REALM",
        global = true
    )]
    pub(super) realm: Vec<String>,
    /// Family left off the page, by its name, to have fewer series; repeatable, several with commas. The histograms are
    /// two thirds of a realm's series.
    #[arg(
        id = "metrics.disable",
        long,
        env = "COTURN_EXPORTER_METRICS_DISABLE",
        value_name = "FAMILY",
        value_delimiter = ',',
        global = true
    )]
    pub(super) disable: Vec<String>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Store")]
pub(super) struct StoreArgs {
    /// Directory of the store, by which counters and sessions go on after a restart, and of the ledger of finished sessions; it
    /// is made if it is not there. Without it everything is in memory.
    #[arg(
        id = "store.path",
        long,
        env = "COTURN_EXPORTER_STORE_PATH",
        value_name = "DIRECTORY",
        global = true
    )]
    pub(super) path: Option<OsString>,
    /// Time a finished session stays in the ledger, by the wall clock; a day more after the clock has jumped, and where more than
    /// a tenth would go at once.
    #[arg(
        id = "store.retention",
        long,
        env = "COTURN_EXPORTER_STORE_RETENTION",
        value_name = "DURATION",
        default_value = "90d",
        global = true
    )]
    pub(super) retention: String,
}
