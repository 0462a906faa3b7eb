//! The running exporter: the sources, the web server and the passing of time around one table.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::task::{JoinError, JoinSet};

use super::Error;
use super::ingest::{Ingest, SharedTable};
use super::readiness::SourceReadiness;
use super::redis_source::RedisTask;
use super::statsdb_source::StatsdbTask;
use super::store_writer::StoreWriter;
use super::table_clock::let_time_pass;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
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
/// An address that cannot be bound; a part that fell over.
pub(super) async fn serve(config: Config, dropped_log_lines: Arc<AtomicU64>) -> Result<(), Error> {
    let names = config.sources.iter().map(|source| source.name.as_str());
    let names: Vec<&str> = names.chain(config.statsdb.iter().map(|statsdb| statsdb.name.as_str())).collect();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let shared = SharedTable::new(Ingest::new(config.table.clone(), &names), clock);
    let readiness = SourceReadiness::new(&names);
    let source_names = names.iter().map(|&name| name.to_owned()).collect();
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
    let refusals = Arc::new(WebRefusals::default());
    let site = Site {
        telemetry_path: config.web.telemetry_path,
        page: Arc::new(match &writer {
            Some(writer) => TextPage::of_process(writer.clone(), dropped_log_lines, Arc::clone(&refusals)),
            None => TextPage::of_process(shared.clone(), dropped_log_lines, Arc::clone(&refusals)),
        }),
        readiness: readiness.probe(),
        about: about(),
        details: config.web.enable_details.then(|| Arc::new(shared.clone()) as Arc<dyn Inspect>),
        details_hosts: config.web.details_hosts,
        refusals,
    };
    let limits = WebLimits {
        connections: config.web.max_connections,
        max_requests: config.web.max_requests,
        ..WebLimits::default()
    };

    let stop = Shutdown::new();
    let mut parts = JoinSet::new();
    let mut ids = (0..).map(SourceId);
    for (source, id) in config.sources.into_iter().zip(&mut ids) {
        let task = RedisTask::new(source, id, shared.clone(), readiness.clone());
        parts.spawn(until(stop.clone(), task.run()));
    }
    if let (Some(statsdb), Some(listener), Some(id)) = (config.statsdb, listener, ids.next()) {
        let receiver = StatsdbTask::new(statsdb, listener, id, shared.clone(), readiness.clone());
        parts.spawn(until(stop.clone(), receiver.run()));
    }
    parts.spawn(until(stop.clone(), let_time_pass(shared.clone(), source_names)));
    if let Some(writer) = &writer {
        parts.spawn(until(stop.clone(), writer.clone().run()));
    }
    let serving = server.serve(site, limits, stop.clone());
    tokio::pin!(serving);
    let mut is_serving = true;
    let ended = tokio::select! {
        // The signals first: whoever reads that we listen may end us at once.
        biased;
        signal = shutdown::on_signal(Hangup::Survived) => signal.map_err(Error::Signal).map(|signal| {
            tracing::info!(signal, "stopping");
        }),
        // None of them ends by itself.
        Some(ended) = parts.join_next() => Err(Error::Fell(describe(ended))),
        () = &mut serving => {
            is_serving = false;
            Err(Error::Fell("the web server ended, which is a bug".to_owned()))
        }
    };
    stop.trigger();
    if is_serving {
        serving.await;
    }
    while let Some(part) = parts.join_next().await {
        part.map_err(|error| Error::Fell(describe(Err(error))))?;
    }
    if let Some(writer) = writer {
        writer.finish().await;
    }
    ended
}

async fn until(stop: Shutdown, part: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.triggered() => {}
        () = part => {}
    }
}

fn describe(ended: Result<(), JoinError>) -> String {
    match ended {
        Ok(()) => "a part of the program ended".to_owned(),
        Err(error) => format!("a part of the program fell over, which is a bug: {error}"),
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
    use crate::metrics::{Audience, Observe};

    /// A table that somebody panicked in is served to nobody, and ends the program.
    #[tokio::test(start_paused = true)]
    async fn a_panic_under_the_lock_of_the_table_ends_the_program() {
        let (shared, _) = shared_table(10_000);
        let mut parts = JoinSet::new();
        parts.spawn(until(Shutdown::new(), let_time_pass(shared.clone(), Vec::new())));
        let there = tokio::time::timeout(2 * TICK, parts.join_next()).await;
        assert!(there.is_err(), "it goes on as long as nothing happens: {there:?}");
        let writer = shared.clone();
        let panicked = std::thread::spawn(move || {
            let _ingest = writer.lock();
            panic!("in the middle of a change");
        });
        assert!(panicked.join().is_err());
        let ended = tokio::time::timeout(2 * TICK, parts.join_next()).await.unwrap().unwrap();
        let said = describe(ended);
        assert!(said.contains("fell over, which is a bug"), "{said}");
        let served =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| shared.observe(Audience::Scraper)));
        assert!(served.is_err(), "half a table was served");
    }
}
