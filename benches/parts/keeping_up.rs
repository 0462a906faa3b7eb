//! Redis publishes as fast as it can; nothing may be lost, and nothing may pile up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::poll;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use crate::gauge::Watch;
use crate::publisher::{Publisher, Ready, address_of, of_subscribers, taken_in};
use crate::row::Row;
use crate::stream::Fleet;

/// What Redis bears for as long as it takes (`client-output-buffer-limit pubsub 32mb 8mb 60`), in bytes. What grows
/// passes it soon: a second of events is ten times as much.
const BEARABLE: u64 = 8 << 20;

pub(crate) fn rows(events: u64, live: u64) -> Vec<Row> {
    let fleet = Fleet::new(live.min(50_000), 10);
    let redis = Redis::start();
    let exporter = Exporter::watching(&redis.url(0));
    let mut publisher = Publisher::connect(address_of(&redis));
    publisher.send(fleet.births());
    taken_in(&exporter, fleet.allocations);

    let ready = Ready::new(fleet, events);
    let watcher = Watcher::start(&redis);
    let watch = Watch::start();
    publisher.send_ready(&ready);
    let rate = ready.events as f64 / watch.elapsed().as_secs_f64();
    let [waiting, buffers] = watcher.stop();
    let all = fleet.allocations + ready.events;
    let lost = all - taken_in(&exporter, all);
    let page = exporter.page();
    let gaps = page.count("coturn_exporter_gaps_total", &[]);
    // Each hundred ends one, by a disconnect: all else would mean that the stream is none that a coturn sends.
    let ended = page.count("coturn_allocations_closed_total", &[]);
    let disconnected = page.count("coturn_allocations_closed_total", &[("cause", "disconnected")]);
    assert!(lost > 0 || [ended, disconnected] == [ready.events / 100; 2], "{disconnected} of {ended}");
    vec![
        Row::new(
            "keeping up with a Redis flat out: nothing lost, no gap",
            format!("{lost} lost, {gaps} gaps"),
            format!("{} events at {rate:.0} a second", ready.events),
            lost == 0 && gaps == 0,
        ),
        Row::new(
            "no growing backlog: below the soft limit of Redis (8 MiB)",
            format!("{:.2} MiB waiting at most", waiting as f64 / f64::from(1 << 20)),
            format!("{:.2} MiB with Redis' own buffers of that client", buffers as f64 / f64::from(1 << 20)),
            waiting < BEARABLE,
        ),
    ]
}

/// Looks at `CLIENT LIST` all the while.
struct Watcher {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<[u64; 2]>,
}

impl Watcher {
    fn start(redis: &Redis) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut connection = redis.connect(0);
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut most = [0, 0];
            while !stopped.load(Ordering::Relaxed) {
                let now = of_subscribers(&mut connection, ["omem", "tot-mem"]);
                for (most, now) in most.iter_mut().zip(now) {
                    *most = now.max(*most);
                }
                poll::pause();
            }
            most
        });
        Self { stop, thread }
    }

    /// The most that was seen to wait, and to be in use for the client.
    fn stop(self) -> [u64; 2] {
        self.stop.store(true, Ordering::Relaxed);
        let most @ [_, in_use] = self.thread.join().expect("it looks to the end");
        assert!(in_use > 0, "no subscriber was seen");
        most
    }
}
