//! How the server ends: what is in flight is finished, and nobody can keep it from ending.

use crate::support::{Fixed, Held, LARGE, NEVER, Running, SOON, patient, within};
use coturn_exporter::http::WebLimits;
use std::time::Duration;
use tokio::net::TcpStream;

#[test]
fn by_default_all_is_over_in_five_seconds() {
    assert!(WebLimits::default().drain < Duration::from_secs(5));
}

#[tokio::test]
async fn nothing_open_nothing_to_wait_for() {
    let server = Running::start(Fixed::small(), patient()).await;
    server.shutdown.trigger();
    server.ended().await;
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_nothing_new_begins() {
    let (page, mut hold) = Held::new();
    let server = Running::start(page, patient()).await;
    let mut idle = server.client().await;
    assert_eq!(idle.get("/-/healthy").await.status, 200);
    let mut in_flight = server.client().await;
    in_flight.ask("GET", "/metrics").await;
    hold.begun().await;

    server.shutdown.trigger();

    assert!(idle.until_closed().await.is_empty(), "an idle connection is closed");
    within("connections to be refused", async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!server.task.is_finished(), "a request is still in flight");

    hold.release();
    let answer = in_flight.answer().await;
    assert_eq!((answer.status, answer.text()), (200, "held 1\n"));
    assert!(in_flight.until_closed().await.is_empty());
    server.ended().await;
}

#[tokio::test]
async fn who_waits_for_the_first_page_does_not_delay_the_end() {
    let server = Running::start(Fixed::small(), WebLimits { first_page: NEVER, ..patient() }).await;
    server.readiness.loading("loading the store");
    let mut scraper = server.client().await;
    scraper.ask("GET", "/metrics").await;
    // Answered after the request of the scraper was read.
    assert_eq!(server.get("/-/healthy").await.status, 200);
    server.shutdown.trigger();
    assert_eq!(scraper.answer().await.status, 503);
    server.ended().await;
}

#[tokio::test]
async fn a_large_page_being_written_is_finished() {
    let server = Running::start(Fixed::large(), patient()).await;
    let mut client = server.client().await;
    client.ask("GET", "/metrics").await;
    let head = client.read_to("\r\n\r\n").await.expect("writing has begun");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    server.shutdown.trigger();
    assert_eq!(client.until_closed().await.len(), LARGE);
    server.ended().await;
}

#[tokio::test]
async fn whoever_asks_at_the_end_hears_of_it() {
    let server = Running::start(Fixed::small(), patient()).await;
    server.readiness.ready();
    assert_eq!(server.get("/-/ready").await.status, 200);
    let mut client = server.client().await;
    client.send("GET /-/ready HTTP/1.1\r\n").await.unwrap();
    // Another connection answered later shows that the server has had time to read the half head.
    assert_eq!(server.get("/-/healthy").await.status, 200);

    server.shutdown.trigger();
    client.send("Host: t\r\n\r\n").await.unwrap();

    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text()), (503, "shutting down\n"));
    server.ended().await;
}

#[tokio::test]
async fn clients_that_hang_do_not_delay_the_end() {
    let server = Running::start(Fixed::large(), WebLimits { drain: SOON, ..patient() }).await;
    let mut half_a_head = server.client().await;
    half_a_head.send("GET / HTTP/1.1\r\nHost").await.unwrap();
    let mut reads_nothing = server.client().await;
    reads_nothing.ask("GET", "/metrics").await;
    reads_nothing.read_to("\r\n\r\n").await.expect("writing has begun");
    let mut silent = server.client().await;

    server.shutdown.trigger();

    server.ended().await;
    assert!(half_a_head.until_closed().await.is_empty());
    assert!(silent.until_closed().await.is_empty());
    assert!(reads_nothing.until_closed().await.len() < LARGE);
}

#[tokio::test]
async fn a_rendering_that_hangs_does_not_delay_the_end() {
    let (page, mut hold) = Held::new();
    let server = Running::start(page, WebLimits { drain: SOON, ..patient() }).await;
    let mut client = server.client().await;
    client.ask("GET", "/metrics").await;
    hold.begun().await;
    server.shutdown.trigger();
    server.ended().await;
    assert!(client.until_closed().await.is_empty());
}
