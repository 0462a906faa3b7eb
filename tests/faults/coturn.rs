//! coturn killed, started beside another, met twice under one name, and losing events of its own: what the page says
//! then. Real servers and clients throughout.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::models::balance::Books;
use crate::common::models::sums::{assert_between, legs};
use crate::common::models::traffic::Legs;
use crate::common::poll::{self, PATIENCE, Stopwatch};
use crate::common::readers::coturn_log::{CoturnLog, Session};
use crate::common::readers::page::Page;
use crate::common::readers::published::Published;
use crate::common::readers::witness::Witness;
use crate::common::servers::coturn::{Coturn, Settings};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::peer::EchoPeer;
use crate::common::servers::redis::Redis;
use crate::common::servers::uclient::{Job, Uclient, wait_for_all};

const REALM: &str = "one.example";
const IN_REALM: [(&str, &str); 1] = [("realm", REALM)];
const UP: &str = "coturn_exporter_source_up";
const SERVER: Settings<'static> =
    Settings { ip: "127.0.0.1", realm: REALM, users: &["udp"], max_lifetime: 40 };

/// More messages than any test waits for.
const ENDLESS: u32 = 100_000;

fn closed(page: &Page, cause: &str) -> u64 {
    page.count("coturn_allocations_closed_total", &[IN_REALM[0], ("cause", cause)])
}

fn live(page: &Page) -> u64 {
    page.count("coturn_allocations", &IN_REALM)
}

/// What all reports told that a witness has heard.
fn deltas(witness: &Witness) -> Legs {
    let published = Published::of(&witness.seen());
    published.0.values().fold(Legs::default(), |sum, told| sum + told.deltas)
}

