//! Every query of every panel, variable, annotation, rule and runbook against a real Prometheus that scrapes a real
//! exporter that watches a real Redis: no error, and data wherever the scenario promises it.
//!
//! The scenario has something of everything: calls that end in each way, a leak, a server that falls silent, lost
//! reports, contradictions, nonsense, a gap, leftover keys. It goes on in waves until all of it is seen, for a counter
//! must rise between two scrapes. Lifetimes are seconds instead of minutes, and so are the windows of the panels.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::models::traffic::Traffic;
use crate::common::net::statsdb::{Allocation, Statsdb, counters};
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::dashboards::{self, Dashboard, Query};
use crate::common::readers::promtool::{promql_blocks, rule_files, runbooks};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::fleet;
use crate::common::servers::prometheus::{Prometheus, Rule, percent_encoded};
use crate::common::servers::redis::{self, Redis};
use crate::common::temp_dir::TempDir;

const REALM: &str = "one.example";
const JOB: &str = "coturn";

/// What else the target has.
const LABELS: &str = "{region: eu, cluster: c, namespace: turn}";

/// Stands for `$__rate_interval` and `$__range`.
const WINDOW: &str = "90s";

/// Recorded over what happened two hours ago, or needing a week; or of servers that are not seen any more.
const TOO_EARLY: [&str; 3] = [
    "instance_realm:coturn_allocations_relayed:ratio_increase6h_offset2h",
    "instance_source_server:coturn_server_allocations_abandoned:increase_since_last_seen",
    "instance_source_server:coturn_server_allocations_abandoned_unseen:increase1h",
];

/// The exporter is not started again, and no alert fires, so there is nothing to be marked.
const NOT_MARKED: [&str; 3] = ["Exporter restarts", "Exporters lost", "Alerts"];

/// What the scenario sets off; their `for` is longer than this test.
const PENDING: [&str; 3] = ["CoturnAllocationsLeaked", "CoturnServerRestarted", "CoturnNumbersIncomplete"];

const LEAKED: usize = 6;
const STALE: u64 = 3;

struct Scenario {
    statsdb: Statsdb,
    next_id: u64,
}

impl Scenario {
    fn allocation(&mut self, user: &str) -> Allocation {
        self.next_id += 1;
        Allocation::new(REALM, &format!("{user}{}", self.next_id), self.next_id)
    }

    /// Live and unused from now on; refreshed long before it runs out.
    fn leak(&mut self) {
        for _ in 0..LEAKED {
            let leaked = self.allocation("phone");
            self.statsdb.open(&leaked, 600);
        }
    }

    /// One life of each kind.
    fn wave(&mut self) {
        let report =
            Traffic { received_packets: 2000, received_bytes: 1_600_000, sent_packets: 48, sent_bytes: 4000 };
        let nothing = Traffic::default();

        let released = self.allocation("released");
        self.statsdb.open(&released, 600);
        self.statsdb.refresh(&released, 600);
        self.statsdb.report(&released, report, report);
        self.statsdb.refresh(&released, 0);
        self.statsdb.close(&released, report, report);

        // Its reports were lost, the totals are there.
        let disconnected = self.allocation("disconnected");
        self.statsdb.open(&disconnected, 600);
        self.statsdb.close(&disconnected, report, report);

        // Contradicts itself: less in sum than was reported.
        let expired = self.allocation("expired");
        self.statsdb.open(&expired, 1);
        self.statsdb.report(&expired, report, report);
        self.statsdb.close(&expired, nothing, nothing);

        let abandoned = self.allocation("abandoned");
        self.statsdb.open(&abandoned, 1);

        // A status without an address, as of coturn before 4.6: one with it would prove that the server was restarted, and
        // end all that lives.
        let replaced = self.allocation("replaced");
        for _ in 0..2 {
            self.statsdb.tell(replaced.channel("status").as_bytes(), "new lifetime=600");
        }
        self.statsdb.close(&replaced, nothing, nothing);

        // First met in the middle, with a past; and at the end only.
        let adopted = self.allocation("adopted");
        self.statsdb.refresh(&adopted, 600);
        self.statsdb.close(&adopted, report, report);
        let missed = self.allocation("missed");
        self.statsdb.close(&missed, report, report);

        // A refused login, and somebody who is no coturn.
        let probe = self.allocation("");
        self.statsdb.tell(probe.channel("traffic").as_bytes(), &counters(report));
        self.statsdb.tell(b"turn/nonsense", "of somebody");
    }
}

