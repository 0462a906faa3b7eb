//! How many at a time: connections and renderings.

use crate::support::{Fixed, Held, NEVER, Running, SOON, patient};
use coturn_exporter::http::WebLimits;
use coturn_exporter::metrics::WebRefusal;
use std::time::Duration;

#[tokio::test]
async fn for_one_connection_too_many_the_one_that_is_idle_for_longest_is_closed() {
    let server = Running::start(Fixed::small(), WebLimits { connections: 2, ..patient() }).await;
    let mut first = server.client().await;
    let mut second = server.client().await;
    assert_eq!(second.get("/metrics").await.status, 200);
    assert_eq!(first.get("/metrics").await.status, 200);
    let mut third = server.client().await;
    assert!(second.until_closed().await.is_empty(), "it was idle before the first");
    assert_eq!(third.get("/metrics").await.status, 200);
    assert_eq!(first.get("/metrics").await.status, 200, "the others notice nothing");
    server.refused(WebRefusal::ConnectionLimit, 1).await;

    for _ in 0..20 {
        assert_eq!(server.get("/metrics").await.status, 200, "every newcomer is served");
    }
}

#[tokio::test]
async fn one_rendering_too_many_waits_and_is_then_a_503() {
    let (page, mut hold) = Held::new();
    let limits = WebLimits { max_requests: 1, wait: SOON, ..patient() };
    let server = Running::start(page, limits).await;
    // Pages in different forms: those who ask for the same share a rendering.
    let mut inside = server.client().await;
    inside.ask_with("/metrics", "Accept-Encoding: identity").await;
    hold.begun().await;
    let mut scraper = server.client().await;
    scraper.ask_with("/metrics", "Accept-Encoding: gzip").await;
    assert_eq!(scraper.answer().await.status, 503);
    server.refused(WebRefusal::Busy, 1).await;
    assert_eq!(server.get("/-/healthy").await.status, 200, "probes need no place");

    hold.release();
    let answer = inside.answer().await;
    assert_eq!((answer.status, answer.text()), (200, "held 1\n"));
    hold.release();
    assert_eq!(server.get("/metrics").await.status, 200, "the places are free again");
}

#[tokio::test]
async fn a_scraper_waits_for_the_first_page() {
    let server = Running::start(Fixed::small(), WebLimits { first_page: NEVER, ..patient() }).await;
    server.readiness.loading("loading the store");
    let mut scraper = server.client().await;
    scraper.ask("GET", "/metrics").await;
    // Answered after the request of the scraper was read, for both are served by one worker.
    assert_eq!(server.get("/-/healthy").await.status, 200);
    server.readiness.loading("loading the store: 41 %");
    assert_eq!(server.get("/-/ready").await.status, 503, "a probe does not wait");
    server.readiness.not_ready("no link");
    let answer = scraper.answer().await;
    assert_eq!((answer.status, answer.text()), (200, "up 1\n"));
}

#[tokio::test]
async fn nobody_waits_for_the_first_page_for_longer_than_there_is_time() {
    for (first_page, header) in
        [(SOON, "Accept: */*"), (Duration::from_secs(60), "X-Prometheus-Scrape-Timeout-Seconds: 0.7")]
    {
        let server = Running::start(Fixed::small(), WebLimits { first_page, ..patient() }).await;
        server.readiness.loading("loading the store: 41 %");
        let mut scraper = server.client().await;
        scraper.ask_with("/metrics", header).await;
        let answer = scraper.answer().await;
        assert_eq!((answer.status, answer.text()), (503, "loading the store: 41 %\n"), "{header}");
    }
}

#[tokio::test]
async fn a_scraper_waits_for_a_place() {
    let (page, mut hold) = Held::new();
    let server = Running::start(page, WebLimits { max_requests: 1, wait: NEVER, ..patient() }).await;
    let mut first = server.client().await;
    first.ask("GET", "/metrics").await;
    hold.begun().await;
    let mut second = server.client().await;
    second.ask_with("/metrics", "Accept-Encoding: gzip").await;
    // Answered after the request of the second was read, for both are served by one worker.
    assert_eq!(server.get("/-/healthy").await.status, 200);

    // Meanwhile the time runs out where it is shorter.
    let (page, mut other_hold) = Held::new();
    let other = Running::start(page, WebLimits { max_requests: 1, wait: SOON, ..patient() }).await;
    let mut inside = other.client().await;
    inside.ask("GET", "/metrics").await;
    other_hold.begun().await;
    let mut outside = other.client().await;
    outside.ask_with("/metrics", "Accept-Encoding: gzip").await;
    assert_eq!(outside.answer().await.status, 503);
    other_hold.release();
    assert_eq!(inside.answer().await.status, 200);

    hold.release();
    assert_eq!(first.answer().await.status, 200);
    hold.begun().await;
    hold.release();
    assert_eq!(second.answer().await.status, 200);
}

#[tokio::test]
async fn all_who_ask_within_a_rendering_get_it_and_it_outlives_the_first_of_them() {
    let (page, mut hold) = Held::new();
    let server = Running::start(page, patient()).await;
    let mut clients = Vec::new();
    for _ in 0..60 {
        let mut client = server.client().await;
        client.ask("GET", "/metrics").await;
        clients.push(client);
    }
    hold.begun().await;
    assert_eq!(server.get("/-/healthy").await.status, 200);
    drop(clients.remove(0));
    hold.release();
    for client in &mut clients {
        assert_eq!(client.answer().await.text(), "held 1\n");
    }
    assert!(!hold.has_begun_another(), "it was rendered once");
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
    let server = Running::start(page, WebLimits { answer: SOON, ..patient() }).await;
    let mut client = server.client().await;
    client.ask("GET", "/metrics").await;
    hold.begun().await;
    assert!(client.until_closed().await.is_empty());
}

#[tokio::test]
async fn clients_that_leave_give_their_places_back() {
    let (page, mut hold) = Held::new();
    let server = Running::start(page, WebLimits { max_requests: 1, connections: 2, ..patient() }).await;
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
