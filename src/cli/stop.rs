//! The end of the program without its work done: help, version, or one line about what was typed wrong or failed.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::config::{message_without_credentials, without_credentials};
use crate::version::NAME;

/// The exit code for a command line or environment that cannot be used.
const USAGE: u8 = 2;

/// The exit code for work that failed.
const FAILURE: u8 = 1;

/// Why the program ends before its work, or without it done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    code: u8,
    text: String,
}

impl Stop {
    /// `called` is the program with the subcommand whose help knows more.
    pub(super) fn from_clap(error: &clap::Error, called: &str) -> Self {
        let text = error.render().to_string();
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            return Self { code: 0, text };
        }
        // clap writes a paragraph: what is wrong, tips, then usage. We keep what comes before the usage.
        let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
        // No value begins with a dash: the tip how to pass one would mislead.
        let noise = ["For more information", "tip: to pass '-"];
        let lines =
            lines.filter(|line| !line.is_empty() && !noise.iter().any(|noise| line.starts_with(noise)));
        // A similar flag of another group has nothing to do with it either.
        let group = |line: &str| {
            line.split_once("'--")
                .and_then(|(_, flag)| flag.split_once('.'))
                .map(|(group, _)| group.to_owned())
        };
        let meant = text.lines().next().and_then(group);
        let lines = lines.filter(|line| {
            let tip = line.strip_prefix("tip: a similar argument").and_then(group);
            tip.is_none() || meant.is_none() || tip == meant
        });
        let mut message = String::new();
        for line in lines {
            let line = line.strip_prefix("error: ").unwrap_or(line);
            let joint = match message.chars().last() {
                None => "",
                Some(':') => " ",
                Some(_) => "; ",
            };
            message.push_str(joint);
            message.push_str(line);
        }
        let message = message_without_credentials(&message);
        let words = message.split(' ').map(without_credentials).collect::<Vec<_>>();
        Self { code: USAGE, text: error_line(&format!("{} (see {called} --help)", words.join(" "))) }
    }

    pub(super) fn usage(error: &dyn Error) -> Self {
        Self { code: USAGE, text: error_line(&message_without_credentials(&error.to_string())) }
    }

    /// The work has failed: one line with all causes, and the exit code 1.
    pub fn failure(error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            // Some errors of other crates repeat their cause in their own text.
            let text = error.to_string();
            if !message.contains(&text) {
                let _ = write!(message, ": {text}");
            }
            cause = error.source();
        }
        Self { code: FAILURE, text: error_line(&message_without_credentials(&message)) }
    }

    /// The exit code: 0 for an answer, 1 for work that failed, 2 for a wrong command line.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// What is printed: the help or version, or exactly one line.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Prints it, answers to standard output and errors to standard error, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        // Whoever closed the stream does not want to read it.
        let _ = if self.code == 0 {
            io::stdout().write_all(self.text.as_bytes())
        } else {
            io::stderr().write_all(self.text.as_bytes())
        };
        ExitCode::from(self.code)
    }
}

/// One line, whatever is in `message`.
fn error_line(message: &str) -> String {
    let mut line = format!("{NAME}: error: ");
    for character in message.chars() {
        if character.is_control() { line.extend(character.escape_default()) } else { line.push(character) }
    }
    line.push('\n');
    line
}
