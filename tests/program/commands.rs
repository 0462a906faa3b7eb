//! What the documents tell to type: each block of commands is run by a test, or says why not; each command line of the program
//! is one that it understands; each fragment of a configuration is one that its program reads.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::common::readers::{promql, promtool};
use crate::common::servers::command;
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;
use clap::ArgMatches;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use coturn_exporter::config::TurnserverConf;
use coturn_exporter::metrics::names;

/// Commands in blocks for a shell that are not the program's, by how they begin, and where they are run, or why not.
const OTHERS: &[(&str, &str)] = &[
    ("make run", "builds the program and runs until it is stopped; what it prints is of the Makefile"),
    ("make test", "it is what runs this"),
    ("apt-get install git make gcc", "needs root and a mirror; the packages are those of every Debian"),
    ("curl -s http://127.0.0.1:10641/metrics |", "run here"),
    ("curl -s 'http://127.0.0.1:10641/api", "run here"),
    ("curl -sS http://127.0.0.1:10641/-/", "run here"),
    ("curl -s -o /tmp/page", "run here"),
    ("awk '", "coturn::reconcile runs it"),
    ("docker ", "needs an engine of containers; make deploy-test runs its parts"),
    ("cd deploy/compose/secrets", "make deploy-test makes these files"),
    ("umask 0", "make deploy-test makes these files"),
    ("for name in statsdb_password", "make deploy-test makes these files"),
    ("sed \"s/password=CHANGE-ME", "make deploy-test makes these files"),
    ("sudo chown 65534 statsdb_password", "make deploy-test makes these files"),
    ("cd -", "make deploy-test makes these files"),
    ("kubectl ", "needs a cluster; make deploy-test renders the chart"),
    ("helm install", "needs a cluster; make deploy-test renders the chart"),
    ("openssl req -x509", "redis::tls runs it"),
    ("rm -rf target/by-hand", "coturn::session_by_hand runs the document"),
    ("apt-get install ./prometheus-coturn-exporter", "make first-machine types it"),
    ("echo 'redis-statsdb=", "make first-machine types it"),
    ("sed -i -e '/^rule_files:", "make first-machine types it"),
    ("promtool ", "make first-machine types it"),
    ("cd /usr/share/prometheus-coturn-exporter/dashboards", "make first-machine types it"),
    ("install -D -m 644 -t /etc/grafana", "make first-machine types it"),
    ("(set -a; . /etc/default/prometheus-coturn-exporter", "needs an installed package"),
    ("systemctl ", "needs systemd; make first-machine and make packages-test have a stand-in for it"),
    ("sed -i 's/^ARGS=", "make packages-test types it"),
    ("install -m ", "needs root; the files are those of the packages"),
    ("systemd-sysusers", "needs root; the package's script runs it"),
    ("dnf install", "needs a system with RPM"),
    ("sha256sum --check", "needs a release: make release"),
    ("tar xzf", "needs a release: make release"),
    ("cd coturn-exporter-", "needs a release: make release"),
    ("./coturn-exporter --version", "needs a release: make release"),
];

/// Blocks of YAML, by their beginning, that are no configuration of Prometheus.
const OTHER_YAML: &[(&str, &str)] = &[
    ("tls_server_config:", "the web config file: program::web_config"),
    ("statsdb:", "values of the chart: make deploy-test"),
    ("# values of", "values of charts: make deploy-test"),
];

/// A fenced or indented block.
#[derive(Debug)]
struct Block {
    document: String,
    language: String,
    text: String,
}

fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let in_docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        in_docs.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect();
    paths.extend(["README.md", "README.zh-CN.md"].map(|name| root.join(name)));
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        (name, std::fs::read_to_string(&path).unwrap())
    };
    paths.into_iter().map(read).collect()
}

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for (document, text) in documents() {
        let mut open: Option<Block> = None;
        let mut indented = String::new();
        for line in text.lines().chain([""]) {
            if let Some(language) = line.trim_start().strip_prefix("```") {
                if let Some(block) = open.take() {
                    blocks.push(block);
                } else {
                    let (document, language) = (document.clone(), language.to_owned());
                    open = Some(Block { document, language, text: String::new() });
                }
            } else if let Some(block) = &mut open {
                block.text.push_str(line);
                block.text.push('\n');
            } else if let Some(line) = line.strip_prefix("    ") {
                indented.push_str(line);
                indented.push('\n');
            } else if !indented.is_empty() {
                let (document, text) = (document.clone(), std::mem::take(&mut indented));
                blocks.push(Block { document, language: "indented".to_owned(), text });
            }
        }
        assert!(open.is_none(), "{document}: a block without an end");
    }
    blocks
}

