//! The server itself: reached or not, its version and role, and who else is connected.

use super::*;

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
fn a_publisher_that_is_refused_is_no_coturn_that_reports() {
    let judge = |publishers: &[u64], accepted, refused, is_allowed: bool| {
        let findings = judged(|seen| {
            let clients = clients(publishers, &[], 0);
            seen.clients = if is_allowed { Look::Seen(clients) } else { Look::Forbidden };
            seen.published = Look::Seen(PublishCount { accepted, refused });
        });
        findings.into_iter().find(|finding| finding.id == "coturn")
    };
    let severity = |finding: Option<Finding>| finding.map(|finding| finding.severity);
    for publishers in [&[4][..], &[4, 9000], &[9000]] {
        let finding = judge(publishers, 0, 58, true).unwrap();
        assert_eq!(finding.severity, Severity::Fault, "{finding:?}");
        assert!(finding.message.contains("refused 58") && finding.fix.unwrap().contains("redis-statsdb"));
    }
    // It may have been long ago, or another client.
    let finding = judge(&[4], 1200, 58, true).unwrap();
    assert_eq!(finding.severity, Severity::Info);
    assert!(finding.message.contains("accepted 1200 and refused 58"), "{finding:?}");
    // The statistics were reset.
    assert_eq!(severity(judge(&[4], 0, 0, true)), Some(Severity::Ok));
    assert_eq!(severity(judge(&[], 0, 58, false)), Some(Severity::Advice), "whoever that was");
    assert_eq!(judge(&[], 1200, 58, false), None);
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
