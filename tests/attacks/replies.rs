//! Replies without end: what a Redis, a sentinel or a stranger's keys say more than any answer has costs no memory, and ends
//! no more than the link that it came over.

use std::sync::OnceLock;

use super::honest::{Honest, MIB, MOST_MEMORY};
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::fake_redis::FakeRedis;
use crate::common::servers::listener::listening;
use crate::common::servers::redis::Redis;
use crate::common::turns;

const REALM: &str = "one.example";

/// The most that an exporter needs that finds no Redis.
fn idle() -> u64 {
    let exporter = Exporter::start(&["--redis.url", "redis://127.0.0.1:1"]);
    exporter.page();
    exporter.peak_memory()
}

#[track_caller]
fn needs_little(exporter: &Exporter, idle: u64) {
    let peak = exporter.peak_memory();
    println!("{} MiB at most, {} MiB idle", peak / MIB, idle / MIB);
    assert!(peak < idle + MOST_MEMORY, "{} MiB at most, {} MiB idle", peak / MIB, idle / MIB);
}

/// Anybody who may write to the Redis may have put them there.
#[test]
fn keys_with_endless_names_are_passed_over() {
    let _turn = turns::take();
    let redis = Redis::start();
    let mut connection = redis.connect(0);
    for number in 0..8 {
        let name = format!("turn/{number}{}/status", "x".repeat(24 << 20));
        ::redis::cmd("SET").arg(name).arg("new lifetime=600").query::<()>(&mut connection).expect("SET");
    }
    Statsdb::connect(&redis, 0).leave_key(&Allocation::new(REALM, "alice", 1), 600);
    let idle = idle();
    let url = redis.url(0);
    let (exporter, statsdb) = listening(&["--redis.url", &url]);
    let honest = Honest::begin(&exporter, statsdb, None);
    exporter.wait_ready();
    honest.end(&exporter, ());
    let page = exporter.page();
    assert_eq!(page.count("coturn_allocations_adopted_total", &[("realm", REALM)]), 1);
    assert_eq!(page.value("coturn_exporter_resync_ok", &[("source", &url)]), Some(1.0));
    needs_little(&exporter, idle);
}

/// A reply of 256 MiB: an array in an array, of values that are short.
fn endless() -> &'static [u8] {
    static REPLY: OnceLock<Vec<u8>> = OnceLock::new();
    REPLY.get_or_init(|| {
        let key = format!("$1000\r\nturn/{}\r\n", "x".repeat(995));
        let many = (256 << 20) / key.len();
        let mut reply = format!("*2\r\n$1\r\n7\r\n*{many}\r\n").into_bytes();
        for _ in 0..many {
            reply.extend_from_slice(key.as_bytes());
        }
        reply
    })
}

/// One value of 256 MiB.
fn endless_value() -> &'static [u8] {
    static REPLY: OnceLock<Vec<u8>> = OnceLock::new();
    REPLY.get_or_init(|| {
        let mut reply = format!("*2\r\n$7\r\ntimeout\r\n${}\r\n", 256 << 20).into_bytes();
        reply.resize(reply.len() + (256 << 20), b'x');
        reply.extend_from_slice(b"\r\n");
        reply
    })
}

#[test]
fn endless_replies_of_a_redis_are_errors_of_the_link() {
    let _turn = turns::take();
    let (of_scan, of_config) = (endless(), endless_value());
    let idle = idle();
    assert!(of_scan.len() > 200 << 20 && of_config.len() > 200 << 20);
    let scan = FakeRedis::answering(|words| (words[0] == b"SCAN").then(endless));
    let config = FakeRedis::answering(|words| match words[0].as_slice() {
        b"CONFIG" => Some(endless_value()),
        b"SCAN" => Some(b"*2\r\n$1\r\n0\r\n*0\r\n"),
        _ => None,
    });
    for redis in [scan, config] {
        let (exporter, statsdb) = listening(&["--redis.url", &redis.url()]);
        let honest = Honest::begin(&exporter, statsdb, None);
        exporter.until_logged(&["a reply of more than 8 MiB"]);
        honest.end(&exporter, ());
        needs_little(&exporter, idle);
        assert_eq!(exporter.log().matches("reading the status keys failed").count(), 1, "{}", exporter.log());
    }
}

#[test]
fn endless_replies_of_a_sentinel_are_no_answer() {
    let _turn = turns::take();
    let _ = endless_value();
    let idle = idle();
    let sentinel = FakeRedis::answering(|words| (words[0] == b"SENTINEL").then(endless_value));
    let url = sentinel.url().replace("redis://", "redis+sentinel://").replace("/0", "/mymaster/0");
    let (exporter, statsdb) = listening(&["--redis.url", &url]);
    let honest = Honest::begin(&exporter, statsdb, None);
    exporter.until_logged(&["no sentinel says where", "a reply of more than 8 MiB"]);
    honest.end(&exporter, ());
    needs_little(&exporter, idle);
}
