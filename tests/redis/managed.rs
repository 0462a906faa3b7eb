//! A Redis that does not answer SCAN and its like, or not as Redis does: managed, behind a proxy, of another make. Events
//! are counted all the same, and what cannot be had is said.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::command::exporter;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::fake_redis::{FakeRedis, pmessage};
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;

const REALM: &str = "one.example";
const LIVE: [(&str, &str); 2] = [("realm", REALM), ("transport", "udp")];
const UP: &str = "coturn_exporter_source_up";
const RESYNC_OK: &str = "coturn_exporter_resync_ok";

/// A Redis that does not know these commands.
fn redis_without(commands: &[&str]) -> (TempDir, Redis) {
    let dir = TempDir::new("redis-conf");
    let file = dir.path().join("renamed.conf");
    let lines: Vec<String> =
        commands.iter().map(|command| format!("rename-command {command} \"\"\n")).collect();
    std::fs::write(&file, lines.concat()).expect("a file of the test's own");
    let redis = Redis::start_with_settings(&[("include", &file.display().to_string())]);
    (dir, redis)
}

#[test]
fn a_redis_without_scan_or_get_is_watched_and_the_resync_is_said_to_be_impossible() {
    for commands in [&["SCAN"][..], &["GET"], &["SCAN", "CONFIG", "INFO", "OBJECT"]] {
        let (_dir, redis) = redis_without(commands);
        let mut statsdb = Statsdb::connect(&redis, 0);
        statsdb.leave_key(&Allocation::new(REALM, "alice", 1), 600);
        let exporter = Exporter::start(&["--redis.url", &redis.url(0)]);
        exporter.until_value(UP, &[], 1.0);
        exporter.until_value(RESYNC_OK, &[], 0.0);
        assert_eq!(exporter.status("/-/ready"), 200);
        let line = exporter.until_logged(&["cannot read status keys"]);
        for part in ["level=warn", "unknown command", "--statsdb.listen-address"] {
            assert!(line.contains(part), "{commands:?}: {part} in {line}");
        }
        statsdb.open(&Allocation::new(REALM, "alice", 2), 600);
        exporter.until_value("coturn_allocations", &LIVE, 1.0);
        assert_eq!(exporter.log().matches("cannot read status keys").count(), 1, "{}", exporter.log());
    }
}

#[test]
fn without_idle_times_and_settings_the_keys_are_read_all_the_same() {
    let (_dir, redis) = redis_without(&["OBJECT", "CONFIG", "INFO", "CLIENT"]);
    Statsdb::connect(&redis, 0).leave_key(&Allocation::new(REALM, "alice", 1), 600);
    let exporter = Exporter::watching(&redis.url(0));
    exporter.until_value(RESYNC_OK, &[], 1.0);
    exporter.until_value("coturn_allocations", &LIVE, 1.0);
    exporter.until_logged(&["Redis does not say how old status keys are", "keys=1"]);
    exporter.until_logged(&["a missing status key proves nothing here", "INFO gives no answer"]);
    assert_eq!(exporter.page().value("coturn_exporter_redis_setting_ok", &[("setting", "timeout")]), None);
}

#[test]
fn doctor_says_that_a_command_is_not_to_be_had_and_what_to_do() {
    let (_dir, redis) = redis_without(&["SCAN", "INFO", "CONFIG"]);
    let ended = exporter(&["doctor", "--redis.url", &redis.url(0)]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let plain = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "fault scan: SCAN fails:",
        "fix a Redis that knows the command and does not rename it, or none: --statsdb.listen-address",
        "advice info: INFO gives no answer (",
    ] {
        assert!(plain.contains(part), "{part} in {}", ended.stdout);
    }
}

/// What a fake says to a command, and to no other of the exporter's.
type Says = fn(&[Vec<u8>]) -> Option<&'static [u8]>;

fn is(words: &[Vec<u8>], command: &str) -> bool {
    words.first().is_some_and(|word| word == command.as_bytes())
}

const KEY: &[u8] = b"*2\r\n$1\r\n0\r\n*1\r\n$70\r\nturn/realm/one.example/user/alice/allocation/000000000000000007/status\r\n";

/// The key's allocation; `type` and addresses left out, as coturn before 4.6 does.
const VALUE: &[u8] = b"$16\r\nnew lifetime=600\r\n";

