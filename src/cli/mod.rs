//! The command line: flags, variables, help, version. The only user of `clap`; what comes out is a [`Config`].

mod args;
mod given;
mod read;
mod read_sinks;
mod sink_args;
mod stop;

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _};

pub use stop::Stop;

use crate::config::Config;
use args::Args;

/// What the command line (program name first) and the environment ask for.
///
/// # Errors
///
/// A [`Stop`] when the program has nothing more to do: help or version was asked for, or something is wrong.
pub fn parse<I, T>(arguments: I) -> Result<Config, Stop>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    // An environment may hold passwords; help shows the variables' names only.
    let mut command = Args::command().mut_args(|arg| arg.hide_env_values(true));
    let matches = command.try_get_matches_from_mut(arguments).map_err(|error| Stop::from_clap(&error))?;
    let args = Args::from_arg_matches(&matches).map_err(|error| Stop::from_clap(&error))?;
    read::config(args, &matches, &command).map_err(|error| Stop::usage(&error))
}

#[cfg(test)]
mod tests;
