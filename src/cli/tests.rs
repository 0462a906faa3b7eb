//! Tests of the command line, without a process. Variables belong to the process: they are tested in `tests/program/cli.rs`.

use super::*;
use crate::clock::Timestamp;
use crate::config::{
    ClientCertificate, Command, LedgerPlace, LogFormat, LogLevel, PostgresSettings, ReportForm, Secret, Tls,
    UsageColumns, UsageFormat, UsageQuery, UsageTime, WebConfigFile,
};
use crate::state::SessionBy;
use crate::store::ledger::By;
use std::time::Duration;

fn run(line: &str) -> Result<Config, Stop> {
    parse(std::iter::once("coturn-exporter").chain(line.split_whitespace()))
}

fn config(line: &str) -> Config {
    run(line).unwrap_or_else(|stop| panic!("{line}: {}", stop.text()))
}

fn error(line: &str) -> String {
    let stop = run(line).expect_err(line);
    assert_eq!(stop.code(), 2, "{line}");
    assert_eq!(stop.text().lines().count(), 1, "{line}: {}", stop.text());
    let text = stop.text().strip_prefix("coturn-exporter: error: ").expect(line);
    text.trim_end_matches('\n').to_owned()
}

#[test]
fn a_usage_error_names_the_help_of_the_subcommand() {
    for (line, help) in [
        ("--nonsense", "coturn-exporter"),
        ("nonsense", "coturn-exporter"),
        ("--log.level", "coturn-exporter"),
        ("replay", "coturn-exporter replay"),
        ("replay --nonsense x", "coturn-exporter replay"),
        ("replay --until", "coturn-exporter replay"),
        ("--log.level info replay", "coturn-exporter replay"),
        ("--redis.url record doctor --nonsense", "coturn-exporter doctor"),
        ("usage --until replay --nonsense", "coturn-exporter usage"),
        ("ledger", "coturn-exporter ledger"),
        ("ledger prune --nonsense", "coturn-exporter ledger prune"),
    ] {
        let said = error(line);
        assert!(said.ends_with(&format!(" (see {help} --help)")), "{line}: {said}");
        let mut words = help.split(' ').map(str::to_owned).collect::<Vec<_>>();
        words.push("--help".to_owned());
        assert_eq!(parse(words).unwrap_err().code(), 0, "{help}");
    }
}

#[test]
fn the_definitions_are_sound_and_variables_follow_from_flags() {
    let command = Args::command();
    command.clone().debug_assert();
    let flags = command.get_arguments().filter(|flag| !matches!(flag.get_id().as_str(), "help" | "version"));
    let mut count = 0;
    for flag in flags {
        let name = flag.get_long().unwrap();
        assert_eq!(flag.get_id(), name);
        let variable = format!("COTURN_EXPORTER_{}", name.to_uppercase().replace(['.', '-'], "_"));
        assert_eq!(flag.get_env().and_then(|name| name.to_str()), Some(variable.as_str()));
        assert!(flag.get_help_heading().is_some(), "{name}");
        count += 1;
    }
    assert_eq!(count, 52);
}

#[test]
fn without_arguments_the_defaults_of_the_types_hold() {
    let expected = Config { sources: vec!["redis://127.0.0.1:6379/0".parse().unwrap()], ..Config::default() };
    assert_eq!(config(""), expected);
}

#[test]
fn the_flags_of_the_listener_find_their_place() {
    let config = config(
        "--statsdb.listen-address=0.0.0.0:1 --statsdb.open --statsdb.max-connections=2 --statsdb.tls-cert-file=c \
         --statsdb.tls-key-file=k --statsdb.forward-url=redis://h/3",
    );
    let statsdb = config.statsdb.unwrap();
    assert_eq!(statsdb.name, "statsdb://0.0.0.0:1");
    assert_eq!(statsdb.max_connections, 2);
    assert_eq!(statsdb.tls.unwrap().key_file.to_str(), Some("k"));
    assert_eq!(statsdb.forward.unwrap().name, "redis://h:6379/3");
    // No Redis was asked for.
    assert_eq!(config.sources, []);
}

