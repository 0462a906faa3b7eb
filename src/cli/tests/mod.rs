//! Tests of the command line, without a process. Variables belong to the process: they are tested in `tests/program/cli.rs`.

mod commands;
mod coturn_file;
mod errors;
mod texts;

use std::time::Duration;

use super::*;
use crate::config::{ClientCertificate, LogFormat, LogLevel, Secret, Tls, WebConfigFile};
use crate::state::SessionBy;

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
fn the_files_of_tls_go_to_the_sources_that_speak_it() {
    let config = config(
        "--redis.url=redis://a --redis.url=rediss://b --redis.tls-ca-file=ca.pem --redis.tls-cert-file=c.pem \
         --redis.tls-key-file=k.pem",
    );
    let client = ClientCertificate { cert_file: "c.pem".into(), key_file: "k.pem".into() };
    assert_eq!(config.sources[0].tls, None);
    assert_eq!(config.sources[1].tls, Some(Tls { ca_file: Some("ca.pem".into()), client: Some(client) }));
}
