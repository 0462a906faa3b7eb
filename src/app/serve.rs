//! The running exporter: the sources, the web server, the store and the passing of time around one table.

use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::Error;
use super::coturn_file::{self, WatchedCoturnFile};
use super::file_watch;
use super::ingest::{Ingest, SharedTable};
use super::live_board::LiveBoard;
use super::own_certificates::WatchedCertificate;
use super::process_counter::ProcessCounter;
use super::readiness::SourceReadiness;
use super::redis_source::RedisTask;
use super::service_manager::ServiceManager;
use super::sinks::ReadySinks;
use super::statsdb_source::StatsdbTask;
use super::store::{StoreOptions, TableStore};
use super::supervise::{Supervisor, TaskExited, contain};
use super::table_clock::let_time_pass;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, RedisSource, Secret, StoreConfig, TurnserverConf, Web};
use crate::details::{Inspect, Listing};
use crate::http::{About, Readiness, Site, WebConfig, WebLimits, WebServer};
use crate::metrics::{MetricsPage, Observe, View};
use crate::net::{SystemdSockets, WantedSockets};
use crate::reload::{Reload, Reloaded};
use crate::shutdown::{self, Hangup, Shutdown};
use crate::source::statsdb::Listener;
use crate::state::rows::{AllocationRow, RowQuery, SessionRow};
use crate::state::{Settings, SourceId};
use crate::version;

/// Watches and serves until a signal comes. Whoever asks is answered at once; what a store holds is loaded meanwhile. Files
/// are read again when `reread` is given.
///
/// # Errors
///
/// An address that cannot be bound; a store that cannot be used; a background task that exited.
pub(super) async fn serve(
    config: Config,
    dropped_log_lines: Arc<AtomicU64>,
    reread: Arc<Notify>,
    manager: ServiceManager,
) -> Result<(), Error> {
    tracing::info!(version = version::VERSION, revision = about().revision, "coturn-exporter starts");
    let Parts { names, shared, readiness, listener, server, web_config } = Parts::bind(&config).await?;
    let limits = WebLimits {
        connections: config.web.max_connections,
        max_requests: config.web.max_requests,
        ..WebLimits::default()
    };
    let sinks = config.store.as_ref().map(|store| ReadySinks::new(&store.sinks)).transpose()?;
    let counter = ProcessCounter { dropped_log_lines, ..ProcessCounter::default() };
    let coturn = config.coturn.as_ref().map(|file| file.conf.clone());
    let certificates = certificates(web_config.as_ref(), listener.as_ref());
    let mut files = files(&config.password_files, &certificates);
    let page = PageSource { shared: shared.clone(), counter, store: Arc::default(), coturn, certificates };
    if let Some(file) = &config.coturn {
        coturn_file::log_at_start(file);
        files.push(Arc::new(WatchedCoturnFile::new(file)));
    }
    let live = live_board(&config, listener.as_ref());
    let shown = metrics_page(&config, &page);
    let site = site(&config.web, web_config, shown, &page, readiness.probe(), live.clone());

    if config.store.is_some() {
        // Before anybody is answered: an empty table would be taken for a reset.
        readiness.set_loading(Some(LOADING.to_owned()));
    }
    let stop = Shutdown::new();
    let mut tasks = Supervisor::new(stop.clone());
    let redis_sources: Vec<_> = config.sources.into_iter().zip((0..).map(SourceId)).collect();
    let files_of = manager.clone();
    tasks.spawn("files", async { match file_watch::look_after(files, reread, files_of).await {} });
    if let (Some(statsdb), Some(listener)) = (config.statsdb, listener) {
        let id = redis_sources.last().map_or(SourceId(0), |(_, last)| SourceId(last.0 + 1));
        let task = StatsdbTask::new(statsdb, listener, id, shared.clone(), readiness.clone());
        let task = task.with_heartbeat(manager.watch(LISTENER));
        tasks.spawn(LISTENER, task.run());
    }
    let mut loading = pin!(load(config.store, config.table, names, &page, &readiness));
    let mut waiting = Some(WaitingTasks {
        redis_sources,
        page: page.clone(),
        readiness: readiness.clone(),
        sinks: sinks.unwrap_or_default(),
        live,
        manager: manager.clone(),
    });
    let mut starting = interval(STARTING);
    starting.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut signalled = pin!(shutdown::on_signal(Hangup::Survived));
    let mut serving = pin!(contain(server.serve(site, limits, stop.clone())));
    let mut is_serving = true;
    let ended = loop {
        tokio::select! {
            // The signals first: whoever reads that we listen may end us at once.
            biased;
            signal = &mut signalled => break signal.map_err(Error::Signal).map(|signal| {
                tracing::info!(signal, "stopping");
            }),
            exited = tasks.exited() => break Err(Error::Task(exited)),
            served = &mut serving => {
                is_serving = false;
                break Err(Error::Task(match served {
                    Ok(()) => TaskExited::Returned { task: WEB_SERVER },
                    Err(panic) => TaskExited::panicked(WEB_SERVER, &panic),
                }));
            }
            loaded = &mut loading, if waiting.is_some() => match loaded {
                Ok(store) => waiting.take().into_iter().for_each(|waiting| {
                    waiting.spawn(store.as_ref(), &mut tasks);
                    manager.ready();
                }),
                Err(error) => break Err(error),
            },
            _ = starting.tick(), if waiting.is_some() => {
                readiness.probe().no_page_yet().iter().for_each(|progress| manager.starting(progress));
            }
        }
    };
    let is_task_lost = matches!(ended, Err(Error::Task(_)));
    manager.stopping();
    stop.trigger();
    let served = async {
        if is_serving {
            serving.await.map_err(|panic| Error::Task(TaskExited::panicked(WEB_SERVER, &panic)))?;
        }
        Ok(())
    };
    let stored = async {
        tasks.finish().await.map_err(Error::Task)?;
        // After a panic the table may be half changed: the next start goes on from what was written before.
        if let Some(store) = page.store.get().filter(|_| !is_task_lost) {
            store.clone().finish().await;
        }
        Ok(())
    };
    tokio::select! {
        // Beside each other: clients that read slowly must not cost the store its end.
        ended_well = async { tokio::try_join!(served, stored) } => ended_well.and(ended),
        signal = shutdown::on_signal(Hangup::Survived) => signal.map_err(Error::Signal).and_then(|signal| {
            tracing::warn!(signal, "ending at once");
            ended
        }),
    }
}

