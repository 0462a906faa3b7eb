//! A capture with all that is known about it: the events, the pages, and what clients, peers and coturn's log counted.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use crate::common::models::naive::{self, Life};
use crate::common::models::traffic::Traffic;
use crate::common::readers::coturn_log::CoturnLog;
use crate::common::readers::golden::{self, LATER};
use crate::common::readers::page::Page;
use crate::common::temp_dir::TempDir;
use coturn_exporter::state::Settings;
use serde_json::Value;

/// What is known of each capture, by its name.
pub(super) static TRUTH: LazyLock<Value> = LazyLock::new(|| golden::json("ground-truth.json"));

/// One capture with all that is known about it.
pub(super) struct Case {
    pub(super) name: String,
    /// The name without coturn's version.
    pub(super) scenario: String,
    pub(super) version: String,
    pub(super) truth: Value,
    pub(super) events: Vec<naive::Event>,
    pub(super) lives: Vec<Life>,
    /// As of the last event, and long after it.
    pub(super) page: Page,
    pub(super) later: Page,
}

impl Case {
    /// Fails where there is no such capture, or where the ground truth says nothing of it.
    pub(super) fn read(scenario: &str, version: &str) -> Self {
        let name = format!("{scenario}-{version}");
        let file = golden::capture(&name);
        let events = naive::events(&file);
        let last = events.last().expect("an event").at;
        let truth = TRUTH.get(&name).unwrap_or_else(|| panic!("{name} is not in ground-truth.json"));
        Self {
            name,
            scenario: scenario.to_owned(),
            version: version.to_owned(),
            truth: truth.clone(),
            lives: naive::lives(&events),
            events,
            page: golden::replayed(Settings::default(), &file, None),
            later: golden::replayed(Settings::default(), &file, Some(last + LATER)),
        }
    }

    pub(super) fn allocations(&self) -> impl Iterator<Item = &Life> {
        self.lives.iter().filter(|life| life.is_allocation())
    }

    /// One process reports, is killed and starts again, and an id is born twice: with another user, or another client.
    pub(super) fn is_restart_proven(&self) -> bool {
        let born: Vec<_> = self.lives.iter().filter(|life| life.born.is_some()).map(Life::id).collect();
        let ids: BTreeSet<_> = born.iter().collect();
        ["sigterm", "sigkill-restart"].contains(&self.scenario.as_str()) && ids.len() < born.len()
    }

    pub(super) fn is_newest(&self) -> bool {
        self.version == "4.17.1"
    }

    /// A file that holds the events of some keys only.
    pub(super) fn extract(
        &self,
        dir: &TempDir,
        wanted: impl Fn(&naive::Event) -> bool,
    ) -> std::path::PathBuf {
        let lines = self.events.iter().filter(|event| wanted(event));
        dir.write("extract.jsonl", &lines.fold(String::new(), |text, event| text + &event.line + "\n"))
    }
}

/// What one client counted, from coturn's point of view.
pub(super) fn client(counts: &Value) -> Option<Traffic> {
    let count = |name: &str| counts[name].as_u64();
    Some(Traffic {
        received_packets: count("client_sent_packets")?,
        received_bytes: count("client_sent_bytes")?,
        sent_packets: count("client_received_packets")?,
        sent_bytes: count("client_received_bytes")?,
    })
}

/// What every client of a case counted, wherever the truth has it.
pub(super) fn clients(truth: &Value) -> Vec<Traffic> {
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
pub(super) fn stateless(case: &Case, life: &Life) -> Traffic {
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

pub(super) fn plus(mut one: Traffic, other: Traffic) -> Traffic {
    one += other;
    one
}

pub(super) fn sorted(mut traffic: Vec<Traffic>) -> Vec<Traffic> {
    traffic.sort_by_key(|t| (t.received_packets, t.received_bytes, t.sent_packets, t.sent_bytes));
    traffic
}

/// The log of a case that has one.
pub(super) fn log_of(case: &Case) -> CoturnLog {
    let lines = case.truth["coturn_log"].as_array().expect("a log");
    let log = lines.iter().fold(String::new(), |log, line| {
        let line = line.as_str().unwrap();
        // DTLS sessions tell their cipher behind the lifetime.
        log + "0: : session " + line.split(", cipher=").next().unwrap_or(line) + "\n"
    });
    CoturnLog::parse(&log)
}
