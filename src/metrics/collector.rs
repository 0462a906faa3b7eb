//! From the table's snapshot to metric families. Gauges and counters are made here, for one scrape, out of one
//! snapshot; no number is stored between scrapes, so nothing can drift and two scrapes cannot race.

use std::time::Duration;

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::names::{self, Family, FamilyType};
use crate::clock::{Timestamp, WallTime};
use crate::state::{
    self, ALLOCATIONS_BUCKETS, Anomaly, BYTES_BUCKETS, Cause, DURATION_BUCKETS, LongLifetime, Orphan,
    Outcome, RealmView, ServerView, Snapshot, SourceStats, SourceView, StatsdbStats,
};
use crate::wire::{ByLeg, Direction, Kind, Leg, Rejection, Traffic, Transport, Volume};

/// Everything on one page about coturn and the sources, as of one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// The table.
    pub table: Snapshot,
    /// The store; `None` without one.
    pub store: Option<StoreFigures>,
    /// The wall clock at that moment; time stamps are moved onto it.
    pub wall: Timestamp,
}

/// How the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFigures {
    /// All that is answered is in it, and its directory is as it was.
    pub is_ok: bool,
    /// What its files take on the disk.
    pub bytes: u64,
    /// When the newest snapshot was made, by the wall clock.
    pub last_snapshot: Option<Timestamp>,
}

/// The families of a view.
pub(super) fn families(view: &View) -> Vec<MetricFamily> {
    let mut page =
        Page { wall: view.wall, now: view.table.now, families: Vec::with_capacity(names::ALL.len()) };
    allocations(&mut page, &view.table.realms);
    sessions(&mut page, &view.table.realms);
    traffic(&mut page, &view.table);
    servers(&mut page, &view.table.servers);
    sources(&mut page, &view.table.sources);
    table(&mut page, &view.table);
    store(&mut page, view.store);
    page.families
}

fn store(page: &mut Page, store: Option<StoreFigures>) {
    let Some(StoreFigures { is_ok, bytes, last_snapshot }) = store else { return };
    page.add(names::STORE_OK, |out| out.number(&[], u64::from(is_ok)));
    page.add(names::STORE_BYTES, |out| out.number(&[], bytes));
    page.add(names::STORE_LAST_SNAPSHOT, |out| {
        if let Some(moment) = last_snapshot {
            out.value(&[], moment.as_secs_f64());
        }
    });
}

fn allocations(page: &mut Page, realms: &[RealmView]) {
    page.add(names::ALLOCATIONS, |out| {
        each(realms, &Transport::ALL, |realm, transport, at| {
            out.number(&[&realm.label, transport.as_str()], realm.series.live.get(at));
        });
    });
    page.add(names::ALLOCATIONS_OPENED, |out| {
        each(realms, &Transport::ALL, |realm, transport, at| {
            out.number(&[&realm.label, transport.as_str()], realm.series.opened.get(at));
        });
    });
    page.by_realm(names::ALLOCATIONS_ADOPTED, realms, |realm| realm.series.adopted);
    page.add(names::ALLOCATIONS_CLOSED, |out| {
        each(realms, &Cause::ALL, |realm, cause, at| {
            out.number(&[&realm.label, cause.as_str()], realm.series.closed.get(at));
        });
    });
    page.by_realm(names::ALLOCATIONS_RELAYED, realms, |realm| realm.series.relayed_allocations);
    page.by_realm(names::ALLOCATION_REFRESHES, realms, |realm| realm.series.refreshes);
    page.add(names::ALLOCATION_DURATION, |out| {
        for realm in realms {
            out.durations(&[&realm.label], &realm.series.allocation_durations);
        }
    });
    page.by_realm(names::ALLOCATIONS_OVER_MAX_LIFETIME, realms, |realm| realm.series.over_max_lifetime);
    page.add(names::ORPHANED_ALLOCATIONS, |out| {
        each(realms, &Orphan::ALL, |realm, reason, at| {
            out.number(&[&realm.label, reason.as_str()], realm.series.orphans.get(at));
        });
    });
    page.add(names::ALLOCATIONS_ORPHANED, |out| {
        each(realms, &Orphan::ALL, |realm, reason, at| {
            out.number(&[&realm.label, reason.as_str()], realm.series.orphaned.get(at));
        });
    });
    page.add(names::OLDEST_ALLOCATION, |out| {
        for realm in realms {
            out.moment(&[&realm.label], realm.oldest_allocation);
        }
    });
}