/// Why there is no page before the store is loaded.
const LOADING: &str = "loading the store";

/// How often the service manager is told how far the store is loaded.
const STARTING: Duration = Duration::from_secs(1);

/// The name of the task that coturn reports to.
const LISTENER: &str = "statsdb listener";

/// The name of the task that serves pages.
const WEB_SERVER: &str = "web server";

/// What begins when the table is there.
struct WaitingTasks {
    redis_sources: Vec<(RedisSource, SourceId)>,
    page: PageSource,
    readiness: SourceReadiness,
    sinks: ReadySinks,
    live: LiveBoard,
    manager: ServiceManager,
}

impl WaitingTasks {
    fn spawn(self, store: Option<&TableStore>, tasks: &mut Supervisor) {
        let Self { redis_sources, page, readiness, sinks, live, manager } = self;
        for (source, id) in redis_sources {
            let task = RedisTask::new(source, id, page.shared.clone(), readiness.clone());
            let task = task.with_heartbeat(manager.watch("Redis source"));
            tasks.spawn("Redis source", task.run());
        }
        tasks.spawn("passing of time", let_time_pass(page.shared.clone(), manager, readiness.clone()));
        if let Some(store) = store {
            tasks.spawn("journal", store.clone().write_journal());
            tasks.spawn("journal's flush", store.clone().flush());
            tasks.spawn("ledger", store.clone().keep_ledger());
            tasks.spawn("snapshots", store.clone().keep_snapshots());
            sinks.spawn(store, tasks);
            page.begin(store.clone());
        }
        readiness.set_loading(None);
        // After the store has begun: what is shown is in it.
        tasks.spawn("live page", live.keep_looking(page, readiness));
    }
}

