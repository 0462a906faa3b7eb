//! What is checked of each capture, and what of some only. Each check answers with what is wrong.

use std::collections::BTreeMap;

use super::case::{Case, clients, log_of, plus, sorted, stateless};
use super::scenario::{Echoed, Ends};
use crate::common::models::naive::{self, Life};
use crate::common::models::sums::legs_of_all;
use crate::common::models::traffic::{Legs, Traffic};
use crate::common::readers::coturn_log;
use crate::common::readers::golden;
use crate::common::readers::page::Page;
use crate::common::temp_dir::TempDir;
use coturn_exporter::state::Settings;
use serde_json::Value;

/// Nothing, or what is wrong.
pub(super) type Checked = Result<(), String>;

#[expect(clippy::needless_pass_by_value, reason = "a hundred calls read better without borrows")]
pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Result<(), String> {
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
pub(super) type Counts = BTreeMap<String, u64>;

pub(super) fn ends(page: &Page) -> Counts {
    let mut ends = Counts::new();
    for cause in ["released", "expired", "disconnected", "replaced", "abandoned", "missed"] {
        ends.insert(cause.into(), page.count("coturn_allocations_closed_total", &[("cause", cause)]));
    }
    ends.insert("opened".into(), page.count("coturn_allocations_opened_total", &[]));
    ends.insert("adopted".into(), page.count("coturn_allocations_adopted_total", &[]));
    ends.insert("live".into(), page.count("coturn_allocations", &[]));
    ends.retain(|_, count| *count > 0);
    ends
}

/// `3 opened, 1 live` as [`Counts`].
pub(super) fn parsed(text: &str) -> Counts {
    let pair = |part: &str| {
        let (count, name) = part.split_once(' ').expect("a count and a name");
        (name.to_owned(), count.parse().expect("a count"))
    };
    text.split(", ").filter(|part| !part.is_empty()).map(pair).collect()
}

/// The words of the ground truth for an end.
pub(super) fn cause_of(end: &str) -> &'static str {
    match end {
        "refresh lifetime=0" => "released",
        "expiry" => "expired",
        "tcp close" | "tls close" => "disconnected",
        _ => panic!("an end unheard of: {end}"),
    }
}

/// Allocations are opened and end as they did: at the last event, and long after it.
pub(super) fn ends_are(case: &Case, expected: &Ends) -> Checked {
    let (then, finally) = expected.of(case);
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
}

/// A naive reading, key by key, finds the same births, ends and sums.
pub(super) fn a_naive_reading_agrees(case: &Case) -> Checked {
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
}

/// Where the recording lost nothing: allocation by allocation, what its client counted.
pub(super) fn the_client_leg_is_what_the_clients_counted(case: &Case) -> Checked {
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
        let data =
            Traffic { received_packets: 20, received_bytes: 20_000, sent_packets: 20, sent_bytes: 20_000 };
        expected += data;
    }
    same("page", got, expected)
}

/// The payload that peers echoed, by what the recording did.
pub(super) fn the_peer_leg_is_what_the_peers_counted(case: &Case, expected: &Echoed) -> Checked {
    let Some((packets, bytes)) = expected.of(case) else { return Ok(()) };
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
}

/// What goes one way is counted one way, and is no relaying.
pub(super) fn one_way_traffic_counts_one_way(case: &Case) -> Checked {
    assert_eq!(case.truth["peer_received"], serde_json::json!([9000, 450_000]));
    let sent_bytes = 450_000 + if case.is_newest() { 4 * 9000 } else { 0 };
    same(
        "peer",
        legs_of_all(&case.page, "relayed").peer,
        Traffic { sent_packets: 9000, sent_bytes, ..Traffic::default() },
    )?;
    // Nothing came back from a peer: that is not relaying.
    same("relayed", case.page.count("coturn_allocations_relayed_total", &[]), 0)
}

/// 4.0 to 4.5.0.6 report every 2048 packets of the client leg and nothing at the end: whole reports count, the tail is
/// lost, and no total tells of it.
pub(super) fn the_oldest_protocol_loses_its_tail_and_no_more(case: &Case) -> Checked {
    let (got, truth) = (legs_of_all(&case.later, "relayed").client, clients(&case.truth)[0]);
    let packets = |traffic: Traffic| traffic.received_packets + traffic.sent_packets;
    same("whole reports", packets(got) % 2048, 0)?;
    same("reports", packets(got) / 2048, packets(truth) / 2048)?;
    let below = got.received_bytes <= truth.received_bytes && got.sent_bytes <= truth.sent_bytes;
    same("never more than was sent", below, true)?;
    same("peer", legs_of_all(&case.later, "relayed").peer, Traffic::default())
}

/// 4.6 GB through one allocation: the peer total has wrapped, the sums have not, and nothing is recovered or odd.
pub(super) fn four_gibibytes_do_not_wrap(case: &Case) -> Checked {
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
    same("never more than was sent", got.client.received_bytes < clients(&case.truth)[0].received_bytes, true)
}

/// coturn's own log of the clients that do not count for themselves (`turnutils_uclient`).
pub(super) fn usage_agrees_with_coturns_own_log(case: &Case) -> Checked {
    let log = log_of(case);
    same("relayed", legs_of_all(&case.later, "relayed"), log.relayed())?;
    let (opened, deleted) =
        (log.allocations().map(|s| s.opened).sum(), log.allocations().map(|s| s.deleted).sum());
    same("opened", case.page.count("coturn_allocations_opened_total", &[]), opened)?;
    same("closed", case.page.count("coturn_allocations_closed_total", &[]), deleted)
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
pub(super) fn lost_reports_come_back_with_the_totals(case: &Case) -> Checked {
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
}

/// A process dies: what its allocations had not yet reported (less than 4096 packets each) is lost for good, the
/// survivors of the restart are exact.
pub(super) fn a_killed_server_loses_what_it_had_not_reported(case: &Case) -> Checked {
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
}

/// Redis was down while #2 ended: of #1 everything is known, of #2 nothing but its birth.
pub(super) fn what_ends_while_redis_is_down_stays_unknown(case: &Case) -> Checked {
    let truth = clients(&case.truth);
    let lives: Vec<_> = case.allocations().collect();
    let got = legs_of_all(&case.later, "relayed").client;
    same("#1", plus(got, stateless(case, lives[0])), truth[0])?;
    same("#2", lives[1].sum, Legs::default())
}

/// Refused logins and probes are told apart from what was relayed, to the byte.
pub(super) fn sessions_without_an_allocation_are_apart(case: &Case) -> Checked {
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
}

/// A mobile client: both of its paths together are what the allocation and the resuming sessions counted.
pub(super) fn a_moved_client_is_one_allocation(case: &Case) -> Checked {
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
}

/// So many users of a case were granted an allocation.
pub(super) fn granted<const COUNT: usize>(case: &Case) -> Checked {
    let users = case.truth["users"].as_array().expect("users");
    same("granted", users.iter().filter(|user| user[1] == "ok").count(), COUNT)
}
