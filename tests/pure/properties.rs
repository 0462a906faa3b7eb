//! Whatever is published: no panic, no counter falls, nonsense is counted with its reason and changes nothing else,
//! and what valid lives report is counted to the byte in between.
//!
//! Bytes in, page out, through the library's own way of a message. The table alone is tested in `src/state/tests`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::common::models::hostile::message;
use crate::common::readers::page::Page;
use coturn_exporter::app::ingest::{Ingest, SharedTable};
use coturn_exporter::clock::{Clock, ManualClock, Timestamp};
use coturn_exporter::metrics::{Format, MetricsPage, Render};
use coturn_exporter::state::{Settings, SourceId};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

const SOURCE: SourceId = SourceId(0);

/// An exporter without a network.
struct Bench {
    clock: Arc<ManualClock>,
    shared: SharedTable,
    page: MetricsPage,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000)));
        let ingest =
            Ingest::new(Settings { max_realms: 5, max_servers: 3, ..Settings::default() }, &["bench"]);
        let shared = SharedTable::new(ingest, Arc::clone(&clock) as Arc<dyn Clock>);
        shared.lock().link_up(clock.now(), SOURCE);
        let page = MetricsPage::of_capture(shared.clone());
        Self { clock, shared, page }
    }

    /// Whether the message was understood.
    fn publish(&self, channel: &[u8], payload: &[u8]) -> bool {
        self.shared.lock().message(self.clock.now(), SOURCE, channel, payload).is_ok()
    }

    fn wait(&self, millis: u64) {
        self.clock.set(self.clock.now().plus(Duration::from_millis(millis)));
    }

    fn text(&self) -> String {
        String::from_utf8(self.page.render(Format::Text)).unwrap()
    }

    fn page(&self) -> Page {
        Page::parse(&self.text())
    }
}

/// What may only rise.
fn counters(page: &Page) -> BTreeMap<String, f64> {
    let rising = page.iter().filter(|(series, _)| page.is_cumulative(series));
    rising.map(|(series, value)| (series.to_string(), value)).collect()
}

fn config() -> ProptestConfig {
    let failure_persistence = Some(Box::new(FileFailurePersistence::WithSource("regressions")) as Box<_>);
    ProptestConfig { cases: 40, failure_persistence, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn hostile_streams_break_nothing(messages in prop::collection::vec((0..100_000_u64, message()), 1..60)) {
        let bench = Bench::new();
        let mut before = BTreeMap::new();
        for some in messages.chunks(4) {
            for (pause, (channel, payload)) in some {
                bench.wait(*pause);
                bench.publish(channel, payload);
            }
            let page = bench.page();
            let after = counters(&page);
            for (series, value) in &before {
                prop_assert!(after.get(series) >= Some(value), "{series}: {value} then {:?}", after.get(series));
            }
            before = after;
            for realm in page.label_values("coturn_allocations", "realm") {
                let of = |name: &str| page.sum(name, &[("realm", &realm)]);
                let live = of("coturn_allocations_opened_total") + of("coturn_allocations_adopted_total")
                    - of("coturn_allocations_closed_total");
                prop_assert!((of("coturn_allocations") - live).abs() < 0.5, "{realm}: {live}");
            }
        }
    }

    #[test]
    fn nonsense_is_counted_and_changes_nothing_else(lines in prop::collection::vec(message(), 1..60)) {
        let bench = Bench::new();
        for (channel, payload) in &lines {
            let before = bench.text();
            if bench.publish(channel, payload) {
                continue;
            }
            let after = bench.text();
            let differing = before.lines().zip(after.lines()).filter(|(before, after)| before != after);
            let differing: Vec<_> = differing.collect();
            prop_assert_eq!(before.lines().count(), after.lines().count());
            prop_assert_eq!(differing.len(), 1, "{:?}", differing);
            prop_assert!(differing[0].0.starts_with("coturn_exporter_rejected_messages_total{"), "{:?}", differing);
        }
    }

    /// Honest lives between the nonsense: their realm's numbers are theirs to the byte.
    #[test]
    fn an_honest_realm_is_exact_among_strangers(
        reports in prop::collection::vec((1..2000_u64, 1..3_000_000_u64), 1..20),
        noise in prop::collection::vec(message(), 0..40),
    ) {
        let bench = Bench::new();
        let tell = |kind: &str, payload: &str| {
            let channel = format!("turn/realm/honest.example/user/bob/allocation/000000000000000009/{kind}");
            assert!(bench.publish(channel.as_bytes(), payload.as_bytes()), "{channel} {payload}");
        };
        tell("status", "new lifetime=600");
        let (mut packets, mut bytes) = (0, 0);
        let mut noise = noise.iter().cycle();
        for &(more_packets, more_bytes) in &reports {
            if let Some((channel, payload)) = noise.next()
                && !channel.starts_with(b"turn/realm/honest.example/")
            {
                bench.publish(channel, payload);
            }
            tell("traffic", &format!("rcvp={more_packets}, rcvb={more_bytes}, sentp=1, sentb=2"));
            (packets, bytes) = (packets + more_packets, bytes + more_bytes);
        }
        tell("status", "deleted");
        tell("total_traffic", &format!("rcvp={packets}, rcvb={bytes}, sentp={0}, sentb={1}", reports.len(), 2 * reports.len()));
        let page = bench.page();
        let labels = [("realm", "honest.example"), ("leg", "client"), ("direction", "received")];
        prop_assert_eq!(page.count("coturn_relayed_bytes_total", &labels), bytes);
        prop_assert_eq!(page.count("coturn_relayed_packets_total", &labels), packets);
        prop_assert_eq!(page.count("coturn_recovered_bytes_total", &labels), 0);
        prop_assert_eq!(page.count("coturn_allocations", &labels[..1]), 0);
    }
}
