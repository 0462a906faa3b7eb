//! coturn alone: what it publishes is what it logs.
//!
//! The other tests compare the exporter with coturn's log. This one shows that the comparison is fair, and that the
//! facts which the exporter relies on hold for the coturn that is installed.

use std::collections::BTreeMap;

use crate::common::models::traffic::{Legs, Traffic};
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::capture::Message;
use crate::common::readers::witness::Witness;
use crate::common::servers::coturn::{Coturn, Settings};
use crate::common::servers::peer::EchoPeer;
use crate::common::servers::redis::Redis;
use crate::common::servers::uclient::{Job, Kind, Uclient};

const DB: u8 = 3;

/// What one allocation or session published.
#[derive(Debug, Default)]
struct Published {
    statuses: Vec<String>,
    deltas: Legs,
    totals: Legs,
    totals_after_deleted: u64,
}

fn by_id(messages: &[Message]) -> BTreeMap<u64, Published> {
    let mut all = BTreeMap::new();
    for Message { channel, payload } in messages {
        let channel = std::str::from_utf8(channel).unwrap();
        let Some((_, rest)) = channel.rsplit_once("/allocation/") else { continue };
        let (id, kind) = rest.split_once('/').unwrap();
        let published: &mut Published = all.entry(id.parse().unwrap()).or_default();
        let traffic = || Traffic::parse(payload).unwrap_or_else(|| panic!("four counters: {payload}"));
        match kind {
            "status" => published.statuses.push(payload.clone()),
            "traffic" => published.deltas.client += traffic(),
            "traffic/peer" => published.deltas.peer += traffic(),
            "total_traffic" => published.totals.client += traffic(),
            "total_traffic/peer" => published.totals.peer += traffic(),
            other => panic!("a kind not seen before: {other}"),
        }
        if kind.starts_with("total") && published.statuses.last().is_some_and(|last| last == "deleted") {
            published.totals_after_deleted += 1;
        }
    }
    all
}

#[test]
fn coturn_publishes_what_it_logs() {
    let redis = Redis::start();
    let settings =
        Settings { ip: "127.0.0.1", realm: "one.example", users: &["udp", "tcp"], max_lifetime: 15 };
    let coturn = Coturn::start(&redis, DB, settings);
    let witness = Witness::listen(&redis);
    let peer = EchoPeer::start();

    // 1200 messages each way are 4800 packets on both legs: one periodic report and a rest.
    let job = Job { messages: 1200, ..Job::default() };
    let mut clients = [
        Uclient::start(&coturn, peer.port(), job),
        Uclient::start(&coturn, peer.port(), Job { kind: Kind::Tcp, user: "tcp", ..job }),
    ];
    for client in &mut clients {
        let report = client.wait(PATIENCE).expect("uclient reports");
        assert!(report.sent_messages >= 1200, "{report:?}\n{}", client.output());
    }
    let log = poll::until(PATIENCE, "all sessions to end", || {
        let log = coturn.log();
        if log.allocations().count() == 4 && log.all_ended() { Ok(log) } else { Err(format!("{log:#?}")) }
    });
    // coturn logs before it publishes: what the log has may still be on its way.
    let published = poll::until(PATIENCE, "the totals of all", || {
        let published = by_id(&witness.seen());
        if published.values().map(|one| one.totals_after_deleted).sum::<u64>() >= 8 {
            Ok(published)
        } else {
            Err(format!("{published:#?}"))
        }
    });

    for (id, session) in &log.sessions {
        let published = &published[id];
        assert_eq!(published.deltas, session.legs, "allocation {id}");
        assert_eq!(published.totals, session.legs, "allocation {id}");
        assert_eq!(published.totals_after_deleted, 2, "allocation {id}");
        assert_eq!(published.statuses.len() as u64, 1 + session.refreshed + session.released + 1);
    }
    assert_eq!(published.len(), log.sessions.len(), "no session that the log does not know");
    // And the log is true: it has each packet that the peer's socket saw. They are all of one size.
    let relayed = log.relayed().peer;
    let ((packets, bytes), dropped) = (peer.received(), peer.dropped());
    assert_eq!(relayed.sent_packets, packets + dropped);
    assert_eq!(relayed.sent_bytes, bytes + dropped * (bytes / packets));
    assert!(relayed.sent_packets >= 2 * 1200, "{relayed:?}");
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut redis.connect(DB)).unwrap();
    assert_eq!(keys, Vec::<String>::new());
}
