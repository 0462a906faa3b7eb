//! Settings that change between two lives with one store: sources that come, go and change places, another meaning of a
//! session, fewer realms. No counter falls, and each byte is counted once: those of an allocation that a small table refuses
//! are `unallocated`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use crate::common::models::traffic::Traffic;
use crate::common::net::ports::Port;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::readers::page::{Page, Series};
use crate::common::readers::tally::Tally;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;

const REPORT: Traffic =
    Traffic { received_packets: 90, received_bytes: 1000, sent_packets: 80, sent_bytes: 500 };

/// A source, by its number here.
const FIRST: usize = 0;
const SECOND: usize = 1;
const LISTENER: usize = 2;

/// One life: its sources in their order, and its other flags.
struct Life {
    sources: &'static [usize],
    args: &'static [&'static str],
}

const LIVES: &[Life] = &[
    Life { sources: &[FIRST, SECOND], args: &[] },
    Life { sources: &[SECOND, FIRST], args: &[] },
    Life { sources: &[SECOND, FIRST, LISTENER], args: &["--session.by", "client"] },
    Life { sources: &[FIRST], args: &["--session.linger", "1m"] },
    Life { sources: &[FIRST, LISTENER], args: &["--metrics.max-realms", "1", "--metrics.max-servers", "1"] },
    Life {
        sources: &[LISTENER, SECOND],
        args: &["--metrics.realm", "named.example", "--allocation.max-count", "5"],
    },
    Life {
        sources: &[SECOND, FIRST, LISTENER],
        args: &["--allocation.idle-after", "1s", "--allocation.grace", "1s"],
    },
    Life { sources: &[FIRST, SECOND, LISTENER], args: &[] },
];

struct World {
    redis: [Redis; 2],
    port: Port,
    dir: TempDir,
}

impl World {
    fn begin(&self, life: &Life) -> Exporter {
        let store = self.dir.path().join("store").display().to_string();
        let mut args = vec!["--store.path".to_owned(), store];
        for &source in life.sources {
            match self.redis.get(source) {
                Some(redis) => args.extend(["--redis.url".to_owned(), redis.url(0)]),
                None => args.extend([
                    "--statsdb.listen-address".to_owned(),
                    format!("127.0.0.1:{}", self.port.number),
                ]),
            }
        }
        args.extend(life.args.iter().map(|&arg| arg.to_owned()));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let exporter = Exporter::start(&args);
        exporter.wait_ready();
        exporter
    }

    fn connect(&self, source: usize) -> Statsdb {
        match self.redis.get(source) {
            Some(redis) => Statsdb::connect(redis, 0),
            None => Statsdb::at(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number))),
        }
    }
}

#[test]
fn settings_change_between_lives_and_no_counter_falls() {
    for is_kill in [true, false] {
        let world = World {
            redis: [Redis::start(), Redis::start()],
            port: Port::claim(),
            dir: TempDir::new("settings"),
        };
        let (mut by_realm, mut by_source) = (Tally::default(), BTreeMap::<Series, f64>::new());
        let (mut bytes, mut id) = (0, 0);
        // One of each source that lives through all of it, and reports whenever somebody is there.
        let constant = [FIRST, SECOND, LISTENER].map(|source| {
            Allocation::new("constant.example", &format!("always{source}"), 1000 + source as u64)
        });
        let mut is_born = [false; 3];
        for (number, life) in LIVES.iter().enumerate() {
            println!("life {number}: {:?} {:?}", life.sources, life.args);
            let mut exporter = world.begin(life);
            look(&exporter.page(), &mut by_realm, &mut by_source);
            for &source in life.sources {
                let mut statsdb = world.connect(source);
                if !std::mem::replace(&mut is_born[source], true) {
                    statsdb.open(&constant[source], 3600);
                }
                id += 1;
                let another = Allocation::new(&format!("realm{number}.example"), &format!("user{id}"), id);
                statsdb.open(&another, 3600);
                for allocation in [&constant[source], &another] {
                    statsdb.report(allocation, REPORT, REPORT);
                    bytes += REPORT.received_bytes;
                }
                statsdb.close(&another, REPORT, REPORT);
            }
            let page = exporter.until("all to be counted", |page| {
                let of_allocations =
                    page.count("coturn_relayed_bytes_total", &[("leg", "client"), ("direction", "received")]);
                // Of an allocation that the small table refused.
                let of_refused = page.count("coturn_unallocated_bytes_total", &[("direction", "received")]);
                if of_allocations + of_refused == bytes {
                    return Ok(page.clone());
                }
                Err(format!("{of_allocations} and {of_refused} unallocated of {bytes}\n{}", exporter.log()))
            });
            let refused = page.count("coturn_exporter_refused_allocations_total", &[]);
            let unallocated = page.count("coturn_unallocated_bytes_total", &[("direction", "received")]);
            assert_eq!(unallocated, refused * REPORT.received_bytes, "{}", exporter.log());
            look(&page, &mut by_realm, &mut by_source);
            assert_eq!(page.count("coturn_unseen_bytes_total", &[]), 0);
            if is_kill {
                exporter.kill();
            } else {
                assert_eq!(
                    exporter.stop(rustix::process::Signal::TERM).code(),
                    Some(0),
                    "{}",
                    exporter.log()
                );
            }
        }
        by_realm.assert_nothing_fell("a scraper");
    }
}

/// What is told of a source comes and goes with it; where it is there it must not have fallen.
fn look(page: &Page, by_realm: &mut Tally, by_source: &mut BTreeMap<Series, f64>) {
    let (of_sources, others): (Vec<_>, Vec<_>) =
        page.cumulative().partition(|(series, _)| series.labels.contains_key("source"));
    by_realm.add_series(others);
    for (series, value) in of_sources {
        let before = by_source.insert(series.clone(), value).unwrap_or_default();
        assert!(value >= before, "{series} fell from {before} to {value}");
    }
}
