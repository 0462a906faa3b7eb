//! Events made up for a test, and the loop that hands them to a sink until it has them all.

use coturn_exporter::clock::Timestamp;
use coturn_exporter::config::{Password, Secret, WebhookSettings};
use coturn_exporter::sinks::webhook::{WebhookError, WebhookSink};
use coturn_exporter::sinks::{Delivered, LedgerOrigin, Sink as _};
use coturn_exporter::store::ledger::{EventKind, LedgerEvent};
use serde_json::json;

use crate::receiver::Receiver;

/// The UUID of the ledger of the tests.
pub(crate) const STORE: &str = "6f1c8b52-3f0e-4b6a-8d7e-0a4f5e0c9b11";

pub(crate) fn origin() -> LedgerOrigin {
    LedgerOrigin {
        store: STORE.to_owned(),
        exporter: "turn-eu-1".to_owned(),
        last_event: 1000,
        copied_event: 0,
        taken: 0,
    }
}

pub(crate) fn event(number: u64, session: u64) -> LedgerEvent {
    let data = json!({"session": session, "realm": "example.org", "user": "alice", "user_id": "alice"});
    LedgerEvent {
        number,
        kind: EventKind::SessionOpened,
        session,
        at: Timestamp::from_millis(1_795_341_600_000 + number),
        data: data.as_object().unwrap().clone(),
    }
}

/// Events of three sessions, with gaps between their numbers.
pub(crate) fn events(count: u64) -> Vec<LedgerEvent> {
    (0..count).map(|index| event(10 + index * 2, 1 + index % 3)).collect()
}

pub(crate) fn numbers(events: &[LedgerEvent]) -> Vec<u64> {
    events.iter().map(|event| event.number).collect()
}

pub(crate) fn settings(receiver: &Receiver, batch_size: usize) -> WebhookSettings {
    WebhookSettings {
        name: receiver.address.to_string(),
        url: Secret::new(receiver.url()),
        secrets: Some(Password::Fixed(Secret::new("geheim"))),
        with_users: false,
        batch_size,
        ca_file: None,
    }
}

pub(crate) fn sink(receiver: &Receiver, batch_size: usize) -> WebhookSink {
    WebhookSink::new(&settings(receiver, batch_size)).unwrap()
}

/// What came of all deliveries of some events.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    pub(crate) failures: Vec<WebhookError>,
    pub(crate) dropped: Vec<u64>,
}

impl Deliveries {
    /// The text of each failure; none holds what may be secret.
    pub(crate) fn texts(&self) -> Vec<String> {
        let texts: Vec<_> = self.failures.iter().map(ToString::to_string).collect();
        assert!(!format!("{texts:?} {:?}", self.failures).contains("geheim"), "{texts:#?}");
        texts
    }
}

/// Hands events over until all are taken or given up; fails after so many failures.
pub(crate) async fn deliver_all(sink: &mut WebhookSink, events: &[LedgerEvent], most: usize) -> Deliveries {
    let mut deliveries = Deliveries::default();
    let mut rest = events;
    while !rest.is_empty() {
        let next = &rest[..rest.len().min(sink.most())];
        match sink.deliver(&origin(), next).await {
            Ok(Delivered { done, dropped }) => {
                assert!(done > 0 && done <= next.len() && dropped <= done, "{done} {dropped}");
                deliveries.dropped.extend(numbers(&next[..dropped]));
                rest = &rest[done..];
            }
            Err(error) => deliveries.failures.push(error),
        }
        assert!(deliveries.failures.len() <= most, "{:#?}", deliveries.texts());
    }
    deliveries
}
