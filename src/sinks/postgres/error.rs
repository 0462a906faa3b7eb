//! What goes wrong with a database, and what to do. No text of these holds a password, or what a row holds.

use std::io;

use tokio_postgres::error::SqlState;

use super::config::PostgresUrlError;
use crate::net::tls::PemError;
use crate::sinks::SinkError;

/// Why the database takes or answers nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// A URL that cannot be used.
    #[error("{0}")]
    Url(PostgresUrlError),
    /// No connection.
    #[error("cannot connect to PostgreSQL at {server}: {error}")]
    Connect {
        /// The server.
        server: String,
        /// What the system says.
        error: io::Error,
    },
    /// Files for TLS.
    #[error("{0}")]
    Pem(PemError),
    /// No CA that could vouch for any server.
    #[error(
        "this system has no CA certificates that can be read ({reason}); name the CA of PostgreSQL with sslrootcert in its URL"
    )]
    NoSystemCas {
        /// More about it, perhaps nothing.
        reason: String,
    },
    /// A server that has no TLS.
    #[error(
        "PostgreSQL at {server} has no TLS; set ssl = on in postgresql.conf, or say sslmode=disable in the URL if the way \
         there is yours alone"
    )]
    NoTls {
        /// The server.
        server: String,
    },
    /// A certificate that is not accepted, or another end of the handshake.
    #[error("no TLS with PostgreSQL at {server}: {reason}")]
    Tls {
        /// The server.
        server: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The server refuses, or the connection broke.
    #[error("{}", server_text(.0))]
    Server(tokio_postgres::Error),
    /// The server does not let this role.
    #[error(
        "PostgreSQL refuses: {message}; the role of the exporter needs the grants that docs/postgres.md lists"
    )]
    Rights {
        /// What the server says.
        message: String,
    },
    /// No answer.
    #[error("PostgreSQL at {server} does not answer in {seconds} s ({what})")]
    Silent {
        /// The server.
        server: String,
        /// What was waited for.
        what: &'static str,
        /// For so long.
        seconds: u64,
    },
    /// No tables, and no right to make them.
    #[error(
        "the database has no tables of version {version} for the ledger and this role may not make them; run \
         `coturn-exporter ledger schema | psql` as their owner, and grant what docs/postgres.md lists"
    )]
    NoTables {
        /// The version that is needed.
        version: i32,
    },
    /// Tables of a newer exporter.
    #[error(
        "the tables of the ledger are of version {version}, and this exporter knows {known}; use a newer exporter"
    )]
    Newer {
        /// Theirs.
        version: i32,
        /// Ours.
        known: i32,
    },
    /// Not every name could be kept.
    #[error(
        "the database has the encoding {encoding}; the ledger needs UTF8 (CREATE DATABASE ... ENCODING 'UTF8')"
    )]
    Encoding {
        /// Theirs.
        encoding: String,
    },
    /// They have more of this ledger than it has ever had.
    #[error(
        "the database has revision {theirs} of this ledger, which the ledger has not reached: the ledger is an older copy"
    )]
    LedgerIsOlder {
        /// The newest revision there.
        theirs: u64,
    },
    /// They have less of it than they had.
    #[error(
        "the database has revision {theirs} of this ledger, of which {taken} were written: it is another one, was put back from \
         a backup, or is a standby that lacked the last of them"
    )]
    DatabaseIsOlder {
        /// The newest revision there.
        theirs: u64,
        /// The newest that was written.
        taken: u64,
    },
}

impl PostgresError {
    pub(super) fn is_lack_of_rights(error: &tokio_postgres::Error) -> bool {
        error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
    }
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(refusal) if Self::is_lack_of_rights(&error) => {
                Self::Rights { message: refusal.message().to_owned() }
            }
            _ => Self::Server(error),
        }
    }
}

/// The connection broke. A login that does not come about is an error of input and output as well, of another kind.
fn is_broken(error: &tokio_postgres::Error) -> bool {
    use std::error::Error as _;
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    let is_of_connection = |cause: &io::Error| {
        [BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof].contains(&cause.kind())
    };
    error.is_closed() || cause.is_some_and(is_of_connection)
}

/// What the server says, without its details: they quote rows.
fn server_text(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    match (error.as_db_error(), error.source()) {
        (Some(refusal), _) => {
            let (message, code) = (refusal.message(), refusal.code().code());
            let hint = if refusal.code() == &SqlState::READ_ONLY_SQL_TRANSACTION {
                "; this is a standby: name the primary in the URL"
            } else {
                ""
            };
            format!("PostgreSQL refuses: {message} (SQLSTATE {code}){hint}")
        }
        (None, Some(source)) => format!("the connection to PostgreSQL failed: {error}: {source}"),
        (None, None) => format!("the connection to PostgreSQL failed: {error}"),
    }
}

impl SinkError for PostgresError {
    fn is_of_older_ledger(&self) -> bool {
        matches!(self, Self::LedgerIsOlder { .. })
    }

    fn has_only(&self) -> Option<u64> {
        match self {
            Self::DatabaseIsOlder { theirs, .. } => Some(*theirs),
            _ => None,
        }
    }

    fn is_away(&self) -> bool {
        const STOPS_OR_STARTS: [SqlState; 3] =
            [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW];
        match self {
            Self::Connect { .. } => true,
            Self::Server(error) => {
                error.code().map_or_else(|| is_broken(error), |code| STOPS_OR_STARTS.contains(code))
            }
            _ => false,
        }
    }
}
