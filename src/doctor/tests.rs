//! Tests of the judging: what is seen of a Redis on one side, what is said about it on the other.

use std::time::Duration;

use super::facts::{
    Clients, ConfigValues, Db, Facts, Look, MasterLink, Obstacle, Rights, Role, Seen, Subject, Unreachable,
    Version,
};
use super::retention::Retention;
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
        retention: Look::Seen(Retention::of_info("cluster_enabled:0\r\nmaxmemory:0\r\n")),
        rights: Rights {
            ping: allowed(),
            select: allowed(),
            subscribe: allowed(),
            scan: allowed(),
            get: allowed(),
            idle_time: allowed(),
        },
        excess: Look::Seen(Vec::new()),
        clients: Look::Seen(Clients {
            subscribers: 1,
            publishers: ages(&[5]),
            forwarders: ages(&[]),
            others: 4,
        }),
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

fn ages(seconds: &[u64]) -> Vec<Duration> {
    seconds.iter().copied().map(Duration::from_secs).collect()
}

fn judged(change: impl FnOnce(&mut Seen)) -> Vec<Finding> {
    let mut seen = well();
    change(&mut seen);
    judge(&Facts { subject: subject(), seen: Ok(seen) })
}

/// The findings of one id, in short: severity and message, then what fixes it.
#[track_caller]
fn about(id: &str, findings: &[Finding]) -> (Severity, String, String) {
    let found: Vec<_> = findings.iter().filter(|finding| finding.id == id).collect();
    assert_eq!(found.len(), 1, "{id} in {findings:#?}");
    (found[0].severity, found[0].message.clone(), found[0].fix.clone().unwrap_or_default())
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
    assert!(findings.iter().all(|finding| finding.why.is_none() && finding.fix.is_none()), "{findings:#?}");
}

#[test]
fn what_is_wrong_says_why_and_a_fault_says_how_to_fix_it() {
    let findings = judged(|seen| {
        seen.settings = Look::Seen(values(&[("timeout", "60"), ("tcp-keepalive", "0")]));
        seen.role = Look::Seen(Role::Replica(MasterLink::Lost));
        seen.dbs = vec![db(3, &[Some(1)])];
        seen.rights.get = Look::Forbidden;
    });
    for finding in findings.iter().filter(|finding| finding.severity == Severity::Fault) {
        assert!(finding.why.is_some() && finding.fix.is_some(), "{finding:#?}");
    }
    assert_eq!(remarks(&findings).len(), 5, "{findings:#?}");
}

#[test]
fn settings_are_judged_by_their_values() {
    use Severity::{Advice, Fault, Info, Ok};
    let buffers = "client-output-buffer-limit";
    let fixed = "'pubsub 33554432 8388608 60'";
    for (name, value, severity, fix) in [
        ("timeout", "0", Ok, ""),
        ("timeout", "1", Fault, "timeout 0"),
        ("tcp-keepalive", "0", Fault, "tcp-keepalive 60"),
        ("tcp-keepalive", "1", Ok, ""),
        ("tcp-keepalive", "60", Ok, ""),
        ("tcp-keepalive", "300", Info, "tcp-keepalive 60"),
        ("tcp-keepalive", "7200", Advice, "tcp-keepalive 60"),
        (buffers, "normal 0 0 0 pubsub 33554432 8388608 60", Ok, ""),
        (buffers, "pubsub 67108864 16777216 120 normal 1 1 1", Ok, ""),
        (buffers, "pubsub 33554431 8388608 60", Fault, fixed),
        (buffers, "pubsub 33554432 8388607 60", Fault, fixed),
        (buffers, "pubsub 33554432 8388608 59", Fault, fixed),
        (buffers, "pubsub 33554432 0 0", Ok, ""),
        (buffers, "pubsub 33554432 33554432 1", Ok, ""),
        (buffers, "pubsub 0 0 0", Info, ""),
        (buffers, "pubsub 0 1048576 60", Fault, fixed),
        ("maxmemory-policy", "noeviction", Ok, ""),
        ("maxmemory-policy", "volatile-lru", Ok, ""),
        ("maxmemory-policy", "allkeys-lru", Fault, "volatile-lru"),
        ("maxmemory-policy", "allkeys-random", Fault, "volatile-random"),
        ("maxmemory-policy", "volatile-lfu", Fault, "volatile-lru"),
        ("cluster-enabled", "no", Ok, ""),
    ] {
        let findings = judged(|seen| {
            seen.settings = Look::Seen(values(&[(name, value)]));
            seen.retention = Look::Forbidden;
        });
        let (found, message, command) = about(name, &findings);
        assert_eq!(found, severity, "{name} {value}: {message}");
        let expected = if fix.is_empty() {
            String::new()
        } else {
            let words = fix.strip_prefix(name).unwrap_or(fix).trim_start();
            format!("redis-cli -h h -p 6379 CONFIG SET {name} {words}")
        };
        assert_eq!(command, expected, "{name} {value}");
    }
}

