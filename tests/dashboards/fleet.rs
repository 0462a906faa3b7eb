//! Twenty exporters of three regions, to which as many simulated coturns report, in one Prometheus with the rules of
//! `coturn.fleet.rules.yaml`, and a second one that federates them as `federate.example.yaml` says, and in one `PostgreSQL`: the
//! sums are those of what was published.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::common::models::traffic::Traffic;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::promtool::{self, alerts_dir};
use crate::common::servers::command;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::fleet::{self, Fleet, Totals};
use crate::common::servers::listener;
use crate::common::servers::page_server::SlowExporter;
use crate::common::servers::postgres::Postgres;
use crate::common::servers::prometheus::Prometheus;
use crate::common::temp_dir::TempDir;

const EXPORTERS: u64 = 20;
const REGIONS: [&str; 3] = ["eu", "us", "ap"];
const CLUSTERS: [&str; 2] = ["blue", "green"];
const REALMS: [&str; 3] = ["shop.example", "clinic.example", "school.example"];

const DATABASE: &str = "accounting";

/// Calls of each coturn.
const CALLS: u64 = 60;

/// An exporter, and the coturn that reports to it.
struct Site {
    exporter: Exporter,
    statsdb: Statsdb,
    region: &'static str,
    cluster: &'static str,
    truth: Totals,
    live: u64,
    /// Of each realm and user: calls that live, and bytes relayed on the leg of the peers.
    users: BTreeMap<(&'static str, String), (u64, u64)>,
    /// The directory of its store.
    dir: TempDir,
}

impl Site {
    fn start(number: u64, database: &str) -> Self {
        let place = usize::try_from(number).unwrap();
        let (dir, name) = (TempDir::new("site"), site_name(number));
        let store = dir.path().join("store").display().to_string();
        let ledger = ["--store.path", &store, "--ledger.postgres-url", database, "--exporter.name", &name];
        let (exporter, address) = listener::listening(&[&ledger[..], &["--session.linger", "1s"]].concat());
        Self {
            exporter,
            statsdb: Statsdb::at(address),
            region: REGIONS[place % 3],
            cluster: CLUSTERS[place / 3 % 2],
            truth: Totals::default(),
            live: 0,
            users: BTreeMap::new(),
            dir,
        }
    }

    /// What the database must have of users none of whose calls lives: of others a session is open.
    fn closed_users(&self) -> BTreeMap<String, u64> {
        let closed = self.users.iter().filter(|(_, (live, _))| *live == 0);
        closed.map(|((realm, user), (_, bytes))| (format!("{realm}|{user}"), *bytes)).collect()
    }

    /// Job and instance are the same in other clusters.
    fn target(&self, number: u64) -> (SocketAddr, String) {
        let labels =
            format!("{{region: {}, cluster: {}, instance: turn-{}}}", self.region, self.cluster, number / 6);
        (self.exporter.address, labels)
    }

    /// One call, of a length and an end that follow from its number.
    fn call(&mut self, number: u64, call: u64) {
        let realm = REALMS[usize::try_from((number + call) % 3).unwrap()];
        let allocation = Allocation::new(realm, &format!("user{}", call % 17), call + 1);
        self.statsdb.open(&allocation, 3600);
        self.truth.opened += 1;
        let mut sum = Traffic::default();
        for report in 0..(number + call) % 4 {
            let packets = 100 * (1 + report) + number;
            let traffic = Traffic {
                received_packets: packets,
                received_bytes: 170 * packets,
                sent_packets: packets + 7,
                sent_bytes: 900 * packets + call,
            };
            self.statsdb.report(&allocation, traffic, traffic);
            sum += traffic;
        }
        // In one of five the last report was lost, and the total has more.
        if call.is_multiple_of(5) {
            sum += Traffic { received_packets: 1, received_bytes: 90, sent_packets: 1, sent_bytes: 80 };
        }
        if (number + call) % 6 == 5 {
            // Still live; what only its total would tell is unknown yet.
            if call.is_multiple_of(5) {
                sum.sent_bytes -= 80;
            }
            self.live += 1;
        } else {
            if call.is_multiple_of(2) {
                self.statsdb.refresh(&allocation, 0);
            }
            self.statsdb.close(&allocation, sum, sum);
            self.truth.closed += 1;
        }
        self.truth.bytes += sum.sent_bytes;
        let (live, bytes) = self.users.entry((realm, format!("user{}", call % 17))).or_default();
        *live += u64::from((number + call) % 6 == 5);
        *bytes += sum.sent_bytes + sum.received_bytes;
    }