/// Commands, each on one line.
fn commands(text: &str) -> Vec<String> {
    text.replace("\\\n", " ")
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

/// The words of a line for a shell, up to a pipe, a redirection, a job or a comment.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '|' | '>' | '&' | ';') => break,
            (None, '#') if word.is_none() => break,
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word.filter(|word| word != "2"));
    words
}

/// The program's command lines in a document: in blocks, and in quotes within the text.
fn program_lines() -> Vec<(String, String)> {
    let is_one = |line: &str| {
        let program = line.split(' ').next().unwrap_or_default();
        program == "coturn-exporter" || program.ends_with("/coturn-exporter")
    };
    let mut lines = Vec::new();
    for block in blocks() {
        for line in commands(&block.text) {
            let parts = line.split(" | ").map(str::to_owned).filter(|part| is_one(part));
            lines.extend(parts.map(|part| (block.document.clone(), part)));
        }
    }
    for (document, text) in documents() {
        let mut in_block = false;
        let prose: Vec<_> = text
            .lines()
            .filter(|line| {
                let is_fence = line.trim_start().starts_with("```");
                in_block ^= is_fence;
                !in_block && !is_fence && !line.starts_with("    ")
            })
            .collect();
        let prose = prose.join(" ");
        let quoted = prose
            .split('`')
            .skip(1)
            .step_by(2)
            .map(|quoted| quoted.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.extend(quoted.filter(|quoted| is_one(quoted)).map(|line| (document.clone(), line)));
    }
    lines
}

/// What the help of a command hides is what it refuses.
fn refused(definitions: &clap::Command, matches: &ArgMatches) -> Vec<String> {
    let typed = |id: &clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    let hidden = definitions.get_arguments().filter(|arg| arg.is_hide_set() && typed(arg.get_id()));
    let mut refused: Vec<_> = hidden.map(|arg| arg.get_id().to_string()).collect();
    if let Some((name, matches)) = matches.subcommand() {
        let subcommand = definitions.find_subcommand(name).expect("one that was found");
        refused.extend(self::refused(subcommand, matches));
    }
    refused
}

fn is_incomplete(kind: ErrorKind) -> bool {
    use ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingRequiredArgument, MissingSubcommand};
    matches!(kind, DisplayHelpOnMissingArgumentOrSubcommand | MissingRequiredArgument | MissingSubcommand)
}

