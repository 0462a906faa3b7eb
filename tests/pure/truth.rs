//! Every recorded capture against what really happened: the clients' own counts, the peer's, coturn's log, and what the
//! recording did (`tests/golden/ground-truth.json`). Knows nothing of the expected pages.
//!
//! Where the stream itself lost messages (Redis or its connections were down, coturn died), the exporter can know only
//! what was published; then the numbers come from a naive reading of the stream, and the test says so.
//!
//! In `reports-lost` reports were lost, too, but the totals came: there the numbers are those of coturn's log again, and what
//! came from the totals is what the log has and the stream's reports have not.
//!
//! Three things make coturn's counts differ from its clients', all of them coturn's own:
//!
//! * 4.17.1 answers the first, unauthenticated request over UDP without a session: it counts neither that request nor
//!   its 401 (see [`stateless`] for their sizes, which are exact).
//! * 4.11 and later count 4 bytes too many per `ChannelData` packet in the peer leg's `sent`.
//! * 4.5.0.4 publishes neither the report at the end nor any totals; 4.5.0.8 has no peer leg.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use crate::common;
use common::coturn_log::{self, CoturnLog};
use common::golden::{self, LATER};
use common::naive::{self, Life};
use common::page::Page;
use common::sums::legs_of_all;
use common::temp_dir::TempDir;
use common::traffic::{Legs, Traffic};
use coturn_exporter::state::Settings;
use serde_json::Value;

/// One capture with all that is known about it.
struct Case {
    name: String,
    /// The name without coturn's version.
    scenario: String,
    version: String,
    truth: Value,
    events: Vec<naive::Event>,
    lives: Vec<Life>,
    /// As of the last event, and long after it.
    page: Page,
    later: Page,
}

impl Case {
    fn read(name: &str, truth: &Value) -> Self {
        let file = golden::capture(name);
        let events = naive::events(&file);
        let last = events.last().expect("an event").at;
        let (scenario, version) = name.rsplit_once('-').expect("a version");
        Self {
            name: name.to_owned(),
            scenario: scenario.to_owned(),
            version: version.to_owned(),
            truth: truth.clone(),
            lives: naive::lives(&events),
            events,
            page: golden::replayed(Settings::default(), &file, None),
            later: golden::replayed(Settings::default(), &file, Some(last + LATER)),
        }
    }

    fn allocations(&self) -> impl Iterator<Item = &Life> {
        self.lives.iter().filter(|life| life.is_allocation())
    }

    /// One process reports, is killed and starts again, and an id is born twice: with another user, or another client.
    fn is_restart_proven(&self) -> bool {
        let born: Vec<_> = self.lives.iter().filter(|life| life.born.is_some()).map(Life::id).collect();
        let ids: BTreeSet<_> = born.iter().collect();
        ["sigterm", "sigkill-restart"].contains(&self.scenario.as_str()) && ids.len() < born.len()
    }

    fn is_newest(&self) -> bool {
        self.version == "4.17.1"
    }

    /// A file that holds the events of some keys only.
    fn extract(&self, dir: &TempDir, wanted: impl Fn(&naive::Event) -> bool) -> std::path::PathBuf {
        let lines = self.events.iter().filter(|event| wanted(event));
        dir.write("extract.jsonl", &lines.fold(String::new(), |text, event| text + &event.line + "\n"))
    }
}

/// Every capture that the ground truth tells of, read once for all tests.
fn cases() -> Vec<&'static Case> {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
        let truth = golden::json("ground-truth.json");
        truth.as_object().expect("an object").iter().map(|(name, truth)| Case::read(name, truth)).collect()
    });
    assert_eq!(CASES.len(), 72, "captures have gone missing");
    CASES.iter().collect()
}

/// Runs a check for each case and reports all that fail.
fn each(cases: &[&Case], check: impl Fn(&Case) -> Result<(), String>) {
    let complaints: Vec<_> = cases
        .iter()
        .filter_map(|case| check(case).err().map(|complaint| format!("{}: {complaint}", case.name)))
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[expect(clippy::needless_pass_by_value, reason = "a hundred calls read better without borrows")]
fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Result<(), String> {
    if got == expected { Ok(()) } else { Err(format!("{what}: expected {expected:?}, got {got:?}")) }
}

fn unallocated(page: &Page) -> Traffic {
    let count = |unit: &str, direction: &str| {
        page.count(&format!("coturn_unallocated_{unit}_total"), &[("direction", direction)])
    };
    Traffic {
        received_packets: count("packets", "received"),
        received_bytes: count("bytes", "received"),
        sent_packets: count("packets", "sent"),
        sent_bytes: count("bytes", "sent"),
    }
}

/// Births, ends and what lives, by name; what is 0 is left out.
type Ends = BTreeMap<String, u64>;

fn ends(page: &Page) -> Ends {
    let mut ends = Ends::new();
    for cause in ["released", "expired", "disconnected", "replaced", "abandoned", "missed"] {
        ends.insert(cause.into(), page.count("coturn_allocations_closed_total", &[("cause", cause)]));
    }
    ends.insert("opened".into(), page.count("coturn_allocations_opened_total", &[]));
    ends.insert("adopted".into(), page.count("coturn_allocations_adopted_total", &[]));
    ends.insert("live".into(), page.count("coturn_allocations", &[]));
    ends.retain(|_, count| *count > 0);
    ends
}

/// `3 opened, 1 live` as [`Ends`].
fn told(text: &str) -> Ends {
    let pair = |part: &str| {
        let (count, name) = part.split_once(' ').expect("a count and a name");
        (name.to_owned(), count.parse().expect("a count"))
    };
    text.split(", ").filter(|part| !part.is_empty()).map(pair).collect()
}

/// The words of the ground truth for an end.
fn cause_of(end: &str) -> &'static str {
    match end {
        "refresh lifetime=0" => "released",
        "expiry" => "expired",
        "tcp close" | "tls close" => "disconnected",
        _ => panic!("an end unheard of: {end}"),
    }
}

