//! One GET over a plain socket: what is tested is what came over the wire.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A loopback server that takes longer than this to say anything is broken.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Response {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Asks for `path` (HTTP/1.0: one answer, then the end of the connection, never in chunks).
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<Response, String> {
    get_with(address, path, "Accept: text/plain")
}

/// The same with a header of the caller's.
pub(crate) fn get_with(address: SocketAddr, path: &str, header: &str) -> Result<Response, String> {
    fetch(address, path, header).map_err(|error| format!("GET http://{address}{path}: {error}"))
}

fn fetch(address: SocketAddr, path: &str, header: &str) -> std::io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n{header}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| {
        std::io::Error::other(format!("not an HTTP answer: {:?}", String::from_utf8_lossy(&answer)))
    })
}

fn parse(answer: &[u8]) -> Option<Response> {
    let answer = std::str::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let response = Response { status, head: head.to_owned(), body: body.to_owned() };
    // A body that was cut off is no answer.
    match response.header("content-length") {
        Some(length) if length.parse() != Ok(body.len()) => None,
        _ => Some(response),
    }
}
