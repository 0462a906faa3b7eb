//! What the program is to do: the command, and what each of them asks for.

use std::path::PathBuf;
use std::time::Duration;

use super::{HealthCheck, PostgresSettings};
use crate::clock::Timestamp;
use crate::simulation::Profile;
use crate::store::ledger::By;

/// How `doctor` prints what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportForm {
    /// Text: what is wrong at length, the rest in a line each.
    Short,
    /// Text: all of it at length.
    Verbose,
    /// One JSON object.
    Json,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Command {
    /// Watch the sources and serve the page.
    #[default]
    Watch,
    /// Read captures and print the page.
    Replay {
        /// The captures, in order; at least one.
        files: Vec<PathBuf>,
        /// The moment of the page on the captures' time line; the last event's when `None`.
        until: Option<Timestamp>,
    },
    /// Write the stream of the source to a capture.
    Record {
        /// The capture; standard output when `None`.
        output: Option<PathBuf>,
        /// When to stop by itself.
        duration: Option<Duration>,
    },
    /// Look at the sources and say what to change.
    Doctor {
        /// How they are printed.
        report: ReportForm,
    },
    /// List the status keys that no live allocation can own.
    Prune {
        /// Delete them.
        apply: bool,
    },
    /// Ask the ledger who used how much.
    Usage(UsageQuery),
    /// Play a TURN service.
    Simulate(Simulation),
    /// Play one, and watch it.
    Demo(Demo),
    /// Ask an exporter on this host whether it is well.
    HealthCheck(HealthCheck),
    /// Print the SQL that makes the tables of the ledger in a database.
    LedgerSchema,
    /// List the months that a database need not keep.
    LedgerPrune {
        /// The database.
        database: PostgresSettings,
        /// For how long sessions are kept.
        keep: Duration,
        /// Drop those months.
        apply: bool,
    },
}

impl Command {
    /// Whether it is about what coturn reports to, and not about what was kept.
    pub const fn looks_at_sources(&self) -> bool {
        matches!(self, Self::Watch | Self::Record { .. } | Self::Doctor { .. } | Self::Prune { .. })
    }

    /// Whether it goes on until a signal comes, and nobody may hold it up meanwhile. Any other has somebody who waits for
    /// its end.
    pub const fn runs_until_stopped(&self) -> bool {
        matches!(self, Self::Watch | Self::Record { .. } | Self::Simulate(_) | Self::Demo(_))
    }
}

/// A TURN service to be played.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulation {
    /// Host and port that its servers report to.
    pub to: String,
    /// What it is like.
    pub profile: Profile,
    /// When to stop by itself.
    pub duration: Option<Duration>,
}

/// An exporter and a service for it, to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demo {
    /// Of the exporter's pages.
    pub port: u16,
    /// Calls that go on at one time.
    pub calls: usize,
    /// When to stop by itself.
    pub duration: Option<Duration>,
}

/// A question to the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// Where the ledger is.
    pub place: LedgerPlace,
    /// One line for each of these together; at least one, no two alike.
    pub by: Vec<By>,
    /// Only sessions that ended then or later.
    pub since: Option<UsageTime>,
    /// Only sessions that ended before then.
    pub until: Option<UsageTime>,
    /// Only so many lines.
    pub top: Option<u32>,
    /// What is said of each.
    pub columns: UsageColumns,
    /// What the answer looks like.
    pub format: UsageFormat,
}

/// Where a ledger is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerPlace {
    /// In a store.
    Store(PathBuf),
    /// In a database, with those of other exporters.
    Postgres(PostgresSettings),
}

/// What `usage` says of each line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UsageColumns {
    /// In a table what people want to know, in any other form everything.
    #[default]
    Usual,
    /// These, by their places in [`FIGURES`](crate::store::ledger::FIGURES).
    These(Vec<usize>),
}

/// A moment as people say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageTime {
    /// By the calendar.
    At(Timestamp),
    /// So long before now.
    Ago(Duration),
}

/// What the answer of `usage` looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsageFormat {
    /// Columns for people.
    #[default]
    Table,
    /// RFC 4180.
    Csv,
    /// One array of objects.
    Json,
}
