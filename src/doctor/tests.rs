//! Tests of the judging: what is seen of a Redis on one side, what is said about it on the other.

use std::time::Duration;

use super::facts::{
    Clients, ConfigValues, Db, Facts, Look, Rights, Role, Seen, Subject, Unreachable, Version,
};
use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn subject() -> Subject {
    Subject {
        name: "redis://h:6379/0".to_owned(),
        redis_cli: "redis-cli -h h -p 6379".to_owned(),
        db: 0,
        user: None,
        stale_after: HOUR,
    }
}

/// A Redis that leaves nothing to say.
fn well() -> Seen {
    let allowed = || Look::Seen(());
    Seen {
        user: Look::Seen("watcher".to_owned()),
        version: Look::Seen(Version { major: 7, minor: 4, patch: 0 }),
        no_touch: Look::Seen(true),
        role: Look::Seen(Role::Master),
        settings: Look::Seen(values(&[
            ("timeout", "0"),
            ("tcp-keepalive", "60"),
            ("client-output-buffer-limit", "normal 0 0 0 slave 1 2 3 pubsub 33554432 8388608 60"),
            ("maxmemory-policy", "noeviction"),
            ("maxmemory", "0"),
        ])),
        rights: Rights { subscribe: allowed(), scan: allowed(), get: allowed(), idle_time: allowed() },
        excess: Look::Seen(Vec::new()),
        clients: Look::Seen(Clients { subscribers: 1, publishers: 1, others: 4 }),
        patterns: Look::Seen(1),
        dbs: vec![db(0, &[Some(5)])],
        other_dbs: Look::Seen(()),
    }
}

