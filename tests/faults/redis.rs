//! Redis restarted, hanging, cutting us off: what holds afterwards, against a real coturn where it matters what coturn
//! itself loses, and against a publisher who says exactly what went out where it does not.

use std::time::Duration;

use crate::common::models::balance::Books;
use crate::common::models::sums::{assert_between, legs};
use crate::common::models::traffic::{Legs, Traffic};
use crate::common::net::flood::Flood;
use crate::common::net::statsdb::{Allocation, Statsdb, counters};
use crate::common::poll::{self, PATIENCE, Stopwatch};
use crate::common::readers::page::Page;
use crate::common::readers::published::Published;
use crate::common::readers::witness::Witness;
use crate::common::servers::coturn::{Coturn, Settings};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::peer::EchoPeer;
use crate::common::servers::redis::Redis;
use crate::common::servers::uclient::{Job, Kind, Uclient, wait_for_all};

const REALM: &str = "one.example";
const IN_REALM: [(&str, &str); 1] = [("realm", REALM)];
const UP: &str = "coturn_exporter_source_up";
const SERVER: Settings<'static> =
    Settings { ip: "127.0.0.1", realm: REALM, users: &["udp", "tcp"], max_lifetime: 40 };

/// Waits until the page has as many live allocations as coturn's log, all of whose births were witnessed.
#[track_caller]
fn until_same_allocations(exporter: &Exporter, coturn: &Coturn) {
    exporter.until("the live allocations to be those of coturn's log", |page| {
        let log = coturn.log();
        let wanted = (log.live(), log.opened(), 0);
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
fn talk(coturn: &Coturn, peer: &EchoPeer) -> [Uclient; 2] {
    let udp = Job { clients: 2, messages: 7000, ..Job::default() };
    let tcp = Job { kind: Kind::Tcp, user: "tcp", clients: 1, ..udp };
    [Uclient::start(coturn, peer.port(), udp), Uclient::start(coturn, peer.port(), tcp)]
}

/// Redis restarts while real clients talk. After the first time coturn loses nothing that comes after the gap, so
/// everything is exact. From the second on it may lose up to two groups of events per relay thread (its socket is no
/// longer watched for reading), so what it told decides: an allocation whose sums a witness has seen is exact, and one
/// whose end was lost is counted by what was heard of it, never more than it relayed.
fn redis_restarts_mid_traffic(mut redis: Redis, outages: u64) {
    const DB: u8 = 2;
    let coturn = Coturn::start(&redis, DB, SERVER);
    let exporter = Exporter::watching_with(&redis.url(DB), &["--allocation.grace", "5s"]);
    let peer = EchoPeer::start();
    let mut books = Books::default();
    let mut witness = Witness::listen(&redis);
    let mut heard = Vec::new();
    for outage in 1..=outages {
        let mut clients = talk(&coturn, &peer);
        let before = coturn.log().reports();
        poll::until(PATIENCE, "reports while Redis is there", || match coturn.log().reports() {
            reports if reports >= before + 3 => Ok(()),
            reports => Err(format!("{reports}")),
        });
        until_same_allocations(&exporter, &coturn);
        redis.kill();
        exporter.until_value(UP, &[], 0.0);
        let before = coturn.log().reports();
        poll::until(PATIENCE, "reports while Redis is away", || match coturn.log().reports() {
            reports if reports >= before + 2 => Ok(()),
            reports => Err(format!("{reports}")),
        });
        let live_then = coturn.log().live();
        assert!(live_then >= 4, "{live_then} live allocations: the traffic was over before Redis came back");

        redis.start_again();
        heard.extend(witness.seen());
        witness = Witness::listen(&redis);
        exporter.until_value(UP, &[], 1.0);
        assert_eq!(coturn.log().live(), live_then, "too slow: allocations ended before all were back");
        until_same_allocations(&exporter, &coturn);
        assert_eq!(exporter.page().count("coturn_exporter_gaps_total", &[]), outage);
        wait_for_all(&mut clients);

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
            let relayed = legs(page, REALM, "relayed");
            if silent.is_empty() && relayed != upper {
                return Err(format!("page {relayed:?}\nlog  {upper:?}"));
            }
            Ok(())
        });
        let page = exporter.page();
        let relayed = legs(&page, REALM, "relayed");
        // Of those whose end was lost, at least what was told of them.
        let mut lower = Legs::default();
        for (id, session) in &log.sessions {
            lower += if whole.contains(id) { session.legs } else { told.of_session(*id).deltas };
        }
        assert_between(lower, relayed, upper);
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
    redis_restarts_mid_traffic(Redis::start(), 2);
}

#[test]
fn redis_is_restarted_with_its_keys_mid_traffic() {
    let kept = [("appendonly", "yes"), ("appendfsync", "always")];
    redis_restarts_mid_traffic(Redis::start_with_settings(&kept), 1);
}

/// A byte count that tells which report it came from.
fn some(packets: u64) -> Traffic {
    Traffic {
        received_packets: packets,
        received_bytes: packets * 172,
        sent_packets: packets / 2,
        sent_bytes: packets / 2 * 301,
    }
}

/// Waits for the sums of both legs.
#[track_caller]
fn until_legs(exporter: &Exporter, what: &str, wanted: Legs) {
    exporter.until(&format!("{what} to be {wanted:?}"), |page| match legs(page, REALM, what) {
        seen if seen == wanted => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
}

#[track_caller]
fn assert_no_anomalies(page: &Page) {
    assert_eq!(page.count("coturn_exporter_accounting_anomalies_total", &[]), 0);
    assert_eq!(page.count("coturn_exporter_rejected_messages_total", &[]), 0);
}

/// A restarted Redis that has kept its keys has forgotten how old they are: all seem to have been set just now. A key
/// whose value is `new` is then no other allocation than the one we know.
#[test]
fn keys_reloaded_from_disk_are_the_allocations_that_we_know() {
    let mut redis = Redis::start_with_settings(&[("appendonly", "yes"), ("appendfsync", "always")]);
    let exporter = Exporter::watching(&redis.url(0));
    let allocations: Vec<Allocation> = (1..=10).map(|id| Allocation::new(REALM, "alice", id)).collect();
    let mut statsdb = Statsdb::connect(&redis, 0);
    for allocation in &allocations {
        statsdb.open(allocation, 600);
        statsdb.report(allocation, some(100), some(90));
    }
    until_legs(&exporter, "relayed", Legs { client: some(100) * 10, peer: some(90) * 10 });
    // The keys must be older than what passes for the same moment: as old as the resync can tell.
    poll::until(PATIENCE, "the keys to be some seconds old", || {
        let key = allocations[0].key();
        let idle: u64 =
            redis::cmd("OBJECT").arg(&["IDLETIME", &key]).query(&mut redis.connect(0)).expect("an idle time");
        if idle >= 4 { Ok(()) } else { Err(format!("{idle} s")) }
    });
    redis.kill();
    exporter.until_value(UP, &[], 0.0);
    redis.start_again();
    exporter.until_value(UP, &[], 1.0);
    exporter.until_value("coturn_exporter_status_keys", &[("state", "live")], 10.0);
    let page = exporter.page();
    for (name, wanted) in [
        ("coturn_allocations", 10),
        ("coturn_allocations_opened_total", 10),
        ("coturn_allocations_adopted_total", 0),
        ("coturn_allocations_closed_total", 0),
    ] {
        assert_eq!(page.count(name, &IN_REALM), wanted, "{name}");
    }

    let mut statsdb = Statsdb::connect(&redis, 0);
    for allocation in &allocations {
        statsdb.close(allocation, some(300), some(290));
    }
    until_legs(&exporter, "relayed", Legs { client: some(300) * 10, peer: some(290) * 10 });
    until_legs(&exporter, "recovered", Legs { client: some(200) * 10, peer: some(200) * 10 });
    let page = exporter.page();
    assert_eq!(page.count("coturn_allocations_closed_total", &[IN_REALM[0], ("cause", "disconnected")]), 10);
    assert_no_anomalies(&page);
}

/// An empty Redis after a restart says nothing about its db's number.
#[test]
fn an_empty_redis_after_a_restart_is_not_called_the_wrong_db() {
    let mut redis = Redis::start();
    let exporter = Exporter::watching(&redis.url(0));
    Statsdb::connect(&redis, 0).open(&Allocation::new(REALM, "alice", 1), 600);
    exporter.until_value("coturn_allocations", &[IN_REALM[0], ("transport", "udp")], 1.0);
    redis.kill();
    exporter.until_value(UP, &[], 0.0);
    redis.start_again();
    exporter.until_value(UP, &[], 1.0);
    assert!(!exporter.log().contains("dbname"), "{}", exporter.log());
    exporter.until_value("coturn_exporter_redis_setting_ok", &[("setting", "dbname")], 1.0);
    exporter.until_value("coturn_allocations", &[IN_REALM[0], ("transport", "udp")], 1.0);
}

/// Redis stands still under a real coturn for as long as the PING deadline takes. coturn's events wait in its sockets and
/// come in one burst when Redis goes on, before or after we are subscribed again; the totals tell the difference.
#[test]
fn redis_hangs_under_traffic() {
    const DB: u8 = 4;
    let redis = Redis::start();
    let coturn = Coturn::start(&redis, DB, Settings { max_lifetime: 60, ..SERVER });
    let exporter = Exporter::watching(&redis.url(DB));
    let peer = EchoPeer::start();
    let mut books = Books::default();
    // They talk for some 35 s: longer than the deadline of 20 s at most, and the way back.
    let mut clients = [
        Uclient::start(
            &coturn,
            peer.port(),
            Job { clients: 2, messages: 7000, interval: 5, ..Job::default() },
        ),
        Uclient::start(
            &coturn,
            peer.port(),
            Job { kind: Kind::Tcp, user: "tcp", messages: 7000, interval: 5, ..Job::default() },
        ),
    ];
    exporter.until("reports to arrive", |page| match page.count("coturn_relayed_bytes_total", &IN_REALM) {
        0 => Err("none yet".to_owned()),
        _ => Ok(()),
    });
    until_same_allocations(&exporter, &coturn);

    redis.freeze();
    let stopwatch = Stopwatch::start();
    exporter.until_value(UP, &[], 0.0);
    let noticed = stopwatch.elapsed();
    // 10 s between two PINGs, 10 s for the answer; and a machine that is busy.
    assert!(noticed < Duration::from_secs(30), "noticed after {noticed:?}");
    let before = coturn.log().reports();
    redis.thaw();
    exporter.until_value(UP, &[], 1.0);
    let back = stopwatch.elapsed();
    assert!(clients.iter_mut().all(Uclient::is_running), "too slow: the traffic is over");
    until_same_allocations(&exporter, &coturn);
    wait_for_all(&mut clients);

    exporter.until("the page to be what coturn logged", |page| {
        books.look(page);
        let log = coturn.log();
        if !log.all_ended() {
            return Err("allocations are open".to_owned());
        }
        let (page, log) = (legs(page, REALM, "relayed"), log.relayed());
        if page == log { Ok(()) } else { Err(format!("page {page:?}\nlog  {log:?}")) }
    });
    let page = exporter.page();
    let log = coturn.log();
    println!(
        "noticed after {noticed:?}, back after {back:?}; {before} reports until then; recovered {:?} of {:?}",
        legs(&page, REALM, "recovered"),
        log.relayed()
    );
    assert_eq!(page.count("coturn_allocations", &IN_REALM), 0);
    assert_eq!(page.count("coturn_exporter_gaps_total", &[]), 1);
    assert_eq!(page.count("coturn_unseen_bytes_total", &IN_REALM), 0);
    assert_no_anomalies(&page);
    for (cause, wanted) in log.causes() {
        let cause = cause.to_string();
        let seen = page.count("coturn_allocations_closed_total", &[IN_REALM[0], ("cause", &cause)]);
        assert_eq!(seen, wanted, "{cause}");
    }
}

/// Our subscription is cut, and in the very same moment, before anybody could be subscribed again, reports go out.
#[test]
fn reports_in_a_gap_come_back_with_the_totals() {
    let redis = Redis::start();
    let exporter = Exporter::watching(&redis.url(0));
    let mut statsdb = Statsdb::connect(&redis, 0);
    let allocations: Vec<Allocation> = (1..=20).map(|id| Allocation::new(REALM, "alice", id)).collect();
    for allocation in &allocations {
        statsdb.open(allocation, 600);
        statsdb.report(allocation, some(1000), some(990));
    }
    until_legs(&exporter, "relayed", Legs { client: some(1000) * 20, peer: some(990) * 20 });

    // One packet: Redis executes it without listening to anybody else in between.
    let mut in_one_go = redis::pipe();
    in_one_go.cmd("MULTI");
    in_one_go.cmd("CLIENT").arg(&["KILL", "TYPE", "pubsub"]);
    for allocation in &allocations {
        in_one_go.cmd("PUBLISH").arg(allocation.channel("traffic")).arg(counters(some(400)));
        in_one_go.cmd("PUBLISH").arg(allocation.channel("traffic/peer")).arg(counters(some(390)));
    }
    in_one_go.cmd("EXEC");
    in_one_go.exec(&mut redis.connect(0)).expect("MULTI to EXEC");
    exporter.until_value("coturn_exporter_gaps_total", &[], 1.0);
    exporter.until_value(UP, &[], 1.0);

    // Until the ends come, what went by in the gap is unknown, and the rest goes on.
    for allocation in &allocations {
        statsdb.report(allocation, some(50), some(40));
    }
    let client = some(1000) * 20 + some(50) * 20;
    let peer = some(990) * 20 + some(40) * 20;
    until_legs(&exporter, "relayed", Legs { client, peer });
    assert_eq!(exporter.page().count("coturn_recovered_bytes_total", &[]), 0);
    for allocation in &allocations {
        statsdb.close(allocation, some(1000) + some(400) + some(50), some(990) + some(390) + some(40));
    }
    let gap = Legs { client: some(400) * 20, peer: some(390) * 20 };
    until_legs(&exporter, "recovered", gap);
    until_legs(&exporter, "relayed", Legs { client: client + gap.client, peer: peer + gap.peer });
    let page = exporter.page();
    Books::default().look(&page);
    assert_eq!(page.count("coturn_allocations", &IN_REALM), 0);
    assert_eq!(page.count("coturn_unseen_bytes_total", &[]), 0);
    assert_no_anomalies(&page);
}

/// We do not read for a while, and Redis throws us out when its buffer for us is full. What it had queued for us is lost.
#[test]
fn redis_cuts_us_off_for_being_slow() {
    // The least that is more than what one answer needs: else the kernel's buffers are most of it.
    let redis = Redis::start_with_settings(&[("client-output-buffer-limit", "pubsub 1mb 0 0")]);
    let exporter = Exporter::watching(&redis.url(0));
    let mut statsdb = Statsdb::connect(&redis, 0);
    let of = |id| Allocation::new(REALM, "alice", id);
    let (stays, goes, comes) = (of(1), of(2), of(3));
    for allocation in [&stays, &goes] {
        statsdb.open(allocation, 600);
        statsdb.report(allocation, some(1000), some(990));
    }
    until_legs(&exporter, "relayed", Legs { client: some(1000) + some(1000), peer: some(990) + some(990) });

    exporter.freeze();
    let mut flood = Flood::connect(&redis);
    let (mut client, mut peer) = (some(1000), some(990));
    let (on_client, on_peer) = (stays.channel("traffic"), stays.channel("traffic/peer"));
    poll::until(PATIENCE, "Redis to cut us off", || {
        for _ in 0..5_000 {
            flood.publish(on_client.as_bytes(), counters(some(10)).as_bytes());
            flood.publish(on_peer.as_bytes(), counters(some(8)).as_bytes());
            client += some(10);
            peer += some(8);
        }
        flood.settle();
        if redis.subscribers() == 0 { Ok(()) } else { Err(format!("{client:?} so far")) }
    });
    // Nobody hears how one ends and another begins.
    statsdb.close(&goes, some(1000), some(990));
    statsdb.open(&comes, 600);
    statsdb.report(&comes, some(100), some(90));
    exporter.thaw();
    exporter.until_value("coturn_exporter_gaps_total", &[], 1.0);
    exporter.until_value(UP, &[], 1.0);
    // The one that came is there by its key. The one that went is not yet known to be gone: a wipe of all keys would look
    // the same but for the key of `stays`, which is older, and that of `comes`, which is younger.
    exporter.until("the resync to have found both keys", |page| {
        let of = |name: &str| page.count(name, &IN_REALM);
        match (of("coturn_allocations_adopted_total"), of("coturn_allocations")) {
            (1, 2 | 3) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let before_ends = legs(&exporter.page(), REALM, "relayed");

    for (allocation, client, peer) in [(&stays, client, peer), (&comes, some(150), some(130))] {
        statsdb.close(allocation, client, peer);
    }
    // Watched from birth: exact. Not watched from birth: what its totals have beyond what was heard stands apart.
    until_legs(&exporter, "relayed", Legs { client: client + some(1000), peer: peer + some(990) });
    until_legs(&exporter, "unseen", Legs { client: some(150), peer: some(130) });
    let page = exporter.page();
    println!("relayed before the ends {before_ends:?}, after {:?}", legs(&page, REALM, "relayed"));
    assert!(page.count("coturn_recovered_bytes_total", &IN_REALM) > 0, "something was lost");
    Books::default().look(&page);
    assert_no_anomalies(&page);
}