fn sessions(page: &mut Page, realms: &[RealmView]) {
    page.add(names::OLDEST_SESSION, |out| {
        for realm in realms {
            out.moment(&[&realm.label], realm.oldest_session);
        }
    });
    page.by_realm(names::SESSIONS, realms, |realm| realm.series.sessions);
    page.by_realm(names::SESSIONS_OPENED, realms, |realm| realm.series.sessions_opened);
    page.by_realm(names::SESSIONS_ADOPTED, realms, |realm| realm.series.sessions_adopted);
    page.add(names::SESSIONS_CLOSED, |out| {
        each(realms, &Outcome::ALL, |realm, path, at| {
            out.number(&[&realm.label, path.as_str()], realm.series.sessions_closed.get(at));
        });
    });
    page.add(names::SESSION_DURATION, |out| {
        for realm in realms {
            for (path, durations) in Outcome::ALL.iter().zip(&realm.series.session_durations) {
                out.durations(&[&realm.label, path.as_str()], durations);
            }
        }
    });
    page.add(names::SESSION_RELAY_DURATION, |out| {
        for realm in realms {
            out.durations(&[&realm.label], &realm.series.session_relay_durations);
        }
    });
    page.add(names::SESSION_RELAYED_BYTES, |out| {
        for realm in realms {
            out.counts(&[&realm.label], &BYTES_BUCKETS, &realm.series.session_bytes);
        }
    });
    page.add(names::SESSION_ALLOCATIONS, |out| {
        for realm in realms {
            out.counts(&[&realm.label], &ALLOCATIONS_BUCKETS, &realm.series.session_allocations);
        }
    });
}

fn traffic(page: &mut Page, table: &Snapshot) {
    type TrafficOf = fn(&RealmView) -> &ByLeg<Traffic>;
    let by_leg: [(Family, Family, TrafficOf); 3] = [
        (names::RELAYED_BYTES, names::RELAYED_PACKETS, |realm| &realm.series.relayed),
        (names::RECOVERED_BYTES, names::RECOVERED_PACKETS, |realm| &realm.series.recovered),
        (names::UNSEEN_BYTES, names::UNSEEN_PACKETS, |realm| &realm.series.unseen),
    ];
    let units: [fn(Volume) -> u64; 2] = [|volume| volume.bytes, |volume| volume.packets];
    for (bytes, packets, of_realm) in by_leg {
        for (family, unit) in [bytes, packets].into_iter().zip(units) {
            page.add(family, |out| {
                for realm in &table.realms {
                    for leg in Leg::ALL {
                        for direction in Direction::ALL {
                            let volume = of_realm(realm).get(leg).get(direction);
                            out.number(&[&realm.label, leg.as_str(), direction.as_str()], unit(volume));
                        }
                    }
                }
            });
        }
    }
    for (family, unit) in [names::UNALLOCATED_BYTES, names::UNALLOCATED_PACKETS].into_iter().zip(units) {
        page.add(family, |out| {
            for direction in Direction::ALL {
                out.number(&[direction.as_str()], unit(table.unallocated.get(direction)));
            }
        });
    }
}

fn servers(page: &mut Page, servers: &[ServerView]) {
    page.add(names::SERVER_ALLOCATIONS, |out| {
        for server in servers {
            out.number(&[&server.source, &server.label], server.live);
        }
    });
    page.add(names::SERVER_LAST_SEEN, |out| {
        for server in servers {
            out.moment(&[&server.source, &server.label], Some(server.last_seen));
        }
    });
    page.add(names::SERVER_CLOSED, |out| {
        for server in servers {
            for (at, cause) in Cause::ALL.iter().enumerate() {
                out.number(&[&server.source, &server.label, cause.as_str()], server.closed.get(at));
            }
        }
    });
}

