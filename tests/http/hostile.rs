//! What clients may throw at the server without anyone else noticing.

use crate::support::{Fixed, LARGE, NEVER, Running, SOON, patient};
use coturn_exporter::http::WebLimits;
use coturn_exporter::metrics::WebRefusal;

#[tokio::test]
async fn oversized_heads_are_refused() {
    let server = Running::start(Fixed::small(), patient()).await;
    for (what, request) in [
        ("a long header", format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(17 << 10))),
        ("an endless header", format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(17 << 10))),
        ("many headers", format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(150))),
        ("a long path", format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(17 << 10))),
    ] {
        let mut client = server.client().await;
        // The server may close before it has taken everything; then a reset may also eat the answer.
        let sent = client.send(request).await;
        let came = String::from_utf8(client.until_closed().await).unwrap();
        let refused = came.starts_with("HTTP/1.1 431") || came.starts_with("HTTP/1.1 414");
        assert!(refused || came.is_empty(), "{what}: {sent:?} {came}");
        assert_eq!(server.get("/metrics").await.status, 200, "after {what}");
    }
}

#[tokio::test]
async fn a_head_that_proxies_make_long_is_taken() {
    let server = Running::start(Fixed::small(), patient()).await;
    let mut client = server.client().await;
    let cookie = "a".repeat(12 << 10);
    client.send(format!("GET /metrics HTTP/1.1\r\nHost: t\r\nCookie: {cookie}\r\n\r\n")).await.unwrap();
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_closed() {
    let server = Running::start(Fixed::small(), patient()).await;
    for garbage in [
        &b"hello\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello in TLS",
        b"\x00\x01\x00\x00\x21\x12\xa4\x42 a STUN binding request",
        b"*1\r\n$4\r\nPING\r\n",
        b"\xff\xfe\x00\x00",
    ] {
        let mut client = server.client().await;
        client.send(garbage).await.unwrap();
        let came = String::from_utf8(client.until_closed().await).unwrap();
        let shown = garbage.escape_ascii();
        // The server may answer, or just close (HTTP/2); a reset may eat the answer.
        assert!(came.is_empty() || came.starts_with("HTTP/1.1 400"), "{shown}: {came}");
        assert_eq!(server.get("/metrics").await.status, 200, "after {shown}");
    }
}

#[tokio::test]
async fn noise_ends_in_time_and_harms_nobody() {
    let server = Running::start(Fixed::small(), WebLimits { head: SOON, idle: SOON, ..patient() }).await;
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for length in [1, 16, 100, 1_000, 10_000, 100_000] {
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            // xorshift: the same noise in every run.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .take(length)
        .collect();
        let mut client = server.client().await;
        let _ = client.send(noise).await;
        let came = client.until_closed().await;
        assert!(!came.starts_with(b"HTTP/1.1 200"), "{length} bytes of noise were served");
        assert_eq!(server.get("/metrics").await.status, 200, "after {length} bytes");
    }
}

#[tokio::test]
async fn bodies_are_not_read() {
    let server = Running::start(Fixed::small(), patient()).await;
    for (request, status) in [
        ("POST /metrics HTTP/1.1\r\nContent-Length: 9\r\n\r\nnot read.", 405),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nabc", 405),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n", 405),
        ("GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 200),
    ] {
        let mut client = server.client().await;
        client.send(request).await.unwrap();
        assert_eq!(client.answer().await.status, status, "{request}");
    }
}

/// Where a proxy before the exporter sees another end of a body than hyper does, what is behind it is the body to one and a
/// request to the other.
#[tokio::test]
async fn nothing_behind_a_body_is_taken_for_a_request() {
    const HIDDEN: &str = "GET /-/healthy HTTP/1.1\r\nHost: t\r\n\r\n";
    let server = Running::start(Fixed::small(), patient()).await;
    let chunked = format!("0\r\n\r\n{HIDDEN}");
    let length = chunked.len();
    for head in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked, identity"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: xchunked"),
        format!("Content-Length: {length}\r\nTransfer-Encoding : chunked"),
        format!("Content-Length: {length}\r\n Transfer-Encoding: chunked"),
        format!("Content-Length: {length}\r\nX: a\nTransfer-Encoding: chunked"),
        format!("Content-Length: 5\r\nContent-Length: {length}"),
        format!("Content-Length: 5, {length}"),
        "Content-Length: +5".to_owned(),
        "Content-Length: 5".to_owned(),
        "Transfer-Encoding: chunked".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked".to_owned(),
    ] {
        for method in ["GET", "POST"] {
            let mut client = server.client().await;
            let request = format!("{method} /metrics HTTP/1.1\r\nHost: t\r\n{head}\r\n\r\n{chunked}");
            client.send(&request).await.unwrap();
            let came = String::from_utf8(client.until_closed().await).unwrap();
            let answers = came.matches("HTTP/1.1 ").count();
            assert!(answers <= 1 && !came.contains("healthy"), "{request}: {came}");
        }
    }
}