/// How the allocations of a case stand at its last event, and how they all have ended in the end.
#[expect(clippy::match_same_arms, reason = "each has its own reason")]
fn true_ends(case: &Case) -> (Ends, Ends) {
    let count = case.truth["allocations"].as_u64();
    // Where the truth has words for it.
    if let Some(end) = case.truth["end"].as_str() {
        let count = count.expect("a count");
        let ends = told(&format!("{count} opened, {count} {}", cause_of(end)));
        return (ends.clone(), ends);
    }
    if let Some(by_end) = case.truth["ends"].as_object() {
        let mut ends = told(&format!("{} opened", count.expect("a count")));
        ends.extend(
            by_end.iter().map(|(end, count)| (cause_of(end).to_owned(), count.as_u64().expect("a count"))),
        );
        return (ends.clone(), ends);
    }
    let users = case.truth["users"].as_array();
    let granted = users.map_or(0, |users| users.iter().filter(|user| user[1] == "ok").count());
    let (then, finally) = match (case.scenario.as_str(), case.version.as_str()) {
        ("admin-kill", _) => ("2 opened, 1 disconnected, 1 released", ""),
        ("client-kill" | "dual-family" | "ipv6-client" | "no-realm" | "tcp-relay", _) => {
            ("1 opened, 1 released", "")
        }
        // turnutils_uclient leaves some open; nothing more is ever heard of them.
        ("dtls", _) => ("2 opened, 1 released, 1 live", "2 opened, 1 released, 1 abandoned"),
        ("uclient", "4.6.1") => ("6 opened, 3 released, 3 live", "6 opened, 3 released, 3 abandoned"),
        ("uclient", _) => ("6 opened, 6 live", "6 opened, 6 abandoned"),
        ("mobility", _) => ("2 opened, 1 released, 1 expired", ""),
        ("odd-usernames", _) => {
            assert_eq!(granted, 16);
            ("16 opened, 16 released", "")
        }
        // Two of six names are silent in 4.6.1 (`100%`, `a%20b`), and a neighbour on their thread (`a%b`) loses its final
        // block: it asked for its end and is not heard of again, which is a release and no orphan.
        ("percent-usernames", "4.6.1") => ("4 opened, 3 released, 1 live", "4 opened, 4 released"),
        ("percent-usernames", _) => {
            assert_eq!(granted, 6);
            ("6 opened, 6 released", "")
        }
        ("quota", _) => ("3 opened, 3 released", ""),
        ("realms", _) => ("4 opened, 4 released", ""),
        // While Redis was down #3 was born (known from its refresh on) and #2 ended (unseen: it lives until it is due; a
        // replay knows of no gap, so it cannot say `missed`).
        ("redis-down", _) => {
            ("3 opened, 1 adopted, 3 released, 1 live", "3 opened, 1 adopted, 3 released, 1 abandoned")
        }
        ("redis-down-persistent", _) => ("2 opened, 1 released, 1 live", "2 opened, 1 released, 1 abandoned"),
        // #1 was born before Redis.
        ("redis-down-at-start", _) => ("1 opened, 1 adopted, 2 released", ""),
        // The client did ask for the end, but that message was one of the lost: for all that is known, it was cut off.
        ("redis-idle-timeout", "4.6.1") => ("1 opened, 1 disconnected", ""),
        // The whole final block was lost.
        ("redis-idle-timeout", _) => ("1 opened, 1 live", "1 opened, 1 abandoned"),
        ("redis-restart" | "redis-stall", _) => ("2 opened, 2 released", ""),
        ("stun-only", _) => ("", ""),
        // B's `new` replaces A's alice (one key); A's next refresh brings A's back as adopted.
        ("two-coturns-one-redis", _) => ("3 opened, 1 adopted, 1 replaced, 3 released", ""),
        // Three die with the process without a word. Where an id of theirs comes anew, for whichever user, that proves
        // that their process is gone, and all three with it; else they are known to be lost once they are due. Which
        // of the two it is is the chance of how clients fall on threads.
        ("sigterm" | "sigkill-restart", _) => {
            assert_eq!(case.truth["ends"], "3 lost with the process, 2 refresh lifetime=0");
            if case.is_restart_proven() {
                ("5 opened, 2 released, 3 replaced", "")
            } else {
                ("5 opened, 2 released, 3 live", "5 opened, 2 released, 3 abandoned")
            }
        }
        _ => panic!("{}: what happened?", case.name),
    };
    (told(then), told(if finally.is_empty() { then } else { finally }))
}

