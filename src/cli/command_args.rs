//! The subcommands and their own flags as `clap` sees them: raw, as typed.

use std::path::PathBuf;

use clap::Subcommand;

/// What to do instead of watching.
#[derive(Debug, Subcommand)]
pub(super) enum CommandArgs {
    #[command(after_help = "\
Examples:
  coturn-exporter replay calls.jsonl                    the page as of the last event of a capture
  coturn-exporter replay /var/lib/coturn-exporter --until 1795343956")]
    /// Read captures, or the journal of a store, and print the metrics as of their last event; their time stamps are the
    /// clock.
    Replay {
        /// Captures (JSON Lines), read in this order as one stream; or the directory of a store (--store.path), a copy of one,
        /// or its folder `diverged`: its snapshot is read, and the journal behind that.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// Print the metrics as of this time of the capture or of the journal, in seconds, instead of the last event's. A store
        /// has no moment before its snapshot.
        #[arg(id = "until", long, value_name = "SECONDS")]
        until: Option<String>,
    },
    #[command(after_help = "\
Examples:
  coturn-exporter record --output calls.jsonl --duration 10m
  coturn-exporter record --redis.url redis://10.0.0.5/0 | gzip > calls.jsonl.gz")]
    /// Write the event stream of the Redis to a capture, until interrupted.
    Record {
        /// File to write; standard output if not given or `-`. A file that exists is not overwritten.
        #[arg(id = "output", long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Stop after this time.
        #[arg(id = "duration", long, value_name = "DURATION")]
        duration: Option<String>,
    },
    #[command(after_help = "\
Examples:
  coturn-exporter demo                                  until Ctrl-C
  coturn-exporter demo --port 8080 --duration 3m")]
    /// Show everything at once: an exporter, a TURN service that is simulated on a clock that runs 120 times as fast, and,
    /// where it is installed, a Prometheus with the alert rules. Needs no coturn, no Redis, no network and no root.
    Demo {
        /// Port of the exporter's pages, on 127.0.0.1.
        #[arg(id = "port", long, value_name = "PORT", default_value = "10641")]
        port: String,
        /// Calls that go on at one time.
        #[arg(id = "calls", long, value_name = "COUNT", default_value = "100")]
        calls: String,
        /// Stop after this time.
        #[arg(id = "duration", long, value_name = "DURATION")]
        duration: Option<String>,
    },
    #[command(after_help = "\
Examples:
  coturn-exporter simulate --speed 10 --to 127.0.0.1:6391    into an exporter only for this
  coturn-exporter simulate --to 127.0.0.1:16379              into a Redis only for this")]
    /// Play a TURN service into an exporter or a Redis: calls of all lengths, web pages that never close what they opened, a
    /// server that dies now and then. Never into one that is in use.
    ///
    /// What is invented counts as real there: in the metrics, for the alerts, and in the ledger of a store.
    Simulate(SimulateArgs),
    #[command(after_help = "\
Examples:
  coturn-exporter doctor --redis.url redis://10.0.0.5/0 --verbose
  coturn-exporter doctor --statsdb.listen-address 127.0.0.1:6390 --json")]
    /// Check each Redis (settings, ACL, keys, clients) and the listener, and say what to change.
    ///
    /// Changes nothing. Exit code 0 when nothing is wrong, 1 when something is wrong, 2 for a command line that cannot be used.
    Doctor {
        /// Print one JSON object: ok (bool) and findings, each with source, id, severity (ok, info, advice or fault),
        /// message, why and fix.
        #[arg(id = "json", long, conflicts_with = "verbose")]
        json: bool,
        /// Say why, and give the command, also for what is marked info; of a Redis, the ACL line of a user that may do no more
        /// than is needed.
        #[arg(id = "verbose", long)]
        verbose: bool,
    },
    #[command(after_help = "\
Examples:
  coturn-exporter prune --redis.url redis://10.0.0.5/0    list them
  coturn-exporter prune --redis.url redis://10.0.0.5/0 --apply")]
    /// List the status keys that no live allocation can own; with --apply, delete them.
    ///
    /// A key is such a leftover when it has been idle for longer than --allocation.max-lifetime and --allocation.grace
    /// together. Exit code 0 on success, 1 on failure.
    Prune {
        /// Delete them, except those that were used again in the meantime.
        #[arg(id = "apply", long)]
        apply: bool,
    },
    #[command(after_help = "\
Examples:
  coturn-exporter usage --store.path /var/lib/coturn-exporter --by realm,user --since 30d --top 10
  coturn-exporter usage --store.path ledger.sqlite --by day --format csv")]
    /// Print what finished sessions used, from the ledger of --store.path; an exporter may be writing it meanwhile.
    ///
    /// Sessions count where they ended. A session that was not watched as a whole is partial: its times are those that
    /// are known.
    Usage {
        /// What to sum by, separated by commas: user (of a TURN REST name the user id), credential (the whole name),
        /// realm, day (UTC).
        #[arg(id = "by", long, value_name = "KEYS", default_value = "user", value_delimiter = ',')]
        by: Vec<String>,
        /// Sessions that ended at this moment or later: 2026-11-22, 2026-11-22T08:30:00Z, or 7d ago.
        #[arg(id = "since", long, value_name = "MOMENT")]
        since: Option<String>,
        /// Sessions that ended before this moment.
        #[arg(id = "until", long, value_name = "MOMENT")]
        until: Option<String>,
        /// Only so many lines, those that relayed most.
        #[arg(id = "top", long, value_name = "COUNT")]
        top: Option<String>,
        /// All columns in the table, in plain numbers.
        #[arg(id = "wide", long)]
        wide: bool,
        /// Columns of the answer, separated by commas and in plain numbers; csv and json have all if not given.
        #[arg(id = "columns", long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "wide")]
        columns: Vec<String>,
        /// Form of the answer: table, csv or json.
        #[arg(id = "format", long, value_name = "FORMAT", default_value = "table")]
        format: String,
        /// Ledger to ask instead of that of --store.path: `postgres://user@host/database`, which has those of all exporters, or
        /// the path of a store. A password may be in the URL or in a file (--ledger.postgres-password-file).
        #[arg(id = "from", long, value_name = "PLACE")]
        from: Option<String>,
    },
    #[command(after_help = "\
Examples:
  coturn-exporter healthcheck                           an exporter on this host
  coturn-exporter healthcheck --ready --url https://127.0.0.1:10641 --timeout 2s")]
    /// Ask an exporter on this host whether it is well, and print one line: for containers that have no HTTP client.
    ///
    /// A certificate is not verified and no login is sent. Exit code 0 when it is well, 1 when it is not or does not answer, 2 for
    /// a command line that cannot be used.
    Healthcheck {
        /// Exporter to ask: http[s]://host:port; a path after it is asked for instead of /-/healthy. If not given, the
        /// address in the variable `COTURN_EXPORTER_WEB_LISTEN_ADDRESS` or port 10641 of this host, over TLS where the file in
        /// `COTURN_EXPORTER_WEB_CONFIG_FILE` asks for it.
        #[arg(id = "url", long, value_name = "URL")]
        url: Option<String>,
        /// Ask whether it is also subscribed and has read all keys: /-/ready instead of /-/healthy.
        #[arg(id = "ready", long)]
        ready: bool,
        /// Time for everything together.
        #[arg(id = "timeout", long, value_name = "DURATION", default_value = "3s")]
        timeout: String,
    },
    #[command(after_help = "\
Examples:
  coturn-exporter ledger schema | psql --dbname accounting
  coturn-exporter ledger prune --from postgres://owner@db.example/accounting --keep 400d --apply")]
    /// Look after the tables of the ledger in a database.
    Ledger {
        #[command(subcommand)]
        action: LedgerArgs,
    },
}

