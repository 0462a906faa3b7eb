//! ACL users of Redis: the rules that the documentation gives are enough, and nothing beyond them is tried.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only; helpers of a test are part of it"
)]

mod common;

use redis::ErrorKind;

use common::exporter::Exporter;
use common::redis::Redis;
use common::statsdb::{Allocation, Statsdb};

const REALM: &str = "one.example";

const LIVE: [(&str, &str); 2] = [("realm", REALM), ("transport", "udp")];

/// The least, for db 0.
const LEAST: &str = "resetchannels &turn/* ~turn/* -@all +psubscribe +ping +scan +get +object|idletime";

/// What a client library may want beyond that.
const USUAL: &str = "resetchannels &turn/* ~turn/* -@all +ping +hello +auth +select +psubscribe +punsubscribe +scan \
                     +get +mget +object +role +client|setname";

/// A Redis with the user `exporter` of these rules, and none of the rest.
fn redis_with_user(rules: &str) -> Redis {
    let redis = Redis::start();
    let mut command = vec!["ACL", "SETUSER", "exporter", "on", ">pw"];
    command.extend(rules.split_whitespace());
    redis.run(&command);
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
    let with_select = format!("{LEAST} +select");
    for (rules, db) in [(LEAST, 0), (&with_select, 2), (USUAL, 0), (USUAL, 2)] {
        let redis = redis_with_user(rules);
        let mut statsdb = Statsdb::connect(&redis, db);
        statsdb.leave_key(&Allocation::new(REALM, "alice", 1), 600);

        let exporter = Exporter::watching(&redis.url_with("exporter:pw@", db));
        exporter.until_value("coturn_exporter_source_up", &[], 1.0);
        exporter.until_value("coturn_exporter_resync_ok", &[], 1.0);
        exporter.until_value("coturn_allocations", &LIVE, 1.0);
        statsdb.open(&Allocation::new(REALM, "alice", 2), 600);
        exporter.until_value("coturn_allocations", &LIVE, 2.0);
        // PING is asked for at once, and its answer lets the stream count as heard.
        assert!(redis.calls("ping") > 0, "{rules}");
        assert_eq!(forbidden(&redis), Vec::<String>::new(), "{rules}");
    }
}

#[test]
fn without_the_right_to_scan_events_are_counted_and_the_resync_is_said_to_be_impossible() {
    let without_scan = LEAST.replace(" +scan", "");
    let without_keys = LEAST.replace(" ~turn/*", "");
    for rules in [without_scan, without_keys] {
        let redis = redis_with_user(&rules);
        let mut statsdb = Statsdb::connect(&redis, 0);
        statsdb.leave_key(&Allocation::new(REALM, "alice", 1), 600);

        let exporter = Exporter::watching(&redis.url_with("exporter:pw@", 0));
        exporter.until_value("coturn_exporter_source_up", &[], 1.0);
        exporter.until_value("coturn_exporter_resync_ok", &[], 0.0);
        exporter.until_logged(&["no resync", "+scan +get +object|idletime and ~turn/*"]);
        statsdb.open(&Allocation::new(REALM, "alice", 2), 600);
        exporter.until_value("coturn_allocations", &LIVE, 1.0);
    }
}

#[test]
fn without_the_right_to_subscribe_the_missing_rule_is_named() {
    let other_channels = LEAST.replace("&turn/*", "&turn/realm/one.example/*");
    let no_psubscribe = LEAST.replace(" +psubscribe", "");
    for rules in [other_channels, no_psubscribe] {
        let redis = redis_with_user(&rules);
        let exporter = Exporter::start(&["--redis.url", &redis.url_with("exporter:pw@", 0)]);
        exporter.until_logged(&["not watching", "needs +psubscribe and &turn/*"]);
        exporter.until_value("coturn_exporter_source_up", &[], 0.0);
        assert_eq!(exporter.status("/-/ready"), 503);
    }
}

#[test]
fn a_narrower_pattern_than_the_documented_one_is_refused_by_redis_itself() {
    // Why the rule must be `&turn/*` to the letter, and the subscription too.
    let redis = redis_with_user(LEAST);
    let client = redis::Client::open(redis.url_with("exporter:pw@", 0)).unwrap();
    let mut connection = client.get_connection().unwrap();
    let refused = redis::cmd("PSUBSCRIBE").arg("turn/realm/*").query::<()>(&mut connection).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Server(redis::ServerErrorKind::NoPerm), "{refused}");
}