#[test]
fn allocations_are_opened_and_end_as_they_did() {
    each(&cases(), |case| {
        let (then, finally) = true_ends(case);
        same("at the last event", ends(&case.page), then.clone())?;
        same("in the end", ends(&case.later), finally)?;
        // The truth counts what was done; the stream shows it but for what the two hid or showed twice.
        let shown = then.get("opened").unwrap_or(&0) + then.get("adopted").unwrap_or(&0);
        if let Some(count) = case.truth["allocations"].as_u64() {
            // A's alice of two-coturns is met twice, see above.
            same("allocations", shown - u64::from(case.scenario == "two-coturns-one-redis"), count)?;
        }
        let overdue = case.later.count("coturn_allocations_closed_total", &[("cause", "abandoned")]);
        let orphaned = case.later.count("coturn_allocations_orphaned_total", &[("reason", "overdue")]);
        same("only what nobody released was ever an orphan", orphaned, overdue)?;
        for page in [&case.page, &case.later] {
            same("idle orphans", page.count("coturn_allocations_orphaned_total", &[("reason", "idle")]), 0)?;
        }
        same("orphans that stay", case.later.count("coturn_orphaned_allocations", &[]), 0)
    });
}

/// A naive reading, key by key, finds the same births, ends and sums.
#[test]
fn a_naive_reading_of_the_stream_agrees() {
    each(&cases(), |case| {
        let allocations: Vec<_> = case.allocations().collect();
        let others = || case.lives.iter().filter(|life| !life.is_allocation());
        let born = allocations.iter().filter(|life| life.born.is_some()).count() as u64;
        let open = allocations.iter().filter(|life| life.deleted.is_none() && !life.replaced).count() as u64;
        // Whatever stands open there is the dead process'.
        let open = if case.is_restart_proven() { 0 } else { open };
        same("opened", case.page.count("coturn_allocations_opened_total", &[]), born)?;
        let adopted = allocations.len() as u64 - born;
        same("adopted", case.page.count("coturn_allocations_adopted_total", &[]), adopted)?;
        same("live", case.page.count("coturn_allocations", &[]), open)?;
        let loses_reports = case.scenario == "reports-lost";
        for page in [&case.page, &case.later] {
            let published = naive::sum(allocations.iter().copied());
            let relayed = legs_of_all(page, "relayed");
            if loses_reports {
                same(
                    "relayed, but for what the totals added",
                    less(relayed, legs_of_all(page, "recovered"))?,
                    published,
                )?;
            } else {
                same("relayed", relayed, published)?;
            }
        }
        // Only later: the last ones may still be held, for a status that might come.
        same("unallocated", unallocated(&case.later), naive::sum(others()).client)?;
        same("peers of no allocation", naive::sum(others()).peer, Traffic::default())?;
        // Every report that was published arrived, or was lost together with the totals; so totals add nothing.
        let shared = case.scenario == "two-coturns-one-redis";
        for life in allocations.iter().filter(|_| !loses_reports) {
            // The published peer totals have 32 bits.
            let wrapped = Traffic {
                received_bytes: life.sum.peer.received_bytes % (1 << 32),
                sent_bytes: life.sum.peer.sent_bytes % (1 << 32),
                ..life.sum.peer
            };
            same("client total", life.total_client.unwrap_or(life.sum.client), life.sum.client)?;
            same("peer total", life.total_peer.unwrap_or(wrapped), wrapped)?;
        }
        let recovered = legs_of_all(&case.later, "recovered");
        same("recovered", recovered != Legs::default(), loses_reports)?;
        same("unseen", legs_of_all(&case.later, "unseen"), Legs::default())?;
        let anomalies = case.later.count("coturn_exporter_accounting_anomalies_total", &[]);
        same("anomalies", anomalies, u64::from(shared))?;
        same("rejected", case.later.count("coturn_exporter_rejected_messages_total", &[]), 0)?;
        let messages = case.page.count("coturn_exporter_messages_total", &[]);
        same("messages", messages, case.events.len() as u64)?;
        // Every event of an allocation is a sign of its server; what has no allocation names none.
        let last = allocations.iter().map(|life| life.last).fold(f64::NEG_INFINITY, f64::max);
        let servers = case.page.label_values("coturn_server_last_seen_timestamp_seconds", "server");
        let seen = servers
            .iter()
            .map(|server| case.page.sum("coturn_server_last_seen_timestamp_seconds", &[("server", server)]));
        let seen = seen.fold(f64::NEG_INFINITY, f64::max);
        same("last sign of a server", seen.is_finite(), !allocations.is_empty())?;
        same("last sign of a server", seen.is_infinite() || (seen - last).abs() < 0.001, true)?;
        for life in &allocations {
            let realm = life.realm();
            let of_realm = allocations.iter().filter(|life| life.realm() == realm).copied();
            let labels = [("realm", realm.as_str()), ("leg", "client"), ("direction", "received")];
            let relayed = case.page.count("coturn_relayed_bytes_total", &labels)
                - case.page.count("coturn_recovered_bytes_total", &labels);
            same("relayed of a realm", relayed, naive::sum(of_realm).client.received_bytes)?;
        }
        Ok(())
    });
}

