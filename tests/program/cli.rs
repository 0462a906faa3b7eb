//! The program from outside: what it prints where, its exit codes, and variables against flags.
//!
//! Every run here ends before the exporter would start its work.

use std::net::TcpListener;
use std::process::{Command, Output};

use crate::common::readers::golden;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::{command, listener};
use crate::common::temp_dir::TempDir;

fn run(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coturn-exporter"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("COTURN_EXPORTER_") {
            command.env_remove(name);
        }
    }
    command.envs(variables.iter().copied()).args(arguments).output().unwrap()
}

/// What an error line says after the program's name, checked to be the only line, with code 2.
fn error(variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let output = run(variables, arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{arguments:?}: {text}");
    text.trim_end().strip_prefix("coturn-exporter: error: ").expect(&text).to_owned()
}

#[test]
fn help_is_an_answer_grouped_by_heading() {
    const REDIS: [&str; 2] = ["Redis:", "[env: COTURN_EXPORTER_REDIS_URL]"];
    for (arguments, headings) in [
        (
            ["--help"].as_slice(),
            ["Web:", "Redis:", "Allocations:", "Sessions:", "Metrics:", "Store:"].as_slice(),
        ),
        (&["-h"], &["Web:", "Redis:", "Allocations:", "Sessions:", "Metrics:", "Store:"]),
        (&["replay", "--help"], &["Allocations:", "Sessions:", "Metrics:"]),
        (&["record", "--help"], &REDIS),
        (&["doctor", "--help"], &REDIS),
        (&["prune", "--help"], &REDIS),
        (&["usage", "--help"], &["Store:"]),
        (&["healthcheck", "--help"], &["--url <URL>", "--ready", "[default: 3s]"]),
        (&["help"], &REDIS),
    ] {
        let output = run(&[("COTURN_EXPORTER_REDIS_URL", "redis://:geheim@h")], arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}");
        for part in headings.iter().chain(&["Log:"]) {
            assert!(text.contains(part), "{arguments:?}: no {part} in\n{text}");
        }
        assert!(!text.contains("geheim"), "{arguments:?}");
    }
    let usage = String::from_utf8(run(&[], &["usage", "--help"]).stdout).unwrap();
    assert!(!usage.contains("Redis:") && !usage.contains("Web:"), "{usage}");
}

#[test]
fn version_is_an_answer() {
    let output = run(&[], &["--version"]);
    assert!(output.status.success() && output.stderr.is_empty());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(&format!("coturn-exporter {}", env!("CARGO_PKG_VERSION"))), "{text}");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn each_kind_of_bad_argument_is_one_line() {
    for (argument, says) in [
        ("--nonsense", "unexpected argument '--nonsense'"),
        ("nonsense", "unrecognized subcommand 'nonsense'"),
        ("replay", "<FILE>"),
        ("--log.level", "a value is required for '--log.level <LEVEL>'"),
        (
            "--log.level=loud",
            "--log.level: \"loud\" is not accepted; it must be one of debug, info, warn, error",
        ),
        ("--web.listen-address=here", "--web.listen-address: \"here\" is not an address to listen on"),
        ("--web.telemetry-path=metrics", "--web.telemetry-path: \"metrics\" is not a path"),
        ("--web.max-requests=0", "--web.max-requests: \"0\" is not a whole number from 1"),
        ("--redis.url=redis+sentinel://h", "--redis.url: \"redis+sentinel://h\" names no master"),
        ("--redis.password-file=/nowhere/p", "--redis.password-file: cannot read \"/nowhere/p\""),
        (
            "--allocation.grace=90",
            "--allocation.grace: \"90\" has no unit; write 90s for seconds, or another unit: 500ms, 30m, 1h, 90d",
        ),
        (
            "--session.rest-separator=::",
            "--session.rest-separator: \"::\" is not a separator; write the one character that coturn's",
        ),
        ("--session.by=moon", "--session.by: \"moon\" is not accepted; it must be one of user, client"),
    ] {
        let error = error(&[], &[argument]);
        assert!(error.contains(says), "{argument}: {error}");
    }
}

#[test]
fn a_flag_in_the_wrong_place_is_not_taken_for_a_value() {
    let error = error(&[], &["replay", "--web.listen-address=:1", "x"]);
    assert!(
        error.contains("unexpected argument '--web.listen-address'") && !error.contains("tip"),
        "{error}"
    );
}

#[test]
fn a_bad_variable_is_named() {
    for (name, value, says) in [
        ("COTURN_EXPORTER_WEB_MAX_REQUESTS", "x", "\"x\" is not a whole number"),
        ("COTURN_EXPORTER_WEB_LISTEN_ADDRESS", ":1, x", "\"x\" is not an address to listen on"),
        ("COTURN_EXPORTER_LOG_FORMAT", "x", "\"x\" is not accepted"),
        ("COTURN_EXPORTER_SESSION_REST_SEPARATOR", "7", "\"7\" is not a separator"),
        (
            "COTURN_EXPORTER_REDIS_URL",
            "redis://a,redis://b,redis://a/0",
            "redis://a:6379/0 and redis://a:6379/0 are one Redis",
        ),
        (
            "COTURN_EXPORTER_REDIS_URL",
            "redis+sentinel://a,b/m, redis://c,redis+sentinel://a, b/m/1",
            "redis+sentinel://a:26379,b:26379/m/0 and redis+sentinel://a:26379,b:26379/m/1 are one Redis",
        ),
        ("COTURN_EXPORTER_REDIS_TLS_KEY_FILE", "k", "the key of a client certificate needs the certificate"),
        ("COTURN_EXPORTER_REDIS_TLS_CA_FILE", "ca", "no --redis.url asks for TLS"),
        ("COTURN_EXPORTER_REDIS_PASSWORD_FILE", "/nowhere/p", "cannot read \"/nowhere/p\""),
        ("COTURN_EXPORTER_METRICS_REALM", "a,_other", "\"_other\" is the label of all realms"),
    ] {
        let error = error(&[(name, value)], &[]);
        assert!(error.starts_with(&format!("environment variable {name}: {says}")), "{error}");
    }
}

#[test]
fn a_flag_beats_its_variable() {
    let bad = [("COTURN_EXPORTER_LOG_LEVEL", "loud"), ("COTURN_EXPORTER_METRICS_MAX_REALMS", "0")];
    assert!(error(&bad, &[]).starts_with("environment variable COTURN_EXPORTER_LOG_LEVEL"));
    // The level is read first: with a good one, the next bad value is told.
    assert!(
        error(&bad, &["--log.level=info"])
            .starts_with("environment variable COTURN_EXPORTER_METRICS_MAX_REALMS")
    );
    let flags = ["--log.level=info", "--metrics.max-realms=x"];
    assert!(error(&bad, &flags).starts_with("--metrics.max-realms: \"x\""));
    let realm = [("COTURN_EXPORTER_METRICS_REALM", "_other")];
    let error = error(&realm, &["--metrics.realm=a", "--metrics.realm=b", "--metrics.max-realms=1"]);
    assert!(error.starts_with("--metrics.realm: 2 realms are given"), "{error}");
}

#[test]
fn variables_reach_subcommands_and_lists_are_split_at_commas() {
    let realms = [("COTURN_EXPORTER_METRICS_REALM", "a, b,,c"), ("COTURN_EXPORTER_METRICS_MAX_REALMS", "2")];
    for arguments in [[].as_slice(), &["replay", "x"]] {
        let error = error(&realms, arguments);
        assert!(error.starts_with("environment variable COTURN_EXPORTER_METRICS_REALM: 3 realms"), "{error}");
    }
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let empty = [
        "WEB_LISTEN_ADDRESS",
        "WEB_MAX_REQUESTS",
        "LOG_LEVEL",
        "REDIS_URL",
        "REDIS_PASSWORD_FILE",
        "REDIS_SENTINEL_PASSWORD_FILE",
        "REDIS_TLS_CA_FILE",
        "REDIS_TLS_CERT_FILE",
        "REDIS_TLS_KEY_FILE",
        "SESSION_BY",
        "SESSION_REST_SEPARATOR",
    ]
    .map(|name| format!("COTURN_EXPORTER_{name}"));
    let mut variables: Vec<_> = empty.iter().map(|name| (name.as_str(), "")).collect();
    variables.push(("COTURN_EXPORTER_METRICS_MAX_SERVERS", "0"));
    let error = error(&variables, &[]);
    assert!(error.starts_with("environment variable COTURN_EXPORTER_METRICS_MAX_SERVERS"), "{error}");
}

/// Where a URL was typed in place of something else, or without its scheme, its password is nobody's business.
#[test]
fn no_message_shows_the_password_of_a_url() {
    let urls =
        ["redis://user:geheim@h.example/0", "user:geheim@h.example:6379", "redis://h.example/0#geheim"];
    let flags = [
        "--redis.url",
        "--redis.password-file",
        "--redis.sentinel-password-file",
        "--redis.tls-ca-file",
        "--statsdb.listen-address",
        "--statsdb.password-file",
        "--web.listen-address",
        "--web.telemetry-path",
        "--web.max-requests",
        "--log.level",
        "--allocation.grace",
        "--session.by",
        "--store.path",
        "--store.retention",
        "--nonsense",
    ];
    for url in urls {
        let typed = flags.iter().map(|flag| vec![format!("{flag}={url}")]);
        let others = [vec!["replay".to_owned(), url.to_owned()], vec![url.to_owned()]];
        // A URL, and the name of a file that can be made.
        let is_right = |arguments: &Vec<String>| {
            [format!("--redis.url={}", urls[0]), format!("--store.path={}", urls[1])].contains(&arguments[0])
        };
        for mut arguments in typed.chain(others).filter(|arguments| !is_right(arguments)) {
            if arguments[0].starts_with("--redis.tls") {
                arguments.push("--redis.url=rediss://127.0.0.1:1".to_owned());
            }
            if arguments[0].starts_with("--statsdb.password") {
                arguments.push("--statsdb.listen-address=127.0.0.1:0".to_owned());
            }
            if arguments[0].starts_with("--redis.sentinel") {
                arguments.push("--redis.url=redis+sentinel://127.0.0.1:1/m".to_owned());
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let output = run(&[], &arguments);
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {said}");
            assert!(!said.contains("geheim"), "{arguments:?}: {said}");
        }
    }
    // Commas separate the URLs of a variable.
    let said = error(&[("COTURN_EXPORTER_REDIS_URL", "redis://user:a,geheim@h.example/0")], &[]);
    assert!(said.contains("REDIS_URL") && !said.contains("geheim"), "{said}");
}

/// A `make demo` beside a `make run`, whichever addresses that one listens on.
#[test]
fn a_demo_whose_port_is_in_use_fails_before_it_promises_anything() {
    let dir = TempDir::new("demo-port");
    for address in ["127.0.0.1:0", "[::]:0"] {
        let Ok(taken) = TcpListener::bind(address) else { continue };
        let port = taken.local_addr().unwrap().port().to_string();
        let output = run(&[("TMPDIR", dir.path().to_str().unwrap())], &["demo", "--port", &port]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), b"".as_slice()), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("set another --port"), "{said}");
        assert!(!said.contains("--web"), "a flag that it does not have: {said}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it leaves something behind");
}

/// Whoever reads a log of somebody else's needs to know first which program wrote it.
#[test]
fn the_log_begins_with_the_version() {
    let exporter = Exporter::start(&["--statsdb.listen-address", "127.0.0.1:0"]);
    let log = exporter.log();
    let first = log.lines().next().unwrap_or_default();
    let version = concat!("version=", env!("CARGO_PKG_VERSION"));
    assert!(first.contains("coturn-exporter starts") && first.contains(version), "{log}");
}

/// On the page of a running exporter, and on that of a replay.
#[test]
fn a_disabled_family_is_on_no_page_of_the_program() {
    let disable = "--metrics.disable=coturn_session_duration_seconds,coturn_sessions_opened_total";
    let (exporter, _) = listener::listening(&["--metrics.realm=a.example", disable]);
    let pages = [exporter.text(), {
        let capture = golden::capture("basic-refresh0-4.17.1");
        command::exporter(&["replay", disable, capture.to_str().unwrap()]).stdout
    }];
    for page in pages {
        assert!(
            page.contains("coturn_sessions{")
                && page.contains("coturn_session_relay_duration_seconds_count{")
        );
        assert!(
            !page.contains("coturn_session_duration_seconds")
                && !page.contains("coturn_sessions_opened_total")
        );
    }
    let logged = exporter.until_logged(&["families are left off the page"]);
    assert!(logged.contains("coturn_session_duration_seconds,coturn_sessions_opened_total"), "{logged}");
}
