//! A Redis that does not take every status key, or does not keep it: nodes of a cluster, memory that runs out. A missing
//! key proves nothing there: nothing is ended for it, and the log and `doctor` say so.

use serde_json::Value;

use crate::common::net::statsdb::Allocation;
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::page::Page;
use crate::common::servers::cluster::Cluster;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::{Redis, restore_idle};
use crate::common::temp_dir::TempDir;

const REALM: &str = "one.example";
const LIVE: [(&str, &str); 2] = [("realm", REALM), ("transport", "udp")];
const UP: &str = "coturn_exporter_source_up";
const GAPS: &str = "coturn_exporter_gaps_total";
const SETTING_OK: &str = "coturn_exporter_redis_setting_ok";

/// What is said once a link.
const NOTHING_PROVEN: &str = "a missing status key proves nothing here";

/// A key whose SET is older than another's by less than so many seconds proves nothing anyway.
const APART: u64 = 3;

/// One relay thread of a coturn that does not look at the answer to its SET.
struct Heedless(redis::Connection);

impl Heedless {
    fn connect(redis: &Redis) -> Self {
        Self(redis.connect(0))
    }

    /// `new`; gives whether Redis took the key.
    fn open(&mut self, allocation: &Allocation) -> bool {
        let status = allocation.status("new", 600);
        let set = redis::cmd("SET").arg(allocation.key()).arg(&status).query::<()>(&mut self.0);
        self.publish(allocation, &status);
        set.is_ok()
    }

    fn delete(&mut self, allocation: &Allocation) {
        drop(redis::cmd("DEL").arg(allocation.key()).query::<()>(&mut self.0));
        self.publish(allocation, "deleted");
    }

    fn publish(&mut self, allocation: &Allocation, status: &str) {
        redis::cmd("PUBLISH").arg(allocation.key()).arg(status).query::<()>(&mut self.0).expect("PUBLISH");
    }
}

fn allocation(id: u64) -> Allocation {
    Allocation::new(REALM, &format!("user{id}"), id)
}

/// Waits until a key has been idle for so long that those set from now on are younger beyond doubt.
fn let_it_age(redis: &Redis, allocation: &Allocation) {
    let mut connection = redis.connect(0);
    poll::until(PATIENCE, "the first key to be older than those to come", || {
        let idle: u64 =
            redis::cmd("OBJECT").arg("IDLETIME").arg(allocation.key()).query(&mut connection).expect("a key");
        if idle >= APART { Ok(()) } else { Err(format!("{idle} s")) }
    });
}

