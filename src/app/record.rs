//! `record`: the stream of a Redis into a capture, for tests and bug reports. Judges no message.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Error;
use crate::clock::{Clock, SystemClock};
use crate::config::RedisSource;
use crate::shutdown;
use crate::source::backoff::Backoff;
use crate::source::capture::Writer;
use crate::source::redis::{LinkError, RawMessage, subscribe};

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
    let mut recorder =
        Recorder { clock: Arc::new(SystemClock::new()), writer: Writer::new(out), messages: 0 };
    // A capture's lines do not say whose they are; the configuration allows one source.
    let Some(source) = sources.first() else { return Ok(()) };
    let limit = duration.unwrap_or(Duration::MAX);
    let ended = tokio::select! {
        ended = recorder.run(source) => ended,
        () = after(limit) => Ok(()),
        signal = shutdown::on_signal() => signal.map(drop).map_err(Error::Signal),
    };
    tracing::info!(messages = recorder.messages, "recorded");
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
    messages: u64,
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
                    let mut batch = Vec::new();
                    let lost = link.pulse.until_lost();
                    tokio::pin!(lost);
                    let error = loop {
                        tokio::select! {
                            more = link.messages.next(&mut batch) => {
                                if !more {
                                    break LinkError::Closed;
                                }
                                self.write(&mut batch).map_err(Error::Output)?;
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

    fn write(&mut self, batch: &mut Vec<RawMessage>) -> io::Result<()> {
        let now = self.clock.now();
        for message in batch.drain(..) {
            self.writer.write(now, &message.channel, &message.payload)?;
            self.messages += 1;
        }
        self.writer.flush()
    }
}
