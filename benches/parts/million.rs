//! A million live allocations, told through Redis: what they weigh, and what a scrape takes beside them.

use std::time::Duration;

use crate::common::poll;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use crate::gauge::{Watch, median, memory, peak_memory};
use crate::publisher::{Publisher, address_of, taken_in};
use crate::row::Row;
use crate::stream::Fleet;

/// Realms on the page.
const REALMS: u64 = 100;

/// Live allocations that are few.
const FEW: u64 = 1000;

/// After so long nobody is young any more: who may still belong together takes memory of its own for some seconds.
pub(crate) const YOUNG: Duration = Duration::from_secs(30);

/// Scrapes of each. The fastest counts: what the table adds it adds to each, other programs do not.
const SCRAPES: usize = 61;

/// Room for all.
pub(crate) const NO_CAP: [&str; 2] = ["--allocation.max-count", "10000000"];

pub(crate) fn rows(live: u64) -> Vec<Row> {
    let fleet = Fleet::of_users(live, REALMS, 55);
    let redis = Redis::start();
    let exporter = Exporter::watching_with(&redis.url(0), &NO_CAP);
    let empty = (memory(exporter.process_id()), used_memory(&redis));
    tell(&redis, &exporter, fleet);
    let watch = Watch::start();
    while watch.elapsed() < YOUNG {
        poll::pause();
    }
    let most = peak_memory(exporter.process_id());
    let full = (memory(exporter.process_id()), used_memory(&redis));
    let of_few = Redis::start();
    let few = Exporter::watching_with(&of_few.url(0), &NO_CAP);
    tell(&of_few, &few, Fleet::of_users(FEW.min(live), REALMS, 55));
    let [among_all, among_few] = scrapes([&exporter, &few]);

    let ours = (full.0 - empty.0) * f64::from(1 << 20) / live as f64;
    let theirs = (full.1 - empty.1) as f64 / live as f64;
    let ratio = among_all[0] / among_few[0];
    vec![
        Row::new(
            format!("memory per live allocation, {live} live, users of 55 bytes: 256 B"),
            format!("{ours:.0} B"),
            format!(
                "{:.0} MiB resident, {:.0} MiB when empty; {most:.0} MiB at most, all born at once",
                full.0, empty.0
            ),
            ours <= 256.0,
        ),
        Row::new(
            "never more than Redis needs for the same keys",
            format!("{:.2}", ours / theirs),
            format!("redis-server: {theirs:.0} B for each key"),
            ours <= theirs,
        ),
        Row::new(
            format!("a scrape of {REALMS} realms takes as long at {live} live as at {FEW}: within 1.5"),
            format!("{ratio:.2}"),
            format!(
                "{:.1} ms, {:.1} ms among {FEW}; medians {:.1} ms, {:.1} ms",
                among_all[0], among_few[0], among_all[1], among_few[1]
            ),
            ratio <= 1.5,
        ),
    ]
}

/// The births of all.
fn tell(redis: &Redis, exporter: &Exporter, fleet: Fleet) {
    Publisher::connect(address_of(redis)).send(fleet.births());
    taken_in(exporter, fleet.allocations);
}

/// Milliseconds that a page of each takes, by turns: the fastest, and the one in the middle.
fn scrapes(exporters: [&Exporter; 2]) -> [[f64; 2]; 2] {
    let one = |exporter: &Exporter| {
        let watch = Watch::start();
        let response = exporter.get("/metrics").expect("a page");
        assert_eq!(response.status, 200);
        watch.elapsed()
    };
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..SCRAPES {
        for (exporter, took) in exporters.into_iter().zip(&mut took) {
            took.push(one(exporter));
        }
    }
    took.map(|took| {
        let fastest = took.iter().copied().min().expect("scrapes");
        [fastest, median(took)].map(|took| took.as_secs_f64() * 1e3)
    })
}

/// Bytes, as Redis counts them.
fn used_memory(redis: &Redis) -> u64 {
    let info: String = redis::cmd("INFO").arg("memory").query(&mut redis.connect(0)).expect("INFO");
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.expect("used_memory").parse().expect("bytes")
}