#[test]
fn a_redis_beside_the_listener_must_be_asked_for_and_be_another_than_the_one_forwarded_to() {
    let listen = "--statsdb.listen-address=localhost:1";
    assert_eq!(config(&format!("{listen} --redis.url=redis://a --redis.url=redis://b")).sources.len(), 2);
    let refused = error(&format!("{listen} --redis.url=redis://a/1 --statsdb.forward-url=redis://a/2"));
    assert!(refused.contains("--statsdb.forward-url") && refused.contains("are one Redis"), "{refused}");
}

#[test]
fn every_flag_finds_its_place() {
    let config = config(
        "--web.listen-address=:1 --web.listen-address [::1]:2 --web.telemetry-path=/m --web.max-requests=3 \
         --web.max-connections=4 --web.openmetrics-created --web.enable-details --web.details-host=A.b --web.details-host=c --log.level=debug --log.format=json --redis.url=redis://:p@a --redis.url=unix:///s \
         --allocation.max-lifetime=5s --allocation.idle-after=6m --allocation.grace=7s --allocation.max-count=8 \
         --session.by=client --session.linger=9s --session.relayed-packets=0 --session.rest-separator - --metrics.max-realms=11 \
         --metrics.max-servers=12 --metrics.realm=a,b --metrics.realm=c \
         --metrics.disable=coturn_sessions,coturn_allocation_duration_seconds --metrics.disable=coturn_sessions --store.path=s.db --store.retention=13d",
    );
    let store = config.store.unwrap();
    assert_eq!((store.path, store.retention), ("s.db".into(), Duration::from_secs(13 * 86_400)));
    assert_eq!(config.web.listen.iter().map(ToString::to_string).collect::<Vec<_>>(), [":1", "[::1]:2"]);
    assert_eq!(
        (config.web.telemetry_path.as_str(), config.web.max_requests, config.web.max_connections),
        ("/m", 3, 4)
    );
    assert!(config.web.enable_details && config.web.openmetrics_created && config.table.are_rates_kept);
    assert_eq!(config.web.details_hosts, ["a.b", "c"]);
    assert_eq!((config.log.level, config.log.format), (LogLevel::Debug, LogFormat::Json));
    assert_eq!(config.sources[0].password, Some(Secret::new("p").into()));
    assert_eq!(config.sources[1].name, "unix:///s");
    let disabled = ["coturn_allocation_duration_seconds", "coturn_sessions"];
    assert_eq!(config.disabled_families.names(), disabled, "each once");
    let table = config.table;
    assert_eq!(table.max_lifetime, Duration::from_secs(5));
    assert_eq!(table.idle_after, Duration::from_secs(360));
    assert_eq!((table.grace, table.linger), (Duration::from_secs(7), Duration::from_secs(9)));
    assert_eq!((table.max_allocations, table.relayed_packets), (8, 0));
    assert_eq!((table.session_by, table.max_realms, table.max_servers), (SessionBy::Client, 11, 12));
    assert_eq!(table.realms, [b"a,b".as_slice(), b"c"]);
    assert_eq!(table.rest_separator, b'-');
}

#[test]
fn the_web_config_file_and_the_sockets_of_systemd() {
    let file = |open_health_paths| Some(WebConfigFile { path: "w.yml".into(), open_health_paths });
    assert_eq!(config("--web.config.file=w.yml").web.config_file, file(false));
    assert_eq!(config("--web.config.file=w.yml --web.open-health-paths").web.config_file, file(true));
    let web = config("--web.systemd-socket").web;
    assert!(web.systemd_socket && web.listen.is_empty());
    for (line, says) in [
        (
            "--web.systemd-socket --web.listen-address=:1",
            "--web.listen-address: --web.systemd-socket takes the sockets",
        ),
        ("--web.open-health-paths", "--web.open-health-paths: without --web.config.file there are no logins"),
        ("--web.systemd-socket=maybe", "--web.systemd-socket: \"maybe\" is not accepted"),
    ] {
        assert!(error(line).starts_with(says), "{line}: {}", error(line));
    }
}

