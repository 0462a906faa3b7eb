//! A receiver of events that answers as a script says. It reads HTTP with code of its own.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::common::net::certificates::Pair;
use crate::common::poll;

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// An answer of this status.
    Status(u16),
    /// The same with a header.
    With(u16, String),
    /// 200, and the connection is closed without a word about it.
    ThenClosed,
    /// No answer; the connection is closed.
    Dropped,
    /// Half of the head of an answer.
    HeadCut,
    /// The head of a 200, and less of a body than it promises.
    BodyCut,
    /// The connection stays, and nothing comes.
    Nothing,
    /// The head of a 200, byte by byte, without end.
    HeadSlow,
    /// 200, and a body that comes byte by byte, without end.
    BodySlow,
    /// 200, and a body of a gigabyte.
    Gigabyte,
    /// Bytes that are no HTTP.
    Garbage,
}

impl Reply {
    /// Whether whoever sends this has the events.
    pub(crate) const fn takes(&self) -> bool {
        match self {
            Self::Status(status) | Self::With(status, _) => *status >= 200 && *status < 300,
            Self::ThenClosed | Self::BodyCut | Self::BodySlow | Self::Gigabyte => true,
            Self::Dropped | Self::HeadCut | Self::Nothing | Self::HeadSlow | Self::Garbage => false,
        }
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The number of its connection.
    pub(crate) connection: u64,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The receiver took it.
    pub(crate) is_taken: bool,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// The events in it.
    pub(crate) fn events(&self) -> Vec<Value> {
        match serde_json::from_slice(&self.body).expect("JSON") {
            Value::Array(events) => events,
            event => vec![event],
        }
    }

    /// The numbers of its events: what is behind the ledger's UUID in their ids.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.events().iter().map(number).collect()
    }
}

/// The number of an event.
pub(crate) fn number(event: &Value) -> u64 {
    event["id"].as_str().unwrap().rsplit('-').next().unwrap().parse().unwrap()
}

type Script = dyn Fn(&Received, usize) -> Reply + Send + Sync;

struct Shared {
    script: Box<Script>,
    received: Mutex<Vec<Received>>,
    /// Bytes of gigabytes that were taken off it.
    sent: AtomicU64,
}

/// See the file's head. It listens until the test's process ends.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Receiver {
    /// `script` gets each request and how many came before it.
    pub(crate) fn start(script: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::launch(None, script)
    }

    /// The same over TLS.
    pub(crate) fn start_tls(
        pair: &Pair,
        script: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let chain = |path: &Path| CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let key = PrivateKeyDer::from_pem_file(&pair.key_file).unwrap();
        let config = config.unwrap().with_no_client_auth().with_single_cert(chain(&pair.cert_file), key);
        Self::launch(Some(Arc::new(config.unwrap())), script)
    }

    fn launch(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            script: Box::new(script),
            received: Mutex::default(),
            sent: AtomicU64::new(0),
        });
        let all = Arc::clone(&shared);
        std::thread::spawn(move || {
            for (number, stream) in (0..).zip(listener.incoming().flatten()) {
                let (shared, tls) = (Arc::clone(&all), tls.clone());
                std::thread::spawn(move || match tls {
                    None => drop(shared.serve(number, stream)),
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        drop(shared.serve(number, StreamOwned::new(connection, stream)));
                    }
                });
            }
        });
        Self { address, shared }
    }

    /// All requests that came, in their order.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Those that it took.
    pub(crate) fn taken(&self) -> Vec<Received> {
        self.received().into_iter().filter(|request| request.is_taken).collect()
    }

    /// The numbers of the events that it took, in their order.
    pub(crate) fn taken_numbers(&self) -> Vec<u64> {
        self.taken().iter().flat_map(Received::numbers).collect()
    }

    /// Bytes of its gigabytes that went out.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook/geheim", self.address)
    }
}

impl Shared {
    fn serve(&self, connection: u64, stream: impl Read + Write) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        while let Some(mut request) = read_request(&mut reader, connection)? {
            let reply = {
                let mut received = self.received.lock().unwrap();
                let reply = (self.script)(&request, received.len());
                request.is_taken = reply.takes();
                received.push(request);
                reply
            };
            if !self.reply(&reply, reader.get_mut())? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the connection goes on.
    fn reply(&self, reply: &Reply, stream: &mut impl Write) -> std::io::Result<bool> {
        match reply {
            Reply::Status(status) => answer(stream, *status, "").map(|()| true),
            Reply::With(status, header) => answer(stream, *status, &format!("{header}\r\n")).map(|()| true),
            Reply::ThenClosed => answer(stream, 200, "").map(|()| false),
            Reply::Dropped => Ok(false),
            Reply::HeadCut => write(stream, b"HTTP/1.1 200 OK\r\nContent-Le").map(|()| false),
            Reply::BodyCut => {
                write(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").map(|()| false)
            }
            Reply::Garbage => write(stream, b"+OK\r\n\r\n").map(|()| false),
            Reply::Nothing => loop {
                poll::pass(Duration::from_secs(1));
                // To see whether anybody is there it would have to write.
            },
            Reply::HeadSlow => {
                write(stream, b"HTTP/1.1 200 OK\r\nX: ")?;
                loop {
                    write(stream, b"x")?;
                    poll::pause();
                }
            }
            Reply::BodySlow => {
                write(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")?;
                loop {
                    write(stream, b"x")?;
                    poll::pause();
                }
            }
            Reply::Gigabyte => {
                write(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
                for _ in 0..1_000_000 {
                    write(stream, &[b'x'; 1000])?;
                    self.sent.fetch_add(1000, Ordering::SeqCst);
                }
                Ok(true)
            }
        }
    }
}

fn write(stream: &mut impl Write, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

fn answer(stream: &mut impl Write, status: u16, header: &str) -> std::io::Result<()> {
    write(stream, format!("HTTP/1.1 {status} X\r\n{header}Content-Length: 2\r\n\r\nok").as_bytes())
}

/// `None` at the end of the connection.
fn read_request(reader: &mut BufReader<impl Read>, connection: u64) -> std::io::Result<Option<Received>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let path = first.strip_prefix("POST ").and_then(|rest| rest.strip_suffix(" HTTP/1.1\r\n"));
    let path = path.unwrap_or_else(|| panic!("no POST: {first:?}")).to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut request = Received { connection, path, headers, body: Vec::new(), is_taken: false };
    request.body = vec![0; request.header("content-length").parse().expect("a length")];
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

/// An address at which nobody listens, and where a connection would be seen.
pub(crate) struct Nobody(TcpListener);

impl Nobody {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        Self(listener)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    /// Whether somebody has called.
    pub(crate) fn was_called(&self) -> bool {
        let call: std::io::Result<(TcpStream, SocketAddr)> = self.0.accept();
        call.is_ok_and(|(stream, _)| stream.shutdown(Shutdown::Both).is_ok())
    }
}
