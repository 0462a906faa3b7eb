//! Lets time pass in the table where no message does it, and logs what the table found out.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::ingest::{Ingest, SharedTable};
use super::log_once::LogOnce;
use super::readiness::SourceReadiness;
use super::service_manager::ServiceManager;
use crate::clock::Timestamp;
use crate::state::{CapsReached, Discovery, LongLifetime};

/// How often the table is given the time when no message does it.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// Never ends by itself. Whoever supervises the process is fed here: only while the table can be changed.
pub(super) async fn let_time_pass(shared: SharedTable, manager: ServiceManager, readiness: SourceReadiness) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut caps = Caps::default();
    let mut first_events = FirstEvents::default();
    loop {
        ticks.tick().await;
        let now = shared.now();
        let (beyond, findings, reporting, live) = {
            let mut ingest = shared.lock();
            ingest.advance(now);
            let reporting = first_events.take(&ingest);
            let findings = ingest.take_findings();
            let named = |finding: Discovery| (ingest.name(finding.source()).to_owned(), finding);
            let findings = findings.into_iter().map(named).collect::<Vec<_>>();
            (ingest.beyond(), findings, reporting, ingest.live())
        };
        manager.time_passed(shared.process_now(), live, &readiness);
        for source in reporting {
            tracing::info!(source, "coturn reports: the first event has come");
        }
        caps.log(beyond);
        for (source, finding) in findings {
            log(&source, finding);
        }
    }
}

/// Which sources have had an event since the process started.
#[derive(Default)]
struct FirstEvents {
    /// For each source the last event that an earlier process had, and whether one came since; empty before the first look.
    seen: Vec<(Option<Timestamp>, bool)>,
}

impl FirstEvents {
    /// The names of those whose first event has come since the look before.
    fn take(&mut self, ingest: &Ingest) -> Vec<String> {
        let mut first = Vec::new();
        for (place, (name, last)) in ingest.last_messages().enumerate() {
            let Some((earlier, is_known)) = self.seen.get_mut(place) else {
                self.seen.push((last, false));
                continue;
            };
            if !*is_known && last > *earlier {
                *is_known = true;
                first.push(name.to_owned());
            }
        }
        first
    }
}

/// Logs what the table found out.
fn log(name: &str, finding: Discovery) {
    match finding {
        Discovery::ServerRestarted { server, port, allocations, .. } => tracing::info!(
            source = name,
            server = %server,
            port,
            allocations,
            "coturn was restarted: its ids begin anew; what the old process held has ended (cause replaced)"
        ),
        Discovery::AddressShared { server, port, .. } => tracing::warn!(
            source = name,
            server = %server,
            port,
            "two coturns report the same server address; for a day ids that begin anew are not taken for a restart there"
        ),
        Discovery::ProcessEnded { peer, restarted: true, allocations, .. } => tracing::info!(
            source = name,
            %peer,
            allocations,
            "coturn was restarted: all of its connections closed and a new process reports; its allocations have ended \
             (cause replaced)"
        ),
        Discovery::ProcessEnded { peer, restarted: false, allocations, .. } => tracing::warn!(
            source = name,
            %peer,
            allocations,
            "coturn is gone: all of its connections closed at once and none came back; its allocations have ended \
             (cause abandoned)"
        ),
        Discovery::LongLifetime { seconds, outcome: LongLifetime::Believed, .. } => tracing::warn!(
            source = name,
            lifetime_seconds = seconds,
            flag = "--allocation.max-lifetime",
            "coturn grants longer lifetimes than the flag says; orphans and leftover keys are judged by the flag: set it \
             to coturn's max-allocate-lifetime, to this lifetime at least"
        ),
        Discovery::LongLifetime { seconds, outcome: LongLifetime::Cut, .. } => tracing::warn!(
            source = name,
            lifetime_seconds = seconds,
            flag = "--allocation.max-lifetime",
            "a lifetime above a day is taken as a day: if coturn's max-allocate-lifetime is so long, set the flag to it; \
             if not, somebody else publishes under turn/"
        ),
        Discovery::ConnectionsCut { peer, .. } => tracing::warn!(
            source = name,
            %peer,
            flag = "--statsdb.behind-proxy",
            "connections of a coturn that lives were closed on their way; for a day closed connections from there end \
             no allocations. Set the flag if a proxy, load balancer or NAT is between coturn and this exporter"
        ),
    }
}

/// The caps of the table, each of which is logged when it is reached; how often is on the page.
#[derive(Default)]
struct Caps {
    allocations: LogOnce,
    ended: LogOnce,
    realms: LogOnce,
    servers: LogOnce,
}

impl Caps {
    fn log(&mut self, reached: CapsReached) {
        let is_news = |cap: &mut LogOnce, is_reached: bool| {
            if is_reached {
                cap.is_news(())
            } else {
                cap.solve();
                false
            }
        };
        if is_news(&mut self.allocations, reached.allocations) {
            tracing::warn!(
                flag = "--allocation.max-count",
                "the table is full; more allocations are refused"
            );
        }
        if is_news(&mut self.ended, reached.ended) {
            tracing::warn!(
                flag = "--allocation.max-count",
                "the table is full; records of allocations that have ended give way to live ones"
            );
        }
        if is_news(&mut self.realms, reached.realms) {
            tracing::warn!(
                flag = "--metrics.max-realms",
                "more realms than that, or names longer than 128 bytes: they share the realm _other"
            );
        }
        if is_news(&mut self.servers, reached.servers) {
            tracing::warn!(
                flag = "--metrics.max-servers",
                "more servers than that, or names longer than 128 bytes: they share the server _other"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Settings, SourceId};

    const CHANNEL: &[u8] = b"turn/realm/r/user/u/allocation/000000000000000001/status";

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn the_first_event_of_each_source_is_news_once() {
        let mut ingest = Ingest::new(Settings::default(), &["a", "b"]);
        let mut first = FirstEvents::default();
        // One of an earlier process is not this one's first.
        ingest.message(at(1), SourceId(0), CHANNEL, b"new lifetime=600").unwrap();
        assert!(first.take(&ingest).is_empty());
        assert!(first.take(&ingest).is_empty());
        for id in [0, 1] {
            ingest.message(at(2), SourceId(id), CHANNEL, b"refreshed lifetime=600").unwrap();
        }
        assert_eq!(first.take(&ingest), ["a", "b"]);
        ingest.message(at(3), SourceId(1), CHANNEL, b"refreshed lifetime=600").unwrap();
        assert!(first.take(&ingest).is_empty());
    }
}
