//! Keys that nobody deleted, and keys that nobody could set: what is alive, and what is not, after a long time.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use crate::common::models::balance::Books;
use crate::common::net::flood::Flood;
use crate::common::net::stale;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE, Stopwatch};
use crate::common::readers::page::Page;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use crate::common::turns;

const REALM: &str = "one.example";
const IN_REALM: [(&str, &str); 1] = [("realm", REALM)];
const UP: &str = "coturn_exporter_source_up";

const HOUR: Duration = Duration::from_secs(3600);

fn closed(page: &Page, cause: &str) -> u64 {
    page.count("coturn_allocations_closed_total", &[IN_REALM[0], ("cause", cause)])
}

/// Whoever reads a key makes it young; an exporter that read these would find them alive at its next start.
#[test]
fn stale_keys_of_a_year_are_not_alive_however_often_one_starts() {
    const STALE: u64 = 100_000;
    let redis = Redis::start();
    // More than the longest grant (an hour) and the grace, and less than Redis can count (194 days).
    stale::leave_keys(&redis, REALM, STALE, 2 * HOUR, 190 * 24 * HOUR);
    let mut statsdb = Statsdb::connect(&redis, 0);
    for id in 1..=7 {
        statsdb.leave_key(&Allocation::new(REALM, "alive", 200_000 + id), 600);
    }
    for start in 1..=3 {
        let stopwatch = Stopwatch::start();
        let mut exporter = Exporter::watching(&redis.url(0));
        let page = exporter.page();
        let keys = |state| page.value("coturn_exporter_status_keys", &[("state", state)]);
        assert_eq!((keys("stale"), keys("live")), (Some(STALE as f64), Some(7.0)), "start {start}");
        assert_eq!(page.count("coturn_allocations", &[]), 7, "start {start}");
        assert_eq!(page.count("coturn_allocations_adopted_total", &[]), 7, "start {start}");
        assert_eq!(page.count("coturn_orphaned_allocations", &[]), 0, "start {start}");
        println!(
            "start {start}: ready after {:?}, resync {} s",
            stopwatch.elapsed(),
            page.sum("coturn_exporter_resync_duration_seconds", &[])
        );
        exporter.kill();
    }
    // Never read: a GET would show here.
    assert_eq!(redis.calls("get"), 3 * 7);
    let oldest = Allocation::new(REALM, &format!("user{STALE}"), STALE).key();
    let idle: u64 =
        redis::cmd("OBJECT").arg(&["IDLETIME", &oldest]).query(&mut redis.connect(0)).expect("an idle time");
    assert!(idle > 24 * 3600, "{idle} s");

    // And they go, no other. What we have read ourselves is among those that stay.
    let mut prune = Command::new(env!("CARGO_BIN_EXE_coturn-exporter"));
    let output = prune.args(["prune", "--apply", "--redis.url", &redis.url(0)]).output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut redis.connect(0)).expect("KEYS");
    let alive = (1..=7).map(|id| Allocation::new(REALM, "alive", 200_000 + id).key());
    assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), alive.collect());
}

/// A million keys, one in ten of them of a live allocation, are read while events go on. Exact: what lives. Bounded: memory;
/// how long Redis is held up by one command is printed, and no command takes more than so many keys at once.
#[test]
fn a_million_keys_are_read_while_events_go_on() {
    const STALE: u64 = 900_000;
    const LIVE: u64 = 100_000;
    /// Keys that one command may look at: a thousand, and those in the same bucket as the last. Redis walks some tens of
    /// them in a microsecond.
    const AT_ONCE: u64 = 1024;
    const MEMORY: u64 = 400 << 20;
    let _turn = turns::take();
    let redis = Redis::start_with_settings(&[("slowlog-log-slower-than", "10000")]);
    stale::leave_keys(&redis, REALM, STALE, 2 * HOUR, 190 * 24 * HOUR);
    let mut flood = Flood::connect(&redis);
    for id in STALE + 1..=STALE + LIVE {
        let allocation = Allocation::new(REALM, &format!("user{id}"), id);
        flood.command(&[b"SET", allocation.key().as_bytes(), allocation.status("new", 3600).as_bytes()]);
    }
    flood.settle();
    redis.run(&["SLOWLOG", "RESET"]);

    let exporter = Exporter::start(&["--redis.url", &redis.url(0)]);
    let mut statsdb = Statsdb::connect(&redis, 0);
    let (mut born, mut heard_meanwhile) = (0, 0);
    let page = poll::until(4 * PATIENCE, "the keys to be read", || {
        let page = exporter.page();
        // Others come while it reads.
        born += 1;
        let id = STALE + LIVE + born;
        statsdb.open(&Allocation::new(REALM, &format!("user{id}"), id), 3600);
        if page.sum(UP, &[]) > 0.0 {
            return Ok(page);
        }
        heard_meanwhile = heard_meanwhile.max(page.count("coturn_exporter_messages_total", &[]));
        Err(format!("{heard_meanwhile} events heard"))
    });
    println!(
        "{heard_meanwhile} of {born} events heard while reading, which took {} s",
        page.sum("coturn_exporter_resync_duration_seconds", &[])
    );
    assert!(heard_meanwhile > 0, "no event was taken in while the keys were read");
    exporter.until_value("coturn_allocations", &[IN_REALM[0], ("transport", "udp")], (LIVE + born) as f64);
    let keys = |state| page.value("coturn_exporter_status_keys", &[("state", state)]);
    assert_eq!(keys("stale"), Some(STALE as f64));
    let memory = exporter.peak_memory();
    assert!(memory < MEMORY, "{} MiB", memory >> 20);

    assert!(redis.calls("scan") * AT_ONCE > STALE + LIVE, "{} SCANs", redis.calls("scan"));
    assert_eq!(redis.calls("keys"), 0);
    let mut slowlog = redis::cmd("SLOWLOG");
    let slow: Vec<redis::Value> = slowlog.arg(&["GET", "-1"]).query(&mut redis.connect(0)).expect("SLOWLOG");
    println!("{} commands took Redis longer than 10 ms: {slow:?}", slow.len());
}

