//! The subscription to a Redis that coturn publishes to, and the check that its other end still answers. Messages are handed
//! on straight out of the buffer that the socket is read into; what they mean is `wire`'s business.
//!
//! Nothing is queued but what is in that buffer. Whoever takes messages slowly is read for slowly: they pile up in Redis,
//! which closes the connection of a subscriber that lets too many pile up.

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

use super::connect::{connect_to, locate};
use super::dial::dial;
use super::error::LinkError;
use super::handshake::handshake;
use super::login::in_time;
use super::pubsub::{LIMITS, PubSub, PubSubItem, Published};
use super::reply_error::{MASTER_DOWN, cannot_save, error_reply};
use super::server::RedisServer;
use super::statsdb::probe::is_guarded_listener;
use crate::config::RedisSource;
use crate::net::ByteStream;
use crate::resp::{Reader, command};

/// What is subscribed to, to the letter: Redis' ACL compares the pattern as text (7.0.15), so the documented rule
/// `&turn/*` allows this one and no narrower one.
pub const PATTERN: &str = "turn/*";

/// How often a link is asked whether it is there: a dead peer is not noticed otherwise.
pub const PING_INTERVAL: Duration = Duration::from_secs(10);

/// How many seconds in a row nothing may come while a PONG is waited for.
const PONG_DEADLINE: u64 = 10;

/// A confirmed subscription.
#[derive(Debug)]
pub struct Link {
    /// What is published, in order.
    pub messages: Messages,
    /// Whether the other end is there.
    pub check: LinkCheck,
    /// The server at the other end.
    pub server: RedisServer,
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
    match in_time(handshake(&mut stream, &mut reader, source, Some(PATTERN))).await? {
        Err(LinkError::Login(error)) => return Err(login_refused(source, &server, error).await),
        greeted => greeted?,
    }
    if source.has_sentinels() {
        // A master that is demoted drops its subscribers: one that is still the master now will not fool us later.
        connect_to(source, &server).await?;
    }
    let (input, output) = tokio::io::split(stream);
    let pending = Arc::new(PendingPings::default());
    let output = Arc::new(tokio::sync::Mutex::new(output));
    Ok(Link {
        messages: Messages { input, pubsub: PubSub::new(reader), pending: Arc::clone(&pending) },
        check: LinkCheck { output, pending, source: source.clone(), server: server.clone() },
        server,
    })
}

/// A refused login: with a password, the listener of an exporter says what a Redis says.
async fn login_refused(source: &RedisSource, server: &RedisServer, error: RedisError) -> LinkError {
    match server {
        RedisServer::Tcp(endpoint) if source.tls.is_none() && is_guarded_listener(endpoint).await => {
            LinkError::LoginOfListener(error)
        }
        _ => LinkError::Login(error),
    }
}

/// Those who wait for a PONG, in the order of their PINGs.
#[derive(Debug, Default)]
struct PendingPings {
    answers: Mutex<VecDeque<oneshot::Sender<Result<(), RedisError>>>>,
    /// Readings from the socket: as long as they go on, the other end lives.
    readings: AtomicU64,
}

impl PendingPings {
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
    async fn while_alive<T>(&self, what: impl Future<Output = T>) -> Result<T, LinkError> {
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
struct Unsent<'a>(&'a PendingPings);

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        self.0.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_back();
    }
}

/// The messages of a subscription.
pub struct Messages {
    input: ReadHalf<ByteStream>,
    pubsub: PubSub,
    pending: Arc<PendingPings>,
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
        if self.pubsub.is_drained() {
            let length = self.input.read(self.pubsub.space()).await.map_err(|error| lost(error.into()))?;
            if length == 0 {
                return Err(LinkError::Closed);
            }
            self.pubsub.filled(length);
            self.pending.readings.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Hands on what has been read, as [`PubSub::take`]; gives how much it was.
    ///
    /// # Errors
    ///
    /// When what comes is no subscription.
    pub fn take(&mut self, mut visit: impl FnMut(&[Published<'_>])) -> Result<usize, LinkError> {
        let pending = &self.pending;
        self.pubsub.take(|item| match item {
            PubSubItem::Published(published) => {
                visit(published);
                Ok(())
            }
            // All before it has been handed on; with no one pending, it says nothing.
            PubSubItem::Pong => {
                let _ = pending.answer(Ok(()));
                Ok(())
            }
            PubSubItem::Error(text) => {
                let error = error_reply(text);
                let answer = if cannot_save(&error) { Ok(()) } else { Err(error) };
                match pending.answer(answer) {
                    Err(Err(error)) => Err(lost(error)),
                    _ => Ok(()),
                }
            }
        })
    }
}

/// Asks the subscription's other end whether it is there, and its sentinels whether it is the right one.
#[derive(Clone)]
pub struct LinkCheck {
    output: Arc<tokio::sync::Mutex<WriteHalf<ByteStream>>>,
    pending: Arc<PendingPings>,
    source: RedisSource,
    server: RedisServer,
}

impl fmt::Debug for LinkCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkCheck").field("server", &self.server).finish_non_exhaustive()
    }
}

impl LinkCheck {
    /// Asks every ten seconds until an answer fails to come; gives the reason.
    pub async fn until_lost(self) -> LinkError {
        loop {
            sleep(PING_INTERVAL).await;
            if let Err(error) = self.check_master().await {
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
    pub async fn check(&self) -> Result<(), LinkError> {
        self.ping().await?.received().await
    }

    /// PING, whose PONG is waited for later.
    ///
    /// # Errors
    ///
    /// When it cannot be sent in time, or the connection is gone.
    pub async fn ping(&self) -> Result<Pong, LinkError> {
        let sent = async {
            let mut output = self.output.lock().await;
            let (answered, unsent) = (self.pending.push(), Unsent(&self.pending));
            let mut ping = Vec::new();
            command(&mut ping, &[b"PING"]);
            output.write_all(&ping).await?;
            std::mem::forget(unsent);
            output.flush().await?;
            Ok(answered)
        };
        let answered =
            self.pending.while_alive(sent).await?.map_err(|error: io::Error| lost(error.into()))?;
        Ok(Pong { answered, pending: Arc::clone(&self.pending) })
    }

    /// PING and its PONG, while the sentinels are asked whether this is still the master. A master that is cut off from
    /// them does not know that another one replaced it: it keeps its subscribers, and answers their PINGs.
    ///
    /// Sentinels that do not answer change nothing: they are not needed as long as the master lives.
    ///
    /// # Errors
    ///
    /// As [`Self::check`]; [`LinkError::Moved`].
    pub async fn check_master(&self) -> Result<(), LinkError> {
        if !self.source.has_sentinels() {
            return self.check().await;
        }
        let (answer, located) = tokio::join!(self.check(), locate(&self.source));
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
    pending: Arc<PendingPings>,
}

impl Pong {
    /// Waits until all that was published before the PING has been [taken](Messages::take).
    ///
    /// # Errors
    ///
    /// When the answer does not come in time, or the connection is gone.
    pub async fn received(self) -> Result<(), LinkError> {
        let answered = self.pending.while_alive(self.answered).await?;
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