#[test]
fn whatever_is_said_to_scan_or_get_the_source_is_up() {
    let odd: [(&str, Says); 9] = [
        ("a line", |words| is(words, "SCAN").then_some(b"+OK\r\n")),
        ("a number", |words| is(words, "SCAN").then_some(b":7\r\n")),
        ("nothing", |words| is(words, "SCAN").then_some(b"$-1\r\n")),
        ("no cursor", |words| is(words, "SCAN").then_some(b"*2\r\n$1\r\nx\r\n*0\r\n")),
        ("a map of keys", |words| is(words, "SCAN").then_some(b"*1\r\n*2\r\n$1\r\n0\r\n*0\r\n")),
        ("the same cursor for ever", |words| is(words, "SCAN").then_some(b"*2\r\n$1\r\n7\r\n*0\r\n")),
        ("words of its own", |words| is(words, "SCAN").then_some(b"-unsupported command 'scan'\r\n")),
        ("the end of the connection", |words| is(words, "SCAN").then_some(b"")),
        ("a number for a value", |words| match words.first().map(Vec::as_slice) {
            Some(b"SCAN") => Some(KEY),
            Some(b"OBJECT" | b"GET") => Some(b":7\r\n"),
            _ => None,
        }),
    ];
    for (what, says) in odd {
        let redis = FakeRedis::answering(says);
        let exporter = Exporter::start(&["--redis.url", &redis.url()]);
        exporter.until(&format!("{what}: to be up"), |page| match page.value(UP, &[]) {
            Some(1.0) => Ok(()),
            other => Err(format!("{other:?}\n{}", exporter.log())),
        });
        exporter.until_value(RESYNC_OK, &[], 0.0);
        let line = exporter.until_logged(&["cannot read status keys"]);
        assert!(line.contains("--statsdb.listen-address"), "{what}: {line}");
        let born = Allocation::new(REALM, "alice", 1);
        redis.send(&pmessage(born.key().as_bytes(), born.status("new", 600).as_bytes()), 1000);
        exporter.until_value("coturn_allocations", &LIVE, 1.0);
    }
}

#[test]
fn whatever_is_said_of_idle_times_the_keys_are_read() {
    const OBJECT: [Says; 3] = [
        |words| is(words, "OBJECT").then_some(b"$3\r\nabc\r\n"),
        |words| is(words, "OBJECT").then_some(b"+OK\r\n"),
        |words| is(words, "OBJECT").then_some(b"-ERR unknown command 'OBJECT'\r\n"),
    ];
    let keys: [Says; 3] = [
        |words| OBJECT[0](words).or_else(|| of_key(words)),
        |words| OBJECT[1](words).or_else(|| of_key(words)),
        |words| OBJECT[2](words).or_else(|| of_key(words)),
    ];
    for says in keys {
        let redis = FakeRedis::answering(says);
        let exporter = Exporter::start(&["--redis.url", &redis.url()]);
        exporter.until_value(UP, &[], 1.0);
        exporter.until_value(RESYNC_OK, &[], 1.0);
        let adopted = exporter.page().count("coturn_allocations_adopted_total", &[("realm", REALM)]);
        assert_eq!(adopted, 1, "{}", exporter.log());
        exporter.until_logged(&["Redis does not say how old status keys are"]);
    }
}

fn of_key(words: &[Vec<u8>]) -> Option<&'static [u8]> {
    match words.first().map(Vec::as_slice) {
        Some(b"SCAN") => Some(KEY),
        Some(b"GET") => Some(VALUE),
        _ => None,
    }
}

/// Redis' ACL log keeps each refused attempt; and what is permitted may change while a link lasts.
#[test]
fn what_is_refused_is_asked_for_once_a_link_and_what_is_not_with_each_reading() {
    static ASKED: [AtomicU32; 6] = [const { AtomicU32::new(0) }; 6];
    fn count(at: usize, words: &[Vec<u8>]) {
        for (command, place) in [("SCAN", 0), ("CONFIG", 1), ("INFO", 2)] {
            if is(words, command) {
                ASKED[at + place].fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    let refuses: Says = |words| {
        count(0, words);
        is(words, "SCAN").then_some(b"-LOADING not yet\r\n")
    };
    let permits: Says = |words| {
        count(3, words);
        match words.first().map(Vec::as_slice) {
            Some(b"SCAN") => Some(b"-LOADING not yet\r\n"),
            Some(b"CONFIG") => Some(b"*2\r\n$7\r\ntimeout\r\n$1\r\n0\r\n"),
            Some(b"INFO") => Some(b"$11\r\nmaxmemory:0\r\n"),
            _ => None,
        }
    };
    for (at, says) in [(0, refuses), (3, permits)] {
        let redis = FakeRedis::answering(says);
        let exporter = Exporter::start(&["--redis.url", &redis.url()]);
        let asked = |place: usize| ASKED[at + place].load(Ordering::SeqCst);
        poll::until(PATIENCE, "three readings of the keys", || match asked(0) {
            readings if readings > 2 => Ok(()),
            readings => Err(format!("{readings}\n{}", exporter.log())),
        });
        // A Redis that loads its data is waited for: that passes.
        assert_eq!(exporter.page().value(UP, &[]), Some(0.0));
        let (config, info) = (asked(1), asked(2));
        if at == 0 {
            assert_eq!((config, info), (1, 1));
        } else {
            assert!(info > 2 && config > 2 * 6, "{config} settings, {info} times INFO");
        }
    }
}