#[test]
fn evicting_matters_where_memory_is_limited() {
    for (limit, severity) in [("0", Severity::Info), ("1000", Severity::Fault)] {
        let pairs = [("maxmemory-policy", "allkeys-lru"), ("maxmemory", limit)];
        let findings = judged(|seen| {
            seen.settings = Look::Seen(values(&pairs));
            seen.retention = Look::Forbidden;
        });
        assert_eq!(about("maxmemory-policy", &findings).0, severity);
    }
}

#[test]
fn a_setting_alone_is_good_bad_or_unknown() {
    let values = values(&[
        ("timeout", "5"),
        ("tcp-keepalive", "300"),
        ("client-output-buffer-limit", "odd"),
        ("cluster-enabled", "yes"),
        ("maxmemory-policy", "allkeys-lru"),
    ]);
    let states = setting_states(&values);
    let seen = |state: &SettingState| (state.setting.as_str(), state.value.clone(), state.ok);
    let expected = [
        ("timeout", "5", false),
        ("tcp-keepalive", "300", true),
        ("cluster-enabled", "yes", false),
        ("maxmemory-policy", "allkeys-lru", false),
    ];
    let expected = expected.map(|(setting, value, ok)| (setting, value.to_owned(), ok));
    assert_eq!(states.iter().map(seen).collect::<Vec<_>>(), expected);
    assert_eq!(states[0].fix.as_deref(), Some("CONFIG SET timeout 0"));
    assert!(states.iter().filter(|state| !state.ok).all(|state| state.fix.is_some() && state.why.is_some()));
}

#[test]
fn a_redis_that_does_not_take_and_keep_every_key_is_found_by_info_or_by_its_settings() {
    let info = |text: &str| Look::Seen(Retention::of_info(text));
    let by_info = judged(|seen| seen.retention = info("redis_mode:cluster\r\nmaxmemory:0\r\n"));
    let by_config = judged(|seen| {
        seen.settings = Look::Seen(values(&[("cluster-enabled", "yes"), ("maxmemory", "0")]));
        seen.retention = Look::Forbidden;
    });
    for findings in [by_info, by_config] {
        let (severity, message, fix) = about("cluster-enabled", &findings);
        assert_eq!(severity, Severity::Fault, "{message}");
        assert!(fix.contains("standalone Redis") && fix.contains("--statsdb.listen-address"), "{fix}");
    }

    let evicts = "cluster_enabled:0\r\nmaxmemory:9\r\nmaxmemory_policy:allkeys-lru\r\nevicted_keys:3\r\n";
    let findings = judged(|seen| {
        seen.settings = Look::Forbidden;
        seen.retention = info(evicts);
    });
    assert_eq!(about("maxmemory-policy", &findings).0, Severity::Fault);
    assert!(about("evicted-keys", &findings).1.contains("3 key(s)"));
    let findings = judged(|seen| {
        seen.settings = Look::Forbidden;
        seen.retention = info(&evicts.replace("allkeys", "volatile"));
    });
    assert_eq!(remarks(&findings), [("config", Severity::Info)], "those have a time to live");

    let refused =
        "cluster_enabled:0\r\nmaxmemory:9\r\nmaxmemory_policy:noeviction\r\nerrorstat_OOM:count=2\r\n";
    let findings = judged(|seen| seen.retention = info(refused));
    let (severity, message, _) = about("maxmemory", &findings);
    assert!(severity == Severity::Fault && message.contains("refused 2 write(s)"), "{message}");
}

