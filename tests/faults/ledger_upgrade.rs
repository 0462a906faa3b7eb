//! The ledger of an earlier version: its tables become those of this one at the start, while somebody answers, and a kill in
//! the middle of it leaves them as they were.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use coturn_exporter::clock::{Clock as _, SystemClock};
use rusqlite::Connection;
use rustix::process::Signal;

use crate::common::net::ports::Port;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::exporter::Exporter;
use crate::common::temp_dir::TempDir;
use crate::common::turns;

/// In the ledger; enough that the upgrade takes seconds.
const SESSIONS: u64 = 300_000;

/// So much of its log is written when it is killed, in bytes: a tenth of what the upgrade writes, and more than a small change.
const IN_THE_MIDDLE: u64 = 8 << 20;

/// A ledger of version 2, without events and revisions, in a store of this version.
fn make_older(ledger: &Path) {
    let now = SystemClock::new().now().as_millis();
    let connection = Connection::open(ledger).unwrap();
    let sql = format!(
        "BEGIN;
         WITH RECURSIVE number (serial) AS (SELECT 1 UNION ALL SELECT serial + 1 FROM number WHERE serial < {SESSIONS})
         INSERT INTO session SELECT serial, 0, 'listener', 'one.example', '1795343956:user' || serial, 'user' || serial,
             '192.0.2.1:5000', '192.0.2.9', 'udp', 'released', {now} - 60000 - serial, {now} - serial, {now} - 60000 - serial,
             {now} - serial, 1, 0, serial, 1, 2, 3, 4, 5, 6, 7, 8, 0
         FROM number;
         DROP TABLE identity; DROP TABLE event; DROP TABLE sink; DROP INDEX session_revision;
         ALTER TABLE session DROP COLUMN revision; PRAGMA user_version = 2;
         COMMIT;"
    );
    connection.execute_batch(&sql).unwrap();
    connection.close().unwrap();
}

fn number(ledger: &Path, sql: &str) -> u64 {
    let connection = Connection::open(ledger).unwrap();
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
}

fn beside(ledger: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", ledger.display()))
}

/// The upgrade has begun, and is far from its end.
fn wait_for_the_middle(exporter: &Exporter, ledger: &Path) {
    poll::until(PATIENCE, "the upgrade to write", || {
        let written = std::fs::metadata(beside(ledger, "-wal")).map_or(0, |log| log.len());
        if written >= IN_THE_MIDDLE { Ok(()) } else { Err(format!("{written}\n{}", exporter.log())) }
    });
}

#[test]
fn an_older_ledger_is_upgraded_while_somebody_answers_and_a_kill_is_no_harm() {
    let _turn = turns::take();
    let (web, statsdb, dir) = (Port::claim(), Port::claim(), TempDir::new("older"));
    let [web, statsdb] = [&web, &statsdb].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port.number)));
    let store = dir.path().join("store");
    let ledger = store.join("ledger.sqlite");
    let (listen, store) = (statsdb.to_string(), store.display().to_string());
    let args = ["--statsdb.listen-address", &listen, "--store.path", &store];
    let begin = || Exporter::start_at(web, &args);
    let mut exporter = begin();
    exporter.wait_loaded();
    let mut coturn = Statsdb::at(statsdb);
    coturn.open(&Allocation::new("one.example", "user", 1), 600);
    exporter.until_value(
        "coturn_allocations_opened_total",
        &[("realm", "one.example"), ("transport", "udp")],
        1.0,
    );
    assert_eq!(exporter.stop(Signal::TERM).code(), Some(0), "{}", exporter.log());
    make_older(&ledger);

    let mut exporter = begin();
    wait_for_the_middle(&exporter, &ledger);
    for (path, status) in [("/-/healthy", 200), ("/-/ready", 503)] {
        let answer = exporter.get(path).unwrap();
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(status == 200 || answer.body.contains("ledger"), "{path}: {}", answer.body);
    }
    exporter.kill();
    // Of a copy, so that nobody but the next exporter tidies up.
    let copy = dir.path().join("copy.sqlite");
    std::fs::copy(&ledger, &copy).unwrap();
    std::fs::copy(beside(&ledger, "-wal"), beside(&copy, "-wal")).unwrap();
    assert_eq!(number(&copy, "PRAGMA user_version"), 2, "it was killed in the middle");

    let exporter = begin();
    exporter.wait_loaded();
    exporter.until_logged(&["the ledger is of an earlier version", "from=2"]);
    // It goes on as the store that it was.
    assert_eq!(exporter.page().count("coturn_exporter_store_ok", &[]), 1);
    assert_eq!(exporter.page().count("coturn_allocations_opened_total", &[]), 1);
    drop(exporter);
    assert_eq!(number(&ledger, "PRAGMA user_version"), 4);
    assert_eq!(
        number(&ledger, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"),
        1
    );
    let whole =
        "SELECT count(*) FROM session WHERE revision = serial AND relayed_bytes = serial AND NOT is_open";
    assert_eq!(number(&ledger, whole), SESSIONS);
}
