//! `mixed`: 24 interleaved allocations, each taken out of the stream and replayed alone.

use std::collections::BTreeMap;

use serde_json::Value;

use super::case::{Case, client, plus, stateless};
use super::checks::{Checked, cause_of, ends, parsed, same};
use crate::common::models::naive::Life;
use crate::common::models::sums::legs_of_all;
use crate::common::models::traffic::Traffic;
use crate::common::readers::golden;
use crate::common::temp_dir::TempDir;
use coturn_exporter::state::Settings;

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().expect("a number")
}

fn allocations(case: &Case) -> impl Iterator<Item = &Value> {
    case.truth["per_allocation"].as_array().expect("allocations").iter()
}

/// Each allocation, found by the client port that the status tells, replayed alone: its end, what its client counted,
/// what its peer counted.
pub(super) fn each_allocation_is_right(case: &Case) -> Checked {
    let dir = TempDir::new("truth");
    for truth in allocations(case) {
        let user = truth["user"].as_str().unwrap();
        let port = format!(":{}", number(truth, "remote_port"));
        let life = case.allocations().find(|life| life.field("remote").is_some_and(|to| to.ends_with(&port)));
        let life = life.ok_or_else(|| format!("no allocation of client port {port}"))?;
        same(&port, life.user().as_str(), user)?;

        let alone = case.extract(&dir, |event| event.key == life.key);
        let page = golden::replayed(Settings::default(), &alone, None);
        same(
            &port,
            ends(&page),
            parsed(&format!("1 opened, 1 {}", cause_of(truth["end"].as_str().unwrap()))),
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
        let reported = page.value("coturn_allocation_duration_seconds_sum", &[]).expect("a duration");
        same(&port, (reported - lasted).abs() < 0.002, true)?;
    }
    Ok(())
}

/// The allocations of each user, replayed together: they are the sessions that an outsider would draw.
pub(super) fn each_user_is_right(case: &Case) -> Checked {
    let dir = TempDir::new("truth");
    let mut by_user: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for truth in allocations(case) {
        by_user.entry(truth["user"].as_str().unwrap()).or_default().push(truth);
    }
    for (user, truths) in by_user {
        let alone = case.extract(&dir, |event| {
            case.lives.iter().any(|life| life.key == event.key && life.is_allocation() && life.user() == user)
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
        let reported = page.sum("coturn_session_duration_seconds_sum", &[]);
        same(user, (reported - lasted).abs() < 0.01, true)?;
    }
    Ok(())
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
