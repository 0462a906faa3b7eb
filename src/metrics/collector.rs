//! From the table's snapshot to the families of the page, whatever its format. No number is stored between scrapes, so
//! nothing can drift and two scrapes cannot race.

use std::rc::Rc;

use super::encode::{Encode, Label, Number};
use super::names::{self, Family};
use super::page::{HistogramKind, Labelled, Page, Samples};
use crate::clock::Timestamp;
use crate::state::{
    ALLOCATIONS_BUCKETS, Anomaly, BYTES_BUCKETS, Cause, CountsByReason, DURATION_BUCKETS, LongLifetime,
    Orphan, Outcome, RealmView, ServerView, Snapshot, SourceStats, SourceView, StatsdbStats,
};
use crate::wire::{ByLeg, Direction, Kind, Leg, Rejection, Traffic, Transport, Volume};

/// Everything on one page about coturn and the sources, as of one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// The table.
    pub table: Snapshot,
    /// The store; `None` without one.
    pub store: Option<StoreFigures>,
    /// The limits of coturn; `None` where its file is not read.
    pub coturn: Option<CoturnLimits>,
    /// The certificates that the process shows.
    pub certificates: Vec<CertificateView>,
    /// The wall clock at that moment; time stamps are moved onto it.
    pub wall: Timestamp,
}

/// When a certificate that the process shows is valid, by the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateView {
    /// Who shows it: `statsdb` or `web`.
    pub listener: &'static str,
    /// From when on.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
}

/// The limits that coturn's file sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoturnLimits {
    /// Addresses that it relays on, with the ports of each; one without a name where the file names none.
    pub relay_ports: Vec<(String, u64)>,
    /// `total-quota`, if there is one.
    pub quota: Option<u64>,
}

/// How the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFigures {
    /// All that is answered is in it, and its directory is as it was.
    pub is_ok: bool,
    /// What its files take on the disk.
    pub bytes: u64,
    /// When the newest snapshot was made, by the wall clock.
    pub last_snapshot: Option<Timestamp>,
    /// Who takes what is in the ledger elsewhere, by name.
    pub sinks: Vec<SinkView>,
}

/// How it stands with one who takes sessions or events elsewhere. All counts are of all times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkView {
    /// Its name.
    pub name: String,
    /// What came of the last attempt in this process.
    pub is_up: Option<bool>,
    /// What waits.
    pub pending: u64,
    /// When what waits longest happened, by the wall clock.
    pub oldest: Option<Timestamp>,
    /// What was confirmed.
    pub delivered: u64,
    /// Deliveries that failed.
    pub failed: u64,
    /// What it will never get.
    pub dropped: u64,
}

/// Adds the families of a view.
pub(super) fn add_families<'a, E: Encode>(page: &mut Page<'a, E>, view: &'a View) {
    let table = &view.table;
    let realms: Rc<LabelledRealms<'a>> =
        page.labelled("realm", &table.realms, |realm| &realm.label, |realm| Some(realm.created)).into();
    allocations(page, &realms);
    sessions(page, &realms);
    histograms(page, &realms);
    traffic(page, table, &realms);
    servers(page, &table.servers);
    limits(page, view.coturn.as_ref());
    sources(page, table);
    totals(page, table);
    store(page, view.store.as_ref(), table.lost_outputs);
    certificates(page, &view.certificates);
}

type LabelledRealms<'a> = [Labelled<&'a RealmView>];
type LabelledSources<'a> = [Labelled<&'a SourceView>];

fn store<'a, E: Encode>(page: &mut Page<'a, E>, store: Option<&'a StoreFigures>, lost: u64) {
    let Some(&StoreFigures { is_ok, bytes, last_snapshot, ref sinks }) = store else { return };
    page.add(names::STORE_OK, move |out| out.flag(&[], is_ok));
    page.add(names::STORE_BYTES, move |out| out.number(&[], bytes));
    page.add(names::STORE_LAST_SNAPSHOT, move |out| {
        if let Some(moment) = last_snapshot {
            out.value(&[], Number::Millis(moment.as_millis()));
        }
    });
    page.add(names::LEDGER_LOST, move |out| out.number(&[], lost));
    each_sink(page, names::SINK_UP, sinks, |sink| sink.is_up.map(|is_up| Number::Whole(is_up.into())));
    each_sink(page, names::SINK_PENDING, sinks, |sink| Some(Number::Whole(sink.pending)));
    each_sink(page, names::SINK_OLDEST, sinks, |sink| Some(Number::Millis(sink.oldest?.as_millis())));
    each_sink(page, names::SINK_DELIVERED, sinks, |sink| Some(Number::Whole(sink.delivered)));
    each_sink(page, names::SINK_FAILED, sinks, |sink| Some(Number::Whole(sink.failed)));
    each_sink(page, names::SINK_DROPPED, sinks, |sink| Some(Number::Whole(sink.dropped)));
}