/// What one client counted, from coturn's point of view.
fn client(counts: &Value) -> Option<Traffic> {
    let count = |name: &str| counts[name].as_u64();
    Some(Traffic {
        received_packets: count("client_sent_packets")?,
        received_bytes: count("client_sent_bytes")?,
        sent_packets: count("client_received_packets")?,
        sent_bytes: count("client_received_bytes")?,
    })
}

/// What every client of a case counted, wherever the truth has it.
fn clients(truth: &Value) -> Vec<Traffic> {
    if let Some(counts) = client(truth) {
        return vec![counts];
    }
    match truth {
        Value::Array(items) => items.iter().flat_map(clients).collect(),
        Value::Object(fields) => fields.values().flat_map(clients).collect(),
        _ => Vec::new(),
    }
}

/// The first request of a client and its 401, where coturn 4.16 and later answer them without a session: over UDP, if a
/// login is asked for. Allocate: 20 bytes of header, 8 of REQUESTED-TRANSPORT, 8 of LIFETIME, and what the client adds;
/// 401: 68 bytes (header, ERROR-CODE, NONCE, the head of REALM) and the realm, padded to four. No client says these sizes
/// itself: they were found as the difference in one capture, and hold to the byte in all of them.
fn stateless(case: &Case, life: &Life) -> Traffic {
    if !case.is_newest() || life.field("type") != Some("UDP") || case.scenario == "no-realm" {
        return Traffic::default();
    }
    let realm = life.realm();
    let added = match (case.scenario.as_str(), realm.as_str()) {
        // REQUESTED-ADDRESS-FAMILY, ADDITIONAL-ADDRESS-FAMILY
        ("ipv6-client" | "dual-family", _) => 8,
        // ORIGIN: https://two.example, https://three.example
        ("realms", "two.example") => 4 + 20,
        ("realms", "three.example/eu") => 4 + 24,
        // MOBILITY-TICKET, empty
        ("mobility", _) => 4,
        _ => 0,
    };
    Traffic {
        received_packets: 1,
        received_bytes: 36 + added,
        sent_packets: 1,
        sent_bytes: 68 + realm.len().next_multiple_of(4) as u64,
    }
}

fn plus(mut one: Traffic, other: Traffic) -> Traffic {
    one += other;
    one
}

fn sorted(mut traffic: Vec<Traffic>) -> Vec<Traffic> {
    traffic.sort_by_key(|t| (t.received_packets, t.received_bytes, t.sent_packets, t.sent_bytes));
    traffic
}

/// Where the recording lost nothing: allocation by allocation, what its client counted.
#[test]
fn the_client_leg_is_what_the_clients_counted() {
    const COMPLETE: [&str; 18] = [
        "admin-kill",
        "basic-refresh0",
        "cadence",
        "dual-family",
        "expiry",
        "ipv6-client",
        "long-refreshed",
        "mixed",
        "no-realm",
        "oneway-up",
        "realms",
        "rest-auth",
        "sendind",
        "tcp-disconnect",
        "tcp-relay",
        "tls",
        "two-coturns-one-redis",
        "stun-only",
    ];
    let mut cases = cases();
    cases.retain(|case| COMPLETE.contains(&case.scenario.as_str()) && case.version != "4.5.0.4");
    assert_eq!(cases.len(), 40, "captures have gone missing");
    each(&cases, |case| {
        let counted = |life: &Life| {
            let mut counted = plus(life.sum.client, stateless(case, life));
            if case.scenario == "tcp-relay" {
                // The client's count leaves out the data connection, 20 reads of 1000 bytes each way.
                assert_eq!(case.truth["data_sent"], 20_000);
                assert_eq!(case.truth["data_received"], 20_000);
                counted.received_packets -= 20;
                counted.received_bytes -= 20_000;
                counted.sent_packets -= 20;
                counted.sent_bytes -= 20_000;
            }
            counted
        };
        // A's alice of two-coturns: its first life, which B's `new` cut off, reported nothing; the second has it all.
        let cut_off = |life: &&Life| life.replaced && life.sum == Legs::default();
        let allocations: Vec<_> = case.allocations().filter(|life| !cut_off(life)).collect();
        let got = allocations.iter().map(|life| counted(life)).collect();
        same("clients", sorted(got), sorted(clients(&case.truth)))?;

        // And the page has the sum of them.
        let mut expected = Traffic::default();
        for client in clients(&case.truth) {
            expected += client;
        }
        let mut got = legs_of_all(&case.page, "relayed").client;
        for life in &allocations {
            got += stateless(case, life);
        }
        if case.scenario == "tcp-relay" {
            let data = Traffic {
                received_packets: 20,
                received_bytes: 20_000,
                sent_packets: 20,
                sent_bytes: 20_000,
            };
            expected += data;
        }
        same("page", got, expected)
    });
}

