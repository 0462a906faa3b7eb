//! The subscription to a Redis that coturn publishes to, with its pulse. Messages are handed on straight out of the
//! buffer that the socket is read into; what they mean is `wire`'s business.
//!
//! Nothing waits here but what is in that buffer. Who takes messages slowly is read for slowly: they pile up at Redis
//! then, which cuts off whoever lets too many pile up.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::RedisError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::connect::{Server, connect_to, in_time, locate};
use super::dial::{Duplex, dial};
use super::greet::{MASTER_DOWN, greet, refusal};
use super::inbox::{Inbox, LIMITS, Published, Said};
use super::redis::LinkError;
use crate::config::{RedisAddress, RedisSource};
use crate::resp::{Reader, command};

/// What is subscribed to, to the letter: Redis' ACL compares the pattern as text (7.0.15), so the documented rule
/// `&turn/*` allows this one and no narrower one.
pub const PATTERN: &str = "turn/*";

/// How often a link is asked whether it is there: a dead peer is not noticed otherwise.
pub const BEAT: Duration = Duration::from_secs(10);

/// How many seconds in a row nothing may come while a PONG is waited for.
const PONG_DEADLINE: u64 = 10;

/// A confirmed subscription.
#[derive(Debug)]
pub struct Link {
    /// What is published, in order.
    pub messages: Messages,
    /// Whether the other end is there.
    pub pulse: Pulse,
    /// The server at the other end.
    pub server: Server,
}

/// Connects, logs in and subscribes; done when Redis has confirmed the subscription and, where the source has
/// sentinels, that it is the master.
///
/// # Errors
///
/// [`LinkError`]; nothing is left open.
pub async fn subscribe(source: &RedisSource) -> Result<Link, LinkError> {
    let server = locate(source).await?;
    let mut stream = in_time(dial(&server, source.tls.as_ref())).await??;
    let mut reader = Reader::of_replies(LIMITS);
    in_time(greet(&mut stream, &mut reader, source, Some(PATTERN))).await??;
    if has_sentinels(source) {
        // A master that is demoted drops its subscribers: one that is still the master now will not fool us later.
        connect_to(source, &server).await?;
    }
    let (input, output) = tokio::io::split(stream);
    let waiting = Arc::new(Waiting::default());
    let output = Arc::new(tokio::sync::Mutex::new(output));
    Ok(Link {
        messages: Messages { input, inbox: Inbox::new(reader), waiting: Arc::clone(&waiting) },
        pulse: Pulse { output, waiting, source: source.clone(), server: server.clone() },
        server,
    })
}

fn has_sentinels(source: &RedisSource) -> bool {
    matches!(source.address, RedisAddress::Sentinel(_))
}

/// Those who wait for a PONG, in the order of their PINGs.
#[derive(Debug, Default)]
struct Waiting {
    answers: Mutex<VecDeque<oneshot::Sender<Result<(), RedisError>>>>,
    /// Readings from the socket: as long as they go on, the other end lives.
    readings: AtomicU64,
}

impl Waiting {
    fn push(&self) -> oneshot::Receiver<Result<(), RedisError>> {
        let (answer, answered) = oneshot::channel();
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push_back(answer);
        answered
    }

    /// Gives the answer back where nobody waits for one.
    fn answer(&self, answer: Result<(), RedisError>) -> Result<(), Result<(), RedisError>> {
        let first = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(first) = first else { return Err(answer) };
        // Whoever asked may have lost interest.
        let _ = first.send(answer);
        Ok(())
    }

    /// Waits for `what` as long as the other end says anything at all: an answer stands behind what it has to say.
    async fn patiently<T>(&self, what: impl Future<Output = T>) -> Result<T, LinkError> {
        tokio::pin!(what);
        let mut silent = 0;
        while silent < PONG_DEADLINE {
            let before = self.readings.load(Ordering::Relaxed);
            if let Ok(done) = timeout(Duration::from_secs(1), &mut what).await {
                return Ok(done);
            }
            silent = if self.readings.load(Ordering::Relaxed) == before { silent + 1 } else { 0 };
        }
        Err(LinkError::Timeout(Duration::from_secs(PONG_DEADLINE)))
    }
}

/// A PING that is not written yet, by whoever holds the output: with nobody to write it on, none waits for its answer.
/// Another's PONG would be taken for it, and so on.
struct Unsent<'a>(&'a Waiting);

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        self.0.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_back();
    }
}

/// The messages of a subscription.
pub struct Messages {
    input: ReadHalf<Box<dyn Duplex>>,
    inbox: Inbox,
    waiting: Arc<Waiting>,
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}