#[test]
fn usage_asks_the_ledger() {
    let asked =
        config("usage --store.path=s.db --by realm,user --since 2d --until 1970-01-01T00:00:01Z --top 5");
    let expected = UsageQuery {
        place: LedgerPlace::Store("s.db".into()),
        by: vec![By::Realm, By::User],
        since: Some(UsageTime::Ago(Duration::from_secs(2 * 86_400))),
        until: Some(UsageTime::At(Timestamp::from_millis(1000))),
        top: Some(5),
        columns: UsageColumns::Usual,
        format: UsageFormat::Table,
    };
    assert_eq!(asked.command, Command::Usage(expected));
    assert_eq!(
        error("usage"),
        "--store.path: it is not given; usage reads the ledger of a store: give the directory of the store, or say with \
         --from which store or database to read"
    );
    for (line, beginning) in [
        ("usage --store.path=s --by=peer", "--by: \"peer\" is not accepted"),
        ("usage --store.path=s --since=x", "--since: \"x\" is not a moment"),
        ("usage --store.path=s --until=x", "--until: \"x\" is not a moment"),
        ("usage --store.path=s --top=0", "--top: \"0\" is not a whole number"),
        (
            "usage --store.path=s --columns=sessions,x",
            "--columns: \"x\" is not a column; the columns are sessions, ",
        ),
        ("usage --store.path=s --format=xml", "--format: \"xml\" is not accepted"),
        ("usage --store.path=s --redis.url=redis://a", "--redis.url has no effect on usage"),
        ("--ledger.postgres-url=postgres://a usage --from=s", "--ledger.postgres-url has no effect on usage"),
        ("ledger prune --from=s --keep=1d", "--from: it names no database"),
        ("ledger prune --from=postgres://a --keep=0s", "--keep: "),
        ("ledger schema --store.path=s", "--store.path has no effect on ledger"),
    ] {
        assert!(error(line).starts_with(beginning), "{line}: {}", error(line));
    }
}

#[test]
fn the_files_of_tls_go_to_the_sources_that_speak_it() {
    let config = config(
        "--redis.url=redis://a --redis.url=rediss://b --redis.tls-ca-file=ca.pem --redis.tls-cert-file=c.pem \
         --redis.tls-key-file=k.pem",
    );
    let client = ClientCertificate { cert_file: "c.pem".into(), key_file: "k.pem".into() };
    assert_eq!(config.sources[0].tls, None);
    assert_eq!(config.sources[1].tls, Some(Tls { ca_file: Some("ca.pem".into()), client: Some(client) }));
}

#[test]
fn flags_may_stand_before_and_after_a_subcommand() {
    for line in [
        "--metrics.max-realms=7 --log.level=warn --metrics.realm=x replay a b --until 12.5",
        "replay --metrics.max-realms 7 a --until=12.5 b --log.level=warn --metrics.realm=x",
        "--metrics.max-realms 7 replay --metrics.realm x --until=12.5 a b --log.level warn",
    ] {
        let config = config(line);
        let until = Some(Timestamp::from_millis(12_500));
        assert_eq!(config.command, Command::Replay { files: vec!["a".into(), "b".into()], until }, "{line}");
        assert_eq!((config.table.max_realms, config.log.level), (7, LogLevel::Warn), "{line}");
        assert_eq!(config.table.realms, [b"x"], "{line}");
        assert!(config.sources.is_empty(), "{line}");
    }
}

#[test]
fn record_watches_one_redis() {
    let recording = config("record --redis.url redis://h --output a.jsonl --duration 1m");
    let duration = Some(Duration::from_secs(60));
    assert_eq!(recording.command, Command::Record { output: Some("a.jsonl".into()), duration });
    assert_eq!(recording.sources[0].name, "redis://h:6379/0");
    assert_eq!(config("record").command, Command::Record { output: None, duration: None });
    assert_eq!(config("record --output -").command, Command::Record { output: None, duration: None });
    assert!(
        error("record --redis.url redis://a --redis.url redis://b")
            .contains("--redis.url: record watches one")
    );
}

