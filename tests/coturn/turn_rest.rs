//! TURN REST names with a separator of the operator's own: a real coturn takes them, the details and the ledger find the
//! user behind them.

use std::path::Path;
use std::process::Command;

use crate::common::poll::{self, PATIENCE};
use crate::common::servers::coturn::{Coturn, Settings};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::peer::EchoPeer;
use crate::common::servers::redis::Redis;
use crate::common::servers::uclient::{Job, Kind, Uclient};
use crate::common::temp_dir::TempDir;
use serde_json::Value;

const SECRET: &str = "shared-with-the-service";
const SEPARATOR: char = '|';

/// The ledger's answer.
fn usage(store: &Path, by: &str) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coturn-exporter"));
    // No flag says how names are made: the ledger has it.
    command.args(["usage", "--format", "json", "--by", by, "--store.path"]).arg(store);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Names of the users that the details list for the user id `alice`.
fn found(exporter: &Exporter) -> Vec<String> {
    let response = exporter.get("/api/v1/allocations?user=alice").unwrap();
    let list: Value = serde_json::from_str(&response.body).unwrap();
    let rows = list["allocations"].as_array().unwrap();
    rows.iter().map(|row| row["user"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_user_is_found_behind_the_separator_that_coturn_has() {
    let (redis, peer, dir) = (Redis::start(), EchoPeer::start(), TempDir::new("turn-rest"));
    let store = dir.path().join("store");
    let knowing = Exporter::watching_with(
        &redis.url(0),
        &["--web.enable-details", "--session.rest-separator=|", "--store.path", store.to_str().unwrap()],
    );
    let unknowing = Exporter::watching_with(&redis.url(0), &["--web.enable-details"]);
    let settings = Settings { ip: "127.0.0.1", realm: "rest.example", users: &[], max_lifetime: 30 };
    let coturn = Coturn::start_with_separator(&redis, settings, SECRET, SEPARATOR);
    let job = Job { kind: Kind::Tcp, user: "alice", messages: 100, interval: 20, ..Job::default() };

    // Two calls, a credential each: the second is made in another second than the first.
    for _ in 0..2 {
        let mut client = Uclient::start_with_secret(&coturn, peer.port(), job, SECRET, SEPARATOR);
        let name = poll::until(PATIENCE, "the client to be found by its user id", || {
            found(&knowing).first().cloned().ok_or_else(|| client.output())
        });
        let (timestamp, user) = name.split_once(SEPARATOR).expect(&name);
        assert!(timestamp.len() == 10 && timestamp.parse::<u64>().is_ok() && user == "alice", "{name}");
        unknowing.until("the other exporter to know it as well", |page| {
            match page.sum("coturn_allocations", &[]) {
                0.0 => Err("no allocation".to_owned()),
                _ => Ok(()),
            }
        });
        assert_eq!(found(&unknowing), [""; 0], "without the flag it is another name");
        let report = client.wait(PATIENCE).unwrap_or_else(|| panic!("{}", client.output()));
        assert_eq!(report.sent_messages, report.received_messages);
    }

    let credentials = poll::until(PATIENCE, "both sessions to be in the ledger", || {
        let credentials = usage(&store, "credential");
        let relayed = credentials.iter().filter(|one| one["relayed_sessions"].as_u64() > Some(0)).count();
        if relayed == 2 { Ok(credentials) } else { Err(format!("{credentials:?}")) }
    });
    let users = usage(&store, "user");
    let names: Vec<_> = users.iter().map(|one| one["user"].as_str().unwrap()).collect();
    assert_eq!(names, ["alice"], "{credentials:?}");
    let bytes =
        |answers: &[Value]| answers.iter().map(|one| one["relayed_bytes"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(bytes(&users), bytes(&credentials));
    assert!(bytes(&users) >= 2 * 2 * u64::from(job.messages * job.length), "{users:?}");
}
