//! The log: one event, one line on standard error, as logfmt or JSON. Decides nothing but the form.
//!
//! Lines carry text that strangers choose (user names, realms). Whatever cannot be printed plainly is escaped, so that
//! nobody can forge a line, or send a sequence to the terminal of whoever reads it. The time is the wall clock's.
//! Spans are not shown; put what matters into the event's fields.

mod escape;

use std::fmt::{self, Write as _};
use std::io;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

use crate::clock::{Clock, SystemClock};
use crate::config::{Log, LogFormat, LogLevel};

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the log is already set up; set it up once per process")]
pub struct LoggingError(#[from] tracing::subscriber::SetGlobalDefaultError);

/// Sends the events of the whole process to standard error. Call it once.
///
/// # Errors
///
/// When it is called twice.
pub fn init(log: Log) -> Result<(), LoggingError> {
    tracing::subscriber::set_global_default(subscriber(log, SystemClock::new(), io::stderr))?;
    Ok(())
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
        .event_format(Lines { format: log.format, clock })
        .with_writer(writer)
        .with_ansi(false)
        // A failed write would be told with `eprintln!`, which panics when standard error is gone.
        .log_internal_errors(false);
    tracing_subscriber::registry().with(level).with(lines)
}

/// Writes an event as a line.
struct Lines<C> {
    format: LogFormat,
    clock: C,
}

impl<C, S, N> FormatEvent<S, N> for Lines<C>
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
        let mut line = Line { format: self.format, text: String::with_capacity(160), message_wanted: true };
        line.text("ts", &self.clock.to_wall(self.clock.now()).rfc3339());
        line.text("level", level);
        // The message comes first, wherever it stands among the fields.
        event.record(&mut line);
        line.message_wanted = false;
        event.record(&mut line);
        if self.format == LogFormat::Json {
            line.text.push('}');
        }
        line.text.push('\n');
        out.write_str(&line.text)
    }
}

/// The line so far.
struct Line {
    format: LogFormat,
    text: String,
    /// Whether only the message is taken at present, or all but the message.
    message_wanted: bool,
}

impl Line {
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

impl Visit for Line {
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
