//! The running exporter: the sources, the web server and the passing of time around one table.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use super::Error;
use super::follow::Follower;
use super::ingest::{Ingest, Shared};
use super::keep::Keeper;
use super::receive::Receiver;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::details::Inspect;
use crate::http::{About, Limits, Readiness, Server, Site};
use crate::metrics::{TextPage, WebRefusals};
use crate::shutdown::{self, Hangup, Shutdown};
use crate::source::statsdb::Listener;
use crate::state::{CapsReached, Discovery, LongLifetime, SourceId};
use crate::version;

/// How often the table hears of the time when no message does it.
const TICK: Duration = Duration::from_secs(1);

/// Watches and serves until a signal comes.
///
/// # Errors
///
/// An address that cannot be bound; a part that fell over.
pub(super) async fn watch(config: Config, dropped_log_lines: Arc<AtomicU64>) -> Result<(), Error> {
    let names = config.sources.iter().map(|source| source.name.as_str());
    let names: Vec<&str> = names.chain(config.statsdb.iter().map(|statsdb| statsdb.name.as_str())).collect();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let shared = Shared::new(Ingest::new(config.table.clone(), &names), clock);
    let board = Board::new(&names);
    let source_names = names.iter().map(|&name| name.to_owned()).collect();
    let keeper = match &config.store {
        Some(store) => {
            let keeper = Keeper::open(store, &names, config.table.rest_separator, shared.clone());
            Some(keeper.await.map_err(Error::Store)?)
        }
        None => None,
    };
    let listener = match &config.statsdb {
        Some(statsdb) => Some(Listener::bind(statsdb).await.map_err(Error::Listen)?),
        None => None,
    };
    let server = Server::bind(&config.web.listen).await.map_err(Error::Bind)?;
    let refusals = Arc::new(WebRefusals::default());
    let site = Site {
        telemetry_path: config.web.telemetry_path,
        page: Arc::new(match &keeper {
            Some(keeper) => TextPage::of_process(keeper.clone(), dropped_log_lines, Arc::clone(&refusals)),
            None => TextPage::of_process(shared.clone(), dropped_log_lines, Arc::clone(&refusals)),
        }),
        readiness: board.readiness.clone(),
        about: about(),
        details: config.web.enable_details.then(|| Arc::new(shared.clone()) as Arc<dyn Inspect>),
        details_hosts: config.web.details_hosts,
        refusals,
    };
    let limits = Limits {
        connections: config.web.max_connections,
        max_requests: config.web.max_requests,
        ..Limits::default()
    };

    let stop = Shutdown::new();
    let mut parts = JoinSet::new();
    let mut ids = (0..).map(SourceId);
    for (source, id) in config.sources.into_iter().zip(&mut ids) {
        let follower = Follower::new(source, id, shared.clone(), board.clone());
        parts.spawn(until(stop.clone(), follower.run()));
    }
    if let (Some(statsdb), Some(listener), Some(id)) = (config.statsdb, listener, ids.next()) {
        let receiver = Receiver::new(statsdb, listener, id, shared.clone(), board.clone());
        parts.spawn(until(stop.clone(), receiver.run()));
    }
    parts.spawn(until(stop.clone(), let_time_pass(shared.clone(), source_names)));
    if let Some(keeper) = &keeper {
        parts.spawn(until(stop.clone(), keeper.clone().run()));
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
    if let Some(keeper) = keeper {
        keeper.finish().await;
    }
    ended
}

async fn until(stop: Shutdown, part: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.triggered() => {}
        () = part => {}
    }
}

async fn let_time_pass(shared: Shared, names: Vec<String>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = CapsReached::default();
    loop {
        ticks.tick().await;
        let now = shared.now();
        let (beyond, findings) = {
            let mut ingest = shared.lock();
            ingest.advance(now);
            (ingest.beyond(), ingest.take_findings())
        };
        tell_of_caps(&mut told, beyond);
        for finding in findings {
            report(finding, &names);
        }
    }
}

