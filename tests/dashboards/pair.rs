//! A hot pair: two exporters on one Redis, one with a store and one without, killed in turns, in a real Prometheus with
//! the rules of `coturn.fleet.rules.yaml`. What the rules add up is never more than what happened, and between two
//! failovers exactly that.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::common::models::traffic::Traffic;
use crate::common::net::ports::Port;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::fleet::{Fleet, Totals};
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;

const REALM: &str = "one.example";
const FAILOVERS: usize = 10;
const NAMES: [&str; 2] = ["a", "b"];

/// What each report says of either leg.
const REPORT: Traffic =
    Traffic { received_packets: 2000, received_bytes: 340_000, sent_packets: 2096, sent_bytes: 360_000 };

/// A coturn, and what it has published.
struct Service {
    statsdb: Statsdb,
    next_id: u64,
    truth: Totals,
    messages: u64,
    live: Vec<(Allocation, u64)>,
}

impl Service {
    fn open(&mut self) {
        self.next_id += 1;
        let call = Allocation::new(REALM, &format!("user{}", self.next_id), self.next_id);
        self.statsdb.open(&call, 3600);
        self.messages += 1;
        self.truth.opened += 1;
        self.live.push((call, 0));
    }

    /// A report of the call that began last.
    fn report(&mut self) {
        let (call, reports) = self.live.last_mut().expect("a call");
        self.statsdb.report(call, REPORT, REPORT);
        *reports += 1;
        self.messages += 2;
        self.truth.bytes += REPORT.sent_bytes;
    }

    fn close(&mut self, index: usize) {
        let (call, reports) = self.live.remove(index);
        self.statsdb.close(&call, REPORT * reports, REPORT * reports);
        self.messages += 5;
        self.truth.closed += 1;
    }

    /// Calls that come and go.
    fn calls(&mut self, count: u64) {
        for reports in 0..count {
            self.open();
            for _ in 0..=reports {
                self.report();
            }
            self.close(self.live.len() - 1);
        }
    }
}

struct Member {
    exporter: Exporter,
    port: Port,
    args: Vec<String>,
    /// Messages on its page when it was there, and published until then.
    since: (u64, u64),
}

impl Member {
    fn start(port: Port, args: Vec<String>, published: u64) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number));
        let exporter = Exporter::start_at(address, &args.iter().map(String::as_str).collect::<Vec<_>>());
        exporter.wait_ready();
        let since = (exporter.page().count("coturn_exporter_messages_total", &[]), published);
        Self { exporter, port, args, since }
    }

    /// Waits until it has counted all that was published.
    fn catch_up(&self, service: &Service) {
        let wanted = self.since.0 + (service.messages - self.since.1);
        self.exporter.until("all messages to be counted", |page| {
            let seen = page.count("coturn_exporter_messages_total", &[]);
            if seen == wanted { Ok(()) } else { Err(format!("{seen} of {wanted}")) }
        });
    }
}

/// The one that counts, by the rule.
fn until_primary(fleet: &Fleet, name: &str) {
    poll::until(PATIENCE, &format!("replica {name} to be the one that counts"), || {
        let primary = fleet.prometheus.query("instance:coturn_exporter_primary:topk");
        let names: Vec<_> = primary.keys().map(|series| series.labels["replica"].clone()).collect();
        if names == [name] { Ok(()) } else { Err(format!("{names:?}")) }
    });
}

fn until_both_are_scraped(fleet: &Fleet) {
    poll::until(PATIENCE, "both to be scraped", || {
        match fleet.prometheus.query("coturn_exporter_source_up == 1").len() {
            2 => Ok(()),
            other => Err(other.to_string()),
        }
    });
}

#[test]
fn ten_failovers_count_nothing_twice() {
    let redis = Redis::start();
    let dir = TempDir::new("pair");
    let args = |more: &[String]| [&["--redis.url".to_owned(), redis.url(0)], more].concat();
    let store = format!("--store.path={}", dir.path().join("store").display());
    let mut pair = [vec![store], vec![]].map(|more| Some(Member::start(Port::claim(), args(&more), 0)));
    let targets: Vec<_> = NAMES
        .iter()
        .zip(&pair)
        .map(|(name, member)| {
            let address = member.as_ref().expect("just started").exporter.address;
            (address, format!("{{cluster: c, instance: pair, replica: {name}}}"))
        })
        .collect();
    let fleet = Fleet::of(&targets);
    let mut service = Service {
        statsdb: Statsdb::connect(&redis, 0),
        next_id: 0,
        truth: Totals::default(),
        messages: 0,
        live: Vec::new(),
    };
    until_both_are_scraped(&fleet);
    until_primary(&fleet, NAMES[0]);
    fleet.settle();

    let mut counted = Totals::default();
    let mut lost = Totals::default();
    for turn in 0..FAILOVERS {
        let [dying, living] = [turn % 2, 1 - turn % 2];
        // Quiet: all of it, by whoever counts now. A call of two failovers ago ends; one of the two missed a part of it.
        let before = service.truth;
        service.calls(3);
        if service.live.len() > 2 {
            service.close(0);
        }
        // It relays on while one of the two is not there, which had counted it before.
        service.open();
        service.report();
        for member in pair.iter().flatten() {
            member.catch_up(&service);
        }
        fleet.settle();
        let now = fleet.totals();
        assert_eq!(now - counted, service.truth - before, "turn {turn}: between two failovers");
        counted = now;

        // At another moment of the interval each time.
        poll::pass(Duration::from_millis(700 * turn as u64 % 2000));

        // The one that counts is killed in the middle of calls.
        let before = service.truth;
        service.report();
        service.calls(2);
        let mut member = pair[dying].take().expect("it is there");
        member.exporter.kill();
        service.report();
        service.calls(1);
        until_primary(&fleet, NAMES[living]);
        service.calls(2);
        pair[living].as_ref().expect("it lives").catch_up(&service);
        fleet.settle();
        let now = fleet.totals();
        let happened = service.truth - before;
        assert!(now.is_at_least(counted), "turn {turn}: {now:?} after {counted:?}");
        let seen = now - counted;
        assert!(happened.is_at_least(seen), "turn {turn}: {seen:?} were counted of {happened:?}");
        lost = lost + (happened - seen);
        counted = now;
        assert_eq!(fleet.live(), service.live.len() as u64, "turn {turn}");

        let Member { port, args, exporter, .. } = member;
        drop(exporter);
        pair[dying] = Some(Member::start(port, args, service.messages));
        until_both_are_scraped(&fleet);
        until_primary(&fleet, NAMES[living]);
        assert_eq!(fleet.live(), service.live.len() as u64, "turn {turn}");
    }
    println!("of {:?} the rules counted {counted:?} and lost {lost:?}", service.truth);
    assert!(service.truth.is_at_least(counted));
    // The store has brought back what its exporter missed, and the rules have left it out.
    let recovered =
        pair[0].as_ref().expect("it is there").exporter.page().sum("coturn_recovered_bytes_total", &[]);
    assert!(recovered > 0.0);
}
