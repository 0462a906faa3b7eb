//! The subscription's bytes: however they are cut, whatever stands between them, messages come out whole and in order,
//! and memory stays small.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::models::traffic::Traffic;
use crate::common::net::flood::Flood;
use crate::common::net::statsdb::{Allocation, counters};
use crate::common::poll;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::fake_redis::{FakeRedis, pmessage};
use crate::common::servers::redis::{Redis, restore_idle};

const REALM: &str = "one.example";
const UP: &str = "coturn_exporter_source_up";
const GAPS: &str = "coturn_exporter_gaps_total";
const MIB: u64 = 1 << 20;

const CALL: Traffic =
    Traffic { received_packets: 250, received_bytes: 43_000, sent_packets: 240, sent_bytes: 41_280 };

/// All that is published of one call.
fn call(id: u64) -> Vec<u8> {
    let allocation = Allocation::new(REALM, "alice", id);
    let mut bytes = pmessage(allocation.key().as_bytes(), allocation.status("new", 600).as_bytes());
    let counters = counters(CALL);
    for kind in ["traffic", "traffic/peer"] {
        bytes.extend(pmessage(allocation.channel(kind).as_bytes(), counters.as_bytes()));
    }
    bytes.extend(pmessage(allocation.key().as_bytes(), b"deleted"));
    for kind in ["total_traffic", "total_traffic/peer"] {
        bytes.extend(pmessage(allocation.channel(kind).as_bytes(), counters.as_bytes()));
    }
    bytes
}

/// Waits until so many calls are counted to the byte, and over.
#[track_caller]
fn until_counted(exporter: &Exporter, calls: u64) {
    for (direction, bytes) in [("received", CALL.received_bytes), ("sent", CALL.sent_bytes)] {
        let labels = [("realm", REALM), ("leg", "peer"), ("direction", direction)];
        exporter.until_value("coturn_relayed_bytes_total", &labels, (calls * bytes) as f64);
    }
    exporter.until_value("coturn_allocations", &[("realm", REALM), ("transport", "udp")], 0.0);
    assert_eq!(exporter.page().count("coturn_allocations_opened_total", &[]), calls);
    assert_eq!(exporter.page().count("coturn_recovered_bytes_total", &[]), 0);
}

#[test]
fn messages_are_whole_however_the_stream_is_cut() {
    let redis = FakeRedis::start();
    let exporter = Exporter::watching(&redis.url());
    let pieces = [1, 2, 3, 7, 61, 1448];
    for (id, piece) in (1..).zip(pieces) {
        redis.send(&call(id), piece);
    }
    until_counted(&exporter, pieces.len() as u64);
    assert_eq!(exporter.page().count(GAPS, &[]), 0);
}

#[test]
fn what_is_too_long_is_passed_over_and_counted() {
    let redis = FakeRedis::start();
    let exporter = Exporter::watching(&redis.url());
    let channel = Allocation::new(REALM, "alice", 1).channel("traffic");
    let long = vec![b'7'; 80 << 20];
    redis.send(&pmessage(channel.as_bytes(), &long), long.len());
    redis.send(&pmessage(&long[..70_000], b"deleted"), 1_000);
    redis.send(&call(1), 100);
    until_counted(&exporter, 1);
    let page = exporter.page();
    assert_eq!(page.count("coturn_exporter_rejected_messages_total", &[("reason", "too_long")]), 2);
    assert_eq!(page.count(GAPS, &[]), 0);
    let peak = exporter.peak_memory() / MIB;
    assert!(peak < 64, "{peak} MiB for messages of 80 MiB that nobody keeps");
}

#[test]
fn one_who_does_not_speak_the_protocol_is_left_and_tried_again() {
    let redis = FakeRedis::start();
    let exporter = Exporter::watching(&redis.url());
    for (gap, nonsense) in [(1, &b"*4\r\n$8\r\npmessage\r\n*1\r\n"[..]), (2, b"HTTP/1.1 400 Bad Request\r\n")]
    {
        redis.send(&call(gap), 500);
        redis.send(nonsense, 500);
        exporter.until_logged(&["not watching", "not the protocol of Redis"]);
        exporter.until_value(GAPS, &[], gap as f64);
        exporter.until_value(UP, &[], 1.0);
    }
    redis.send(&call(3), 500);
    until_counted(&exporter, 3);
}

/// Ends the flood with the test, passed or failed.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn the_keys_are_read_while_a_flood_goes_on() {
    const KEYS: u64 = 20_000;
    let redis = Redis::start();
    let names: Vec<String> =
        (1..=KEYS).map(|id| Allocation::new(REALM, &format!("user{id}"), id).key()).collect();
    restore_idle(&mut redis.connect(0), names.iter().map(|name| (name.as_bytes(), 1)));

    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let end = End(&is_over);
        scope.spawn(|| {
            let mut flood = Flood::connect(&redis);
            let channel = Allocation::new("flood.example", "mallory", 1).channel("traffic");
            let payload = counters(CALL);
            // As much as the exporter takes and always more than that, but not so much that Redis cuts it off.
            while !is_over.load(Ordering::SeqCst) {
                if redis.backlog() > 4 * MIB {
                    poll::pause();
                    continue;
                }
                for _ in 0..10_000 {
                    flood.publish(channel.as_bytes(), payload.as_bytes());
                }
                flood.settle();
            }
        });
        let live = [("realm", REALM), ("transport", "unknown")];
        let exporter = Exporter::start(&["--redis.url", &redis.url(0)]);
        exporter.until("the keys to be known in the middle of the flood", |page| {
            let known = page.value("coturn_allocations", &live);
            if page.value("coturn_exporter_resync_ok", &[]) == Some(1.0) && known == Some(KEYS as f64) {
                Ok(())
            } else {
                Err(format!("{known:?}, {} messages", page.count("coturn_exporter_messages_total", &[])))
            }
        });
        drop(end);
    });
}
