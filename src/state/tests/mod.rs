//! The table's tests: stories with known ends, and random sequences against an audit and a naive model.

mod connections;
mod created;
mod details;
mod exemplars;
mod fuzz;
mod gatherings;
mod image_stories;
mod images;
mod kept;
mod limits;
mod model;
mod mutants;
mod notices;
mod other_redis;
mod random;
mod replay;
mod restarted;
mod restarts;
mod room;
mod rules_fixture;
mod rules_life;
mod rules_listener;
mod rules_scan;
mod rules_sessions;
mod rules_time;
mod scans;
mod sessions;
mod stories;
mod story;

use std::time::Duration;

use super::{SourceId, Table, audit};
use crate::clock::Timestamp;
use crate::wire::{AllocationId, Event, Grant, Key, Leg, Path, Traffic, Transport, Volume};

const SOURCE: SourceId = SourceId(0);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Received packets and bytes, sent packets and bytes.
fn traffic(numbers: [u64; 4]) -> Traffic {
    let [packets_in, bytes_in, packets_out, bytes_out] = numbers;
    Traffic {
        received: Volume { packets: packets_in, bytes: bytes_in },
        sent: Volume { packets: packets_out, bytes: bytes_out },
    }
}

fn key(realm: &'static str, user: &'static str, id: u64) -> Key<'static> {
    let realm = (!realm.is_empty()).then_some(realm.as_bytes());
    Key { realm, user: user.as_bytes(), id: AllocationId(id) }
}

fn grant(lifetime: u32, local: &'static str, remote: &'static str) -> Grant<'static> {
    let path = Path { transport: Transport::Udp, local: local.as_bytes(), remote: remote.as_bytes() };
    Grant { lifetime, path: Some(path) }
}

const LOCAL: &str = "192.0.2.1:3478";
const REMOTE: &str = "198.51.100.7:40000";

fn new(lifetime: u32) -> Event<'static> {
    Event::New(grant(lifetime, LOCAL, REMOTE))
}

fn refreshed(lifetime: u32) -> Event<'static> {
    Event::Refreshed(grant(lifetime, LOCAL, REMOTE))
}

fn delta(leg: Leg, numbers: [u64; 4]) -> Event<'static> {
    Event::Traffic(leg, traffic(numbers))
}

fn total(leg: Leg, numbers: [u64; 4]) -> Event<'static> {
    Event::Total(leg, traffic(numbers))
}

/// A table whose one source is up.
fn table(settings: super::Settings) -> Table {
    let mut table = Table::new(super::Settings { are_rates_kept: true, ..settings }, &["test"]);
    table.link_up(Timestamp::ZERO, SOURCE);
    table
}
