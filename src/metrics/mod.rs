//! The page: what the table knows, as Prometheus text. The only user of the `prometheus` crate.
//!
//! Reads [`View`]s, which are copies; holds no lock while it encodes and keeps no number of its own.

mod collector;
pub mod names;
pub mod own;
mod process;

use std::fmt;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, Registry, TextEncoder};

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::version;
use collector::Page as Families;
pub use collector::View;
use names::Family;
use process::Process;

/// The page, rendered afresh for each scrape.
pub trait Render: Send + Sync + 'static {
    /// The `Content-Type` of what [`Render::render`] gives.
    fn content_type(&self) -> &'static str;

    /// The page as of now.
    ///
    /// # Errors
    ///
    /// A sentence for the scraper when no page can be made; it is answered with status 500.
    fn render(&self) -> Result<Vec<u8>, String>;
}

/// Where the page's numbers come from.
pub trait Observe: Send + Sync + 'static {
    /// Everything as of now: one moment, consistent in itself.
    fn observe(&self) -> View;
}

/// A family that the `prometheus` crate does not take as it is described.
#[derive(Debug, thiserror::Error)]
#[error("a metric is described wrongly, which is a bug: {0}")]
pub struct DescriptionError(#[from] prometheus::Error);

/// The text format 0.0.4 over a registry of our own.
pub struct TextPage {
    registry: Registry,
}

impl fmt::Debug for TextPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextPage").finish_non_exhaustive()
    }
}

impl TextPage {
    /// The page of a running exporter: coturn's numbers, its own, and its process.
    ///
    /// # Errors
    ///
    /// If a family is described wrongly; a mistake in this crate.
    pub fn of_process(source: impl Observe) -> Result<Self, DescriptionError> {
        let page = Self::of_capture(source)?;
        // Once: a start time that moved by a millisecond would look like a restart.
        let started = Process::read().started(SystemClock::new().now());
        page.registry
            .register(Box::new(ProcessCollector { descs: descs(names::ALL, is_of_process)?, started }))?;
        Ok(page)
    }

    /// The page of a replayed capture: without what concerns the process that replays it.
    ///
    /// # Errors
    ///
    /// If a family is described wrongly; a mistake in this crate.
    pub fn of_capture(source: impl Observe) -> Result<Self, DescriptionError> {
        let registry = Registry::new();
        let descs = descs(names::ALL, |family| !is_of_process(family))?;
        registry.register(Box::new(TableCollector { source: Box::new(source), descs }))?;
        Ok(Self { registry })
    }
}

impl Render for TextPage {
    fn content_type(&self) -> &'static str {
        // `TextEncoder::format_type` lacks the charset, which the specification asks for.
        "text/plain; version=0.0.4; charset=utf-8"
    }

    fn render(&self) -> Result<Vec<u8>, String> {
        let mut text = Vec::with_capacity(64 * 1024);
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .map_err(|error| format!("the page could not be encoded: {error}"))?;
        Ok(text)
    }
}

fn is_of_process(family: &Family) -> bool {
    family.name.starts_with("process_") || *family == names::BUILD_INFO
}

fn descs(families: &[Family], wanted: impl Fn(&Family) -> bool) -> Result<Vec<Desc>, DescriptionError> {
    let describe = |family: &Family| {
        let labels = family.labels.iter().map(|&label| label.to_owned()).collect();
        Desc::new(family.name.to_owned(), family.help.to_owned(), labels, std::collections::HashMap::new())
    };
    families
        .iter()
        .filter(|family| wanted(family))
        .map(describe)
        .collect::<Result<_, _>>()
        .map_err(DescriptionError)
}

struct TableCollector {
    source: Box<dyn Observe>,
    descs: Vec<Desc>,
}

impl Collector for TableCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        collector::families(&self.source.observe())
    }
}

struct ProcessCollector {
    descs: Vec<Desc>,
    started: Option<Timestamp>,
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let process = Process::read();
        let mut page = Families::default();
        page.add(names::BUILD_INFO, |out| {
            let of_build =
                [version::VERSION, version::REVISION.unwrap_or_default(), version::RUSTC.unwrap_or_default()];
            out.number(&of_build, 1);
        });
        let values = [
            (names::PROCESS_CPU, Some(process.cpu.as_secs_f64())),
            (names::PROCESS_RESIDENT, process.resident.map(|bytes| bytes as f64)),
            (names::PROCESS_VIRTUAL, process.virtual_memory.map(|bytes| bytes as f64)),
            (names::PROCESS_OPEN_FDS, process.open_fds.map(|count| count as f64)),
            (names::PROCESS_MAX_FDS, process.max_fds.map(|count| count as f64)),
            (names::PROCESS_THREADS, process.threads.map(|count| count as f64)),
            (names::PROCESS_START_TIME, self.started.map(Timestamp::as_secs_f64)),
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
