//! The dashboards over six hours of the exporter's own pages, in a real Prometheus: what a person would see who imports
//! them. The pages are the library's, on a clock of the test's.
//!
//! `PICTURES_HISTORY=FOLDER cargo test --test dashboards history::` leaves the history there, for `dashboards/pictures`.

use std::fmt::Write as _;
use std::path::Path;

use crate::common::models::chronicle::{Chronicle, STEP};
use crate::common::models::story::{Ending, Life, Told, sorted};
use crate::common::readers::dashboards::{self, Dashboard, Kind};
use crate::common::readers::promtool::{self, test_rules};
use crate::common::servers::prometheus::Prometheus;
use crate::common::temp_dir::TempDir;
use coturn_exporter::state::Settings;
use serde_json::json;

/// 22 November 2026, 6:00 UTC.
const BEGIN: f64 = 1_795_327_200.0;
const MINUTE: f64 = 60.0;
const HOUR: f64 = 3600.0;
const LENGTH: f64 = 7.0 * HOUR;

/// A server is killed; the link to Redis is down from then until then; the exporter is started again.
const KILLED: f64 = 6.0 * HOUR;
const GAP: (f64, f64) = (4.0 * HOUR, 4.0 * HOUR + 2.0 * MINUTE);
const LEAK_BEGINS: f64 = 2.0 * HOUR;

/// The last hour that `dashboards/pictures/draw.mjs` draws.
const PICTURE_ENDS: f64 = 6.8;

const TARGET: [(&str, &str); 2] = [("job", "coturn"), ("instance", "turn.example:10641")];
const SHOP: &str = "shop.example";
const CLINIC: &str = "clinic.example";
const SCHOOL: &str = "school.example";
const SERVERS: [&str; 3] = ["192.0.2.1:3478", "192.0.2.2:3478", "192.0.2.3:3478"];

/// Numbers from 0 to 1 that look like chance and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of these.
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        self.roll();
        of[usize::try_from(self.0 >> 33).unwrap() % of.len()]
    }
}

/// Ids of a thread of coturn begin at a multiple of this; within one they rise as allocations are born.
const THREAD: u64 = 1_000_000_000_000_000;

/// Calls of a realm: about one in `every` seconds, of about `length` seconds.
fn calls(realm: &'static str, first_id: u64, every: f64, length: f64) -> Vec<Life> {
    let mut dice = Dice(first_id);
    let (mut lives, mut at) = (Vec::new(), 0.0);
    for index in 0_u64.. {
        if at >= LENGTH {
            break;
        }
        let lasts = 20.0 + length * -(1.0 - dice.roll()).ln();
        let mut life = Life::call(realm, first_id + 2 * index, at, at + lasts)
            .on(SERVERS[usize::try_from(index % 3).unwrap()]);
        life.report_every = 15.0 + 40.0 * dice.roll();
        life = life.over(dice.pick(&["UDP", "UDP", "UDP", "TLS/TCP", "TCP"]));
        life.ending = match dice.pick(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]) {
            0 => Ending::Expired,
            1 if life.transport != "UDP" => Ending::Disconnected,
            _ => Ending::Released,
        };
        if dice.roll() < 0.4 {
            // found a direct path, and keeps the relay for a while
            (life.relays_until, life.until) = (at, life.until.min(at + 50.0 * MINUTE));
        }
        if life.server == SERVERS[2] && life.from < KILLED && life.until > KILLED {
            life = life.ending(Ending::Killed);
            life.until = KILLED;
            life.relays_until = life.relays_until.min(KILLED);
        }
        if life.server != SERVERS[2] || life.from < KILLED {
            if dice.roll() < 0.5 {
                // a spare relay, gathered along with the other and let go early
                let mut spare = life.clone();
                spare.id += 1;
                (spare.until, spare.relays_until) = (life.until.min(at + 40.0), at);
                lives.push(spare);
            }
            lives.push(life);
        }
        at += every * (0.3 + 1.4 * dice.roll());
    }
    lives
}

/// The story: three realms on three servers, and a page of the shop that stops closing its connections.
fn story() -> Vec<Told> {
    let mut lives = calls(SHOP, 1, 45.0, 800.0);
    lives.extend(calls(CLINIC, THREAD, 120.0, 1800.0));
    lives.extend(calls(SCHOOL, 2 * THREAD, 300.0, 400.0));
    let leaks = (0..60).map(|n| {
        let from = LEAK_BEGINS + 4.0 * MINUTE * n as f64;
        Life::call(SHOP, 3 * THREAD + n, from, 2.0 * LENGTH)
            .idle_from(from + 3.0 * MINUTE)
            .on(SERVERS[usize::try_from(n % 2).unwrap()])
    });
    lives.extend(leaks.filter(|life| life.from < LENGTH));
    let told = lives.iter().flat_map(Life::told).filter(|message| message.at <= LENGTH);
    let mut told: Vec<_> = told.collect();
    // Probes, and somebody who is no coturn.
    for n in 0..60_u32 {
        let at = 7.0 * MINUTE * f64::from(n);
        let channel = format!("turn/realm/{SHOP}/user//allocation/{:018}/traffic", 900_000 + n);
        told.push(Told { at, channel, payload: "rcvp=4, rcvb=420, sentp=3, sentb=380".to_owned() });
        let at = at + 3.0 * MINUTE;
        told.push(Told { at, channel: "turn/of/somebody/else".to_owned(), payload: String::new() });
    }
    sorted(told)
}

