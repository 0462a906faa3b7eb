//! The details over the wire: off unless asked for, bad queries, names of strangers, and a hundred thousand allocations.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::models::traffic::Traffic;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use coturn_exporter::app::ingest::{Ingest, SharedTable};
use coturn_exporter::clock::SystemClock;
use coturn_exporter::details::{Detail, answer};
use coturn_exporter::state::{Settings, SourceId};
use serde_json::Value;

const PATHS: [&str; 6] = [
    "/allocations",
    "/sessions",
    "/api/v1/allocations",
    "/api/v1/sessions",
    "/api/v1/allocations.csv",
    "/api/v1/sessions.csv",
];

fn json(exporter: &Exporter, query: &str) -> Value {
    let response = exporter.get(query).unwrap_or_else(|why| panic!("{query}: {why}"));
    assert_eq!(response.status, 200, "{query}: {}", response.body);
    assert_eq!(response.header("content-type"), Some("application/json"), "{query}");
    serde_json::from_str(&response.body).unwrap_or_else(|error| panic!("{query}: {error}: {}", response.body))
}

#[test]
fn without_the_flag_there_are_no_details() {
    let redis = Redis::start();
    for (variables, flags, on) in [
        (&[][..], &[][..], false),
        (&[("COTURN_EXPORTER_WEB_ENABLE_DETAILS", "true")], &["--web.enable-details=false"], false),
        (&[("COTURN_EXPORTER_WEB_ENABLE_DETAILS", "true")], &[], true),
        (&[("COTURN_EXPORTER_WEB_ENABLE_DETAILS", "")], &[], false),
        (&[], &["--web.enable-details"], true),
    ] {
        let url = redis.url(0);
        let all: Vec<&str> = [&["--redis.url", &url], flags].concat();
        let exporter = Exporter::start_with_variables(variables, &all);
        for path in PATHS {
            assert_eq!(exporter.status(path), if on { 200 } else { 404 }, "{path} {variables:?} {flags:?}");
        }
        let landing = exporter.get("/").unwrap().body;
        assert_eq!(landing.contains("href=\"/allocations\""), on, "{landing}");
    }
}

#[test]
fn every_answer_is_guarded() {
    let redis = Redis::start();
    let exporter = Exporter::watching_with(&redis.url(0), &["--web.enable-details"]);
    for path in PATHS.into_iter().chain(["/", "/-/page.js", "/-/page.css"]) {
        let response = exporter.get(path).unwrap();
        let policy = response.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(response.header(name), Some(value), "{path}");
        }
    }
}

#[test]
fn bad_queries_get_one_sentence() {
    let redis = Redis::start();
    let exporter = Exporter::watching_with(&redis.url(0), &["--web.enable-details"]);
    let much = |length| "a".repeat(length);
    let longest = format!("user={}", much(4091));
    assert_eq!(json(&exporter, &format!("/api/v1/allocations?{longest}"))["matched"], 0);
    for path in ["/api/v1/allocations", "/api/v1/sessions", "/allocations"] {
        for query in [
            "limit=-1".to_owned(),
            "limit=1001".to_owned(),
            "colour=red".to_owned(),
            "cursor=broken".to_owned(),
            "cursor=a.orphans.n1".to_owned(),
            "sort=nothing".to_owned(),
            "user=%zz".to_owned(),
            "user=a&user=b".to_owned(),
            format!("{longest}a"),
            format!("user={}", much(15_000)),
        ] {
            let what = format!("{path}?{}", &query[..query.len().min(40)]);
            let response =
                exporter.get(&format!("{path}?{query}")).unwrap_or_else(|why| panic!("{what}: {why}"));
            assert_eq!(response.status, 400, "{what}: {}", response.body);
            if path == "/allocations" {
                assert!(response.body.contains("cannot be answered") && response.body.ends_with("</html>\n"));
                continue;
            }
            let told: Value = serde_json::from_str(&response.body).expect("JSON");
            let sentence = told["error"].as_str().expect("a sentence");
            assert!(!sentence.is_empty() && !sentence.contains('\n'), "{what}: {sentence}");
            assert_eq!(told.as_object().unwrap().len(), 1, "{what}: {}", response.body);
        }
    }
    // The metrics' own address is as long as ever.
    assert_ne!(exporter.get(&format!("/metrics?{}", much(1 << 20))).map(|response| response.status), Ok(200));
}

