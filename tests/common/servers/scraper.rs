//! Scrapers of a test's own: each with an interval, a phase, with Prometheus' header of a time-out or without.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::common::net::http;
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::page::Page;
use crate::common::readers::tally::Tally;

/// How one of them comes by.
#[derive(Clone, Copy, Debug)]
pub struct Habit {
    pub interval: Duration,
    /// How long after the start it comes first.
    pub phase: Duration,
    pub with_header: bool,
}

impl Habit {
    /// So many that differ in all of it.
    pub fn of_many(count: u64) -> Vec<Self> {
        let habit = |number: u64| Self {
            interval: Duration::from_millis(60 + 70 * number),
            phase: Duration::from_millis(23 * number),
            with_header: number.is_multiple_of(2),
        };
        (0..count).map(habit).collect()
    }
}

/// One page, as this scraper asks for it; `None` where it got none, or half of one.
pub fn scrape(address: SocketAddr, with_header: bool) -> Option<Page> {
    let header =
        if with_header { "X-Prometheus-Scrape-Timeout-Seconds: 10" } else { "User-Agent: another agent" };
    let response = http::get_with(address, "/metrics", header).ok()?;
    // Without a length a page that was cut off could not be told from a whole one.
    (response.status == 200 && response.header("content-length").is_some())
        .then(|| Page::parse(&response.body))
}

/// See the file's head.
#[derive(Debug)]
pub struct Scraper {
    address: SocketAddr,
    habit: Habit,
    pages: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Tally>,
}

impl Scraper {
    /// Begins to scrape an address at which somebody listens at times.
    pub fn start(address: SocketAddr, habit: Habit) -> Self {
        let (pages, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counted, stopped) = (Arc::clone(&pages), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut tally = Tally::default();
            let mut wait = habit.phase;
            while !stopped.load(Ordering::Relaxed) {
                poll::pass(wait);
                wait = habit.interval;
                if let Some(page) = scrape(address, habit.with_header) {
                    tally.add(&page);
                    counted.store(tally.pages(), Ordering::Relaxed);
                }
            }
            tally
        });
        Self { address, habit, pages, stop, thread }
    }

    /// How many pages it has got.
    pub fn pages(&self) -> u64 {
        self.pages.load(Ordering::Relaxed)
    }

    /// Lets it scrape once more; gives what it has added up.
    #[track_caller]
    pub fn finish(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut tally = self.thread.join().expect("it scrapes to the end");
        let last = || scrape(self.address, self.habit.with_header).ok_or_else(|| "no page".to_owned());
        tally.add(&poll::until(PATIENCE, "the last page of a scraper", last));
        tally
    }
}
