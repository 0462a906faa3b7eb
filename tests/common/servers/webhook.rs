//! A place to which Alertmanager sends: keeps what came, by path.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// Path and body of each request.
type Received = Arc<Mutex<Vec<(String, Value)>>>;

/// See the file's head.
#[derive(Debug)]
pub struct Webhook {
    pub address: SocketAddr,
    received: Received,
}

impl Webhook {
    /// Listens until the test's process ends.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let received = Received::default();
        let keep = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let keep = Arc::clone(&keep);
                std::thread::spawn(move || drop(take(stream, &keep)));
            }
        });
        Self { address, received }
    }

    /// The alerts of all messages that came to a path, by their labels.
    pub fn alerts(&self, path: &str) -> Vec<Value> {
        let received = self.received.lock().unwrap();
        let messages = received.iter().filter(|(to, _)| to == path);
        messages.flat_map(|(_, message)| message["alerts"].as_array().unwrap().clone()).collect()
    }

    /// All that came, for messages.
    pub fn everything(&self) -> String {
        format!("{:?}", self.received.lock().unwrap())
    }
}

fn take(stream: TcpStream, keep: &Received) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut path, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix("POST ") {
            rest.split(' ').next().unwrap_or_default().clone_into(&mut path);
        } else if let Some((_, value)) =
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            length = value.trim().parse().unwrap_or(0);
        } else if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    keep.lock().unwrap().push((path, serde_json::from_slice(&body)?));
    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}