fn chronicle() -> Chronicle {
    let mut chronicle = Chronicle::new(Settings::default(), BEGIN);
    let told = story();
    let mut at = 0.0;
    while at < LENGTH {
        let until = at + 5.0 * MINUTE;
        if (at - GAP.0).abs() < 1.0 {
            chronicle.link_lost();
        }
        let back = if at < GAP.1 && GAP.1 < until { GAP.1 } else { until };
        let heard = |from: f64, until: f64| -> Vec<Told> {
            let is_heard = |message: &&Told| {
                from < message.at && message.at <= until && !(GAP.0 < message.at && message.at <= GAP.1)
            };
            told.iter().filter(is_heard).cloned().collect()
        };
        chronicle.hear(&heard(at, back), back);
        if back < until {
            chronicle.link_up();
            chronicle.hear(&heard(back, until), until);
        }
        if !(GAP.0..GAP.1).contains(&until) {
            let live = chronicle.count("coturn_allocations", &[], until - STEP);
            chronicle.resync(live, if until > KILLED + HOUR { 18 } else { 6 });
        }
        at = until;
    }
    chronicle
}

/// What the process tells of itself, its store and its sinks, which a history has not lived through: plausible values. The
/// sink is slow for a while when the gap is over.
fn process(text: &mut String, target: &str) {
    let version = env!("CARGO_PKG_VERSION");
    let restart = 5.0 * HOUR;
    let mut at = 0.0;
    while at <= LENGTH {
        let t = BEGIN + at;
        let wave = (at / HOUR).sin();
        let started = if at < restart { BEGIN - 40.0 * HOUR } else { BEGIN + restart };
        for (name, value) in [
            ("process_cpu_seconds_total", 3.0 + at * 0.0004 + 0.2 * (at / HOUR)),
            ("process_resident_memory_bytes", 9.0e6 + 4.0e5 * wave),
            ("process_virtual_memory_bytes", 1.5e8),
            ("process_open_fds", 14.0 + wave.round()),
            ("process_max_fds", 1024.0),
            ("process_threads", 3.0),
            ("process_start_time_seconds", started),
            ("up", 1.0),
        ] {
            writeln!(text, "{name}{{{target}}} {value} {t}").unwrap();
        }
        writeln!(
            text,
            "coturn_exporter_build_info{{{target},version=\"{version}\",revision=\"0123456789ab\",rustversion=\"1.88.0\"}} 1 {t}"
        )
        .unwrap();
        let waits = if (GAP.1..GAP.1 + 20.0 * MINUTE).contains(&at) { 40.0 } else { 0.0 };
        let hour = (at / HOUR).floor();
        for (name, sink, value) in [
            ("coturn_exporter_store_ok", false, 1.0),
            ("coturn_exporter_store_bytes", false, 6.0e7 + 900.0 * at),
            ("coturn_exporter_store_last_snapshot_timestamp_seconds", false, BEGIN + hour * HOUR),
            ("coturn_exporter_sink_pending_events", true, waits),
            ("coturn_exporter_sink_oldest_pending_timestamp_seconds", true, t - waits),
            ("coturn_exporter_sink_delivered_total", true, at / 20.0),
            ("coturn_exporter_sink_failed_total", true, if at > GAP.1 { 4.0 } else { 0.0 }),
            ("coturn_exporter_sink_dropped_total", true, 0.0),
        ] {
            let sink = if sink { ",sink=\"postgres\"" } else { "" };
            writeln!(text, "{name}{{{target}{sink}}} {value} {t}").unwrap();
        }
        // Of coturn's file.
        writeln!(text, "coturn_server_relay_ports{{{target},relay_ip=\"\"}} 150 {t}").unwrap();
        writeln!(text, "coturn_server_quota_allocations{{{target}}} 120 {t}").unwrap();
        // A port scan now and then.
        let refused = (at / HOUR).floor();
        writeln!(
            text,
            "coturn_exporter_http_refusals_total{{{target},reason=\"head_timeout\"}} {refused} {t}"
        )
        .unwrap();
        at += STEP;
    }
}

