//! The link to Redis: it may be down, die, hang, refuse us or come back empty. The exporter answers all the same,
//! says so, and goes on where it can.

use std::io::Write;
use std::net::TcpStream;

use rustix::process::Signal;

use crate::common::models::traffic::Traffic;
use crate::common::net::rights::{LEAST, ROLE, grant};
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;

const REALM: &str = "one.example";

const UP: &str = "coturn_exporter_source_up";

/// The realm's label.
const IN_REALM: [(&str, &str); 1] = [("realm", REALM)];

/// What a call of a few seconds relays.
const CALL: Traffic =
    Traffic { received_packets: 250, received_bytes: 43_000, sent_packets: 240, sent_bytes: 41_280 };

/// A whole allocation, from birth to its totals.
fn call(statsdb: &mut Statsdb, id: u64) {
    let allocation = Allocation::new(REALM, "alice", id);
    statsdb.open(&allocation, 600);
    statsdb.report(&allocation, CALL, CALL);
    statsdb.close(&allocation, CALL, CALL);
}

/// Waits until this many whole calls are counted, each byte once.
#[track_caller]
fn until_counted(exporter: &Exporter, calls: u32) {
    let calls = f64::from(calls);
    exporter.until_value("coturn_allocations_opened_total", &[IN_REALM[0], ("transport", "udp")], calls);
    for leg in ["client", "peer"] {
        for (direction, bytes) in [("received", CALL.received_bytes), ("sent", CALL.sent_bytes)] {
            let labels = [IN_REALM[0], ("leg", leg), ("direction", direction)];
            exporter.until_value("coturn_relayed_bytes_total", &labels, calls * bytes as f64);
        }
    }
    exporter.until_value("coturn_allocations", &[IN_REALM[0], ("transport", "udp")], 0.0);
}

/// Waits until a sum is above a number.
#[track_caller]
fn until_above(exporter: &Exporter, name: &str, floor: f64) {
    exporter.until(&format!("{name} above {floor}"), |page| match page.sum(name, &[]) {
        sum if sum > floor => Ok(()),
        sum => Err(format!("{sum}")),
    });
}

#[test]
fn it_starts_before_redis() {
    let mut redis = Redis::start();
    redis.kill();
    let exporter = Exporter::start(&["--redis.url", &redis.url(0)]);

    exporter.until_value(UP, &[], 0.0);
    assert_eq!(exporter.status("/-/healthy"), 200);
    assert_eq!(exporter.status("/-/ready"), 503);

    redis.start_again();
    exporter.until_value(UP, &[], 1.0);
    exporter.wait_ready();
    call(&mut Statsdb::connect(&redis, 0), 1);
    until_counted(&exporter, 1);
}

#[test]
fn redis_is_killed_and_comes_back() {
    let mut redis = Redis::start();
    let exporter = Exporter::watching(&redis.url(0));
    call(&mut Statsdb::connect(&redis, 0), 1);
    until_counted(&exporter, 1);
    assert_eq!(exporter.page().count("coturn_exporter_gaps_total", &[]), 0);

    redis.kill();
    exporter.until_value(UP, &[], 0.0);
    // What was counted stays, and so does the page.
    until_counted(&exporter, 1);
    assert_eq!(exporter.status("/-/healthy"), 200);

    redis.start_again();
    exporter.until_value(UP, &[], 1.0);
    until_above(&exporter, "coturn_exporter_gaps_total", 0.0);
    until_above(&exporter, "coturn_exporter_gap_seconds_total", 0.0);
    call(&mut Statsdb::connect(&redis, 0), 2);
    until_counted(&exporter, 2);
}