impl Messages {
    /// Waits until there may be something to [take](Self::take). Can be dropped while it waits: nothing is lost by that.
    ///
    /// # Errors
    ///
    /// When the link is lost.
    pub async fn ready(&mut self) -> Result<(), LinkError> {
        if self.inbox.is_drained() {
            let length = self.input.read(self.inbox.space()).await.map_err(|error| lost(error.into()))?;
            if length == 0 {
                return Err(LinkError::Closed);
            }
            self.inbox.filled(length);
            self.waiting.readings.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Hands on what has been read, as [`Inbox::take`]; gives how much it was.
    ///
    /// # Errors
    ///
    /// When what comes is no subscription.
    pub fn take(&mut self, mut visit: impl FnMut(&[Published<'_>])) -> Result<usize, LinkError> {
        let waiting = &self.waiting;
        self.inbox.take(|said| match said {
            Said::Published(published) => {
                visit(published);
                Ok(())
            }
            // All before it has been handed on; with no one waiting, it says nothing.
            Said::Pong => {
                let _ = waiting.answer(Ok(()));
                Ok(())
            }
            Said::Error(text) => match waiting.answer(Err(refusal(text))) {
                Err(Err(error)) => Err(lost(error)),
                _ => Ok(()),
            },
        })
    }
}

/// Asks the subscription's other end whether it is there, and its sentinels whether it is the right one.
#[derive(Clone)]
pub struct Pulse {
    output: Arc<tokio::sync::Mutex<WriteHalf<Box<dyn Duplex>>>>,
    waiting: Arc<Waiting>,
    source: RedisSource,
    server: Server,
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulse").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Pulse {
    /// Asks every ten seconds until an answer fails to come; gives the reason.
    pub async fn until_lost(self) -> LinkError {
        loop {
            sleep(BEAT).await;
            if let Err(error) = self.beat_at_master().await {
                return error;
            }
        }
    }

    /// PING and its PONG. The answer is a barrier too: it comes when all that was published before the PING has been
    /// [taken](Messages::take).
    ///
    /// # Errors
    ///
    /// When the answer does not come in time, or the connection is gone.
    pub async fn beat(&self) -> Result<(), LinkError> {
        self.ping().await?.heard().await
    }

    /// PING, whose PONG is waited for later.
    ///
    /// # Errors
    ///
    /// When it cannot be sent in time, or the connection is gone.
    pub async fn ping(&self) -> Result<Pong, LinkError> {
        let sent = async {
            let mut output = self.output.lock().await;
            let (answered, unsent) = (self.waiting.push(), Unsent(&self.waiting));
            let mut ping = Vec::new();
            command(&mut ping, &[b"PING"]);
            output.write_all(&ping).await?;
            std::mem::forget(unsent);
            output.flush().await?;
            Ok(answered)
        };
        let answered = self.waiting.patiently(sent).await?.map_err(|error: io::Error| lost(error.into()))?;
        Ok(Pong { answered, waiting: Arc::clone(&self.waiting) })
    }

    /// The same, and the sentinels do not name another master meanwhile. A master that is cut off from them is not told
    /// of its end: it keeps its subscribers, and answers their PINGs.
    ///
    /// Sentinels that do not answer change nothing: they are not needed as long as the master lives.
    ///
    /// # Errors
    ///
    /// As [`Self::beat`]; [`LinkError::Moved`].
    pub async fn beat_at_master(&self) -> Result<(), LinkError> {
        if !has_sentinels(&self.source) {
            return self.beat().await;
        }
        let (answer, located) = tokio::join!(self.beat(), locate(&self.source));
        answer?;
        match located {
            Ok(to) if to != self.server => Err(LinkError::Moved { from: self.server.clone(), to }),
            _ => Ok(()),
        }
    }
}

/// The answer to a PING.
#[derive(Debug)]
pub struct Pong {
    answered: oneshot::Receiver<Result<(), RedisError>>,
    waiting: Arc<Waiting>,
}

impl Pong {
    /// Waits until all that was published before the PING has been [taken](Messages::take).
    ///
    /// # Errors
    ///
    /// When the answer does not come in time, or the connection is gone.
    pub async fn heard(self) -> Result<(), LinkError> {
        let answered = self.waiting.patiently(self.answered).await?;
        answered.map_or(Err(LinkError::Closed), |answer| answer.map_err(lost))
    }
}

fn lost(error: RedisError) -> LinkError {
    if error.code() == Some(MASTER_DOWN) {
        return LinkError::MasterDown { link: None };
    }
    LinkError::Lost(error)
}

#[cfg(test)]
mod tests;
