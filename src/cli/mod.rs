//! The command line: flags, variables, help, version. The only user of `clap`; what comes out is a [`Config`].

mod args;
mod command_args;
mod given;
mod read;
mod read_coturn;
mod read_health;
mod read_sinks;
mod refused;
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
    let mut command = definitions();
    let matches = command.try_get_matches_from_mut(arguments).map_err(|error| Stop::from_clap(&error))?;
    let args = Args::from_arg_matches(&matches).map_err(|error| Stop::from_clap(&error))?;
    read::config(args, &matches, &command).map_err(|error| Stop::usage(&error))
}

/// All flags and subcommands, for the parser and for whoever writes of them. The help of a subcommand lists what it reads; the
/// other flags are hidden there.
pub fn definitions() -> clap::Command {
    // An environment may hold passwords; help shows the variables' names only.
    let mut command = Args::command().mut_args(|arg| arg.hide_env_values(true));
    // The flags that all share are in the subcommands from now on.
    command.build();
    command.mut_subcommands(|subcommand| {
        let refused = refused::refused_flags(subcommand.get_name());
        without(subcommand, refused)
    })
}

/// The same, down to its own subcommands, with the flags hidden that begin so.
fn without(command: clap::Command, refused: &[&str]) -> clap::Command {
    let command = command.mut_args(|arg| {
        let is_refused = refused.iter().any(|group| arg.get_id().as_str().starts_with(group));
        if is_refused { arg.hide(true) } else { arg }
    });
    command.mut_subcommands(|subcommand| without(subcommand, refused))
}

#[cfg(test)]
mod tests;
