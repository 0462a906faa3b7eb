//! Serves one page to a browser: WebRTC and the camera want a page from a place, not from a file.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

/// The page that talks WebRTC.
const PEERS: &str = include_str!("peers.html");

/// Serves [`PEERS`] under every path until the test's process ends; gives its address.
pub fn serve_peers() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A browser also opens connections on which it says nothing.
            std::thread::spawn(move || drop(answer(stream)));
        }
    });
    address
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 16 * 1024];
    if stream.read(&mut request)? == 0 {
        return Ok(());
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{PEERS}",
        PEERS.len()
    )
}