fn watch(redis: &Redis, store: &str, coturn: &str) -> Exporter {
    let flags = [
        store,
        coturn,
        "--web.enable-details",
        // Nobody listens there, so that events wait.
        "--events.url=http://127.0.0.1:9/",
        "--allocation.max-lifetime=2s",
        "--allocation.idle-after=2s",
        "--allocation.grace=1s",
        "--metrics.realm=one.example",
    ];
    Exporter::watching_with(&redis.url(0), &flags)
}

/// What a query gives: an error, or how many values that are numbers.
fn values(prometheus: &Prometheus, query: &str) -> Result<usize, String> {
    let result = prometheus.try_query(query, None).map_err(|why| format!("{query}: {why}"))?;
    let number = |series: &&serde_json::Value| {
        series["value"][1]
            .as_str()
            .and_then(|value| value.parse().ok())
            .is_some_and(|value: f64| !value.is_nan())
    };
    Ok(result.iter().filter(number).count())
}

/// What is promised and not there yet.
fn missing(prometheus: &Prometheus, queries: &[Query], rules: &[Rule]) -> Vec<String> {
    let mut missing = Vec::new();
    let look = |place: &str, query: &str, promised: bool| match values(prometheus, query) {
        Ok(0) if promised => Some(format!("{place}: no data: {query}")),
        Ok(_) => None,
        Err(why) => panic!("{place}: {why}"),
    };
    for query in queries {
        let place = format!("{}: {}", query.dashboard, query.place);
        if let Some((metric, label)) = query.label_values() {
            let metric = Query { expression: metric, ..query.clone() }.filled_in(WINDOW);
            if prometheus.label_values(&metric, &label).is_empty() {
                missing.push(format!("{place}: no values of {label}: {metric}"));
            }
        } else {
            let promised = !NOT_MARKED.contains(&query.place.as_str());
            missing.extend(look(&place, &query.filled_in(WINDOW), promised));
        }
    }
    for rule in rules {
        let promised = match rule.r#type.as_str() {
            "recording" => !TOO_EARLY.contains(&rule.name.as_str()),
            _ => PENDING.contains(&rule.name.as_str()),
        };
        missing.extend(look(&rule.name, &rule.query, promised));
    }
    for (name, text) in runbooks() {
        for query in promql_blocks(&text) {
            missing.extend(look(&name, &query, false));
        }
    }
    for alert in PENDING {
        let query = format!("ALERTS{{alertname={alert:?}, alertstate=\"pending\"}}");
        missing.extend((values(prometheus, &query) == Ok(0)).then(|| format!("{alert} is not pending")));
    }
    missing
}

/// Asks what the runbook of the leak asks first; gives how many phones are named.
fn culprits(exporter: &Exporter) -> usize {
    let (_, runbook) = runbooks().into_iter().find(|(name, _)| name == "CoturnAllocationsLeaked").unwrap();
    let first = runbook.split("```sh\n").nth(1).expect("a command").lines().next().unwrap().to_owned();
    let url = first.split('\'').nth(1).expect("an address in quotes");
    let path = url.strip_prefix("http://EXPORTER:10641").expect("the exporter's address");
    let path = path.strip_suffix("realm=R").map(|path| format!("{path}realm={REALM}")).expect("the realm");
    let answer = exporter.get(&path).unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    let answer: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let rows = answer["allocations"].as_array().unwrap();
    let phones = rows.iter().filter(|row| row["user"].as_str().unwrap().starts_with("phone"));
    assert_eq!(phones.count(), rows.len(), "nobody else: {answer}");
    rows.len()
}