#[test]
fn doctor_and_prune_take_the_redis_and_the_longest_lifetime() {
    for (line, report) in [
        ("doctor", ReportForm::Short),
        ("doctor --verbose", ReportForm::Verbose),
        ("doctor --json", ReportForm::Json),
    ] {
        assert_eq!(config(line).command, Command::Doctor { report }, "{line}");
    }
    // It listens nowhere itself, so it needs neither a password nor --statsdb.open; and no Redis was named.
    let listener = config("doctor --statsdb.listen-address=:6390");
    assert_eq!(listener.statsdb.map(|statsdb| statsdb.name), Some("statsdb://:6390".to_owned()));
    assert!(listener.sources.is_empty());
    let both = config("doctor --statsdb.listen-address=:6390 --redis.url=redis://h");
    assert_eq!((both.statsdb.is_some(), both.sources.len()), (true, 1));
    assert_eq!(config("prune").command, Command::Prune { apply: false });
    let pruning =
        config("prune --apply --redis.url redis://h/2 --allocation.max-lifetime 2h --allocation.grace=0s");
    assert_eq!(pruning.command, Command::Prune { apply: true });
    assert_eq!(pruning.sources[0].name, "redis://h:6379/2");
    assert_eq!(
        (pruning.table.max_lifetime, pruning.table.grace),
        (Duration::from_secs(7200), Duration::ZERO)
    );
    assert!(
        error("doctor --allocation.grace=90")
            .starts_with("--allocation.grace: \"90\" has no unit; write 90s")
    );
    assert!(error("doctor x").starts_with("unexpected argument 'x'"));
    // In front of it, all flags of an exporter.
    let asked = config(
        "--statsdb.listen-address=:6390 --store.path=s --web.max-requests=1 --session.linger=1s doctor",
    );
    assert_eq!(asked.sources, listener.sources);
}

#[test]
fn flags_that_would_do_nothing_are_refused() {
    for (line, flag, command) in [
        ("prune --statsdb.listen-address=:1", "statsdb.listen-address", "prune"),
        ("prune --allocation.idle-after=1m", "allocation.idle-after", "prune"),
        ("prune --metrics.realm=x", "metrics.realm", "prune"),
    ] {
        assert_eq!(error(line), format!("--{flag} has no effect on {command}; leave it out"));
    }
    assert_eq!(
        error("--web.max-requests=1 replay a"),
        "--web.max-requests has no effect on replay; leave it out"
    );
    assert_eq!(error("replay a --redis.url=redis://h"), "--redis.url has no effect on replay; leave it out");
    assert_eq!(error("record --session.by user"), "--session.by has no effect on record; leave it out");
}

