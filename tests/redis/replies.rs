//! Replies without end: what a Redis, a sentinel or a stranger's keys say more than any answer has costs no memory, and ends
//! no more than the link that it came over.

use std::sync::OnceLock;

use crate::common;
use common::exporter::Exporter;
use common::fake_redis::FakeRedis;
use common::redis::Redis;
use common::statsdb::{Allocation, Statsdb};
use common::turns;

const MIB: u64 = 1 << 20;

const REALM: &str = "one.example";

/// What the exporter may need more than one that has nothing to do.
const ROOM: u64 = 64 * MIB;

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
    assert!(peak < idle + ROOM, "{} MiB at most, {} MiB idle", peak / MIB, idle / MIB);
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
    let exporter = Exporter::start(&["--redis.url", &url]);
    exporter.wait_ready();
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
        let exporter = Exporter::start(&["--redis.url", &redis.url()]);
        exporter.until_logged(&["a reply of more than 8 MiB"]);
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
    let exporter = Exporter::start(&["--redis.url", &url]);
    exporter.until_logged(&["no sentinel tells where", "a reply of more than 8 MiB"]);
    needs_little(&exporter, idle);
}
