//! A running server, pages of every temper, and a client that sees the bytes.

use coturn_exporter::app::ingest::{Ingest, SharedTable};
use coturn_exporter::clock::SystemClock;
use coturn_exporter::config::{ListenAddress, TelemetryPath};
use coturn_exporter::details::Inspect;
use coturn_exporter::http::{About, Readiness, Site, WebConfig, WebLimits, WebServer};
use coturn_exporter::live::{Board, ShowLive, SiteFacts};
use coturn_exporter::metrics::{Format, Render, WebRefusal, WebRefusals};
use coturn_exporter::reload::Reloaded;
use coturn_exporter::shutdown::Shutdown;
use coturn_exporter::state::Settings;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// When to stop waiting for what should come at once. Far longer than any busy machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A limit that is meant to be reached in a test.
pub(crate) const SOON: Duration = Duration::from_millis(200);

/// A limit that is not to be reached: only the one under test may act.
pub(crate) const NEVER: Duration = Duration::from_secs(3_600);

/// A page's length in bytes: more than the buffers of two sockets hold (Linux: 4 MiB to send, 32 to receive, at most),
/// so that writing it must wait for the reader.
pub(crate) const LARGE: usize = 40 << 20;

/// Limits of which none is reached by the clock.
pub(crate) fn patient() -> WebLimits {
    WebLimits { head: NEVER, answer: NEVER, idle: NEVER, drain: NEVER, ..WebLimits::default() }
}

