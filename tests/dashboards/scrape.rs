//! A real Prometheus reads the page: every value that it stores is the value on the page, and promtool has no
//! objection to a name, a help text or a type.

use std::collections::BTreeMap;
use std::io::Read;

use crate::common::models::traffic::{Legs, Traffic};
use crate::common::net::http;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::capture::{self, Message};
use crate::common::readers::page::{Page, Series};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::format_proxy;
use crate::common::servers::prometheus::{JOB, Prometheus, promtool_check};
use crate::common::servers::redis::Redis;
use flate2::read::GzDecoder;

const CAPTURE: &str = "mixed-4.6.1.jsonl";

/// Change without an event: the process is alive.
const ALIVE: [&str; 1] = ["process_"];

/// Moments. They are moved along with the wall clock, so a few milliseconds may lie between two pages.
const MOMENT: &str = "_timestamp_seconds";

/// What Prometheus adds about the scrape itself.
const OF_THE_SCRAPE: [&str; 2] = ["up", "scrape_"];

/// Plays the capture into Redis and leaves one more allocation open, so that gauges are not all 0.
fn feed(redis: &Redis, db: u8) -> Legs {
    let mut statsdb = Statsdb::connect(redis, db);
    let mut published = Legs::default();
    for Message { channel, payload } in capture::read(CAPTURE) {
        statsdb.tell(&channel, &payload);
        let traffic = || Traffic::parse(&payload).expect("four counters");
        if channel.ends_with(b"/traffic") {
            published.client += traffic();
        } else if channel.ends_with(b"/traffic/peer") {
            published.peer += traffic();
        }
    }
    let open = Allocation::new("example.org", "erin", 77);
    statsdb.open(&open, 600);
    published
}

/// The page of the fed capture is right.
fn until_counted(exporter: &Exporter, published: &Legs) {
    exporter.until("all of the capture to be counted", |page| {
        let mut differences = Vec::new();
        let live = page.count("coturn_allocations", &[]);
        if live != 1 {
            differences.push(format!("{live} allocations are live"));
        }
        for (leg, traffic) in [("client", published.client), ("peer", published.peer)] {
            for (direction, bytes, packets) in [
                ("received", traffic.received_bytes, traffic.received_packets),
                ("sent", traffic.sent_bytes, traffic.sent_packets),
            ] {
                let labels = [("realm", "example.org"), ("leg", leg), ("direction", direction)];
                let seen = (
                    page.value("coturn_relayed_bytes_total", &labels),
                    page.value("coturn_relayed_packets_total", &labels),
                );
                if seen != (Some(bytes as f64), Some(packets as f64)) {
                    differences.push(format!("{labels:?}: page {seen:?}, capture {bytes}, {packets}"));
                }
            }
        }
        if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
    });
}

/// Waits until it has stored the page as it is; series for which `is_left_out` do not count.
fn until_stored(prometheus: &Prometheus, exporter: &Exporter, is_left_out: impl Fn(&Series) -> bool) {
    poll::until(PATIENCE, "prometheus to have stored the page", || {
        let page: BTreeMap<Series, f64> =
            exporter.page().iter().map(|(series, value)| (series.as_stored(), value)).collect();
        let stored: BTreeMap<Series, f64> = prometheus
            .query(&format!("{{job=\"{JOB}\"}}"))
            .into_iter()
            .filter(|(series, _)| !OF_THE_SCRAPE.iter().any(|prefix| series.name.starts_with(prefix)))
            .map(|(series, value)| (without_target(series).as_stored(), value))
            .collect();
        let differences: Vec<String> = page
            .keys()
            .chain(stored.keys().filter(|series| !page.contains_key(series)))
            .filter(|series| !is_left_out(series))
            .filter(|series| !agree(series, page.get(series).copied(), stored.get(series).copied()))
            .map(|series| format!("{series}: page {:?}, stored {:?}", page.get(series), stored.get(series)))
            .collect();
        assert!(page.len() > 100, "{} series are hardly the page", page.len());
        if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
    });
    // The scrape itself went well, each time.
    let up = prometheus.query(&format!("min_over_time(up{{job=\"{JOB}\"}}[10m])"));
    assert!(up.len() == 1 && up.values().all(|up| *up > 0.0), "{up:?}");
}

#[test]
fn prometheus_stores_every_value_of_the_page_in_each_format_of_text() {
    let redis = Redis::start();
    let exporter = Exporter::watching(&redis.url(0));
    let formats = [
        "text/plain;version=0.0.4",
        "text/plain;version=1.0.0;escaping=underscores",
        "application/openmetrics-text;version=1.0.0",
        "application/openmetrics-text;version=0.0.1",
    ];
    let prometheuses = formats
        .map(|accept| (accept, Prometheus::scraping(format_proxy::asking_for(accept, exporter.address))));
    let published = feed(&redis, 0);
    until_counted(&exporter, &published);
    for (accept, prometheus) in &prometheuses {
        println!("{accept}");
        until_stored(prometheus, &exporter, |_| false);
    }
}

