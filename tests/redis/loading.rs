//! A Redis that loads its data after a restart: it takes connections and subscriptions, and nothing else.

use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;

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
