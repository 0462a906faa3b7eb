//! What is written of the flags: their help, and the defaults file of the packages.

use super::config;
use crate::cli::args::Args;
use crate::cli::{command_flags, definitions};
use clap::CommandFactory as _;

/// Its help lists what it reads, and shows how it is used.
#[test]
fn the_help_of_a_subcommand_is_about_it() {
    let mut command = definitions();
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in names.iter().filter(|name| *name != "help") {
        let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
        assert!(help.contains("\nExamples:\n"), "{name}: {help}");
        assert!(help.matches(&format!("  coturn-exporter {name} ")).count() >= 2, "{name}: {help}");
        for flag in Args::command().get_arguments().filter_map(|flag| flag.get_long()) {
            let is_listed =
                help.contains(&format!("\n      --{flag} ")) || help.contains(&format!("\n      --{flag}["));
            let is_global =
                command.get_arguments().any(|arg| arg.get_long() == Some(flag) && arg.is_global_set());
            let is_read = is_global && command_flags::reads(name, flag);
            assert_eq!(is_listed, is_read || flag == "help", "{name} --{flag}: {help}");
        }
    }
    let usage = command.find_subcommand_mut("usage").unwrap().render_long_help().to_string();
    assert!(usage.contains("--store.path") && usage.contains("--log.level"), "{usage}");
    let top = command.render_long_help().to_string();
    assert!(top.contains("--web.listen-address") && top.contains("--store.retention"), "{top}");
}

/// `packaging/default/prometheus-coturn-exporter`: every flag as a comment. `NEW_DEFAULTS=1 cargo test --lib defaults_file`
/// writes it anew.
#[test]
fn the_defaults_file_of_the_packages_lists_every_flag() {
    use std::fmt::Write as _;
    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/default/prometheus-coturn-exporter");
    const HEAD: &str = "\
# Flags of prometheus-coturn-exporter. `systemctl restart prometheus-coturn-exporter` brings a change into force.
#
# As it stands, coturn on this host reports to the exporter straight away; put this line into /etc/turnserver.conf:
#     redis-statsdb=\"ip=127.0.0.1 dbname=0 port=6390 connect_timeout=30\"
# To watch a Redis that coturn reports to: ARGS=\"--redis.url=redis://127.0.0.1:6379/0\"
ARGS=\"--statsdb.listen-address=127.0.0.1:6390\"

# The store is /var/lib/prometheus-coturn-exporter. None:
#COTURN_EXPORTER_STORE_PATH=

# All flags. Each has a variable, which may be set here instead: COTURN_EXPORTER_WEB_LISTEN_ADDRESS for --web.listen-address.
";
    let command = Args::command();
    let mut text = HEAD.to_owned();
    let mut heading = None;
    for flag in command.get_arguments().filter(|flag| flag.get_help_heading().is_some()) {
        if heading != flag.get_help_heading() {
            heading = flag.get_help_heading();
            writeln!(text, "\n# {}", heading.unwrap()).unwrap();
        }
        let value = flag.get_value_names().unwrap().first().unwrap();
        let default: Vec<_> = flag.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = if default.is_empty() { String::new() } else { format!(" ({})", default.join(",")) };
        writeln!(text, "#\n#   --{}={value}{default}", flag.get_id()).unwrap();
        let mut line = String::from("#      ");
        for word in flag.get_help().unwrap().to_string().split_whitespace() {
            if line.chars().count() + word.chars().count() >= 100 {
                writeln!(text, "{line}").unwrap();
                line = String::from("#      ");
            }
            line.push(' ');
            line.push_str(word);
        }
        writeln!(text, "{line}").unwrap();
    }
    if std::env::var_os("NEW_DEFAULTS").is_some() && std::env::var_os("CI").is_none() {
        std::fs::write(PATH, &text).unwrap();
    }
    let written = std::fs::read_to_string(PATH).unwrap();
    assert_eq!(written, text, "write it anew: NEW_DEFAULTS=1 cargo test --lib defaults_file");
    // As systemd reads it, it must be flags that can be used.
    let args = written.lines().find_map(|line| line.strip_prefix("ARGS=\"")).unwrap().trim_end_matches('"');
    assert!(config(args).statsdb.is_some());
}
