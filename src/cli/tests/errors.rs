//! What is said of a line that cannot be used: one line, which names the flag and shows no password.

use super::error;
use crate::cli::{Stop, parse};

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
    let stop = parse(["coturn-exporter", "redis://u:a geheim b@h"]).unwrap_err();
    assert!(!stop.text().contains("geheim"), "{stop:?}");
}

#[test]
fn a_failure_is_told_in_one_line() {
    let stop = Stop::failure(&std::io::Error::other("a\nb"));
    assert_eq!((stop.code(), stop.text()), (1, "coturn-exporter: error: a\\nb\n"));
}
