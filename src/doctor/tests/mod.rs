//! Tests of the judging: what is seen of a Redis on one side, what is said about it on the other.

mod report;
mod server;
mod settings;

use std::time::Duration;

use super::facts::{
    Clients, ConfigValues, Db, Facts, Look, MasterLink, Obstacle, PublishCount, Rights, Role, Seen, Subject,
    Unreachable, Version,
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
        login_of: None,
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
        published: Look::Seen(PublishCount { accepted: 9, refused: 0 }),
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
fn dbs_that_hold_keys_and_cannot_be_looked_into_leave_a_doubt() {
    let judge = |keys: &[Option<u64>], knows_dbs: bool| {
        judged(|seen| {
            seen.dbs = vec![db(0, keys)];
            seen.other_dbs = Look::Forbidden;
            if !knows_dbs {
                seen.retention = Look::Forbidden;
            }
        })
    };
    let (severity, message, fix) = about("other-dbs", &judge(&[], true));
    assert_eq!(severity, Severity::Advice, "{message}");
    assert_eq!(fix, "redis-cli -h h -p 6379 ACL SETUSER watcher +select");
    assert_eq!(about("other-dbs", &judge(&[Some(1)], true)).0, Severity::Info, "ours has some");
    assert_eq!(about("other-dbs", &judge(&[], false)).0, Severity::Info, "others may be empty");
    for findings in [judge(&[], true), judge(&[Some(1)], true), judge(&[], false)] {
        let text = text(&findings, false);
        assert!(
            !text.contains("Nothing is wrong") && text.contains("\nNo fault was found, but other dbs"),
            "{text}"
        );
    }
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