fn certificates<'a, E: Encode>(page: &mut Page<'a, E>, certificates: &'a [CertificateView]) {
    type MomentOf = fn(&CertificateView) -> Timestamp;
    let families: [(Family, MomentOf); 2] = [
        (names::CERTIFICATE_NOT_BEFORE, |certificate| certificate.not_before),
        (names::CERTIFICATE_NOT_AFTER, |certificate| certificate.not_after),
    ];
    for (family, moment) in families {
        page.add(family, move |out| {
            for certificate in certificates {
                let label = out.label("listener", certificate.listener);
                out.value(&[&label], Number::Millis(moment(certificate).as_millis()));
            }
        });
    }
}

fn each_sink<'a, E: Encode>(
    page: &mut Page<'a, E>,
    family: Family,
    sinks: &'a [SinkView],
    value: impl Fn(&SinkView) -> Option<Number> + 'a,
) {
    page.add(family, move |out| {
        for sink in sinks {
            if let Some(value) = value(sink) {
                let label = out.label("sink", &sink.name);
                out.value(&[&label], value);
            }
        }
    });
}

fn allocations<'a, E: Encode>(page: &mut Page<'a, E>, realms: &Rc<LabelledRealms<'a>>) {
    let transports = page.places("transport", &Transport::ALL, |transport| transport.as_str());
    let transports = Rc::<[_]>::from(transports);
    each_with(page, names::ALLOCATIONS, realms, &transports, |realm, at| realm.series.live.get(at));
    each_with(page, names::ALLOCATIONS_OPENED, realms, &transports, |realm, at| realm.series.opened.get(at));
    by_realm(page, names::ALLOCATIONS_ADOPTED, realms, |realm| realm.series.adopted);
    let causes = Rc::<[_]>::from(page.places("cause", &Cause::ALL, |cause| cause.as_str()));
    each_with(page, names::ALLOCATIONS_CLOSED, realms, &causes, |realm, at| realm.series.closed.get(at));
    by_realm(page, names::ALLOCATIONS_RELAYED, realms, |realm| realm.series.relayed_allocations);
    by_realm(page, names::ALLOCATION_REFRESHES, realms, |realm| realm.series.refreshes);
    by_realm(page, names::ALLOCATIONS_OVER_MAX_LIFETIME, realms, |realm| realm.series.over_max_lifetime);
    let reasons = Rc::<[_]>::from(page.places("reason", &Orphan::ALL, |reason| reason.as_str()));
    each_with(page, names::ORPHANED_ALLOCATIONS, realms, &reasons, |realm, at| realm.series.orphans.get(at));
    each_with(page, names::ALLOCATIONS_ORPHANED, realms, &reasons, |realm, at| realm.series.orphaned.get(at));
    each(page, names::OLDEST_ALLOCATION, realms, |out, label, realm| {
        out.moment(&[label], realm.oldest_allocation);
    });
}

fn sessions<'a, E: Encode>(page: &mut Page<'a, E>, realms: &Rc<LabelledRealms<'a>>) {
    each(page, names::OLDEST_SESSION, realms, |out, label, realm| {
        out.moment(&[label], realm.oldest_session);
    });
    by_realm(page, names::SESSIONS, realms, |realm| realm.series.sessions);
    by_realm(page, names::SESSIONS_OPENED, realms, |realm| realm.series.sessions_opened);
    by_realm(page, names::SESSIONS_ADOPTED, realms, |realm| realm.series.sessions_adopted);
    let paths = Rc::<[_]>::from(page.places("path", &Outcome::ALL, |path| path.as_str()));
    each_with(page, names::SESSIONS_CLOSED, realms, &paths, |realm, at| realm.series.sessions_closed.get(at));
}

