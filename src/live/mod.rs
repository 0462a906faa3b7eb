//! The live page: what the exporter sees now and how it was within the last hour, for somebody who has just opened it.
//!
//! Pure: looks at the table come in with their time, a page goes out. Nothing on it names a user or a client. Its memory
//! is bounded: a point every [`INTERVAL`], at most [`POINTS`] of them, of all realms together and of the [`REALMS`]
//! largest; the numbers of one look; and the page made from them, which is the same for all who ask until the next look.

mod board;
mod chart;
mod empty;
mod history;
mod look;
mod page;
mod rates;
mod tables;

use std::sync::Arc;

pub use board::Board;
pub use history::{INTERVAL, LookKind, POINTS, REALMS};
pub use look::SourceSetup;

/// Where the live page comes from.
pub trait ShowLive: Send + Sync + 'static {
    /// The page as of the last look. Takes no lock of the table. `not_yet` says why there is nothing to show yet, if so.
    fn page(&self, site: &SiteFacts<'_>, not_yet: Option<&str>) -> Arc<[u8]>;
}

/// What the live page says about the program.
#[derive(Clone, Debug)]
pub struct About {
    /// The program's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The revision it was built from, if known.
    pub revision: Option<String>,
    /// Address of the documentation; no link is shown without one.
    pub documentation: Option<String>,
}

/// What the page links to; the same for the life of the process.
#[derive(Clone, Copy, Debug)]
pub struct SiteFacts<'a> {
    /// The program.
    pub about: &'a About,
    /// Where the metrics lie.
    pub telemetry_path: &'a str,
    /// Whether there are lists of allocations and sessions.
    pub has_details: bool,
}

#[cfg(test)]
mod tests;
