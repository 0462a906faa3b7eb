//! `docs/flags.md`, from the definitions of the command line.

use std::fmt::Write as _;

use clap::{Arg, Command};

const HEAD: &str = "\
# Flags

Every flag of every command. Written by `make reference` from the program's own definitions; how flags, variables and files go
together, and what the exit codes are, is in [configuration.md](configuration.md).

";

/// The commands as their help shows them: without the flags that a subcommand refuses, and without `help`. They are built
/// already, so a flag that all share is in each of them.
pub(super) fn shown(command: &Command) -> Command {
    // clap takes names that live as long as the program.
    let name: &'static str = command.get_name().to_owned().leak();
    let mut shown = Command::new(name)
        .next_line_help(true)
        .disable_help_subcommand(true)
        .args(arguments(command).filter(|arg| !arg.is_hide_set()).map(|arg| arg.clone().global(false)))
        .subcommands(command.get_subcommands().filter(|sub| sub.get_name() != "help").map(shown));
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(about) = command.get_long_about() {
        shown = shown.long_about(about.clone());
    }
    if let Some(after) = command.get_after_help() {
        shown = shown.after_help(after.clone());
    }
    shown
}

pub(super) fn document(command: &Command) -> String {
    let mut command = command.clone();
    command.build();
    let mut text = HEAD.to_owned();
    let mut everywhere: Vec<&Arg> = Vec::new();
    write!(text, "## `{}`\n\n{}\n", command.get_name(), about(&command)).unwrap();
    for (heading, args) in by_heading(&command) {
        write!(text, "\n### {heading}\n\n{}", table(&args)).unwrap();
        everywhere.extend(args);
    }
    let mut subcommands = Vec::new();
    collect(&command, &mut subcommands);
    for subcommand in subcommands {
        write!(text, "\n## `{}`\n\n{}\n", full_name(subcommand), about(subcommand)).unwrap();
        let (shared, own): (Vec<_>, Vec<_>) = arguments(subcommand)
            .partition(|arg| everywhere.iter().any(|other| other.get_id() == arg.get_id()));
        if !own.is_empty() {
            write!(text, "\n{}", table(&own)).unwrap();
        }
        if !shared.is_empty() && !subcommand.has_subcommands() {
            let names: Vec<_> = shared.iter().map(|arg| format!("`{}`", name(arg))).collect();
            write!(text, "\nAs above: {}.\n", names.join(", ")).unwrap();
        }
        if let Some(examples) = subcommand.get_after_help() {
            let examples = examples.to_string();
            let lines: Vec<_> = examples.lines().skip(1).map(|line| commented(line.trim())).collect();
            write!(text, "\n```sh\n{}\n```\n", lines.join("\n")).unwrap();
        }
    }
    text
}

/// A line of the examples, where blanks stand between a command and what is said of it, for a shell.
fn commented(line: &str) -> String {
    match line.split_once("   ") {
        Some((command, remark)) => format!("{command}   # {}", remark.trim()),
        None => line.to_owned(),
    }
}

/// All commands below this one, each before its own.
fn collect<'a>(command: &'a Command, found: &mut Vec<&'a Command>) {
    for subcommand in command.get_subcommands() {
        found.push(subcommand);
        collect(subcommand, found);
    }
}

/// `coturn-exporter ledger prune`
fn full_name(command: &Command) -> &str {
    command.get_bin_name().expect("a built command")
}

fn about(command: &Command) -> String {
    let text = command.get_long_about().or_else(|| command.get_about()).expect("a text").to_string();
    let text = text.trim_end();
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

/// Flags and operands, without `--help` and `--version`.
fn arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
}

fn by_heading(command: &Command) -> Vec<(&str, Vec<&Arg>)> {
    let mut groups: Vec<(&str, Vec<&Arg>)> = Vec::new();
    for arg in arguments(command) {
        let heading = arg.get_help_heading().expect("each flag of the exporter has a heading");
        match groups.iter_mut().find(|(known, _)| *known == heading) {
            Some((_, args)) => args.push(arg),
            None => groups.push((heading, vec![arg])),
        }
    }
    groups
}

fn name(arg: &Arg) -> String {
    let value =
        || arg.get_value_names().and_then(|names| names.first()).map_or("VALUE", |name| name.as_str());
    match arg.get_long() {
        Some(long) => format!("--{long}"),
        None => value().to_owned(),
    }
}

fn table(args: &[&Arg]) -> String {
    let has_variables = args.iter().any(|arg| arg.get_env().is_some());
    let (head, rule) = if has_variables {
        ("| flag | variable | default | meaning |", "| --- | --- | --- | --- |")
    } else {
        ("| flag | default | meaning |", "| --- | --- | --- |")
    };
    let mut text = format!("{head}\n{rule}\n");
    for arg in args {
        let takes_value = arg.get_action().takes_values() && arg.get_long().is_some();
        let value = arg.get_value_names().and_then(|names| names.first());
        let value = match value {
            // `--flag` alone is `--flag=true`.
            Some(value) if value == "BOOL" => format!("[={value}]"),
            Some(value) if takes_value => format!(" {value}"),
            _ => String::new(),
        };
        let quoted = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
        let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let defaults: Vec<_> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        let default =
            if arg.get_action().takes_values() { quoted(&defaults.join(",")) } else { String::new() };
        let flag = quoted(&format!("{}{value}", name(arg)));
        let middle = if has_variables { format!("{} | {default}", quoted(&variable)) } else { default };
        writeln!(text, "| {flag} | {middle} | {} |", meaning(arg)).unwrap();
    }
    text
}

/// The long help where there is one, on one line.
fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help()).expect("a text").to_string();
    let text = help.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    if text.ends_with('.') { text } else { format!("{text}.") }
}