#[test]
fn our_subscription_is_killed_alone() {
    let redis = Redis::start();
    let exporter = Exporter::watching(&redis.url(0));
    call(&mut Statsdb::connect(&redis, 0), 1);
    until_counted(&exporter, 1);

    // What Redis does to a subscriber that is too slow.
    let killed: i64 = redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "pubsub"])
        .query(&mut redis.connect(0))
        .expect("CLIENT KILL");
    assert_eq!(killed, 1, "one subscription, ours");
    until_above(&exporter, "coturn_exporter_gaps_total", 0.0);
    exporter.until_value(UP, &[], 1.0);
    call(&mut Statsdb::connect(&redis, 0), 2);
    until_counted(&exporter, 2);
}

#[test]
fn redis_hangs_and_goes_on() {
    let redis = Redis::start();
    let exporter = Exporter::watching(&redis.url(0));

    // Nothing is closed: only the PING that stays without an answer can tell.
    redis.freeze();
    exporter.until_value(UP, &[], 0.0);
    redis.thaw();
    exporter.until_value(UP, &[], 1.0);
    until_above(&exporter, "coturn_exporter_gaps_total", 0.0);
    call(&mut Statsdb::connect(&redis, 0), 1);
    until_counted(&exporter, 1);
}

#[test]
fn allocations_from_before_the_start_are_adopted() {
    const DB: u8 = 5;
    let redis = Redis::start();
    let mut statsdb = Statsdb::connect(&redis, DB);
    let earlier: Vec<Allocation> = (1..=3).map(|id| Allocation::new(REALM, "alice", id)).collect();
    for allocation in &earlier {
        statsdb.leave_key(allocation, 600);
    }
    // Of another db: not ours to read.
    Statsdb::connect(&redis, 0).leave_key(&Allocation::new(REALM, "bob", 9), 600);

    let exporter = Exporter::watching(&redis.url(DB));
    let page = exporter.page();
    assert_eq!(page.count("coturn_allocations", &IN_REALM), 3);
    assert_eq!(page.count("coturn_allocations_adopted_total", &IN_REALM), 3);
    assert_eq!(page.count("coturn_allocations_opened_total", &IN_REALM), 0);
    assert_eq!(page.count("coturn_exporter_status_keys", &[("state", "live")]), 3);

    // Their totals speak of a time that we have not seen; what they report from now on is ours.
    let more = Traffic { received_packets: 10, received_bytes: 1_000, sent_packets: 10, sent_bytes: 1_000 };
    statsdb.report(&earlier[0], more, more);
    statsdb.close(&earlier[0], CALL, CALL);
    exporter.until_value("coturn_allocations", &[IN_REALM[0], ("transport", "udp")], 2.0);
    let received = [IN_REALM[0], ("leg", "peer"), ("direction", "received")];
    exporter.until_value("coturn_unseen_bytes_total", &received, (CALL.received_bytes - 1_000) as f64);
    let page = exporter.page();
    assert_eq!(page.value("coturn_relayed_bytes_total", &received), Some(1_000.0));
    assert_eq!(page.count("coturn_recovered_bytes_total", &[]), 0);
}

#[test]
fn a_wrong_password_is_said_and_not_shown() {
    let redis = Redis::start_with_password("right-one");
    let exporter = Exporter::start(&["--redis.url", &redis.url_with(":not-the-one@", 0)]);

    let log = poll::until(PATIENCE, "a line about the password in the log", || {
        let log = exporter.log();
        let lower = log.to_lowercase();
        if ["wrongpass", "password", "noauth", "authentication"].iter().any(|word| lower.contains(word)) {
            Ok(log)
        } else {
            Err(log)
        }
    });
    assert!(!log.contains("not-the-one"), "the password itself is in the log:\n{log}");
    let text = exporter.text();
    assert!(!text.contains("not-the-one"), "the password itself is on the page:\n{text}");
    exporter.until_value(UP, &[], 0.0);
    assert_eq!(exporter.status("/-/ready"), 503);
    assert_eq!(exporter.status("/-/healthy"), 200);
}

/// What is said of a source at its first attempt.
#[track_caller]
fn complaint(url: &str) -> String {
    let exporter = Exporter::start(&["--redis.url", url]);
    poll::until(PATIENCE, "a complaint in the log", || {
        let log = exporter.log();
        let line = log.lines().find(|line| line.contains("not watching")).map(str::to_owned);
        line.ok_or(log)
    })
}

