//! What is said of a file that fits, of each mistake, and of where its line leads.

use super::*;

fn target(host: &str, port: u16, db: u32) -> StatsdbSetting {
    let host = host.to_owned();
    StatsdbSetting::Target { host, port, db, connect_timeout: 30, has_tls: false, unreachable: None }
}

fn redis(host: &str, db: u32) -> WatchedPlace {
    let name = format!("redis://{host}:6379/{db}");
    WatchedPlace {
        name,
        endpoint: Some((host.to_owned(), 6379)),
        db: Some(db),
        has_password: false,
        has_tls: false,
    }
}

fn well() -> TurnserverFacts {
    TurnserverFacts {
        file: "/etc/turnserver.conf".to_owned(),
        statsdb: target("localhost", 6379, 2),
        password: Some(PasswordFit::Same),
        login: Some(RedisLogin::Accepted),
        watched: vec![redis("127.0.0.1", 2)],
        line: "redis-statsdb=\"...\"".to_owned(),
        direct: None,
        realm: Some("turn.example".to_owned()),
        max_allocate_lifetime: Some(Duration::from_secs(3600)),
        max_lifetime: Duration::from_secs(3600),
        grace: Duration::from_secs(90),
        rest_api_separator: None,
        rest_separator: ':',
        has_rest_names: true,
        static_users: 0,
        is_by_user: true,
        has_mobility: true,
        relay_ports: 1000,
        total_quota: Some(1000),
        has_prometheus: true,
    }
}

fn speak_tls(facts: &mut TurnserverFacts, coturn: bool, redis: bool) {
    if let StatsdbSetting::Target { has_tls, .. } = &mut facts.statsdb {
        *has_tls = coturn;
    }
    facts.watched[0].has_tls = redis;
}

fn severity(facts: &TurnserverFacts, id: &str) -> Option<Severity> {
    let findings = judge_turnserver(facts);
    for finding in &findings {
        let is_wrong = matches!(finding.severity, Severity::Fault | Severity::Advice);
        assert!(!is_wrong || finding.why.is_some() && finding.fix.is_some(), "{finding:?}");
    }
    findings.iter().find(|finding| finding.id == id).map(|finding| finding.severity)
}

#[test]
fn a_file_that_fits_is_well() {
    let findings = judge_turnserver(&well());
    assert!(findings.iter().all(|finding| finding.severity <= Severity::Info), "{findings:#?}");
    assert_eq!(severity(&well(), "coturn-statsdb"), Some(Severity::Ok));
    assert_eq!(severity(&well(), "coturn-prometheus"), Some(Severity::Info));
}

#[test]
fn each_mistake_is_named() {
    type Break = fn(&mut TurnserverFacts);
    let cases: [(&str, Severity, Break); 25] = [
        ("coturn-statsdb", Severity::Fault, |facts| facts.statsdb = StatsdbSetting::Missing),
        ("coturn-statsdb", Severity::Fault, |facts| {
            facts.statsdb = StatsdbSetting::Broken("x".to_owned());
        }),
        ("coturn-statsdb", Severity::Fault, |facts| facts.statsdb = target("127.0.0.1", 6379, 0)),
        ("coturn-statsdb", Severity::Fault, |facts| facts.statsdb = target("127.0.0.1", 6390, 2)),
        ("coturn-statsdb", Severity::Fault, |facts| facts.statsdb = target("192.0.2.1", 6379, 2)),
        ("coturn-statsdb", Severity::Info, |facts| facts.statsdb = target("redis.example", 6379, 2)),
        ("coturn-connect-timeout", Severity::Advice, |facts| {
            if let StatsdbSetting::Target { connect_timeout, .. } = &mut facts.statsdb {
                *connect_timeout = 0;
            }
        }),
        ("coturn-statsdb-tls", Severity::Fault, |facts| speak_tls(facts, true, false)),
        ("coturn-statsdb-tls", Severity::Fault, |facts| speak_tls(facts, false, true)),
        ("coturn-statsdb-tls", Severity::Info, |facts| speak_tls(facts, true, true)),
        ("coturn-statsdb-password", Severity::Fault, |facts| {
            facts.password = Some(PasswordFit::Different);
        }),
        ("coturn-statsdb-password", Severity::Fault, |facts| {
            facts.password = Some(PasswordFit::Missing);
        }),
        ("coturn-statsdb-password", Severity::Advice, |facts| {
            facts.password = Some(PasswordFit::NotAsked);
        }),
        ("coturn-statsdb-login", Severity::Fault, |facts| {
            facts.login = Some(RedisLogin::Refused("WRONGPASS".to_owned()));
        }),
        ("coturn-statsdb-login", Severity::Fault, |facts| facts.login = Some(RedisLogin::Missing)),
        ("coturn-statsdb-login", Severity::Info, |facts| facts.login = Some(RedisLogin::OfOneUser)),
        ("coturn-statsdb-login", Severity::Info, |facts| facts.login = Some(RedisLogin::NotAsked)),
        ("coturn-realm", Severity::Advice, |facts| facts.realm = None),
        ("coturn-realm", Severity::Advice, |facts| facts.realm = Some("a # b".to_owned())),
        ("coturn-users", Severity::Advice, |facts| facts.static_users = 1),
        ("coturn-max-lifetime", Severity::Fault, |facts| facts.max_lifetime /= 2),
        ("coturn-max-lifetime", Severity::Advice, |facts| facts.max_lifetime *= 2),
        ("coturn-rest-separator", Severity::Fault, |facts| facts.rest_api_separator = Some('|')),
        ("coturn-mobility", Severity::Fault, |facts| facts.grace = MOBILITY_DELAY),
        ("coturn-ports", Severity::Advice, |facts| facts.relay_ports = 999),
    ];
    for (id, expected, break_it) in cases {
        let mut facts = well();
        break_it(&mut facts);
        assert_eq!(severity(&facts, id), Some(expected), "{facts:#?}");
    }
}

