//! Which events go into a request, and when one is given up.

use super::*;
use crate::clock::Timestamp;
use crate::config::Secret;
use crate::store::ledger::EventKind;
use serde_json::json;

pub(super) fn origin() -> LedgerOrigin {
    LedgerOrigin {
        store: "0b0c".to_owned(),
        exporter: "eu /\u{e4}-1".to_owned(),
        last_event: 9,
        copied_event: 0,
        taken: 0,
    }
}

pub(super) fn event(number: u64, session: u64) -> LedgerEvent {
    let data = json!({
        "session": session, "user": "1:alice", "user_id": "alice", "client": "192.0.2.1:5", "realm": "r",
    });
    LedgerEvent {
        number,
        kind: EventKind::SessionClosed,
        session,
        at: Timestamp::from_millis(number * 1000),
        data: data.as_object().unwrap().clone(),
    }
}

fn sink(batch_size: usize) -> WebhookSink {
    let settings = WebhookSettings {
        name: "host:80".to_owned(),
        url: Secret::new("http://host/geheim"),
        secrets: Some(Password::Fixed(Secret::new("geheim"))),
        with_users: false,
        batch_size,
        ca_file: None,
    };
    WebhookSink::new(&settings).unwrap()
}

fn numbers(sink: &WebhookSink, events: &[LedgerEvent]) -> Vec<u64> {
    sink.next_request(events).iter().map(|event| event.number).collect()
}

#[test]
fn a_request_is_made_the_same_again_while_nobody_knows_what_became_of_it() {
    let mut sink = sink(5);
    let events: Vec<_> = (3..12).map(|number| event(number, 1)).collect();
    assert_eq!(numbers(&sink, &events), [3, 4, 5, 6, 7]);
    sink.unsure = Some((3, 4));
    assert_eq!(numbers(&sink, &events), [3, 4]);
    // What is behind it is not bound by it; nor is what remains where its first is gone.
    assert_eq!(numbers(&sink, &events[2..]), [5, 6, 7, 8, 9]);
    assert_eq!(numbers(&sink, &events[1..]), [4, 5, 6, 7, 8]);
    assert!(numbers(&sink, &[]).is_empty());
}

#[test]
fn what_was_refused_together_goes_alone() {
    let mut sink = sink(5);
    let events: Vec<_> = (3..12).map(|number| event(number, 1)).collect();
    sink.alone_up_to = 4;
    assert_eq!(numbers(&sink, &events), [3]);
    assert_eq!(numbers(&sink, &events[1..]), [4]);
    assert_eq!(numbers(&sink, &events[2..]), [5, 6, 7, 8, 9]);
}

#[test]
fn an_event_is_given_up_at_the_eighth_refusal() {
    let mut sink = sink(1);
    let answer = Answered { status: StatusCode::BAD_REQUEST, wait: Duration::from_secs(3) };
    for number in [3, 4] {
        for times in 1..8 {
            let error = sink.refuse(number, &answer).unwrap_err();
            assert!(
                error.to_string().contains(&format!("number {number} (400 Bad Request), {times} times")),
                "{error}"
            );
            assert_eq!(super::super::SinkError::wait(&error), Duration::from_secs(3));
        }
        assert_eq!(sink.refuse(number, &answer).unwrap(), Delivered { done: 1, dropped: 1 });
    }
}

#[test]
fn nothing_secret_is_printed() {
    let printed = format!("{:?}", sink(1));
    assert!(!printed.contains("geheim"), "{printed}");
}
