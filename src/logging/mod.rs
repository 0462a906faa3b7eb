//! The log: one event, one line on standard error, as logfmt or JSON. Decides nothing but the form.
//!
//! Lines carry text that strangers choose (user names, realms). Whatever cannot be printed plainly is escaped, so that
//! nobody can forge a line, or send a sequence to the terminal of whoever reads it. The time is the wall clock's.
//! Spans are not shown; put what matters into the event's fields.
//!
//! A command that runs until it is stopped must not be stopped by whoever reads its log: there lines go through a
//! `queue`, are dropped when it is full, and are counted. Of any other command each line is written at once.

mod escape;
mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

use crate::clock::{Clock, SystemClock};
use crate::config::{Log, LogFormat, LogLevel};
use queue::LogQueue;

/// How long the end of the program may wait for lines that are not written yet.
const LAST_LINES: Duration = Duration::from_millis(if cfg!(test) { 60_000 } else { 500 });

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoggingError {
    /// It is set up already.
    #[error("the log is already set up; set it up once per process")]
    Twice(#[from] tracing::subscriber::SetGlobalDefaultError),
    /// No thread to write it.
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(io::Error),
}

/// The log while it is in use. Dropping it, at the end of the program, writes what is still queued.
#[derive(Debug)]
pub struct LogGuard {
    /// `None` where each line is written at once.
    queue: Option<Arc<LogQueue>>,
}

impl LogGuard {
    /// The number of lines dropped so far, kept up to date.
    pub fn dropped_lines(&self) -> Arc<AtomicU64> {
        self.queue.as_ref().map(|queue| queue.dropped()).unwrap_or_default()
    }

    /// Writes the line that says why the program ends, after all others; it is not dropped.
    pub fn last_line(&self, line: &str) {
        match &self.queue {
            Some(queue) => queue.push_last(line.as_bytes()),
            // Whoever closed the stream does not want to read it.
            None => drop(io::stderr().write_all(line.as_bytes())),
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            queue.finish(LAST_LINES);
        }
    }
}

/// Sends the events of the whole process to standard error, through a queue if it `may_drop`. Call it once.
///
/// # Errors
///
/// When it is called twice; when there is no thread for the queue.
pub fn init(log: Log, may_drop: bool) -> Result<LogGuard, LoggingError> {
    if !may_drop {
        tracing::subscriber::set_global_default(subscriber(log, SystemClock::new(), io::stderr))?;
        return Ok(LogGuard { queue: None });
    }
    let queue = Arc::new(LogQueue::new());
    let writer = QueueWriter(Arc::clone(&queue));
    tracing::subscriber::set_global_default(subscriber(log, SystemClock::new(), move || writer.clone()))?;
    let clock = SystemClock::new();
    let writing = Arc::clone(&queue);
    let write = move || writing.write_onto(io::stderr(), |lines| dropped_note(log.format, &clock, lines));
    thread::Builder::new().name("log".to_owned()).spawn(write).map_err(LoggingError::Thread)?;
    // The default one writes onto standard error by itself, and waits for its reader.
    let (clock, panics) = (SystemClock::new(), Arc::clone(&queue));
    std::panic::set_hook(Box::new(move |info| panics.push(panic_line(log.format, &clock, info).as_bytes())));
    Ok(LogGuard { queue: Some(queue) })
}

/// Puts each event into the queue.
#[derive(Clone)]
struct QueueWriter(Arc<LogQueue>);

impl io::Write for QueueWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What stands in the place of lines that were dropped.
fn dropped_note(format: LogFormat, clock: &impl Clock, lines: u64) -> String {
    let mut line = LogLine::begin(format, clock, "warn");
    line.text("msg", "log lines were dropped here: standard error did not take them in time");
    line.bare("lines", lines);
    line.end()
}

/// A panic as a line. Not by an event: the panic may have happened in the midst of one.
fn panic_line(format: LogFormat, clock: &impl Clock, info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let reason = payload.downcast_ref::<&str>().copied();
    let reason = reason.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let mut line = LogLine::begin(format, clock, "error");
    line.text("msg", "panicked, which is a bug; please report this");
    line.text("thread", thread::current().name().unwrap_or_default());
    line.text("at", &info.location().map(ToString::to_string).unwrap_or_default());
    line.text("reason", reason.unwrap_or_default());
    // With RUST_BACKTRACE only.
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        line.text("backtrace", &backtrace.to_string());
    }
    line.end()
}

