//! Many sources in one process: the same stream tells the same, however it comes, and a source that keeps dying touches
//! neither its own bytes nor the others.

#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only; helpers of a test are part of it"
)]
use std::collections::BTreeMap;
use std::time::Duration;

use crate::common::models::balance::Books;
use crate::common::models::sums::legs;
use crate::common::models::traffic::{Legs, Traffic};
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE, Stopwatch};
use crate::common::readers::page::Page;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::listener::listening;
use crate::common::servers::redis::Redis;

const REALM: &str = "one.example";
const IN_REALM: [(&str, &str); 1] = [("realm", REALM)];
const GAPS: &str = "coturn_exporter_gaps_total";

/// Names what is to be changed for longer loads, such as 300 for five minutes.
const SECONDS: &str = "TEST_LOAD_SECONDS";

/// How long the load takes otherwise.
const SHORT: u64 = 6;

fn traffic(number: u64) -> Traffic {
    Traffic {
        received_packets: number % 2_000,
        received_bytes: 172 * (number % 2_000),
        sent_packets: 4_096,
        sent_bytes: 704_512,
    }
}

/// What a service publishes: calls over several threads, with all ends, probes, totals that tell more than reports.
fn service(threads: &mut [Statsdb]) {
    let count = threads.len();
    let calls: Vec<Allocation> =
        (1..=40).map(|id| Allocation::new(REALM, &format!("user{}", id % 7), id)).collect();
    for ((place, call), id) in calls.iter().enumerate().zip(0_u64..) {
        let thread = &mut threads[place % count];
        thread.open(call, 3600);
        for step in 0..id % 5 {
            thread.report(call, traffic(id + step), traffic(31 * id + step));
        }
        if id % 4 == 0 {
            thread.refresh(call, 3600);
        }
        if id % 3 == 0 {
            thread.refresh(call, 0);
        }
    }
    for ((place, call), id) in calls.iter().enumerate().zip(0_u64..) {
        let thread = &mut threads[place % count];
        if id % 8 == 0 {
            // Still live at the end.
            continue;
        }
        let steps =
            |factor: u64| (0..id % 5).fold(Traffic::default(), |sum, step| sum + traffic(factor * id + step));
        let lost = if id % 10 == 1 { traffic(5) } else { Traffic::default() };
        thread.close(call, steps(1) + lost, steps(31) + lost);
    }
    let probe = Allocation::new(REALM, "", 99);
    threads[0].tell(probe.channel("traffic").as_bytes(), "rcvp=2, rcvb=56, sentp=2, sentb=200");
    threads[0].tell(probe.channel("nonsense").as_bytes(), "rcvp=2");
}

/// What is told of a stream, without what depends on the way it came or on when.
fn told(page: &Page) -> BTreeMap<String, String> {
    let depends = |name: &str| {
        name.starts_with("process_")
            || name.contains("timestamp")
            || name.contains("duration_seconds")
            || name.contains("_statsdb_")
            || name.contains("_resync")
            || name.contains("_gap")
            || name.contains("status_keys")
            || name.contains("redis_setting")
    };
    page.iter()
        .filter(|(series, _)| !depends(&series.name))
        .map(|(series, value)| {
            let mut labels = series.labels.clone();
            labels.remove("source");
            (format!("{} {labels:?}", series.name), value.to_string())
        })
        .collect()
}

#[test]
fn the_same_stream_tells_the_same_through_redis_and_through_the_listener() {
    let redis = Redis::start();
    let subscribed = Exporter::watching(&redis.url(0));
    let (listens, address) = listening(&[]);
    // Open to the end: what they tell of lives.
    let mut through_redis = [Statsdb::connect(&redis, 0), Statsdb::connect(&redis, 0)];
    let mut straight = [Statsdb::at(address), Statsdb::at(address)];
    service(&mut through_redis);
    service(&mut straight);
    // Traffic without an allocation is told after some seconds, as are sessions that are over.
    poll::until(PATIENCE, "both pages to be alike", || {
        let pages = [&subscribed, &listens].map(|exporter| exporter.page());
        let probes = pages[0].count("coturn_unallocated_bytes_total", &[]);
        let [one, other] = pages.map(|page| told(&page));
        if one == other && probes == 256 {
            return Ok(());
        }
        let differs = one.iter().find(|(series, value)| other.get(*series) != Some(value));
        Err(format!("{differs:?} of {} and {}; probes {probes}", one.len(), other.len()))
    });
    let page = listens.page();
    assert_eq!(page.count("coturn_allocations", &IN_REALM), 5);
    assert!(page.count("coturn_recovered_bytes_total", &IN_REALM) > 0);
    assert_eq!(page.count("coturn_exporter_rejected_messages_total", &[]), 1);
}

/// One report of a relay: what the client sent goes to the peer without its headers, and the other way round.
fn relayed(number: u64) -> Legs {
    let (up, down) = (number % 2_000, 4_096);
    let leg = |received: u64, sent: u64, size: u64| Traffic {
        received_packets: received,
        received_bytes: received * size,
        sent_packets: sent,
        sent_bytes: sent * size,
    };
    Legs { client: leg(up, down, 176), peer: leg(down, up, 172) }
}