#[test]
fn names_of_strangers_are_told_and_do_nothing() {
    let redis = Redis::start();
    let exporter = Exporter::watching_with(&redis.url(0), &["--web.enable-details"]);
    let mut statsdb = Statsdb::connect(&redis, 0);
    let hostile =
        ["<script>alert(1)</script>", "\"onload=\"alert(1)", "a/allocation/b", "zoë\u{202e}", "=cmd|'/c'"];
    for (user, id) in hostile.iter().zip(1..) {
        statsdb.open(&Allocation::new("<b>realm</b>", user, id), 600);
    }
    let bytes = b"turn/realm/<b>realm</b>/user/caf\xe9/allocation/000000000000000009/status";
    statsdb.tell(bytes, "new lifetime=600");
    poll::until(PATIENCE, "all to be listed", || {
        let list = json(&exporter, "/api/v1/allocations");
        if list["matched"] == 6 { Ok(()) } else { Err(list.to_string()) }
    });
    for user in hostile {
        let encoded = user.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02x}"));
        let list = json(&exporter, &format!("/api/v1/allocations?user={encoded}"));
        assert_eq!((&list["matched"], &list["allocations"][0]["user"]), (&1.into(), &user.into()), "{user}");
        assert_eq!(list["allocations"][0]["realm"], "<b>realm</b>");
    }
    let list = json(&exporter, "/api/v1/sessions?user=caf%E9");
    assert_eq!(
        (&list["sessions"][0]["user"], &list["sessions"][0]["user_encoded"]),
        (&"caf\u{fffd}".into(), &"caf%E9".into())
    );

    let page = exporter.get("/allocations").unwrap().body;
    for raw in ["<script>", "<b>", "\"onload", "\u{202e}"] {
        assert!(!page.contains(raw), "{raw} in {page}");
    }
    assert!(page.contains("caf\\xe9") && page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
}

#[test]
fn rows_follow_the_life_of_an_allocation() {
    let redis = Redis::start();
    let exporter = Exporter::watching_with(&redis.url(0), &["--web.enable-details"]);
    let mut statsdb = Statsdb::connect(&redis, 0);
    let allocation = Allocation::new("one.example", "1795343956:alice", 7);
    let until = |state: Option<&str>, bytes: u64| {
        poll::until(PATIENCE, &format!("{state:?} and {bytes} bytes"), || {
            let list = json(&exporter, "/api/v1/allocations?user=alice");
            let row = &list["allocations"][0];
            let is_so = row["state"].as_str() == state && (state.is_none() || row["bytes"] == bytes);
            if is_so { Ok(()) } else { Err(list.to_string()) }
        });
    };
    until(None, 0);
    statsdb.open(&allocation, 600);
    until(Some("live"), 0);
    let leg = Traffic { received_packets: 60, received_bytes: 600, sent_packets: 40, sent_bytes: 400 };
    statsdb.report(&allocation, leg, leg);
    until(Some("live"), 1000);
    statsdb.close(&allocation, leg * 2, leg * 2);
    until(Some("closing"), 2000);
    until(None, 0);
}

/// The fields are a promise: docs/api.md has a table of them.
#[test]
fn the_documentation_names_every_field_and_nothing_else() {
    let redis = Redis::start();
    let exporter = Exporter::watching_with(&redis.url(0), &["--web.enable-details"]);
    Statsdb::connect(&redis, 0).open(&Allocation::new("one.example", "alice", 1), 600);
    let mut fields = BTreeSet::new();
    for list in ["allocations", "sessions"] {
        let row = poll::until(PATIENCE, "a row", || {
            let answer = json(&exporter, &format!("/api/v1/{list}"));
            answer[list].get(0).cloned().ok_or_else(|| answer.to_string())
        });
        fields.extend(row.as_object().expect("an object").keys().cloned());
    }
    let document = include_str!("../../docs/api.md");
    let section =
        document.split("## Who holds it? Details").nth(1).and_then(|rest| rest.split("\n## ").next());
    let tables = section.expect("the section").split("| field | meaning |").skip(1);
    let rows = tables.flat_map(|table| table.lines().skip_while(|line| !line.starts_with("| `")));
    let cells = rows.filter(|line| line.starts_with("| `")).map(|line| line.split('|').nth(1).unwrap());
    let told: BTreeSet<_> =
        cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned)).collect();
    assert_eq!(told, fields);
}

const MANY: u64 = 100_000;

