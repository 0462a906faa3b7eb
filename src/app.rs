//! The wiring: joins the parts and owns the order in which they start and stop.

use crate::config::Config;

/// Why the program cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {}

/// Does what `config` asks for, until it is done or told to stop.
///
/// # Errors
///
/// When it cannot start, or cannot go on.
#[expect(clippy::needless_pass_by_value, reason = "the parts will own what they are told")]
pub fn run(config: Config) -> Result<(), Error> {
    tracing::debug!(command = ?config.command, "nothing is wired up yet");
    Ok(())
}
