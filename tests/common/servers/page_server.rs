//! Serves one page: to a browser, for WebRTC and the camera want a page from a place and not from a file; or to a Prometheus, as
//! slowly as no exporter does in a test.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::common::poll;

/// The page that talks WebRTC.
const PEERS: &str = include_str!("peers.html");

/// Serves [`PEERS`] under every path until the test's process ends; gives its address.
pub fn serve_peers() -> SocketAddr {
    serve("text/html; charset=utf-8", || PEERS.to_owned())
}

/// An exporter of one realm, each of whose pages takes as long as it is told.
pub struct SlowExporter {
    pub address: SocketAddr,
    state: Arc<(AtomicBool, AtomicU64)>,
}

impl SlowExporter {
    pub fn start(page_takes: Duration) -> Self {
        let state = Arc::new((AtomicBool::new(false), AtomicU64::new(0)));
        let of_page = Arc::clone(&state);
        let page = move || {
            let (is_growing, opened) = &*of_page;
            let more = u64::from(is_growing.load(Ordering::SeqCst));
            let opened = opened.fetch_add(more, Ordering::SeqCst) + more;
            poll::pass(page_takes);
            format!(
                "process_start_time_seconds 1\ncoturn_exporter_source_up{{source=\"redis://r/0\"}} 1\n\
                 coturn_allocations_opened_total{{realm=\"one.example\",transport=\"udp\"}} {opened}\n"
            )
        };
        Self { address: serve("text/plain; version=0.0.4", page), state }
    }

    /// From now on each page has one allocation more, or no more than the one before.
    pub fn grow(&self, is_growing: bool) {
        self.state.0.store(is_growing, Ordering::SeqCst);
    }

    /// Allocations that were opened, by the last page that was asked for.
    pub fn opened(&self) -> u64 {
        self.state.1.load(Ordering::SeqCst)
    }
}

fn serve(content_type: &'static str, page: impl Fn() -> String + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let page = page.clone();
            // A browser also opens connections on which it says nothing.
            std::thread::spawn(move || drop(answer(stream, content_type, page)));
        }
    });
    address
}

fn answer(mut stream: TcpStream, content_type: &str, page: impl Fn() -> String) -> std::io::Result<()> {
    let mut request = [0; 16 * 1024];
    if stream.read(&mut request)? == 0 {
        return Ok(());
    }
    let page = page();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    )
}
