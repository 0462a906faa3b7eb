//! Whom an attack must not hurt: a coturn that reports and comes with new connections, and a scraper that connects anew for
//! each page.
//!
//! `make attacks` also asks how long they wait, beside a program that would take every processor (`ATTACKS_BUSY`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::common::models::traffic::Traffic;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE, Stopwatch};
use crate::common::servers::exporter::Exporter;

pub(super) const MIB: u64 = 1 << 20;

/// Beside the table, which is small here, an attack costs no more memory than this over the idle start.
pub(super) const MOST_MEMORY: u64 = 64 * MIB;

/// And no more than this once it is over: what the C library keeps of freed memory.
const KEPT_MEMORY: u64 = 32 * MIB;

/// Of a hundred scrapes or reports, all but one take less milliseconds, where that is asked.
const LIMIT: &str = "ATTACKS_P99_MS";

const HONEST: [(&str, &str); 3] = [("realm", "honest.example"), ("leg", "peer"), ("direction", "received")];

const REPORT: Traffic =
    Traffic { received_packets: 250, received_bytes: 43_000, sent_packets: 240, sent_bytes: 41_280 };

/// Ids of its allocations rise, and are none of those that the tests use: an id that comes again proves a restart.
static LAST_ID: AtomicU64 = AtomicU64::new(10_000);

/// A coturn and a scraper that go on until they are asked how it went.
pub(super) struct Honest {
    is_over: Arc<AtomicBool>,
    coturn: JoinHandle<(u64, Vec<Duration>)>,
    scraper: JoinHandle<Vec<Duration>>,
    busy: Vec<JoinHandle<()>>,
    idle_peak: u64,
    idle: u64,
    kept: u64,
    /// Bytes of the realm before.
    before: f64,
}

impl Honest {
    pub(super) fn begin(exporter: &Exporter, address: SocketAddr, password: Option<&str>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        // The first page is made before the memory is looked at.
        assert_eq!(exporter.status("/metrics"), 200);
        let before = exporter.page().value("coturn_relayed_bytes_total", &HONEST).unwrap_or(0.0);
        let (idle_peak, idle) = (exporter.peak_memory(), exporter.resident_memory());
        let password = password.map(str::to_owned);
        let connect = move || match &password {
            Some(password) => Statsdb::with_password(address, password),
            None => Statsdb::at(address),
        };
        let coturn = std::thread::spawn({
            let is_over = Arc::clone(&is_over);
            let mut thread = connect();
            let allocation =
                Allocation::new(HONEST[0].1, "alice", 1 + LAST_ID.fetch_add(1, Ordering::Relaxed));
            thread.open(&allocation, 3600);
            move || {
                let (mut reports, mut times) = (0, Vec::new());
                loop {
                    let watch = Stopwatch::start();
                    thread.report(&allocation, REPORT, REPORT);
                    // Another thread of it connects, and says what each does.
                    connect().tell(b"__XXX__", "__YYY__");
                    times.push(watch.elapsed());
                    reports += 1;
                    if is_over.load(Ordering::SeqCst) {
                        return (reports, times);
                    }
                    poll::pause();
                }
            }
        });
        let scraper = std::thread::spawn({
            let (is_over, page) = (Arc::clone(&is_over), exporter.address);
            let asker = exporter.scraper.clone();
            move || {
                let mut times = Vec::new();
                loop {
                    let watch = Stopwatch::start();
                    let response = asker.get(page, "/metrics").expect("an answer to the scraper");
                    assert_eq!(response.status, 200);
                    times.push(watch.elapsed());
                    if is_over.load(Ordering::SeqCst) {
                        return times;
                    }
                    poll::pause();
                }
            }
        });
        Self { coturn, scraper, busy: busy(&is_over), is_over, idle_peak, idle, kept: KEPT_MEMORY, before }
    }

    /// The C library may keep so much of what the attack took, for the next.
    pub(super) fn may_keep(self, kept: u64) -> Self {
        Self { kept, ..self }
    }

    /// Ends it. All that the coturn reported is on the page, and nothing else of its realm; the attack took no more memory
    /// than it may, and gives it back when the attackers have `left`.
    pub(super) fn end<A>(self, exporter: &Exporter, left: A) {
        self.is_over.store(true, Ordering::SeqCst);
        let (reports, reporting) = self.coturn.join().expect("each report was answered");
        let scraping = self.scraper.join().expect("each scrape was answered");
        for thread in self.busy {
            thread.join().expect("it counted");
        }
        let sent = self.before + (reports * REPORT.received_bytes) as f64;
        exporter.until_value("coturn_relayed_bytes_total", &HONEST, sent);
        let grown = exporter.peak_memory().saturating_sub(self.idle_peak);
        drop(left);
        let most = self.idle + self.kept;
        poll::until(PATIENCE, "the memory to be given back", || match exporter.resident_memory() {
            now if now <= most => Ok(()),
            now => Err(format!("{} MiB, {} MiB before the attack", now / MIB, self.idle / MIB)),
        });
        let kept = exporter.resident_memory().saturating_sub(self.idle);
        println!("memory: {} MiB more at most, {} MiB afterwards", grown / MIB, kept / MIB);
        assert!(grown < MOST_MEMORY, "{} MiB", grown / MIB);
        for (who, mut times) in [("coturn", reporting), ("scraper", scraping)] {
            times.sort();
            let p99 = times[(times.len() * 99 / 100).min(times.len() - 1)];
            println!("{who}: {} times, p99 {p99:?}", times.len());
            let is_met = longest_wait().is_none_or(|limit| p99 < limit);
            assert!(is_met, "{who}: p99 {p99:?} of {} times", times.len());
        }
    }
}

fn longest_wait() -> Option<Duration> {
    let limit = std::env::var(LIMIT).ok()?;
    Some(Duration::from_millis(limit.parse().expect("milliseconds")))
}

/// Whether it was asked to be measured on a busy machine.
fn is_busy() -> bool {
    std::env::var_os("ATTACKS_BUSY").is_some()
}

/// As many threads that only count as there are processors.
fn busy(is_over: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
    let many = std::thread::available_parallelism().map_or(2, Into::into);
    let counts = |_| {
        let is_over = Arc::clone(is_over);
        std::thread::spawn(move || {
            let mut count = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                count = std::hint::black_box(count.wrapping_add(1));
            }
        })
    };
    (0..if is_busy() { many } else { 0 }).map(counts).collect()
}
