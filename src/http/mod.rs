//! The HTTP server: the metrics, the live page, the details and the probes, whatever clients do.
//!
//! May use `metrics::Render`, `details::Inspect`, `live::ShowLive`, plain values of `config` and `shutdown`; may not know where numbers come from, nor name `prometheus`, `redis` or
//! `clap`. hyper stays in here.
//!
//! Everything a client can make grow has a limit in [`WebLimits`]: connections, renderings, the memory of pages that are not
//! read, and the time of each stage of a connection.

mod accept;
mod conn;
mod details;
mod gzip;
mod head_frames;
mod health;
mod host;
mod live;
mod logins;
mod page_guard;
mod pages;
mod patience;
mod progress;
mod rate;
mod readiness;
mod routes;
mod seldom;
mod slots;
mod stream;
mod stream_tasks;
mod unsent;
mod web_config;

pub use crate::live::About;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use accept::{coding as preferred_coding, format as preferred_format};
pub use health::{HealthError, ask as ask_health};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use host::is_trusted as is_host_trusted;
pub use logins::LoginHashError;
pub use readiness::Readiness;
pub use routes::PROBES;
pub use web_config::{WebConfig, WebConfigError};

use crate::config::{ListenAddress, TelemetryPath};
use crate::details::{Detail, Inspect};
use crate::live::{ShowLive, SiteFacts};
use crate::metrics::{Render, WebRefusal, WebRefusals};
use crate::net::{Acceptor, BindError, MOST_ENDING, bind};
use crate::reload::Reloaded;
use crate::shutdown::Shutdown;
use details::Details;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Request, Response, StatusCode, Version};
use logins::LoginOutcome;
use pages::{PageError, PageForm, Pages};
use progress::{ConnectionProgress, ConnectionStage};
use routes::RouteAnswer;
use seldom::SeldomLine;
use slots::WebSlots;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use stream::{ClientStream, HandshakeError};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};

/// What clients may take.
#[derive(Clone, Debug)]
pub struct WebLimits {
    /// Open connections. For one more an older one is closed: of the address that has the most, an idle one before one that
    /// is being asked or answered. One address may have a quarter of them, but 16 in any case.
    pub connections: usize,
    /// Pages rendered at the same time. 0 means no limit. All who ask meanwhile for a page in the same form share one, so
    /// only a low number is ever reached.
    pub max_requests: usize,
    /// Time that a rendering waits for one of those to end; then the answer is 503.
    pub wait: Duration,
    /// Time that a request for the page waits while there is none yet, for a store is being loaded; then the answer is 503.
    /// A scraper that says how long it waits itself has it until then.
    pub first_page: Duration,
    /// Bytes of pages and details that are in memory for those who read them, but two pages in any case. For more, those who
    /// began to read first are cut off, of the address that reads the most.
    pub unsent: usize,
    /// Time for a request's head, from its first byte, or from the connection's beginning for the first request. A
    /// handshake of TLS has as much before that.
    pub head: Duration,
    /// Time for an answer, from the request's head to the last byte written: rendering, and the client's reading.
    pub answer: Duration,
    /// Time a connection may lie idle between two requests.
    pub idle: Duration,
    /// Time for requests in flight after the stop signal; then they are cut off.
    pub drain: Duration,
}

