//! A million status keys are read back while others go on publishing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::poll;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use crate::gauge::{Watch, cpu_micros, memory, peak_memory};
use crate::million::{NO_CAP, YOUNG};
use crate::publisher::{PATIENCE, Publisher, address_of};
use crate::row::Row;
use crate::stream::Fleet;

/// Events a second, meanwhile.
const RATE: u64 = 100_000;

/// For how long Redis may be blocked, in microseconds.
const BLOCKED: u64 = 10_000;

/// What it logs as slow.
const SLOW: u64 = BLOCKED / 10;

/// A command in Redis' log: number, moment, microseconds, words, address and name of the client.
type Slow = (u64, u64, u64, Vec<Vec<u8>>, String, String);

pub(crate) fn rows(live: u64) -> Vec<Row> {
    let fleet = Fleet::of_users(live, 100, 55);
    let redis = Redis::start_with_settings(&[
        ("slowlog-log-slower-than", &SLOW.to_string()),
        ("slowlog-max-len", "1000000"),
    ]);
    Publisher::connect(address_of(&redis)).send(fleet.births());
    redis.run(&["SLOWLOG", "RESET"]);

    let stop = Arc::new(AtomicBool::new(false));
    let publisher = std::thread::spawn({
        let (mut publisher, stop) = (Publisher::connect(address_of(&redis)), Arc::clone(&stop));
        move || publisher.send_paced(RATE, |number| fleet.steady(number), &stop)
    });
    let (watch, before) = (Watch::start(), cpu_micros(redis.process_id()));
    let url = redis.url(0);
    let exporter = Exporter::start(&[&["--redis.url", &url], &NO_CAP[..]].concat());
    poll::until(PATIENCE, "the exporter to be up", || match exporter.get("/-/ready") {
        Ok(response) if response.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let seconds = watch.elapsed().as_secs_f64();
    let spent = [cpu_micros(redis.process_id()) - before, cpu_micros(exporter.process_id())];
    let [by_redis, by_us] = spent.map(|micros| micros / 1e6);
    let page = exporter.page();
    stop.store(true, Ordering::Relaxed);
    let rate = publisher.join().expect("it publishes to the end");
    let watch = Watch::start();
    while watch.elapsed() < YOUNG {
        poll::pause();
    }
    let (peak, resident) = (peak_memory(exporter.process_id()), memory(exporter.process_id()));

    let count = |name, labels: &[_]| page.count(name, labels);
    let is_up = count("coturn_exporter_source_up", &[]) == 1 && count("coturn_exporter_resync_ok", &[]) == 1;
    let found = count("coturn_exporter_status_keys", &[("state", "live")]);
    let gaps = count("coturn_exporter_gaps_total", &[]);
    let scan = page.sum("coturn_exporter_resync_duration_seconds", &[]);
    let [ours, theirs] = longest_commands(&redis);
    let is_too_long =
        |longest: &Option<Longest>| longest.as_ref().is_some_and(|longest| longest.micros > BLOCKED);
    let is_never_blocked = match [is_too_long(&ours), is_too_long(&theirs)] {
        [false, _] => Some(true),
        [true, false] => Some(false),
        // As long as that it was kept from the processor.
        [true, true] => None,
    };
    vec![
        Row::new(
            format!("resync of {live} keys: 10 s, while {RATE} events/s come in"),
            format!("{seconds:.1} s from the start to up; the scan {scan:.1} s; {found} keys, {gaps} gaps"),
            format!(
                "CPU: redis-server {by_redis:.1} s, the exporter {by_us:.1} s; {rate:.0} events/s published"
            ),
            is_up && found == live && gaps == 0 && seconds <= 10.0,
        ),
        Row::new(
            "memory bounded: at most 1.25 of what it is afterwards",
            format!("{:.2}", peak / resident),
            format!("{peak:.0} MiB at most, {resident:.0} MiB afterwards"),
            peak <= 1.25 * resident,
        ),
        Row::new(
            "Redis never blocked over 10 ms by one command",
            ours.as_ref().map_or_else(|| "under 1 ms".to_owned(), Longest::to_text),
            theirs.map_or_else(
                || "none of the publisher's over 1 ms".to_owned(),
                |theirs| format!("the publisher's own: {}", theirs.to_text()),
            ),
            is_never_blocked,
        ),
    ]
}

struct Longest {
    micros: u64,
    command: String,
    slow: usize,
}

impl Longest {
    fn to_text(&self) -> String {
        let Self { micros, command, slow } = self;
        format!("{:.1} ms ({command}); {slow} over 1 ms", *micros as f64 / 1e3)
    }
}

/// The longest of the exporter's commands and of the publisher's. The latter do nothing that takes long: theirs says
/// for how long redis-server was kept from the processor.
fn longest_commands(redis: &Redis) -> [Option<Longest>; 2] {
    let log: Vec<Slow> =
        redis::cmd("SLOWLOG").arg(&["GET", "-1"]).query(&mut redis.connect(0)).expect("SLOWLOG");
    let longest = |is_wanted: &dyn Fn(&str) -> bool| {
        let commands = log.iter().map(|(_, _, micros, words, ..)| {
            (*micros, words.first().map(|word| String::from_utf8_lossy(word).to_uppercase()))
        });
        let mut commands: Vec<(u64, String)> = commands
            .filter_map(|(micros, word)| Some((micros, word.filter(|word| is_wanted(word))?)))
            .collect();
        commands.sort_unstable();
        let slow = commands.len();
        commands.pop().map(|(micros, command)| Longest { micros, command, slow })
    };
    let of_publisher = |word: &str| matches!(word, "PUBLISH" | "SET");
    [longest(&|word| !of_publisher(word) && word != "SLOWLOG"), longest(&of_publisher)]
}