#[test]
fn what_info_would_say_is_missed() {
    let said = |retention: Look<Retention>| {
        let findings = judged(|seen| {
            seen.settings = Look::Forbidden;
            seen.retention = retention;
        });
        about("info", &findings)
    };
    let (severity, message, fix) = said(Look::Forbidden);
    assert!(severity == Severity::Advice && message.contains("INFO is forbidden"), "{message}");
    assert_eq!(fix, "redis-cli -h h -p 6379 ACL SETUSER watcher +info");
    assert!(said(Look::Failed("ERR unknown command".to_owned())).1.contains("unknown command"));
    assert!(said(Look::Seen(Retention::default())).1.contains("INFO does not say"));
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
        let (found, message, fix) = about("dbname", &findings);
        assert_eq!(found, severity, "{message}");
        if found == Severity::Fault {
            assert!(message.contains("db 3") && fix.contains("redis://h:6379/3"), "{message}: {fix}");
        }
    }
    let findings = judged(|seen| seen.dbs = vec![db(0, &[]), db(3, &[Some(STALE)])]);
    let (severity, _, fix) = about("stale-keys-elsewhere", &findings);
    assert_eq!(severity, Severity::Advice);
    assert_eq!(fix, "coturn-exporter prune --redis.url redis://h:6379/3");
}

#[test]
fn leftovers_are_counted_by_their_idle_time() {
    let most = MOST_IDLE.as_secs();
    let idle = [Some(3600), Some(3601), Some(most - 1), Some(most), None];
    let findings = judged(|seen| seen.dbs = vec![db(0, &idle)]);
    let (severity, message, fix) = about("stale-keys", &findings);
    assert_eq!(severity, Severity::Advice);
    assert!(message.starts_with("2 of 5 status keys"), "{message}");
    assert_eq!(fix, "coturn-exporter prune --redis.url redis://h:6379/0");
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
        seen.retention = Look::Forbidden;
        seen.excess = Look::Forbidden;
        seen.clients = Look::Forbidden;
        seen.patterns = Look::Forbidden;
        seen.other_dbs = Look::Forbidden;
        seen.no_touch = Look::Forbidden;
    });
    let ids = ["version", "no-touch", "role", "config", "info", "excess-rights", "other-dbs", "clients"];
    // What the exporter does without INFO is worth a change.
    let severity = |id| if id == "info" { Severity::Advice } else { Severity::Info };
    assert_eq!(remarks(&findings), ids.map(|id| (id, severity(id))));
    assert!(about("config", &findings).1.contains("CONFIG GET is forbidden"));

    let findings = judged(|seen| {
        seen.user = Look::Seen("odd user".to_owned());
        seen.rights.subscribe = Look::Forbidden;
        seen.rights.idle_time = Look::Failed("ERR".to_owned());
    });
    let (severity, _, fix) = about("subscribe", &findings);
    assert_eq!(severity, Severity::Fault);
    assert_eq!(fix, "redis-cli -h h -p 6379 ACL SETUSER 'odd user' '&turn/*' +psubscribe");
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
    let (severity, message, fix) = at(2, Look::Forbidden);
    assert!(severity == Severity::Info && message.contains("forbidden") && fix.contains("no-touch"), "{fix}");
    for no_touch in [Look::Forbidden, Look::Seen(false)] {
        let (severity, message, fix) = at(0, no_touch);
        assert!(severity == Severity::Info && message.contains("7.2") && fix.is_empty(), "{message}");
    }
}

#[test]
fn the_server_is_judged_by_version_role_and_company() {
    let severity = |id, change: fn(&mut Seen)| about(id, &judged(change)).0;
    let old = |seen: &mut Seen| seen.version = Look::Seen(Version { major: 4, minor: 9, patch: 9 });
    assert_eq!(severity("version", old), Severity::Fault);
    let replica = |seen: &mut Seen| seen.role = Look::Seen(Role::Replica(MasterLink::Connected));
    assert_eq!(severity("role", replica), Severity::Advice, "it is fed with keys");
    let alone = |seen: &mut Seen| {
        seen.role = Look::Seen(Role::Replica(MasterLink::Connected));
        seen.dbs = vec![db(0, &[])];
    };
    assert_eq!(severity("role", alone), Severity::Fault);
    let cut = |seen: &mut Seen| seen.role = Look::Seen(Role::Replica(MasterLink::Lost));
    assert_eq!(severity("role", cut), Severity::Fault);
    let sentinel = |seen: &mut Seen| seen.role = Look::Seen(Role::Other("sentinel".to_owned()));
    assert_eq!(severity("role", sentinel), Severity::Fault);

    for (subscribers, expected) in [(0, Severity::Info), (1, Severity::Ok), (2, Severity::Info)] {
        let findings =
            judged(|seen| seen.clients = Look::Seen(Clients { subscribers, ..clients(&[5], &[], 0) }));
        assert_eq!(about("subscribers", &findings).0, expected, "{subscribers}");
    }
}

