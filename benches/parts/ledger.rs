//! A thousand sessions a second end, and each is in `PostgreSQL`: how far that is behind, and what it costs both.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use coturn_exporter::clock::{Clock as _, SystemClock};
use coturn_exporter::resp::command;

use crate::common::poll;
use crate::common::servers::listener::listening;
use crate::common::servers::postgres::Postgres;
use crate::common::temp_dir::TempDir;
use crate::gauge::{Watch, cpu_nanos};
use crate::row::Row;

/// Sessions that end in a second, and for how long.
const SESSIONS: u64 = 1000;
const SECONDS: u64 = 60;

/// Sessions are begun and ended so often.
const TICK: Duration = Duration::from_millis(10);

/// How far the database may be behind.
const BEHIND: Duration = Duration::from_secs(5);

const ROWS: &str =
    "SELECT count(*), count(DISTINCT session), coalesce(sum(relayed_bytes), 0) FROM coturn_ledger.session";

/// What each session relays, on the leg of the peers: two reports of 100,000 bytes.
const RELAYED: u64 = 400_000;

pub(crate) fn rows() -> Vec<Row> {
    let (postgres, dir) = (Postgres::start(), TempDir::new("bench-ledger"));
    postgres.create_database("accounting");
    let store = dir.path().join("store");
    let url = postgres.url_of("postgres", "accounting");
    let (exporter, listener) =
        listening(&["--store.path", store.to_str().expect("a path"), "--ledger.postgres-url", &url]);
    let mut coturn = TcpStream::connect(listener).expect("the listener is there");
    let mut answers = coturn.try_clone().expect("a socket");
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while answers.read(&mut buffer).is_ok_and(|read| read > 0) {}
    });
    let exporter_id = exporter.process_id();
    let before = (cpu_nanos(exporter_id), of_family(postgres.process_id()));
    let mut behind = Duration::ZERO;
    let (watch, mut sent) = (Watch::start(), 0);
    while sent < SESSIONS * SECONDS {
        let due = u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX) * SESSIONS / 1000;
        let mut bytes = Vec::new();
        for number in sent..due.min(SESSIONS * SECONDS) {
            session(&mut bytes, number + 1);
        }
        sent = due.min(SESSIONS * SECONDS);
        coturn.write_all(&bytes).expect("the exporter reads");
        if sent % (5 * SESSIONS) < SESSIONS * 10 / 1000 {
            behind = behind.max(oldest_waiting(&exporter));
        }
        std::thread::park_timeout(TICK);
    }
    let all = SESSIONS * SECONDS;
    let end = Watch::start();
    let counted = poll::until(poll::PATIENCE, "all rows", || {
        let counted = postgres.sql("accounting", ROWS);
        if counted.starts_with(&format!("{all}|")) { Ok(counted) } else { Err(counted) }
    });
    behind = behind.max(end.elapsed());
    let exact = format!("{all}|{all}|{}", all * RELAYED);
    let cost = |after: u64, before: u64| after.saturating_sub(before) as f64 / 1e3 / all as f64;
    let (ours, theirs) =
        (cost(cpu_nanos(exporter_id), before.0), cost(of_family(postgres.process_id()), before.1));
    vec![Row::new(
        format!(
            "{SESSIONS} sessions a second for {SECONDS} s into PostgreSQL: each once, to the byte, within 5 s"
        ),
        format!(
            "{} (rows, sessions, bytes); {:.1} s behind at most",
            // A table of Markdown is divided where psql divides.
            counted.replace('|', ", "),
            behind.as_secs_f64()
        ),
        format!("CPU per session: the exporter {ours:.0} µs, PostgreSQL {theirs:.0} µs"),
        counted == exact && behind <= BEHIND,
    )]
}

/// A session of one allocation, from its birth to its totals.
fn session(out: &mut Vec<u8>, number: u64) {
    let key = format!("turn/realm/bench.example/user/1795343956:user{number}/allocation/{number:018}");
    let mut publish = |kind: &str, payload: &str| {
        command(out, &[b"publish", format!("{key}/{kind}").as_bytes(), payload.as_bytes()]);
    };
    let report = "rcvp=100, rcvb=100000, sentp=100, sentb=100000";
    let total = "rcvp=200, rcvb=200000, sentp=200, sentb=200000";
    publish("status", "new lifetime=600");
    for kind in ["traffic", "traffic/peer", "traffic", "traffic/peer"] {
        publish(kind, report);
    }
    publish("status", "deleted");
    publish("total_traffic", total);
    publish("total_traffic/peer", total);
}

/// For how long the oldest session has waited that is not in the database.
fn oldest_waiting(exporter: &crate::common::servers::exporter::Exporter) -> Duration {
    let page = exporter.page();
    let oldest = page.value("coturn_exporter_sink_oldest_pending_timestamp_seconds", &[("sink", "postgres")]);
    let clock = SystemClock::new();
    let now = Duration::from_millis(clock.to_wall(clock.now()).as_millis());
    oldest.map_or(Duration::ZERO, |oldest| now.saturating_sub(Duration::from_secs_f64(oldest)))
}

/// CPU time of a process and its children, in nanoseconds.
fn of_family(parent: u32) -> u64 {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // proc(5): behind the name come the state and the parent.
        let behind = stat.rsplit_once(") ").map(|(_, behind)| behind.to_owned()).unwrap_or_default();
        behind.split(' ').nth(1).is_some_and(|of| of == parent.to_string())
    };
    ids.filter(|id| *id == parent || is_child(id)).map(spent).sum()
}

/// CPU time of a process with one thread, in nanoseconds; 0 if it is gone.
fn spent(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/schedstat")).unwrap_or_default();
    stat.split(' ').next().and_then(|spent| spent.parse().ok()).unwrap_or(0)
}