/// Waits until so many allocations are live on the page and in the log, and have reported some traffic.
#[track_caller]
fn until_busy(exporter: &Exporter, coturn: &Coturn, allocations: u64) {
    exporter.until("all clients to talk", |page| {
        let log = coturn.log();
        let seen = (live(page), log.live(), log.reports() >= 3);
        if seen == (allocations, allocations, true) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

/// A server dies with six allocations and begins anew with the ids it began with before: the first of them proves that
/// all six are over. Exact: births, ends, each byte that was published. Bounded: what the dead server relayed since its last reports was never told.
#[test]
fn coturn_is_killed_and_its_ids_come_again() {
    let redis = Redis::start();
    let mut coturn = Coturn::start(&redis, 0, Settings { max_lifetime: 15, ..SERVER });
    let exporter = Exporter::watching_with(&redis.url(0), &["--allocation.grace", "2s"]);
    let witness = Witness::listen(&redis);
    let peer = EchoPeer::start();
    let mut books = Books::default();

    let clients =
        Uclient::start(&coturn, peer.port(), Job { clients: 3, messages: ENDLESS, ..Job::default() });
    until_busy(&exporter, &coturn, 6);
    coturn.kill();
    drop(clients);
    let first = coturn.log();
    coturn.start_again(&redis);
    books.look(&exporter.page());
    assert_eq!(live(&exporter.page()), 6, "nobody has said that they are gone, and their keys prove nothing");

    let mut clients = [Uclient::start(&coturn, peer.port(), Job { messages: 1500, ..Job::default() })];
    wait_for_all(&mut clients);
    exporter.until("all to have ended", |page| {
        books.look(page);
        let log = coturn.log();
        if !log.all_ended() {
            return Err("the second life's allocations are open".to_owned());
        }
        match (live(page), page.count("coturn_allocations_opened_total", &IN_REALM)) {
            (0, opened) if opened == first.opened() + log.opened() => Ok(()),
            other => Err(format!("live, opened: {other:?}")),
        }
    });
    let page = exporter.page();
    let second = coturn.log();
    let (replaced, abandoned) = (closed(&page, "replaced"), closed(&page, "abandoned"));
    println!("{replaced} replaced, {abandoned} abandoned; second life {:?}", second.causes());
    // By chance all of the second life fall on a thread that the first did not use.
    let born = |log: &CoturnLog| -> BTreeSet<u64> {
        log.sessions.iter().filter(|(_, session)| session.has_allocation()).map(|(&id, _)| id).collect()
    };
    let is_proven = !born(&first).is_disjoint(&born(&second));
    assert_eq!((replaced, abandoned), if is_proven { (6, 0) } else { (0, 6) });
    for (cause, wanted) in second.causes() {
        assert_eq!(closed(&page, &cause.to_string()), wanted, "{cause}");
    }
    assert_eq!(page.count("coturn_orphaned_allocations", &[IN_REALM[0], ("reason", "overdue")]), abandoned);
    assert_eq!(page.count("coturn_allocations_adopted_total", &IN_REALM), 0);
    assert_eq!(page.count("coturn_exporter_accounting_anomalies_total", &[]), 0);
    let relayed = legs(&page, REALM, "relayed");
    assert_eq!(relayed, deltas(&witness), "what was reported, once");
    assert_eq!(legs(&page, REALM, "recovered"), Legs::default());
    // What the server had logged in its last moment it may not have sent any more.
    assert_between(second.relayed(), relayed, first.relayed() + second.relayed());
}

/// Any coturn that starts deletes all status keys of its db, those of others as well, and says nothing.
#[test]
fn another_coturn_wipes_the_keys_of_live_allocations() {
    let redis = Redis::start();
    let one = Coturn::start(&redis, 0, SERVER);
    let exporter = Exporter::watching(&redis.url(0));
    let peer = EchoPeer::start();
    let mut books = Books::default();
    let job = Job { clients: 2, messages: 7000, ..Job::default() };
    let mut clients = vec![Uclient::start(&one, peer.port(), job)];
    until_busy(&exporter, &one, 4);

    let keys = || redis::cmd("DBSIZE").query::<u64>(&mut redis.connect(0)).expect("DBSIZE");
    let before = keys();
    let two = Coturn::start(&redis, 0, Settings { ip: "127.0.0.2", realm: "two.example", ..SERVER });
    let after = keys();
    assert!(before >= 4 && after == 0, "{before} keys before, {after} after: not wiped");
    clients.push(Uclient::start(&two, peer.port(), Job { clients: 1, messages: 500, ..job }));
    poll::until(PATIENCE, "the other server to have allocations", || match two.log().live() {
        2.. => Ok(()),
        live => Err(format!("{live}")),
    });
    // Now we lose the link, and find the db without the keys of those that live.
    assert_eq!(redis.kill_clients("pubsub"), 1);
    exporter.until_value("coturn_exporter_gaps_total", &[], 1.0);
    exporter.until_value(UP, &[], 1.0);
    let page = exporter.page();
    assert_eq!((live(&page), one.log().live()), (4, 4), "live all the same");
    assert_eq!(closed(&page, "missed"), 0);

    wait_for_all(&mut clients);
    exporter.until("the page to be what both logged", |page| {
        books.look(page);
        for server in [&one, &two] {
            let log = server.log();
            if !log.all_ended() {
                return Err("allocations are open".to_owned());
            }
            let (page, log) = (legs(page, &server.realm, "relayed"), log.relayed());
            if page != log {
                return Err(format!("page {page:?}\nlog  {log:?}"));
            }
        }
        Ok(())
    });
    let page = exporter.page();
    assert_eq!(page.count("coturn_allocations", &[]), 0);
    assert_eq!(page.count("coturn_allocations_adopted_total", &[]), 0);
    for (cause, wanted) in one.log().causes() {
        assert_eq!(closed(&page, &cause.to_string()), wanted, "{cause}");
    }
}

/// Two servers publish under the same realm, users and ids, and nothing on the channels of their traffic tells them
/// apart. Exact: no byte twice, and the sum of what both reported. Bounded: the live number while both have an id.
#[test]
fn two_coturns_share_realm_users_and_ids() {
    let redis = Redis::start();
    let one = Coturn::start(&redis, 0, SERVER);
    let two = Coturn::start(&redis, 0, Settings { ip: "127.0.0.2", ..SERVER });
    let exporter = Exporter::watching_with(&redis.url(0), &["--allocation.grace", "5s"]);
    let witness = Witness::listen(&redis);
    let peer = EchoPeer::start();
    let mut books = Books::default();
    let job = Job { clients: 2, messages: 1000, ..Job::default() };
    let mut clients = Vec::new();
    // Each relay thread has ids of its own, and which one a client comes to is coturn's choice.
    poll::until(PATIENCE, "ids that both servers use at one time", || {
        clients.push(Uclient::start(&one, peer.port(), job));
        clients.push(Uclient::start(&two, peer.port(), Job { length: 400, ..job }));
        let opened = clients.len() as u64 / 2 * 4;
        poll::until(PATIENCE, "all clients to have their allocations", || {
            match (one.log().opened(), two.log().opened()) {
                (one, two) if one == opened && two == opened => Ok(()),
                other => Err(format!("{other:?} of {opened}")),
            }
        });
        match shared_ids(&one.log(), &two.log()) {
            0 => Err(format!("none of {opened}")),
            _ => Ok(()),
        }
    });
    wait_for_all(&mut clients);
    let both = poll::until(PATIENCE, "both servers to end all allocations", || {
        let (one, two) = (one.log(), two.log());
        if one.all_ended() && two.all_ended() { Ok([one, two]) } else { Err("open".to_owned()) }
    });
    let [one, two] = &both;
    let shared = shared_ids(one, two);

    let logged = one.relayed() + two.relayed();
    // The log is ahead of Redis by what coturn's thread has written there and not yet sent.
    poll::until(PATIENCE, "coturn to have reported what it logged", || match deltas(&witness) {
        told if told == logged => Ok(()),
        told => Err(format!("told   {told:?}\nlogged {logged:?}")),
    });
    exporter.until("all to have ended", |page| {
        books.look(page);
        match live(page) {
            0 => Ok(()),
            live => Err(format!("{live} live")),
        }
    });
    let page = exporter.page();
    let anomalies = page.count("coturn_exporter_accounting_anomalies_total", &[("kind", "shared_key")]);
    let relayed = legs(&page, REALM, "relayed");
    println!("{shared} shared ids, {anomalies} told; relayed {relayed:?}, logged {logged:?}");
    assert!((1..=shared).contains(&anomalies), "{anomalies} keys called shared of {shared}");
    assert_eq!(relayed.peer, logged.peer, "each byte to and from peers once");
    assert_between(Legs::default(), relayed, logged);
    // A final report of a few packets whose key the other server has just closed, and which has no peers, is known for an
    // allocation's by nothing.
    let of = |legs: Legs| legs.client.received_bytes + legs.client.sent_bytes;
    let missing = of(logged) - of(relayed);
    exporter.until("each byte between client and server to be there or apart", |page| {
        match page.count("coturn_unallocated_bytes_total", &[]) {
            apart if apart == missing => Ok(()),
            apart => Err(format!("{apart} apart, {missing} not there")),
        }
    });
}

/// What coturn sends while its connection to Redis fails is lost, a refresh too; we notice nothing. The allocation lives
/// as long as it reports traffic, though its last known lifetime is over.
#[test]
fn a_refresh_is_lost_between_coturn_and_redis() {
    // uclient refreshes after 30 s and after 60.
    const LIFETIME: Duration = Duration::from_secs(40);
    const GRACE: Duration = Duration::from_secs(8);
    let redis = Redis::start();
    let coturn = Coturn::start(&redis, 0, SERVER);
    let exporter = Exporter::watching_with(&redis.url(0), &["--allocation.grace", "8s"]);
    let witness = Witness::listen(&redis);
    let peer = EchoPeer::start();
    let mut books = Books::default();
    let job = Job { clients: 2, messages: 15_500, interval: 4, ..Job::default() };
    let mut clients = [Uclient::start(&coturn, peer.port(), job)];
    poll::until(PATIENCE, "four births", || match coturn.log().opened() {
        4 => Ok(()),
        opened => Err(format!("{opened}")),
    });
    let born = Stopwatch::start();
    until_busy(&exporter, &coturn, 4);
    let (refreshed, told) = (refreshes(&coturn), statuses(&witness));

    // coturn's commands fail, and it does not look at the answers; those who only listen go on.
    let allow = |how: [&str; 2]| {
        let mut acl = redis::cmd("ACL");
        acl.arg(&["SETUSER", "default"]).arg(&how).exec(&mut redis.connect(0)).expect("ACL SETUSER");
    };
    allow(["-publish", "-set"]);
    // A refresh that is logged may still be on its way to Redis.
    poll::until(PATIENCE, "both clients to refresh unheard", || {
        match (refreshes(&coturn), redis.rejected_calls("set")) {
            (now, 2..) if now >= refreshed + 2 => Ok(()),
            (now, refused) => Err(format!("{refreshed} before, {now} now, {refused} SETs refused")),
        }
    });
    allow(["+publish", "+set"]);
    assert_eq!(statuses(&witness), told, "the refreshes were published");
    assert!(born.elapsed() < LIFETIME, "too slow: the lifetime is over");

    let mut beyond = 0;
    poll::until(PATIENCE, "a refresh that is heard", || {
        let page = exporter.page();
        books.look(&page);
        let log = coturn.log();
        // The page may be a message behind the log, not behind the time.
        assert!(live(&page) >= 2, "{} live on the page, {} in the log", live(&page), log.live());
        assert_eq!(closed(&page, "abandoned") + closed(&page, "missed"), 0);
        beyond += u64::from(born.elapsed() > LIFETIME + GRACE);
        if statuses(&witness) > told { Ok(()) } else { Err("none".to_owned()) }
    });
    println!("looked {beyond} times after lifetime and grace were over, until {:?}", born.elapsed());
    assert!(beyond > 10, "the next refresh came too soon to see anything");
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
    assert_eq!((live(&page), page.count("coturn_allocations_opened_total", &IN_REALM)), (0, 4));
    assert!(page.count("coturn_recovered_bytes_total", &IN_REALM) > 0, "reports were lost, too");
    assert_eq!(page.count("coturn_exporter_gaps_total", &[]), 0, "our own link was well all the time");
    for (cause, wanted) in coturn.log().causes() {
        assert_eq!(closed(&page, &cause.to_string()), wanted, "{cause}");
    }
}

/// How many ids have an allocation on both.
fn shared_ids(one: &CoturnLog, two: &CoturnLog) -> u64 {
    let allocated = |id: &u64| two.sessions.get(id).is_some_and(Session::has_allocation);
    let both = one.sessions.iter().filter(|&(id, session)| session.has_allocation() && allocated(id));
    both.count() as u64
}

fn refreshes(coturn: &Coturn) -> u64 {
    coturn.log().allocations().map(|session| session.refreshed).sum()
}

fn statuses(witness: &Witness) -> u64 {
    Published::of(&witness.seen()).0.values().map(|told| told.opened + told.refreshed).sum()
}
