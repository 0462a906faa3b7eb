//! Manual pages and completions, from the definitions of the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;

/// Where the manual pages are.
pub(super) const MAN: &str = "packaging/man";

/// Where the completions are.
pub(super) const COMPLETIONS: &str = "packaging/completions";

/// A page for the program and one for each subcommand, in section 1.
pub(super) fn manual_pages(command: &Command) -> BTreeMap<PathBuf, String> {
    let mut command = command.clone();
    command.build();
    let mut pages = BTreeMap::new();
    add_page(&command, &mut pages);
    pages
}

fn add_page(command: &Command, pages: &mut BTreeMap<PathBuf, String>) {
    // `coturn-exporter-ledger-prune`
    let name = command.get_display_name().unwrap_or(command.get_name());
    let manual = clap_mangen::Man::new(command.clone())
        .manual("coturn-exporter")
        .source(format!("coturn-exporter {}", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    manual.render(&mut page).expect("written to memory");
    let page = String::from_utf8(page).expect("text");
    // Blanks at the end of a line mean nothing in roff.
    let page: String = page.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
    pages.insert(Path::new(MAN).join(format!("{name}.1")), page);
    for subcommand in command.get_subcommands() {
        add_page(subcommand, pages);
    }
}

/// A script for each shell, under the name by which the shell finds it.
pub(super) fn completions(command: &Command) -> BTreeMap<PathBuf, String> {
    let shells = [
        (Shell::Bash, "coturn-exporter"),
        (Shell::Zsh, "_coturn-exporter"),
        (Shell::Fish, "coturn-exporter.fish"),
    ];
    let scripts = shells.map(|(shell, file)| {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command.clone(), "coturn-exporter", &mut script);
        // clap_complete 4.6.12 takes the hyphen in the program's name for a step to a subcommand, in half of the places.
        let script =
            String::from_utf8(script).expect("text").replace("coturn__subcmd__exporter", "coturn__exporter");
        let script: String = script.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
        (Path::new(COMPLETIONS).join(file), script)
    });
    scripts.into()
}