fn clients(publishers: &[u64], forwarders: &[u64], others: usize) -> Clients {
    Clients { subscribers: 1, publishers: ages(publishers), forwarders: ages(forwarders), others }
}

#[test]
fn a_replica_that_is_syncing_has_not_lost_its_master() {
    let syncing = |seen: &mut Seen| seen.role = Look::Seen(Role::Replica(MasterLink::Syncing));
    let (severity, message, fix) = about("role", &judged(syncing));
    assert_eq!(severity, Severity::Advice);
    assert!(message.contains("being synchronized") && !message.contains("lost"), "{message}");
    assert!(fix.starts_with("run doctor again"), "{fix}");

    // It may answer nothing meanwhile: that is no lack of rights, and no other fault.
    let masterdown = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    let findings = judged(|seen| {
        syncing(seen);
        let failed = || Look::Failed(masterdown.to_owned());
        seen.rights.ping = failed();
        seen.rights.scan = failed();
        seen.rights.get = failed();
        seen.rights.idle_time = failed();
    });
    let faults: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Fault).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(about("ping", &findings).1.contains("cannot serve clients now: MASTERDOWN"));
    assert!(about("scan", &findings).1.contains("not judged"));
}

#[test]
fn a_redis_that_serves_nobody_now_is_one_fault() {
    let findings = judged(|seen| {
        let loading = || Look::Failed("LOADING Redis is loading the dataset in memory".to_owned());
        seen.rights.ping = loading();
        seen.rights.scan = loading();
        seen.rights.get = loading();
    });
    let faults: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Fault).collect();
    assert_eq!(faults.iter().map(|finding| finding.id).collect::<Vec<_>>(), ["ping"]);
    assert!(faults[0].fix.as_ref().unwrap().starts_with("run doctor again"), "{faults:#?}");
}

#[test]
fn a_publisher_is_as_good_as_its_last_command_is_young() {
    let coturn = |clients: Clients| {
        let findings = judged(|seen| seen.clients = Look::Seen(clients));
        let (severity, message, _) = about("coturn", &findings);
        (severity, message)
    };
    for (publishers, others, severity, says) in [
        (&[5][..], 0, Severity::Ok, "1 connection(s) published, last 5 s ago, as coturn does"),
        (&[600, 3600], 0, Severity::Ok, "2 connection(s) published, last 10 min ago"),
        (
            &[5, 200_000],
            0,
            Severity::Ok,
            "last 5 s ago, as coturn does; 1 other(s) published too, but not for 2 days",
        ),
        (&[3601], 2, Severity::Info, "1 connection(s) published, but nothing for 60 min"),
        (&[20_000, 7_200], 0, Severity::Info, "2 connection(s) published, but nothing for 2 h"),
        (&[], 3, Severity::Info, "3 other connection(s), none of which published with its last command"),
        (&[], 0, Severity::Advice, "no other client is connected"),
    ] {
        let (found, message) = coturn(clients(publishers, &[], others));
        assert!(found == severity && message.contains(says), "{found:?} {message}");
    }
}

#[test]
fn a_forwarding_exporter_is_no_coturn() {
    let findings = judged(|seen| seen.clients = Look::Seen(clients(&[], &[1, 130], 0)));
    let (severity, message, _) = about("forwarders", &findings);
    assert_eq!(severity, Severity::Info);
    assert!(message.starts_with("2 connection(s) of exporters") && message.contains("1 s ago"), "{message}");
    let (severity, message, _) = about("coturn", &findings);
    assert!(severity == Severity::Info && message.contains("the forwarding exporter has it"), "{message}");
    let findings = judged(|seen| seen.clients = Look::Seen(clients(&[5], &[1], 0)));
    assert_eq!(about("coturn", &findings).0, Severity::Ok);
}

/// Every way of not getting in, with what it says.
fn obstacles() -> Vec<(Obstacle, &'static str)> {
    vec![
        (Obstacle::Connection, "reachable"),
        (Obstacle::Protocol, "reachable"),
        (Obstacle::Tls { fix: None }, "reachable"),
        (Obstacle::Tls { fix: Some("openssl".to_owned()) }, "reachable"),
        (Obstacle::Login, "login"),
        (Obstacle::Sentinel, "reachable"),
        (Obstacle::Replica, "reachable"),
        (Obstacle::Refusal, "reachable"),
    ]
}

