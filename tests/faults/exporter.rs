//! The exporter itself killed, stopped and held up: what its next life, or the rest of this one, says.

use std::time::Duration;

use rustix::process::Signal;

use crate::common::models::balance::Books;
use crate::common::models::sums::{assert_between, legs};
use crate::common::models::traffic::{Legs, Traffic};
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE, Stopwatch};
use crate::common::servers::coturn::{Coturn, Settings};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::peer::EchoPeer;
use crate::common::servers::redis::Redis;
use crate::common::servers::uclient::{Job, Uclient, wait_for_all};

const REALM: &str = "one.example";
const IN_REALM: [(&str, &str); 1] = [("realm", REALM)];

/// Without a store, each life knows what it has heard. Over both lives no byte is counted twice; what the second life
/// learns of the time before it stands apart, and with it the account is exact.
fn restarted_mid_traffic(end: impl FnOnce(&mut Exporter)) {
    let redis = Redis::start();
    let settings = Settings { ip: "127.0.0.1", realm: REALM, users: &["udp"], max_lifetime: 40 };
    let coturn = Coturn::start(&redis, 0, settings);
    let peer = EchoPeer::start();
    let mut first_life = Exporter::watching(&redis.url(0));
    let job = Job { clients: 2, messages: 7000, ..Job::default() };
    let mut clients = [Uclient::start(&coturn, peer.port(), job)];
    first_life.until("some reports of all clients", |page| {
        let reports = page.count("coturn_exporter_messages_total", &[("kind", "traffic")]);
        let seen = (page.count("coturn_allocations", &IN_REALM), reports >= 4);
        if seen == (4, true) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    // The last scrape: what came after it is known to nobody.
    let last = first_life.page();
    end(&mut first_life);
    let before = coturn.log();
    assert_eq!((before.live(), before.opened()), (4, 4), "none had ended");
    let missed = before.reports() + 2;
    poll::until(PATIENCE, "reports that no exporter hears", || match coturn.log().reports() {
        reports if reports >= missed => Ok(()),
        reports => Err(format!("{reports}")),
    });

    let exporter = Exporter::watching(&redis.url(0));
    let mut books = Books::default();
    let page = exporter.page();
    assert_eq!(coturn.log().live(), 4, "too slow: the traffic is over");
    let of = |name: &str| page.count(name, &IN_REALM);
    assert_eq!(
        (
            of("coturn_allocations"),
            of("coturn_allocations_adopted_total"),
            of("coturn_allocations_opened_total")
        ),
        (4, 4, 0)
    );
    exporter.until("reports in the second life", |page| {
        books.look(page);
        match page.count("coturn_exporter_messages_total", &[("kind", "traffic")]) {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        }
    });
    wait_for_all(&mut clients);
    exporter.until("the second life's page and what it could not see to be what coturn logged", |page| {
        books.look(page);
        let log = coturn.log();
        if !log.all_ended() {
            return Err("allocations are open".to_owned());
        }
        let (relayed, unseen) = (legs(page, REALM, "relayed"), legs(page, REALM, "unseen"));
        if relayed + unseen == log.relayed() {
            Ok(())
        } else {
            Err(format!("{relayed:?}\n{unseen:?}\n{log:?}"))
        }
    });
    let page = exporter.page();
    let (first, second) = (legs(&last, REALM, "relayed"), legs(&page, REALM, "relayed"));
    let (unseen, logged) = (legs(&page, REALM, "unseen"), coturn.log().relayed());
    println!(
        "bytes sent to peers: first life {}, second {}, unseen {}, coturn {}",
        first.peer.sent_bytes, second.peer.sent_bytes, unseen.peer.sent_bytes, logged.peer.sent_bytes
    );
    assert!(first.peer.sent_bytes > 0 && second.peer.sent_bytes > 0 && unseen.peer.sent_bytes > 0);
    assert_between(first, unseen, logged);
    assert_between(Legs::default(), first + second, logged);
    assert_eq!(
        legs(&page, REALM, "recovered"),
        Legs::default(),
        "nothing is recovered of a past that was not watched"
    );
    assert_eq!(page.count("coturn_allocations", &IN_REALM), 0);
    assert_eq!(page.count("coturn_exporter_accounting_anomalies_total", &[]), 0);
    assert_eq!(
        page.count("coturn_allocation_duration_seconds_count", &IN_REALM),
        0,
        "no duration without a birth"
    );
}

#[test]
fn it_is_killed_mid_traffic_and_starts_again() {
    restarted_mid_traffic(Exporter::kill);
}

#[test]
fn it_is_ended_mid_traffic_and_starts_again() {
    restarted_mid_traffic(|exporter| {
        let status = exporter.stop(Signal::TERM);
        assert_eq!(status.code(), Some(0), "{status}\n{}", exporter.log());
    });
}

/// We stand still for some lifetimes while clients refresh; when we go on, the clock is ahead of what we have read.
/// Nobody may be called dead for that.
#[test]
fn it_stands_still_for_longer_than_a_lifetime() {
    const LIFETIME: u32 = 5;
    let redis = Redis::start();
    let exporter = Exporter::watching_with(&redis.url(0), &["--allocation.grace", "2s"]);
    let mut statsdb = Statsdb::connect(&redis, 0);
    let allocations: Vec<Allocation> =
        (1..=50).map(|id| Allocation::new(REALM, &format!("user{id}"), id)).collect();
    for allocation in &allocations {
        statsdb.open(allocation, LIFETIME);
    }
    let in_udp = [IN_REALM[0], ("transport", "udp")];
    exporter.until_value("coturn_allocations", &in_udp, 50.0);

    let some = Traffic { received_packets: 9, received_bytes: 900, sent_packets: 7, sent_bytes: 700 };
    let refreshes_for = |statsdb: &mut Statsdb, while_: &mut dyn FnMut() -> bool| {
        let mut rounds = 0;
        poll::until(PATIENCE, "the clients to have refreshed for long enough", || {
            for allocation in &allocations {
                statsdb.refresh(allocation, LIFETIME);
            }
            rounds += 1;
            if while_() { Err(format!("{rounds} rounds")) } else { Ok(()) }
        });
        rounds
    };
    for stop in 1..=2_u64 {
        exporter.freeze();
        let stopwatch = Stopwatch::start();
        // The second time for longer than a PONG may take, too.
        let long = Duration::from_secs(if stop == 1 { 8 } else { 14 });
        let rounds = refreshes_for(&mut statsdb, &mut || stopwatch.elapsed() < long);
        for allocation in &allocations {
            statsdb.report(allocation, some, some);
        }
        exporter.thaw();
        // From now on nobody refreshes on purpose until the page has shown all that was waiting.
        exporter.until("what was published meanwhile to be read", |page| {
            assert_eq!(page.count("coturn_allocations_closed_total", &IN_REALM), 0, "called dead");
            assert_eq!(page.count("coturn_orphaned_allocations", &IN_REALM), 0, "called an orphan");
            assert_eq!(page.count("coturn_allocations", &IN_REALM), 50);
            let wanted = stop * 50 * some.sent_bytes;
            match page
                .count("coturn_relayed_bytes_total", &[IN_REALM[0], ("leg", "peer"), ("direction", "sent")])
            {
                bytes if bytes == wanted => Ok(()),
                bytes => Err(format!("{bytes} of {wanted}")),
            }
        });
        println!("stop {stop}: {rounds} rounds of refreshes in {long:?}");
        // The clients go on, until the link has shown that it is well after all this.
        let heard = Stopwatch::start();
        refreshes_for(&mut statsdb, &mut || {
            let page = exporter.page();
            assert_eq!(page.count("coturn_allocations", &IN_REALM), 50);
            assert_eq!(page.count("coturn_allocations_closed_total", &IN_REALM), 0);
            heard.elapsed() < Duration::from_secs(5)
        });
    }
    assert_eq!(exporter.page().count("coturn_exporter_gaps_total", &[]), 0, "Redis has not cut us off");

    // And it is no blindness: those who really stop are found, once the stream has been heard that far.
    exporter.until_value("coturn_allocations_closed_total", &[IN_REALM[0], ("cause", "abandoned")], 50.0);
    exporter.until_value("coturn_orphaned_allocations", &[IN_REALM[0], ("reason", "overdue")], 50.0);
    Books::default().look(&exporter.page());
}