impl Default for WebLimits {
    fn default() -> Self {
        Self {
            // Scrapers and probes need a few; half the usual 1024 file handles leave room for everything else.
            connections: 512,
            // As node_exporter.
            max_requests: 40,
            // A fifth of the usual patience of scrapers.
            wait: Duration::from_secs(2),
            // Loading a million allocations takes a second.
            first_page: Duration::from_secs(5),
            // A dozen pages of a hundred realms.
            unsent: 32 << 20,
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
    /// What the live page says about the program.
    pub about: About,
    /// Where the live page comes from.
    pub live: Arc<dyn ShowLive>,
    /// Where the details come from; without them their paths are not found.
    pub details: Option<Arc<dyn Inspect>>,
    /// Host names that the details may be asked for by, beside addresses and `localhost`.
    pub details_hosts: Vec<String>,
    /// TLS, logins, headers and the rate of requests, where a file asks for them.
    pub config: Option<Reloaded<WebConfig>>,
    /// Whether the probes are answered without a login.
    pub has_open_health_paths: bool,
    /// Where it is counted what clients did not get.
    pub refusals: Arc<WebRefusals>,
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

/// A server whose addresses are bound; clients can connect and wait until [`WebServer::serve`] runs.
#[derive(Debug)]
pub struct WebServer {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl WebServer {
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
        Ok(Self::on(listeners))
    }

    /// Serves on sockets that listen already.
    pub fn on(listeners: Vec<TcpListener>) -> Self {
        let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        Self { listeners, addresses }
    }

    /// The addresses bound, with the port the system chose where port 0 was asked for.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves `site` until `shutdown` is given, then ends within [`WebLimits::drain`]: no new connections, idle ones
    /// closed, requests in flight answered.
    ///
    /// A rendering cannot be cut off: if one hangs, this still ends in time, but the runtime waits for its thread
    /// unless it is shut down in the background.
    pub async fn serve(self, site: Site, limits: WebLimits, shutdown: Shutdown) {
        let tls = site.config.as_ref().is_some_and(|config| config.current().speaks_tls());
        for address in &self.addresses {
            tracing::info!(%address, tls = tls.then_some(true), "listening");
        }
        let pages = Pages::new(Arc::clone(&site.page), &limits);
        let hosts = &site.details_hosts;
        let details = site.details.as_ref().map(|inspect| Details::new(Arc::clone(inspect), hosts));
        let lines = ClientLines::default();
        let shared = Arc::new(WebShared { site, pages, details, limits, shutdown, lines });
        let mut connections = Connections::new(shared.limits.connections);
        let mut acceptor = Acceptor::new(self.listeners);
        loop {
            tokio::select! {
                () = shared.shutdown.triggered() => break,
                (stream, peer) = acceptor.next(), if connections.has_room() => {
                    connections.open(&shared, stream, peer.ip());
                }
                () = connections.reap() => {}
            }
        }
        drop(acceptor);
        connections.drain(shared.limits.drain).await;
    }
}

/// What every connection shares.
#[derive(Debug)]
struct WebShared {
    site: Site,
    pages: Pages,
    details: Option<Details>,
    limits: WebLimits,
    shutdown: Shutdown,
    lines: ClientLines,
}

/// Lines of the log about clients.
#[derive(Debug, Default)]
struct ClientLines {
    no_handshake: SeldomLine,
    no_login: SeldomLine,
}

impl WebShared {
    async fn serve(&self, stream: TcpStream, peer: IpAddr, progress: &Arc<ConnectionProgress>) {
        // A page is written at once; waiting for more to send only delays its end. Failure costs a delay.
        let _ = stream.set_nodelay(true);
        // What the file says now holds for the whole connection, as far as TLS goes.
        let tls = self.config().and_then(|config| config.tls.clone());
        let stream = match tls {
            None => Ok(ClientStream::Plain(stream)),
            Some(tls) => self.shake_hands(stream, tls, peer, progress).await,
        };
        let ended = match stream {
            Err(why) => why,
            Ok(stream) => {
                let answer = |request| self.answer_to(request, peer, progress);
                conn::serve(stream, progress, &self.limits, self.shutdown.triggered(), answer).await
            }
        };
        if let Some(why) = ended {
            self.site.refusals.add(why);
        }
    }

    fn config(&self) -> Option<Arc<WebConfig>> {
        self.site.config.as_ref().map(Reloaded::current)
    }

    fn facts(&self) -> SiteFacts<'_> {
        let Site { telemetry_path, about, details, .. } = &self.site;
        SiteFacts { about, telemetry_path: telemetry_path.as_str(), has_details: details.is_some() }
    }

    /// The handshake of TLS within its time; else what the client did not get, if it is to be counted.
    async fn shake_hands(
        &self,
        stream: TcpStream,
        tls: Arc<rustls::ServerConfig>,
        peer: IpAddr,
        progress: &Arc<ConnectionProgress>,
    ) -> Result<ClientStream, Option<WebRefusal>> {
        let shaken = tokio::select! {
            why = progress.ended() => return Err(Some(why)),
            () = self.shutdown.triggered() => return Err(None),
            shaken = timeout(self.limits.head, ClientStream::accept(stream, tls)) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => {
                // The first request has its own time.
                progress.begin(ConnectionStage::Head);
                Ok(stream)
            }
            // Looking whether a port is open is no mistake.
            Ok(Err(HandshakeError::Closed)) => Err(None),
            Ok(Err(error)) => {
                self.lines.no_handshake.write(|others| {
                    tracing::warn!(%peer, %error, others, "no TLS handshake with a client of the web server");
                });
                Err(Some(WebRefusal::Handshake))
            }
            Err(_) => Err(Some(WebRefusal::HeadTimeout)),
        }
    }

    /// The answer to a request, if it is to have one; with the headers that the file asks for.
    async fn answer_to(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
        connection: &Arc<ConnectionProgress>,
    ) -> Response<Bytes> {
        // Where a body ends is what proxies and servers disagree about: nothing behind one is taken for a request.
        let may_hide_another = request.version() != Version::HTTP_2 && !request.body().is_end_stream();
        let config = self.config();
        let refusal = match &config {
            Some(config) => self.refusal(config, &request, peer).await,
            None => None,
        };
        let mut response = match refusal {
            Some(refusal) => routes::for_method(request.method(), refusal),
            None => self.answer(request, connection).await,
        };
        let headers = response.headers_mut();
        for (name, value) in config.iter().flat_map(|config| &config.headers) {
            headers.insert(name, value.clone());
        }
        if may_hide_another {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// What the file has against a request.
    async fn refusal(
        &self,
        config: &WebConfig,
        request: &Request<Incoming>,
        peer: IpAddr,
    ) -> Option<Response<Bytes>> {
        if config.rate.as_ref().is_some_and(|rate| !rate.admits()) {
            self.site.refusals.add(WebRefusal::Rate);
            return Some(routes::too_many("more requests come than rate_limit allows"));
        }
        let logins = config.logins.as_ref()?;
        if self.site.has_open_health_paths && routes::is_probe(request.uri().path()) {
            return None;
        }
        match logins.check(request.headers().get(header::AUTHORIZATION), peer.into()).await {
            LoginOutcome::Right => None,
            LoginOutcome::Wrong => {
                self.site.refusals.add(WebRefusal::Login);
                self.lines.no_login.write(|others| {
                    let fix =
                        "basic_auth of the scrape configuration, or basic_auth_users of --web.config.file";
                    tracing::warn!(%peer, others, fix, "a client of the web server has no or a wrong login");
                });
                Some(routes::unauthorized())
            }
            LoginOutcome::Busy => {
                self.site.refusals.add(WebRefusal::Rate);
                Some(routes::too_many("too many logins are being verified"))
            }
        }
    }

    /// The request's body is dropped unread: hyper reads no more of it than has already come.
    async fn answer(
        &self,
        request: Request<Incoming>,
        connection: &Arc<ConnectionProgress>,
    ) -> Response<Bytes> {
        let Site { telemetry_path, readiness, refusals, .. } = &self.site;
        let stopping = self.shutdown.is_triggered();
        let method = request.method();
        let path = request.uri().path();
        let response = if let Some((details, detail)) = self.details.as_ref().zip(Detail::at(path)) {
            let response = details.answer(&request, detail, readiness.no_page_yet()).await;
            if response.status() == StatusCode::FORBIDDEN {
                refusals.add(WebRefusal::Host);
            }
            // Each has a body of its own, which takes memory for as long as it is not read.
            response.map(|body| self.pages.hold(body).body_for(connection))
        } else {
            match routes::answer(method, path, telemetry_path, readiness, stopping) {
                RouteAnswer::Now(response) => response,
                RouteAnswer::Live => {
                    let page =
                        live::page(&*self.site.live, &self.facts(), readiness.no_page_yet().as_deref());
                    page.map(|body| self.pages.hold(body).body_for(connection))
                }
                RouteAnswer::File(file) => live::file(file),
                RouteAnswer::Page => self.page(request.headers(), connection).await,
            }
        };
        routes::for_method(method, response)
    }

    /// The page, or why there is none. Before the first one it waits: a scrape at a restart is answered, only later.
    async fn page(&self, headers: &HeaderMap, connection: &Arc<ConnectionProgress>) -> Response<Bytes> {
        let readiness = &self.site.readiness;
        tokio::select! {
            () = readiness.until_there_is_a_page() => {}
            () = sleep(patience::for_first_page(headers, &self.limits)) => {}
            () = self.shutdown.triggered() => {}
        }
        if let Some(progress) = readiness.no_page_yet() {
            return routes::no_page_yet(&progress);
        }
        let form = PageForm::preferred(headers);
        let page = self.pages.render(form).await;
        if matches!(page, Err(PageError::Busy(_))) {
            self.site.refusals.add(WebRefusal::Busy);
        }
        let page = page.map(|page| (page.rendering.body_for(connection), page.coding));
        routes::page(form.format, page)
    }
}

/// The open connections, one task each.
struct Connections {
    tasks: JoinSet<()>,
    slots: Arc<WebSlots>,
    limit: usize,
}

impl Connections {
    fn new(limit: usize) -> Self {
        Self { tasks: JoinSet::new(), slots: Arc::new(WebSlots::new(limit)), limit }
    }

    fn has_room(&self) -> bool {
        self.tasks.len() < self.limit.saturating_add(MOST_ENDING)
    }

    /// Serves the connection; another gives way where there are too many.
    fn open(&mut self, shared: &Arc<WebShared>, stream: TcpStream, peer: IpAddr) {
        // Those that ended meanwhile leave room for others.
        while let Some(ended) = self.tasks.try_join_next() {
            Self::ended(&ended);
        }
        let place = self.slots.enter(peer);
        let shared = Arc::clone(shared);
        self.tasks.spawn(async move { shared.serve(stream, peer, &place.progress).await });
    }

    /// Waits for a connection to end; for ever when there is none.
    async fn reap(&mut self) {
        match self.tasks.join_next().await {
            Some(ended) => Self::ended(&ended),
            None => std::future::pending().await,
        }
    }

    fn ended(ended: &Result<(), JoinError>) {
        if let Err(error) = ended {
            tracing::error!(%error, "a connection's task crashed; please report this");
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
