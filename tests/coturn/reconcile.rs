//! The invoice against coturn's log, by the commands of `docs/accounting.md`: equal, user by user.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::common::poll::{self, PATIENCE};
use crate::common::servers::coturn::{Coturn, Settings};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::peer::EchoPeer;
use crate::common::servers::redis::Redis;
use crate::common::servers::uclient::{Job, Kind, Uclient};
use crate::common::temp_dir::TempDir;

const DB: u8 = 5;
const REALM: &str = "one.example";

/// Who, and the bytes that he relayed.
type Account = BTreeMap<(String, String), u64>;

/// The command of the document that begins so.
fn command(beginning: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/accounting.md");
    let text = std::fs::read_to_string(path).expect("the document");
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().trim());
    let found: Vec<_> = blocks.filter(|block| block.starts_with(beginning)).collect();
    assert_eq!(found.len(), 1, "{beginning}");
    found[0].to_owned()
}

fn run(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).output().expect("a shell");
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What coturn's log says.
fn by_the_log(log: &Path) -> Account {
    let answer = run(&command("awk").replace("turn.log", &log.display().to_string()));
    let line = |line: &str| {
        let [realm, user, bytes] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        ((realm.to_owned(), user.to_owned()), bytes.parse().expect("bytes"))
    };
    answer.lines().map(line).collect()
}

/// What the exporter would bill.
fn by_the_ledger(store: &Path) -> Account {
    let script = command("coturn-exporter usage");
    let script = script.replace("/var/lib/coturn-exporter", &store.display().to_string());
    let answer = run(&script.replacen("coturn-exporter", env!("CARGO_BIN_EXE_coturn-exporter"), 1));
    let mut lines = answer.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().expect("a head");
    let column = |name: &str| head.iter().position(|column| *column == name).expect(name);
    let [realm, user, bytes, partial] =
        ["realm", "credential", "relayed_bytes", "partial_sessions"].map(column);
    let line = |line: Vec<&str>| {
        assert_eq!(line[partial], "0", "{line:?}");
        ((line[realm].to_owned(), line[user].to_owned()), line[bytes].parse().expect("bytes"))
    };
    lines.map(line).collect()
}

#[test]
fn the_invoice_is_what_coturn_logged() {
    let redis = Redis::start();
    let dir = TempDir::new("reconcile");
    let store = dir.path().join("store");
    let exporter = Exporter::watching_with(&redis.url(DB), &[&format!("--store.path={}", store.display())]);
    let settings = Settings { ip: "127.0.0.1", realm: REALM, users: &["udp", "tcp"], max_lifetime: 30 };
    let coturn = Coturn::start(&redis, DB, settings);
    let peer = EchoPeer::start();
    let tcp = Job { kind: Kind::Tcp, user: "tcp", messages: 1200, ..Job::default() };
    let mut clients = [
        Uclient::start(&coturn, peer.port(), Job { clients: 2, messages: 1200, ..Job::default() }),
        Uclient::start(&coturn, peer.port(), Job { length: 333, ..tcp }),
        Uclient::start(&coturn, peer.port(), Job { messages: 20, ..tcp }),
    ];
    for client in &mut clients {
        assert!(client.wait(PATIENCE).is_some(), "{}", client.output());
    }
    poll::until(PATIENCE, "every session to be over", || {
        if coturn.log().all_ended() { Ok(()) } else { Err("some are open".to_owned()) }
    });
    exporter.until("the sessions to be concluded", |page| {
        let [opened, closed] =
            ["opened", "closed"].map(|word| page.count(&format!("coturn_sessions_{word}_total"), &[]));
        if opened == closed && opened > 0 { Ok(()) } else { Err(format!("{closed} of {opened}")) }
    });
    let log = dir.write("turn.log", &coturn.log_text());
    let wanted = by_the_log(&log);
    assert_eq!(wanted.len(), 2, "{wanted:?}");
    assert!(wanted.values().all(|bytes| *bytes > 100_000), "{wanted:?}");
    poll::until(PATIENCE, "the ledger to have them", || {
        let billed = by_the_ledger(&store);
        if billed == wanted { Ok(()) } else { Err(format!("{billed:?}, by the log {wanted:?}")) }
    });
}