fn sources(page: &mut Page, sources: &[SourceView]) {
    let now = page.now;
    page.by_source(names::SOURCE_UP, sources, |source| Some(f64::from(u8::from(source.up))));
    page.by_source(names::SOURCE_ALLOCATIONS, sources, |source| Some(source.live as f64));
    page.add(names::MESSAGES, |out| {
        for SourceView { name, stats, .. } in sources {
            for (kind, &count) in Kind::ALL.iter().zip(&stats.messages) {
                out.number(&[name, kind.as_str()], count);
            }
        }
    });
    page.add(names::REJECTED_MESSAGES, |out| {
        for SourceView { name, stats, .. } in sources {
            for (reason, &count) in Rejection::ALL.iter().zip(&stats.rejected) {
                out.number(&[name, reason.as_str()], count);
            }
        }
    });
    page.by_source(names::DROPPED_MESSAGES, sources, |_| Some(0.0));
    page.by_source(names::GAPS, sources, |SourceView { stats, .. }| Some(stats.gaps as f64));
    page.by_source(names::GAP_SECONDS, sources, |SourceView { stats, .. }| {
        Some(stats.gap_time(now).as_secs_f64())
    });
    page.add(names::LAST_MESSAGE, |out| {
        for SourceView { name, stats, .. } in sources {
            out.moment(&[name], stats.last_message);
        }
    });
    page.add(names::LONG_LIFETIMES, |out| {
        for source in sources {
            for (at, outcome) in LongLifetime::ALL.iter().enumerate() {
                out.number(&[&source.name, outcome.as_str()], source.long_lifetimes.get(at));
            }
        }
    });
    page.by_source(names::RESYNCS, sources, |SourceView { stats, .. }| Some(stats.resyncs as f64));
    page.by_source(names::RESYNC_DURATION, sources, |SourceView { stats, .. }| {
        stats.resync_duration.map(|took| took.as_secs_f64())
    });
    page.by_source(names::RESYNC_OK, sources, |SourceView { stats, .. }| {
        stats.resync_ok.map(|ok| f64::from(u8::from(ok)))
    });
    page.add(names::STATUS_KEYS, |out| {
        for SourceView { name, stats, .. } in sources {
            if let Some(keys) = stats.status_keys {
                out.number(&[name, "live"], keys.live);
                out.number(&[name, "stale"], keys.stale);
            }
        }
    });
    statsdb(page, sources);
    page.add(names::REDIS_SETTING_OK, |out| {
        for SourceView { name, stats, .. } in sources {
            for (setting, &ok) in &stats.settings_ok {
                out.number(&[name, setting], u64::from(ok));
            }
        }
    });
}

fn statsdb(page: &mut Page, sources: &[SourceView]) {
    fn statsdb(stats: &SourceStats) -> Option<&StatsdbStats> {
        stats.statsdb.as_ref()
    }
    let forward = |stats: &SourceStats| statsdb(stats).and_then(StatsdbStats::forwarded);
    page.by_source(names::STATSDB_CONNECTIONS, sources, |SourceView { stats, .. }| {
        Some(statsdb(stats)?.connections as f64)
    });
    page.add(names::STATSDB_TURNED_AWAY, |out| {
        for SourceView { name, stats, .. } in sources {
            for (reason, &count) in stats.statsdb.iter().flat_map(|statsdb| &statsdb.refused_connections) {
                out.number(&[name, reason], count);
            }
        }
    });
    page.add(names::STATSDB_REFUSED, |out| {
        for SourceView { name, stats, .. } in sources {
            for (reason, &count) in stats.statsdb.iter().flat_map(|statsdb| &statsdb.refused) {
                out.number(&[name, reason], count);
            }
        }
    });
    page.by_source(names::STATSDB_REFUSED_CLIENTS, sources, |SourceView { stats, .. }| {
        Some(statsdb(stats)?.refused_clients as f64)
    });
    page.by_source(names::STATSDB_COTURN_SEEN, sources, |SourceView { stats, .. }| {
        Some(f64::from(u8::from(statsdb(stats)?.coturn_seen)))
    });
    page.by_source(names::FORWARD_UP, sources, |SourceView { stats, .. }| {
        Some(f64::from(u8::from(forward(stats)?.up)))
    });
    page.by_source(names::FORWARDED, sources, |SourceView { stats, .. }| Some(forward(stats)?.sent as f64));
    page.by_source(names::FORWARD_DROPPED, sources, |SourceView { stats, .. }| {
        Some(forward(stats)?.dropped as f64)
    });
    page.by_source(names::FORWARD_WITHHELD, sources, |SourceView { stats, .. }| {
        Some(forward(stats)?.withheld as f64)
    });
}

