//! Web hooks: events as `CloudEvents` over HTTP, signed as Standard Webhooks. One request at a time, in the order of the
//! events' numbers; what was not taken comes again under the same id. docs/webhooks.md is what receivers are written by.

mod answer;
mod cloud_event;
mod connection;
mod error;
mod signature;
mod target;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::timeout;

use self::answer::Meaning;
use self::cloud_event::Mode;
use self::connection::ReceiverConnection;
pub use self::error::WebhookError;
use self::target::Target;
use super::{Delivered, LedgerOrigin, Sink};
use crate::clock::{Clock, SystemClock};
use crate::config::{Password, WebhookSettings};
use crate::store::ledger::LedgerEvent;

/// A whole request, from the first byte to the head of the answer, with a new connection where one is needed.
const REQUEST: Duration = Duration::from_secs(15);

/// How often an event is refused before it is given up.
const MOST_REFUSALS: u32 = 8;

const USER_AGENT_TEXT: &str = concat!("coturn-exporter/", env!("CARGO_PKG_VERSION"));

/// Calls one receiver.
#[derive(Debug)]
pub struct WebhookSink {
    target: Target,
    secrets: Option<Password>,
    with_users: bool,
    batch_size: usize,
    ca_file: Option<PathBuf>,
    clock: Box<dyn Clock>,
    /// Kept from the request before.
    connection: Option<ReceiverConnection>,
    /// First and last number of a request of which nobody knows whether it was taken: it is made the same again.
    unsure: Option<(u64, u64)>,
    /// Up to this number each event has a request of its own: they were refused together.
    alone_up_to: u64,
    /// The number of an event that was refused when alone, and how often.
    refused: Option<(u64, u32)>,
}

/// What came of a request.
struct Answered {
    status: StatusCode,
    wait: Duration,
}

impl WebhookSink {
    /// Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// A URL that cannot be used, secrets that are none, a file of CAs that cannot be read.
    pub fn new(settings: &WebhookSettings) -> Result<Self, WebhookError> {
        Self::with_clock(settings, Box::new(SystemClock::new()))
    }

    fn with_clock(settings: &WebhookSettings, clock: Box<dyn Clock>) -> Result<Self, WebhookError> {
        let sink = Self {
            target: Target::parse(settings.url.expose())?,
            secrets: settings.secrets.clone(),
            with_users: settings.with_users,
            batch_size: settings.batch_size.max(1),
            ca_file: settings.ca_file.clone(),
            clock,
            connection: None,
            unsure: None,
            alone_up_to: 0,
            refused: None,
        };
        sink.keys()?;
        connection::check(&sink.target, sink.ca_file.as_ref())?;
        Ok(sink)
    }

    /// What to sign with, from the file as it is now.
    fn keys(&self) -> Result<Vec<ring::hmac::Key>, WebhookError> {
        self.secrets.as_ref().map_or(Ok(Vec::new()), |secrets| signature::keys(secrets.current().expose()))
    }