/// Echoed payload: packets and bytes, by what the recording did (`what` in the ground truth), where it lost nothing.
#[expect(clippy::match_same_arms, reason = "each has its own reason")]
fn echoed(case: &Case) -> Option<(u64, u64)> {
    Some(match case.scenario.as_str() {
        "admin-kill" => (25, 25 * 100),
        "basic-refresh0" => (100, 100 * 172),
        "cadence" => (9000, 9000 * 172),
        "dtls" => (300, 300 * 170),
        // 4.6.1 got IPv4 only: the 15 over IPv6 are missing.
        "dual-family" if case.truth["v6_used"] == true => (30, 30 * 100),
        "dual-family" => (15, 15 * 100),
        "expiry" => (20, 20 * 100),
        "ipv6-client" => (15, 15 * 100),
        // 5 packets after each of 5 grants
        "long-refreshed" => (25, 25 * 200),
        "mixed" => {
            let of = |field: &'static str| {
                let allocations = case.truth["per_allocation"].as_array().unwrap().iter();
                allocations.map(move |one| (one["packets"].as_u64().unwrap(), one[field].as_u64().unwrap()))
            };
            (
                of("packets").map(|(packets, _)| packets).sum(),
                of("payload").map(|(packets, size)| packets * size).sum(),
            )
        }
        "mobility" => (50, 50 * 100),
        "no-realm" => (10, 10 * 100),
        "odd-usernames" => (16 * 3, 16 * 3 * 50),
        // Two of six names are silent, a third loses its end.
        "percent-usernames" if !case.is_newest() => (3 * 3, 3 * 3 * 50),
        "percent-usernames" => (6 * 3, 6 * 3 * 50),
        "quota"
        | "stun-only"
        | "redis-stall"
        | "client-kill"
        | "redis-idle-timeout"
        | "redis-down-at-start" => (0, 0),
        "realms" => (4 + 8 + 16 + 32, (4 + 8 + 16 + 32) * 80),
        // #2 with its 10 packets ended unheard.
        "redis-down-persistent" => (30, 30 * 100),
        "rest-auth" => (4 * 12, 4 * 12 * 200),
        "reports-lost" => (7000 + 9000, 7000 * 170 + 9000 * 90),
        "sendind" => (300, 300 * 160),
        "tcp-disconnect" | "tls" => (40, 40 * 300),
        "tcp-relay" => (20, 20 * 1000),
        "two-coturns-one-redis" => (30 + 7 + 11, 30 * 100 + 7 * 500 + 11 * 60),
        "uclient" if !case.is_newest() => (4500, 4500 * 170),
        // Partly lost or one-way; they have tests of their own.
        "uclient" | "oneway-up" | "redis-down" | "redis-restart" | "sigterm" | "sigkill-restart"
        | "wrap32" => return None,
        _ => panic!("{}: what was sent?", case.name),
    })
}

#[test]
fn the_peer_leg_is_what_the_peers_counted() {
    let mut seen = 0;
    let cases = cases();
    for case in &cases {
        seen += u32::from(echoed(case).is_some());
    }
    assert_eq!(seen, 60, "captures have gone missing");
    each(&cases, |case| {
        let Some((packets, bytes)) = echoed(case) else { return Ok(()) };
        if let (Some(received), Some(sent)) =
            (case.truth["peer_received"].as_array(), case.truth["peer_sent"].as_array())
        {
            let (received, sent): (Vec<_>, Vec<_>) = (
                received.iter().filter_map(Value::as_u64).collect(),
                sent.iter().filter_map(Value::as_u64).collect(),
            );
            same("the peer's own count", (received, sent), (vec![packets, bytes], vec![packets, bytes]))?;
        }
        let as_channel_data = !["sendind", "tcp-relay"].contains(&case.scenario.as_str());
        let too_many = if case.is_newest() && as_channel_data { 4 * packets } else { 0 };
        let expected = match case.version.as_str() {
            // No peer leg yet.
            "4.5.0.4" | "4.5.0.8" => Traffic::default(),
            _ => Traffic {
                received_packets: packets,
                received_bytes: bytes,
                sent_packets: packets,
                sent_bytes: bytes + too_many,
            },
        };
        same("peer leg", legs_of_all(&case.page, "relayed").peer, expected)
    });
}

#[test]
fn one_way_traffic_counts_one_way() {
    let mut cases = cases();
    cases.retain(|case| case.scenario == "oneway-up");
    assert_eq!(cases.len(), 2);
    each(&cases, |case| {
        assert_eq!(case.truth["peer_received"], serde_json::json!([9000, 450_000]));
        let sent_bytes = 450_000 + if case.is_newest() { 4 * 9000 } else { 0 };
        same(
            "peer",
            legs_of_all(&case.page, "relayed").peer,
            Traffic { sent_packets: 9000, sent_bytes, ..Traffic::default() },
        )?;
        // Nothing came back from a peer: that is not relaying.
        same("relayed", case.page.count("coturn_allocations_relayed_total", &[]), 0)
    });
}

