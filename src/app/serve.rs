//! The running exporter: the sources, the web server, the store and the passing of time around one table.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::Error;
use super::ingest::{Ingest, SharedTable};
use super::readiness::SourceReadiness;
use super::redis_source::RedisTask;
use super::statsdb_source::StatsdbTask;
use super::store_writer::StoreWriter;
use super::supervise::{Supervisor, TaskExited, contain};
use super::table_clock::let_time_pass;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Web};
use crate::details::Inspect;
use crate::http::{About, Site, WebLimits, WebServer};
use crate::metrics::{TextPage, WebRefusals};
use crate::shutdown::{self, Hangup, Shutdown};
use crate::source::statsdb::Listener;
use crate::state::SourceId;
use crate::version;

/// Watches and serves until a signal comes.
///
/// # Errors
///
/// A store that cannot be used; an address that cannot be bound; a background task that exited.
pub(super) async fn serve(config: Config, dropped_log_lines: Arc<AtomicU64>) -> Result<(), Error> {
    let parts = Parts::open(&config).await?;
    let limits = WebLimits {
        connections: config.web.max_connections,
        max_requests: config.web.max_requests,
        ..WebLimits::default()
    };
    let site = parts.site(&config.web, dropped_log_lines);
    let Parts { names, shared, readiness, writer, listener, server } = parts;

    let stop = Shutdown::new();
    let mut tasks = Supervisor::new(stop.clone());
    let mut ids = (0..).map(SourceId);
    for (source, id) in config.sources.into_iter().zip(&mut ids) {
        let task = RedisTask::new(source, id, shared.clone(), readiness.clone());
        tasks.spawn("Redis source", task.run());
    }
    if let (Some(statsdb), Some(listener), Some(id)) = (config.statsdb, listener, ids.next()) {
        let task = StatsdbTask::new(statsdb, listener, id, shared.clone(), readiness);
        tasks.spawn("statsdb listener", task.run());
    }
    tasks.spawn("passing of time", let_time_pass(shared, names));
    if let Some(writer) = &writer {
        tasks.spawn("store writer", writer.clone().run());
    }
    let mut serving = pin!(contain(server.serve(site, limits, stop.clone())));
    let mut is_serving = true;
    let ended = tokio::select! {
        // The signals first: whoever reads that we listen may end us at once.
        biased;
        signal = shutdown::on_signal(Hangup::Survived) => signal.map_err(Error::Signal).map(|signal| {
            tracing::info!(signal, "stopping");
        }),
        exited = tasks.exited() => Err(Error::Task(exited)),
        served = &mut serving => {
            is_serving = false;
            Err(Error::Task(match served {
                Ok(()) => TaskExited::Returned { task: WEB_SERVER },
                Err(panic) => TaskExited::panicked(WEB_SERVER, &panic),
            }))
        }
    };
    stop.trigger();
    if is_serving {
        serving.await.map_err(|panic| Error::Task(TaskExited::panicked(WEB_SERVER, &panic)))?;
    }
    tasks.finish().await.map_err(Error::Task)?;
    if let Some(writer) = writer {
        writer.finish().await;
    }
    ended
}

/// The name of the task that serves pages.
const WEB_SERVER: &str = "web server";

/// What the tasks work on, opened and bound.
struct Parts {
    /// Of the sources, in the order of their numbers.
    names: Vec<String>,
    shared: SharedTable,
    readiness: SourceReadiness,
    writer: Option<StoreWriter>,
    listener: Option<Listener>,
    server: WebServer,
}

impl Parts {
    async fn open(config: &Config) -> Result<Self, Error> {
        let names = config.sources.iter().map(|source| source.name.as_str());
        let names: Vec<&str> =
            names.chain(config.statsdb.iter().map(|statsdb| statsdb.name.as_str())).collect();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let shared = SharedTable::new(Ingest::new(config.table.clone(), &names), clock);
        let writer = match &config.store {
            Some(store) => {
                let writer = StoreWriter::open(store, &names, config.table.rest_separator, shared.clone());
                Some(writer.await.map_err(Error::Store)?)
            }
            None => None,
        };
        let listener = match &config.statsdb {
            Some(statsdb) => Some(Listener::bind(statsdb).await.map_err(Error::Listen)?),
            None => None,
        };
        let server = WebServer::bind(&config.web.listen).await.map_err(Error::Bind)?;
        let readiness = SourceReadiness::new(&names);
        let names = names.into_iter().map(str::to_owned).collect();
        Ok(Self { names, shared, readiness, writer, listener, server })
    }

    /// What the web server shows.
    fn site(&self, web: &Web, dropped_log_lines: Arc<AtomicU64>) -> Site {
        let refusals = Arc::new(WebRefusals::default());
        let page = match &self.writer {
            Some(writer) => TextPage::of_process(writer.clone(), dropped_log_lines, Arc::clone(&refusals)),
            None => TextPage::of_process(self.shared.clone(), dropped_log_lines, Arc::clone(&refusals)),
        };
        Site {
            telemetry_path: web.telemetry_path.clone(),
            page: Arc::new(page),
            readiness: self.readiness.probe(),
            about: about(),
            details: web.enable_details.then(|| Arc::new(self.shared.clone()) as Arc<dyn Inspect>),
            details_hosts: web.details_hosts.clone(),
            refusals,
        }
    }
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
    use crate::metrics::Observe;

    /// A table that somebody panicked in is served to nobody, and ends the program.
    #[tokio::test(start_paused = true)]
    async fn a_panic_under_the_lock_of_the_table_ends_the_program() {
        let (shared, _) = shared_table(10_000);
        let mut tasks = Supervisor::new(Shutdown::new());
        tasks.spawn("passing of time", let_time_pass(shared.clone(), Vec::new()));
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