/// The alerts of each minute, as a Prometheus with the rules would have stored them: promtool says what it finds where
/// nothing is expected.
fn alerts(chronicle: &Chronicle, text: &mut String) {
    let minutes = chronicle.length().as_secs() / 60;
    let mut series = chronicle.input_series(&TARGET);
    series.push(json!({"series": "up{job=\"coturn\", instance=\"turn.example:10641\"}", "values": format!("1x{minutes}")}));
    let asked = (0..=minutes)
        .map(|minute| json!({"expr": "ALERTS", "eval_time": format!("{minute}m"), "exp_samples": []}));
    let asked: Vec<_> = asked.collect();
    let said = test_rules(&series, &[], &asked).expect_err("alerts, which are not expected");
    let mut at = None;
    for line in said.lines().map(str::trim) {
        if let Some((_, time)) = line.split_once("time: ") {
            at = Some(BEGIN + humantime::parse_duration(time.trim_end_matches(',')).unwrap().as_secs_f64());
        }
        let Some(got) = line.strip_prefix("got: {") else { continue };
        for labels in got.split(" 1E+00").filter_map(|one| one.rsplit_once('}')).map(|(labels, _)| labels) {
            let labels = labels.trim_start_matches(", {").replace("__name__=\"ALERTS\", ", "");
            writeln!(text, "ALERTS{{{}}} 1 {}", labels.replace(", ", ","), at.expect("a time before it"))
                .unwrap();
        }
    }
}

/// Writes the blocks into `folder/data`.
fn write(chronicle: &Chronicle, folder: &Path) {
    let mut text = chronicle.openmetrics(&TARGET);
    process(&mut text, "job=\"coturn\",instance=\"turn.example:10641\"");
    alerts(chronicle, &mut text);
    text.push_str("# EOF\n");
    let file = folder.join("history.txt");
    std::fs::write(&file, text).unwrap();
    let (file, data) = (file.display().to_string(), folder.join("data").display().to_string());
    let (content, said) =
        promtool::run(&["tsdb", "create-blocks-from", "openmetrics", "--quiet", &file, &data]);
    assert!(content, "{said}");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn six_hours_fill_every_panel() {
    let chronicle = chronicle();
    if let Some(folder) = std::env::var_os("PICTURES_HISTORY") {
        write(&chronicle, Path::new(&folder));
    }
    let dir = TempDir::new("history");
    write(&chronicle, dir.path());
    let prometheus = Prometheus::with_history(dir);
    let at = |hours: f64| Some(BEGIN + hours * HOUR);
    let count = |query: &str, hours: f64| -> u64 {
        let result = prometheus.try_query(query, at(hours)).unwrap_or_else(|why| panic!("{query}: {why}"));
        result.iter().map(|series| series["value"][1].as_str().unwrap().parse::<u64>().unwrap()).sum()
    };
    let number = |query: &str, hours: f64| -> f64 {
        let result = prometheus.try_query(query, at(hours)).unwrap_or_else(|why| panic!("{query}: {why}"));
        let numbers = result.iter().filter_map(|series| series["value"][1].as_str()?.parse::<f64>().ok());
        numbers.filter(|value| !value.is_nan()).sum()
    };

    let mut empty = Vec::new();
    for query in dashboards::all().iter().flat_map(Dashboard::queries) {
        // What the fleet has is recorded, and a history has no rules.
        let is_recorded = query.dashboard == "coturn-fleet";
        if is_recorded || query.kind == Kind::Variable {
            continue;
        }
        let text = query.expression.replace("$__range", "6h");
        let text = dashboards::Query { expression: text, ..query.clone() }.filled_in("15m");
        // Somewhere in the time that is looked at.
        let data = (1..=24).any(|quarter| {
            let hours = 1.0 + f64::from(quarter) / 4.0;
            // An annotation marks one moment of two minutes.
            let steps = if query.kind == Kind::Annotation { 15 } else { 1 };
            (0..steps).any(|step| {
                let hours = hours - f64::from(step) / 60.0;
                !prometheus
                    .try_query(&text, at(hours))
                    .unwrap_or_else(|why| panic!("{text}: {why}"))
                    .is_empty()
            })
        });
        if !data {
            empty.push(format!("{}: {}: {text}", query.dashboard, query.place));
        }
    }
    assert!(empty.is_empty(), "no data in six hours:\n{}", empty.join("\n"));

    // The leak appears an hour after it began, and grows.
    let idle = "sum(coturn_orphaned_allocations{reason=\"idle\", realm=\"shop.example\"})";
    assert_eq!(count(idle, 2.9), 0);
    let [some, more] = [count(idle, 4.5), count(idle, 6.9)];
    assert!(some >= 5 && more > some, "{some}, {more}");
    assert_eq!(count("sum(coturn_orphaned_allocations{reason=\"idle\", realm!=\"shop.example\"})", 6.9), 0);
    // README.md quotes the alert as it stands at the right edge of its picture.
    let live = count("sum(coturn_allocations{realm=\"shop.example\"})", PICTURE_ENDS);
    let leaked = count(idle, PICTURE_ENDS);
    let quoted = format!("{leaked} allocations of realm \"shop.example\"");
    let share = format!("nothing, {:.2}% of all", 100.0 * leaked as f64 / live as f64);
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let readme: Vec<_> = readme.split_whitespace().filter(|word| *word != ">").collect();
    let readme = readme.join(" ");
    assert!(readme.contains(&quoted) && readme.contains(&share), "{quoted}, {share}");
    // The server's death is seen on that server.
    let abandoned =
        "increase(coturn_server_allocations_closed_total{cause=\"abandoned\", server=\"192.0.2.3\"}[1h])";
    assert!(number(abandoned, 6.5) >= 5.0);
}