fn histograms<'a, E: Encode>(page: &mut Page<'a, E>, realms: &Rc<LabelledRealms<'a>>) {
    let durations = Rc::<[_]>::from(page.bounds(&DURATION_BUCKETS));
    let bounds = Rc::clone(&durations);
    each(page, names::ALLOCATION_DURATION, realms, move |out, label, realm| {
        out.histogram(&[label], &bounds, &realm.series.allocation_durations, HistogramKind::Durations);
    });
    let paths = page.places("path", &Outcome::ALL, |path| path.as_str());
    let bounds = Rc::clone(&durations);
    each(page, names::SESSION_DURATION, realms, move |out, label, realm| {
        for path in &paths {
            if let Some(durations) = realm.series.session_durations.get(path.item) {
                out.histogram(&[label, &path.label], &bounds, durations, HistogramKind::Durations);
            }
        }
    });
    each(page, names::SESSION_RELAY_DURATION, realms, move |out, label, realm| {
        out.histogram(&[label], &durations, &realm.series.session_relay_durations, HistogramKind::Durations);
    });
    let bounds = page.bounds(&BYTES_BUCKETS);
    each(page, names::SESSION_RELAYED_BYTES, realms, move |out, label, realm| {
        out.histogram(&[label], &bounds, &realm.series.session_bytes, HistogramKind::Bytes);
    });
    let bounds = page.bounds(&ALLOCATIONS_BUCKETS);
    each(page, names::SESSION_ALLOCATIONS, realms, move |out, label, realm| {
        out.histogram(&[label], &bounds, &realm.series.session_allocations, HistogramKind::Allocations);
    });
}

fn traffic<'a, E: Encode>(page: &mut Page<'a, E>, table: &'a Snapshot, realms: &Rc<LabelledRealms<'a>>) {
    type TrafficOf = fn(&RealmView) -> &ByLeg<Traffic>;
    let legs = Rc::<[_]>::from(page.labelled("leg", Leg::ALL, |leg| leg.as_str(), |_| None));
    let directions = page.labelled("direction", Direction::ALL, |direction| direction.as_str(), |_| None);
    let directions = Rc::<[_]>::from(directions);
    let by_leg: [(Family, Family, TrafficOf); 3] = [
        (names::RELAYED_BYTES, names::RELAYED_PACKETS, |realm| &realm.series.relayed),
        (names::RECOVERED_BYTES, names::RECOVERED_PACKETS, |realm| &realm.series.recovered),
        (names::UNSEEN_BYTES, names::UNSEEN_PACKETS, |realm| &realm.series.unseen),
    ];
    let units: [fn(Volume) -> u64; 2] = [|volume| volume.bytes, |volume| volume.packets];
    for (bytes, packets, of_realm) in by_leg {
        for (family, unit) in [bytes, packets].into_iter().zip(units) {
            let (legs, directions) = (Rc::clone(&legs), Rc::clone(&directions));
            // Label names are in the order realm, leg, direction.
            each(page, family, realms, move |out, label, realm| {
                for leg in &*legs {
                    for direction in &*directions {
                        let volume = of_realm(realm).get(leg.item).get(direction.item);
                        out.number(&[label, &leg.label, &direction.label], unit(volume));
                    }
                }
            });
        }
    }
    for (family, unit) in [names::UNALLOCATED_BYTES, names::UNALLOCATED_PACKETS].into_iter().zip(units) {
        let directions = Rc::clone(&directions);
        page.add(family, move |out| {
            for direction in &*directions {
                out.number(&[&direction.label], unit(table.unallocated.get(direction.item)));
            }
        });
    }
}

/// A server with the label of its source.
type LabelledServer<'a> = (Label, Labelled<&'a ServerView>);

fn servers<'a, E: Encode>(page: &mut Page<'a, E>, servers: &'a [ServerView]) {
    let mut all: Vec<&ServerView> = servers.iter().collect();
    all.sort_by_key(|server| (&server.source, &server.label));
    let labelled = |server: &'a ServerView| Labelled {
        label: page.label("server", &server.label),
        created: page.created(server.created),
        item: server,
    };
    let all = all.into_iter().map(|server| (page.label("source", &server.source), labelled(server)));
    let servers: Rc<[LabelledServer<'a>]> = all.collect();
    each_server(page, names::SERVER_ALLOCATIONS, &servers, |out, labels, server| {
        out.number(&labels, server.live);
    });
    each_server(page, names::SERVER_LAST_SEEN, &servers, |out, labels, server| {
        out.moment(&labels, Some(server.last_seen));
    });
    let causes = page.places("cause", &Cause::ALL, |cause| cause.as_str());
    each_server(page, names::SERVER_CLOSED, &servers, move |out, [source, label], server| {
        for cause in &causes {
            out.number(&[source, label, &cause.label], server.closed.get(cause.item));
        }
    });
}