fn subscriber<C, W>(log: Log, clock: C, writer: W) -> impl Subscriber + Send + Sync
where
    C: Clock + 'static,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = match log.level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let lines = tracing_subscriber::fmt::layer()
        .event_format(LineFormat { format: log.format, clock })
        .with_writer(writer)
        .with_ansi(false)
        // A failed write would be reported with `eprintln!`, which panics when standard error is gone.
        .log_internal_errors(false);
    tracing_subscriber::registry().with(level).with(lines)
}

/// Writes an event as a line.
struct LineFormat<C> {
    format: LogFormat,
    clock: C,
}

impl<C, S, N> FormatEvent<S, N> for LineFormat<C>
where
    C: Clock,
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG | Level::TRACE => "debug",
        };
        let mut line = LogLine::begin(self.format, &self.clock, level);
        // The message comes first, wherever it stands among the fields.
        event.record(&mut line);
        line.message_wanted = false;
        event.record(&mut line);
        out.write_str(&line.end())
    }
}

/// The line so far.
struct LogLine {
    format: LogFormat,
    text: String,
    /// Whether only the message is taken at present, or all but the message.
    message_wanted: bool,
}

impl LogLine {
    /// A line with its time and level.
    fn begin(format: LogFormat, clock: &impl Clock, level: &str) -> Self {
        let mut line = Self { format, text: String::with_capacity(160), message_wanted: true };
        line.text("ts", &clock.to_wall(clock.now()).rfc3339());
        line.text("level", level);
        line
    }

    /// The whole line.
    fn end(mut self) -> String {
        if self.format == LogFormat::Json {
            self.text.push('}');
        }
        self.text.push('\n');
        self.text
    }

    fn key(&mut self, key: &str) {
        match self.format {
            LogFormat::Logfmt => {
                if !self.text.is_empty() {
                    self.text.push(' ');
                }
                escape::push_key(&mut self.text, key);
                self.text.push('=');
            }
            LogFormat::Json => {
                self.text.push_str(if self.text.is_empty() { "{\"" } else { ",\"" });
                escape::push_key(&mut self.text, key);
                self.text.push_str("\":");
            }
        }
    }

    /// A value that may be anything.
    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        if self.format == LogFormat::Logfmt && escape::is_plain(value) {
            self.text.push_str(value);
        } else {
            escape::push_quoted(&mut self.text, value);
        }
    }

    /// A number or truth value.
    fn bare(&mut self, key: &str, value: impl fmt::Display) {
        self.key(key);
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{value}");
    }

    fn wants(&self, field: &Field) -> bool {
        (field.name() == "message") == self.message_wanted
    }

    fn name(field: &Field) -> &'static str {
        if field.name() == "message" { "msg" } else { field.name() }
    }
}

impl Visit for LogLine {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.wants(field) {
            self.text(Self::name(field), &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if self.wants(field) {
            self.text(Self::name(field), value);
        }
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.record_str(field, &String::from_utf8_lossy(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_str(field, &value.to_string());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if !value.is_finite() {
            self.record_str(field, &value.to_string());
        } else if self.wants(field) {
            self.bare(Self::name(field), value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.record_i128(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record_u128(field, value.into());
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        if self.wants(field) {
            self.bare(Self::name(field), value);
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        if self.wants(field) {
            self.bare(Self::name(field), value);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if self.wants(field) {
            self.bare(Self::name(field), value);
        }
    }
}

#[cfg(test)]
mod tests;