/// 4.0 to 4.5.0.6 report every 2048 packets of the client leg and nothing at the end: whole reports count, the tail is
/// lost, and no total tells of it.
#[test]
fn the_oldest_protocol_loses_its_tail_and_no_more() {
    let mut cases = cases();
    cases.retain(|case| case.version == "4.5.0.4");
    assert_eq!(cases.len(), 2);
    each(&cases, |case| {
        let (got, truth) = (legs_of_all(&case.later, "relayed").client, clients(&case.truth)[0]);
        let packets = |traffic: Traffic| traffic.received_packets + traffic.sent_packets;
        same("whole reports", packets(got) % 2048, 0)?;
        same("reports", packets(got) / 2048, packets(truth) / 2048)?;
        let below = got.received_bytes <= truth.received_bytes && got.sent_bytes <= truth.sent_bytes;
        same("never more than was sent", below, true)?;
        same("peer", legs_of_all(&case.later, "relayed").peer, Traffic::default())
    });
}

/// 4.6 GB through one allocation: the peer total has wrapped, the sums have not, and nothing is recovered or odd.
#[test]
fn four_gibibytes_do_not_wrap() {
    let mut cases = cases();
    cases.retain(|case| case.scenario == "wrap32");
    assert_eq!(cases.len(), 1);
    each(&cases, |case| {
        let numbers = |name: &str| -> Traffic {
            let of = |at: usize| case.truth[name][at].as_u64().expect("a number");
            Traffic { received_packets: of(0), received_bytes: of(1), sent_packets: of(2), sent_bytes: of(3) }
        };
        let got = legs_of_all(&case.page, "relayed");
        same("client", got.client, numbers("sum_of_traffic_deltas_client"))?;
        same("peer", got.peer, numbers("sum_of_traffic_deltas_peer"))?;
        same(
            "the total did wrap",
            case.lives.iter().any(|life| {
                life.total_peer.is_some_and(|total| total.sent_bytes + (1 << 32) == life.sum.peer.sent_bytes)
            }),
            true,
        )?;
        // The kernel dropped some before coturn saw them.
        same(
            "never more than was sent",
            got.client.received_bytes < clients(&case.truth)[0].received_bytes,
            true,
        )
    });
}

/// coturn's own log of the clients that do not count for themselves (`turnutils_uclient`).
#[test]
fn usage_agrees_with_coturns_own_log() {
    let mut cases = cases();
    cases.retain(|case| case.truth["coturn_log"].is_array());
    assert_eq!(cases.len(), 5);
    each(&cases, |case| {
        let log = log_of(case);
        same("relayed", legs_of_all(&case.later, "relayed"), log.relayed())?;
        let (opened, deleted) =
            (log.allocations().map(|s| s.opened).sum(), log.allocations().map(|s| s.deleted).sum());
        same("opened", case.page.count("coturn_allocations_opened_total", &[]), opened)?;
        same("closed", case.page.count("coturn_allocations_closed_total", &[]), deleted)
    });
}

/// The log of a case that has one.
fn log_of(case: &Case) -> CoturnLog {
    let lines = case.truth["coturn_log"].as_array().expect("a log");
    let log = lines.iter().fold(String::new(), |log, line| {
        let line = line.as_str().unwrap();
        // DTLS sessions tell their cipher behind the lifetime.
        log + "0: : session " + line.split(", cipher=").next().unwrap_or(line) + "\n"
    });
    CoturnLog::parse(&log)
}

/// What is left of `all` without `part`, number by number.
fn less(all: Legs, part: Legs) -> Result<Legs, String> {
    let of = |all: Traffic, part: Traffic| {
        Some(Traffic {
            received_packets: all.received_packets.checked_sub(part.received_packets)?,
            received_bytes: all.received_bytes.checked_sub(part.received_bytes)?,
            sent_packets: all.sent_packets.checked_sub(part.sent_packets)?,
            sent_bytes: all.sent_bytes.checked_sub(part.sent_bytes)?,
        })
    };
    let legs =
        of(all.client, part.client).zip(of(all.peer, part.peer)).map(|(client, peer)| Legs { client, peer });
    legs.ok_or_else(|| format!("{part:?} is no part of {all:?}"))
}

/// Two reports are lost on the way, each of another user, and the totals at the end reveal them: what is relayed is what
/// coturn logged, what is recovered is what it logged and did not publish; to the byte, in each number, for each user.
#[test]
fn lost_reports_come_back_with_the_totals() {
    let mut cases = cases();
    cases.retain(|case| case.scenario == "reports-lost");
    assert_eq!(cases.len(), 1);
    each(&cases, |case| {
        let dir = TempDir::new("truth");
        let log = log_of(case);
        for user in ["alice", "bob"] {
            let file = case.extract(&dir, |event| event.is_of(user));
            let page = golden::replayed(Settings::default(), &file, None);
            let logged = coturn_log::sum(log.allocations().filter(|session| session.user == user));
            let published = naive::sum(case.allocations().filter(|life| life.user() == user));
            let (relayed, recovered) = (legs_of_all(&page, "relayed"), legs_of_all(&page, "recovered"));
            same(user, relayed, logged)?;
            same(user, recovered, less(logged, published)?)?;
            // One report is 2048 packets of the client leg, as coturn counts them; in and out.
            let packets = recovered.client.received_packets + recovered.client.sent_packets;
            same("one report", packets, 2048)?;
            same("both legs", recovered.peer.received_bytes > 0 && recovered.peer.sent_bytes > 0, true)?;
        }
        same("of both", legs_of_all(&case.later, "relayed"), log.relayed())
    });
}