/// Brings the table to where the store left it, and lets it begin.
async fn load(
    store: Option<StoreConfig>,
    settings: Settings,
    sources: Vec<String>,
    page: &PageSource,
    readiness: &SourceReadiness,
) -> Result<Option<TableStore>, Error> {
    let Some(config) = store else {
        page.shared.begin(Arc::new(SystemClock::new()));
        return Ok(None);
    };
    let options = StoreOptions { config, settings, sources, counter: page.counter.clone() };
    let process_clock = Arc::new(SystemClock::new());
    let store = TableStore::load(options, page.shared.clone(), readiness.clone(), process_clock);
    store.await.map(Some).map_err(|error| Error::Store(Box::new(error)))
}

/// What the pages are made from: the table, and with a store only what that has.
#[derive(Clone, Debug)]
struct PageSource {
    shared: SharedTable,
    counter: ProcessCounter,
    store: Arc<OnceLock<TableStore>>,
    /// coturn's own file, if it is read.
    coturn: Option<Reloaded<TurnserverConf>>,
    /// What the listener and the web server show.
    certificates: Vec<Arc<WatchedCertificate>>,
}

impl PageSource {
    fn begin(&self, store: TableStore) {
        // It begins once.
        let _ = self.store.set(store);
    }
}

impl Observe for PageSource {
    fn observe(&self) -> View {
        let view = if let Some(store) = self.store.get() {
            store.observe()
        } else {
            let now = self.shared.now();
            self.counter.count(&mut self.shared.lock(), now);
            self.shared.observe()
        };
        let certificates = self.certificates.iter().filter_map(|certificate| certificate.view()).collect();
        let coturn = self.coturn.as_ref().map(|conf| coturn_file::limits(&conf.current()));
        View { coturn, certificates, ..view }
    }
}

impl Inspect for PageSource {
    fn allocations(&self, wanted: RowQuery) -> Listing<AllocationRow> {
        match self.store.get() {
            Some(store) => store.allocations(wanted),
            None => self.shared.allocations(wanted),
        }
    }

    fn sessions(&self, wanted: RowQuery) -> Listing<SessionRow> {
        match self.store.get() {
            Some(store) => store.sessions(wanted),
            None => self.shared.sessions(wanted),
        }
    }
}

/// What the tasks work on, bound.
struct Parts {
    /// Of the sources, in the order of their numbers.
    names: Vec<String>,
    shared: SharedTable,
    readiness: SourceReadiness,
    listener: Option<Listener>,
    server: WebServer,
    web_config: Option<Reloaded<WebConfig>>,
}

impl Parts {
    async fn bind(config: &Config) -> Result<Self, Error> {
        let names = config.sources.iter().map(|source| source.name.as_str());
        let names: Vec<&str> =
            names.chain(config.statsdb.iter().map(|statsdb| statsdb.name.as_str())).collect();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let shared = SharedTable::to_be_loaded(Ingest::new(config.table.clone(), &names), clock);
        let wanted = WantedSockets {
            web: config.web.systemd_socket,
            statsdb: config.statsdb.as_ref().is_some_and(|statsdb| statsdb.systemd_socket),
        };
        let sockets = SystemdSockets::take(wanted).map_err(Error::Systemd)?;
        let listener = match &config.statsdb {
            Some(statsdb) if wanted.statsdb => Some(Listener::on(statsdb, sockets.statsdb).await),
            Some(statsdb) => Some(Listener::bind(statsdb).await),
            None => None,
        };
        let listener = listener.transpose().map_err(Error::Listen)?;
        let web_config = config.web.config_file.as_ref().map(|file| WebConfig::load(&file.path)).transpose();
        let web_config = web_config.map_err(Error::WebConfig)?;
        let server = if wanted.web {
            WebServer::on(sockets.web)
        } else {
            WebServer::bind(&config.web.listen).await.map_err(Error::Bind)?
        };
        let readiness = SourceReadiness::new(&names);
        let names = names.into_iter().map(str::to_owned).collect();
        Ok(Self { names, shared, readiness, listener, server, web_config })
    }
}