/// Cuts the subscription, as a network does; done when the keys have been read again.
fn gap(exporter: &Exporter, redis: &Redis) {
    let before = exporter.page().count(GAPS, &[]);
    assert_eq!(redis.kill_clients("pubsub"), 1, "one subscription, the exporter's");
    exporter.until("the gap to be over", |page| {
        match (page.count(GAPS, &[]) > before, page.value(UP, &[])) {
            (true, Some(1.0)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

fn closed(page: &Page) -> u64 {
    page.count("coturn_allocations_closed_total", &[("realm", REALM)])
}

#[track_caller]
fn assert_all_live(exporter: &Exporter, live: u64) {
    let page = exporter.page();
    assert_eq!((page.count("coturn_allocations", &LIVE), closed(&page)), (live, 0), "{}", exporter.log());
}

/// How often it was said.
fn said(exporter: &Exporter) -> usize {
    exporter.log().lines().filter(|line| line.contains(NOTHING_PROVEN)).count()
}

/// It was said at the start and after the one gap. The page may say that the gap is over before the log is read.
#[track_caller]
fn is_said_once_a_link(exporter: &Exporter) {
    poll::until(PATIENCE, "both links to be said", || match said(exporter) {
        2 => Ok(()),
        other => Err(format!("{other} times\n{}", exporter.log())),
    });
}

/// What `doctor` finds: all faults and pieces of advice by their ids, and all that it says.
fn doctor(url: &str) -> (Vec<(String, String)>, Vec<Value>) {
    let ended = crate::common::servers::command::exporter(&["doctor", "--json", "--redis.url", url]);
    let report: Value =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let findings = report["findings"].as_array().expect("an array").clone();
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    let faults: Vec<_> = findings
        .iter()
        .filter(|finding| finding["severity"] == "fault")
        .map(|finding| (text(finding, "id"), text(finding, "fix")))
        .collect();
    assert_eq!(ended.code, Some(i32::from(!faults.is_empty())), "{findings:#?}");
    (faults, findings)
}

/// The rule that the others are exceptions of.
#[test]
fn where_every_key_is_kept_a_missing_one_is_an_end_that_was_missed() {
    let redis = Redis::start();
    let exporter = Exporter::watching(&redis.url(0));
    let mut coturn = Heedless::connect(&redis);
    assert!(coturn.open(&allocation(1)));
    let_it_age(&redis, &allocation(1));
    assert!(coturn.open(&allocation(2)));
    exporter.until_value("coturn_allocations", &LIVE, 2.0);
    redis.run(&["DEL", &allocation(2).key()]);
    gap(&exporter, &redis);
    exporter.until_value("coturn_allocations_closed_total", &[("realm", REALM), ("cause", "missed")], 1.0);
    assert_eq!(said(&exporter), 0, "{}", exporter.log());
    exporter.until_value(SETTING_OK, &[("setting", "cluster-enabled")], 1.0);
    exporter.until_value(SETTING_OK, &[("setting", "maxmemory-policy")], 1.0);
}

#[test]
fn in_a_cluster_no_live_allocation_ends_for_want_of_its_key() {
    const MORE: u64 = 30;
    let cluster = Cluster::start();
    let node = &cluster.nodes[0];
    node.run(&["ACL", "SETUSER", "watcher", "on", ">pw", "&turn/*", "~turn/*", "+@all", "-info", "-config"]);
    let exporter = Exporter::watching(&node.url(0));
    // The same where INFO is forbidden: what GET says is enough to know a cluster by.
    let without_info = Exporter::watching(&node.url_with("watcher:pw@", 0));
    let both = [&exporter, &without_info];
    for exporter in both {
        let line = exporter.until_logged(&[NOTHING_PROVEN]);
        for part in ["level=warn", "redis_mode=cluster", "Redis Cluster", "--statsdb.listen-address"] {
            assert!(line.contains(part), "{part} in {line}");
        }
        exporter.until_value(SETTING_OK, &[("setting", "cluster-enabled")], 0.0);
    }

    let mut coturn = Heedless::connect(node);
    let mut ids = 1..;
    let first = ids.find(|id| coturn.open(&allocation(*id))).expect("a key of this node");
    let_it_age(node, &allocation(first));
    let kept = (first + 1..=first + MORE).filter(|id| coturn.open(&allocation(*id))).count() as u64 + 1;
    let live = first + MORE;
    assert!(kept > 1 && live - kept > 1, "{kept} of {live} keys were taken");
    for exporter in both {
        exporter.until_value("coturn_allocations", &LIVE, live as f64);
    }
    assert_eq!(node.kill_clients("pubsub"), 2, "both exporters");
    for exporter in both {
        exporter.until_value(GAPS, &[], 1.0);
        exporter.until_value(UP, &[], 1.0);
        assert_all_live(exporter, live);
        is_said_once_a_link(exporter);
    }

    // A start finds what there is to find.
    let second = Exporter::watching(&node.url(0));
    assert_all_live(&second, kept);
    // No key at all is in this node, and it is not for that the wrong db.
    let elsewhere = Exporter::watching(&cluster.nodes[1].url(0));
    assert_eq!(elsewhere.page().value(SETTING_OK, &[("setting", "dbname")]), None);

    for id in 1..=live {
        coturn.delete(&allocation(id));
    }
    for exporter in both {
        exporter.until_value("coturn_allocations", &LIVE, 0.0);
        let missed = [("realm", REALM), ("cause", "missed")];
        assert_eq!(exporter.page().count("coturn_allocations_closed_total", &missed), 0);
    }
}

#[test]
fn doctor_finds_a_cluster_and_says_what_to_use_instead() {
    let cluster = Cluster::start();
    // The key that it asks for is one node's; to the others it is no fault that it is not theirs.
    for node in &cluster.nodes {
        let (faults, findings) = doctor(&node.url(0));
        let [(id, fix)] = &faults[..] else { panic!("{findings:#?}") };
        assert_eq!(id, "cluster-enabled");
        assert!(fix.contains("standalone Redis") && fix.contains("--statsdb.listen-address"), "{fix}");
    }
}

/// Fills Redis beyond its memory until it has evicted every key; it has room again then.
fn evict_all(redis: &Redis) {
    redis.run(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut connection = redis.connect(0);
    poll::until(PATIENCE, "Redis to evict all its keys", || {
        match redis::cmd("DBSIZE").query::<u64>(&mut connection).expect("DBSIZE") {
            0 => Ok(()),
            left => Err(format!("{left} keys")),
        }
    });
    redis.run(&["CONFIG", "SET", "maxmemory", "100mb"]);
}

#[test]
fn where_keys_are_evicted_no_live_allocation_ends_for_want_of_its_key() {
    const LIVE_ONES: u64 = 9;
    let redis = Redis::start_with_settings(&[("maxmemory", "100mb"), ("maxmemory-policy", "allkeys-lru")]);
    let exporter = Exporter::watching(&redis.url(0));
    let line = exporter.until_logged(&[NOTHING_PROVEN]);
    for part in
        ["level=warn", "maxmemory_policy=allkeys-lru", "evicted_keys=0", "maxmemory-policy volatile-lru"]
    {
        assert!(line.contains(part), "{part} in {line}");
    }
    exporter.until_value(SETTING_OK, &[("setting", "maxmemory-policy")], 0.0);
    let mut coturn = Heedless::connect(&redis);
    for id in 1..=LIVE_ONES {
        assert!(coturn.open(&allocation(id)));
    }
    exporter.until_value("coturn_allocations", &LIVE, LIVE_ONES as f64);
    evict_all(&redis);
    // One was spared, and is older than those that are gone.
    restore_idle(&mut redis.connect(0), [(allocation(1).key().as_bytes(), 60)]);
    gap(&exporter, &redis);
    assert_all_live(&exporter, LIVE_ONES);
    exporter.until_logged(&[NOTHING_PROVEN, &format!("evicted_keys={LIVE_ONES}")]);
    is_said_once_a_link(&exporter);
    let (faults, findings) = doctor(&redis.url(0));
    assert_eq!(faults.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["maxmemory-policy"]);
    assert!(findings.iter().any(|finding| finding["id"] == "evicted-keys"), "{findings:#?}");

    // The policy is fixed, the keys are still gone: who starts now sees that some were evicted, and doubts likewise.
    redis.run(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    gap(&exporter, &redis);
    assert_all_live(&exporter, LIVE_ONES);
    exporter.until_logged(&[NOTHING_PROVEN, "maxmemory_policy=noeviction", "recently evicted"]);
    exporter.until_value(SETTING_OK, &[("setting", "maxmemory-policy")], 1.0);
    let second = Exporter::watching(&redis.url(0));
    second.until_logged(&[NOTHING_PROVEN, "recently evicted"]);
}

/// `noeviction`, and `volatile-*` where nothing has a time to live: Redis refuses what it has no room for.
#[test]
fn where_keys_are_refused_for_want_of_memory_no_live_allocation_ends_for_that() {
    let redis = Redis::start_with_settings(&[("maxmemory", "100mb"), ("maxmemory-policy", "volatile-lru")]);
    let exporter = Exporter::watching(&redis.url(0));
    assert_eq!(said(&exporter), 0, "volatile-lru evicts none of coturn's keys\n{}", exporter.log());
    let mut coturn = Heedless::connect(&redis);
    assert!(coturn.open(&allocation(1)));
    let_it_age(&redis, &allocation(1));
    redis.run(&["CONFIG", "SET", "maxmemory", "1"]);
    for id in 2..=5 {
        assert!(!coturn.open(&allocation(id)), "there is no room");
    }
    exporter.until_value("coturn_allocations", &LIVE, 5.0);
    gap(&exporter, &redis);
    assert_all_live(&exporter, 5);
    exporter.until_logged(&[NOTHING_PROVEN, "refused_writes=4", "CONFIG SET maxmemory"]);
    exporter.until_value(SETTING_OK, &[("setting", "maxmemory-policy")], 1.0);
    let (faults, findings) = doctor(&redis.url(0));
    let [(id, _)] = &faults[..] else { panic!("{findings:#?}") };
    assert_eq!(id, "maxmemory");
}

/// It refuses writes and PINGs, and passes on what is published.
#[test]
fn a_redis_that_cannot_save_its_data_is_heard_and_no_live_allocation_ends_for_want_of_its_key() {
    let dir = TempDir::new("unsaved");
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let redis = Redis::start_with_settings(&[("dir", data.to_str().unwrap()), ("save", "3600 1")]);
    let exporter = Exporter::watching(&redis.url(0));
    let mut coturn = Heedless::connect(&redis);
    assert!(coturn.open(&allocation(1)));
    let_it_age(&redis, &allocation(1));
    let mut connection = redis.connect(0);
    std::fs::remove_dir_all(&data).unwrap();
    redis.run(&["BGSAVE"]);
    poll::until(PATIENCE, "Redis to refuse a PING", || {
        match redis::cmd("PING").query::<String>(&mut connection) {
            Err(error) if error.code() == Some("MISCONF") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    for id in 2..=5 {
        assert!(!coturn.open(&allocation(id)), "it is not taken");
    }
    exporter.until_value("coturn_allocations", &LIVE, 5.0);
    gap(&exporter, &redis);
    assert_all_live(&exporter, 5);
    exporter.until_logged(&[NOTHING_PROVEN, "refused writes", "MISCONF"]);
    let (faults, findings) = doctor(&redis.url(0));
    assert!(faults.is_empty(), "{faults:?}");
    assert!(findings.iter().any(|finding| finding["id"] == "refused-writes"), "{findings:#?}");
    // A start meanwhile.
    let second = Exporter::watching(&redis.url(0));
    assert_all_live(&second, 1);
    coturn.publish(&allocation(6), &allocation(6).status("new", 600));
    exporter.until_value("coturn_allocations", &LIVE, 6.0);
    second.until_value("coturn_allocations", &LIVE, 2.0);
}

/// Rights as they were documented before INFO was among them.
#[test]
fn without_the_right_to_info_a_missing_key_ends_nothing_and_it_is_said_what_to_grant() {
    const RULES: [&str; 9] =
        ["on", ">pw", "resetchannels", "&turn/*", "~turn/*", "-@all", "+psubscribe", "+ping", "+scan"];
    let redis = Redis::start();
    let user = |more: &[&str]| {
        redis
            .run(&[&["ACL", "SETUSER", "watcher"], &RULES[..], &["+get", "+object|idletime"], more].concat());
    };
    user(&[]);
    let exporter = Exporter::watching(&redis.url_with("watcher:pw@", 0));
    exporter.until_logged(&[NOTHING_PROVEN, "INFO gives no answer", "+info for the ACL user"]);
    let mut coturn = Heedless::connect(&redis);
    assert!(coturn.open(&allocation(1)));
    let_it_age(&redis, &allocation(1));
    assert!(coturn.open(&allocation(2)));
    exporter.until_value("coturn_allocations", &LIVE, 2.0);
    redis.run(&["DEL", &allocation(2).key()]);
    gap(&exporter, &redis);
    assert_all_live(&exporter, 2);
    // It is no cluster, as GET shows: whether the db is the right one can still be judged.
    exporter.until_value(SETTING_OK, &[("setting", "cluster-enabled")], 1.0);
    exporter.until_value(SETTING_OK, &[("setting", "dbname")], 1.0);

    user(&["+info"]);
    is_said_once_a_link(&exporter);
    gap(&exporter, &redis);
    exporter.until_value("coturn_allocations_closed_total", &[("realm", REALM), ("cause", "missed")], 1.0);
    assert_eq!(said(&exporter), 2, "{}", exporter.log());
}