#[test]
fn where_nothing_says_how_coturn_reports_both_ways_are_offered() {
    let way = DirectWay {
        line: "redis-statsdb=\"direct\"".to_owned(),
        flags: "--statsdb.listen-address x".to_owned(),
    };
    for statsdb in [StatsdbSetting::Missing, StatsdbSetting::Broken("x".to_owned())] {
        let fix = |direct: Option<DirectWay>| {
            let facts = TurnserverFacts { statsdb: statsdb.clone(), direct, ..well() };
            let findings = judge_turnserver(&facts);
            findings.into_iter().find(|finding| finding.id == "coturn-statsdb").unwrap().fix.unwrap()
        };
        let both = fix(Some(way.clone()));
        for part in [way.line.as_str(), &way.flags, &well().line, "restart coturn"] {
            assert!(both.contains(part), "{part}: {both}");
        }
        assert!(!fix(None).contains("direct") && fix(None).contains(&well().line), "{}", fix(None));
    }
}

#[test]
fn the_listener_is_found_wherever_it_listens() {
    let listener = |host: &str| WatchedPlace {
        name: "statsdb".to_owned(),
        endpoint: Some((host.to_owned(), 6390)),
        db: None,
        has_password: false,
        has_tls: false,
    };
    for (listens, host, port, is_at) in [
        ("0.0.0.0", "192.0.2.1", 6390, Some(true)),
        ("0.0.0.0", "::1", 6390, Some(false)),
        ("::", "127.0.0.1", 6390, Some(true)),
        ("127.0.0.1", "127.0.0.1", 6390, Some(true)),
        ("127.0.0.1", "127.0.0.2", 6390, Some(false)),
        ("127.0.0.1", "::1", 6390, Some(false)),
        ("localhost", "::1", 6390, None),
        ("127.0.0.1", "localhost", 6390, Some(true)),
        ("127.0.0.1", "192.0.2.1", 6390, Some(false)),
        ("0.0.0.0", "127.0.0.1", 6379, Some(false)),
        ("turn.example", "192.0.2.1", 6390, None),
        ("turn.example", "TURN.example", 6390, Some(true)),
    ] {
        assert_eq!(listener(listens).is_at(host, port), is_at, "{listens} {host}:{port}");
    }
}

#[test]
fn a_redis_may_listen_on_several_loopback_addresses_unless_nothing_answers_there() {
    let judged = |host: &str, answer: Option<&str>| {
        let mut statsdb = target(host, 6379, 2);
        if let StatsdbSetting::Target { unreachable, .. } = &mut statsdb {
            *unreachable = answer.map(str::to_owned);
        }
        severity(&TurnserverFacts { statsdb, ..well() }, "coturn-statsdb").unwrap()
    };
    for host in ["127.0.0.2", "::1"] {
        assert_eq!(judged(host, None), Severity::Info, "{host}");
        assert_eq!(judged(host, Some("Connection refused")), Severity::Fault, "{host}");
    }
    assert_eq!(
        judged("redis.example", Some("Connection refused")),
        Severity::Info,
        "coturn may be elsewhere"
    );
}