/// A process dies: what its allocations had not yet reported (less than 4096 packets each) is lost for good, the
/// survivors of the restart are exact.
#[test]
fn a_killed_server_loses_what_it_had_not_reported() {
    let mut cases = cases();
    cases.retain(|case| ["sigterm", "sigkill-restart"].contains(&case.scenario.as_str()));
    assert_eq!(cases.len(), 4);
    each(&cases, |case| {
        // alice, bob, carol; then bob and alice again.
        let [alice, bob, carol, bob_again, alice_again] = clients(&case.truth)[..] else {
            panic!("five clients")
        };
        let of = |user: &str| case.allocations().filter(|life| life.user() == user).collect::<Vec<_>>();
        for (user, lost, whole) in
            [("alice", alice, Some(alice_again)), ("bob", bob, Some(bob_again)), ("carol", carol, None)]
        {
            let lives = of(user);
            same("lives", lives.len(), 1 + usize::from(whole.is_some()))?;
            if let (Some(whole), Some(life)) = (whole, lives.get(1)) {
                same(user, plus(life.sum.client, stateless(case, life)), whole)?;
            }
            let sum = plus(lives[0].sum.client, Traffic::default());
            let lost_packets = (lost.received_packets + lost.sent_packets)
                .checked_sub(sum.received_packets + sum.sent_packets)
                .ok_or("more than was sent")?;
            same("less than a report is lost", lost_packets < 4096, true)?;
        }
        same("carol reported", of("carol")[0].sum.client.received_packets > 2000, true)
    });
}

/// Redis was down while #2 ended: of #1 everything is known, of #2 nothing but its birth.
#[test]
fn what_ends_while_redis_is_down_stays_unknown() {
    let mut cases = cases();
    cases.retain(|case| case.scenario == "redis-down-persistent");
    assert_eq!(cases.len(), 1);
    each(&cases, |case| {
        let truth = clients(&case.truth);
        let lives: Vec<_> = case.allocations().collect();
        let got = legs_of_all(&case.later, "relayed").client;
        same("#1", plus(got, stateless(case, lives[0])), truth[0])?;
        same("#2", lives[1].sum, Legs::default())
    });
}

/// Refused logins and probes are told apart from what was relayed, to the byte.
#[test]
fn sessions_without_an_allocation_are_told_apart() {
    let mut cases = cases();
    cases.retain(|case| ["quota", "stun-only"].contains(&case.scenario.as_str()));
    assert_eq!(cases.len(), 4);
    each(&cases, |case| {
        let got = unallocated(&case.later);
        let sessions =
            case.lives.iter().filter(|life| !life.is_allocation() && life.sum.client != Traffic::default());
        let (sessions, received, sent) = match (case.scenario.as_str(), case.version.as_str()) {
            // Two over quota, one wrong password. 4.6.1: the request without and the one with a login, each answered;
            // 4.17.1: the second one only.
            ("quota", "4.6.1") => (sessions.count(), (6, 3 * 144), 6),
            ("quota", _) => (sessions.count(), (3, 3 * 116), 3),
            // 1 + 2 + 3 Binding requests over UDP and 2 over TCP of 20 bytes each, one Allocate of 28; no login.
            (_, "4.6.1") => (sessions.count(), (9, 8 * 20 + 28), 9),
            // Of these 4.17.1 keeps a session for the two over TCP only.
            (_, _) => (sessions.count(), (2, 2 * 20), 2),
        };
        if let Some(refused) = case.truth["refused"].as_array() {
            same("refused", sessions, refused.len())?;
        }
        same("received", (got.received_packets, got.received_bytes), received)?;
        same("answered", got.sent_packets, sent)?;
        let held = case.later.count("coturn_allocations_opened_total", &[]);
        same("granted", held, case.truth["allocations"].as_u64().unwrap())
    });
}

/// A mobile client: both of its paths together are what the allocation and the resuming sessions counted.
#[test]
fn a_moved_client_is_one_allocation() {
    let mut cases = cases();
    cases.retain(|case| case.scenario == "mobility");
    assert_eq!(cases.len(), 2);
    each(&cases, |case| {
        let mut expected = Traffic::default();
        for path in clients(&case.truth) {
            expected += path;
        }
        let mut got = legs_of_all(&case.page, "relayed").client;
        for life in case.allocations() {
            got += stateless(case, life);
        }
        let mut resuming = unallocated(&case.later);
        if case.is_newest() {
            // 4.17.1 publishes each of the two requests of the resuming session twice: without the answer under no
            // name, with it under the user's.
            resuming.received_packets /= 2;
            resuming.received_bytes /= 2;
        }
        got += resuming;
        same("all paths", got, expected)?;
        same("allocations", case.page.count("coturn_allocations_opened_total", &[]), 2)
    });
}

