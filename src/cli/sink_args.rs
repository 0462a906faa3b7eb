//! The flags of those who take finished sessions and events elsewhere, as `clap` sees them: raw, as typed.

use std::ffi::OsString;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Ledger and events")]
pub(super) struct SinkArgs {
    /// Name of this exporter in the ledger's database and in events; the name of the host if not given.
    #[arg(id = "exporter.name", long, env = "COTURN_EXPORTER_EXPORTER_NAME", value_name = "NAME")]
    pub(super) exporter_name: Option<String>,
    /// `PostgreSQL` that gets each finished session, from the ledger of --store.path:
    /// `postgres://user[:password]@host[:port]/database[?sslmode=verify-full&sslrootcert=FILE]`, or a Unix socket by
    /// `?host=/run/postgresql`.
    #[arg(id = "ledger.postgres-url", long, env = "COTURN_EXPORTER_LEDGER_POSTGRES_URL", value_name = "URL")]
    pub(super) postgres_url: Option<String>,
    /// File with the password for `PostgreSQL`.
    #[arg(
        id = "ledger.postgres-password-file",
        long,
        env = "COTURN_EXPORTER_LEDGER_POSTGRES_PASSWORD_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(super) postgres_password_file: Option<OsString>,
    /// Web hook that is called when a session opens, closes or is amended and when an allocation becomes an orphan, as
    /// `CloudEvents`; repeatable. Needs --store.path, where events wait.
    #[arg(id = "events.url", long, env = "COTURN_EXPORTER_EVENTS_URL", value_name = "URL", value_delimiter = None)]
    pub(super) events_url: Vec<String>,
    /// File with the secret that events are signed with (Standard Webhooks: `whsec_` and base64, or any text); with several
    /// lines each signs.
    #[arg(id = "events.secret-file", long, env = "COTURN_EXPORTER_EVENTS_SECRET_FILE", value_name = "FILE")]
    pub(super) events_secret_file: Option<OsString>,
    /// Events name users and client addresses.
    #[arg(
        id = "events.with-users",
        long,
        env = "COTURN_EXPORTER_EVENTS_WITH_USERS",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false"
    )]
    pub(super) events_with_users: String,
    /// Events in one request at most; with more than 1 a request is a batch of `CloudEvents`.
    #[arg(
        id = "events.batch-size",
        long,
        env = "COTURN_EXPORTER_EVENTS_BATCH_SIZE",
        value_name = "COUNT",
        default_value = "1"
    )]
    pub(super) events_batch_size: String,
    /// Time an event waits for a web hook that does not take it; then it is given up.
    #[arg(
        id = "events.max-age",
        long,
        env = "COTURN_EXPORTER_EVENTS_MAX_AGE",
        value_name = "DURATION",
        default_value = "7d"
    )]
    pub(super) events_max_age: String,
    /// Events that wait at most; of more, the oldest are given up.
    #[arg(
        id = "events.max-pending",
        long,
        env = "COTURN_EXPORTER_EVENTS_MAX_PENDING",
        value_name = "COUNT",
        default_value = "1000000"
    )]
    pub(super) events_max_pending: String,
    /// CAs (PEM) that may have signed the certificate of a web hook; those that the system trusts if not given.
    #[arg(id = "events.tls-ca-file", long, env = "COTURN_EXPORTER_EVENTS_TLS_CA_FILE", value_name = "FILE")]
    pub(super) events_tls_ca_file: Option<OsString>,
}
