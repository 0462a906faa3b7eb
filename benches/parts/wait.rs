//! How long a message waits for a scrape: in this process, for the wait is for a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coturn_exporter::app::ingest::SharedTable;
use coturn_exporter::clock::{Clock, ManualClock};
use coturn_exporter::metrics::{Format, MetricsPage, Render as _};

use crate::common::poll;
use crate::gauge::{InLine, Watch, median};
use crate::million::YOUNG;
use crate::row::Row;
use crate::stream::{Fleet, Message, SOURCE, START};

/// Realms on the page.
const REALMS: u64 = 100;

/// Scrapes of a window, one after the other.
const SCRAPES: usize = 20;

/// The longest wait of each window counts by the one in the middle: what a scrape does to a message it does in each,
/// what other programs do it does in some.
const WINDOWS: usize = 9;

/// What may be waited.
const BUDGET: Duration = Duration::from_millis(5);

pub(crate) fn rows(live: u64) -> Vec<Row> {
    let fleet = Fleet::of_users(live, REALMS, 55);
    // All were born at one moment, and nobody else ever was: by now they are of an age with which nothing happens.
    let clock = Arc::new(ManualClock::at(START.plus(YOUNG)));
    let shared = SharedTable::new(fleet.table(), Arc::clone(&clock) as Arc<dyn Clock>);
    shared.lock().advance(clock.now());
    let page = MetricsPage::of_process(shared.clone());
    let scrapes = || {
        for _ in 0..SCRAPES {
            page.render(Format::Text);
        }
    };
    let watch = Watch::start();
    scrapes();
    let as_long = watch.elapsed();
    let quiet = || {
        let watch = Watch::start();
        while watch.elapsed() < as_long {
            poll::pause();
        }
    };
    let mut waits = [Vec::new(), Vec::new()];
    let mut events = (0..).map(|number| fleet.busy(number));
    for _ in 0..WINDOWS {
        waits[0].push(longest_wait(&shared, &clock, &mut events, quiet));
        waits[1].push(longest_wait(&shared, &clock, &mut events, scrapes));
    }
    let worst = waits[1].iter().max().copied().unwrap_or_default();
    let [alone, beside] = waits.map(median);
    let millis = |wait: Duration| format!("{:.2} ms", wait.as_secs_f64() * 1e3);
    vec![Row::new(
        format!("a message waits no more than 5 ms for a scrape, {live} live"),
        format!("{}; {} in the worst of {WINDOWS} windows", millis(beside), millis(worst)),
        format!("{} with nobody asking", millis(alone)),
        beside <= BUDGET,
    )]
}

/// The longest that an event took to be counted while `meanwhile` ran, without the time in which other programs had the
/// processors.
fn longest_wait(
    shared: &SharedTable,
    clock: &Arc<ManualClock>,
    events: &mut (impl Iterator<Item = Message> + Send),
    meanwhile: impl FnOnce(),
) -> Duration {
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let writer = threads.spawn(|| {
            let in_line = InLine::of_this_thread();
            let (began, window) = (clock.now(), Watch::start());
            let mut longest = Duration::ZERO;
            for Message { channel, payload, .. } in events {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                clock.set(began.plus(window.elapsed()));
                let (watch, before) = (Watch::start(), in_line.so_far());
                let done = shared.lock().message(clock.now(), SOURCE, channel.as_bytes(), &payload);
                let took = watch.elapsed();
                longest = longest.max(took.saturating_sub(in_line.so_far().saturating_sub(before)));
                done.expect("understood");
            }
            longest
        });
        meanwhile();
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("it writes to the end")
    })
}
