//! What coturn says to us, passed on to a Redis for whoever else reads it there. It never holds anybody up: what the
//! Redis does not take waits in a bounded buffer, and past that it is thrown away and counted. A command has arrived when
//! the Redis has answered it; what was not answered when the link ends is counted as lost.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{ErrorKind, RedisError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::connect::locate;
use super::dial::dial;
use super::error::LinkError;
use super::handshake::{handshake, set_name};
use super::login::in_time;
use super::reply_error::{error_reply, protocol_error};
use crate::config::RedisSource;
use crate::resp::{self, Frame, FrameLimits, Reader, RespValue};

/// The name of its connection, for `CLIENT LIST`: without it, the connection looks like a coturn's.
pub(super) const FORWARDER: &str = "coturn-exporter-forward";

/// Bytes that wait for the Redis: some tens of thousands of commands.
const WAITING: usize = 8 << 20;

/// How long the Redis may take none of it.
const DEADLINE: Duration = Duration::from_secs(10);

/// Answers are numbers and statuses.
const LIMITS: FrameLimits = FrameLimits { frame: 4096, values: 8, ahead: 64 << 10 };

/// The error of a master that has become a replica: another is the master now.
const READ_ONLY: &[u8] = b"READONLY";

/// Shared by those who have something to pass on and the one who sends it.
#[derive(Clone, Debug, Default)]
pub struct Forward(Arc<ForwardState>);

#[derive(Debug, Default)]
struct ForwardState {
    waiting: Mutex<ForwardBuffer>,
    some: Notify,
    is_up: AtomicBool,
    sent: AtomicU64,
    dropped: AtomicU64,
    withheld: AtomicU64,
}

#[derive(Debug, Default)]
struct ForwardBuffer {
    bytes: Vec<u8>,
    commands: u64,
}

/// Commands that were written, or are being written, and are not answered: lost, when the link ends.
struct Unanswered<'a> {
    of: &'a ForwardState,
    commands: AtomicU64,
}

impl Unanswered<'_> {
    fn written(&self, commands: u64) {
        self.commands.fetch_add(commands, Ordering::Relaxed);
    }

    /// The oldest of them is answered; false if there is none.
    fn answered(&self, is_taken: bool) -> bool {
        let one_less = |commands: u64| commands.checked_sub(1);
        let is_any = self.commands.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        if is_any {
            let count = if is_taken { &self.of.sent } else { &self.of.dropped };
            count.fetch_add(1, Ordering::Relaxed);
        }
        is_any
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.of.dropped.fetch_add(*self.commands.get_mut(), Ordering::Relaxed);
    }
}

/// How it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The Redis is connected.
    pub up: bool,
    /// Commands that the Redis has taken.
    pub sent: u64,
    /// Commands that it missed.
    pub dropped: u64,
    /// Commands that are not to be passed on.
    pub withheld: u64,
}

/// What happens on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardEvent<'a> {
    /// The Redis is connected.
    Connected,
    /// It answered a command with this error.
    Refused(&'a [u8]),
    /// It took a command.
    Taken,
}

impl Forward {
    /// Passes a command on.
    pub fn offer(&self, words: &[&[u8]]) {
        {
            let mut waiting = self.waiting();
            // A command is longer than its words by a few bytes each.
            let length: usize = words.iter().map(|word| word.len()).sum();
            if waiting.bytes.len() + length > WAITING {
                drop(waiting);
                self.0.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            resp::command(&mut waiting.bytes, words);
            waiting.commands += 1;
        }
        self.0.some.notify_one();
    }

    /// Counts a command that is not to be passed on.
    pub fn withhold(&self) {
        self.0.withheld.fetch_add(1, Ordering::Relaxed);
    }

    /// How it goes.
    pub fn state(&self) -> Forwarded {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Forwarded {
            up: self.0.is_up.load(Ordering::Relaxed),
            sent: count(&self.0.sent),
            dropped: count(&self.0.dropped),
            withheld: count(&self.0.withheld),
        }
    }

    /// Connects and sends until that fails, and says what happens.
    pub async fn run(&self, to: &RedisSource, note: impl FnMut(ForwardEvent<'_>)) -> LinkError {
        let result = self.connect_and_send(to, note).await;
        self.0.is_up.store(false, Ordering::Relaxed);
        match result {
            Err(error) => error,
            Ok(()) => LinkError::Closed,
        }
    }

    /// Connects, then sends and reads answers at the same time. Long because both halves share what is unanswered.
    async fn connect_and_send(
        &self,
        to: &RedisSource,
        mut note: impl FnMut(ForwardEvent<'_>),
    ) -> Result<(), LinkError> {
        let server = locate(to).await?;
        let mut stream = in_time(dial(&server, to.tls.as_ref())).await??;
        let mut reader = Reader::of_replies(LIMITS);
        in_time(handshake(&mut stream, &mut reader, to, None)).await??;
        in_time(set_name(&mut stream, &mut reader, FORWARDER)).await??;
        self.0.is_up.store(true, Ordering::Relaxed);
        note(ForwardEvent::Connected);
        let (mut input, mut output) = tokio::io::split(stream);
        let lost = |error: std::io::Error| LinkError::Lost(error.into());
        let unanswered = Unanswered { of: &self.0, commands: AtomicU64::new(0) };
        let send = async {
            loop {
                let ForwardBuffer { bytes, commands } = std::mem::take(&mut *self.waiting());
                if commands == 0 {
                    self.0.some.notified().await;
                    continue;
                }
                unanswered.written(commands);
                let sent = async {
                    output.write_all(&bytes).await?;
                    output.flush().await
                };
                timeout(DEADLINE, sent).await.map_err(|_| LinkError::Timeout(DEADLINE))?.map_err(lost)?;
            }
        };
        let listen = async {
            loop {
                while let Some(frame) =
                    reader.frame().map_err(|error| LinkError::Lost(protocol_error(error)))?
                {
                    let error = match frame {
                        Frame::One(RespValue::Error(text)) => Some(text),
                        Frame::TooLong => Some(&b"an answer that is too long"[..]),
                        Frame::One(_) | Frame::Many(_) => None,
                    };
                    if !unanswered.answered(error.is_none()) {
                        let unasked = (ErrorKind::Parse, "an answer to nothing that was asked");
                        return Err(LinkError::Unusable(
                            error.map_or(RedisError::from(unasked), error_reply),
                        ));
                    }
                    match error {
                        // It is located anew.
                        Some(text) if text.starts_with(READ_ONLY) => {
                            return Err(LinkError::Unusable(error_reply(text)));
                        }
                        Some(text) => note(ForwardEvent::Refused(text)),
                        None => note(ForwardEvent::Taken),
                    }
                }
                match input.read(reader.space()).await.map_err(lost)? {
                    0 => return Ok(()),
                    length => reader.filled(length),
                }
            }
        };
        tokio::select! {
            ended = send => ended,
            ended = listen => ended,
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, ForwardBuffer> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
