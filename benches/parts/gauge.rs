//! What the kernel knows of a process, and a stopwatch of microseconds.

use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

/// User and system time of a process, in microseconds.
pub(crate) fn cpu_micros(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("proc(5)");
    let ticks: f64 = fields.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().unwrap()).sum();
    // A tick is 10 ms on every Linux that Debian makes.
    ticks * 10_000.0
}

/// The same to the nanosecond, of the threads that it has: for a process that does next to nothing.
pub(crate) fn cpu_nanos(process: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let spent = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    };
    threads.flatten().filter_map(spent).sum()
}

/// What a process has written to files, in bytes, as the kernel counts the pages of them.
pub(crate) fn written_bytes(process: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{process}/io")).expect("it runs");
    let bytes = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    bytes.expect("proc(5)").parse().expect("bytes")
}

/// Resident memory of a process, in MiB.
pub(crate) fn memory(process: u32) -> f64 {
    of_status(process, "VmRSS:")
}

/// The most that it has had.
pub(crate) fn peak_memory(process: u32) -> f64 {
    of_status(process, "VmHWM:")
}

fn of_status(process: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("proc(5)");
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}

/// For how long this thread was ready to run, and others had the processors: since it began.
#[derive(Debug)]
pub(crate) struct InLine(std::fs::File);

impl InLine {
    pub(crate) fn of_this_thread() -> Self {
        Self(std::fs::File::open("/proc/thread-self/schedstat").expect("a kernel that counts this"))
    }

    pub(crate) fn so_far(&self) -> Duration {
        let mut text = [0; 64];
        let bytes = self.0.read_at(&mut text, 0).expect("proc(5)");
        let waited = std::str::from_utf8(&text[..bytes]).unwrap().split(' ').nth(1).unwrap();
        Duration::from_nanos(waited.parse().unwrap())
    }
}

/// How many wanted a processor in the last minute.
pub(crate) fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").expect("proc(5)");
    load.split(' ').next().unwrap().to_owned()
}

/// Time since a moment; the program's own clock counts in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch(Instant);

impl Watch {
    #[expect(clippy::disallowed_methods, reason = "figures of microseconds")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// The one in the middle.
pub(crate) fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}
