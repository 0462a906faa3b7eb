//! What a store costs: an exporter with one beside one without, coturn reporting straight to both, at several numbers of
//! live allocations of which each has changed since the last scrape.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::net::http;
use crate::common::net::statsdb::Statsdb;
use crate::common::poll;
use crate::common::readers::page::Page;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::listener;
use crate::common::temp_dir::TempDir;
use crate::gauge::{Watch, cpu_micros, median, written_bytes};
use crate::million::NO_CAP;
use crate::publisher::{PATIENCE, Publisher};
use crate::row::Row;
use crate::store_start;
use crate::stream::{Fleet, Holder, Message};

/// Realms on the page.
const REALMS: u64 = 100;

/// Scrapes of each; the fastest counts, as what a store adds it adds to each.
const SCRAPES: usize = 7;

/// Reports of both legs over which CPU time and writing are measured, at least: some snapshots of a small table are made
/// meanwhile.
const REPORTS: u64 = 2_000_000;

/// Snapshots over which the longest wait is looked for; the one in the middle counts.
const SNAPSHOTS: usize = 3;

/// Windows in which the longest wait is looked for, each so long; a snapshot is made in so many at most.
const WINDOW: Duration = Duration::from_secs(1);
const MOST_WINDOWS: usize = 60;

/// Between two scrapes: many scrapers. Without a pause it is processors that are waited for, with a store or without.
const PAUSE: Duration = Duration::from_millis(100);

/// Events a second beside the scrapes.
const RATE: u64 = 100_000;

/// What may be waited.
const BUDGET: Duration = Duration::from_millis(5);

/// So many at a time, up to all.
pub(crate) fn rows(live: u64) -> Vec<Row> {
    let sizes = [live / 100, live / 10, live].into_iter().filter(|&size| size > 0);
    sizes.flat_map(|size| Sides::start(Fleet::of_users(size, REALMS, 55)).rows(size == live)).collect()
}

/// An exporter, and coturn's connection to it.
pub(crate) struct Side {
    exporter: Exporter,
    address: SocketAddr,
    publisher: Publisher,
}

impl Side {
    fn start(args: &[&str]) -> Self {
        let (exporter, address) = listener::listening(&[&NO_CAP[..], args].concat());
        exporter.wait_ready();
        Self { exporter, address, publisher: Publisher::connect(address) }
    }

    /// Microseconds of CPU time and bytes written that this takes.
    fn cost_of(&mut self, messages: impl IntoIterator<Item = Message>) -> (f64, u64) {
        let id = self.exporter.process_id();
        let before = (cpu_micros(id), written_bytes(id));
        self.publisher.send(messages);
        (cpu_micros(id) - before.0, written_bytes(id) - before.1)
    }

    fn scrape(&self) -> Duration {
        let watch = Watch::start();
        let response = self.exporter.get("/metrics").expect("a page");
        assert_eq!(response.status, 200);
        watch.elapsed()
    }

    /// The longest of each window that coturn waited for an answer, while scrapers ask and others report.
    fn longest_waits(&mut self, fleet: Fleet, is_enough: impl Fn(usize) -> bool) -> Vec<Duration> {
        let (is_over, address, web) = (AtomicBool::new(false), self.address, self.exporter.address);
        let publisher = &mut self.publisher;
        std::thread::scope(|threads| {
            threads.spawn(|| publisher.send_paced(RATE, |number| fleet.steady(number), &is_over));
            threads.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    assert!(http::get(web, "/metrics").is_ok_and(|page| page.status == 200), "no page");
                    std::thread::sleep(PAUSE);
                }
            });
            let mut coturn = Statsdb::at(address);
            let messages: Vec<Message> = both_legs(fleet, 0..fleet.allocations.min(1000)).collect();
            let mut messages = messages.iter().cycle();
            let mut windows = Vec::new();
            while !is_enough(windows.len()) {
                let (window, mut longest) = (Watch::start(), Duration::ZERO);
                while window.elapsed() < WINDOW {
                    let Message { channel, payload, .. } = messages.next().expect("no end");
                    let watch = Watch::start();
                    coturn.tell(channel.as_bytes(), std::str::from_utf8(payload).expect("text"));
                    longest = longest.max(watch.elapsed());
                }
                windows.push(longest);
            }
            is_over.store(true, Ordering::Relaxed);
            windows
        })
    }
}

/// When the newest snapshot of the store was made.
fn last_snapshot(web: SocketAddr) -> f64 {
    let page = Page::parse(&http::get(web, "/metrics").expect("a page").body);
    page.sum("coturn_exporter_store_last_snapshot_timestamp_seconds", &[])
}

/// Reports of both legs of these allocations.
fn both_legs(fleet: Fleet, places: std::ops::Range<u64>) -> impl Iterator<Item = Message> {
    places.flat_map(move |place| {
        ["traffic", "traffic/peer"].map(|kind| fleet.report(Holder::first(place), kind))
    })
}

/// With a store, and without.
struct Sides {
    fleet: Fleet,
    dir: TempDir,
    with: Side,
    without: Side,
}

impl Sides {
    fn start(fleet: Fleet) -> Self {
        let dir = TempDir::new("bench-store");
        let store = dir.path().join("store").display().to_string();
        let mut sides =
            Self { fleet, dir, with: Side::start(&["--store.path", &store]), without: Side::start(&[]) };
        for side in [&mut sides.with, &mut sides.without] {
            side.publisher.send(fleet.births());
        }
        sides
    }

