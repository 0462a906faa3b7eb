//! `healthcheck`: asks an exporter on this host whether it is well, for containers that have no HTTP client.

use std::io::Write;

use crate::app::Error;
use crate::config::HealthCheck;
use crate::escape::printable;
use crate::http::{HealthError, ask_health};

/// Asks, and prints one line onto `out`.
///
/// # Errors
///
/// It is not well, or nobody can tell; an output that takes no more.
pub(in crate::app) async fn healthcheck(check: &HealthCheck, out: &mut impl Write) -> Result<(), Error> {
    let said = ask_health(check).await.map_err(|error| Error::Health(harmless(error)))?;
    writeln!(out, "{check}: {}", printable(said.as_bytes())).map_err(Error::Output)
}

/// With what the other side said made safe for a terminal.
fn harmless(error: HealthError) -> HealthError {
    match error {
        HealthError::Unwell { check, status, text } => {
            HealthError::Unwell { check, status, text: printable(text.as_bytes()) }
        }
        other => other,
    }
}
