//! ACL users of Redis: the rules that the documentation gives are enough, and nothing beyond them is tried.

use redis::ErrorKind;

use crate::common::net::rights::{
    FORWARD, LEAST, OTHER_DB, PRUNE_BY_SCRIPT, PRUNE_BY_TRANSACTION, ROLE, grant, in_db,
};
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;

const REALM: &str = "one.example";

const LIVE: [(&str, &str); 2] = [("realm", REALM), ("transport", "udp")];

/// A Redis with the user `exporter` of these rules, and none of the rest.
fn redis_with_user(rules: &[&str]) -> Redis {
    let redis = Redis::start();
    grant(&redis, "exporter", rules);
    redis
}

/// What Redis has forbidden to somebody since its start, but for the one look at its settings (`CONFIG GET`) that each
/// link takes: who may not look has no `coturn_exporter_redis_setting_ok`, and is not asked again.
fn forbidden(redis: &Redis) -> Vec<String> {
    let entries: Vec<redis::Value> =
        redis::cmd("ACL").arg("LOG").query(&mut redis.connect(0)).expect("ACL LOG");
    let entries = entries.iter().map(|entry| format!("{entry:?}"));
    entries
        .filter(|entry| !(entry.contains("config|get") && entry.contains("('\"count\"'), int(1)")))
        .collect()
}

#[test]
fn the_documented_rules_are_enough_for_events_keys_and_signs_of_life() {
    for (rights, db) in [([LEAST].as_slice(), 0), (&[LEAST], 2), (&[LEAST, ROLE], 0), (&[LEAST, ROLE], 2)] {
        let rules = in_db(db, rights);
        let redis = redis_with_user(&rules);
        let mut statsdb = Statsdb::connect(&redis, db);
        statsdb.leave_key(&Allocation::new(REALM, "alice", 1), 600);

        let exporter = Exporter::watching(&redis.url_with("exporter:pw@", db));
        exporter.until_value("coturn_exporter_source_up", &[], 1.0);
        exporter.until_value("coturn_exporter_resync_ok", &[], 1.0);
        exporter.until_value("coturn_allocations", &LIVE, 1.0);
        statsdb.open(&Allocation::new(REALM, "alice", 2), 600);
        exporter.until_value("coturn_allocations", &LIVE, 2.0);
        // PING is asked for at once, and its answer lets the stream count as heard.
        assert!(redis.calls("ping") > 0, "{rules:?}");
        assert_eq!(forbidden(&redis), Vec::<String>::new(), "{rules:?}");
    }
}

#[test]
fn without_the_right_to_scan_events_are_counted_and_the_resync_is_said_to_be_impossible() {
    let without_scan = LEAST.replace(" +scan", "");
    let without_keys = LEAST.replace(" ~turn/*", "");
    for rules in [without_scan, without_keys] {
        let redis = redis_with_user(&[&rules]);
        let mut statsdb = Statsdb::connect(&redis, 0);
        statsdb.leave_key(&Allocation::new(REALM, "alice", 1), 600);

        let exporter = Exporter::watching(&redis.url_with("exporter:pw@", 0));
        exporter.until_value("coturn_exporter_source_up", &[], 1.0);
        exporter.until_value("coturn_exporter_resync_ok", &[], 0.0);
        exporter.until_logged(&["cannot read status keys", "+scan +get +object|idletime and ~turn/*"]);
        statsdb.open(&Allocation::new(REALM, "alice", 2), 600);
        exporter.until_value("coturn_allocations", &LIVE, 1.0);
    }
}

#[test]
fn what_the_tests_grant_is_what_the_documentation_says() {
    let document = include_str!("../../docs/redis.md");
    // The text as it reads, wherever its lines are broken.
    let text = document.split_whitespace().collect::<Vec<_>>().join(" ");
    let users: Vec<_> =
        document.lines().filter(|line| line.starts_with("user ") && line.contains('>')).collect();
    assert_eq!(
        users,
        [format!("user exporter on >PASSWORD {LEAST}"), format!("user forwarder on >PASSWORD {FORWARD}")]
    );
    for sentence in [
        format!("For a db other than 0 add `{OTHER_DB}`."),
        format!("`{ROLE}` lets"),
        format!("`--apply` also needs `{PRUNE_BY_SCRIPT}` (or, without scripts, `{PRUNE_BY_TRANSACTION}`)."),
    ] {
        assert!(text.contains(&sentence), "docs/redis.md does not say: {sentence}");
    }
}

#[test]
fn a_right_that_the_exporter_cannot_do_without_is_named_when_it_is_missing() {
    let other_channels = LEAST.replace("&turn/*", "&turn/realm/one.example/*");
    let no_psubscribe = LEAST.replace(" +psubscribe", "");
    let no_ping = LEAST.replace(" +ping", "");
    for (rules, db, says) in [
        (other_channels.as_str(), 0, "needs +psubscribe and &turn/*"),
        (&no_psubscribe, 0, "needs +psubscribe and &turn/*"),
        (&no_ping, 0, "needs +ping"),
        (LEAST, 2, "for a db other than 0 the ACL user needs +select"),
    ] {
        let redis = redis_with_user(&[rules]);
        let exporter = Exporter::start(&["--redis.url", &redis.url_with("exporter:pw@", db)]);
        exporter.until_logged(&["not watching", says]);
        exporter.until_value("coturn_exporter_source_up", &[], 0.0);
        assert_eq!(exporter.status("/-/ready"), 503);
    }
}

#[test]
fn a_narrower_pattern_than_the_documented_one_is_refused_by_redis_itself() {
    // Why the rule must be `&turn/*` to the letter, and the subscription too.
    let redis = redis_with_user(&[LEAST]);
    let client = redis::Client::open(redis.url_with("exporter:pw@", 0)).unwrap();
    let mut connection = client.get_connection().unwrap();
    let refused = redis::cmd("PSUBSCRIBE").arg("turn/realm/*").query::<()>(&mut connection).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Server(redis::ServerErrorKind::NoPerm), "{refused}");
}

#[test]
fn a_password_that_changes_is_used_at_the_next_connection() {
    let (redis, dir) = (Redis::start_with_password("one"), TempDir::new("password"));
    let file = dir.write("password", "one\n");
    let url = format!("redis://127.0.0.1:{}", redis.port());
    let exporter = Exporter::watching_with(&url, &["--redis.password-file", file.to_str().unwrap()]);
    let mut connection = redis.connect(0);
    dir.write("password", "two\n");
    exporter.until_logged(&["files have changed", "--redis.password-file"]);
    for words in [&["CONFIG", "SET", "requirepass", "two"][..], &["CLIENT", "KILL", "TYPE", "pubsub"]] {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(word);
        });
        command.exec(&mut connection).unwrap();
    }
    let source = format!("{url}/0");
    exporter.until_value("coturn_exporter_gaps_total", &[("source", &source)], 1.0);
    exporter.until_value("coturn_exporter_source_up", &[("source", &source)], 1.0);
    assert!(!exporter.log().contains("refuses the login"), "{}", exporter.log());
}
