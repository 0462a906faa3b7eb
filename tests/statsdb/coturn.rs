//! coturn 4.6.1 reporting straight to the exporter: its whole life, to the byte against its own log; its death, which
//! shows at once; and its return.

use std::time::Duration;

use crate::common::models::balance::Books;
use crate::common::models::sums::{assert_between, legs};
use crate::common::models::traffic::Legs;
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::coturn_log::{Cause, CoturnLog, sum};
use crate::common::readers::page::Page;
use crate::common::servers::coturn::{Coturn, Settings};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::idle_cutter::IdleCutter;
use crate::common::servers::listener::listening;
use crate::common::servers::peer::EchoPeer;
use crate::common::servers::uclient::{Job, Kind, Uclient, wait_for_all};
use crate::common::temp_dir::TempDir;

const REALM: &str = "one.example";
const IN_REALM: [(&str, &str); 1] = [("realm", REALM)];
const CONNECTIONS: &str = "coturn_exporter_statsdb_connections";
const SERVER: Settings<'static> =
    Settings { ip: "127.0.0.1", realm: REALM, users: &["udp", "tcp"], max_lifetime: 30 };

/// More messages than any test waits for.
const ENDLESS: u32 = 100_000;

fn live(page: &Page) -> u64 {
    page.count("coturn_allocations", &IN_REALM)
}

fn closed(page: &Page, cause: &str) -> u64 {
    page.count("coturn_allocations_closed_total", &[IN_REALM[0], ("cause", cause)])
}

/// What coturn says of its "Redis" when that does not do as it should.
#[track_caller]
fn assert_content(coturn: &Coturn) {
    for line in coturn.log_text().lines().filter(|line| line.to_lowercase().contains("redis")) {
        let known = line.contains("Redis supported") || line.contains("connection to be used");
        assert!(known, "{line}");
    }
}

/// What is wrong with the page, by the log of a server whose allocations have all ended.
fn differences(page: &Page, log: &CoturnLog) -> Result<(), String> {
    let mut seen = vec![("all ended", u64::from(log.all_ended()), 1), ("live", live(page), 0)];
    seen.push(("opened", page.count("coturn_allocations_opened_total", &IN_REALM), log.opened()));
    for (cause, wanted) in log.causes() {
        seen.push(("closed", closed(page, &cause.to_string()), wanted));
    }
    let relayed = legs(page, REALM, "relayed");
    match seen.iter().find(|(_, page, log)| page != log) {
        Some((what, page, log)) => Err(format!("{what}: page {page}, log {log}")),
        None if relayed != log.relayed() => Err(format!("page {relayed:?}, log {:?}", log.relayed())),
        None => Ok(()),
    }
}

