//! The page: what the table knows, in the formats that scrapers ask for.
//!
//! Reads [`View`]s, which are copies; holds no lock while it encodes and keeps no number of its own.

mod collector;
mod disabled;
mod encode;
mod format;
pub mod names;
pub mod origins;
mod page;
mod process;
mod refusals;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::clock::{Clock, SystemClock, Timestamp, WallTime};
use crate::state::ProcessTotals;
use crate::version;
pub use collector::{CertificateView, CoturnLimits, SinkView, StoreFigures, View};
pub use disabled::DisabledFamilies;
use encode::open_metrics::OpenMetricsEncoder;
use encode::protobuf::ProtobufEncoder;
use encode::text::TextEncoder;
use encode::{Encode, Number};
pub use format::{Escaping, Format};
use page::Page;
use process::Process;
pub use refusals::{WebRefusal, WebRefusals};

/// The page, rendered afresh for each scrape.
pub trait Render: Send + Sync + 'static {
    /// The page as of now. May block.
    fn render(&self, format: Format) -> Vec<u8>;
}

/// Where the page's numbers come from.
pub trait Observe: Send + Sync + 'static {
    /// Everything as of now: one moment, consistent in itself. May block.
    fn observe(&self) -> View;
}

/// The page with all families.
pub struct MetricsPage {
    source: Box<dyn Observe>,
    process: Option<OfProcess>,
    /// Samples `_created` are on the page of `OpenMetrics`.
    has_created: bool,
    disabled: DisabledFamilies,
    /// The length of the page that was rendered last, as a guess at the next.
    last_length: AtomicUsize,
}

/// What is known of the process that serves the page.
struct OfProcess {
    started: Timestamp,
    /// Where the system describes it: `/proc/self`.
    folder: &'static Path,
}

impl fmt::Debug for MetricsPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsPage").finish_non_exhaustive()
    }
}

impl MetricsPage {
    /// The page of a running exporter: coturn's numbers, its own, and its process.
    pub fn of_process(source: impl Observe) -> Self {
        Self { process: Some(OfProcess::new(Path::new("/proc/self"))), ..Self::of_capture(source) }
    }

    /// The page of a replayed capture: without what concerns the process that replays it.
    pub fn of_capture(source: impl Observe) -> Self {
        Self {
            source: Box::new(source),
            process: None,
            has_created: false,
            disabled: DisabledFamilies::default(),
            last_length: AtomicUsize::new(0),
        }
    }

    /// With samples `_created` in the format of `OpenMetrics`.
    #[must_use]
    pub fn with_created(self, has_created: bool) -> Self {
        Self { has_created, ..self }
    }

    /// Without these families, in any format.
    #[must_use]
    pub fn without(self, disabled: DisabledFamilies) -> Self {
        Self { disabled, ..self }
    }

    fn encode(&self, encoder: impl Encode, view: &View) -> Vec<u8> {
        let times = WallTime { now: view.table.now, wall: view.wall };
        let mut page = Page::new(encoder, times, view.table.created, &self.disabled);
        collector::add_families(&mut page, view);
        if let Some(process) = &self.process {
            process.add_families(&mut page, &view.table.process);
        }
        page.encode()
    }
}

impl Render for MetricsPage {
    fn render(&self, format: Format) -> Vec<u8> {
        let view = self.source.observe();
        let last = self.last_length.load(Ordering::Relaxed);
        let room = last + last / 8;
        let page = match format {
            Format::Text | Format::Text1(_) => self.encode(TextEncoder::new(room), &view),
            Format::OpenMetrics(_) | Format::OpenMetrics0 => {
                self.encode(OpenMetricsEncoder::new(room, self.has_created), &view)
            }
            Format::Protobuf(_) => self.encode(ProtobufEncoder::new(room), &view),
        };
        self.last_length.store(page.len(), Ordering::Relaxed);
        page
    }
}

impl OfProcess {
    /// The process that starts now, which the system describes in `folder`.
    fn new(folder: &'static Path) -> Self {
        // Once: a start time that moved by a millisecond would look like a restart.
        let started = Process::read_in(folder).started(SystemClock::new().now());
        Self { started, folder }
    }

    fn add_families<'a, E: Encode>(&self, page: &mut Page<'a, E>, totals: &'a ProcessTotals) {
        let process = Process::read_in(self.folder);
        page.add(names::BUILD_INFO, |out| {
            let [revision, rustc] = [version::REVISION, version::RUSTC].map(Option::unwrap_or_default);
            let version = out.label("version", version::VERSION);
            out.number(&[&version, &out.label("revision", revision), &out.label("rustversion", rustc)], 1);
        });
        page.add(names::DROPPED_LOG_LINES, |out| out.number(&[], totals.dropped_log_lines()));
        let refusals = page.labelled("reason", WebRefusal::ALL, |refusal| refusal.as_str(), |_| None);
        page.add(names::HTTP_REFUSALS, move |out| {
            for refusal in &refusals {
                out.number(&[&refusal.label], totals.http_refusals(refusal.item.as_str()));
            }
        });
        let started = Number::Millis(self.started.as_millis());
        let values = [
            (names::PROCESS_CPU, Some(Number::duration(process.cpu))),
            (names::PROCESS_RESIDENT, process.resident.map(Number::Whole)),
            (names::PROCESS_VIRTUAL, process.virtual_memory.map(Number::Whole)),
            (names::PROCESS_OPEN_FDS, process.open_fds.map(Number::Whole)),
            (names::PROCESS_MAX_FDS, process.max_fds.map(Number::Whole)),
            (names::PROCESS_THREADS, process.threads.map(Number::Whole)),
            (names::PROCESS_START_TIME, Some(started)),
        ];
        for (family, value) in values {
            page.add(family, move |out| {
                out.since(Some(started));
                if let Some(value) = value {
                    out.value(&[], value);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one value of a gauge on the page of a process.
    fn gauge(process: &OfProcess, name: &str) -> Option<f64> {
        let (totals, all) = (ProcessTotals::default(), DisabledFamilies::default());
        let times = WallTime { now: Timestamp::ZERO, wall: Timestamp::ZERO };
        let mut page = Page::new(TextEncoder::new(0), times, Timestamp::ZERO, &all);
        process.add_families(&mut page, &totals);
        let page = String::from_utf8(page.encode()).unwrap();
        page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    #[test]
    fn the_start_is_on_the_page_without_proc_and_stays_the_same() {
        let before = SystemClock::new().now();
        let process = OfProcess::new(Path::new("/nonexistent"));
        let after = SystemClock::new().now();
        assert_eq!(gauge(&process, "process_resident_memory_bytes"), None, "there is no /proc");
        let started = gauge(&process, "process_start_time_seconds").expect("always there");
        assert!((before.as_secs_f64()..=after.as_secs_f64()).contains(&started), "{started}");
        assert_eq!(gauge(&process, "process_start_time_seconds"), Some(started));
    }
}