/// Follows each link to the details with each value that the page has, and with that of a server without an address; gives
/// how many there were.
fn follow_links(exporter: &Exporter) -> usize {
    let page = exporter.page();
    let links: BTreeSet<_> = dashboards::all().iter().flat_map(Dashboard::links).collect();
    let mut followed = 0;
    for link in links.iter().filter_map(|link| link.strip_prefix("${details}")) {
        let (path, _) = link.split_once("=${").expect("a value");
        let (_, label) = path.split_once('?').expect("a filter");
        let family = if label == "server" { "coturn_server_allocations" } else { "coturn_allocations" };
        let mut values = page.label_values(family, label);
        values.extend((label == "server").then(|| "not told".to_owned()));
        for value in values {
            let path = format!("{path}={}", percent_encoded(&value));
            let answer = exporter.get(&path).unwrap();
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            followed += 1;
        }
    }
    followed
}

#[test]
fn every_query_has_an_answer_and_every_panel_data() {
    let redis = Redis::start();
    let key = |n: u64| Allocation::new(REALM, "stale", 900 + n).key().into_bytes();
    let keys: Vec<_> = (0..STALE).map(|n| (key(n), 1000)).collect();
    redis::restore_idle(&mut redis.connect(0), keys.iter().map(|(key, idle)| (key.as_slice(), *idle)));
    let mut scenario = Scenario { statsdb: Statsdb::connect(&redis, 0), next_id: 1 };
    let dir = TempDir::new("store");
    let store = format!("--store.path={}", dir.path().join("store").display());
    // The limits, and no more: lifetimes of this test are its own.
    let coturn = dir.write("turnserver.conf", "min-port=50000\nmax-port=50999\ntotal-quota=500\n");
    let coturn = format!("--coturn.config-file={}", coturn.display());
    // A first life leaves a snapshot, of which the page says how old it is.
    assert_eq!(watch(&redis, &store, &coturn).stop(rustix::process::Signal::TERM).code(), Some(0));
    let exporter = watch(&redis, &store, &coturn);
    let dir = TempDir::new("rules");
    // The rules of a fleet have an interval of their own, of a minute.
    let fleet = dir.write("fleet.yaml", &fleet::rules_every(Duration::from_secs(2)));
    let files = [rule_files().as_slice(), &[fleet]].concat();
    let prometheus = Prometheus::scraping_as(JOB, LABELS, exporter.address, &files);
    let queries: Vec<_> = dashboards::all().iter().flat_map(Dashboard::queries).collect();
    let rules = prometheus.rules();
    assert!(queries.len() > 70 && rules.len() > 20, "{} queries, {} rules", queries.len(), rules.len());

    scenario.leak();
    poll::until(PATIENCE, "the first page to be stored", || {
        match values(&prometheus, "coturn_exporter_gaps_total") {
            Ok(1..) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    for _ in 0..3 {
        let gaps = exporter.page().sum("coturn_exporter_gaps_total", &[]);
        assert!(redis.kill_clients("pubsub") > 0);
        exporter.until("the gap to be over", |page| {
            let seen =
                (page.sum("coturn_exporter_gaps_total", &[]), page.sum("coturn_exporter_source_up", &[]));
            if seen.0 > gaps && seen.1 > 0.5 { Ok(()) } else { Err(format!("{seen:?}")) }
        });
    }
    poll::until(2 * PATIENCE, "every panel, variable, annotation and rule to have data", || {
        scenario.wave();
        match missing(&prometheus, &queries, &rules) {
            missing if missing.is_empty() => Ok(()),
            missing => Err(missing.join("\n")),
        }
    });

    // The leak is what it is, and the alert will name it.
    let leak = prometheus.query("ALERTS{alertname=\"CoturnAllocationsLeaked\"}");
    let realms: Vec<_> = leak.keys().map(|series| series.labels["realm"].clone()).collect();
    assert_eq!(realms, [REALM]);
    let count = prometheus.query("instance_realm:coturn_orphaned_allocations_idle:sum");
    assert!((count.values().sum::<f64>() - LEAKED as f64).abs() < 0.5, "{count:?}");
    assert_eq!(culprits(&exporter), LEAKED, "the runbook's first question names them");
    assert!(follow_links(&exporter) > 8, "realms, servers and transports lead to their details");
    // Without an error in any rule that has been evaluated.
    for rule in prometheus.rules() {
        assert!(rule.health != "err", "{}: {}", rule.name, rule.error);
    }
}
