//! HTTP/2 over TLS: what it answers, and that the limits hold for it.

use coturn_exporter::http::WebLimits;
use coturn_exporter::metrics::WebRefusal;
use h2::client::{ResponseFuture, SendRequest};
use hyper::Request;
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Fixed, Held, NEVER, Running, SOON, patient, within};
use crate::tls::{Setting, connect};

/// Requests that one connection may have at one time.
const MAX_STREAMS: usize = 16;

/// A connection; whoever drives it is a task.
struct Connection {
    requests: SendRequest<Bytes>,
    driven: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Connection {
    async fn open(setting: &Setting, server: &Running) -> Self {
        Self::with(setting, server, &mut h2::client::Builder::new()).await
    }

    async fn with(setting: &Setting, server: &Running, builder: &mut h2::client::Builder) -> Self {
        let stream = connect(server, &setting.client(&["h2", "http/1.1"])).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (requests, connection) = builder.handshake(stream).await.unwrap();
        Self { requests, driven: tokio::spawn(connection) }
    }

    async fn ask(&mut self, path: &str) -> ResponseFuture {
        self.requests = within("room for a stream", self.requests.clone().ready()).await.unwrap();
        let request = Request::builder().uri(format!("https://localhost{path}")).body(()).unwrap();
        self.requests.send_request(request, true).unwrap().0
    }

    async fn get(&mut self, path: &str) -> (u16, Vec<u8>) {
        let response = self.ask(path).await;
        read(within("an answer", response).await.unwrap()).await
    }

    async fn ended(self) {
        drop(self.requests);
        let _ = within("the connection to end", self.driven).await;
    }
}

async fn read(response: hyper::Response<h2::RecvStream>) -> (u16, Vec<u8>) {
    let status = response.status().as_u16();
    let (mut body, mut all) = (response.into_body(), Vec::new());
    while let Some(part) = within("a body", body.data()).await {
        let part = part.unwrap();
        body.flow_control().release_capacity(part.len()).unwrap();
        all.extend_from_slice(&part);
    }
    (status, all)
}

#[tokio::test]
async fn every_path_answers_and_many_requests_share_a_connection() {
    let setting = Setting::new();
    let (server, _) = setting.serve(&setting.with_tls(""), Fixed::small(), patient()).await;
    let mut connection = Connection::open(&setting, &server).await;
    assert_eq!(connection.get("/metrics").await, (200, b"up 1\n".to_vec()));
    assert_eq!(connection.get("/nowhere").await.0, 404);
    assert_eq!(connection.get("/-/healthy").await.0, 200);
    let mut asked = Vec::new();
    for _ in 0..MAX_STREAMS {
        asked.push(connection.ask("/metrics").await);
    }
    for response in asked {
        assert_eq!(read(response.await.unwrap()).await.1, b"up 1\n");
    }
    let (server, _) = setting
        .serve(&(setting.with_tls("") + "http_server_config: {http2: false}\n"), Fixed::small(), patient())
        .await;
    let stream = connect(&server, &setting.client(&["h2", "http/1.1"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn a_large_page_comes_whole() {
    let setting = Setting::new();
    let (server, _) = setting.serve(&setting.with_tls(""), Fixed::large(), patient()).await;
    let mut connection = Connection::open(&setting, &server).await;
    assert_eq!(connection.get("/metrics").await.1.len(), crate::support::LARGE);
}

#[tokio::test]
async fn a_connection_has_so_many_streams_at_one_time_and_no_more() {
    let setting = Setting::new();
    let (page, mut hold) = Held::new();
    let (server, _) = setting.serve(&setting.with_tls(""), page, patient()).await;
    let mut connection = Connection::open(&setting, &server).await;
    let first = connection.ask("/metrics").await;
    hold.begun().await;
    let mut asked = vec![first];
    while asked.len() < MAX_STREAMS {
        asked.push(connection.ask("/metrics").await);
    }
    // h2 keeps the next one back, for the server has said how many it takes.
    assert_eq!(connection.requests.current_max_send_streams(), MAX_STREAMS);
    // Who asked before it was made shares it; some may have come later.
    for _ in 0..MAX_STREAMS {
        hold.release();
    }
    for response in asked {
        assert_eq!(read(within("an answer", response).await.unwrap()).await, (200, b"held 1\n".to_vec()));
    }
}

#[tokio::test]
async fn the_first_request_has_the_time_of_a_head() {
    let setting = Setting::new();
    let limits = WebLimits { head: SOON, ..patient() };
    let (server, _) = setting.serve(&setting.with_tls(""), Fixed::small(), limits).await;
    Connection::open(&setting, &server).await.ended().await;
    let silent = connect(&server, &setting.client(&["h2"])).await.unwrap();
    crate::support::Client::over(silent).until_closed().await;
    // The first has ended by itself, or in its time.
    within("the silent one to be refused", async {
        while server.refusals.get(WebRefusal::HeadTimeout) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn each_further_request_has_the_time_of_a_head_from_its_first_bytes() {
    let setting = Setting::new();
    let limits = WebLimits { head: SOON, ..patient() };
    let (server, _) = setting.serve(&setting.with_tls(""), Fixed::small(), limits).await;
    let mut stream = connect(&server, &setting.client(&["h2"])).await.unwrap();
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    // `GET` of `/` from `localhost`: indexed fields of HPACK, and an authority that is written out.
    let ask = b"\0\0\x0e\x01\x05\0\0\0\x01\x82\x87\x84\x01\x09localhost";
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    stream.write_all(&[&preface[..], settings, ask].concat()).await.unwrap();
    let mut said = Vec::new();
    within("an answer", async {
        while !said.windows(15).any(|part| part == b"<!DOCTYPE html>") {
            assert!(stream.read_buf(&mut said).await.unwrap() > 0);
        }
    })
    .await;
    assert_eq!(server.refusals.get(WebRefusal::HeadTimeout), 0);
    // Without the end of its head, and nothing after it.
    stream.write_all(b"\0\0\x03\x01\x01\0\0\0\x03\x82\x87\x84").await.unwrap();
    within("the end", async { while stream.read_buf(&mut said).await.is_ok_and(|read| read > 0) {} }).await;
    server.refused(WebRefusal::HeadTimeout, 1).await;
}

#[tokio::test]
async fn an_answer_that_is_not_read_ends_the_connection_whatever_else_is_asked() {
    let setting = Setting::new();
    let limits = WebLimits { answer: SOON * 5, ..patient() };
    let (server, _) = setting.serve(&setting.with_tls(""), Fixed::large(), limits).await;
    let mut connection = Connection::open(&setting, &server).await;
    let unread = connection.ask("/metrics").await;
    let unread = unread.await.unwrap();
    within("the end of the connection", async {
        while !connection.driven.is_finished() {
            let Ok(ready) = connection.requests.clone().ready().await else { break };
            connection.requests = ready;
            let request = Request::builder().uri("https://localhost/-/healthy").body(()).unwrap();
            let Ok((response, _)) = connection.requests.send_request(request, true) else { break };
            if response.await.is_err() {
                break;
            }
        }
    })
    .await;
    server.refused(WebRefusal::AnswerTimeout, 1).await;
    drop(unread);
}

#[tokio::test]
async fn a_ping_does_not_make_an_idle_connection_live_longer_nor_shorter() {
    let setting = Setting::new();
    let limits = WebLimits { idle: SOON * 5, head: SOON, ..patient() };
    let (server, _) = setting.serve(&setting.with_tls(""), Fixed::small(), limits).await;
    let stream = connect(&server, &setting.client(&["h2"])).await.unwrap();
    let (mut requests, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    let driven = tokio::spawn(connection);
    let request = Request::builder().uri("https://localhost/metrics").body(()).unwrap();
    let response = requests.send_request(request, true).unwrap().0.await.unwrap();
    assert_eq!(read(response).await.0, 200);
    let mut answered = 0_u64;
    while within("a pong", pings.ping(h2::Ping::opaque())).await.is_ok() {
        answered += 1;
    }
    assert!(answered > 0);
    let _ = within("the end", driven).await;
    assert_eq!(
        server.refusals.get(WebRefusal::HeadTimeout),
        0,
        "it was idle, and had got all that it asked for"
    );
}

#[tokio::test]
async fn a_stop_finishes_what_is_asked_and_ends_what_is_idle() {
    let setting = Setting::new();
    let (page, mut hold) = Held::new();
    let (server, _) =
        setting.serve(&setting.with_tls(""), page, WebLimits { drain: NEVER, ..patient() }).await;
    let mut asking = Connection::open(&setting, &server).await;
    let mut idle = Connection::open(&setting, &server).await;
    assert_eq!(idle.get("/-/healthy").await.0, 200);
    let response = asking.ask("/metrics").await;
    hold.begun().await;
    server.shutdown.trigger();
    idle.ended().await;
    hold.release();
    assert_eq!(read(within("the answer", response).await.unwrap()).await, (200, b"held 1\n".to_vec()));
    asking.ended().await;
    server.ended().await;
}

#[tokio::test]
async fn details_are_served_by_the_authority_of_the_request() {
    let setting = Setting::new();
    let config = setting.load(&setting.with_tls("")).unwrap();
    let server = Running::start_with_details_and(Some(config), patient()).await;
    let mut connection = Connection::open(&setting, &server).await;
    assert_eq!(connection.get("/api/v1/allocations").await.0, 200);
    let request = Request::builder().uri("https://evil.example/api/v1/allocations").body(()).unwrap();
    let response = connection.requests.send_request(request, true).unwrap().0.await.unwrap();
    assert_eq!(response.status(), 403);
}
