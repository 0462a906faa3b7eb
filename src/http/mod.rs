//! The HTTP server: the page, the landing page and the probes, whatever clients do.
//!
//! May use `metrics::Render`, `details::Inspect`, plain values of `config` and `shutdown`; may not know where numbers come from, nor name `prometheus`, `redis` or
//! `clap`. hyper stays in here.
//!
//! Everything a client can make grow has a limit in [`Limits`]: connections, renderings, and the time of each stage
//! of a connection.

mod conn;
mod details;
mod gzip;
mod landing;
mod long_url;
mod pages;
mod readiness;
mod routes;

pub use landing::About;
pub use readiness::Readiness;

use crate::config::{ListenAddress, TelemetryPath};
use crate::details::{Detail, Inspect};
use crate::metrics::Render;
use crate::net::{Acceptor, BindError, bind};
use crate::shutdown::Shutdown;
use details::Details;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use pages::Pages;
use routes::Answer;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

/// What clients may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections. One more is accepted and closed at once.
    ///
    /// Closed, not left waiting: a scraper whose connection fails knows it at once and says so (`up` 0), while one
    /// in the kernel's queue hangs until its own time-out and then leaves a dead connection for us to serve.
    pub connections: usize,
    /// Pages rendered at the same time; more are answered 503. 0 means no limit.
    pub max_requests: usize,
    /// Time for a request's head, from its first byte, or from the connection's beginning for the first request.
    pub head: Duration,
    /// Time for an answer, from the request's head to the last byte written: rendering, and the client's reading.
    pub answer: Duration,
    /// Time a connection may lie idle between two requests.
    pub idle: Duration,
    /// Time for requests in flight after the stop signal; then they are cut off.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Scrapers and probes need a handful; half the usual 1024 file handles leave room for everything else.
            connections: 512,
            // As node_exporter.
            max_requests: 40,
            // A head is one packet; 10 s is also Prometheus' patience with us.
            head: Duration::from_secs(10),
            // Thrice the default scrape time-out: who still reads then is not a scraper.
            answer: Duration::from_secs(30),
            // Longer than the usual scrape intervals, so that scrapers keep their connection.
            idle: Duration::from_secs(120),
            // All must be over in 5 s; the rest is for cutting off, the store's last write and the last lines of the log.
            drain: Duration::from_millis(3500),
        }
    }
}

/// What is served.
#[derive(Clone)]
pub struct Site {
    /// Where the page lies.
    pub telemetry_path: TelemetryPath,
    /// The page.
    pub page: Arc<dyn Render>,
    /// What `/-/ready` says.
    pub readiness: Readiness,
    /// What the landing page says.
    pub about: About,
    /// Where the details come from; without them their paths are not found.
    pub details: Option<Arc<dyn Inspect>>,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("telemetry_path", &self.telemetry_path)
            .field("readiness", &self.readiness)
            .field("about", &self.about)
            .field("details", &self.details.is_some())
            .finish_non_exhaustive()
    }
}

/// A server whose addresses are bound; clients can connect and wait until [`Server::serve`] runs.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// Binds all of `addresses`; with none, nobody can ever connect.
    ///
    /// # Errors
    ///
    /// The first address that cannot be bound; those before it are let go.
    pub async fn bind(addresses: &[ListenAddress]) -> Result<Self, BindError> {
        let mut listeners = Vec::new();
        for address in addresses {
            listeners.extend(bind(address, "--web.listen-address").await?);
        }
        let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        Ok(Self { listeners, addresses })
    }

    /// The addresses bound, with the port the system chose where port 0 was asked for.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves `site` until `shutdown` is given, then ends within [`Limits::drain`]: no new connections, idle ones
    /// closed, requests in flight answered.
    ///
    /// A rendering cannot be cut off: if one hangs, this still ends in time, but the runtime waits for its thread
    /// unless it is shut down in the background.
    pub async fn serve(self, site: Site, limits: Limits, shutdown: Shutdown) {
        for address in &self.addresses {
            tracing::info!(%address, "listening");
        }
        let pages = Pages::new(Arc::clone(&site.page), limits.max_requests);
        let details = site.details.as_ref().map(|inspect| Details::new(Arc::clone(inspect)));
        let shared = Arc::new(Shared { site, pages, details, limits, shutdown });
        let mut connections = Connections::new(shared.limits.connections);
        let mut acceptor = Acceptor::new(self.listeners);
        loop {
            tokio::select! {
                () = shared.shutdown.triggered() => break,
                (stream, peer) = acceptor.next() => connections.open(&shared, stream, peer.ip()),
                () = connections.reap() => {}
            }
        }
        drop(acceptor);
        connections.drain(shared.limits.drain).await;
    }
}

