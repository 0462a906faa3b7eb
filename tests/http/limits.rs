//! How many at a time: connections and renderings.

use crate::support::{Fixed, Held, Running, SOON, patient};
use coturn_exporter::http::Limits;

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once() {
    let server = Running::start(Fixed::small(), Limits { connections: 2, ..patient() }).await;
    let mut first = server.client().await;
    let mut second = server.client().await;
    assert_eq!(first.get("/metrics").await.status, 200);
    assert_eq!(second.get("/metrics").await.status, 200);
    for _ in 0..20 {
        assert!(server.client().await.until_closed().await.is_empty());
    }
    assert_eq!(first.get("/metrics").await.status, 200, "those inside notice nothing");

    drop(second);
    server.served_again().await;
    assert_eq!(first.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn one_rendering_too_many_is_a_503() {
    let (page, mut hold) = Held::new();
    let server = Running::start(page, Limits { max_requests: 2, ..patient() }).await;
    let mut inside = [server.client().await, server.client().await];
    for client in &mut inside {
        client.ask("GET", "/metrics").await;
        hold.begun().await;
    }
    for method in ["GET", "HEAD"] {
        let mut client = server.client().await;
        client.ask(method, "/metrics").await;
        let answer = client.answer_without_body().await;
        assert_eq!(answer.status, 503, "{method}");
    }
    assert_eq!(server.get("/-/healthy").await.status, 200, "probes need no place");

    // Both before the first answer: a release lets one go, not necessarily the first that came.
    hold.release();
    hold.release();
    for client in &mut inside {
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.text()), (200, "held 1\n"));
    }
    hold.release();
    assert_eq!(server.get("/metrics").await.status, 200, "the places are free again");
}

/// The runtime of this test has one worker: a rendering on it would leave nobody to answer the probe.
#[tokio::test]
async fn a_rendering_does_not_hold_up_the_others() {
    let (page, mut hold) = Held::new();
    let server = Running::start(page, patient()).await;
    let mut client = server.client().await;
    client.ask("GET", "/metrics").await;
    hold.begun().await;
    assert_eq!(server.get("/-/healthy").await.status, 200);
    hold.release();
    assert_eq!(client.answer().await.text(), "held 1\n");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_cut_off() {
    let (page, mut hold) = Held::new();
    let server = Running::start(page, Limits { answer: SOON, ..patient() }).await;
    let mut client = server.client().await;
    client.ask("GET", "/metrics").await;
    hold.begun().await;
    assert!(client.until_closed().await.is_empty());
}

#[tokio::test]
async fn clients_that_leave_give_their_places_back() {
    let (page, mut hold) = Held::new();
    let server = Running::start(page, Limits { max_requests: 1, connections: 2, ..patient() }).await;
    for _ in 0..5 {
        // The one before has been let go, but may not have ended yet.
        let inside = loop {
            server.served_again().await;
            let mut client = server.client().await;
            if client.send("GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n").await.is_err() {
                continue;
            }
            tokio::select! {
                () = hold.begun() => break client,
                _ = client.until_status() => {}
            }
        };
        drop(inside);
        hold.release();
    }
}
