//! A receiver that fails: every event arrives, in order, under the same id.

use std::collections::BTreeMap;

use coturn_exporter::config::Secret;
use coturn_exporter::sinks::webhook::WebhookSink;
use coturn_exporter::sinks::{Sink as _, SinkError as _};

use crate::calling::{STORE, deliver_all, events, numbers, origin, settings, sink};
use crate::judges::RandomReplies;
use crate::receiver::{Nobody, Received, Receiver, Reply};

/// What must be true of whatever came.
fn check(receiver: &Receiver, sent: &[u64]) {
    let requests = receiver.received();
    let mut ids = BTreeMap::new();
    for request in &requests {
        let numbers = request.numbers();
        assert!(numbers.is_sorted(), "{numbers:?}");
        // The same id, the same body: whoever keeps ids of requests may trust them, too.
        let id = request.header("webhook-id").to_owned();
        let before = ids.entry(id.clone()).or_insert_with(|| request.body.clone());
        assert_eq!(*before, request.body, "{id}");
        let (first, last) = (numbers.first().unwrap(), numbers.last().unwrap());
        let expected =
            if first == last { format!("{STORE}-{first}") } else { format!("{STORE}-{first}-{last}") };
        assert_eq!(id, expected);
        for event in request.events() {
            assert!(event["id"].as_str().unwrap().starts_with(STORE), "{event}");
        }
    }
    // Each in its turn; none is left out, none comes again once its answer was seen.
    assert_eq!(receiver.taken_numbers(), sent);
}

/// Requests that follow each other while nothing is taken are one request, made again.
fn check_retries(requests: &[Received]) {
    for pair in requests.windows(2) {
        if !pair[0].is_taken {
            assert_eq!(pair[0].header("webhook-id"), pair[1].header("webhook-id"));
        }
    }
}

#[tokio::test]
async fn every_event_arrives_whatever_the_receiver_answers() {
    let elsewhere = Nobody::new();
    let location = format!("Location: http://{}/", elsewhere.address());
    let failures = [
        Reply::Status(500),
        Reply::Status(410),
        Reply::With(302, location.clone()),
        Reply::With(307, location),
        Reply::Status(404),
        Reply::Status(401),
        Reply::With(503, "Retry-After: 7".to_owned()),
        Reply::Status(429),
        Reply::Dropped,
        Reply::HeadCut,
        Reply::Garbage,
    ];
    let words = [
        "500 Internal Server Error; see the receiver's log",
        "410 Gone; it wants no events any more",
        "302 Found; redirects are not followed",
        "307 Temporary Redirect; redirects are not followed",
        "404 Not Found; is the path in --events.url right?",
        "401 Unauthorized; is the login in --events.url right",
        "503 Service Unavailable",
        "429 Too Many Requests; it gets more than it wants",
        // One that is dropped on a connection that was kept is made again at once, on a new one.
        "gave no answer that can be read",
        "gave no answer that can be read",
    ];
    for batch_size in [1, 4] {
        let script = failures.clone();
        // Each event or batch fails in each way before it is taken.
        let receiver = Receiver::start(move |_, before| {
            script.get(before % (script.len() + 1)).cloned().unwrap_or(Reply::Status(204))
        });
        let events = events(8);
        let mut sink = sink(&receiver, batch_size);
        let deliveries = deliver_all(&mut sink, &events, 1000).await;
        check(&receiver, &numbers(&events));
        check_retries(&receiver.received());
        let texts = deliveries.texts();
        assert_eq!(texts.len(), words.len() * 8 / batch_size, "{texts:#?}");
        for (text, word) in texts.iter().zip(words.iter().cycle()) {
            assert!(text.contains(word) && text.contains(&receiver.address.to_string()), "{text}: {word}");
        }
        let waits: Vec<_> = deliveries.failures.iter().map(|error| error.wait().as_secs()).collect();
        assert_eq!(waits[..7], [0, 0, 0, 0, 0, 0, 7]);
    }
    assert!(!elsewhere.was_called(), "a redirect was followed");
}

#[tokio::test]
async fn every_event_arrives_though_half_of_the_connections_are_dropped() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    for batch_size in [1, 7] {
        let replies = RandomReplies::new(seed, &[Reply::Dropped, Reply::Status(200)]);
        let receiver = Receiver::start(move |_, _| replies.next());
        let events = events(200);
        deliver_all(&mut sink(&receiver, batch_size), &events, 2000).await;
        check(&receiver, &numbers(&events));
    }
}