#[tokio::test]
async fn requests_that_come_at_once_are_answered_in_their_order() {
    let server = Running::start(Fixed::small(), patient()).await;
    let mut client = server.client().await;
    let paths = ["/metrics", "/-/healthy", "/nowhere", "/metrics"];
    let all = paths.map(|path| format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n")).concat();
    client.send(all.repeat(50)).await.unwrap();
    for _ in 0..50 {
        let mut bodies = Vec::new();
        for _ in paths {
            bodies.push(client.answer().await.text().to_owned());
        }
        assert_eq!(bodies, ["up 1\n", "healthy\n", "404 page not found\n", "up 1\n"]);
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let server = Running::start(Fixed::small(), patient()).await;
    let mut client = server.client().await;
    client.send("POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    let chunk = [b"100000\r\n".as_slice(), &vec![b'a'; 0x10_0000], b"\r\n"].concat();
    // More than sockets can swallow without anybody reading.
    let taken = {
        let mut taken = 0;
        while taken < 256 && client.send(&chunk).await.is_ok() {
            taken += 1;
        }
        taken
    };
    assert!(taken < 256, "{taken} MiB were read");
    assert_eq!(server.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn a_dripping_head_is_cut_off() {
    let server = Running::start(Fixed::small(), WebLimits { head: SOON, ..patient() }).await;
    for before in ["", "GET /-/healthy HTTP/1.1\r\nHost: t\r\n\r\n"] {
        let mut client = server.client().await;
        client.send(before).await.unwrap();
        if !before.is_empty() {
            client.answer().await;
        }
        client.send("GET / HTTP/1.1\r\nDrip: ").await.unwrap();
        let mut drops = 0;
        // Each drop falls well within the limit; only a limit on the whole head ends this.
        while !client.closed_within(SOON / 10).await {
            drops += 1;
            assert!(drops < 500, "still open after {drops} drops");
            if client.send("a").await.is_err() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_is_cut_off() {
    let server = Running::start(Fixed::small(), WebLimits { head: SOON, ..patient() }).await;
    assert!(server.client().await.until_closed().await.is_empty());
    server.refused(WebRefusal::HeadTimeout, 1).await;
}

#[tokio::test]
async fn an_idle_connection_outlives_the_time_for_a_head_but_not_its_own() {
    let server = Running::start(Fixed::small(), WebLimits { head: SOON, idle: NEVER, ..patient() }).await;
    let mut idle = server.client().await;
    assert_eq!(idle.get("/metrics").await.status, 200);
    // A silent client that came later is cut off first: by then the idle one has had that time too.
    server.client().await.until_closed().await;
    assert_eq!(idle.get("/metrics").await.status, 200);

    let server = Running::start(Fixed::small(), WebLimits { idle: SOON, ..patient() }).await;
    let mut idle = server.client().await;
    assert_eq!(idle.get("/metrics").await.status, 200);
    assert!(idle.until_closed().await.is_empty());
}

#[tokio::test]
async fn a_reader_that_stands_still_blocks_nobody() {
    let server = Running::start(Fixed::large(), WebLimits { max_requests: 1, ..patient() }).await;
    let mut still = server.client().await;
    still.ask("GET", "/metrics").await;
    still.until_status().await.expect("writing has begun");
    assert_eq!(server.get("/-/healthy").await.status, 200);
    assert_eq!(server.get("/metrics").await.body.len(), LARGE, "nor does it keep its place in rendering");
}

#[tokio::test]
async fn a_reader_that_stands_still_is_cut_off() {
    let server = Running::start(Fixed::large(), WebLimits { answer: SOON, ..patient() }).await;
    let mut still = server.client().await;
    still.ask("GET", "/metrics").await;
    server.refused(WebRefusal::AnswerTimeout, 1).await;
    assert!(still.until_closed().await.len() < LARGE, "the page was written to its end");
}
