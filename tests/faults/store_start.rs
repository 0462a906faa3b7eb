//! The start with a large store: somebody answers at once, and says how far it is; what coturn reports meanwhile is counted.

use std::net::{Ipv4Addr, SocketAddr};

use crate::common::models::traffic::Traffic;
use crate::common::net::flood::Flood;
use crate::common::net::http;
use crate::common::net::ports::Port;
use crate::common::net::statsdb::{Allocation, Statsdb, counters};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::exporter::Exporter;
use crate::common::temp_dir::TempDir;
use crate::common::turns;

/// In the store.
const LIVE: u64 = 100_000;

/// That are born while it is loaded.
const MEANWHILE: u64 = 500;

const REPORT: Traffic =
    Traffic { received_packets: 90, received_bytes: 1000, sent_packets: 80, sent_bytes: 500 };

fn allocation(id: u64) -> Allocation {
    Allocation::new("one.example", &format!("1795343956:user{id:09}"), id)
}

#[test]
fn a_large_store_is_loaded_while_somebody_answers_and_nothing_is_lost() {
    let _turn = turns::take();
    let (web, statsdb, dir) = (Port::claim(), Port::claim(), TempDir::new("large"));
    let [web, statsdb] = [&web, &statsdb].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port.number)));
    let store = dir.path().join("store").display().to_string();
    let listen = statsdb.to_string();
    let args = ["--statsdb.listen-address", &listen, "--store.path", &store];
    let begin = || Exporter::start_at(web, &args);

    let mut exporter = begin();
    exporter.wait_ready();
    let mut flood = Flood::at(statsdb);
    for id in 1..=LIVE {
        let allocation = allocation(id);
        flood.publish(allocation.key().as_bytes(), allocation.status("new", 3600).as_bytes());
        flood.publish(allocation.channel("traffic").as_bytes(), counters(REPORT).as_bytes());
    }
    flood.settle();
    let received = [("leg", "client"), ("direction", "received")];
    let before = exporter.page();
    assert_eq!(before.count("coturn_relayed_bytes_total", &received), LIVE * REPORT.received_bytes);
    drop(flood);

    for is_kill in [true, false] {
        if is_kill {
            exporter.kill();
        } else {
            assert_eq!(exporter.stop(rustix::process::Signal::TERM).code(), Some(0), "{}", exporter.log());
        }
        drop(exporter);
        exporter = begin();
        // It listens, and so it answers.
        assert_eq!(exporter.status("/-/healthy"), 200);
        let (mut loading, mut seen) = (0, String::new());
        let first = if is_kill { LIVE } else { LIVE + MEANWHILE };
        // A scrape that says for how long it waits is answered by a page, once there is one.
        let scrape = std::thread::spawn(move || {
            http::get_with(web, "/metrics", "X-Prometheus-Scrape-Timeout-Seconds: 30")
        });
        let coturn = std::thread::spawn(move || {
            let mut statsdb = Statsdb::at(statsdb);
            for id in first + 1..=first + MEANWHILE {
                statsdb.open(&allocation(id), 3600);
                statsdb.report(&allocation(id), REPORT, REPORT);
            }
        });
        poll::until(PATIENCE, "the store to be loaded", || match exporter.get("/-/ready") {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) if answer.body.contains("store") => {
                assert_eq!(exporter.status("/-/healthy"), 200);
                (loading, seen) = (loading + 1, answer.body);
                Err(seen.clone())
            }
            other => Err(format!("{other:?}")),
        });
        println!("{loading} looks while it was loaded: {seen}");
        assert!(
            loading == 0 || seen.contains(|letter: char| letter.is_ascii_digit()),
            "no progress: {seen:?}"
        );
        coturn.join().expect("each command is answered");
        let scraped = scrape.join().unwrap().expect("an answer");
        assert_eq!(scraped.status, 200, "{}", scraped.body);
        let all = first + MEANWHILE;
        let page = exporter.page();
        assert_eq!(page.count("coturn_allocations", &[]), all);
        assert_eq!(
            page.count("coturn_allocations_opened_total", &[]),
            all,
            "they are the same, and none is lost"
        );
        assert_eq!(page.count("coturn_relayed_bytes_total", &received), all * REPORT.received_bytes);
        assert_eq!(page.count("coturn_allocations_adopted_total", &[]), 0);
        let log = exporter.log();
        let [listening, loaded] = ["msg=listening", "msg=\"store loaded\""]
            .map(|line| log.find(line).unwrap_or_else(|| panic!("no {line}:\n{log}")));
        assert!(listening < loaded, "nobody answers before it is loaded:\n{log}");
    }
}
