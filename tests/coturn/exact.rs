//! The promise of the product, against a real coturn: each number on the page is what coturn itself wrote down, to the
//! byte, for two realms, all ways in which an allocation ends, and sessions that never had one.
//!
//! Two servers publish into one Redis. Their session ids collide, as they do in the field.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::common::poll::{self, PATIENCE, Stopwatch};
use crate::common::readers::coturn_log::{Cause, CoturnLog, Session, sum};
use crate::common::readers::page::{Page, Series};
use crate::common::servers::coturn::{Coturn, Settings};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::peer::EchoPeer;
use crate::common::servers::redis::Redis;
use crate::common::servers::uclient::{Job, Kind, Uclient};

const DB: u8 = 3;

/// The log names users, not transports: so each user has one, and is called after it.
const USERS: [&str; 2] = ["udp", "tcp"];

/// How long the run may take as a whole on a machine that is busy otherwise.
const RUN: Duration = Duration::from_secs(300);

#[test]
fn the_page_is_what_coturn_logged() {
    let redis = Redis::start();
    let settings = Settings { ip: "127.0.0.1", realm: "one.example", users: &USERS, max_lifetime: 30 };
    let one = Coturn::start(&redis, DB, settings);
    let two = Coturn::start(&redis, DB, Settings { ip: "127.0.0.2", realm: "two.example", ..settings });
    let servers = [&one, &two];
    let exporter = Exporter::watching(&redis.url(DB));
    let peer = EchoPeer::start();

    // Sessions without an allocation: a port check, a STUN probe, a refused login.
    for server in servers {
        for _ in 0..3 {
            knock(server);
            ask_for_binding(server);
        }
    }
    let tcp = Job { kind: Kind::Tcp, user: "tcp", messages: 1500, ..Job::default() };
    let mut refused = Uclient::start(&one, peer.port(), Job { password: "not this", ..tcp });
    assert!(refused.wait(PATIENCE).is_none(), "{}", refused.output());

    // 1500 echoed messages are 6000 packets on both legs: each client makes coturn report while it runs.
    let udp = Job { clients: 3, messages: 1500, ..Job::default() };
    // As many of a relay, so that it does not end before the others have begun.
    let relay = Job { kind: Kind::TcpRelay, clients: 2, messages: 1500, length: 500, ..tcp };
    let mut clients = [
        Uclient::start(&one, peer.port(), udp),
        Uclient::start(&one, peer.port(), Job { clients: 2, ..tcp }),
        Uclient::start(&one, peer.port(), relay),
        Uclient::start(&two, peer.port(), Job { clients: 2, length: 900, ..udp }),
        Uclient::start(&two, peer.port(), Job { length: 40, ..tcp }),
    ];

    let mut watch = Watch::default();
    let stopwatch = Stopwatch::start();
    loop {
        let before = servers.map(Coturn::log);
        let page = exporter.page();
        let after = servers.map(Coturn::log);
        // Only where the log says the same before and after can the page be told to be wrong; and the page, asked
        // in that moment, may still be one message behind. So being right is something to see, not to demand of each look.
        if live_in(&before) == live_in(&after) {
            watch.compare_live(&page, &live_in(&before));
        }
        let busy = clients.iter_mut().filter_map(|client| client.is_running().then_some(client.kind)).count();
        watch.look(page, busy == clients.len());
        if busy == 0 {
            break;
        }
        assert!(stopwatch.elapsed() < RUN, "{clients:#?}");
        poll::pause();
    }
    for client in &mut clients {
        let report = client.wait(PATIENCE).unwrap_or_else(|| panic!("{}", client.output()));
        assert!(report.sent_messages > 0, "{report:?}");
    }
    watch.assert_live_was_right();
    watch.assert_bytes_grew_while_all_ran();

    // What uclient left open expires; then everything must agree.
    exporter.until("the page to be what coturn logged", |page| {
        watch.look(page.clone(), false);
        let logs = servers.map(Coturn::log);
        let mut differences = Vec::new();
        for (server, log) in servers.iter().zip(&logs) {
            if !log.all_ended() {
                differences.push(format!("{}: sessions are still open", server.realm));
            }
            compare_realm(page, server, log, &mut differences);
        }
        compare_unallocated(page, &logs, &mut differences);
        compare_messages(page, &logs, &mut differences);
        if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
    });

    let page = exporter.page();
    for name in [
        "coturn_allocations",
        "coturn_sessions",
        "coturn_orphaned_allocations",
        "coturn_allocations_orphaned_total",
        "coturn_allocations_adopted_total",
        "coturn_recovered_bytes_total",
        "coturn_recovered_packets_total",
        "coturn_unseen_bytes_total",
        "coturn_unseen_packets_total",
        "coturn_server_allocations",
        "coturn_exporter_rejected_messages_total",
        "coturn_exporter_dropped_messages_total",
        "coturn_exporter_gaps_total",
        "coturn_exporter_accounting_anomalies_total",
        "coturn_exporter_folded_label_values_total",
        "coturn_exporter_refused_allocations_total",
    ] {
        assert!(page.has_family(name), "{name} is not on the page");
        assert_zero(&page, name);
    }

    // And the run was one that could have gone wrong.
    let (log_one, log_two) = (one.log(), two.log());
    let causes = log_one.causes();
    for cause in [Cause::Released, Cause::Expired, Cause::Disconnected] {
        assert!(causes.contains_key(&cause), "nothing was {cause} in {causes:?}");
    }
    assert!(log_one.sessions.keys().any(|id| log_two.sessions.contains_key(id)), "ids do not collide");
    let packets: u64 = [&log_one, &log_two].iter().map(|log| log.relayed().peer.sent_packets).sum();
    assert!(packets > 5_000, "{packets} packets");
    // The peer has seen what coturn says it sent over UDP; what a TCP relay sent went from client to client.
    let (peer_packets, _) = peer.received();
    assert!(peer_packets > 4_000 && peer_packets < packets, "{peer_packets} of {packets}");
}