/// Waits for what must come.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// A server in a task of its own; dropping it aborts the task.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) readiness: Readiness,
    pub(crate) shutdown: Shutdown,
    pub(crate) refusals: Arc<WebRefusals>,
    pub(crate) task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    pub(crate) async fn start(page: impl Render, limits: WebLimits) -> Self {
        Self::start_site(|readiness| site(Arc::new(page), readiness), limits).await
    }

    /// One that has details of a table in which nothing is, served by the name of the tests' requests as well.
    pub(crate) async fn start_with_details(limits: WebLimits) -> Self {
        Self::start_with_details_and(None, limits).await
    }

    /// The same with a web config file.
    pub(crate) async fn start_with_details_and(
        config: Option<Reloaded<WebConfig>>,
        limits: WebLimits,
    ) -> Self {
        let table = Ingest::new(Settings::default(), &["redis://test"]);
        let details = SharedTable::new(table, Arc::new(SystemClock::new()));
        let details: Arc<dyn Inspect> = Arc::new(details);
        let with = |readiness: &Readiness| Site {
            details: Some(details),
            details_hosts: vec!["t".to_owned()],
            config,
            ..site(Arc::new(Fixed::small()), readiness)
        };
        Self::start_site(with, limits).await
    }

    pub(crate) async fn start_site(site: impl FnOnce(&Readiness) -> Site, limits: WebLimits) -> Self {
        let any_port: ListenAddress = "127.0.0.1:0".parse().unwrap();
        let server = WebServer::bind(&[any_port]).await.unwrap();
        let address = *server.addresses().first().unwrap();
        let readiness = Readiness::default();
        let shutdown = Shutdown::new();
        let site = site(&readiness);
        let refusals = Arc::clone(&site.refusals);
        let task = tokio::spawn(server.serve(site, limits, shutdown.clone()));
        Self { address, readiness, shutdown, refusals, task }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.client().await.get(path).await
    }

    /// Asks on new connections until one is served: the server has room again.
    pub(crate) async fn served_again(&self) {
        within("the server to serve again", async {
            loop {
                let mut client = self.client().await;
                if client.send("GET /-/healthy HTTP/1.1\r\nHost: t\r\n\r\n").await.is_ok()
                    && client.until_status().await.is_some_and(|line| line.starts_with("HTTP/1.1 200"))
                {
                    break;
                }
            }
        })
        .await;
    }

    /// Waits until so many clients were refused for this reason.
    pub(crate) async fn refused(&self, why: WebRefusal, times: u64) {
        within("the server to refuse", async {
            while self.refusals.get(why) < times {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(self.refusals.get(why), times, "{why:?}");
    }

    /// Waits until the server has ended.
    pub(crate) async fn ended(mut self) {
        within("the server to end", &mut self.task).await.expect("the server does not crash");
    }
}

pub(crate) fn site(page: Arc<dyn Render>, readiness: &Readiness) -> Site {
    Site {
        telemetry_path: TelemetryPath::default(),
        page,
        readiness: readiness.clone(),
        about: About {
            name: "coturn-exporter".to_owned(),
            version: "1.2.3".to_owned(),
            revision: None,
            documentation: None,
        },
        live: Arc::new(NoLooks),
        details: None,
        details_hosts: Vec::new(),
        config: None,
        has_open_health_paths: false,
        refusals: Arc::default(),
    }
}

/// A live page of a table that nobody has looked at.
struct NoLooks;

impl ShowLive for NoLooks {
    fn page(&self, site: &SiteFacts<'_>, not_yet: Option<&str>) -> Arc<[u8]> {
        Board::new(Vec::new()).page(site, not_yet)
    }
}

/// The same page each time.
pub(crate) struct Fixed(pub Vec<u8>);

impl Fixed {
    pub(crate) fn small() -> Self {
        Self(b"up 1\n".to_vec())
    }

    /// [`LARGE`] bytes.
    pub(crate) fn large() -> Self {
        Self(vec![b'x'; LARGE])
    }
}

impl Render for Fixed {
    fn render(&self, _: Format) -> Vec<u8> {
        self.0.clone()
    }
}

/// Tells when a rendering begins and holds it until it is let go.
pub(crate) struct Held {
    begun: UnboundedSender<()>,
    released: Mutex<Receiver<()>>,
}

/// The test's end of a [`Held`] page. Dropping it lets everything go, with a panic.
pub(crate) struct Hold {
    begun: UnboundedReceiver<()>,
    release: Sender<()>,
}

impl Held {
    pub(crate) fn new() -> (Self, Hold) {
        let (begun, has_begun) = unbounded_channel();
        let (release, released) = channel();
        (Self { begun, released: Mutex::new(released) }, Hold { begun: has_begun, release })
    }
}

impl Hold {
    pub(crate) async fn begun(&mut self) {
        within("a rendering to begin", self.begun.recv()).await.unwrap();
    }

    /// Whether one more has begun that nobody has waited for.
    pub(crate) fn has_begun_another(&mut self) -> bool {
        self.begun.try_recv().is_ok()
    }

    pub(crate) fn release(&self) {
        self.release.send(()).unwrap();
    }
}

impl Render for Held {
    fn render(&self, _: Format) -> Vec<u8> {
        let _ = self.begun.send(());
        // Bounded, so that a server that renders on its only worker fails the test and does not hang it.
        let released = self.released.lock().unwrap().recv_timeout(PATIENCE / 2);
        released.expect("somebody to let it go");
        b"held 1\n".to_vec()
    }
}

/// A response as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// What a client sends by and reads from.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection. Nothing is read before it is asked for.
pub(crate) struct Client {
    stream: Box<dyn Duplex>,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await.unwrap();
        Self::over(stream)
    }

    pub(crate) fn over(stream: impl Duplex + 'static) -> Self {
        Self { stream: Box::new(stream), unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        within("the server to take bytes", self.stream.write_all(bytes.as_ref())).await
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    pub(crate) async fn ask(&mut self, method: &str, path: &str) {
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: t\r\n\r\n")).await.unwrap();
    }

    /// A request with one more header.
    pub(crate) async fn ask_with(&mut self, path: &str, header: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n{header}\r\n\r\n")).await.unwrap();
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path).await;
        self.answer().await
    }

    /// The answer to anything but HEAD.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut answer = self.answer_without_body().await;
        let length: usize = answer.header("content-length").expect("a length").parse().unwrap();
        while self.unread.len() < length {
            assert!(self.fill().await > 0, "closed in the middle of a body: {answer:?}");
        }
        answer.body = self.unread.drain(..length).collect();
        answer
    }

    /// The answer to HEAD.
    pub(crate) async fn answer_without_body(&mut self) -> Answer {
        let head = self.read_to("\r\n\r\n").await.expect("an answer before the end");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Answer { status: status.expect("a status"), head, body: Vec::new() }
    }

    /// The first line of an answer; `None` if there is none.
    pub(crate) async fn until_status(&mut self) -> Option<String> {
        self.read_to("\r\n").await
    }

    /// What comes until `end`, with it; `None` if the connection ends before.
    pub(crate) async fn read_to(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end.as_bytes()) {
                let bytes = self.unread.drain(..at + end.len()).collect();
                return Some(String::from_utf8(bytes).unwrap());
            }
            if self.fill().await == 0 {
                return None;
            }
        }
    }

    /// Everything that comes until the server closes the connection, properly or with a reset.
    pub(crate) async fn until_closed(&mut self) -> Vec<u8> {
        while self.fill().await > 0 {}
        std::mem::take(&mut self.unread)
    }

    /// Reads for a moment; whether the connection turned out to be closed.
    pub(crate) async fn closed_within(&mut self, moment: Duration) -> bool {
        timeout(moment, self.until_closed()).await.is_ok()
    }

    /// Reads what is there; 0 at the end. A reset is an end too.
    async fn fill(&mut self) -> usize {
        within("the server to say something", self.stream.read_buf(&mut self.unread)).await.unwrap_or(0)
    }
}