#[test]
fn a_missing_password_and_a_missing_db_are_told_apart() {
    let redis = Redis::start_with_password("right-one");
    for db in [0, 1] {
        let said = complaint(&redis.url_with("", db));
        assert!(said.contains("--redis.password-file"), "db {db}: {said}");
    }
    let said = complaint(&redis.url(99));
    assert!(said.contains("check the db in the URL"), "{said}");
}

#[test]
fn the_right_password_is_taken_and_not_shown() {
    let redis = Redis::start_with_password("right-one");
    let exporter = Exporter::watching(&redis.url(0));
    call(&mut Statsdb::connect(&redis, 0), 1);
    until_counted(&exporter, 1);
    assert!(!exporter.text().contains("right-one"), "the password is on the page:\n{}", exporter.text());
    assert!(!exporter.log().contains("right-one"), "the password is in the log:\n{}", exporter.log());
}

#[test]
fn a_user_who_may_only_subscribe_sees_the_stream() {
    let redis = Redis::start();
    let mut acl = redis::cmd("ACL");
    acl.arg(&["SETUSER", "watcher", "on", ">pw", "resetchannels", "&turn/*", "+psubscribe", "+ping"]);
    acl.query::<()>(&mut redis.connect(0)).expect("ACL SETUSER");

    let exporter = Exporter::watching(&redis.url_with("watcher:pw@", 0));
    exporter.until_value(UP, &[], 1.0);
    exporter.until_value("coturn_exporter_resync_ok", &[], 0.0);
    call(&mut Statsdb::connect(&redis, 0), 1);
    until_counted(&exporter, 1);
}

#[test]
fn a_replica_that_is_syncing_is_said_to_be_once_and_watched_when_it_has_its_copy() {
    let (master, replica) = Redis::start_syncing("no");
    for (right, says) in [("+role", "is being synchronized with its master"), ("-role", "or has lost it")] {
        let user = grant(&replica, "watcher", &[LEAST, right]);
        let exporter = Exporter::start(&["--redis.url", &replica.url_with(&user, 0)]);
        exporter.until_logged(&["not watching; trying again", "this Redis is a replica", says]);
        let attempts = replica.rejected_calls("ping");
        poll::until(PATIENCE, "two attempts more", || match replica.rejected_calls("ping") - attempts {
            0 | 1 => Err(exporter.log()),
            _ => Ok(()),
        });
        assert_eq!(exporter.status("/-/ready"), 503);
        let log = exporter.log();
        assert_eq!(log.matches("trying again").count(), 1, "{log}");
        assert!(!log.contains("the connection was lost") && !log.contains("msg=subscribed"), "{log}");
        if right == "-role" {
            master.let_sync();
            exporter.wait_ready();
            call(&mut Statsdb::connect(&master, 0), 1);
            until_counted(&exporter, 1);
        }
    }
}

#[test]
fn a_replica_that_has_lost_its_master_is_said_to_have() {
    let mut master = Redis::start_with_settings(&[("repl-diskless-sync-delay", "0")]);
    let replica = Redis::start_replica_with(&master, &[("replica-serve-stale-data", "no")]);
    let user = grant(&replica, "watcher", &[LEAST, ROLE]);
    let exporter = Exporter::watching(&replica.url_with(&user, 0));
    master.kill();
    exporter.until_logged(&["not watching; trying again", "a replica that has lost its master"]);
}

#[test]
fn signals_end_it_cleanly() {
    let redis = Redis::start();
    for signal in [Signal::TERM, Signal::INT] {
        let mut exporter = Exporter::watching(&redis.url(0));
        // A client that keeps its connection open and says nothing must not hold it up.
        let mut idle = TcpStream::connect(exporter.address).expect("the exporter listens");
        idle.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request fits");
        let status = exporter.stop(signal);
        assert_eq!(status.code(), Some(0), "{signal:?}: {status}\n{}", exporter.log());
    }
}