#[test]
fn a_whole_life_is_told_to_the_byte() {
    let dir = TempDir::new("password");
    let password = dir.write("password", "open-sesame\n");
    let password = password.display().to_string();
    let (exporter, address) = listening(&["--statsdb.password-file", &password]);
    exporter.wait_ready();
    let coturn = Coturn::start_reporting_to(address.port(), Some("open-sesame"), SERVER);
    let peer = EchoPeer::start();
    let mut books = Books::default();
    let udp = Job { clients: 2, messages: 1500, ..Job::default() };
    let tcp = Job { kind: Kind::Tcp, user: "tcp", ..udp };
    let relay = Job { kind: Kind::TcpRelay, messages: 300, length: 500, ..tcp };
    let mut clients = [udp, tcp, relay].map(|job| Uclient::start(&coturn, peer.port(), job));
    exporter.until("live allocations", |page| if live(page) > 0 { Ok(()) } else { Err("none".to_owned()) });
    wait_for_all(&mut clients);
    exporter.until("the page to be what coturn logged", |page| {
        books.look(page);
        differences(page, &coturn.log())
    });
    let page = exporter.page();
    let causes = coturn.log().causes();
    for cause in [Cause::Released, Cause::Expired, Cause::Disconnected] {
        assert!(causes.contains_key(&cause), "nothing was {cause} in {causes:?}");
    }
    for name in [
        "coturn_allocations_adopted_total",
        "coturn_recovered_bytes_total",
        "coturn_unseen_bytes_total",
        "coturn_exporter_gaps_total",
        "coturn_exporter_rejected_messages_total",
        "coturn_exporter_accounting_anomalies_total",
        "coturn_exporter_statsdb_refused_commands_total",
    ] {
        assert!(page.has_family(name), "{name}");
        assert_eq!(page.count(name, &[]), 0, "{name}");
    }
    assert_eq!(page.count("coturn_exporter_source_up", &[]), 1);
    assert_content(&coturn);
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

#[test]
fn a_killed_server_takes_its_allocations_along_at_once_and_no_others() {
    let (exporter, address) = listening(&[]);
    let mut coturn =
        Coturn::start_reporting_to(address.port(), None, Settings { max_lifetime: 3600, ..SERVER });
    // On this host too, with the same realm, users and ids: nothing is shared but the port it reports to.
    let other = Coturn::start_reporting_to(
        address.port(),
        None,
        Settings { ip: "127.0.0.2", max_lifetime: 3600, ..SERVER },
    );
    let peer = EchoPeer::start();
    let mut books = Books::default();
    let endless = Job { clients: 3, messages: ENDLESS, ..Job::default() };
    let doomed = Uclient::start(&coturn, peer.port(), endless);
    until_busy(&exporter, &coturn, 6);
    let mut lucky = Uclient::start(&other, peer.port(), Job { messages: 5000, ..endless });
    exporter.until("all clients of both to be live", |page| match live(page) {
        12 => Ok(()),
        live => Err(live.to_string()),
    });
    assert_eq!(page_anomalies(&exporter.page()), 0, "equal ids of two servers are not mixed up");

    coturn.kill();
    drop(doomed);
    // Its grants run for an hour: only its connections can have told.
    exporter.until("its six to be gone, and no others", |page| {
        books.look(page);
        match (live(page), closed(page, "abandoned")) {
            (6, 6) => Ok(()),
            other => Err(format!("live, abandoned: {other:?}")),
        }
    });
    let first = coturn.log();

    coturn.start_reporting_again();
    let mut clients = [Uclient::start(&coturn, peer.port(), Job { messages: 500, ..endless })];
    wait_for_all(&mut clients);
    let wanted = first.opened() + coturn.log().opened() + other.log().opened();
    exporter.until("the births of its second life", |page| {
        books.look(page);
        match page.count("coturn_allocations_opened_total", &IN_REALM) {
            opened if opened == wanted => Ok(()),
            opened => Err(format!("{opened} of {wanted}")),
        }
    });
    lucky.wait(PATIENCE).unwrap_or_else(|| panic!("{}", lucky.output()));
    poll::until(PATIENCE, "the other's allocations to be given back", || {
        let released = other.log().causes().get(&Cause::Released).copied().unwrap_or(0);
        if released >= 3 { Ok(()) } else { Err(format!("{:?}", other.log().causes())) }
    });
    exporter.until("each byte to be counted once", |page| {
        books.look(page);
        let relayed = legs(page, REALM, "relayed");
        let (second, other) = (coturn.log().relayed(), other.log().relayed());
        // What the dead one had logged in its last moment it may not have sent any more.
        let (lower, upper) = (second + other, first.relayed() + second + other);
        if lower.peer.sent_bytes <= relayed.peer.sent_bytes
            && relayed.peer.sent_bytes <= upper.peer.sent_bytes
        {
            Ok((lower, relayed, upper))
        } else {
            Err(format!("{lower:?} {relayed:?} {upper:?}"))
        }
    });
    let page = exporter.page();
    let (second, other_log) = (coturn.log().relayed(), other.log().relayed());
    assert_between(second + other_log, legs(&page, REALM, "relayed"), first.relayed() + second + other_log);
    assert_eq!(legs(&page, REALM, "recovered"), Legs::default());
    assert_eq!(page.count("coturn_allocations_adopted_total", &IN_REALM), 0);
    assert_eq!(closed(&page, "abandoned"), 6);
    assert_eq!(closed(&page, "replaced"), 0, "what had ended was not replaced");
    assert_eq!(page_anomalies(&page), 0);
    assert_eq!(page.count("coturn_exporter_gaps_total", &[]), 0);
    assert!(page.count(CONNECTIONS, &[]) >= 4);
    assert_content(&coturn);
    assert_content(&other);
}

/// Each death of a coturn with calls is one line, and so is each return, however many connections it opens.
#[test]
fn each_death_and_each_return_is_one_line_of_the_log() {
    const GONE: &str = "coturn is gone";
    const BACK: &str = "coturn has connected";
    let (exporter, address) = listening(&[]);
    let mut coturn =
        Coturn::start_reporting_to(address.port(), None, Settings { max_lifetime: 3600, ..SERVER });
    let peer = EchoPeer::start();
    let endless = Job { clients: 2, messages: ENDLESS, ..Job::default() };
    let count = |line: &str| exporter.log().matches(line).count();
    let until_said = |line: &str, times: usize| {
        poll::until(PATIENCE, line, || match count(line) {
            said if said >= times => Ok(()),
            said => Err(format!("{said} of {times}")),
        });
    };
    for death in 1..=2 {
        let doomed = Uclient::start(&coturn, peer.port(), endless);
        until_busy(&exporter, &coturn, 4);
        coturn.kill();
        drop(doomed);
        until_said(GONE, death);
        coturn.start_reporting_again();
        until_said(BACK, death + 1);
    }
    wait_for_all(&mut [Uclient::start(&coturn, peer.port(), Job { clients: 2, messages: 200, ..endless })]);
    exporter.until("its last clients to be known", |page| {
        let opened = page.count("coturn_allocations_opened_total", &IN_REALM);
        if opened == 12 { Ok(()) } else { Err(format!("{opened} opened")) }
    });
    assert!(exporter.page().count(CONNECTIONS, &[]) > 1, "of each thread");
    assert_eq!((count(GONE), count(BACK)), (2, 3), "{}", exporter.log());
}

/// A coturn is killed; its next process gives out the same ids, also to clients that it refuses under the same name.
#[test]
fn whom_a_restarted_server_refuses_adds_nothing_to_the_dead() {
    let (exporter, address) = listening(&[]);
    let mut coturn =
        Coturn::start_reporting_to(address.port(), None, Settings { max_lifetime: 3600, ..SERVER });
    let peer = EchoPeer::start();
    let endless = Job { kind: Kind::Tcp, user: "tcp", clients: 2, messages: ENDLESS, ..Job::default() };
    let doomed = Uclient::start(&coturn, peer.port(), endless);
    until_busy(&exporter, &coturn, 2);
    coturn.kill();
    drop(doomed);
    exporter.until("its two to be gone", |page| match (live(page), closed(page, "abandoned")) {
        (0, 2) => Ok(()),
        other => Err(format!("live, abandoned: {other:?}")),
    });
    let (first, relayed) = (coturn.log(), legs(&exporter.page(), REALM, "relayed"));

    coturn.start_reporting_again();
    let is_refused = |id: &u64| {
        let log = coturn.log();
        log.sessions.get(id).is_some_and(|session| session.user == "tcp" && session.reports > 0)
    };
    let dead = first.sessions.iter().filter(|(_, session)| session.is_live()).map(|(id, _)| *id);
    let dead: Vec<_> = dead.collect();
    poll::until(PATIENCE, "one of the refused to have the id of one of the dead", || {
        let mut refused = Uclient::start(&coturn, peer.port(), Job { password: "not this", ..endless });
        assert!(refused.wait(PATIENCE).is_none(), "{}", refused.output());
        if dead.iter().any(is_refused) { Ok(()) } else { Err(format!("{dead:?}: {}", coturn.log_text())) }
    });
    exporter.until("what they sent to count for nobody", |page| {
        let unallocated = page.count("coturn_unallocated_packets_total", &[("direction", "received")]);
        let lost = [&first, &coturn.log()].map(|log| sum(log.unallocated()).client.received_packets);
        if unallocated == lost.iter().sum::<u64>() {
            Ok(())
        } else {
            Err(format!("{unallocated} of {lost:?}"))
        }
    });
    assert_eq!(legs(&exporter.page(), REALM, "relayed"), relayed);
    assert_eq!(page_anomalies(&exporter.page()), 0);
}

fn page_anomalies(page: &Page) -> u64 {
    page.count("coturn_exporter_accounting_anomalies_total", &[])
}

/// What coturn does when its "Redis" goes away for a while: what lives is met again, none of it is called abandoned.
#[test]
fn an_exporter_that_starts_again_meets_what_lives() {
    let (mut exporter, address) = listening(&[]);
    let coturn = Coturn::start_reporting_to(address.port(), None, SERVER);
    let peer = EchoPeer::start();
    let mut clients =
        [Uclient::start(&coturn, peer.port(), Job { clients: 2, messages: 12_000, ..Job::default() })];
    until_busy(&exporter, &coturn, 4);
    exporter.kill();
    let again = address.to_string();
    let exporter = Exporter::start(&["--statsdb.listen-address", &again]);
    exporter.until("those that talk to be known", |page| match live(page) {
        2.. => Ok(()),
        live => Err(live.to_string()),
    });
    wait_for_all(&mut clients);
    exporter.until("all to be over", |page| {
        let state = (live(page), closed(page, "abandoned"), coturn.log().all_ended());
        if state == (0, 0, true) { Ok(()) } else { Err(format!("live, abandoned, over: {state:?}")) }
    });
}

/// coturn is restarted with live calls, as an upgrade does: that is told as a restart, not as a death.
#[test]
fn a_restart_is_told_as_one() {
    let (exporter, address) = listening(&[]);
    let mut coturn =
        Coturn::start_reporting_to(address.port(), None, Settings { max_lifetime: 3600, ..SERVER });
    let peer = EchoPeer::start();
    let endless = Job { clients: 3, messages: ENDLESS, ..Job::default() };
    let clients = Uclient::start(&coturn, peer.port(), endless);
    until_busy(&exporter, &coturn, 6);

    // However long coturn takes here to start on a busy machine, to the exporter it is back at once.
    exporter.freeze();
    coturn.terminate();
    drop(clients);
    coturn.start_reporting_again();
    exporter.thaw();

    exporter.until("its six to be replaced", |page| match (live(page), closed(page, "replaced")) {
        (0, 6) => Ok(()),
        other => Err(format!("live, replaced: {other:?}")),
    });
    let page = exporter.page();
    assert_eq!(page.count("coturn_allocations_closed_total", &IN_REALM), 6);
    assert_eq!(page.count("coturn_orphaned_allocations", &IN_REALM), 0);
    exporter.until_logged(&["coturn was restarted"]);
    assert!(!exporter.log().contains("coturn is gone"), "{}", exporter.log());
}

/// Ten allocations and a device on the way that closes what is idle: coturn lives, and so do they.
#[test]
fn connections_that_are_cut_for_being_idle_end_nothing() {
    let (exporter, address) = listening(&[]);
    let cutter = IdleCutter::start(address, Duration::from_secs(2));
    let coturn =
        Coturn::start_reporting_to(cutter.address.port(), None, Settings { max_lifetime: 3600, ..SERVER });
    let peer = EchoPeer::start();
    let endless = Job { clients: 5, messages: ENDLESS, interval: 500, ..Job::default() };
    let ten = Uclient::start(&coturn, peer.port(), endless);
    exporter.until("ten allocations", |page| match live(page) {
        10 => Ok(()),
        live => Err(live.to_string()),
    });
    let mut more = Vec::new();
    for round in 1..=3 {
        let before = cutter.cuts();
        // The first time coturn connects again at once, and is cut again; later with its next event.
        poll::until(PATIENCE, "all connections to be cut", || {
            match (cutter.open(), cutter.cuts() - before) {
                (0, 1..) => Ok(()),
                other => Err(format!("open, cut: {other:?}")),
            }
        });
        more.push(Uclient::start(&coturn, peer.port(), Job { clients: 1, ..endless }));
        poll::until(PATIENCE, "coturn to connect again", || match cutter.open() {
            0 => Err("not yet".to_owned()),
            _ => Ok(()),
        });
        let page = exporter.page();
        let ended = page.count("coturn_allocations_closed_total", &IN_REALM);
        assert_eq!((live(&page) >= 10, ended), (true, 0), "round {round}");
    }
    // Whatever was to be judged has been: the listener's own tick comes later than a verdict.
    exporter.until("the last cut to be long over", |_| match cutter.open() {
        0 => Ok(()),
        open => Err(format!("{open} open")),
    });
    let page = exporter.page();
    for name in ["coturn_allocations_closed_total", "coturn_sessions_closed_total"] {
        assert_eq!(page.count(name, &IN_REALM), 0, "{name}");
    }
    // Births that coturn lost while it connected again may have been met later; nobody is met twice.
    let met =
        ["opened", "adopted"].map(|how| page.count(&format!("coturn_allocations_{how}_total"), &IN_REALM));
    assert!(met[0] >= 10 && met[0] + met[1] <= coturn.log().opened(), "{met:?} of {}", coturn.log().opened());
    drop((ten, more));
}

/// coturn with no or a wrong password goes on and says nothing; the exporter is ready and up, and says so once.
#[test]
fn a_coturn_without_the_right_password_is_reported_until_it_has_it() {
    const REFUSED: &str = "coturn_exporter_statsdb_refused_clients";
    const SEEN: &str = "coturn_exporter_statsdb_coturn_seen";
    const COMMANDS: &str = "coturn_exporter_statsdb_refused_commands_total";
    const LINE: &str = "a client is refused for its password";
    let dir = TempDir::new("password");
    let file = dir.write("password", "open-sesame\n").display().to_string();
    let (exporter, address) = listening(&["--statsdb.password-file", &file]);
    exporter.wait_ready();
    let (port, peer) = (address.port(), EchoPeer::start());
    for (lines, (password, word)) in
        [(None, "missing"), (Some("close-sesame"), "wrong")].into_iter().enumerate()
    {
        let mut coturn = Coturn::start_reporting_to(port, password, SERVER);
        exporter.until_value(REFUSED, &[], 1.0);
        let line = exporter.until_logged(&[LINE, &format!("password={word}")]);
        assert!(line.contains("level=warn") && line.contains("peer=127.0.0.1"), "{line}");
        let commands = || exporter.page().count(COMMANDS, &[("reason", "login")]);
        // Each command is refused, and none of them is another episode.
        let before = commands();
        wait_for_all(&mut [Uclient::start(&coturn, peer.port(), Job { messages: 50, ..Job::default() })]);
        poll::until(PATIENCE, "its reports to be refused", || match commands() {
            more if more > before => Ok(()),
            same => Err(same.to_string()),
        });
        let page = exporter.page();
        assert_eq!(page.value(SEEN, &[]), Some(lines as f64), "one that is refused is not seen");
        assert_eq!(page.value("coturn_exporter_source_up", &[]), Some(1.0));
        assert!(!page.has_family("coturn_allocations") || live(&page) == 0);
        assert_eq!(exporter.status("/-/ready"), 200);
        assert_eq!(exporter.log().matches(LINE).count(), lines + 1, "{}", exporter.log());
        assert_eq!(page.value(REFUSED, &[]), Some(1.0));

        // It is mended: another process at the same address logs in.
        coturn.kill();
        let mended = Coturn::start_reporting_to(port, Some("open-sesame"), SERVER);
        exporter.until_value(REFUSED, &[], 0.0);
        exporter.until_value(SEEN, &[], 1.0);
        drop(mended);
    }
    assert_eq!(exporter.log().matches("a client that was refused has logged in").count(), 2);
    assert_eq!(exporter.log().matches("coturn has connected").count(), 1);
}
