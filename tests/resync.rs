//! How long reading a million status keys takes beside a hundred thousand events a second. A measurement, for a release
//! build on a machine that does little else: `cargo test --release --test resync -- --ignored --nocapture`.

#![allow(
    clippy::expect_used,
    reason = "clippy.toml allows these in test functions only; helpers of a test are part of it"
)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::exporter::Exporter;
use common::flood::Flood;
use common::poll::{self, PATIENCE, Stopwatch};
use common::redis::Redis;
use common::stale;
use common::statsdb::{Allocation, counters};
use common::traffic::Traffic;

const REALM: &str = "one.example";
const KEYS: u64 = 1_000_000;
/// Events published in a second, of so many allocations.
const RATE: u64 = 100_000;
const SPEAKING: u64 = 50_000;

const REPORT: Traffic =
    Traffic { received_packets: 2048, received_bytes: 307_200, sent_packets: 2048, sent_bytes: 1_843_200 };

fn allocation(id: u64) -> Allocation {
    Allocation::new(REALM, &format!("1795343956:user{id:08}"), id)
}

/// Publishes at an even rate until it is over; tells how much.
fn publish(redis: &Redis, is_over: &AtomicBool, published: &AtomicU64) {
    let channels: Vec<String> = (1..=SPEAKING).map(|id| allocation(id).channel("traffic")).collect();
    let payload = counters(REPORT);
    let mut flood = Flood::connect(redis);
    let stopwatch = Stopwatch::start();
    let mut sent = 0;
    for channel in channels.iter().cycle() {
        flood.publish(channel.as_bytes(), payload.as_bytes());
        sent += 1;
        if sent % 1000 == 0 {
            published.store(sent, Ordering::SeqCst);
            flood.flush();
            while Duration::from_micros(sent * 1_000_000 / RATE) > stopwatch.elapsed() {
                std::thread::yield_now();
                poll::pause();
            }
            if is_over.load(Ordering::SeqCst) {
                break;
            }
        }
    }
    flood.settle();
}

fn measure(redis: &Redis, live: u64) {
    let is_over = AtomicBool::new(false);
    let published = AtomicU64::new(0);
    redis.run(&["CONFIG", "RESETSTAT"]);
    redis.run(&["SLOWLOG", "RESET"]);
    let exporter = std::thread::scope(|scope| {
        let exporter = Exporter::start(&["--redis.url", &redis.url(0), "--allocation.max-lifetime", "1h"]);
        poll::until(PATIENCE, "the subscription", || match redis.subscribers() {
            1 => Ok(()),
            other => Err(other.to_string()),
        });
        let stopwatch = Stopwatch::start();
        let flooding = scope.spawn(|| publish(redis, &is_over, &published));
        // Not by the page: fifty scrapes a second would be a load of their own.
        poll::until(5 * PATIENCE, "the keys to be read", || match exporter.get("/-/ready") {
            Ok(response) if response.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        });
        let events = published.load(Ordering::SeqCst);
        let seconds = stopwatch.elapsed().as_secs_f64();
        is_over.store(true, Ordering::SeqCst);
        flooding.join().expect("it publishes");
        let stats = |command| (redis.calls(command), redis.micros_per_call(command));
        println!(
            "{live} live of {KEYS}: {:.1} s; {:.0} events/s; CPU {:.1} s; peak {} MiB; {:?} of 10 ms; \
             scan {:?} idletime {:?} get {:?} publish {:?}",
            exporter.page().sum("coturn_exporter_resync_duration_seconds", &[]),
            events as f64 / seconds,
            exporter.cpu_seconds(),
            exporter.peak_memory() >> 20,
            redis.slow_commands(),
            stats("scan"),
            stats("object|idletime"),
            stats("get"),
            stats("publish"),
        );
        exporter
    });
    let published = published.load(Ordering::SeqCst);
    exporter.until_value("coturn_exporter_messages_total", &[("kind", "traffic")], published as f64);
    exporter.until_value("coturn_exporter_gaps_total", &[], 0.0);
    exporter.until_value("coturn_exporter_dropped_messages_total", &[], 0.0);
    let page = exporter.page();
    let keys = |state| page.count("coturn_exporter_status_keys", &[("state", state)]);
    assert_eq!((keys("live"), keys("stale")), (live, KEYS - live));
}

#[test]
#[ignore = "a measurement, which means something only in a release build on a quiet machine"]
fn a_million_keys_beside_a_hundred_thousand_events_a_second() {
    let redis = Redis::start_with_settings(&[("slowlog-log-slower-than", "10000")]);
    let mut flood = Flood::connect(&redis);
    for id in 1..=KEYS {
        let allocation = allocation(id);
        flood.command(&[b"SET", allocation.key().as_bytes(), allocation.status("new", 3600).as_bytes()]);
    }
    flood.settle();
    measure(&redis, KEYS);
}

#[test]
#[ignore = "a measurement, which means something only in a release build on a quiet machine"]
fn a_million_keys_of_the_dead_beside_a_hundred_thousand_events_a_second() {
    const HOUR: Duration = Duration::from_secs(3600);
    let redis = Redis::start_with_settings(&[("slowlog-log-slower-than", "10000")]);
    stale::leave_keys(&redis, REALM, KEYS, 2 * HOUR, 190 * 24 * HOUR);
    measure(&redis, 0);
}
