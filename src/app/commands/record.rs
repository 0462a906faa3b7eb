//! `record`: the stream of a Redis into a capture, for tests and bug reports. Judges no message.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

use crate::app::Error;
use crate::app::reconnect::{KeepConnected, LinkProgress, keep_connected};
use crate::app::supervise::propagate;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::RedisSource;
use crate::shutdown::{self, Hangup, Shutdown};
use crate::source::capture::CaptureWriter;
use crate::source::error::LinkError;
use crate::source::pubsub::Published;
use crate::source::subscription::{Messages, subscribe};

/// How long the output may take for what was recorded when the signal came.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// Records until a signal comes, or for `duration`.
///
/// # Errors
///
/// An output that cannot be opened or takes no more, and a Redis that was never reached.
pub(in crate::app) async fn record(
    sources: Vec<RedisSource>,
    output: Option<&Path>,
    duration: Option<Duration>,
) -> Result<(), Error> {
    let out: Box<dyn Write + Send> = match output {
        // Never over a capture that exists: it may be the only one of its incident.
        Some(path) => Box::new(
            create(path).map_err(|error| Error::Open { path: path.to_owned(), error: explained(error) })?,
        ),
        None => Box::new(io::stdout()),
    };
    let recorded = record_to(out, sources, duration).await;
    if let (Err(Error::NothingRecorded { .. }), Some(path)) = (&recorded, output) {
        // It is empty and ours, and would stand in the way of the next attempt.
        let _ = std::fs::remove_file(path);
    }
    recorded
}

async fn record_to(
    out: Box<dyn Write + Send>,
    sources: Vec<RedisSource>,
    duration: Option<Duration>,
) -> Result<(), Error> {
    // A capture's lines do not say whose they are; the configuration allows one source.
    let Some(source) = sources.into_iter().next() else { return Ok(()) };
    let mut recorder = StreamRecorder {
        source,
        clock: Arc::new(SystemClock::new()),
        writer: CaptureWriter::new(out),
        output: Ok(()),
        messages: 0,
        left_out: 0,
        has_subscribed: false,
        obstacle: "there was no time to connect".to_owned(),
    };
    let stop = Shutdown::new();
    let stopped = stop.clone();
    let recording = async move {
        let ended = tokio::select! {
            ended = keep_connected(&mut recorder) => Err(ended),
            () = stopped.triggered() => Ok(()),
        };
        tracing::info!(messages = recorder.messages, left_out = recorder.left_out, "recorded");
        ended.and_then(|()| recorder.outcome())
    };
    // A thread of its own: whoever reads the output may hold it up, and a worker of the runtime that waits may be the one
    // that would notice signals.
    let runtime = Handle::current();
    let mut recording = spawn_blocking(move || runtime.block_on(recording));
    let limit = duration.unwrap_or(Duration::MAX);
    tokio::select! {
        ended = &mut recording => return joined(ended),
        () = after(limit) => {}
        signal = shutdown::on_signal(Hangup::Ends) => {
            tracing::info!(signal = signal.map_err(Error::Signal)?, "stopping");
        }
    }
    stop.trigger();
    match timeout(LAST_WRITE, recording).await {
        Ok(ended) => joined(ended),
        Err(_) => Err(Error::Output(io::Error::new(
            ErrorKind::TimedOut,
            "its reader has stopped reading; the capture ends in the middle",
        ))),
    }
}

/// A new file that only its owner can read: a capture holds user names and client addresses.
fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// What came of recording. Nobody cancels it.
fn joined(ended: Result<Result<(), Error>, JoinError>) -> Result<(), Error> {
    propagate(ended).unwrap_or(Ok(()))
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

struct StreamRecorder {
    source: RedisSource,
    clock: Arc<dyn Clock>,
    writer: CaptureWriter<Box<dyn Write + Send>>,
    /// What came of writing, since the last flush.
    output: io::Result<()>,
    messages: u64,
    /// Messages too long to be coturn's.
    left_out: u64,
    has_subscribed: bool,
    /// Why the last attempt failed.
    obstacle: String,
}

impl KeepConnected for StreamRecorder {
    /// Only the output can end it.
    type Fatal = Error;

    async fn attempt(&mut self, progress: &mut LinkProgress<'_>) -> Result<LinkError, Error> {
        let mut link = match subscribe(&self.source).await {
            Ok(link) => link,
            Err(error) => return Ok(error),
        };
        self.has_subscribed = true;
        progress.is_connected(self.clock.now());
        progress.works();
        tracing::info!(source = %self.source.name, "recording");
        let mut lost = pin!(link.check.until_lost());
        loop {
            tokio::select! {
                ready = link.messages.ready() => {
                    let taken = ready.and_then(|()| self.take(&mut link.messages));
                    self.flush().map_err(Error::Output)?;
                    if let Err(error) = taken {
                        return Ok(error);
                    }
                }
                error = &mut lost => return Ok(error),
            }
        }
    }

    fn failed(&mut self, error: &LinkError, is_news: bool) {
        self.obstacle = error.to_string();
        if is_news {
            tracing::warn!(source = %self.source.name, %error, "not recording; trying again");
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl StreamRecorder {
    /// An empty capture says that nothing was published; one of a Redis that was never reached must not.
    fn outcome(self) -> Result<(), Error> {
        if self.has_subscribed {
            return Ok(());
        }
        Err(Error::NothingRecorded { redis: self.source.name, problem: self.obstacle })
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
