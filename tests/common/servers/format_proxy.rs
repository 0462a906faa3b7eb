//! Stands between a scraper and the exporter and asks for one format, whatever the scraper prefers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use crate::common::net::http;

/// Passes each request for the page on with this `Accept`, until the test's process ends; gives its address.
pub fn asking_for(accept: &'static str, exporter: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A scraper that is killed meanwhile does not read its answer.
            drop(answer(stream, accept, exporter));
        }
    });
    address
}

fn answer(mut stream: TcpStream, accept: &str, exporter: SocketAddr) -> std::io::Result<()> {
    let mut request = [0; 16 * 1024];
    if stream.read(&mut request)? == 0 {
        return Ok(());
    }
    let page = http::get_bytes_with(exporter, "/metrics", &format!("Accept: {accept}"));
    let page = page.map_err(std::io::Error::other)?;
    let content_type = page.header("content-type").unwrap_or_default();
    let length = page.body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&page.body)
}
