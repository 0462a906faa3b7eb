//! What well-behaved clients get.

use crate::support::{Client, Fixed, Held, Running, patient, site, within};
use coturn_exporter::config::TelemetryPath;
use coturn_exporter::http::{Readiness, WebLimits, WebServer};
use coturn_exporter::metrics::{Format, Render};
use coturn_exporter::shutdown::Shutdown;
use std::sync::Arc;
use tokio::task::JoinSet;

#[tokio::test]
async fn every_path_over_a_socket() {
    let server = Running::start(Fixed::small(), patient()).await;
    server.readiness.ready();
    for (path, status, content_type, part) in [
        ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8", "up 1\n"),
        ("/metrics?debug=1", 200, "text/plain; version=0.0.4; charset=utf-8", "up 1\n"),
        ("http://elsewhere/metrics", 200, "text/plain; version=0.0.4; charset=utf-8", "up 1\n"),
        ("/", 200, "text/html; charset=utf-8", "href=\"/metrics\""),
        ("/-/healthy", 200, "text/plain; charset=utf-8", "healthy\n"),
        ("/-/ready", 200, "text/plain; charset=utf-8", "ready\n"),
        ("/nowhere", 404, "text/plain; charset=utf-8", "404"),
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(answer.text().contains(part), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn head_gets_the_same_headers_and_no_body() {
    let server = Running::start(Fixed::small(), patient()).await;
    for path in ["/metrics", "/", "/-/healthy", "/-/ready", "/nowhere"] {
        let mut client = server.client().await;
        let get = client.get(path).await;
        client.ask("HEAD", path).await;
        let head = client.answer_without_body().await;
        // A body would now stand before the next answer.
        assert_eq!(client.get("/-/healthy").await.text(), "healthy\n", "{path}");

        let without_date = |head: &str| {
            let lines = head.lines().filter(|line| !line.starts_with("date:"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(without_date(&head.head), without_date(&get.head), "{path}");
        assert!(!get.body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_what_is_allowed() {
    let server = Running::start(Fixed::small(), patient()).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        for path in ["/metrics", "/", "/-/healthy", "/-/ready"] {
            let mut client = server.client().await;
            client.ask(method, path).await;
            let answer = client.answer().await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn ready_follows_the_application_and_healthy_does_not() {
    let server = Running::start(Fixed::small(), patient()).await;
    let mut client = server.client().await;
    for (reason, status, line) in [(Some("no link"), 503, "no link\n"), (None, 200, "ready\n")] {
        match reason {
            Some(reason) => server.readiness.not_ready(reason),
            None => server.readiness.ready(),
        }
        let ready = client.get("/-/ready").await;
        assert_eq!((ready.status, ready.text()), (status, line));
        assert_eq!(ready.header("cache-control"), Some("no-store"));
        let healthy = client.get("/-/healthy").await;
        assert_eq!((healthy.status, healthy.header("cache-control")), (200, Some("no-store")));
    }
}

#[tokio::test]
async fn requests_in_one_packet_are_answered_in_order() {
    let server = Running::start(Fixed::small(), patient()).await;
    let mut client = server.client().await;
    let request = |method, path| format!("{method} {path} HTTP/1.1\r\nHost: t\r\n\r\n");
    let rounds = 50;
    let round = request("GET", "/metrics") + &request("HEAD", "/metrics") + &request("GET", "/nowhere");
    client.send(round.repeat(rounds)).await.unwrap();
    for _ in 0..rounds {
        assert_eq!(client.answer().await.text(), "up 1\n");
        assert_eq!(client.answer_without_body().await.status, 200);
        assert_eq!(client.answer().await.status, 404);
    }
}

#[tokio::test]
async fn old_clients_and_closing_clients_are_served() {
    let server = Running::start(Fixed::small(), patient()).await;
    for request in
        ["GET /metrics HTTP/1.0\r\n\r\n", "GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"]
    {
        let mut client = server.client().await;
        client.send(request).await.unwrap();
        assert_eq!(client.answer().await.text(), "up 1\n", "{request}");
        assert!(client.until_closed().await.is_empty(), "{request}");
    }
}

#[tokio::test]
async fn who_has_said_everything_still_gets_the_answer() {
    let (page, mut hold) = Held::new();
    let server = Running::start(page, patient()).await;
    let mut client = server.client().await;
    client.ask("GET", "/metrics").await;
    hold.begun().await;
    client.half_close().await;
    // Another connection answered later shows that the server has had time to see the end.
    assert_eq!(server.get("/-/healthy").await.status, 200);
    hold.release();
    assert_eq!(client.answer().await.text(), "held 1\n");
    assert!(client.until_closed().await.is_empty());
}

#[tokio::test]
async fn a_crowd_is_served() {
    // All of them come from one address, which may have a quarter of the connections.
    let limits = WebLimits { connections: 4 * 300, ..patient() };
    let server = Running::start(Fixed::small(), limits).await;
    let mut crowd = JoinSet::new();
    for _ in 0..300 {
        let address = server.address;
        crowd.spawn(async move {
            let mut client = Client::connect(address).await;
            for _ in 0..5 {
                assert_eq!(client.get("/-/healthy").await.status, 200);
            }
        });
    }
    while let Some(client) = crowd.join_next().await {
        client.unwrap();
    }
}

#[tokio::test]
async fn several_addresses_serve_the_same_site() {
    let addresses = ["127.0.0.1:0", "127.0.0.1:0"].map(|address| address.parse().unwrap());
    let server = WebServer::bind(&addresses).await.unwrap();
    let bound = server.addresses().to_vec();
    let shutdown = Shutdown::new();
    let mut site = site(Arc::new(Fixed::small()), &Readiness::default());
    site.telemetry_path = "/".parse::<TelemetryPath>().unwrap();
    let task = tokio::spawn(server.serve(site, patient(), shutdown.clone()));
    assert_eq!(bound.len(), 2);
    for address in bound {
        assert_eq!(Client::connect(address).await.get("/").await.text(), "up 1\n");
    }
    shutdown.trigger();
    within("the server to end", task).await.unwrap();
}

/// Has no page.
struct Broken;

impl Render for Broken {
    fn render(&self, _: Format) -> Vec<u8> {
        panic!("this panic belongs to a test");
    }
}

#[tokio::test]
async fn a_page_that_panics_is_a_500_and_no_more() {
    let server = Running::start(Broken, patient()).await;
    let mut client = server.client().await;
    for _ in 0..3 {
        let answer = client.get("/metrics").await;
        assert_eq!(answer.status, 500);
        assert!(answer.text().contains("crashed"), "{}", answer.text());
    }
    assert_eq!(client.get("/-/healthy").await.status, 200);
}
