//! The exporter itself: what it reads from a Redis becomes calls, whatever the receiver does and however often the exporter is
//! killed.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::common::models::traffic::Traffic;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;
use crate::judges::{RandomReplies, check_schemas, is_signed};
use crate::receiver::{Receiver, Reply, number};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const REALM: &str = "example.org";
const LIVES: u64 = 5;
const PER_LIFE: u64 = 10;
const SOME: Traffic =
    Traffic { received_packets: 10, received_bytes: 1000, sent_packets: 20, sent_bytes: 3000 };

/// By their ids, with all that came under one being the same event.
fn events_by_number(receiver: &Receiver) -> BTreeMap<u64, Value> {
    let mut events = BTreeMap::new();
    for event in receiver.received().iter().flat_map(crate::receiver::Received::events) {
        let before = events.entry(number(&event)).or_insert_with(|| event.clone());
        assert_eq!(*before, event, "two events of one id");
    }
    events
}

/// The events that were taken, of one kind, by user.
fn taken(receiver: &Receiver, kind: &str) -> BTreeMap<String, Value> {
    let requests = receiver.taken();
    let events = requests.iter().flat_map(crate::receiver::Received::events);
    let of_kind = events.filter(|event| event["type"] == kind);
    of_kind.map(|event| (event["data"]["user"].as_str().unwrap().to_owned(), event)).collect()
}

#[test]
fn every_event_arrives_through_kills_and_failures() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let replies = RandomReplies::new(
        seed,
        &[Reply::Status(200), Reply::Status(204), Reply::Status(200), Reply::Status(500), Reply::Dropped],
    );
    let receiver = Receiver::start(move |_, _| replies.next());
    let (redis, dir) = (Redis::start(), TempDir::new("hooks"));
    let (store, secrets) = (dir.path().join("store"), dir.write("secrets", SECRET));
    let url = receiver.url();
    let args = [
        "--store.path",
        store.to_str().unwrap(),
        "--events.url",
        &url,
        "--events.secret-file",
        secrets.to_str().unwrap(),
        "--events.with-users",
        "--events.batch-size=3",
        "--exporter.name=turn/1",
        "--session.linger=1s",
    ];
    let mut users = Vec::new();
    for life in 0..LIVES {
        let mut exporter = Exporter::watching_with(&redis.url(0), &args);
        let mut statsdb = Statsdb::connect(&redis, 0);
        let before = receiver.received().len();
        for index in 0..PER_LIFE {
            let id = 1_000_000_000_000_000 + life * PER_LIFE + index;
            let allocation = Allocation::new(REALM, &format!("user-{id}"), id);
            statsdb.open(&allocation, 600);
            statsdb.report(&allocation, SOME, SOME);
            statsdb.close(&allocation, SOME, SOME);
            users.push(format!("user-{id}"));
        }
        let expected = SOME.sent_bytes * users.len() as u64;
        exporter.until("all to be counted", |page| {
            let labels = [("realm", REALM), ("leg", "peer"), ("direction", "sent")];
            match page.count("coturn_relayed_bytes_total", &labels) {
                sent if sent == expected => Ok(()),
                sent => Err(format!("{sent} of {expected}")),
            }
        });
        poll::until(PATIENCE, "calls to begin", || match receiver.received().len() {
            now if now > before + 1 => Ok(()),
            now => Err(format!("{now} requests\n{}", exporter.log())),
        });
        exporter.kill();
    }
    let exporter = Exporter::watching_with(&redis.url(0), &args);
    poll::until(PATIENCE, "every session to be opened and closed", || {
        let kinds = ["coturn.session.opened", "coturn.session.closed"];
        let counts = kinds.map(|kind| taken(&receiver, kind).len());
        if counts == [users.len(); 2] { Ok(()) } else { Err(format!("{counts:?}\n{}", exporter.log())) }
    });
    let events: Vec<_> = events_by_number(&receiver).into_values().collect();
    check_schemas(&events);
    let (opened, closed) =
        (taken(&receiver, "coturn.session.opened"), taken(&receiver, "coturn.session.closed"));
    for user in &users {
        let (opened, closed) = (&opened[user], &closed[user]);
        assert!(number(opened) < number(closed), "{opened} {closed}");
        assert_eq!(opened["subject"], closed["subject"]);
        assert_eq!(closed["source"], "/coturn-exporter/turn%2F1");
        assert_eq!(closed["data"]["peer_sent_bytes"], SOME.sent_bytes, "{closed}");
    }
    // In the order of their numbers, but for what came again after a kill.
    let requests = receiver.taken();
    let mut highest = 0;
    for number in requests.iter().flat_map(crate::receiver::Received::numbers) {
        let is_again = number <= highest;
        highest = highest.max(number);
        let came_before = requests.iter().filter(|request| request.numbers().contains(&number)).count() > 1;
        assert!(!is_again || came_before, "{number} came after {highest}");
    }
    assert!(is_signed(SECRET, requests.last().unwrap()));
    assert!(!exporter.log().contains("geheim"), "{}", exporter.log());
}