#[test]
fn a_bad_value_is_named_with_its_flag_and_what_is_accepted() {
    for (line, says) in [
        ("--web.listen-address=10641", "--web.listen-address: \"10641\" is not an address"),
        ("--web.listen-address=:1 --web.listen-address=:1", "--web.listen-address: \":1\" is given twice"),
        ("--web.telemetry-path=/-/x", "--web.telemetry-path: \"/-/x\" is not a path"),
        ("--web.max-requests=0", "--web.max-requests: \"0\" is not a whole number from 1 to"),
        ("--web.max-connections=many", "--web.max-connections: \"many\" is not a whole number"),
        (
            "--log.level=trace",
            "--log.level: \"trace\" is not accepted; it must be one of debug, info, warn, error",
        ),
        ("--log.format=xml", "--log.format: \"xml\" is not accepted; it must be one of logfmt, json"),
        ("--redis.url=localhost", "--redis.url: \"localhost\" is not a Redis URL; write redis://"),
        (
            "--redis.url=rediss://h --redis.tls-ca-file=ca --redis.tls-cert-file=c",
            "--redis.tls-cert-file: a client certificate needs its key; give --redis.tls-key-file too",
        ),
        (
            "--redis.url=rediss://h --redis.tls-key-file=k",
            "--redis.tls-key-file: the key of a client certificate needs the certificate",
        ),
        ("--redis.tls-ca-file=ca", "--redis.tls-ca-file: no --redis.url asks for TLS; write rediss://"),
        ("--redis.url=redis+sentinel://h", "--redis.url: \"redis+sentinel://h\" names no master by"),
        (
            "--redis.sentinel-password-file=/nowhere/p",
            "--redis.sentinel-password-file: cannot read \"/nowhere/p\": No such file",
        ),
        (
            "--redis.url=redis://h --redis.url=redis://u@h/0",
            "--redis.url: redis://h:6379/0 and redis://h:6379/0 are one Redis",
        ),
        (
            "--redis.password-file=/nowhere/p",
            "--redis.password-file: cannot read \"/nowhere/p\": No such file",
        ),
        (
            "--allocation.max-lifetime=3600",
            "--allocation.max-lifetime: \"3600\" has no unit; write 3600s for seconds, or another unit",
        ),
        (
            "--statsdb.listen-address=6390",
            "--statsdb.listen-address: \"6390\" is not an address to listen on; write [host]:port, for example \
             127.0.0.1:6390,",
        ),
        (
            "--statsdb.open",
            "--statsdb.open: without --statsdb.listen-address it has no effect; give that flag too, or leave",
        ),
        ("--allocation.idle-after=0s", "--allocation.idle-after: \"0s\" is too short"),
        ("--allocation.grace=x", "--allocation.grace: \"x\" is not a duration"),
        ("--allocation.max-count=0", "--allocation.max-count: \"0\" is not a whole number"),
        ("--session.by=ip", "--session.by: \"ip\" is not accepted; it must be one of user, client"),
        ("--session.linger=1", "--session.linger: \"1\" has no unit; write 1s"),
        ("--session.relayed-packets=-1", "--session.relayed-packets: \"-1\" is not a whole number from 0 to"),
        ("--metrics.max-realms=0", "--metrics.max-realms: \"0\" is not a whole number from 1"),
        ("--metrics.max-servers=0", "--metrics.max-servers: \"0\" is not a whole number from 1"),
        (
            "--metrics.max-realms=1 --metrics.realm=a --metrics.realm=b",
            "--metrics.realm: 2 realms are given, but",
        ),
        ("--metrics.realm=_other", "--metrics.realm: \"_other\" is the label of all realms beyond"),
        (
            "--metrics.disable=coturn_sessions,coturn_alocation_duration",
            "--metrics.disable: there is no metric \"coturn_alocation_duration\"; similar names are \
             coturn_allocation_duration_seconds, coturn_",
        ),
        ("--metrics.disable=coturn_sessions,", "--metrics.disable: there is no metric \"\""),
        (
            "--metrics.disable=coturn_exporter_source_up",
            "--metrics.disable: \"coturn_exporter_source_up\" cannot be disabled: it is one series for each source",
        ),
        ("replay a --until=soon", "--until: \"soon\" is not a time in a capture"),
        ("record --duration=0s", "--duration: \"0s\" is too short"),
        (
            "--log.levle=info",
            "unexpected argument '--log.levle' found; tip: a similar argument exists: '--log.level'",
        ),
        ("replya", "unrecognized subcommand 'replya'"),
        ("replay", "the following required arguments were not provided: <FILE>..."),
        ("--log.level", "a value is required for '--log.level <LEVEL>'"),
        (
            "--log.level=info --log.level=info",
            "the argument '--log.level <LEVEL>' cannot be used multiple times",
        ),
    ] {
        let error = error(line);
        assert!(error.starts_with(says), "{line}: {error}");
    }
}

