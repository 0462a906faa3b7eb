//! Redis restarted, hanging, cutting us off: what holds afterwards, against a real coturn where it matters what coturn
//! itself loses, and against a publisher who says exactly what went out where it does not.

#![allow(
    clippy::panic,
    clippy::expect_used,
    reason = "clippy.toml allows these in test functions only; helpers of a test are part of it"
)]

mod common;

use std::time::Duration;

use common::balance::Books;
use common::coturn::{Coturn, Settings};
use common::coturn_log::CoturnLog;
use common::exporter::Exporter;
use common::flood::Flood;
use common::page::Page;
use common::peer::EchoPeer;
use common::poll::{self, PATIENCE, Stopwatch};
use common::published::Published;
use common::redis::Redis;
use common::statsdb::{Allocation, Statsdb, counters};
use common::traffic::{Legs, Traffic};
use common::uclient::{Job, Kind, Uclient};
use common::witness::Witness;

const REALM: &str = "one.example";
const IN_REALM: [(&str, &str); 1] = [("realm", REALM)];
const UP: &str = "coturn_exporter_source_up";
const SERVER: Settings<'static> =
    Settings { ip: "127.0.0.1", realm: REALM, users: &["udp", "tcp"], max_lifetime: 30 };

/// One metric of both legs and directions.
fn legs(page: &Page, what: &str) -> Legs {
    let of = |unit: &str, leg: &str, direction: &str| {
        let labels = [IN_REALM[0], ("leg", leg), ("direction", direction)];
        page.count(&format!("coturn_{what}_{unit}_total"), &labels)
    };
    let leg = |leg: &str| Traffic {
        received_packets: of("packets", leg, "received"),
        received_bytes: of("bytes", leg, "received"),
        sent_packets: of("packets", leg, "sent"),
        sent_bytes: of("bytes", leg, "sent"),
    };
    Legs { client: leg("client"), peer: leg("peer") }
}

fn live(log: &CoturnLog) -> u64 {
    log.allocations().filter(|session| session.is_live()).count() as u64
}

fn reports(log: &CoturnLog) -> u64 {
    log.allocations().map(|session| session.reports).sum()
}

/// Waits until the page has as many live allocations as coturn's log, all of whose births were witnessed.
#[track_caller]
fn until_same_allocations(exporter: &Exporter, coturn: &Coturn) {
    exporter.until("the live allocations to be those of coturn's log", |page| {
        let log = coturn.log();
        let opened: u64 = log.allocations().map(|session| session.opened).sum();
        let wanted = (live(&log), opened, 0);
        let of = |name: &str| page.count(name, &IN_REALM);
        let seen = (
            of("coturn_allocations"),
            of("coturn_allocations_opened_total"),
            of("coturn_allocations_adopted_total"),
        );
        if seen == wanted {
            Ok(())
        } else {
            Err(format!("live, opened, adopted: {seen:?} instead of {wanted:?}"))
        }
    });
}

/// Two clients over UDP and one over TCP, who talk for some fifteen seconds and more.
fn talk(coturn: &Coturn, peer: &EchoPeer, messages: u32) -> [Uclient; 2] {
    let udp = Job { clients: 2, messages, ..Job::default() };
    let tcp = Job { kind: Kind::Tcp, user: "tcp", clients: 1, ..udp };
    [Uclient::start(coturn, peer.port(), udp), Uclient::start(coturn, peer.port(), tcp)]
}

/// Waits for the end of all clients.
#[track_caller]
fn until_done(clients: &mut [Uclient]) {
    for client in clients {
        let report = client.wait(PATIENCE).unwrap_or_else(|| panic!("{}", client.output()));
        assert!(report.sent_messages > 0, "{report:?}");
    }
}

