//! What coturn says to us, passed on to a Redis for whoever else reads it there. It never holds anybody up: what the
//! Redis does not take waits in a bounded buffer, and past that it is thrown away and counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::connect::{in_time, locate};
use super::dial::dial;
use super::greet::{garbled, greet, refusal, set_name};
use super::redis::LinkError;
use crate::config::RedisSource;
use crate::resp::{Frame, Limits, Reader, Value};

/// The name of its connection, for `CLIENT LIST`: without it, the connection looks like a coturn's.
pub(super) const FORWARDER: &str = "coturn-exporter-forward";

/// Bytes that wait for the Redis: some tens of thousands of commands.
const WAITING: usize = 8 << 20;

/// How long the Redis may take none of it.
const DEADLINE: Duration = Duration::from_secs(10);

/// Answers are numbers and statuses.
const LIMITS: Limits = Limits { frame: 4096, values: 8, ahead: 64 << 10 };

/// Shared by those who have something to pass on and the one who sends it.
#[derive(Clone, Debug, Default)]
pub struct Forward(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Waiting>,
    some: Notify,
    is_up: AtomicBool,
    sent: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    commands: u64,
}

/// Commands that are being sent: thrown away, unless they have arrived.
struct OnItsWay<'a> {
    of: &'a Inner,
    commands: u64,
}

impl OnItsWay<'_> {
    fn arrived(mut self) {
        self.of.sent.fetch_add(std::mem::take(&mut self.commands), Ordering::Relaxed);
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.of.dropped.fetch_add(self.commands, Ordering::Relaxed);
    }
}

/// How it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The Redis is connected.
    pub up: bool,
    /// Commands sent.
    pub sent: u64,
    /// Commands thrown away.
    pub dropped: u64,
}

impl Forward {
    /// Passes a command on, in the form in which it came.
    pub fn offer(&self, command: &[u8]) {
        {
            let mut waiting = self.waiting();
            if waiting.bytes.len() + command.len() > WAITING {
                drop(waiting);
                self.0.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            waiting.bytes.extend_from_slice(command);
            waiting.commands += 1;
        }
        self.0.some.notify_one();
    }

    /// How it goes.
    pub fn state(&self) -> Forwarded {
        Forwarded {
            up: self.0.is_up.load(Ordering::Relaxed),
            sent: self.0.sent.load(Ordering::Relaxed),
            dropped: self.0.dropped.load(Ordering::Relaxed),
        }
    }

    /// Connects and sends until that fails; says `connected` once it can. What was on its way then is thrown away.
    pub async fn run(&self, to: &RedisSource, connected: impl FnOnce()) -> LinkError {
        let result = self.connect_and_send(to, connected).await;
        self.0.is_up.store(false, Ordering::Relaxed);
        match result {
            Err(error) => error,
            Ok(()) => LinkError::Closed,
        }
    }

    async fn connect_and_send(&self, to: &RedisSource, connected: impl FnOnce()) -> Result<(), LinkError> {
        let server = locate(to).await?;
        let mut stream = in_time(dial(&server, to.tls.as_ref())).await??;
        let mut reader = Reader::of_replies(LIMITS);
        in_time(greet(&mut stream, &mut reader, to, None)).await??;
        in_time(set_name(&mut stream, &mut reader, FORWARDER)).await??;
        self.0.is_up.store(true, Ordering::Relaxed);
        connected();
        let (mut input, mut output) = tokio::io::split(stream);
        let lost = |error: std::io::Error| LinkError::Lost(error.into());
        let send = async {
            loop {
                let Waiting { bytes, commands } = std::mem::take(&mut *self.waiting());
                if commands == 0 {
                    self.0.some.notified().await;
                    continue;
                }
                let sent = async {
                    output.write_all(&bytes).await?;
                    output.flush().await
                };
                let on_its_way = OnItsWay { of: &self.0, commands };
                timeout(DEADLINE, sent).await.map_err(|_| LinkError::Timeout(DEADLINE))?.map_err(lost)?;
                on_its_way.arrived();
            }
        };
        let listen = async {
            loop {
                while let Some(frame) = reader.frame().map_err(|error| LinkError::Lost(garbled(error)))? {
                    if let Frame::One(Value::Error(text)) = frame {
                        return Err(LinkError::Unusable(refusal(text)));
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

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
