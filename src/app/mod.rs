//! The wiring: joins the parts and owns the order in which they start and stop.

pub mod ingest;
pub mod replay;

use std::io;
use std::path::PathBuf;

use crate::config::{Command, Config};
use crate::metrics::DescriptionError;
use crate::source::capture::CaptureError;

/// Why the program cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be opened.
    #[error("cannot open {}: {error}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A capture that is none.
    #[error("{0}")]
    Capture(CaptureError),
    /// The output takes no more.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// A mistake in the description of the metrics.
    #[error("{0}")]
    Metrics(DescriptionError),
    /// The page could not be made.
    #[error("{0}")]
    Page(String),
}

/// Does what `config` asks for, until it is done or told to stop.
///
/// # Errors
///
/// When it cannot start, or cannot go on.
pub fn run(config: Config) -> Result<(), Error> {
    match config.command {
        Command::Replay { files, until } => {
            replay::print(config.table, &files, until, &mut io::stdout().lock())
        }
        _ => Ok(()),
    }
}
