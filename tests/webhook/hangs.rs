//! A receiver that takes its time: what is not answered within the time-out comes again. Time is the test's own once the
//! request is there.

use std::time::Duration;

use coturn_exporter::sinks::Sink as _;

use crate::calling::{deliver_all, event, events, numbers, origin, sink};
use crate::receiver::{Receiver, Reply};

/// The answer to the first request never ends; then all is well.
async fn first_never_ends(reply: Reply) {
    let receiver =
        Receiver::start(move |_, before| if before == 0 { reply.clone() } else { Reply::Status(200) });
    let mut sink = sink(&receiver, 1);
    let one = [event(10, 1)];
    let (origin, mut failed) = (origin(), None);
    {
        let mut delivery = std::pin::pin!(sink.deliver(&origin, &one));
        while receiver.received().is_empty() {
            tokio::select! {
                ended = &mut delivery => failed = Some(ended),
                () = tokio::task::yield_now() => {}
            }
        }
        assert!(failed.is_none());
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(14)).await;
        let early = tokio::select! { biased;
            ended = &mut delivery => Some(ended),
            () = tokio::task::yield_now() => None,
        };
        assert!(early.is_none(), "{early:?}");
        tokio::time::advance(Duration::from_millis(1001)).await;
        let text = delivery.await.unwrap_err().to_string();
        assert!(text.contains("did not answer within 15 s"), "{text}");
    }
    tokio::time::resume();
    let events = events(5);
    deliver_all(&mut sink, &events, 0).await;
    assert_eq!(receiver.taken_numbers(), numbers(&events));
    let requests = receiver.received();
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    assert_eq!(requests[0].body, requests[1].body);
    assert_ne!(requests[0].connection, requests[1].connection, "an answer may still come on the first");
}

#[tokio::test]
async fn no_answer_is_waited_for_longer_than_fifteen_seconds() {
    first_never_ends(Reply::Nothing).await;
}

#[tokio::test]
async fn an_answer_byte_by_byte_is_not_waited_for_either() {
    first_never_ends(Reply::HeadSlow).await;
}

#[tokio::test]
async fn a_delivery_that_is_dropped_is_made_again_under_the_same_id() {
    let receiver = Receiver::start(|_, before| if before == 0 { Reply::Nothing } else { Reply::Status(200) });
    let mut sink = sink(&receiver, 3);
    let all = events(6);
    {
        let (origin, first) = (origin(), &all[..2]);
        let mut delivery = std::pin::pin!(sink.deliver(&origin, first));
        while receiver.received().is_empty() {
            tokio::select! {
                ended = &mut delivery => panic!("{ended:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    // More are there by now; the batch is the same.
    deliver_all(&mut sink, &all, 0).await;
    let requests = receiver.received();
    assert_eq!(requests[0].numbers(), [10, 12]);
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    assert_eq!(requests[0].body, requests[1].body);
    assert_eq!(receiver.taken_numbers(), numbers(&all));
}