fn values(pairs: &[(&str, &str)]) -> ConfigValues {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn db(number: u32, idle: &[Option<u64>]) -> Db {
    let idle = idle.iter().map(|idle| idle.map(Duration::from_secs)).collect();
    Db { number, idle, complete: true }
}

fn judged(change: impl FnOnce(&mut Seen)) -> Vec<Finding> {
    let mut seen = well();
    change(&mut seen);
    judge(&Facts { subject: subject(), seen: Ok(seen) })
}

/// The findings of one id, in short: severity and message, then what mends it.
#[track_caller]
fn about(id: &str, findings: &[Finding]) -> (Severity, String, String) {
    let found: Vec<_> = findings.iter().filter(|finding| finding.id == id).collect();
    assert_eq!(found.len(), 1, "{id} in {findings:#?}");
    (found[0].severity, found[0].message.clone(), found[0].mend.clone().unwrap_or_default())
}

/// What is not `ok`.
fn remarks(findings: &[Finding]) -> Vec<(&str, Severity)> {
    let remarks = findings.iter().filter(|finding| finding.severity != Severity::Ok);
    remarks.map(|finding| (finding.id, finding.severity)).collect()
}

#[test]
fn a_redis_that_is_well_leaves_nothing_to_say() {
    let findings = judged(|_| {});
    assert_eq!(remarks(&findings), []);
    assert!(findings.iter().all(|finding| finding.why.is_none() && finding.mend.is_none()), "{findings:#?}");
}

#[test]
fn what_is_amiss_says_why_and_a_fault_says_what_mends_it() {
    let findings = judged(|seen| {
        seen.settings = Look::Seen(values(&[("timeout", "60"), ("tcp-keepalive", "0")]));
        seen.role = Look::Seen(Role::Replica { connected: false });
        seen.dbs = vec![db(3, &[Some(1)])];
        seen.rights.get = Look::Forbidden;
    });
    for finding in findings.iter().filter(|finding| finding.severity == Severity::Fault) {
        assert!(finding.why.is_some() && finding.mend.is_some(), "{finding:#?}");
    }
    assert_eq!(remarks(&findings).len(), 5, "{findings:#?}");
}

#[test]
fn settings_are_judged_by_their_values() {
    use Severity::{Advice, Fault, Info, Ok};
    let buffers = "client-output-buffer-limit";
    let mended = "'pubsub 33554432 8388608 60'";
    for (name, value, severity, mend) in [
        ("timeout", "0", Ok, ""),
        ("timeout", "1", Fault, "timeout 0"),
        ("tcp-keepalive", "0", Fault, "tcp-keepalive 60"),
        ("tcp-keepalive", "1", Ok, ""),
        ("tcp-keepalive", "60", Ok, ""),
        ("tcp-keepalive", "300", Info, "tcp-keepalive 60"),
        ("tcp-keepalive", "7200", Advice, "tcp-keepalive 60"),
        (buffers, "normal 0 0 0 pubsub 33554432 8388608 60", Ok, ""),
        (buffers, "pubsub 67108864 16777216 120 normal 1 1 1", Ok, ""),
        (buffers, "pubsub 33554431 8388608 60", Fault, mended),
        (buffers, "pubsub 33554432 8388607 60", Fault, mended),
        (buffers, "pubsub 33554432 8388608 59", Fault, mended),
        (buffers, "pubsub 33554432 0 0", Ok, ""),
        (buffers, "pubsub 33554432 33554432 1", Ok, ""),
        (buffers, "pubsub 0 0 0", Info, ""),
        (buffers, "pubsub 0 1048576 60", Fault, mended),
        ("maxmemory-policy", "noeviction", Ok, ""),
        ("maxmemory-policy", "volatile-lru", Ok, ""),
        ("maxmemory-policy", "allkeys-lru", Fault, "volatile-lru"),
        ("maxmemory-policy", "allkeys-random", Fault, "volatile-random"),
        ("maxmemory-policy", "volatile-lfu", Fault, "volatile-lru"),
    ] {
        let findings = judged(|seen| seen.settings = Look::Seen(values(&[(name, value)])));
        let (found, message, command) = about(name, &findings);
        assert_eq!(found, severity, "{name} {value}: {message}");
        let expected = if mend.is_empty() {
            String::new()
        } else {
            let words = mend.strip_prefix(name).unwrap_or(mend).trim_start();
            format!("redis-cli -h h -p 6379 CONFIG SET {name} {words}")
        };
        assert_eq!(command, expected, "{name} {value}");
    }
}

#[test]
fn evicting_matters_where_memory_is_limited() {
    for (limit, severity) in [("0", Severity::Info), ("1000", Severity::Fault)] {
        let pairs = [("maxmemory-policy", "allkeys-lru"), ("maxmemory", limit)];
        let findings = judged(|seen| seen.settings = Look::Seen(values(&pairs)));
        assert_eq!(about("maxmemory-policy", &findings).0, severity);
    }
}

#[test]
fn a_setting_alone_is_good_bad_or_unknown() {
    let values = values(&[("timeout", "5"), ("tcp-keepalive", "300"), ("client-output-buffer-limit", "odd")]);
    let ok = SETTINGS.map(|setting| (setting.as_str(), setting_ok(setting, &values)));
    let expected = [
        ("timeout", Some(false)),
        ("tcp-keepalive", Some(true)),
        ("client-output-buffer-limit", None),
        ("dbname", None),
    ];
    assert_eq!(ok, expected);
}

#[test]
fn keys_of_live_allocations_in_another_db_are_a_fault() {
    const STALE: u64 = 3601;
    let rows = [
        (vec![db(0, &[Some(1)])], Severity::Ok, Some(true)),
        (vec![db(0, &[])], Severity::Info, None),
        (vec![db(0, &[]), db(3, &[Some(1)])], Severity::Fault, Some(false)),
        (vec![db(0, &[]), db(3, &[None])], Severity::Fault, Some(false)),
        (vec![db(0, &[Some(1)]), db(3, &[Some(STALE), Some(2)])], Severity::Fault, Some(false)),
        (vec![db(0, &[Some(1)]), db(3, &[Some(STALE)])], Severity::Ok, Some(true)),
    ];
    for (dbs, severity, ok) in rows {
        assert_eq!(dbname_ok(0, &dbs, HOUR), ok, "{dbs:?}");
        let findings = judged(|seen| seen.dbs = dbs);
        let (found, message, mend) = about("dbname", &findings);
        assert_eq!(found, severity, "{message}");
        if found == Severity::Fault {
            assert!(message.contains("db 3") && mend.contains("redis://h:6379/3"), "{message}: {mend}");
        }
    }
    let findings = judged(|seen| seen.dbs = vec![db(0, &[]), db(3, &[Some(STALE)])]);
    let (severity, _, mend) = about("stale-keys-elsewhere", &findings);
    assert_eq!(severity, Severity::Advice);
    assert_eq!(mend, "coturn-exporter prune --redis.url redis://h:6379/3");
}

#[test]
fn leftovers_are_counted_by_their_idle_time() {
    let most = MOST_IDLE.as_secs();
    let idle = [Some(3600), Some(3601), Some(most - 1), Some(most), None];
    let findings = judged(|seen| seen.dbs = vec![db(0, &idle)]);
    let (severity, message, mend) = about("stale-keys", &findings);
    assert_eq!(severity, Severity::Advice);
    assert!(message.starts_with("2 of 5 status keys"), "{message}");
    assert_eq!(mend, "coturn-exporter prune --redis.url redis://h:6379/0");
    let findings = judged(|seen| seen.dbs = vec![Db { complete: false, ..db(0, &[Some(1)]) }]);
    assert!(about("stale-keys", &findings).1.starts_with("none of the first 1 status keys"));
    let findings = judged(|seen| seen.dbs = vec![db(0, &[None, None])]);
    assert_eq!(about("stale-keys", &findings).0, Severity::Advice);
}

#[test]
fn what_is_forbidden_is_said_and_is_no_fault_unless_it_is_needed() {
    let findings = judged(|seen| {
        seen.user = Look::Forbidden;
        seen.version = Look::Forbidden;
        seen.role = Look::Forbidden;
        seen.settings = Look::Forbidden;
        seen.excess = Look::Forbidden;
        seen.clients = Look::Forbidden;
        seen.patterns = Look::Forbidden;
        seen.other_dbs = Look::Forbidden;
        seen.no_touch = Look::Forbidden;
    });
    let ids = ["version", "no-touch", "role", "config", "excess-rights", "other-dbs", "clients"];
    assert_eq!(remarks(&findings), ids.map(|id| (id, Severity::Info)));
    assert!(about("config", &findings).1.contains("CONFIG GET is forbidden"));

    let findings = judged(|seen| {
        seen.user = Look::Seen("odd user".to_owned());
        seen.rights.subscribe = Look::Forbidden;
        seen.rights.idle_time = Look::Failed("ERR".to_owned());
    });
    let (severity, _, mend) = about("subscribe", &findings);
    assert_eq!(severity, Severity::Fault);
    assert_eq!(mend, "redis-cli -h h -p 6379 ACL SETUSER 'odd user' '&turn/*' +psubscribe");
    assert_eq!(about("idle-time", &findings).0, Severity::Fault);
}

#[test]
fn no_touch_is_missed_only_where_it_could_be_had() {
    let at = |minor, no_touch: Look<bool>| {
        let findings = judged(|seen| {
            seen.version = Look::Seen(Version { major: 7, minor, patch: 0 });
            seen.no_touch = no_touch;
        });
        about("no-touch", &findings)
    };
    let (severity, message, mend) = at(2, Look::Forbidden);
    assert!(
        severity == Severity::Info && message.contains("forbidden") && mend.contains("no-touch"),
        "{mend}"
    );
    for no_touch in [Look::Forbidden, Look::Seen(false)] {
        let (severity, message, mend) = at(0, no_touch);
        assert!(severity == Severity::Info && message.contains("7.2") && mend.is_empty(), "{message}");
    }
}

#[test]
fn the_server_is_judged_by_version_role_and_company() {
    let severity = |id, change: fn(&mut Seen)| about(id, &judged(change)).0;
    let old = |seen: &mut Seen| seen.version = Look::Seen(Version { major: 4, minor: 9, patch: 9 });
    assert_eq!(severity("version", old), Severity::Fault);
    let replica = |seen: &mut Seen| seen.role = Look::Seen(Role::Replica { connected: true });
    assert_eq!(severity("role", replica), Severity::Advice, "it is fed with keys");
    let alone = |seen: &mut Seen| {
        seen.role = Look::Seen(Role::Replica { connected: true });
        seen.dbs = vec![db(0, &[])];
    };
    assert_eq!(severity("role", alone), Severity::Fault);
    let cut = |seen: &mut Seen| seen.role = Look::Seen(Role::Replica { connected: false });
    assert_eq!(severity("role", cut), Severity::Fault);
    let sentinel = |seen: &mut Seen| seen.role = Look::Seen(Role::Other("sentinel".to_owned()));
    assert_eq!(severity("role", sentinel), Severity::Fault);

    for (subscribers, publishers, others, expected) in [
        (0, 1, 0, [("subscribers", Severity::Info)].as_slice()),
        (2, 1, 0, &[("subscribers", Severity::Info)]),
        (1, 0, 3, &[("coturn", Severity::Info)]),
        (1, 0, 0, &[("coturn", Severity::Advice)]),
    ] {
        let clients = Clients { subscribers, publishers, others };
        let findings = judged(|seen| seen.clients = Look::Seen(clients));
        assert_eq!(remarks(&findings), expected, "{clients:?}");
    }
}

#[test]
fn no_redis_and_no_login_are_findings() {
    for (login, id) in [(true, "login"), (false, "reachable")] {
        let unreachable = Unreachable { login, text: "no".to_owned() };
        let findings = judge(&Facts { subject: subject(), seen: Err(unreachable) });
        assert_eq!(remarks(&findings), [(id, Severity::Fault)]);
    }
}

#[test]
fn text_fits_a_terminal_and_is_harmless() {
    let mut findings = judged(|seen| {
        seen.user = Look::Seen("a\u{1b}[2J\nfault".to_owned());
        seen.excess = Look::Seen(vec!["FLUSHALL".to_owned()]);
        seen.settings = Look::Seen(values(&[("timeout", "60")]));
    });
    findings.extend(
        judged(|_| {}).into_iter().map(|finding| Finding { source: "unix:///s".to_owned(), ..finding }),
    );
    let text = text(&findings);
    assert!(text.starts_with("redis://h:6379/0\n  ok      reachable: "), "{text}");
    assert!(text.contains("\nunix:///s\n") && text.contains("\nSomething is wrong. Faults: 1, advice: 0.\n"));
    assert!(
        text.contains("\n  fault   timeout: timeout is 60, it must be 0\n          why Redis closes"),
        "{text}"
    );
    assert!(text.contains("\n         mend redis-cli -h h -p 6379 CONFIG SET timeout 0\n"), "{text}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    for line in text.lines().filter(|line| !line.starts_with("         mend ")) {
        assert!(line.chars().count() <= 100, "{line}");
        assert_eq!(line.trim_end(), line);
    }
}

#[test]
fn json_has_these_fields() {
    let unreachable = Unreachable { login: true, text: "NOAUTH".to_owned() };
    let mut findings = judge(&Facts { subject: subject(), seen: Err(unreachable) });
    findings.extend(judged(|_| {}).into_iter().take(1));
    let value: serde_json::Value = serde_json::from_str(&json(&findings).unwrap()).unwrap();
    let expected = serde_json::json!({
        "ok": false,
        "findings": [
            {
                "source": "redis://h:6379/0",
                "id": "login",
                "severity": "fault",
                "message": "the login is refused: NOAUTH",
                "why": "without it the exporter sees nothing",
                "mend": "--redis.password-file FILE with the right password, or --redis.url redis://USER@HOST/DB",
            },
            {
                "source": "redis://h:6379/0",
                "id": "reachable",
                "severity": "ok",
                "message": "Redis answers; logged in as watcher",
                "why": null,
                "mend": null,
            },
        ],
    });
    assert_eq!(value, expected);
}

#[test]
fn words_are_quoted_for_the_shell_where_they_need_it() {
    for (word, quoted) in [
        ("h", "h"),
        ("/run/redis.sock", "/run/redis.sock"),
        ("", "''"),
        ("a b", "'a b'"),
        ("$(x)'", r"'$(x)'\'''"),
    ] {
        assert_eq!(shell_word(word), quoted);
    }
}