fn table(page: &mut Page, table: &Snapshot) {
    page.add(names::ANOMALIES, |out| {
        for (at, kind) in Anomaly::ALL.iter().enumerate() {
            out.number(&[kind.as_str()], table.anomalies.get(at));
        }
    });
    page.add(names::FOLDED_LABEL_VALUES, |out| {
        out.number(&["realm"], table.folded_realms);
        out.number(&["server"], table.folded_servers);
    });
    page.add(names::REFUSED_ALLOCATIONS, |out| out.number(&[], table.refused));
    page.add(names::EVICTED_ALLOCATIONS, |out| out.number(&[], table.evicted));
}

/// Each realm with each of `all`, and its place there.
fn each<T, const N: usize>(realms: &[RealmView], all: &[T; N], mut add: impl FnMut(&RealmView, &T, usize)) {
    for realm in realms {
        for (at, one) in all.iter().enumerate() {
            add(realm, one, at);
        }
    }
}

/// The page in the making.
#[derive(Default)]
pub(super) struct Page {
    pub(super) wall: Timestamp,
    pub(super) now: Timestamp,
    pub(super) families: Vec<MetricFamily>,
}

impl Page {
    /// One family with the samples that `fill` adds; left out if there are none.
    pub(super) fn add(&mut self, family: Family, fill: impl FnOnce(&mut Samples)) {
        let mut samples = Samples { family, wall: self.wall, now: self.now, metrics: Vec::new() };
        fill(&mut samples);
        let mut out = MetricFamily::default();
        out.set_name(family.name.to_owned());
        out.set_help(family.help.to_owned());
        out.set_field_type(match family.kind {
            FamilyType::Counter => MetricType::COUNTER,
            FamilyType::Gauge => MetricType::GAUGE,
            FamilyType::Histogram => MetricType::HISTOGRAM,
        });
        out.set_metric(samples.metrics);
        self.families.push(out);
    }

    fn by_realm(&mut self, family: Family, realms: &[RealmView], value: impl Fn(&RealmView) -> u64) {
        self.add(family, |out| {
            for realm in realms {
                out.number(&[&realm.label], value(realm));
            }
        });
    }

    fn by_source(
        &mut self,
        family: Family,
        sources: &[SourceView],
        value: impl Fn(&SourceView) -> Option<f64>,
    ) {
        self.add(family, |out| {
            for source in sources {
                if let Some(value) = value(source) {
                    out.value(&[&source.name], value);
                }
            }
        });
    }
}

/// The samples of one family in the making.
pub(super) struct Samples {
    family: Family,
    wall: Timestamp,
    now: Timestamp,
    metrics: Vec<Metric>,
}

impl Samples {
    pub(super) fn number(&mut self, labels: &[&str], value: u64) {
        self.value(labels, value as f64);
    }

    pub(super) fn value(&mut self, labels: &[&str], value: f64) {
        let mut metric = self.labelled(labels);
        if self.family.kind == FamilyType::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.metrics.push(metric);
    }

    /// A moment, moved onto the wall clock; an undefined one is absent.
    fn moment(&mut self, labels: &[&str], moment: Option<Timestamp>) {
        if let Some(moment) = moment {
            let times = WallTime { now: self.now, wall: self.wall };
            self.value(labels, times.of(moment).as_secs_f64());
        }
    }

    fn durations(&mut self, labels: &[&str], durations: &state::Durations) {
        self.histogram(
            labels,
            &DURATION_BUCKETS,
            durations,
            Duration::from_millis(durations.sum()).as_secs_f64(),
        );
    }

    fn counts<const N: usize>(&mut self, labels: &[&str], edges: &[u64; N], counts: &state::Histogram<N>) {
        self.histogram(labels, edges, counts, counts.sum() as f64);
    }

    fn histogram<const N: usize>(
        &mut self,
        labels: &[&str],
        edges: &[u64; N],
        counts: &state::Histogram<N>,
        sum: f64,
    ) {
        let buckets = edges.iter().zip(counts.cumulative()).map(|(&edge, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(edge as f64);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.count());
        histogram.set_sample_sum(sum);
        let mut metric = self.labelled(labels);
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }

    fn labelled(&self, values: &[&str]) -> Metric {
        debug_assert_eq!(values.len(), self.family.labels.len(), "{}", self.family.name);
        let pairs = self.family.labels.iter().zip(values).map(|(&name, &value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        });
        Metric::from_label(pairs.collect())
    }
}