    fn matcher(&self) -> String {
        format!("region=\"{}\", cluster=\"{}\", ", self.region, self.cluster)
    }
}

fn site_name(number: u64) -> String {
    format!("site-{number:02}")
}

/// Relayed bytes of each realm and user, of one exporter.
fn in_database(postgres: &Postgres, exporter: &str) -> BTreeMap<String, u64> {
    let sql = format!(
        "SELECT realm, user_id, sum(relayed_bytes) FROM coturn_ledger.session JOIN coturn_ledger.store USING (store_id) \
         WHERE exporter = '{exporter}' GROUP BY realm, user_id"
    );
    let row = |line: &str| {
        let (names, bytes) = line.rsplit_once('|').expect("three columns");
        (names.to_owned(), bytes.parse().expect("a sum"))
    };
    postgres.sql(DATABASE, &sql).lines().map(row).collect()
}

/// What `usage` says of a place, but for who asked.
fn usage_of(place: &str, by: &str) -> Vec<serde_json::Value> {
    let ended = command::exporter(&["usage", "--from", place, "--by", by, "--format", "json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).expect("JSON")
}

/// One that federates another as the example says, every second.
fn federating(regional: SocketAddr) -> Prometheus {
    let example = std::fs::read_to_string(alerts_dir().join("federate.example.yaml")).expect("the example");
    let (head, targets) = example.split_once("      - targets:\n").expect("targets at its end");
    assert!(targets.lines().all(|line| line.trim_start().starts_with("- ")), "{targets}");
    let head = head.replace("scrape_interval: 30s", "scrape_interval: 1s\n    scrape_timeout: 1s");
    let config = format!("{head}      - targets: ['{regional}']\n");
    Prometheus::with_config(TempDir::new("global"), &config)
}

/// Prometheus has a page when its scrape has ended, with the time at which it began.
#[test]
fn a_page_that_is_on_its_way_at_an_evaluation_is_counted_in_the_next() {
    let exporters = [(); 4].map(|()| SlowExporter::start(fleet::SCRAPE.mul_f64(0.9)));
    let targets = (1..).zip(&exporters);
    let targets =
        targets.map(|(number, exporter)| (exporter.address, format!("{{instance: turn-{number}}}")));
    let fleet = Fleet::of(&targets.collect::<Vec<_>>());
    poll::until(PATIENCE, "all to be known", || {
        let known = fleet::number(&fleet.prometheus, "count(instance:coturn_exporter_primary:topk)");
        if known == 4 { Ok(()) } else { Err(known.to_string()) }
    });
    fleet.settle();
    for exporter in &exporters {
        exporter.grow(true);
    }
    fleet.settle();
    fleet.settle();
    for exporter in &exporters {
        exporter.grow(false);
    }
    fleet.settle();
    let opened: u64 = exporters.iter().map(SlowExporter::opened).sum();
    assert!(opened > 20, "{opened}");
    assert_eq!(fleet.totals().opened, opened);
}

#[test]
fn twenty_exporters_add_up_to_what_was_published() {
    let postgres = Postgres::start();
    postgres.create_database(DATABASE);
    let database = postgres.url_of("postgres", DATABASE);
    let mut sites: Vec<_> = (0..EXPORTERS).map(|number| Site::start(number, &database)).collect();
    let targets: Vec<_> = (0..).zip(&sites).map(|(number, site)| site.target(number)).collect();
    let fleet = Fleet::of_many(&targets);
    let global = federating(fleet.prometheus.address);
    poll::until(PATIENCE, "all exporters to be known", || {
        let (known, federated) = (
            fleet::number(&fleet.prometheus, "count(instance:coturn_exporter_primary:topk)"),
            fleet::number(&global, "sum(job:coturn_exporter_targets_up:sum)"),
        );
        if (known, federated) == (EXPORTERS, EXPORTERS) {
            Ok(())
        } else {
            Err(format!("{known}, {federated}"))
        }
    });
    fleet.settle();

    for call in 0..CALLS {
        for (number, site) in (0..).zip(&mut sites) {
            site.call(number, call);
        }
    }
    let mut truths: BTreeMap<String, (Totals, u64)> = BTreeMap::new();
    for site in &sites {
        site.exporter.until("all to be counted", |page| {
            let labels = [("leg", "peer"), ("direction", "sent")];
            let closed = page.count("coturn_allocations_closed_total", &[]);
            let bytes = page.sum("coturn_relayed_bytes_total", &labels);
            let is_all = closed == site.truth.closed && (bytes - site.truth.bytes as f64).abs() < 0.5;
            if is_all { Ok(()) } else { Err(format!("{closed}, {bytes} of {:?}", site.truth)) }
        });
        let truth = truths.entry(site.matcher()).or_default();
        *truth = (truth.0 + site.truth, truth.1 + site.live);
    }
    assert_eq!(truths.len(), REGIONS.len() * CLUSTERS.len());
    fleet.settle();
    for (matcher, (totals, live)) in &truths {
        assert_eq!(fleet::totals(&fleet.prometheus, matcher), *totals, "{matcher}");
        poll::until(PATIENCE, "the global Prometheus to have it all", || {
            let query = format!("sum(job_realm:coturn_allocations:sum{{{matcher}}})");
            let seen = (fleet::totals(&global, matcher), fleet::number(&global, &query));
            assert!(totals.is_at_least(seen.0), "{matcher}: {seen:?} of {totals:?}");
            if seen == (*totals, *live) {
                Ok(())
            } else {
                Err(format!("{matcher}: {seen:?}, not {totals:?}, {live}"))
            }
        });
    }
    // Each exporter's rows, to the byte; and all of them together are what the stores have.
    let mut of_stores: BTreeMap<String, u64> = BTreeMap::new();
    for (number, site) in (0..).zip(&sites) {
        let (name, closed) = (site_name(number), site.closed_users());
        poll::until(PATIENCE, &format!("the rows of {name}"), || {
            let rows = in_database(&postgres, &name);
            let wrong = closed.iter().find(|(user, bytes)| rows.get(*user) != Some(*bytes));
            wrong.map_or(Ok(()), |wrong| Err(format!("{wrong:?} of {rows:?}")))
        });
        site.exporter.until("nothing to wait for the database", |page| {
            match page.count("coturn_exporter_sink_pending_events", &[]) {
                0 => Ok(()),
                waiting => Err(waiting.to_string()),
            }
        });
        for realm in usage_of(&site.dir.path().join("store").display().to_string(), "realm") {
            *of_stores.entry(realm["realm"].as_str().unwrap().to_owned()).or_default() +=
                realm["relayed_bytes"].as_u64().unwrap();
        }
    }
    let of_database = usage_of(&database, "realm")
        .into_iter()
        .map(|realm| (realm["realm"].as_str().unwrap().to_owned(), realm["relayed_bytes"].as_u64().unwrap()));
    assert_eq!(of_database.collect::<BTreeMap<_, _>>(), of_stores);
    // What is federated is what the fleet has, and no more.
    let stored = global.query("{__name__=~\".+\", job=\"coturn\"}");
    assert!(
        stored.keys().all(|series| series.name.starts_with("job") && !series.labels.contains_key("instance"))
    );
}

#[test]
fn the_examples_are_accepted() {
    for name in ["federate.example.yaml", "remote-write.example.yaml"] {
        let file = alerts_dir().join(name).display().to_string();
        let (content, said) = promtool::run(&["check", "config", &file]);
        assert!(content && said.contains("SUCCESS"), "{name}: {said}");
    }
}