fn limits<'a, E: Encode>(page: &mut Page<'a, E>, limits: Option<&'a CoturnLimits>) {
    let Some(CoturnLimits { relay_ports, quota }) = limits else { return };
    page.add(names::SERVER_RELAY_PORTS, move |out| {
        for (ip, ports) in relay_ports {
            out.number(&[&out.label("relay_ip", ip)], *ports);
        }
    });
    page.add(names::SERVER_QUOTA, move |out| {
        if let Some(quota) = quota {
            out.number(&[], *quota);
        }
    });
}

fn sources<'a, E: Encode>(page: &mut Page<'a, E>, table: &'a Snapshot) {
    let sources =
        page.labelled("source", &table.sources, |source| &source.name, |source| Some(source.created));
    let (sources, now) = (Rc::<[_]>::from(sources), table.now);
    each_value(page, names::SOURCE_UP, &sources, |source| Some(u64::from(source.up)));
    each_value(page, names::SOURCE_ALLOCATIONS, &sources, |source| Some(source.live));
    let kinds = Rc::<[_]>::from(page.places("kind", &Kind::ALL, |kind| kind.as_str()));
    each_with(page, names::MESSAGES, &sources, &kinds, |source, at| {
        source.stats.messages.get(at).copied().unwrap_or_default()
    });
    let reasons = Rc::<[_]>::from(page.places("reason", &Rejection::ALL, |reason| reason.as_str()));
    each_with(page, names::REJECTED_MESSAGES, &sources, &reasons, |source, at| {
        source.stats.rejected.get(at).copied().unwrap_or_default()
    });
    each_value(page, names::DROPPED_MESSAGES, &sources, |_| Some(0));
    each_value(page, names::GAPS, &sources, |source| Some(source.stats.gaps));
    each(page, names::GAP_SECONDS, &sources, move |out, label, source| {
        out.value(&[label], Number::duration(source.stats.gap_time(now)));
    });
    each(page, names::LAST_MESSAGE, &sources, |out, label, source| {
        out.moment(&[label], source.stats.last_message);
    });
    let outcomes = Rc::<[_]>::from(page.places("outcome", &LongLifetime::ALL, |outcome| outcome.as_str()));
    each_with(page, names::LONG_LIFETIMES, &sources, &outcomes, |source, at| source.long_lifetimes.get(at));
    each_value(page, names::RESYNCS, &sources, |source| Some(source.stats.resyncs));
    each(page, names::RESYNC_DURATION, &sources, |out, label, source| {
        if let Some(took) = source.stats.resync_duration {
            out.value(&[label], Number::duration(took));
        }
    });
    each_value(page, names::RESYNC_OK, &sources, |source| source.stats.resync_ok.map(u64::from));
    let [live, stale] = ["live", "stale"].map(|state| page.label("state", state));
    each(page, names::STATUS_KEYS, &sources, move |out, label, source| {
        if let Some(keys) = source.stats.status_keys {
            out.number(&[label, &live], keys.live);
            out.number(&[label, &stale], keys.stale);
        }
    });
    each(page, names::REDIS_SETTING_OK, &sources, |out, label, source| {
        for (setting, &ok) in &source.stats.settings_ok {
            out.flag(&[label, &out.label("setting", setting)], ok);
        }
    });
    statsdb(page, &sources);
}

