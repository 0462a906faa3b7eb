//! The details over a socket: whole answers, also to who writes endless addresses.

use crate::support::{Running, SOON, patient};
use coturn_exporter::http::WebLimits;
use coturn_exporter::metrics::WebRefusal;

const LISTS: [&str; 6] = [
    "/api/v1/allocations",
    "/api/v1/sessions",
    "/api/v1/allocations.csv",
    "/api/v1/sessions.csv",
    "/allocations",
    "/sessions",
];

/// What has no data of the table, or none of users.
const OPEN: [&str; 5] = ["/metrics", "/", "/-/page.js", "/-/page.css", "/-/healthy"];

#[tokio::test]
async fn head_gets_the_same_headers_and_no_body() {
    let server = Running::start_with_details(patient()).await;
    for path in LISTS {
        for query in ["", "?limit=0"] {
            let mut client = server.client().await;
            let get = client.get(&format!("{path}{query}")).await;
            client.ask("HEAD", &format!("{path}{query}")).await;
            let head = client.answer_without_body().await;
            // A body would now stand before the next answer.
            assert_eq!(client.get("/-/healthy").await.text(), "healthy\n", "{path}");
            assert_eq!(get.status, if query.is_empty() { 200 } else { 400 }, "{path}");
            assert_eq!((head.status, head.header("content-type")), (get.status, get.header("content-type")));
            assert!(!get.body.is_empty(), "{path}");
        }
    }
}

#[tokio::test]
async fn other_methods_are_refused_in_the_language_of_the_path() {
    let server = Running::start_with_details(patient()).await;
    for (path, content_type) in [
        ("/api/v1/allocations", "application/json"),
        ("/api/v1/sessions", "application/json"),
        ("/api/v1/allocations.csv", "text/csv; charset=utf-8; header=present"),
        ("/allocations", "text/html; charset=utf-8"),
        ("/sessions", "text/html; charset=utf-8"),
    ] {
        let mut client = server.client().await;
        client.ask("POST", path).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{path}");
        assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
    }
}

#[tokio::test]
async fn a_host_name_of_others_gets_no_details_and_the_metrics_all_the_same() {
    let server = Running::start_with_details(patient()).await;
    let mut client = server.client().await;
    let mut refused = 0;
    for (host, status) in [("evil.example", 403), ("evil.example:80", 403), ("127.0.0.1", 200), ("t", 200)] {
        for path in LISTS {
            client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.unwrap();
            let answer = client.answer().await;
            assert_eq!(answer.status, status, "{host} {path}");
            assert_eq!(answer.text().contains("--web.details-host"), status == 403, "{}", answer.text());
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{host} {path}");
            refused += u64::from(status == 403);
        }
        for path in OPEN {
            client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.unwrap();
            assert_eq!(client.answer().await.status, 200, "{host} {path}");
        }
    }
    server.refused(WebRefusal::Host, refused).await;
}

#[tokio::test]
async fn every_answer_has_a_policy_and_stands_in_no_frame() {
    let server = Running::start_with_details(patient()).await;
    let mut client = server.client().await;
    for path in LISTS.into_iter().chain(OPEN).chain(["/-/ready", "/nowhere"]) {
        let answer = client.get(path).await;
        assert_eq!(
            answer.head.matches("content-security-policy").count(),
            1,
            "{path}: each would be in force"
        );
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'; "), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}

/// The connection lives on after a query that is too long, as long as the head fits what is read of one.
#[tokio::test]
async fn a_query_that_is_too_long_is_answered_and_forgotten() {
    let server = Running::start_with_details(patient()).await;
    let mut client = server.client().await;
    for path in LISTS {
        for length in [5_000, 9_000, 15_000] {
            client.send(format!("GET {path}?user=")).await.unwrap();
            for piece in "a".repeat(length).as_bytes().chunks(60_001) {
                client.send(piece).await.unwrap();
            }
            client.send(" HTTP/1.1\r\nHost: t\r\n\r\n").await.unwrap();
            let answer = client.answer().await;
            assert_eq!(answer.status, 400, "{path} {length}: {}", answer.text());
            assert!(answer.text().contains("the query is longer than 4096 bytes"), "{}", answer.text());
            assert_eq!(client.get("/-/healthy").await.text(), "healthy\n", "{path} {length}");
        }
    }
}

/// What is longer than a head may be is refused, in whatever pieces it comes, and hurts nobody else.
#[tokio::test]
async fn an_address_longer_than_a_head_is_refused() {
    let server = Running::start_with_details(patient()).await;
    for path in LISTS {
        for length in [17_000, 1 << 20] {
            let mut client = server.client().await;
            // The server may close before it has taken everything; then a reset may also eat the answer.
            let sent = client
                .send(format!("GET {path}?user={} HTTP/1.1\r\nHost: t\r\n\r\n", "a".repeat(length)))
                .await;
            let came = String::from_utf8(client.until_closed().await).unwrap();
            let refused = came.starts_with("HTTP/1.1 431") || came.starts_with("HTTP/1.1 414");
            assert!(refused || came.is_empty(), "{path} {length}: {sent:?} {came}");
            assert_eq!(server.get("/-/healthy").await.status, 200, "after {path} {length}");
        }
    }
}

#[tokio::test]
async fn an_endless_address_is_cut_off() {
    let server = Running::start_with_details(WebLimits { head: SOON, ..patient() }).await;
    let mut client = server.client().await;
    client.send("GET /api/v1/allocations?user=").await.unwrap();
    let piece = vec![b'a'; 1 << 16];
    let mut sent = 0_usize;
    while client.send(&piece).await.is_ok() {
        sent += piece.len();
        assert!(sent < 1 << 31, "{sent} bytes were read");
    }
    assert_eq!(server.get("/-/healthy").await.status, 200);
}
