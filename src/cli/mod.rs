//! The command line: flags, variables, help, version. The only user of `clap`; what comes out is a [`Config`].

mod args;
mod command_args;
mod command_flags;
mod given;
mod read;
mod read_coturn;
mod read_health;
mod read_sinks;
mod sink_args;
mod stop;

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _};

pub use stop::Stop;

use crate::config::Config;
use crate::version::NAME;
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
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let matches = command.try_get_matches_from_mut(&arguments);
    let stop = |error: &clap::Error| Stop::from_clap(error, &called(&command, &arguments));
    let matches = matches.map_err(|error| stop(&error))?;
    let args = Args::from_arg_matches(&matches).map_err(|error| stop(&error))?;
    read::config(args, &matches, &command).map_err(|error| Stop::usage(&error))
}

/// The program's name, then those of the subcommand that these arguments mean and of its own: what has a help of its own.
fn called(definitions: &clap::Command, arguments: &[OsString]) -> String {
    let (mut here, mut name) = (definitions, NAME.to_owned());
    let mut is_value = false;
    for argument in arguments.iter().skip(1).filter_map(|argument| argument.to_str()) {
        if std::mem::take(&mut is_value) {
            continue;
        }
        if let Some(flag) = argument.strip_prefix("--") {
            let takes_value =
                |known: &clap::Arg| known.get_long() == Some(flag) && known.get_action().takes_values();
            is_value = here.get_arguments().any(takes_value);
        } else if let Some(subcommand) = here.find_subcommand(argument) {
            here = subcommand;
            name = format!("{name} {}", subcommand.get_name());
        }
    }
    name
}

/// All flags and subcommands, for the parser and for whoever writes of them. The help of a subcommand lists what it reads; the
/// other flags are hidden there.
pub fn definitions() -> clap::Command {
    // An environment may hold passwords; help shows the variables' names only.
    let mut command = Args::command().mut_args(|arg| arg.hide_env_values(true));
    // The flags that all share are in the subcommands from now on.
    command.build();
    command.mut_subcommands(|subcommand| {
        let name = subcommand.get_name().to_owned();
        with_flags_of(subcommand, &name)
    })
}

/// The same, down to its own subcommands, with the flags hidden that `name` does not read.
fn with_flags_of(command: clap::Command, name: &str) -> clap::Command {
    let command = command.mut_args(|arg| {
        let is_read = command_flags::reads(name, arg.get_id().as_str());
        if is_read { arg } else { arg.hide(true) }
    });
    command.mut_subcommands(|subcommand| with_flags_of(subcommand, name))
}

#[cfg(test)]
mod tests;