/// What to do with the tables in a database.
#[derive(Debug, Subcommand)]
pub(super) enum LedgerArgs {
    /// Print the SQL that makes the tables or brings them up to date, for psql; where they are, it does nothing.
    Schema,
    /// List the months whose sessions are older than --keep; with --apply, drop them. Sessions in no month of their own go one
    /// by one.
    Prune {
        /// Database: `postgres://user@host/database`.
        #[arg(id = "from", long, value_name = "URL")]
        from: String,
        /// Time that a session is kept after its end: 400d.
        #[arg(id = "keep", long, value_name = "DURATION")]
        keep: String,
        /// Drop them.
        #[arg(id = "apply", long)]
        apply: bool,
    },
}

/// What is simulated.
#[derive(Debug, clap::Args)]
pub(super) struct SimulateArgs {
    /// Where the servers report to: --statsdb.listen-address of an exporter, or a Redis without a password.
    #[arg(id = "to", long, value_name = "HOST:PORT", default_value = "127.0.0.1:6390")]
    pub(super) to: String,
    /// Servers, each with a connection of its own.
    #[arg(id = "servers", long, value_name = "COUNT", default_value = "2")]
    pub(super) servers: String,
    /// Calls that go on at one time.
    #[arg(id = "calls", long, value_name = "COUNT", default_value = "100")]
    pub(super) calls: String,
    /// So many times as fast as the clock; lifetimes are published in the exporter's time.
    #[arg(id = "speed", long, value_name = "FACTOR", default_value = "1")]
    pub(super) speed: String,
    /// Time between two deaths of a server on average, on the service's clock; 0s for none.
    #[arg(id = "crash-every", long, value_name = "DURATION", default_value = "30m")]
    pub(super) crash_every: String,
    /// Time between two cuts of a connection on average, on the service's clock; 0s for none.
    #[arg(id = "cut-every", long, value_name = "DURATION", default_value = "0s")]
    pub(super) cut_every: String,
    /// One of so many clients never closes what it opened; 0 for none.
    #[arg(id = "leak-one-in", long, value_name = "COUNT", default_value = "50")]
    pub(super) leak_one_in: String,
    /// What chance is made of.
    #[arg(id = "seed", long, value_name = "NUMBER", default_value = "1")]
    pub(super) seed: String,
    /// Stop after this time.
    #[arg(id = "duration", long, value_name = "DURATION")]
    pub(super) duration: Option<String>,
}