#[tokio::test]
async fn an_answer_counts_though_its_body_is_cut_or_endless() {
    for reply in [Reply::BodyCut, Reply::BodySlow, Reply::Gigabyte, Reply::ThenClosed] {
        let said = reply.clone();
        let receiver = Receiver::start(move |_, _| said.clone());
        let events = events(2);
        let deliveries = deliver_all(&mut sink(&receiver, 1), &events, 0).await;
        assert!(deliveries.failures.is_empty(), "{reply:?}");
        check(&receiver, &numbers(&events));
        // What the system buffers on both sides is some megabytes.
        assert!(receiver.sent() < 100_000_000, "{} bytes were read", receiver.sent());
    }
}

#[tokio::test]
async fn a_connection_is_kept_and_one_that_was_closed_is_no_failure() {
    let receiver = Receiver::start(|_, _| Reply::Status(200));
    deliver_all(&mut sink(&receiver, 1), &events(20), 0).await;
    assert!(receiver.received().iter().all(|request| request.connection == 0));

    let receiver = Receiver::start(|_, before| match before % 5 {
        4 => Reply::ThenClosed,
        _ => Reply::Status(200),
    });
    let events = events(20);
    deliver_all(&mut sink(&receiver, 1), &events, 0).await;
    check(&receiver, &numbers(&events));
    assert_eq!(receiver.received().last().unwrap().connection, 3);
}

#[tokio::test]
async fn one_bad_event_does_not_hold_up_the_others() {
    for batch_size in [1, 4] {
        for status in [400, 406, 413, 415, 422] {
            let receiver = Receiver::start(move |request, _| {
                let is_bad = request.numbers().contains(&14);
                Reply::Status(if is_bad { status } else { 200 })
            });
            let events = events(8);
            let mut sink = sink(&receiver, batch_size);
            let deliveries = deliver_all(&mut sink, &events, 7).await;
            assert_eq!(deliveries.dropped, [14]);
            let mut expected = numbers(&events);
            expected.retain(|&number| number != 14);
            check(&receiver, &expected);
            let alone = receiver.received().iter().filter(|request| request.numbers() == [14]).count();
            assert_eq!(alone, 8);
            let texts = deliveries.texts();
            assert!(
                texts[6].contains("refuses the event of number 14") && texts[6].contains("7 times"),
                "{texts:#?}"
            );
        }
    }
}

#[tokio::test]
async fn an_event_is_given_up_after_refusals_in_a_row_only() {
    // Each second answer is that of a receiver that starts.
    let receiver = Receiver::start(|_, before| match before {
        0..40 if before % 2 == 0 => Reply::Status(400),
        0..40 => Reply::Status(503),
        _ => Reply::Status(200),
    });
    let events = events(1);
    let deliveries = deliver_all(&mut sink(&receiver, 1), &events, 40).await;
    assert!(deliveries.dropped.is_empty(), "{:#?}", deliveries.texts());
    assert_eq!(deliveries.failures.len(), 40);
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_sent_one_by_one() {
    let receiver =
        Receiver::start(|request, _| Reply::Status(if request.numbers().len() > 1 { 413 } else { 200 }));
    let events = events(10);
    let deliveries = deliver_all(&mut sink(&receiver, 5), &events, 0).await;
    assert!(deliveries.dropped.is_empty());
    check(&receiver, &numbers(&events));
    // One refused batch for each five, which is still an array when there is one in it.
    let requests = receiver.received();
    assert_eq!(requests.len(), 12);
    let kind = "application/cloudevents-batch+json; charset=utf-8";
    assert!(requests.iter().all(|request| request.header("content-type") == kind));
    assert!(requests.iter().all(|request| request.body.starts_with(b"[")));
}

#[tokio::test]
async fn nobody_at_the_address_is_said() {
    let nobody = Nobody::new();
    let receiver = Receiver::start(|_, _| Reply::Status(200));
    let mut settings = settings(&receiver, 1);
    let address = nobody.address();
    drop(nobody);
    settings.url = Secret::new(format!("http://{address}/geheim"));
    let mut sink = WebhookSink::new(&settings).unwrap();
    let text = sink.deliver(&origin(), &events(1)).await.unwrap_err().to_string();
    assert!(text.contains("cannot connect to") && text.contains(&address.to_string()), "{text}");
    assert!(!text.contains("geheim"), "{text}");
}