#[test]
fn every_command_line_of_the_program_is_understood() {
    let definitions = coturn_exporter::cli::definitions();
    let lines = program_lines();
    assert!(lines.len() > 50, "only {} are found", lines.len());
    let mut wrong = Vec::new();
    for (document, line) in lines {
        let words = words(&line);
        match definitions.clone().try_get_matches_from(&words) {
            Ok(matches) => {
                let refused = refused(&definitions, &matches);
                if !refused.is_empty() {
                    wrong.push(format!("{document}: {line}: has no effect there: {refused:?}"));
                }
            }
            Err(error) if !error.use_stderr() => {}
            // A command that is only named, not typed.
            Err(error) if is_incomplete(error.kind()) && words.iter().all(|word| !word.starts_with('-')) => {}
            Err(error) => wrong.push(format!("{document}: {line}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Flags of all commands by their long names.
fn flags(command: &clap::Command, found: &mut BTreeSet<String>) {
    found.extend(command.get_arguments().filter_map(|arg| arg.get_long()).map(|long| format!("--{long}")));
    command.get_subcommands().for_each(|subcommand| flags(subcommand, found));
}

#[test]
fn every_flag_that_is_named_exists() {
    let mut known = BTreeSet::new();
    flags(&coturn_exporter::cli::definitions(), &mut known);
    let mut wrong = Vec::new();
    for (document, text) in documents() {
        // Ours have a dot in them, those of other programs have none.
        let candidates = text.match_indices("--").map(|(at, _)| {
            let rest = &text[at..];
            let end = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.')))
                .unwrap_or(rest.len());
            rest[..end].trim_end_matches('.')
        });
        // `--redis.tls-*` stands for several.
        let is_known = |flag: &str| {
            known.contains(flag) || (flag.ends_with('-') && known.iter().any(|known| known.starts_with(flag)))
        };
        let unknown = candidates.filter(|flag| flag.contains('.') && !is_known(flag));
        wrong.extend(unknown.map(|flag| format!("{document}: {flag}")));
    }
    assert!(wrong.is_empty(), "no such flag:\n{}", wrong.join("\n"));
}

/// Names that begin as metrics do: what docs/postgres.md makes in a database.
const OTHER_NAMES: [&str; 2] = ["coturn_exporter", "coturn_ledger"];

/// Beginnings of metrics of other exporters, in docs/migrating.md.
const FOREIGN: [&str; 7] = [
    "coturn_received_",
    "coturn_sent_",
    "coturn_active_sessions_",
    "coturn_sessions_age_",
    "coturn_sessions_transmit_",
    "coturn_sessions_receive_",
    "coturn_sessions_total_",
];

#[test]
fn every_metric_that_is_named_exists() {
    let families: Vec<_> = names::ALL.iter().map(|family| family.name).collect();
    let is_known = |name: &str| {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
        // `coturn_relayed_*` stands for several.
        let is_beginning = name.ends_with('_') && families.iter().any(|family| family.starts_with(name));
        is_beginning || [Some(name), base].into_iter().flatten().any(|name| families.contains(&name))
    };
    let mut wrong = Vec::new();
    for (document, text) in documents() {
        for (at, _) in text.match_indices("coturn_") {
            let is_within = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
            // A recorded series has its level in front.
            if text[..at].ends_with(is_within) {
                continue;
            }
            let name = text[at..].split(|c: char| !is_within(c)).next().unwrap();
            let is_foreign = document == "docs/migrating.md" && FOREIGN.iter().any(|of| name.starts_with(of));
            if !is_known(name) && !OTHER_NAMES.contains(&name) && !name.contains(':') && !is_foreign {
                wrong.push(format!("{document}: {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "no such metric:\n{}", wrong.join("\n"));
}

#[test]
fn every_block_of_commands_is_run_or_says_why_not() {
    let mut unused: BTreeSet<_> = OTHERS.iter().map(|(beginning, _)| *beginning).collect();
    let mut wrong = Vec::new();
    for block in blocks().iter().filter(|block| ["sh", "console", "bash"].contains(&block.language.as_str()))
    {
        let first = block.text.lines().next().unwrap_or_default();
        if block.document == "docs/session-by-hand.md" && !first.starts_with("rm -rf target/by-hand") {
            continue;
        }
        let covers_all =
            |beginning: &str| ["awk '", "openssl req -x509", "rm -rf target/by-hand"].contains(&beginning);
        for line in commands(&block.text) {
            let found = OTHERS.iter().find(|(beginning, _)| line.starts_with(beginning));
            if let Some((beginning, _)) = found {
                unused.remove(beginning);
                if covers_all(beginning) {
                    break;
                }
            } else if !line.starts_with("coturn-exporter ") {
                wrong.push(format!("{}: {line}", block.document));
            }
        }
    }
    assert!(wrong.is_empty(), "run by no test, and no reason in OTHERS:\n{}", wrong.join("\n"));
    assert!(unused.is_empty(), "in OTHERS and in no document: {unused:?}");
}

/// What is typed at a query field is a query of what the page has.
#[test]
fn each_query_of_the_documents_selects_a_metric() {
    let blocks = blocks();
    let queries: Vec<_> = blocks.iter().filter(|block| block.language == "promql").collect();
    assert!(queries.iter().any(|block| block.document == "README.md"), "{queries:?}");
    for block in queries {
        for part in block.text.split("\n\n") {
            // One over several lines, or one on each.
            let whole = promql::selectors(part).is_ok();
            let queries = if whole { vec![part.to_owned()] } else { commands(part) };
            for query in queries {
                let selected = promql::selectors(&query);
                let selected =
                    selected.unwrap_or_else(|error| panic!("{}: {query}: {error}", block.document));
                assert!(!selected.is_empty(), "{}: {query}", block.document);
            }
        }
    }
}

/// Whoever starts it sees where it can be scraped from.
#[test]
fn make_run_says_who_can_scrape_it_unless_a_flag_does() {
    let run = |args: &str| {
        let root = env!("CARGO_MANIFEST_DIR");
        let ended = command::shell(&format!("make --no-print-directory --dry-run -C '{root}' run {args}"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout
    };
    let says =
        |text: &str| text.contains("every address of this host") && text.contains("--web.listen-address");
    for args in ["", "ARGS='--redis.url redis://10.0.0.5/0'"] {
        assert!(says(&run(args)), "{}", run(args));
    }
    let local = run("ARGS='--web.listen-address 127.0.0.1:10641'");
    assert!(!says(&local), "{local}");
}

/// A doctor without the exporter's flags would look for a Redis.
#[test]
fn make_run_prints_doctor_with_the_flags_of_the_exporter_but_no_password() {
    let run = |args: &str| {
        let root = env!("CARGO_MANIFEST_DIR");
        command::shell(&format!("make --no-print-directory --dry-run -C '{root}' run {args}")).stdout
    };
    let plain = run("");
    let line = plain.lines().find(|line| line.contains(" doctor")).expect("a line").trim_end_matches('\'');
    let (_, typed) = line.split_once("terminal: ").expect("a command");
    let definitions = coturn_exporter::cli::definitions();
    definitions.try_get_matches_from(words(typed)).unwrap_or_else(|error| panic!("{typed}: {error}"));
    assert!(typed.contains("--statsdb.listen-address 127.0.0.1:6390 doctor"), "{typed}");
    let other = run("ARGS='--redis.url redis://exporter:secret@10.0.0.5/0'");
    let named: Vec<_> = other.lines().filter(|line| line.contains(" doctor")).collect();
    assert!(named.len() == 1 && !named[0].contains("secret"), "{other}");
}

#[test]
fn what_is_asked_by_hand_is_answered() {
    use crate::common::net::statsdb::{Allocation, Statsdb};
    use crate::common::servers::exporter::Exporter;
    let redis = Redis::start();
    let exporter = Exporter::watching_with(&redis.url(0), &["--web.enable-details"]);
    Statsdb::connect(&redis, 0).open(&Allocation::new("one.example", "alice", 1), 600);
    exporter.until_value("coturn_allocations", &[("realm", "one.example"), ("transport", "udp")], 1.0);
    let mut run = 0;
    let dir = TempDir::new("asked");
    for block in blocks().iter().filter(|block| block.language == "sh") {
        for line in commands(&block.text).iter().filter(|line| line.starts_with("curl ")) {
            if block.document == "docs/session-by-hand.md" {
                continue;
            }
            let page = dir.path().join("page").display().to_string();
            let line =
                line.replace("127.0.0.1:10641", &exporter.address.to_string()).replace("/tmp/page", &page);
            let ended = command::shell(&line);
            assert_eq!(ended.code, Some(0), "{}: {line}: {ended:?}", block.document);
            assert!(!ended.stdout.is_empty() && !ended.stdout.contains("404"), "{line}: {ended:?}");
            run += 1;
        }
    }
    assert!(run >= 5, "only {run} were found");
}

/// Each `redis-statsdb` of the documents, in blocks and in quotes.
fn statsdb_lines() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (document, text) in documents() {
        for rest in text.split("redis-statsdb=\"").skip(1) {
            let inside = rest.split('"').next().unwrap();
            found.push((document.clone(), format!("redis-statsdb=\"{inside}\"")));
        }
    }
    found
}

#[test]
fn every_line_for_coturn_leads_somewhere() {
    let lines = statsdb_lines();
    assert!(lines.len() > 8, "{lines:?}");
    for (document, line) in lines.iter().filter(|(_, line)| !line.contains("...")) {
        let conf = TurnserverConf::parse(line);
        let source = conf.source().unwrap_or_else(|why| panic!("{document}: {line}: {why}"));
        let url = source.unwrap_or_else(|| panic!("{document}: {line} is none")).to_string();
        let (_, rest) = line.split_once("port=").unwrap_or_else(|| panic!("{document}: {line} has no port"));
        let port = rest.split([' ', '"']).next().unwrap();
        // coturn takes what is no number for 0.
        assert!(url.ends_with(&format!(":{port}/0")), "{document}: {line} is {url}");
        assert!(line.contains("connect_timeout=30"), "{document}: {line} lacks what doctor asks for");
    }
}

#[test]
fn prometheus_reads_every_configuration() {
    let dir = TempDir::new("documented-prometheus");
    let mut checked = 0;
    for block in blocks().iter().filter(|block| block.language == "yaml") {
        if OTHER_YAML.iter().any(|(beginning, _)| block.text.starts_with(beginning)) {
            continue;
        }
        // Only the form is looked at: the files that are named are on another machine.
        let file = dir.write("prometheus.yaml", &block.text);
        let (content, said) =
            promtool::run(&["check", "config", "--syntax-only", &file.display().to_string()]);
        assert!(content, "{}: {said}\n{}", block.document, block.text);
        checked += 1;
    }
    assert!(checked >= 3, "only {checked} were found");
}

#[test]
fn redis_starts_with_every_setting() {
    let settings: String = blocks()
        .into_iter()
        .filter(|block| block.document == "docs/redis.md" && block.language.is_empty())
        .map(|block| block.text)
        .collect();
    assert!(settings.contains("tcp-keepalive") && settings.contains("user exporter"), "{settings}");
    let dir = TempDir::new("documented-redis");
    let file = dir.write("documented.conf", &settings);
    let redis = Redis::start_with_settings(&[("include", &file.display().to_string())]);
    for (user, asks) in [("exporter", "PING"), ("forwarder", "PUBLISH turn/x y")] {
        let cli = format!("redis-cli -p {} --no-auth-warning --user {user} --pass PASSWORD", redis.port());
        let ended = command::shell(&format!("{cli} {asks}"));
        assert!(["PONG", "0"].contains(&ended.stdout.trim()), "{user}: {ended:?}");
    }
}
