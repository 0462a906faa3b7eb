//! What was given on the command line and in the environment, and what is said of a value that cannot be used.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::command_flags::reads;
use crate::config::ConfigError;

/// A value that cannot be used, and where it came from.
#[derive(Debug, thiserror::Error)]
pub(super) enum UsageError {
    /// A value, or several together, are wrong.
    #[error("{origin}: {problem}")]
    Value {
        /// `--log.level`, or `environment variable COTURN_EXPORTER_LOG_LEVEL`.
        origin: String,
        /// What is wrong, and what is accepted.
        problem: ConfigError,
    },
    /// A flag that the subcommand would not read.
    #[error("--{flag} has no effect on {command}; leave it out")]
    NoEffect { flag: String, command: &'static str },
}

/// What was given, and how.
pub(super) struct Given<'a> {
    pub(super) matches: &'a ArgMatches,
    pub(super) definitions: &'a clap::Command,
}

impl Given<'_> {
    /// One value. A variable that is set but empty counts as not set.
    pub(super) fn one<T>(
        &self,
        id: &str,
        typed: &str,
        parse: impl FnOnce(&str) -> Result<T, ConfigError>,
    ) -> Result<T, UsageError> {
        let default = self.defaults(id).into_iter().next();
        let typed = if self.by_variable(id) && typed.trim().is_empty() {
            default.unwrap_or_default()
        } else {
            typed.to_owned()
        };
        parse(&typed).map_err(|problem| self.wrong(id, problem))
    }

    /// Every value of a repeatable flag; a variable holds them separated by commas.
    pub(super) fn each<T>(
        &self,
        id: &str,
        typed: &[String],
        parse: impl Fn(&str) -> Result<T, ConfigError>,
    ) -> Result<Vec<T>, UsageError> {
        let split = |list: &str| {
            let parts = list.split(',').map(str::trim);
            parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        self.each_of(id, typed, split, parse)
    }

    /// Every value of a repeatable flag; a variable holds them as a list that `split` takes apart.
    pub(super) fn each_of<T>(
        &self,
        id: &str,
        typed: &[String],
        split: impl Fn(&str) -> Vec<String>,
        parse: impl Fn(&str) -> Result<T, ConfigError>,
    ) -> Result<Vec<T>, UsageError> {
        let parse = |value: &str| parse(value).map_err(|problem| self.wrong(id, problem));
        if !self.by_variable(id) {
            return typed.iter().map(|value| parse(value)).collect();
        }
        let mut values: Vec<_> = typed.iter().flat_map(|list| split(list)).collect();
        if values.is_empty() {
            values = self.defaults(id);
        }
        values.iter().map(|value| parse(value)).collect()
    }

    /// The path of a file. A variable that is set but empty counts as not set.
    pub(super) fn file(&self, id: &str, typed: Option<&OsString>) -> Option<PathBuf> {
        typed.filter(|path| !(path.is_empty() && self.by_variable(id))).map(PathBuf::from)
    }

    pub(super) fn wrong(&self, id: &str, problem: ConfigError) -> UsageError {
        let variable = self.argument(id).and_then(clap::Arg::get_env).filter(|_| self.by_variable(id));
        let origin = match variable {
            Some(variable) => format!("environment variable {}", variable.display()),
            None => format!("--{id}"),
        };
        UsageError::Value { origin, problem }
    }

    /// Refuses typed flags that a subcommand does not read; variables may be set for other commands and are let be.
    ///
    /// In front of `doctor` stand all flags of the exporter that does not work.
    pub(super) fn refuse(&self, command: &'static str) -> Result<(), UsageError> {
        if command == "doctor" {
            return Ok(());
        }
        match self.typed(|id| !reads(command, id)) {
            Some(flag) => Err(UsageError::NoEffect { flag: flag.to_owned(), command }),
            None => Ok(()),
        }
    }

    /// The first typed flag that is meant.
    pub(super) fn typed(&self, is_meant: impl Fn(&str) -> bool) -> Option<&str> {
        let typed = |id: &str| self.matches.value_source(id) == Some(ValueSource::CommandLine);
        self.matches.ids().map(clap::Id::as_str).find(|id| is_meant(id) && typed(id))
    }

    /// Whether a value was given, by its flag or by a variable that is not empty.
    pub(super) fn is_set(&self, id: &str) -> bool {
        let mut raw = self.matches.get_raw(id).into_iter().flatten();
        match self.matches.value_source(id) {
            Some(ValueSource::CommandLine) => true,
            Some(ValueSource::EnvVariable) => raw.any(|value| !value.to_string_lossy().trim().is_empty()),
            _ => false,
        }
    }

    fn by_variable(&self, id: &str) -> bool {
        // Flags of subcommands have no variables, and asking clap for them here would be an error.
        self.argument(id).is_some() && self.matches.value_source(id) == Some(ValueSource::EnvVariable)
    }

    fn defaults(&self, id: &str) -> Vec<String> {
        let values = self.argument(id).map(clap::Arg::get_default_values).unwrap_or_default();
        values.iter().map(|value| value.to_string_lossy().into_owned()).collect()
    }

    fn argument(&self, id: &str) -> Option<&clap::Arg> {
        self.definitions.get_arguments().find(|argument| argument.get_id() == id)
    }
}
