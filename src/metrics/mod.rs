//! The page: what the table knows, as Prometheus text. The only user of the `prometheus` crate.
//!
//! Reads [`View`]s, which are copies; holds no lock while it encodes and keeps no number of its own.

mod collector;
pub mod names;
mod process;
mod refusals;

use std::fmt;
use std::path::Path;

use prometheus::proto::{Metric, MetricFamily};
use prometheus::{Encoder, TextEncoder};

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::state::ProcessTotals;
use crate::version;
use collector::Page as Families;
pub use collector::{StoreFigures, View};
use process::Process;
pub use refusals::{WebRefusal, WebRefusals};

/// There is no page. Its cause is text because one error answers all who share the rendering.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the page cannot be encoded: {reason}")]
pub struct RenderError {
    /// What the encoder said.
    pub reason: String,
}

/// The page, rendered afresh for each scrape.
pub trait Render: Send + Sync + 'static {
    /// The `Content-Type` of what [`Render::render`] gives.
    fn content_type(&self) -> &'static str;

    /// The page as of now. May block.
    ///
    /// # Errors
    ///
    /// No page can be made; the scraper gets it with status 500.
    fn render(&self) -> Result<Vec<u8>, RenderError>;
}

/// Where the page's numbers come from.
pub trait Observe: Send + Sync + 'static {
    /// Everything as of now: one moment, consistent in itself. May block.
    fn observe(&self) -> View;
}

/// The text format 0.0.4.
pub struct TextPage {
    source: Box<dyn Observe>,
    process: Option<OfProcess>,
}

/// What is known of the process that serves the page.
struct OfProcess {
    started: Timestamp,
    /// Where the system describes it: `/proc/self`.
    folder: &'static Path,
}

impl fmt::Debug for TextPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextPage").finish_non_exhaustive()
    }
}

impl TextPage {
    /// The page of a running exporter: coturn's numbers, its own, and its process.
    pub fn of_process(source: impl Observe) -> Self {
        let process = OfProcess::new(Path::new("/proc/self"));
        Self { source: Box::new(source), process: Some(process) }
    }

    /// The page of a replayed capture: without what concerns the process that replays it.
    pub fn of_capture(source: impl Observe) -> Self {
        Self { source: Box::new(source), process: None }
    }
}

impl Render for TextPage {
    fn content_type(&self) -> &'static str {
        // `TextEncoder::format_type` lacks the charset, which the specification asks for.
        "text/plain; version=0.0.4; charset=utf-8"
    }

    fn render(&self) -> Result<Vec<u8>, RenderError> {
        let view = self.source.observe();
        let mut families = collector::families(&view);
        families.extend(self.process.iter().flat_map(|process| process.families(&view.table.process)));
        let mut text = Vec::with_capacity(64 * 1024);
        TextEncoder::new()
            .encode(&in_order(families), &mut text)
            .map_err(|error| RenderError { reason: error.to_string() })?;
        Ok(text)
    }
}

/// Families by name and their samples by labels, as other exporters have them; a family without samples is left out.
fn in_order(mut families: Vec<MetricFamily>) -> Vec<MetricFamily> {
    fn labels(metric: &Metric) -> impl Iterator<Item = &str> {
        metric.get_label().iter().map(prometheus::proto::LabelPair::value)
    }
    families.retain(|family| !family.get_metric().is_empty());
    families.sort_by(|one, other| one.name().cmp(other.name()));
    for family in &mut families {
        family.mut_metric().sort_by(|one, other| labels(one).cmp(labels(other)));
    }
    families
}

impl OfProcess {
    /// The process that starts now, which the system describes in `folder`.
    fn new(folder: &'static Path) -> Self {
        // Once: a start time that moved by a millisecond would look like a restart.
        let started = Process::read_in(folder).started(SystemClock::new().now());
        Self { started, folder }
    }

    fn families(&self, totals: &ProcessTotals) -> Vec<MetricFamily> {
        let process = Process::read_in(self.folder);
        let mut page = Families::default();
        page.add(names::BUILD_INFO, |out| {
            let of_build =
                [version::VERSION, version::REVISION.unwrap_or_default(), version::RUSTC.unwrap_or_default()];
            out.number(&of_build, 1);
        });
        page.add(names::DROPPED_LOG_LINES, |out| out.number(&[], totals.dropped_log_lines()));
        page.add(names::HTTP_REFUSALS, |out| {
            for refusal in WebRefusal::ALL {
                out.number(&[refusal.as_str()], totals.http_refusals(refusal.as_str()));
            }
        });
        let values = [
            (names::PROCESS_CPU, Some(process.cpu.as_secs_f64())),
            (names::PROCESS_RESIDENT, process.resident.map(|bytes| bytes as f64)),
            (names::PROCESS_VIRTUAL, process.virtual_memory.map(|bytes| bytes as f64)),
            (names::PROCESS_OPEN_FDS, process.open_fds.map(|count| count as f64)),
            (names::PROCESS_MAX_FDS, process.max_fds.map(|count| count as f64)),
            (names::PROCESS_THREADS, process.threads.map(|count| count as f64)),
            (names::PROCESS_START_TIME, Some(self.started.as_secs_f64())),
        ];
        for (family, value) in values {
            page.add(family, |out| {
                if let Some(value) = value {
                    out.value(&[], value);
                }
            });
        }
        page.families
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one value of a gauge on the page of a process.
    fn gauge(process: &OfProcess, name: &str) -> Option<f64> {
        let families = in_order(process.families(&ProcessTotals::default()));
        let family = families.iter().find(|family| family.name() == name)?;
        Some(family.get_metric()[0].get_gauge().get_value())
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