    fn rows(mut self, is_largest: bool) -> Vec<Row> {
        let live = self.fleet.allocations;
        let costs = self.costs();
        let mut rows = vec![self.scrapes(), self.waits()];
        rows.extend(costs);
        let store = self.dir.path().join("store");
        if is_largest {
            rows.extend(store_start::rows(&store, self.with.exporter, live));
        }
        rows
    }

    /// By turns, each after all have changed.
    fn scrapes(&mut self) -> Row {
        let live = self.fleet.allocations;
        let mut took = [Vec::new(), Vec::new()];
        for _ in 0..SCRAPES {
            for (side, took) in [&mut self.with, &mut self.without].into_iter().zip(&mut took) {
                side.publisher.send(both_legs(self.fleet, 0..live));
                took.push(side.scrape());
            }
        }
        let [with, without] = took.map(|took| {
            let fastest = took.iter().copied().min().expect("scrapes");
            [fastest, median(took)].map(|took| took.as_secs_f64() * 1e3)
        });
        let ratio = with[0] / without[0];
        Row::new(
            format!("a scrape of {live} live that all changed: within 1.2 of one without a store"),
            format!("{ratio:.2}"),
            format!(
                "{:.1} ms, {:.1} ms without; medians {:.1} ms, {:.1} ms",
                with[0], without[0], with[1], without[1]
            ),
            ratio <= 1.2,
        )
    }

    /// Reports of all until the next snapshot is made; gives how many rounds it took.
    fn report_until_a_snapshot(&mut self) -> usize {
        let before = last_snapshot(self.with.exporter.address);
        let mut rounds = 0;
        while last_snapshot(self.with.exporter.address) <= before {
            self.report_of_all(1);
            rounds += 1;
        }
        rounds
    }

    fn report_of_all(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.with.publisher.send(both_legs(self.fleet, 0..self.fleet.allocations));
        }
    }

    /// The longest wait while the next snapshot is made, which comes after `rounds` of reports; `None` if none is made.
    fn wait_of_a_snapshot(&mut self, rounds: usize) -> Option<Duration> {
        let web = self.with.exporter.address;
        self.report_of_all(rounds - 1);
        let before = last_snapshot(web);
        let is_made = || last_snapshot(web) > before;
        let windows = self.with.longest_waits(self.fleet, |windows| windows == MOST_WINDOWS || is_made());
        // It may have begun in the window before.
        windows.into_iter().rev().take(2).max().filter(|_| is_made())
    }

    fn waits(&mut self) -> Row {
        // The first begins anywhere between two snapshots.
        self.report_until_a_snapshot();
        let rounds = self.report_until_a_snapshot();
        let with: Vec<Duration> = (0..SNAPSHOTS).filter_map(|_| self.wait_of_a_snapshot(rounds)).collect();
        let without = self.without.longest_waits(self.fleet, |windows| windows == 2 * SNAPSHOTS);
        let without = median(without.chunks(2).filter_map(|two| two.iter().copied().max()).collect());
        let (worst, made) = (with.iter().max().copied().unwrap_or_default(), with.len());
        let typical = if with.is_empty() { Duration::ZERO } else { median(with) };
        let is_met = match (made == SNAPSHOTS, typical <= BUDGET) {
            (true, true) => Some(true),
            // Where it is too long already without a store, others had the processors.
            (true, false) => (without <= BUDGET).then_some(false),
            (false, _) => None,
        };
        let millis = |wait: Duration| format!("{:.2} ms", wait.as_secs_f64() * 1e3);
        Row::new(
            format!(
                "coturn waits no more than 5 ms for an answer while a snapshot is made, {} live, ten scrapes a second",
                self.fleet.allocations
            ),
            format!("{}; {} in the worst of {made} snapshots", millis(typical), millis(worst)),
            format!("{} without a store", millis(without)),
            is_met,
        )
    }

    fn costs(&mut self) -> [Row; 2] {
        let live = self.fleet.allocations;
        let rounds = (REPORTS / live).max(2);
        let messages = |fleet: Fleet| (0..rounds).flat_map(move |_| both_legs(fleet, 0..live));
        let reports = (rounds * live) as f64;
        let (with, written) = self.with.cost_of(messages(self.fleet));
        let (without, _) = self.without.cost_of(messages(self.fleet));
        let (ratio, bytes) = (with / without, written as f64 / reports);
        let micros = |cost: f64| cost / (2.0 * reports);
        [
            Row::new(
                format!("CPU per event, {live} live: within 1.5 of that without a store"),
                format!("{ratio:.2}"),
                format!("{:.2} µs, {:.2} µs without", micros(with), micros(without)),
                ratio <= 1.5,
            ),
            Row::new(
                format!("bytes written per report of both legs, {live} live, snapshots included: 64 B"),
                format!("{bytes:.0} B"),
                format!("{} MiB for {reports:.0} reports", written >> 20),
                bytes <= 64.0,
            ),
        ]
    }
}

/// Waits until a file or a page says so, without the pauses that tests make.
pub(crate) fn at_once<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let watch = Watch::start();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(watch.elapsed() < PATIENCE, "waited for {what}");
        poll::pass(Duration::from_millis(1));
    }
}
