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

/// Both of them, the coturn that they watch, and a Prometheus with the rules.
struct Stage {
    fleet: Fleet,
    service: Service,
    pair: [Option<Member>; 2],
    counted: Totals,
    _dir: TempDir,
}

impl Stage {
    fn new(redis: &Redis) -> Self {
        let dir = TempDir::new("pair");
        let store = format!("--store.path={}", dir.path().join("store").display());
        let pair = [vec![store], vec![]].map(|more| {
            let args = [vec!["--redis.url".to_owned(), redis.url(0)], more].concat();
            Member::start(Port::claim(), args, 0)
        });
        let target = |(name, member): (&&str, &Member)| {
            (member.exporter.address, format!("{{cluster: c, instance: pair, replica: {name}}}"))
        };
        let fleet = Fleet::of(&NAMES.iter().zip(&pair).map(target).collect::<Vec<_>>());
        let service = Service {
            statsdb: Statsdb::connect(redis, 0),
            next_id: 0,
            truth: Totals::default(),
            messages: 0,
            live: Vec::new(),
        };
        until_both_are_scraped(&fleet);
        until_primary(&fleet, NAMES[0]);
        fleet.settle();
        Self { fleet, service, pair: pair.map(Some), counted: Totals::default(), _dir: dir }
    }

    fn member(&self, index: usize) -> &Member {
        self.pair[index].as_ref().expect("it is there")
    }

    /// What the rules have counted since they were asked last.
    fn newly_counted(&mut self) -> Totals {
        self.fleet.settle();
        let now = self.fleet.totals();
        assert!(now.is_at_least(self.counted), "{now:?} after {:?}", self.counted);
        let newly = now - self.counted;
        self.counted = now;
        newly
    }

    /// All of it is counted, by whoever counts now. A call of two failovers ago ends, a part of which one of the two missed.
    fn between_failovers(&mut self, turn: usize) {
        let before = self.service.truth;
        self.service.calls(3);
        if self.service.live.len() > 1 {
            self.service.close(0);
        }
        // It relays on while one of the two is not there, which had counted it before.
        self.service.open();
        self.service.report();
        for index in [0, 1] {
            self.member(index).catch_up(&self.service);
        }
        assert_eq!(self.newly_counted(), self.service.truth - before, "turn {turn}");
    }

    /// The one that counts is killed in the middle of calls, and comes back. Gives what the rules missed.
    fn failover(&mut self, turn: usize) -> Totals {
        let [dying, living] = [turn % 2, 1 - turn % 2];
        let before = self.service.truth;
        self.service.report();
        self.service.calls(2);
        let Member { mut exporter, port, args, .. } = self.pair[dying].take().expect("it is there");
        exporter.kill();
        self.service.report();
        self.service.calls(1);
        until_primary(&self.fleet, NAMES[living]);
        self.service.calls(2);
        self.member(living).catch_up(&self.service);
        let (seen, happened) = (self.newly_counted(), self.service.truth - before);
        assert!(happened.is_at_least(seen), "turn {turn}: {seen:?} were counted of {happened:?}");
        let live = self.service.live.len() as u64;
        assert_eq!(self.fleet.live(), live, "turn {turn}");

        drop(exporter);
        self.pair[dying] = Some(Member::start(port, args, self.service.messages));
        until_both_are_scraped(&self.fleet);
        until_primary(&self.fleet, NAMES[living]);
        assert_eq!(self.fleet.live(), live, "turn {turn}");
        happened - seen
    }
}

/// Both halves of ten failovers run side by side: they wait for Prometheus most of the time.
fn failovers(turns: std::ops::Range<usize>) {
    let redis = Redis::start();
    let mut stage = Stage::new(&redis);
    let mut lost = Totals::default();
    for turn in turns {
        stage.between_failovers(turn);
        // At another moment of the interval each time.
        poll::pass(Duration::from_millis(700 * turn as u64 % 2000));
        lost = lost + stage.failover(turn);
    }
    let (truth, counted) = (stage.service.truth, stage.counted);
    println!("of {truth:?} the rules counted {counted:?} and lost {lost:?}");
    assert!(truth.is_at_least(counted) && truth - counted == lost);
    // The store has brought back what its exporter missed, and the rules have left it out.
    let recovered = stage.member(0).exporter.page().sum("coturn_recovered_bytes_total", &[]);
    assert!(recovered > 0.0);
}

#[test]
fn failovers_count_nothing_twice_the_first_five() {
    failovers(0..FAILOVERS / 2);
}

#[test]
fn failovers_count_nothing_twice_five_more() {
    // The first that is killed must be the one that counts, the one of the lower name.
    failovers(FAILOVERS / 2 + 1..FAILOVERS + 1);
}
