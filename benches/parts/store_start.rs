//! How a store is gone on from: after a kill, after a stop; how soon somebody answers, how soon all is there, in how much
//! memory; and how long a stop takes.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::net::http;
use crate::common::net::ports::Port;
use crate::common::poll;
use crate::common::readers::page::Page;
use crate::common::servers::exporter::Exporter;
use crate::gauge::{Watch, memory, peak_memory};
use crate::million::{NO_CAP, YOUNG};
use crate::row::Row;
use crate::store::at_once;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coturn-exporter");

/// Of loading, and of a stop.
const BUDGET: Duration = Duration::from_secs(5);

/// Until somebody answers.
const ANSWERS: Duration = Duration::from_millis(50);

/// The exporter is killed, started again, stopped, and started once more.
pub(crate) fn rows(store: &Path, mut exporter: Exporter, live: u64) -> Vec<Row> {
    let counted = allocations(&exporter.page());
    exporter.kill();
    drop(exporter);
    let journal = bytes_of(store, "journal");
    let after_kill = Start::measure(store, counted);
    let stopped = after_kill.stop();
    let left = bytes_of(store, "journal");
    let after_stop = Start::measure(store, counted);
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let healthy = after_kill.healthy.max(after_stop.healthy);
    let against = "the later of the two starts";
    vec![
        Row::new(
            format!("{live} live loaded in 5 s after a kill"),
            seconds(after_kill.ready),
            format!("{} MiB of journal behind the snapshot", journal >> 20),
            after_kill.ready <= BUDGET,
        ),
        Row::new(
            format!("{live} live loaded in 5 s after a stop"),
            seconds(after_stop.ready),
            format!("{} MiB of journal", left >> 20),
            after_stop.ready <= BUDGET,
        ),
        Row::new(
            "answers within 50 ms of the start",
            format!("{:.0} ms", healthy.as_secs_f64() * 1e3),
            against,
            healthy <= ANSWERS,
        ),
        Row::new(
            "memory of the start: at most 1.25 of what it is afterwards",
            format!("{:.2}, {:.2}", after_kill.memory_ratio(), after_stop.memory_ratio()),
            format!("{:.0} MiB afterwards; after a kill, after a stop", after_stop.afterwards),
            after_kill.memory_ratio() <= 1.25 && after_stop.memory_ratio() <= 1.25,
        ),
        Row::new(
            format!("SIGTERM with {live} live: ends within 5 s"),
            seconds(stopped),
            "-",
            stopped <= BUDGET,
        ),
    ]
}

/// Live allocations on the page.
fn allocations(page: &Page) -> u64 {
    page.count("coturn_allocations", &[])
}

fn bytes_of(store: &Path, kind: &str) -> u64 {
    let files = std::fs::read_dir(store).expect("the store").flatten();
    let of_kind = files.filter(|file| file.file_name().to_string_lossy().starts_with(kind));
    of_kind.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

/// An exporter that has begun with the store.
struct Start {
    child: Child,
    healthy: Duration,
    ready: Duration,
    /// MiB: the most until it was ready, and what there was later.
    peak: f64,
    afterwards: f64,
}

impl Start {
    fn measure(store: &Path, counted: u64) -> Self {
        let port = Port::claim();
        let address = SocketAddr::from(([127, 0, 0, 1], port.number));
        let mut command = Command::new(PROGRAM);
        command.args(NO_CAP).arg("--store.path").arg(store);
        command.args(["--web.listen-address", &address.to_string()]);
        command.args(["--statsdb.listen-address", "127.0.0.1:0"]).env("MALLOC_MMAP_THRESHOLD_", "131072");
        let watch = Watch::start();
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let answers = |path: &str| http::get(address, path).ok().filter(|answer| answer.status == 200);
        let mut start =
            Self { child, healthy: Duration::ZERO, ready: Duration::ZERO, peak: 0.0, afterwards: 0.0 };
        at_once("an answer", || answers("/-/healthy"));
        start.healthy = watch.elapsed();
        at_once("the store to be loaded", || answers("/-/ready"));
        start.ready = watch.elapsed();
        start.peak = peak_memory(start.child.id());
        let page = Page::parse(&answers("/metrics").expect("a page").body);
        assert_eq!(allocations(&page), counted, "as many as before the end");
        let later = Watch::start();
        while later.elapsed() < YOUNG {
            poll::pause();
        }
        start.afterwards = memory(start.child.id());
        start
    }

    fn memory_ratio(&self) -> f64 {
        self.peak / self.afterwards
    }

    /// How long a stop takes.
    fn stop(&self) -> Duration {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        let watch = Watch::start();
        kill_process(pid, Signal::TERM).expect("it runs");
        let state = format!("/proc/{}/stat", self.child.id());
        // It is our child and not waited for: it stays, as one that has ended.
        at_once("the end", || {
            let stat = std::fs::read_to_string(&state).ok()?;
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')).then_some(())
        });
        watch.elapsed()
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