/// One source of the three, and what it was told.
struct Told {
    threads: Vec<Statsdb>,
    calls: Vec<Allocation>,
    sums: Vec<Legs>,
    rounds: u64,
}

impl Told {
    const CALLS: u64 = 12;

    fn begin(threads: Vec<Statsdb>) -> Self {
        let calls: Vec<Allocation> =
            (1..=Self::CALLS).map(|id| Allocation::new(REALM, &format!("user{id}"), id)).collect();
        let sums = vec![Legs::default(); calls.len()];
        let mut told = Self { threads, calls, sums, rounds: 0 };
        for place in 0..told.calls.len() {
            let call = told.calls[place].clone();
            told.thread(place).open(&call, 3600);
        }
        told
    }

    /// All events of a call come over one connection.
    fn thread(&mut self, place: usize) -> &mut Statsdb {
        let count = self.threads.len();
        &mut self.threads[place % count]
    }

    fn report(&mut self) {
        self.rounds += 1;
        for place in 0..self.calls.len() {
            let Legs { client, peer } = relayed(3 * self.rounds + place as u64);
            let call = self.calls[place].clone();
            self.thread(place).report(&call, client, peer);
            self.sums[place] += Legs { client, peer };
        }
    }

    fn end(&mut self) {
        for place in 0..self.calls.len() {
            let (call, sums) = (self.calls[place].clone(), self.sums[place]);
            // As coturn has them: 32 bits wide on the peer's side.
            let Traffic { received_packets, received_bytes, sent_packets, sent_bytes } = sums.peer;
            let [received_packets, received_bytes, sent_packets, sent_bytes] =
                [received_packets, received_bytes, sent_packets, sent_bytes].map(|sum| sum % (1 << 32));
            let peer = Traffic { received_packets, received_bytes, sent_packets, sent_bytes };
            self.thread(place).close(&call, sums.client, peer);
        }
    }

    fn sum(&self) -> Legs {
        self.sums.iter().fold(Legs::default(), |sum, legs| sum + *legs)
    }
}

fn seconds() -> u64 {
    let Ok(text) = std::env::var(SECONDS) else { return SHORT };
    text.parse().unwrap_or_else(|_| panic!("{SECONDS} must be a number of seconds, not {text:?}"))
}

#[test]
fn three_sources_one_of_them_flapping_are_all_exact() {
    let (steady, flapping) = (Redis::start(), Redis::start());
    let urls = [steady.url(0), flapping.url(0)];
    let (exporter, address) = listening(&["--redis.url", &urls[0], "--redis.url", &urls[1]]);
    exporter.wait_ready();
    let sources = exporter.page().label_values("coturn_exporter_source_up", "source");
    assert_eq!(sources.len(), 3, "{sources:?}");

    // The same realm, users and ids in all of them.
    let mut told = [
        Told::begin(vec![Statsdb::connect(&steady, 0), Statsdb::connect(&steady, 0)]),
        Told::begin(vec![Statsdb::connect(&flapping, 0)]),
        Told::begin(vec![Statsdb::at(address), Statsdb::at(address)]),
    ];
    let all = 3 * Told::CALLS;
    exporter.until("all to be known", |page| match page.count("coturn_allocations", &IN_REALM) {
        live if live == all => Ok(()),
        live => Err(live.to_string()),
    });

    let mut books = Books::default();
    let load = Duration::from_secs(seconds());
    let watch = Stopwatch::start();
    let mut kills = 0;
    while watch.elapsed() < load {
        for told in &mut told {
            told.report();
        }
        if told[0].rounds.is_multiple_of(50) {
            kills += flapping.kill_clients("pubsub");
            let page = exporter.page();
            books.look(&page);
            assert_eq!(page.count("coturn_allocations", &IN_REALM), all, "a dead source ends nothing");
        }
    }
    exporter.until_value("coturn_exporter_source_up", &[("source", &urls[1])], 1.0);
    for told in &mut told {
        told.end();
    }
    let sum = told.iter().fold(Legs::default(), |sum, told| sum + told.sum());
    exporter.until("each byte of all three to be counted once", |page| {
        books.look(page);
        let (live, seen) = (page.count("coturn_allocations", &IN_REALM), legs(page, REALM, "relayed"));
        if (live, seen) == (0, sum) { Ok(()) } else { Err(format!("{live} live, {seen:?}, not {sum:?}")) }
    });

    let page = exporter.page();
    println!(
        "{} rounds in {:?}, cut off {kills} times; recovered {:?}",
        told[0].rounds,
        watch.elapsed(),
        legs(&page, REALM, "recovered").peer
    );
    assert!(kills > 0, "nothing flapped");
    assert_eq!(page.count("coturn_exporter_accounting_anomalies_total", &[]), 0);
    assert_eq!(page.count("coturn_allocations_opened_total", &IN_REALM), all);
    assert_eq!(page.count("coturn_allocations_adopted_total", &IN_REALM), 0);
    for source in &sources {
        let gaps = page.count(GAPS, &[("source", source)]);
        assert_eq!(gaps > 0, source == &urls[1], "{gaps} gaps of {source}");
        assert_eq!(page.count("coturn_exporter_source_allocations", &[("source", source)]), 0);
    }
}
