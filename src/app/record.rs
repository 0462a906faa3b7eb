//! `record`: the stream of a Redis into a capture, for tests and bug reports. Judges no message.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Error;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::RedisSource;
use crate::shutdown;
use crate::source::backoff::Backoff;
use crate::source::capture::Writer;
use crate::source::inbox::Published;
use crate::source::redis::LinkError;
use crate::source::subscription::{Messages, subscribe};

/// Records until a signal comes, or for `duration`.
///
/// # Errors
///
/// An output that cannot be opened or takes no more.
pub(super) async fn record(
    sources: Vec<RedisSource>,
    output: Option<&Path>,
    duration: Option<Duration>,
) -> Result<(), Error> {
    let out: Box<dyn Write + Send> = match output {
        // Never over a capture that exists: it may be the only one of its incident.
        Some(path) => Box::new(
            File::create_new(path)
                .map_err(|error| Error::Open { path: path.to_owned(), error: explained(error) })?,
        ),
        None => Box::new(io::stdout()),
    };
    let mut recorder = Recorder {
        clock: Arc::new(SystemClock::new()),
        writer: Writer::new(out),
        output: Ok(()),
        messages: 0,
        left_out: 0,
    };
    // A capture's lines do not say whose they are; the configuration allows one source.
    let Some(source) = sources.first() else { return Ok(()) };
    let limit = duration.unwrap_or(Duration::MAX);
    let ended = tokio::select! {
        ended = recorder.run(source) => ended,
        () = after(limit) => Ok(()),
        signal = shutdown::on_signal() => signal.map(drop).map_err(Error::Signal),
    };
    tracing::info!(messages = recorder.messages, left_out = recorder.left_out, "recorded");
    ended
}

fn explained(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::AlreadyExists => io::Error::new(
            ErrorKind::AlreadyExists,
            "it exists, and nothing is overwritten; name another file",
        ),
        _ => error,
    }
}

/// Resolves after `limit`; never, if that is further away than timers reach.
async fn after(limit: Duration) {
    let _ = timeout(limit, std::future::pending::<()>()).await;
}

struct Recorder {
    clock: Arc<dyn Clock>,
    writer: Writer<Box<dyn Write + Send>>,
    /// What came of writing, since the last flush.
    output: io::Result<()>,
    messages: u64,
    /// Messages too long to be coturn's.
    left_out: u64,
}

impl Recorder {
    /// Records from connection to connection; only the output can end it.
    async fn run(&mut self, source: &RedisSource) -> Result<(), Error> {
        let mut backoff = Backoff::new();
        // What was last said about the source; said once, not at each attempt.
        let mut complaint = None;
        loop {
            let error = match subscribe(source).await {
                Ok(mut link) => {
                    complaint = None;
                    tracing::info!(source = %source.name, "recording");
                    let since = self.clock.now();
                    let lost = link.pulse.until_lost();
                    tokio::pin!(lost);
                    let error = loop {
                        tokio::select! {
                            ready = link.messages.ready() => {
                                let taken = ready.and_then(|()| self.take(&mut link.messages));
                                self.flush().map_err(Error::Output)?;
                                if let Err(error) = taken {
                                    break error;
                                }
                            }
                            error = &mut lost => break error,
                        }
                    };
                    backoff.connected_for(self.clock.now().since(since));
                    error
                }
                Err(error) => error,
            };
            let said = Some(error.to_string());
            if complaint != said {
                tracing::warn!(source = %source.name, %error, "not recording; trying again");
                complaint = said;
            }
            sleep(backoff.next_wait(fastrand::f64())).await;
        }
    }

    fn take(&mut self, messages: &mut Messages) -> Result<usize, LinkError> {
        let now = self.clock.now();
        messages.take(|published| published.iter().for_each(|published| self.note(now, published)))
    }

    fn note(&mut self, now: Timestamp, published: &Published<'_>) {
        match published {
            Published::Message { channel, payload } => {
                if self.output.is_ok() {
                    self.output = self.writer.write(now, channel, payload);
                }
                self.messages += 1;
            }
            Published::TooLong => self.left_out += 1,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        std::mem::replace(&mut self.output, Ok(())).and_then(|()| self.writer.flush())
    }
}