#[test]
fn an_error_stays_one_harmless_line_and_shows_no_password() {
    for argument in [
        "a\nb\u{1b}[2J",
        "--log.level=a\nb\u{1b}[2J",
        "--x\ny",
        "--redis.url=a\nb://",
        "--web.telemetry-path=\r",
    ] {
        let stop = parse(["coturn-exporter", argument]).unwrap_err();
        let line = stop.text().strip_suffix('\n').unwrap();
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    for line in
        ["redis://user:geheim@h", "--redis.url=redis://user:geheim@h:x", "--url=redis://user:geheim@h"]
    {
        let error = error(line);
        assert!(!error.contains("geheim"), "{error}");
    }
}

#[test]
fn a_failure_is_told_in_one_line() {
    let stop = Stop::failure(&std::io::Error::other("a\nb"));
    assert_eq!((stop.code(), stop.text()), (1, "coturn-exporter: error: a\\nb\n"));
}

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

#[test]
fn a_ledger_may_be_in_a_database() {
    let place = |line: &str| match config(line).command {
        Command::Usage(query) => query.place,
        other => panic!("{other:?}"),
    };
    assert_eq!(place("usage --from /s"), LedgerPlace::Store("/s".into()));
    let database = PostgresSettings { url: Secret::new("postgres://a@b/c"), password: None };
    assert_eq!(
        place("usage --from postgres://a@b/c --store.path=s"),
        LedgerPlace::Postgres(database.clone())
    );
    assert_eq!(config("ledger schema").command, Command::LedgerSchema);
    let keep = Duration::from_secs(400 * 86_400);
    let prune = |apply| Command::LedgerPrune { database: database.clone(), keep, apply };
    assert_eq!(config("ledger prune --from postgres://a@b/c --keep 400d").command, prune(false));
    assert_eq!(config("ledger prune --from postgres://a@b/c --keep 400d --apply").command, prune(true));
}

/// A file of coturn's for one test.
struct CoturnFileOnDisk(std::path::PathBuf);

impl CoturnFileOnDisk {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coturn-exporter-{}-{name}.conf", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn config(&self, line: &str) -> Config {
        config(&format!("{line} --coturn.config-file={}", self.0.display()))
    }
}

impl Drop for CoturnFileOnDisk {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn the_file_of_coturn_gives_what_no_flag_does() {
    let file = CoturnFileOnDisk::new(
        "gives",
        "redis-statsdb=\"ip=10.0.0.9 dbname=4 password=x\"\nmax-allocate-lifetime=7200\nrealm=r.example\nrest-api-separator=|\n",
    );
    let alone = file.config("");
    assert_eq!(alone.sources[0].name, "redis://10.0.0.9:6379/4");
    assert_eq!(alone.table.max_lifetime, Duration::from_secs(7200));
    assert_eq!((alone.table.rest_separator, alone.table.realms), (b'|', vec![b"r.example".to_vec()]));
    let all = ["redis.url", "allocation.max-lifetime", "session.rest-separator", "metrics.realm"];
    assert_eq!(alone.coturn.unwrap().used_for, all);

    let given = file.config(
        "--redis.url=redis://h --allocation.max-lifetime=1h --session.rest-separator=: --metrics.realm=other",
    );
    assert_eq!(given.sources[0].name, "redis://h:6379/0");
    assert_eq!(given.table.max_lifetime, Duration::from_secs(3600));
    assert_eq!((given.table.rest_separator, given.table.realms), (b':', vec![b"other".to_vec()]));
    assert!(given.coturn.unwrap().used_for.is_empty());

    let listener = file.config("--statsdb.listen-address=127.0.0.1:6390");
    assert!(listener.sources.is_empty() && listener.statsdb.is_some());
    assert_eq!(file.config("prune").sources[0].db, 4);
    assert_eq!(file.config("replay a").table.max_lifetime, Duration::from_secs(7200));
}

#[test]
fn a_file_of_coturn_that_cannot_be_used_is_an_error_but_not_for_the_doctor() {
    let file = CoturnFileOnDisk::new("broken", "redis-statsdb=\"ip=a password=two words\"\n");
    let flag = format!("--coturn.config-file={}", file.0.display());
    let said = error(&flag);
    assert!(said.starts_with("--coturn.config-file: redis-statsdb in this file cannot be used"), "{said}");
    assert!(said.contains("blank") && !said.contains("two"), "{said}");
    assert!(file.config("doctor").sources.is_empty());
    assert_eq!(file.config("--redis.url=redis://h").sources.len(), 1, "the flag is in its place");
    let missing = error("--coturn.config-file=/nowhere/t");
    assert!(
        missing.starts_with("--coturn.config-file: cannot read \"/nowhere/t\": No such file"),
        "{missing}"
    );
    assert!(error("demo --coturn.config-file=t").contains("no effect on demo"));
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