#[test]
fn signals_end_it_without_redis() {
    let mut redis = Redis::start();
    redis.kill();
    for signal in [Signal::TERM, Signal::INT] {
        let mut exporter = Exporter::start(&["--redis.url", &redis.url(0)]);
        let status = exporter.stop(signal);
        assert_eq!(status.code(), Some(0), "{signal:?}: {status}\n{}", exporter.log());
    }
}

#[test]
fn signals_end_it_while_redis_hangs() {
    let redis = Redis::start();
    let mut exporter = Exporter::watching(&redis.url(0));
    redis.freeze();
    let status = exporter.stop(Signal::TERM);
    redis.thaw();
    assert_eq!(status.code(), Some(0), "{status}\n{}", exporter.log());
}

#[test]
fn settings_of_redis_that_lose_messages_are_told() {
    let redis = Redis::start();
    let set = |value: &str| {
        let mut connection = redis.connect(0);
        redis::cmd("CONFIG")
            .arg("SET")
            .arg("timeout")
            .arg(value)
            .query::<()>(&mut connection)
            .expect("CONFIG SET");
    };
    for (value, told) in [("60", 0.0), ("0", 1.0)] {
        set(value);
        let exporter = Exporter::watching(&redis.url(0));
        exporter.until_value("coturn_exporter_redis_setting_ok", &[("setting", "timeout")], told);
        exporter.until_value("coturn_exporter_redis_setting_ok", &[("setting", "tcp-keepalive")], 1.0);
        for setting in ["cluster-enabled", "maxmemory-policy"] {
            exporter.until_value("coturn_exporter_redis_setting_ok", &[("setting", setting)], 1.0);
        }
    }
}

/// The alert waits for longer than an hour; who has just started the exporter looks at its log.
#[test]
fn a_wrong_setting_is_logged_once_for_each_value_and_so_is_its_mending() {
    const WRONG: &str = "a setting of Redis is wrong";
    const RIGHT: &str = "a setting of Redis is right again";
    let redis = Redis::start();
    let set = |name: &str, value: &str| redis.run(&["CONFIG", "SET", name, value]);
    set("timeout", "3600");
    let exporter = Exporter::watching(&redis.url(0));
    let wrong = exporter.until_logged(&[WRONG]);
    for part in
        ["level=warn", "setting=timeout", "value=3600", "fix=\"CONFIG SET timeout 0\"", "coturn's among"]
    {
        assert!(wrong.contains(part), "{part} in {wrong}");
    }
    // Each change is seen with the next reading of the keys: after a lost link at once.
    let mut gaps = 0;
    let mut read_again = || {
        assert_eq!(redis.kill_clients("pubsub"), 1);
        gaps += 1;
        exporter.until_value("coturn_exporter_gaps_total", &[], f64::from(gaps));
        exporter.until_value(UP, &[], 1.0);
    };
    let count = |what: &str| exporter.log().lines().filter(|line| line.contains(what)).count();
    read_again();
    assert_eq!((count(WRONG), count(RIGHT)), (1, 0), "nothing changed\n{}", exporter.log());
    set("timeout", "7200");
    read_again();
    assert_eq!((count(WRONG), count(RIGHT)), (2, 0), "another value\n{}", exporter.log());
    set("timeout", "0");
    set("tcp-keepalive", "0");
    read_again();
    assert_eq!((count(WRONG), count(RIGHT)), (3, 1), "{}", exporter.log());
    exporter.until_logged(&[WRONG, "setting=tcp-keepalive", "value=0", "CONFIG SET tcp-keepalive 60"]);
    exporter.until_logged(&[RIGHT, "level=info", "setting=timeout", "value=0"]);
    exporter.until_value("coturn_exporter_redis_setting_ok", &[("setting", "timeout")], 1.0);
}