#[test]
fn no_redis_and_no_login_are_findings() {
    for (obstacle, id) in obstacles() {
        let unreachable = Unreachable { obstacle: obstacle.clone(), text: "no".to_owned() };
        let findings = judge(&Facts { subject: subject(), seen: Err(unreachable) });
        assert_eq!(remarks(&findings), [(id, Severity::Fault)]);
        // Starting a Redis helps only where none answers.
        let fix = findings[0].fix.clone().unwrap();
        assert_eq!(fix.contains("start Redis"), obstacle == Obstacle::Connection, "{obstacle:?}: {fix}");
    }
}

#[test]
fn a_db_that_cannot_be_selected_is_said_with_the_right_to_grant() {
    let in_db_2 = |change: fn(&mut Seen)| {
        let mut seen = well();
        seen.dbs = vec![db(0, &[])];
        change(&mut seen);
        judge(&Facts { subject: Subject { db: 2, ..subject() }, seen: Ok(seen) })
    };
    let findings = in_db_2(|seen| seen.rights.select = Look::Forbidden);
    let (severity, message, fix) = about("select", &findings);
    assert_eq!((severity, message.as_str()), (Severity::Fault, "SELECT of db 2 is forbidden to this user"));
    assert_eq!(fix, "redis-cli -h h -p 6379 ACL SETUSER watcher +select");
    assert!(about("dbname", &findings).1.contains("db 2 could not be read"));
    assert_eq!(about("scan", &findings).0, Severity::Ok);

    let findings =
        in_db_2(|seen| seen.rights.select = Look::Failed("ERR DB index is out of range".to_owned()));
    let (severity, message, fix) = about("select", &findings);
    assert!(severity == Severity::Fault && message.contains("out of range"), "{message}");
    assert!(fix.contains("--redis.url with the db"), "{fix}");

    assert!(judged(|_| {}).iter().all(|finding| finding.id != "select"), "db 0 needs no SELECT");
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
    let text = text(&findings, true);
    assert!(text.starts_with("redis://h:6379/0\n  ok      reachable: "), "{text}");
    assert!(text.contains("\nunix:///s\n") && text.contains("\nSomething is wrong. Faults: 1, advice: 0.\n"));
    assert!(
        text.contains("\n  fault   timeout: timeout is 60, it must be 0\n          why Redis closes"),
        "{text}"
    );
    assert!(text.contains("\n          fix redis-cli -h h -p 6379 CONFIG SET timeout 0\n"), "{text}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    for line in text.lines().filter(|line| !line.starts_with("          fix ")) {
        assert!(line.chars().count() <= 100, "{line}");
        assert_eq!(line.trim_end(), line);
    }
}

#[test]
fn the_short_text_is_at_length_about_what_is_wrong_only() {
    let findings = judged(|seen| {
        seen.excess = Look::Seen(vec!["FLUSHALL".to_owned()]);
        seen.settings = Look::Seen(values(&[("timeout", "60")]));
    });
    let (short, long) = (text(&findings, false), text(&findings, true));
    for line in [
        "info    excess-rights: the user may also call FLUSHALL",
        "fix redis-cli -h h -p 6379 CONFIG SET timeout 0",
    ] {
        assert!(short.contains(line) && long.contains(line), "{short}");
    }
    let hidden = "ACL SETUSER";
    assert!(long.contains(hidden) && !short.contains(hidden), "{short}");
    assert!(short.contains("--verbose") && !long.contains("--verbose"), "{short}");
    let nothing = judged(|_| {});
    assert!(!text(&nothing, false).contains("--verbose"), "nothing is left out");
    // The one thing that is to be copied although nothing is wrong.
    let seen = super::listener::ListenerSeen::OtherProgram;
    let facts = super::listener::ListenerFacts {
        name: "statsdb://:6390".to_owned(),
        listen: ":6390".to_owned(),
        ip: "127.0.0.1".to_owned(),
        port: 6390,
        password_of: super::listener::PasswordOrigin::Flag,
        password: None,
        line: "redis-statsdb=\"\"".to_owned(),
        seen,
    };
    assert!(text(&super::listener::judge_listener(&facts), false).contains("fix redis-statsdb="));
}

#[test]
fn json_has_these_fields() {
    let unreachable = Unreachable { obstacle: Obstacle::Login, text: "NOAUTH".to_owned() };
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
                "fix": "--redis.password-file FILE with the right password, or --redis.url redis://USER@HOST/DB",
            },
            {
                "source": "redis://h:6379/0",
                "id": "reachable",
                "severity": "ok",
                "message": "Redis answers; logged in as watcher",
                "why": null,
                "fix": null,
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