/// Connects and goes: what a port check does.
fn knock(server: &Coturn) {
    drop(TcpStream::connect((server.ip.as_str(), server.port())).expect("coturn listens on TCP"));
}

/// One STUN Binding request and its answer.
fn ask_for_binding(server: &Coturn) {
    let mut stream = TcpStream::connect((server.ip.as_str(), server.port())).expect("coturn listens on TCP");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    // Type, length, magic cookie (RFC 8489 section 5), and a transaction id.
    let request = *b"\x00\x01\x00\x00\x21\x12\xa4\x42a-transactio";
    stream.write_all(&request).expect("a request fits");
    let mut head = [0; 20];
    stream.read_exact(&mut head).expect("an answer");
    assert_eq!(head[..2], [0x01, 0x01], "a Binding success response");
}

/// Live allocations by realm and transport.
type Live = BTreeMap<(String, String), u64>;

fn live_in(logs: &[CoturnLog]) -> Live {
    let mut live = Live::new();
    for session in logs.iter().flat_map(CoturnLog::allocations) {
        let key = (session.realm.clone(), session.user.clone());
        *live.entry(key).or_default() += u64::from(session.is_live());
    }
    live
}

/// What the pages showed on the way.
#[derive(Debug, Default)]
struct Watch {
    last: Page,
    /// Realm and transport of which some live allocations were counted rightly.
    right: BTreeSet<(String, String)>,
    /// What was expected, and what was on the page instead, at the last look that differed.
    wrong: Option<(Live, Live)>,
    /// Sums of relayed bytes seen while every client ran.
    bytes: BTreeSet<u64>,
}

impl Watch {
    fn compare_live(&mut self, page: &Page, live: &Live) {
        let on_page: Live = live
            .keys()
            .map(|(realm, transport)| {
                let labels = [("realm", realm.as_str()), ("transport", transport.as_str())];
                ((realm.clone(), transport.clone()), page.count("coturn_allocations", &labels))
            })
            .collect();
        if on_page == *live {
            self.right.extend(live.iter().filter(|(_, count)| **count > 0).map(|(key, _)| key.clone()));
        } else {
            self.wrong = Some((live.clone(), on_page));
        }
    }

    /// What holds on every page, at any time.
    fn look(&mut self, page: Page, all_run: bool) {
        for (series, before) in self.last.iter() {
            if self.last.is_cumulative(series) {
                let now = value_of(&page, series);
                assert!(now.is_some_and(|now| now >= before), "{series} fell from {before} to {now:?}");
            }
        }
        for realm in page.label_values("coturn_allocations", "realm") {
            let realm = [("realm", realm.as_str())];
            let of = |suffix: &str| page.count(&format!("coturn_allocations{suffix}"), &realm);
            assert_eq!(
                of("_opened_total") + of("_adopted_total"),
                of("_closed_total") + of(""),
                "opened + adopted = closed + live in {realm:?}"
            );
        }
        if all_run {
            self.bytes.insert(page.count("coturn_relayed_bytes_total", &[]));
        }
        self.last = page;
    }

    fn assert_live_was_right(&self) {
        for realm in ["one.example", "two.example"] {
            for transport in USERS {
                assert!(
                    self.right.contains(&(realm.to_owned(), transport.to_owned())),
                    "live {transport} allocations of {realm} were never right; log and page: {:#?}",
                    self.wrong
                );
            }
        }
    }

    fn assert_bytes_grew_while_all_ran(&self) {
        let steps = self.bytes.iter().filter(|bytes| **bytes > 0).count();
        assert!(steps >= 2, "relayed bytes while all clients ran: {:?}", self.bytes);
    }
}