/// A table of so many live allocations, each of a user of its own.
fn full() -> SharedTable {
    let shared = SharedTable::new(Ingest::new(Settings::default(), &["redis"]), Arc::new(SystemClock::new()));
    let now = shared.now();
    shared.lock().link_up(now, SourceId(0));
    for id in 0..MANY {
        message(
            &shared,
            id,
            "status",
            "new lifetime=600, type=UDP, local=127.0.0.1:3478, remote=127.0.0.1:4000",
        );
    }
    shared
}

fn message(shared: &SharedTable, id: u64, kind: &str, payload: &str) {
    let channel = format!("turn/realm/one.example/user/1795343956:user{id}/allocation/{id:018}/{kind}");
    let now = shared.now();
    let done = shared.lock().message(now, SourceId(0), channel.as_bytes(), payload.as_bytes());
    done.expect("understood");
}

#[test]
fn a_hundred_thousand_are_told_page_by_page() {
    let shared = full();
    let ask = |query: &str| -> Value {
        let answer = answer(&shared, Detail::Allocations, query);
        assert!(answer.ok, "{query}");
        serde_json::from_slice(&answer.body).unwrap()
    };
    let first = ask("limit=1000&sort=-age");
    assert_eq!((&first["matched"], first["allocations"].as_array().unwrap().len()), (&MANY.into(), 1000));
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = ask(&format!("limit=1000&sort=-age&cursor={cursor}"));
    assert_eq!(second["allocations"][0]["id"], "000000000000001000");
    assert_eq!(ask("user=user99999")["allocations"][0]["id"], "000000000000099999");
    let sessions = answer(&shared, Detail::Sessions, "limit=1");
    let sessions: Value = serde_json::from_slice(&sessions.body).unwrap();
    assert_eq!(sessions["matched"], MANY);
    let page = answer(&shared, Detail::AllocationsPage, "");
    assert!(page.ok && page.body.len() < 200_000, "the page stays small: {} bytes", page.body.len());
}

/// Prints how long the first page takes, and what taking messages in has to wait for meanwhile. Figures of a release
/// build are worth something:
///
/// ```sh
/// cargo test --release --test program details:: -- --ignored --nocapture
/// ```
#[test]
#[ignore = "prints figures, decides nothing"]
fn figures_of_the_first_page() {
    let shared = full();
    let waits = |asking: bool| {
        let stop = Arc::new(AtomicBool::new(false));
        let writer = std::thread::spawn({
            let (shared, stop) = (shared.clone(), Arc::clone(&stop));
            move || {
                let (clock, mut longest, mut id) = (Watch::default(), Duration::ZERO, 0);
                while !stop.load(Ordering::Relaxed) {
                    id = (id + 1) % MANY;
                    let began = clock.micros();
                    message(&shared, id, "traffic", "rcvp=2048, rcvb=200000, sentp=2048, sentb=200000");
                    longest = longest.max(Duration::from_micros(clock.micros() - began));
                }
                longest
            }
        });
        let clock = Watch::default();
        let mut times = Vec::new();
        for query in ["", "sort=-bytes", "sort=user", "reason=idle"].into_iter().cycle().take(40) {
            let began = clock.micros();
            if asking {
                assert!(answer(&shared, Detail::Allocations, query).ok);
            } else {
                poll::until(PATIENCE, "as long as an answer takes", || match clock.micros() - began {
                    10_000.. => Ok(()),
                    waited => Err(format!("{waited} us")),
                });
            }
            times.push(clock.micros() - began);
        }
        stop.store(true, Ordering::Relaxed);
        times.sort_unstable();
        (times, writer.join().unwrap())
    };
    let (_, alone) = waits(false);
    let (times, beside) = waits(true);
    let [median, most] = [times[times.len() / 2], times[times.len() - 1]].map(Duration::from_micros);
    println!("first page of {MANY} live allocations: median {median:?}, longest {most:?}");
    println!(
        "longest wait of one message: {alone:?} with nobody asking, {beside:?} beside one who always asks"
    );
}

/// Microseconds, for figures only: the program's own clock counts in milliseconds.
#[derive(Debug)]
struct Watch(std::time::Instant);

impl Default for Watch {
    #[expect(clippy::disallowed_methods, reason = "figures of microseconds")]
    fn default() -> Self {
        Self(std::time::Instant::now())
    }
}

impl Watch {
    fn micros(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}
