//! A Redis that loads its data after a restart: it takes connections and subscriptions, and nothing else.

use rustix::process::Signal;

use crate::common::models::traffic::Traffic;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;

const REALM: &str = "one.example";
const LIVE: [(&str, &str); 2] = [("realm", REALM), ("transport", "udp")];
const STATUS_KEYS: &str = "coturn_exporter_status_keys";

const UP: &str = "coturn_exporter_source_up";

/// So many keys, and so long for each, in microseconds: some seconds of loading.
const KEYS: &str = "for i = 1, 4000 do redis.call('SET', 'k' .. i, string.rep('x', 200)) end";
const SLOW: [(&str, &str); 2] =
    [("key-load-delay", "2000"), ("loading-process-events-interval-bytes", "1024")];

#[test]
fn it_is_waited_for_and_told_once_and_makes_one_gap() {
    let mut redis = Redis::start_with_settings(&SLOW);
    redis.run(&["EVAL", KEYS, "0"]);
    redis.run(&["SAVE"]);
    let exporter = Exporter::watching(&redis.url(0));
    redis.kill();
    // Answers us when it has loaded; the exporter asks all the time.
    redis.start_again();
    exporter.until_value(UP, &[], 1.0);
    let log = exporter.log();
    let lines = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    assert_eq!(lines("loading the dataset in memory"), 1, "{log}");
    assert_eq!(lines("subscribed"), 2, "before and after:\n{log}");
    assert_eq!(exporter.page().count("coturn_exporter_gaps_total", &[]), 1, "{log}");
}

/// Redis crashes, and comes back with what it last saved: keys of allocations that have ended since are among it.
#[test]
fn what_ended_since_redis_last_saved_stays_ended() {
    let mut redis = Redis::start();
    let store = TempDir::new("store");
    let store = store.path().to_str().expect("UTF-8");
    let watch = |redis: &Redis| Exporter::watching_with(&redis.url(0), &["--store.path", store]);
    let mut exporter = watch(&redis);
    let [stays, ends, comes] = [1, 2, 3].map(|id| Allocation::new(REALM, "alice", id));
    let mut statsdb = Statsdb::connect(&redis, 0);
    statsdb.open(&stays, 600);
    statsdb.open(&ends, 600);
    redis.run(&["SAVE"]);
    statsdb.close(&ends, Traffic::default(), Traffic::default());
    exporter.until_value(
        "coturn_allocations_closed_total",
        &[("realm", REALM), ("cause", "disconnected")],
        1.0,
    );

    redis.kill();
    redis.start_again();
    let is_read = |exporter: &Exporter, live, stale| {
        exporter.until_value(UP, &[], 1.0);
        exporter.until_value(STATUS_KEYS, &[("state", "stale")], stale);
        exporter.until_value("coturn_allocations", &LIVE, live);
    };
    is_read(&exporter, 1.0, 1.0);

    // The next start, of Redis and of the exporter: what is set once Redis has loaded is met.
    exporter.stop(Signal::TERM);
    redis.kill();
    redis.start_again();
    until_loaded_keys_are_old(&redis, &ends);
    Statsdb::connect(&redis, 0).leave_key(&comes, 600);
    let exporter = watch(&redis);
    is_read(&exporter, 2.0, 1.0);
    assert_eq!(exporter.page().count("coturn_allocations_adopted_total", &[("realm", REALM)]), 1);
}

/// Waits until what is set from now on is younger, beyond doubt, than what was loaded.
fn until_loaded_keys_are_old(redis: &Redis, loaded: &Allocation) {
    let mut connection = redis.connect(0);
    poll::until(PATIENCE, "the loaded keys to be old", || {
        let idle: u64 =
            redis::cmd("OBJECT").arg("IDLETIME").arg(loaded.key()).query(&mut connection).expect("a key");
        if idle > 5 { Ok(()) } else { Err(format!("{idle} s")) }
    });
}