fn statsdb<'a, E: Encode>(page: &mut Page<'a, E>, sources: &Rc<LabelledSources<'a>>) {
    fn statsdb(stats: &SourceStats) -> Option<&StatsdbStats> {
        stats.statsdb.as_ref()
    }
    let forward = |source: &SourceView| statsdb(&source.stats).and_then(StatsdbStats::forwarded);
    each_value(page, names::STATSDB_CONNECTIONS, sources, |source| Some(statsdb(&source.stats)?.connections));
    by_reason(page, names::STATSDB_TURNED_AWAY, sources, |stats| &stats.refused_connections);
    by_reason(page, names::STATSDB_REFUSED, sources, |stats| &stats.refused);
    each_value(page, names::STATSDB_REFUSED_CLIENTS, sources, |source| {
        Some(statsdb(&source.stats)?.refused_clients)
    });
    each_value(page, names::STATSDB_COTURN_SEEN, sources, |source| {
        Some(u64::from(statsdb(&source.stats)?.coturn_seen))
    });
    each_value(page, names::FORWARD_UP, sources, move |source| Some(u64::from(forward(source)?.up)));
    each_value(page, names::FORWARDED, sources, move |source| Some(forward(source)?.sent));
    each_value(page, names::FORWARD_DROPPED, sources, move |source| Some(forward(source)?.dropped));
    each_value(page, names::FORWARD_WITHHELD, sources, move |source| Some(forward(source)?.withheld));
}

fn totals<'a, E: Encode>(page: &mut Page<'a, E>, table: &'a Snapshot) {
    let kinds = page.places("kind", &Anomaly::ALL, |kind| kind.as_str());
    page.add(names::ANOMALIES, move |out| {
        for kind in &kinds {
            out.number(&[&kind.label], table.anomalies.get(kind.item));
        }
    });
    let [realm, server] = ["realm", "server"].map(|label| page.label("label", label));
    page.add(names::FOLDED_LABEL_VALUES, move |out| {
        out.number(&[&realm], table.folded_realms);
        out.number(&[&server], table.folded_servers);
    });
    page.add(names::REFUSED_ALLOCATIONS, |out| out.number(&[], table.refused));
    page.add(names::EVICTED_ALLOCATIONS, |out| out.number(&[], table.evicted));
}

/// Samples of each of `all`: realms, or sources.
fn each<'a, E: Encode, T: 'a>(
    page: &mut Page<'a, E>,
    family: Family,
    all: &Rc<[Labelled<&'a T>]>,
    add: impl Fn(&mut Samples<E>, &Label, &T) + 'a,
) {
    let all = Rc::clone(all);
    page.add(family, move |out| {
        for one in &*all {
            out.since(one.created);
            add(out, &one.label, one.item);
        }
    });
}

/// A sample of each that has a value.
fn each_value<'a, E: Encode, T: 'a>(
    page: &mut Page<'a, E>,
    family: Family,
    all: &Rc<[Labelled<&'a T>]>,
    value: impl Fn(&T) -> Option<u64> + 'a,
) {
    each(page, family, all, move |out, label, one| {
        if let Some(value) = value(one) {
            out.number(&[label], value);
        }
    });
}

/// A sample of each with each of `others`.
fn each_with<'a, E: Encode, T: 'a>(
    page: &mut Page<'a, E>,
    family: Family,
    all: &Rc<[Labelled<&'a T>]>,
    others: &Rc<[Labelled<usize>]>,
    value: impl Fn(&T, usize) -> u64 + 'a,
) {
    let others = Rc::clone(others);
    each(page, family, all, move |out, label, one| {
        for other in &*others {
            out.number(&[label, &other.label], value(one, other.item));
        }
    });
}

fn by_realm<'a, E: Encode>(
    page: &mut Page<'a, E>,
    family: Family,
    realms: &Rc<LabelledRealms<'a>>,
    value: impl Fn(&RealmView) -> u64 + 'a,
) {
    each_value(page, family, realms, move |realm| Some(value(realm)));
}

/// A sample of each source that is a listener, for each reason that occurs.
fn by_reason<'a, E: Encode>(
    page: &mut Page<'a, E>,
    family: Family,
    sources: &Rc<LabelledSources<'a>>,
    counts: fn(&StatsdbStats) -> &CountsByReason,
) {
    each(page, family, sources, move |out, label, source| {
        for (reason, &count) in source.stats.statsdb.iter().flat_map(counts) {
            out.number(&[label, &out.label("reason", reason)], count);
        }
    });
}

/// Samples of each server, with the labels of its source and its own.
fn each_server<'a, E: Encode>(
    page: &mut Page<'a, E>,
    family: Family,
    servers: &Rc<[LabelledServer<'a>]>,
    add: impl Fn(&mut Samples<E>, [&Label; 2], &ServerView) + 'a,
) {
    let servers = Rc::clone(servers);
    page.add(family, move |out| {
        for (source, server) in &*servers {
            out.since(server.created);
            add(out, [source, &server.label], server.item);
        }
    });
}
