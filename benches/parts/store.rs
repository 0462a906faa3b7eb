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

/// Windows in which the longest wait is looked for: so many at least, and as many more, within bounds, as it takes to see a
/// snapshot made. How long each is. The one in the middle counts.
const WINDOWS: std::ops::RangeInclusive<usize> = 9..=60;
const WINDOW: Duration = Duration::from_secs(1);

/// Events a second beside the scrapes of a window: so many that snapshots are made.
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

    /// The longest of each window that coturn waited for an answer, while a scraper asks without a pause and others report.
    fn longest_waits(&mut self, fleet: Fleet, is_enough: impl Fn(usize) -> bool) -> Vec<Duration> {
        let (is_over, address, web) = (AtomicBool::new(false), self.address, self.exporter.address);
        let publisher = &mut self.publisher;
        std::thread::scope(|threads| {
            threads.spawn(|| publisher.send_paced(RATE, |number| fleet.steady(number), &is_over));
            threads.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    assert!(http::get(web, "/metrics").is_ok_and(|page| page.status == 200), "no page");
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
        let scrapes = self.scrapes();
        self.bring_near_to_a_snapshot();
        let mut rows = vec![scrapes, self.waits()];
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

    /// Reports as many as bring the journal near to its next snapshot: of two that follow each other, the second says how
    /// many there are between.
    fn bring_near_to_a_snapshot(&mut self) {
        let Self { fleet, with, .. } = self;
        let web = with.exporter.address;
        let all = || both_legs(*fleet, 0..fleet.allocations);
        let mut rounds = 0;
        for _ in 0..2 {
            let before = last_snapshot(web);
            rounds = 0;
            while last_snapshot(web) <= before {
                with.publisher.send(all());
                rounds += 1;
            }
        }
        for _ in 1..rounds {
            with.publisher.send(all());
        }
    }

    fn waits(&mut self) -> Row {
        let web = self.with.exporter.address;
        let last = || last_snapshot(web);
        let before = last();
        let with = self.with.longest_waits(self.fleet, |windows| {
            windows >= *WINDOWS.end() || windows >= *WINDOWS.start() && last() > before
        });
        let is_made = last() > before;
        let count = with.len();
        let without = self.without.longest_waits(self.fleet, |windows| windows >= *WINDOWS.start());
        let (worst, typical) = (with.iter().max().copied().unwrap_or_default(), median(with));
        let without = median(without);
        // Where it is too long already, others had the processors.
        let is_met = if typical <= BUDGET { Some(true) } else { (without <= BUDGET).then_some(false) };
        let millis = |wait: Duration| format!("{:.2} ms", wait.as_secs_f64() * 1e3);
        Row::new(
            format!(
                "coturn waits no more than 5 ms for an answer, {} live, with scrapes without a pause",
                self.fleet.allocations
            ),
            format!("{}; {} in the worst of {count} windows", millis(typical), millis(worst)),
            format!(
                "{} without a store; a snapshot was {}",
                millis(without),
                if is_made { "made" } else { "not due" }
            ),
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