/// Redis restarts twice while real clients talk. After the first time coturn loses nothing that comes after the gap, so
/// everything is exact. From the second on it may lose up to two groups of events per relay thread (its socket is no
/// longer watched for reading), so what it told decides: an allocation whose sums a witness has seen is exact, and one
/// whose end was lost is counted by what was heard of it, never more than it relayed.
fn redis_restarts_mid_traffic(mut redis: Redis) {
    const DB: u8 = 2;
    let coturn = Coturn::start(&redis, DB, SERVER);
    let exporter = Exporter::watching_with(&redis.url(DB), &["--allocation.grace", "5s"]);
    let peer = EchoPeer::start();
    let mut books = Books::default();
    let mut witness = Witness::listen(&redis);
    let mut heard = Vec::new();
    for outage in 1..=2 {
        let mut clients = talk(&coturn, &peer, 4000);
        let before = reports(&coturn.log());
        poll::until(PATIENCE, "reports while Redis is there", || match reports(&coturn.log()) {
            reports if reports >= before + 3 => Ok(()),
            reports => Err(format!("{reports}")),
        });
        until_same_allocations(&exporter, &coturn);
        redis.kill();
        exporter.until_value(UP, &[], 0.0);
        let before = reports(&coturn.log());
        poll::until(PATIENCE, "reports while Redis is away", || match reports(&coturn.log()) {
            reports if reports >= before + 3 => Ok(()),
            reports => Err(format!("{reports}")),
        });
        let live_then = live(&coturn.log());
        assert!(live_then >= 4, "{live_then} live allocations: the traffic was over before Redis came back");

        redis.start_again();
        heard.extend(witness.seen());
        witness = Witness::listen(&redis);
        exporter.until_value(UP, &[], 1.0);
        assert_eq!(live(&coturn.log()), live_then, "too slow: allocations ended before all were back");
        until_same_allocations(&exporter, &coturn);
        assert_eq!(exporter.page().count("coturn_exporter_gaps_total", &[]), outage);
        until_done(&mut clients);

        let log = poll::until(PATIENCE, "coturn to end all allocations", || {
            let log = coturn.log();
            if log.all_ended() { Ok(log) } else { Err(format!("{log:?}")) }
        });
        // Whatever was lost on the way falls due.
        exporter.until("no allocation to be live", |page| {
            books.look(page);
            match page.count("coturn_allocations", &IN_REALM) {
                0 => Ok(()),
                live => Err(format!("{live} live")),
            }
        });
        let told = Published::of(&[heard.clone(), witness.seen()].concat());
        let silent: Vec<u64> = log
            .sessions
            .iter()
            .filter(|(id, session)| session.has_allocation() && !told.of_session(**id).is_whole())
            .map(|(id, _)| *id)
            .collect();
        println!(
            "outage {outage}: {} allocations, coturn lost the ends of {silent:?}",
            log.allocations().count()
        );
        if outage == 1 {
            assert_eq!(silent, [0; 0], "after the first loss coturn tells every end");
        }
        let whole: Vec<u64> =
            log.sessions.keys().filter(|id| told.of_session(**id).is_whole()).copied().collect();
        assert!(whole.len() >= 6, "coturn told the ends of {whole:?} only");
        let upper = log.relayed();
        exporter.until("each byte that coturn told to be counted once", |page| {
            books.look(page);
            let relayed = legs(page, "relayed");
            if silent.is_empty() && relayed != upper {
                return Err(format!("page {relayed:?}\nlog  {upper:?}"));
            }
            Ok(())
        });
        let page = exporter.page();
        let relayed = legs(&page, "relayed");
        // Of those whose end was lost, at least what was told of them.
        let mut lower = Legs::default();
        for (id, session) in &log.sessions {
            lower += if whole.contains(id) { session.legs } else { told.of_session(*id).deltas };
        }
        for (lower, page, upper) in [
            (lower.client.received_bytes, relayed.client.received_bytes, upper.client.received_bytes),
            (lower.client.sent_bytes, relayed.client.sent_bytes, upper.client.sent_bytes),
            (lower.peer.received_bytes, relayed.peer.received_bytes, upper.peer.received_bytes),
            (lower.peer.sent_bytes, relayed.peer.sent_bytes, upper.peer.sent_bytes),
        ] {
            assert!((lower..=upper).contains(&page), "{page} is not in {lower}..={upper}");
        }
        let recovered = page.count("coturn_recovered_bytes_total", &IN_REALM);
        println!("outage {outage}: relayed {relayed:?}, of which {recovered} bytes by totals only");
        assert!(recovered > 0, "reports were lost in the gap");
        assert_eq!(page.count("coturn_unseen_bytes_total", &IN_REALM), 0);
        assert_eq!(page.count("coturn_exporter_accounting_anomalies_total", &[]), 0);
        if silent.is_empty() {
            for (cause, wanted) in log.causes() {
                let cause = cause.to_string();
                let seen = page.count("coturn_allocations_closed_total", &[IN_REALM[0], ("cause", &cause)]);
                assert_eq!(seen, wanted, "{cause}");
            }
        }
    }
}

#[test]
fn redis_is_restarted_empty_mid_traffic() {
    redis_restarts_mid_traffic(Redis::start());
}

#[test]
fn redis_is_restarted_with_its_keys_mid_traffic() {
    redis_restarts_mid_traffic(Redis::start_with_settings(&[
        ("appendonly", "yes"),
        ("appendfsync", "always"),
    ]));
}