/// What every connection shares.
#[derive(Debug)]
struct Shared {
    site: Site,
    pages: Pages,
    details: Option<Details>,
    limits: Limits,
    shutdown: Shutdown,
}

impl Shared {
    async fn serve(&self, stream: TcpStream) {
        conn::serve(stream, &self.limits, self.shutdown.triggered(), |request| self.answer(request)).await;
    }

    /// The request's body is dropped unread: hyper reads no more of it than has already come.
    async fn answer(&self, request: Request<Incoming>) -> Response<Bytes> {
        let Site { telemetry_path, readiness, about, .. } = &self.site;
        let stopping = self.shutdown.is_triggered();
        let method = request.method();
        let path = request.uri().path();
        let response = if let Some((details, detail)) = self.details.as_ref().zip(Detail::at(path)) {
            details.answer(method, detail, request.uri().query().unwrap_or_default()).await
        } else {
            let has_details = self.details.is_some();
            match routes::answer(method, path, telemetry_path, about, readiness, stopping, has_details) {
                Answer::Now(response) => response,
                Answer::Page => {
                    let coding = gzip::preferred(request.headers());
                    let page = self.pages.render(routes::audience(&request), coding).await;
                    routes::page(self.pages.content_type(), page)
                }
            }
        };
        routes::for_method(method, response)
    }
}

/// The open connections, one task each.
struct Connections {
    tasks: JoinSet<()>,
    limit: usize,
    /// Connections refused since the limit was reached; `None` while all is well.
    refused: Option<u64>,
}

impl Connections {
    fn new(limit: usize) -> Self {
        Self { tasks: JoinSet::new(), limit, refused: None }
    }

    /// Serves the connection, or closes it when there are too many.
    fn open(&mut self, shared: &Arc<Shared>, stream: TcpStream, peer: IpAddr) {
        // Those that ended meanwhile do not count.
        while let Some(ended) = self.tasks.try_join_next() {
            self.ended(&ended);
        }
        if self.tasks.len() >= self.limit {
            if self.refused.is_none() {
                tracing::warn!(limit = self.limit, %peer, "too many connections, closing new ones");
            }
            self.refused = Some(self.refused.unwrap_or(0).saturating_add(1));
            return;
        }
        let shared = Arc::clone(shared);
        self.tasks.spawn(async move { shared.serve(stream).await });
    }

    /// Waits for a connection to end; for ever when there is none.
    async fn reap(&mut self) {
        match self.tasks.join_next().await {
            Some(ended) => self.ended(&ended),
            None => std::future::pending().await,
        }
    }

    fn ended(&mut self, ended: &Result<(), JoinError>) {
        if let Err(error) = ended {
            tracing::error!(%error, "a connection's task crashed; please report this");
        }
        // Half full, not just below the limit: under a flood the state would turn with every connection.
        if self.tasks.len() <= self.limit / 2
            && let Some(refused) = self.refused.take()
        {
            tracing::info!(refused, "accepting all connections again");
        }
    }

    /// Waits until all have ended, at most so long.
    async fn drain(mut self, patience: Duration) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(patience, all).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "cutting off requests still in flight");
            self.tasks.shutdown().await;
        }
    }
}