/// What the table found out goes to the log.
fn report(finding: Discovery, names: &[String]) {
    let name = |source: SourceId| names.get(source.0 as usize).map(String::as_str).unwrap_or_default();
    match finding {
        Discovery::ServerRestarted { source, server, port, allocations } => tracing::info!(
            source = name(source),
            server = %server,
            port,
            allocations,
            "coturn was restarted: its ids begin anew; what the old process held has ended (cause replaced)"
        ),
        Discovery::AddressShared { source, server, port } => tracing::warn!(
            source = name(source),
            server = %server,
            port,
            "two coturns report the same server address; for a day ids that begin anew are not taken for a restart there"
        ),
        Discovery::ProcessEnded { source, peer, restarted: true } => tracing::info!(
            source = name(source),
            %peer,
            "coturn was restarted: all of its connections closed and a new process reports; its allocations have ended \
             (cause replaced)"
        ),
        Discovery::ProcessEnded { source, peer, restarted: false } => tracing::warn!(
            source = name(source),
            %peer,
            "coturn is gone: all of its connections closed at once and none came back; its allocations have ended \
             (cause abandoned)"
        ),
        Discovery::LongLifetime { source, seconds, outcome: LongLifetime::Believed } => tracing::warn!(
            source = name(source),
            lifetime_seconds = seconds,
            flag = "--allocation.max-lifetime",
            "coturn grants longer lifetimes than the flag says; orphans and leftover keys are judged by the flag: set it \
             to coturn's max-allocate-lifetime, to this lifetime at least"
        ),
        Discovery::LongLifetime { source, seconds, outcome: LongLifetime::Cut } => tracing::warn!(
            source = name(source),
            lifetime_seconds = seconds,
            flag = "--allocation.max-lifetime",
            "a lifetime above a day is taken as a day: if coturn's max-allocate-lifetime is so long, set the flag to it; \
             if not, somebody else publishes under turn/"
        ),
        Discovery::ConnectionsCut { source, peer } => tracing::warn!(
            source = name(source),
            %peer,
            flag = "--statsdb.behind-proxy",
            "connections of a coturn that lives were closed on their way; for a day closed connections from there end \
             no allocations. Set the flag if a proxy, load balancer or NAT is between coturn and this exporter"
        ),
    }
}

/// A cap that is reached is said once; how often is on the page.
fn tell_of_caps(told: &mut CapsReached, beyond: CapsReached) {
    if beyond.allocations && !told.allocations {
        tracing::warn!(flag = "--allocation.max-count", "the table is full; more allocations are refused");
    }
    if beyond.ended && !told.ended {
        tracing::warn!(
            flag = "--allocation.max-count",
            "the table is full; records of allocations that have ended give way to live ones"
        );
    }
    if beyond.realms && !told.realms {
        tracing::warn!(
            flag = "--metrics.max-realms",
            "more realms than that, or names longer than 128 bytes: they share the realm _other"
        );
    }
    if beyond.servers && !told.servers {
        tracing::warn!(
            flag = "--metrics.max-servers",
            "more servers than that, or names longer than 128 bytes: they share the server _other"
        );
    }
    *told = beyond;
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

/// Which sources are not ready, and why; the web server tells the first of them.
#[derive(Clone, Debug)]
pub(super) struct Board {
    reasons: Arc<Mutex<Vec<Option<String>>>>,
    readiness: Readiness,
}

impl Board {
    pub(super) fn new(names: &[&str]) -> Self {
        let reasons: Vec<_> = names.iter().map(|name| Some(format!("{name}: not connected yet"))).collect();
        let readiness = Readiness::new(reasons.first().cloned().flatten().unwrap_or_default());
        Self { reasons: Arc::new(Mutex::new(reasons)), readiness }
    }

    /// Whether the source is not ready yet.
    pub(super) fn is_waiting(&self, source: SourceId) -> bool {
        let reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        reasons.get(source.0 as usize).is_some_and(Option::is_some)
    }

    /// The source is ready, or not for this reason.
    pub(super) fn set(&self, source: SourceId, reason: Option<String>) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = reasons.get_mut(source.0 as usize) {
            *place = reason;
        }
        match reasons.iter().flatten().next() {
            Some(reason) => self.readiness.not_ready(reason.clone()),
            None => self.readiness.ready(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