/// Everything that is known about one realm, which has one server here.
fn compare_realm(page: &Page, server: &Coturn, log: &CoturnLog, differences: &mut Vec<String>) {
    let realm = ("realm", server.realm.as_str());
    let mut compare = |name: &str, labels: &[(&str, &str)], wanted: u64| {
        let seen = page.count(name, labels);
        if seen != wanted {
            differences.push(format!("{name} {labels:?}: page {seen}, log {wanted}"));
        }
    };

    let relayed = log.relayed();
    for (leg, traffic) in [("client", relayed.client), ("peer", relayed.peer)] {
        for (direction, bytes, packets) in [
            ("received", traffic.received_bytes, traffic.received_packets),
            ("sent", traffic.sent_bytes, traffic.sent_packets),
        ] {
            let labels = [realm, ("leg", leg), ("direction", direction)];
            compare("coturn_relayed_bytes_total", &labels, bytes);
            compare("coturn_relayed_packets_total", &labels, packets);
        }
    }

    for transport in USERS {
        let labels = [realm, ("transport", transport)];
        let sessions: Vec<&Session> = log.allocations().filter(|session| session.user == transport).collect();
        compare("coturn_allocations_opened_total", &labels, number(sessions.iter().map(|s| s.opened)));
        let live = number(sessions.iter().map(|session| u64::from(session.is_live())));
        compare("coturn_allocations", &labels, live);
    }

    let causes = log.causes();
    for cause in ["released", "expired", "disconnected", "replaced", "missed", "abandoned"] {
        let wanted = causes.iter().find(|(have, _)| have.to_string() == cause).map_or(0, |(_, count)| *count);
        compare("coturn_allocations_closed_total", &[realm, ("cause", cause)], wanted);
        let of_server = [("server", server.ip.as_str()), ("cause", cause)];
        compare("coturn_server_allocations_closed_total", &of_server, wanted);
    }
    // All were watched from birth to an end of their own.
    let closed = number(causes.values().copied());
    compare("coturn_allocation_duration_seconds_count", &[realm], closed);
    compare(
        "coturn_allocation_refreshes_total",
        &[realm],
        number(log.allocations().map(|session| session.refreshed)),
    );
    // More than 50 packets with the peer, one of them from it.
    let used = log.allocations().filter(|session| {
        let peer = session.legs.peer;
        peer.received_packets + peer.sent_packets > 50 && peer.received_packets > 0
    });
    compare("coturn_allocations_relayed_total", &[realm], used.count() as u64);
    // Every session is over and settled.
    compare("coturn_sessions", &[realm], 0);
    compare("coturn_sessions_adopted_total", &[realm], 0);
    compare("coturn_sessions_opened_total", &[realm], page.count("coturn_sessions_closed_total", &[realm]));
    compare(
        "coturn_session_allocations_count",
        &[realm],
        page.count("coturn_sessions_closed_total", &[realm]),
    );
    compare("coturn_session_allocations_sum", &[realm], closed);
}

/// Sessions without an allocation, of all servers: the metric has no realm.
fn compare_unallocated(page: &Page, logs: &[CoturnLog], differences: &mut Vec<String>) {
    let traffic = sum(logs.iter().flat_map(CoturnLog::unallocated)).client;
    assert!(traffic.received_packets >= 6, "the probes are in the log: {traffic:?}");
    for (name, direction, wanted) in [
        ("coturn_unallocated_bytes_total", "received", traffic.received_bytes),
        ("coturn_unallocated_bytes_total", "sent", traffic.sent_bytes),
        ("coturn_unallocated_packets_total", "received", traffic.received_packets),
        ("coturn_unallocated_packets_total", "sent", traffic.sent_packets),
    ] {
        let seen = page.count(name, &[("direction", direction)]);
        if seen != wanted {
            differences.push(format!("{name} {direction}: page {seen}, log {wanted}"));
        }
    }
}

/// Each message that coturn published was read, once.
fn compare_messages(page: &Page, logs: &[CoturnLog], differences: &mut Vec<String>) {
    let sessions: Vec<&Session> = logs.iter().flat_map(|log| log.sessions.values()).collect();
    let of = |field: fn(&Session) -> u64| number(sessions.iter().map(|session| field(session)));
    let deleted = of(|session| session.deleted);
    for (kind, wanted) in [
        ("new", of(|session| session.opened)),
        ("refreshed", of(|session| session.refreshed + session.released)),
        ("deleted", deleted),
        ("traffic", of(|session| session.reports)),
        ("traffic/peer", of(|session| session.reports)),
        // Once for each end, and never logged.
        ("total_traffic", deleted),
        ("total_traffic/peer", deleted),
    ] {
        let seen = page.count("coturn_exporter_messages_total", &[("kind", kind)]);
        if seen != wanted {
            differences.push(format!("messages {kind}: page {seen}, log {wanted}"));
        }
    }
}

fn assert_zero(page: &Page, name: &str) {
    for (series, value) in page.named(name) {
        assert!(value == 0.0, "{series} is {value}");
    }
}

fn value_of(page: &Page, series: &Series) -> Option<f64> {
    page.iter().find(|(other, _)| *other == series).map(|(_, value)| value)
}

fn number(counts: impl Iterator<Item = u64>) -> u64 {
    counts.sum()
}