/// The page of metrics, without what the operator does not want.
fn metrics_page(config: &Config, source: &PageSource) -> MetricsPage {
    let disabled = config.disabled_families.clone();
    if !disabled.names().is_empty() {
        tracing::info!(
            families = disabled.names().join(","),
            "families are left off the page (--metrics.disable); panels and alerts that ask for them have no data"
        );
    }
    MetricsPage::of_process(source.clone()).with_created(config.web.openmetrics_created).without(disabled)
}

/// What the web server shows.
fn site(
    web: &Web,
    config: Option<Reloaded<WebConfig>>,
    page: MetricsPage,
    source: &PageSource,
    readiness: Readiness,
    live: LiveBoard,
) -> Site {
    Site {
        telemetry_path: web.telemetry_path.clone(),
        page: Arc::new(page),
        readiness,
        about: about(),
        live: Arc::new(live),
        details: web.enable_details.then(|| Arc::new(source.clone()) as Arc<dyn Inspect>),
        details_hosts: web.details_hosts.clone(),
        config,
        has_open_health_paths: web.config_file.as_ref().is_some_and(|file| file.open_health_paths),
        refusals: Arc::clone(&source.counter.refusals),
    }
}

/// The live page, which says how coturn is made to report.
fn live_board(config: &Config, listener: Option<&Listener>) -> LiveBoard {
    let redis = config.sources.iter().map(RedisSource::turnserver_line).collect();
    let statsdb = config.statsdb.as_ref().zip(listener);
    LiveBoard::new(redis, statsdb.map(|(statsdb, listener)| statsdb.turnserver_line(listener.addresses())))
}

/// What the web server and the listener show, looked at a first time; the web config file is among them also without TLS.
fn certificates(
    web: Option<&Reloaded<WebConfig>>,
    listener: Option<&Listener>,
) -> Vec<Arc<WatchedCertificate>> {
    let statsdb = listener.and_then(Listener::tls).map(WatchedCertificate::of_statsdb);
    let all: Vec<_> = web.map(WatchedCertificate::of_web).into_iter().chain(statsdb).collect();
    for certificate in &all {
        certificate.look();
    }
    all
}

/// What is read again when it changes.
fn files(passwords: &[Reloaded<Secret>], certificates: &[Arc<WatchedCertificate>]) -> Vec<Arc<dyn Reload>> {
    let certificates = certificates.iter().map(|files| Arc::clone(files) as Arc<dyn Reload>);
    file_watch::password_files(passwords).into_iter().chain(certificates).collect()
}

fn about() -> About {
    About {
        name: version::NAME.to_owned(),
        version: version::VERSION.to_owned(),
        revision: version::REVISION.filter(|revision| !revision.is_empty()).map(str::to_owned),
        documentation: option_env!("CARGO_PKG_HOMEPAGE").filter(|url| !url.is_empty()).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::table_clock::TICK;
    use crate::app::testing::shared_table;

    /// A table that somebody panicked in is served to nobody, and ends the program.
    #[tokio::test(start_paused = true)]
    async fn a_panic_under_the_lock_of_the_table_ends_the_program() {
        let (shared, _) = shared_table(10_000);
        let mut tasks = Supervisor::new(Shutdown::new());
        let (manager, readiness) = (ServiceManager::default(), SourceReadiness::new(&["redis://test"]));
        tasks.spawn("passing of time", let_time_pass(shared.clone(), manager, readiness));
        let there = tokio::time::timeout(2 * TICK, tasks.exited()).await;
        assert!(there.is_err(), "it goes on as long as nothing happens: {there:?}");
        let writer = shared.clone();
        let panicked = std::thread::spawn(move || {
            let _ingest = writer.lock();
            panic!("in the middle of a change");
        });
        assert!(panicked.join().is_err());
        let exited = tokio::time::timeout(2 * TICK, tasks.exited()).await.unwrap().to_string();
        assert!(exited.contains("panicked, which is a bug"), "{exited}");
        let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| shared.observe()));
        assert!(served.is_err(), "half a table was served");
    }
}