#[test]
fn prometheus_stores_native_histograms_and_their_quantiles_agree_with_the_classic_ones() {
    let redis = Redis::start();
    let exporter = Exporter::watching(&redis.url(0));
    let prometheus = Prometheus::scraping_natively(exporter.address);
    let published = feed(&redis, 0);
    until_counted(&exporter, &published);
    let natively = |series: &Series| {
        // Prometheus before 2.45 takes either kind of buckets, and these families have native ones.
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| series.name.strip_suffix(suffix));
        let is_native = |name: &str| name.ends_with("_duration_seconds") || name.ends_with("_relayed_bytes");
        is_native(family.unwrap_or(&series.name))
            && exporter.page().is_histogram(family.unwrap_or(&series.name))
    };
    until_stored(&prometheus, &exporter, natively);

    let page = exporter.page();
    let mut compared = 0;
    for family in ["coturn_allocation_duration_seconds", "coturn_session_relayed_bytes"] {
        let count = page.count(&format!("{family}_count"), &[]);
        let stored = prometheus.query(&format!("sum(histogram_count({family}))"));
        assert!(count > 0 && stored.values().eq([&(count as f64)]), "{family}: {stored:?}, not {count}");
        for quantile in [0.1, 0.5, 0.9] {
            let native = prometheus.query(&format!("histogram_quantile({quantile}, sum({family}))"));
            let native = *native.values().next().expect("a quantile");
            let (above, up_to) = classic_bucket(&page, family, quantile * count as f64);
            // A native bucket that a bound of the classic ones cuts may hold both sides: 9 % of it.
            let slack = 2_f64.powf(0.125);
            assert!(
                (above / slack..=up_to * slack).contains(&native),
                "{family} {quantile}: {native}, {above}..{up_to}"
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 6);
}

/// The classic bucket in which the observation of that rank is, over all label sets: its bounds.
fn classic_bucket(page: &Page, family: &str, rank: f64) -> (f64, f64) {
    let mut counts: BTreeMap<u64, f64> = BTreeMap::new();
    for (series, value) in page.named(&format!("{family}_bucket")) {
        let bound = series.labels["le"].parse::<f64>().expect("a bound");
        // Positive numbers are in the order of their bits.
        *counts.entry(bound.to_bits()).or_default() += value;
    }
    let mut above = 0.0;
    for (bound, count) in counts {
        let bound = f64::from_bits(bound);
        if count >= rank {
            return (above, bound);
        }
        above = bound;
    }
    panic!("no bucket has {rank} of {family}")
}

/// Without the labels that Prometheus adds to tell targets apart.
fn without_target(mut series: Series) -> Series {
    series.labels.remove("job");
    series.labels.remove("instance");
    series
}

fn agree(series: &Series, page: Option<f64>, stored: Option<f64>) -> bool {
    let (Some(page), Some(stored)) = (page, stored) else { return false };
    if ALIVE.iter().any(|prefix| series.name.starts_with(prefix)) {
        return true;
    }
    let tolerance = if series.name.ends_with(MOMENT) { 1.0 } else { 0.0 };
    // Not `==`: two NaN agree as well.
    (page - stored).abs() <= tolerance || page.to_bits() == stored.to_bits()
}

#[test]
fn the_page_comes_in_gzip_to_whom_asks_for_it() {
    let redis = Redis::start();
    let exporter = Exporter::watching(&redis.url(0));
    feed(&redis, 0);
    exporter.until("an allocation to be live", |page| match page.count("coturn_allocations", &[]) {
        1 => Ok(()),
        live => Err(format!("{live} are")),
    });
    let get = |header| http::get_bytes_with(exporter.address, "/metrics", header).expect("an answer");
    // What changes without an event is left out.
    let lines = |body: &[u8]| -> Vec<String> {
        let text = std::str::from_utf8(body).expect("text").lines();
        text.filter(|line| line.starts_with("coturn_relayed_") || line.starts_with('#'))
            .map(Into::into)
            .collect()
    };

    let plain = get("Accept-Encoding: identity");
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(plain.header("vary"), Some("Accept, Accept-Encoding"));
    let packed = get("Accept-Encoding: gzip");
    assert_eq!((packed.status, packed.header("content-encoding")), (200, Some("gzip")));
    assert_eq!(packed.header("vary"), Some("Accept, Accept-Encoding"));
    assert!(packed.body.len() < plain.body.len() / 3, "{} of {}", packed.body.len(), plain.body.len());
    let mut unpacked = Vec::new();
    GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).expect("gzip");
    assert_eq!(lines(&unpacked), lines(&plain.body));
    assert!(lines(&plain.body).len() > 100);

    // Too short to be worth it.
    let healthy = http::get_with(exporter.address, "/-/healthy", "Accept-Encoding: gzip").expect("an answer");
    assert_eq!((&*healthy.body, healthy.header("content-encoding")), ("healthy\n", None));
}

#[test]
fn promtool_has_no_objection() {
    let redis = Redis::start();
    let exporter = Exporter::watching(&redis.url(0));
    let fresh = exporter.text();
    feed(&redis, 0);
    exporter.until("the capture to be counted", |page| match page.count("coturn_allocations", &[]) {
        1 => Ok(()),
        live => Err(format!("{live} allocations are live")),
    });
    for page in [fresh, exporter.text()] {
        let (content, said) = promtool_check(&page);
        assert!(content && said.is_empty(), "promtool says:\n{said}\nof\n{page}");
    }
}