    /// How many of these go into the next request. Always the same while nobody knows what became of it.
    fn next_request<'a>(&self, events: &'a [LedgerEvent]) -> &'a [LedgerEvent] {
        let Some(first) = events.first() else { return events };
        let last = match self.unsure {
            _ if first.number <= self.alone_up_to => first.number,
            Some((before, last)) if before == first.number => last,
            _ => u64::MAX,
        };
        let most = events.len().min(self.batch_size);
        let count = events.iter().take(most).take_while(|event| event.number <= last).count();
        events.get(..count).unwrap_or(events)
    }

    /// Sends these in one request.
    async fn request(
        &mut self,
        origin: &LedgerOrigin,
        events: &[LedgerEvent],
    ) -> Result<Answered, WebhookError> {
        let mode = if self.batch_size == 1 { Mode::Structured } else { Mode::Batch };
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Ok(Answered { status: StatusCode::OK, wait: Duration::ZERO });
        };
        let id = cloud_event::request_id(origin, first.number, last.number);
        let body = Bytes::from(cloud_event::body(mode, origin, events, self.with_users));
        self.unsure = Some((first.number, last.number));
        let late = |_| WebhookError::Timeout { receiver: self.target.to_string(), after: REQUEST };
        // The connection is in hand while something is under way, so that it is closed when this is dropped.
        let (used, keys) = (self.connection.take(), self.keys()?);
        let exchanged = timeout(REQUEST, self.exchange(used, mode, &id, &keys, &body)).await;
        let (connection, answer) = exchanged.map_err(late)??;
        let (status, wall) = (answer.status(), self.clock.to_wall(self.clock.now()));
        let wait = answer::retry_after(answer.headers(), wall);
        self.connection = connection.after(answer).await;
        Ok(Answered { status, wait })
    }

    /// On the connection of the last request if there is one. That may have been closed by now, which shows only when it
    /// is used: then once more, on a new one.
    async fn exchange(
        &self,
        used: Option<ReceiverConnection>,
        mode: Mode,
        id: &str,
        keys: &[ring::hmac::Key],
        body: &Bytes,
    ) -> Result<(ReceiverConnection, Response<Incoming>), WebhookError> {
        if let Some(mut connection) = used.filter(ReceiverConnection::is_open)
            && let Ok(answer) = connection.send(&self.target, self.http_request(mode, id, keys, body)).await
        {
            return Ok((connection, answer));
        }
        let mut connection = ReceiverConnection::open(&self.target, self.ca_file.as_ref()).await?;
        let answer = connection.send(&self.target, self.http_request(mode, id, keys, body)).await?;
        Ok((connection, answer))
    }

    fn http_request(
        &self,
        mode: Mode,
        id: &str,
        keys: &[ring::hmac::Key],
        body: &Bytes,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.target.authority.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_TEXT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(mode.content_type()));
        if let Some(authorization) = &self.target.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let seconds = self.clock.to_wall(self.clock.now()).as_millis() / 1000;
        let mut put = |name: &'static str, text: &str| {
            // Letters, digits and marks of base64: always a header.
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        };
        put("webhook-id", id);
        put("webhook-timestamp", &seconds.to_string());
        if !keys.is_empty() {
            put("webhook-signature", &signature::sign(keys, id, seconds, body));
        }
        request
    }

    /// The receiver does not want this event. After some times it is given up, so that it does not hold up all others.
    fn refuse(&mut self, number: u64, answer: &Answered) -> Result<Delivered, WebhookError> {
        let times = match self.refused {
            Some((before, times)) if before == number => times + 1,
            _ => 1,
        };
        self.refused = Some((number, times));
        if times >= MOST_REFUSALS {
            return Ok(Delivered { done: 1, dropped: 1 });
        }
        let (receiver, most) = (self.target.to_string(), MOST_REFUSALS);
        let Answered { status, wait } = *answer;
        Err(WebhookError::Refused { receiver, status, number, times, most, wait })
    }
}

impl Sink for WebhookSink {
    type Item = LedgerEvent;
    type Error = WebhookError;

    fn most(&self) -> usize {
        self.batch_size
    }

    async fn deliver(
        &mut self,
        origin: &LedgerOrigin,
        items: &[LedgerEvent],
    ) -> Result<Delivered, WebhookError> {
        loop {
            let events = self.next_request(items);
            let Some((first, last)) = events.first().zip(events.last()) else {
                return Ok(Delivered::default());
            };
            // In a row: whatever else comes of a request begins anew.
            let refused = self.refused.take();
            let answer = self.request(origin, events).await?;
            match Meaning::of(answer.status) {
                Meaning::Taken => return Ok(Delivered { done: events.len(), dropped: 0 }),
                Meaning::Refused if events.len() == 1 => {
                    self.refused = refused;
                    return self.refuse(first.number, &answer);
                }
                // One of them will be the one that is not wanted.
                Meaning::Refused => self.alone_up_to = last.number,
                Meaning::Later => {
                    let Answered { status, wait } = answer;
                    return Err(WebhookError::Status { receiver: self.target.to_string(), status, wait });
                }
            }
        }
    }
}