/// 24 interleaved allocations, each taken out of the stream by the client port that the status tells, replayed alone:
/// its end, what its client counted, what its peer counted. Then the same user by user, with the sessions.
#[test]
fn mixed_is_right_for_each_allocation_and_each_user() {
    let mut cases = cases();
    cases.retain(|case| case.scenario == "mixed");
    assert_eq!(cases.len(), 2);
    each(&cases, |case| {
        let dir = TempDir::new("truth");
        let number = |value: &Value, name: &str| value[name].as_u64().expect("a number");
        let mut by_user: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for truth in case.truth["per_allocation"].as_array().unwrap() {
            let user = truth["user"].as_str().unwrap();
            by_user.entry(user).or_default().push(truth);
            let port = format!(":{}", number(truth, "remote_port"));
            let life =
                case.allocations().find(|life| life.field("remote").is_some_and(|to| to.ends_with(&port)));
            let life = life.ok_or_else(|| format!("no allocation of client port {port}"))?;
            same(&port, life.user().as_str(), user)?;

            let alone = case.extract(&dir, |event| event.key == life.key);
            let page = golden::replayed(Settings::default(), &alone, None);
            same(
                &port,
                ends(&page),
                told(&format!("1 opened, 1 {}", cause_of(truth["end"].as_str().unwrap()))),
            )?;
            let transport = truth["transport"].as_str().unwrap();
            same(&port, page.count("coturn_allocations_opened_total", &[("transport", transport)]), 1)?;
            let got = legs_of_all(&page, "relayed");
            same(&port, plus(got.client, stateless(case, life)), client(truth).expect("counts"))?;
            let (packets, payload) = (number(truth, "packets"), number(truth, "payload"));
            let bytes = packets * payload;
            let too_many = if case.is_newest() { 4 * packets } else { 0 };
            let peer = Traffic {
                received_packets: packets,
                received_bytes: bytes,
                sent_packets: packets,
                sent_bytes: bytes + too_many,
            };
            same(&port, got.peer, peer)?;
            // Relayed: more than 50 packets on the peer leg, both directions together.
            let relayed = page.count("coturn_allocations_relayed_total", &[]);
            same(&port, relayed, u64::from(2 * packets > 50))?;
            let lasted = life.deleted.expect("an end") - life.born.expect("a birth");
            let told = page.value("coturn_allocation_duration_seconds_sum", &[]).expect("a duration");
            same(&port, (told - lasted).abs() < 0.002, true)?;
        }
        for (user, truths) in by_user {
            let alone = case.extract(&dir, |event| {
                case.lives
                    .iter()
                    .any(|life| life.key == event.key && life.is_allocation() && life.user() == user)
            });
            let page = golden::replayed(Settings::default(), &alone, None);
            let count = truths.len() as u64;
            same(user, page.count("coturn_allocations_opened_total", &[]), count)?;
            // Every allocation is in one session, and the sessions' bytes are those of the peer leg.
            let in_sessions = page.value("coturn_session_allocations_sum", &[]);
            same(user, in_sessions, Some(truths.len() as f64))?;
            let peer_bytes: u64 =
                truths.iter().map(|one| 2 * number(one, "packets") * number(one, "payload")).sum();
            let too_many: u64 = truths.iter().map(|one| 4 * number(one, "packets")).sum();
            let expected = peer_bytes + if case.is_newest() { too_many } else { 0 };
            let opened = page.count("coturn_sessions_opened_total", &[]);
            let spans = spans(case.allocations().filter(|life| life.user() == user));
            same(user, opened, spans.len() as u64)?;
            same(user, page.count("coturn_sessions_closed_total", &[]), opened)?;
            let unrelayed = page.count("coturn_sessions_closed_total", &[("path", "unrelayed")]);
            same(
                "every user's one session relays",
                unrelayed,
                opened - page.count("coturn_session_relayed_bytes_count", &[]),
            )?;
            if unrelayed == 0 {
                same(user, page.value("coturn_session_relayed_bytes_sum", &[]), Some(expected as f64))?;
            }
            let lasted: f64 = spans.iter().map(|(from, to)| to - from).sum();
            let told = page.sum("coturn_session_duration_seconds_sum", &[]);
            same(user, (told - lasted).abs() < 0.01, true)?;
        }
        Ok(())
    });
}

/// The times during which at least one of these allocations lived: sessions, as an outsider would draw them.
fn spans<'a>(lives: impl Iterator<Item = &'a Life>) -> Vec<(f64, f64)> {
    let mut each: Vec<_> =
        lives.map(|life| (life.born.expect("a birth"), life.deleted.expect("an end"))).collect();
    each.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut spans: Vec<(f64, f64)> = Vec::new();
    for (from, to) in each {
        match spans.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => spans.push((from, to)),
        }
    }
    spans
}
