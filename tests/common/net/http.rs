//! One GET or POST over a plain socket: what is tested is what came over the wire.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A loopback server that takes longer than this to say anything is broken.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A whole answer.
#[derive(Debug)]
pub struct Response<Body = String> {
    pub status: u16,
    head: String,
    pub body: Body,
}

impl<Body> Response<Body> {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Asks for `path` (HTTP/1.0: one answer, then the end of the connection, never in chunks).
pub fn get(address: SocketAddr, path: &str) -> Result<Response, String> {
    get_with(address, path, "Accept: text/plain")
}

/// The same with a header of the caller's.
pub fn get_with(address: SocketAddr, path: &str, header: &str) -> Result<Response, String> {
    let response = get_bytes_with(address, path, header)?;
    text(response).map_err(|error| format!("GET http://{address}{path}: {error}"))
}

/// The same with its body as text.
pub fn text(response: Response<Vec<u8>>) -> std::io::Result<Response> {
    let Response { status, head, body } = response;
    let body = String::from_utf8(body).map_err(std::io::Error::other)?;
    Ok(Response { status, head, body })
}

/// The same where the body need not be text.
pub fn get_bytes_with(address: SocketAddr, path: &str, header: &str) -> Result<Response<Vec<u8>>, String> {
    fetch(address, path, header).map_err(|error| format!("GET http://{address}{path}: {error}"))
}

/// Posts JSON; gives the whole answer.
pub fn post_json(
    address: SocketAddr,
    path: &str,
    body: &serde_json::Value,
) -> Result<Response<Vec<u8>>, String> {
    let body = body.to_string();
    let header = format!("Content-Type: application/json\r\nContent-Length: {}", body.len());
    exchange(address, &format!("POST {path} HTTP/1.0\r\nHost: {address}\r\n{header}\r\n\r\n{body}"))
        .map_err(|error| format!("POST http://{address}{path}: {error}"))
}

fn fetch(address: SocketAddr, path: &str, header: &str) -> std::io::Result<Response<Vec<u8>>> {
    exchange(address, &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{header}\r\n\r\n"))
}

fn exchange(address: SocketAddr, request: &str) -> std::io::Result<Response<Vec<u8>>> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    exchange_over(stream, request)
}

/// The same over a stream that is there.
pub fn exchange_over(mut stream: impl Read + Write, request: &str) -> std::io::Result<Response<Vec<u8>>> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| {
        std::io::Error::other(format!("not an HTTP answer: {:?}", String::from_utf8_lossy(&answer)))
    })
}

fn parse(answer: &[u8]) -> Option<Response<Vec<u8>>> {
    const BLANK: &[u8] = b"\r\n\r\n";
    let end = answer.windows(BLANK.len()).position(|here| here == BLANK)?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let body = answer.get(end + BLANK.len()..)?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let response = Response { status, head: head.to_owned(), body: body.to_vec() };
    // A body that was cut off is no answer.
    match response.header("content-length") {
        Some(length) if length.parse() != Ok(body.len()) => None,
        _ => Some(response),
    }
}