/// Redis is away for many lifetimes, and comes back empty; the clients have gone on refreshing all the time. Some are
/// refreshed at once when it is back, some set their key before we listen again, and some have ended unheard.
#[test]
fn redis_is_away_for_many_lifetimes() {
    const LIFETIME: u32 = 4;
    const AWAY: Duration = Duration::from_secs(20);
    let mut redis = Redis::start();
    let exporter = Exporter::watching_with(&redis.url(0), &["--allocation.grace", "1s"]);
    let all: Vec<Allocation> = (1..=30).map(|id| Allocation::new(REALM, &format!("user{id}"), id)).collect();
    let (by_key, rest) = all.split_at(10);
    let (by_event, gone) = rest.split_at(10);
    let mut statsdb = Statsdb::connect(&redis, 0);
    for allocation in &all {
        statsdb.open(allocation, LIFETIME);
    }
    let in_udp = [IN_REALM[0], ("transport", "udp")];
    exporter.until_value("coturn_allocations", &in_udp, 30.0);
    redis.kill();
    exporter.until_value(UP, &[], 0.0);

    let mut books = Books::default();
    let stopwatch = Stopwatch::start();
    let all_alive = |page: &Page| {
        assert_eq!(page.count("coturn_allocations", &IN_REALM), 30, "after {:?}", stopwatch.elapsed());
        assert_eq!(page.count("coturn_allocations_closed_total", &IN_REALM), 0);
        assert_eq!(page.count("coturn_orphaned_allocations", &IN_REALM), 0);
    };
    poll::until(PATIENCE, "Redis to be away for long", || {
        let page = exporter.page();
        books.look(&page);
        all_alive(&page);
        if stopwatch.elapsed() >= AWAY { Ok(()) } else { Err(format!("{:?}", stopwatch.elapsed())) }
    });
    redis.start_again();
    let mut statsdb = Statsdb::connect(&redis, 0);
    for allocation in by_key {
        statsdb.leave_key(allocation, LIFETIME);
    }
    exporter.until("the link to be up, all living", |page| {
        books.look(page);
        all_alive(page);
        for allocation in by_event {
            statsdb.refresh(allocation, LIFETIME);
        }
        if page.sum(UP, &[]) > 0.0 { Ok(()) } else { Err("down".to_owned()) }
    });
    println!("up again {:?} after the loss", stopwatch.elapsed());
    // The clients go on; those that do not are missed, not abandoned: it was our watch that was interrupted.
    let wanted = gone.len() as u64;
    exporter.until("those that ended in the gap to be missed", |page| {
        for allocation in by_key.iter().chain(by_event) {
            statsdb.refresh(allocation, LIFETIME);
        }
        books.look(page);
        assert_eq!(closed(page, "abandoned"), 0);
        assert!(page.count("coturn_allocations", &IN_REALM) >= 20);
        match (closed(page, "missed"), page.count("coturn_allocations", &IN_REALM)) {
            (missed, 20) if missed == wanted => Ok(()),
            other => Err(format!("missed, live: {other:?}")),
        }
    });
    assert_eq!(
        exporter.page().count("coturn_allocations_adopted_total", &IN_REALM),
        0,
        "nobody had to be met anew"
    );
}
