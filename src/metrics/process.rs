//! The exporter's own process: CPU to the microsecond, memory, descriptors. Read for each scrape; never about coturn or the
//! machine.
//!
//! The `prometheus` crate has a collector of the same names, but its CPU counter is in whole seconds.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::clock::Timestamp;

/// What is known of the process now. What the system does not provide is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    /// CPU time, user and system.
    pub(super) cpu: Duration,
    /// Resident memory, bytes.
    pub(super) resident: Option<u64>,
    /// Virtual memory, bytes.
    pub(super) virtual_memory: Option<u64>,
    /// Open file descriptors.
    pub(super) open_fds: Option<u64>,
    /// The limit of file descriptors; `None` without one.
    pub(super) max_fds: Option<u64>,
    /// Threads.
    pub(super) threads: Option<u64>,
    /// How long ago the process started, by the kernel.
    age: Option<Duration>,
}

impl Process {
    /// Asks the system, whose files about this process are in `folder`. They may be missing: a container or a chroot need
    /// not have them.
    pub(super) fn read_in(folder: &Path) -> Self {
        let [virtual_memory, resident] = memory(folder);
        let stat = fs::read_to_string(folder.join("stat")).ok();
        Self {
            cpu: duration(clock_gettime(ClockId::ProcessCPUTime)),
            resident,
            virtual_memory,
            open_fds: open_fds(folder),
            max_fds: getrlimit(Resource::Nofile).current,
            threads: stat.as_deref().and_then(|stat| stat_field(stat, 20)),
            age: stat.as_deref().and_then(|stat| stat_field(stat, 22)).and_then(age),
        }
    }

    /// When the process started, by the wall clock, which is at `wall` now. Without an answer of the kernel that is `wall`,
    /// so ask once, at the start.
    pub(super) fn started(&self, wall: Timestamp) -> Timestamp {
        self.age.map_or(wall, |age| wall.minus(age))
    }
}

fn duration(time: Timespec) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Virtual and resident memory: the first two numbers of statm, in pages.
fn memory(folder: &Path) -> [Option<u64>; 2] {
    let text = fs::read_to_string(folder.join("statm")).unwrap_or_default();
    let mut pages = text.split_ascii_whitespace().map(|number| number.parse::<u64>().ok());
    let mut next = || pages.next().flatten().map(|pages| pages * page_size() as u64);
    [next(), next()]
}

/// The directory being read is itself one open descriptor; it is not counted.
fn open_fds(folder: &Path) -> Option<u64> {
    let entries = fs::read_dir(folder.join("fd")).ok()?.count() as u64;
    Some(entries.saturating_sub(1))
}

/// A number of `/proc/self/stat` by its place in proc(5). The second field, the program's name, may hold blanks, so
/// counting starts behind its bracket.
fn stat_field(stat: &str, place: usize) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(place.checked_sub(3)?)?.parse().ok()
}

/// How long ago a moment was, given in clock ticks since the machine's start.
fn age(start_ticks: u64) -> Option<Duration> {
    let ticks_per_second = clock_ticks_per_second();
    let started = Duration::from_millis((start_ticks * 1000).checked_div(ticks_per_second)?);
    duration(clock_gettime(ClockId::Boottime)).checked_sub(started)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this_process() -> Process {
        Process::read_in(Path::new("/proc/self"))
    }

    #[test]
    fn reads_itself() {
        let process = this_process();
        assert!(process.resident > Some(100_000), "{process:?}");
        assert!(process.virtual_memory >= process.resident, "{process:?}");
        assert!(process.open_fds >= Some(3) && process.threads >= Some(1), "{process:?}");
        assert!(process.age.is_some_and(|age| age < Duration::from_secs(3600)), "{process:?}");
    }

    #[test]
    fn the_start_is_the_kernels_where_it_tells() {
        let wall = Timestamp::from_millis(1_800_000_000_000);
        let process = Process { age: Some(Duration::from_secs(90)), ..Process::default() };
        assert_eq!(process.started(wall), wall.minus(Duration::from_secs(90)));
    }

    #[test]
    fn without_proc_the_start_is_when_it_was_asked_for() {
        let process = Process::read_in(Path::new("/nonexistent"));
        assert!(process.resident.is_none() && process.open_fds.is_none() && process.threads.is_none());
        assert!(process.cpu > Duration::ZERO, "the clocks need no files");
        let wall = Timestamp::from_millis(1_800_000_000_000);
        assert_eq!(process.started(wall), wall);
    }

    #[test]
    fn cpu_time_is_finer_than_a_second() {
        let before = this_process().cpu;
        let mut sum = 0_u64;
        while this_process().cpu < before + Duration::from_millis(3) {
            sum = std::hint::black_box(sum + 1);
        }
        let spent = this_process().cpu.saturating_sub(before);
        assert!(spent >= Duration::from_millis(3) && spent < Duration::from_millis(900), "{spent:?}");
    }

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20";
        assert_eq!(stat_field(stat, 4), Some(1));
        assert_eq!(stat_field(stat, 22), Some(19));
    }
}
