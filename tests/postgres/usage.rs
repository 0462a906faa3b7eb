//! `usage --from postgres://...` over several ledgers is `usage` of the ledgers merged, to the byte.

use std::path::Path;

use coturn_exporter::clock::Timestamp;
use coturn_exporter::sinks::LedgerOrigin;
use coturn_exporter::store::ledger::{FILE, FinishedSession, SessionLedger};
use rusqlite::{Connection, params};

use super::made_up::{MARCH, Writer, session};
use crate::common::servers::command;
use crate::common::servers::postgres::Postgres;
use crate::common::temp_dir::TempDir;

/// Ledgers, and sessions in each.
const LEDGERS: u64 = 4;
const SESSIONS: u64 = 400;

/// Names that compare, quote or decode in a way of their own.
const NAMES: [&[u8]; 14] = [
    b"ann",
    b"Ann",
    b"ann ",
    b"",
    b"\xff",
    b"\xff\xfe",
    b"a\0b",
    b"a\0c",
    "\u{fffd}".as_bytes(),
    "z\u{e4}".as_bytes(),
    "\u{1f41f}".as_bytes(),
    b"'; DROP TABLE coturn_ledger.session; --",
    b"=1+1",
    b"a,b\"c\"\\",
];

fn pick<T: Copy>(random: &mut fastrand::Rng, of: &[T]) -> T {
    of[random.usize(..of.len())]
}

/// One that a ledger could hold; `serial` is its number in all ledgers together.
fn random_session(random: &mut fastrand::Rng, serial: u64) -> FinishedSession {
    let ended = MARCH - 10 * 86_400_000 + random.u64(..60 * 86_400_000);
    let started = ended - random.u64(..100_000);
    let at = Timestamp::from_millis;
    let number = |random: &mut fastrand::Rng| match random.u8(..4) {
        0 => 0,
        1 => (1 << 53) + random.u64(..5),
        2 => (1 << 62) + random.u64(..5),
        _ => random.u64(..1_000_000),
    };
    let relay = random.bool().then(|| (at(started), at(started + random.u64(..=ended - started))));
    FinishedSession {
        realm: pick(random, &["", "example.org", "b\u{fc}ro", "a'b"]).to_owned(),
        user: pick(random, &NAMES).to_vec(),
        user_id: pick(random, &NAMES).to_vec(),
        started: at(started),
        ended: at(ended),
        relay,
        allocations: random.u64(1..9),
        is_partial: random.bool(),
        // Equal sums are ordered by names.
        relayed_bytes: if random.bool() { 1000 } else { number(random) },
        sums: std::array::from_fn(|_| number(random)),
        ..session(serial, serial)
    }
}

/// Writes them into the tables of a store, as an exporter has them.
fn write_ledger(folder: &Path, sessions: &[FinishedSession]) -> LedgerOrigin {
    let ledger = SessionLedger::open(folder, &["redis://test"], b':').unwrap();
    let store = ledger.store_id().unwrap();
    let mut connection = Connection::open(folder.join(FILE)).unwrap();
    let transaction = connection.transaction().unwrap();
    let integer = |number: u64| i64::try_from(number).unwrap();
    let millis = |at: Timestamp| integer(at.as_millis());
    let text = |name: &[u8]| match std::str::from_utf8(name) {
        Ok(text) => rusqlite::types::Value::from(text.to_owned()),
        Err(_) => rusqlite::types::Value::from(name.to_vec()),
    };
    for session in sessions {
        let sums: Vec<String> = session.sums.iter().map(u64::to_string).collect();
        let sql = format!(
            "INSERT INTO session VALUES (?1, 0, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, {}, ?1)",
            sums.join(", ")
        );
        let values = params![
            integer(session.serial),
            session.source,
            session.realm,
            text(&session.user),
            text(&session.user_id),
            session.client,
            session.server,
            session.transport,
            session.cause,
            millis(session.started),
            millis(session.ended),
            session.relay.map(|(first, _)| millis(first)),
            session.relay.map(|(_, last)| millis(last)),
            integer(session.allocations),
            session.is_partial,
            integer(session.relayed_bytes),
        ];
        transaction.execute(&sql, values).unwrap();
    }
    transaction.commit().unwrap();
    LedgerOrigin {
        store,
        exporter: folder.display().to_string(),
        last_event: LEDGERS * SESSIONS,
        copied_event: 0,
        taken: 0,
    }
}

#[test]
fn the_database_answers_as_the_ledgers_merged() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let postgres = Postgres::start_with(&["timezone=America/Caracas"]);
    postgres.create_database("ledger");
    let url = postgres.url_of("postgres", "ledger");
    let mut writer = Writer::new(&url);
    let mut all = Vec::new();
    for ledger in 0..LEDGERS {
        let numbers = ledger * SESSIONS + 1..=(ledger + 1) * SESSIONS;
        let sessions: Vec<_> = numbers.map(|serial| random_session(&mut random, serial)).collect();
        let dir = TempDir::new("ledger");
        let origin = write_ledger(dir.path(), &sessions);
        // What is delivered is what the ledger gives, not what the test put in.
        let ledger = SessionLedger::open(dir.path(), &["redis://test"], b':').unwrap();
        let mut after = 0;
        loop {
            let batch = ledger.sessions_after(after, 150).unwrap();
            let Some(last) = batch.last() else { break };
            after = last.revision;
            writer.try_write_of(&origin, &batch).unwrap_or_else(|error| panic!("{error}"));
        }
        all.extend(sessions);
    }
    let merged = TempDir::new("merged");
    write_ledger(merged.path(), &all);
    let merged = merged.path().to_str().unwrap().to_owned();
    for question in [
        "--by user",
        "--by credential --top 5",
        "--by realm",
        "--by day",
        "--by day,realm,user,credential",
        "--by user,day --since 2026-03-01 --until 2026-03-02T12:00:00.001Z",
        "--by realm --since 2031-01-01",
        "--by user --top 3 --format table",
        "--by user --format csv",
    ] {
        let words: Vec<&str> = question.split(' ').collect();
        let format: &[&str] = if question.contains("--format") { &[] } else { &["--format", "json"] };
        let ask = |place: &[&str]| command::exporter(&[&["usage"], &words[..], format, place].concat());
        let (ours, theirs) = (ask(&["--from", &merged]), ask(&["--from", &url]));
        assert_eq!((ours.code, theirs.code), (Some(0), Some(0)), "{}{}", ours.stderr, theirs.stderr);
        assert_eq!(ours.stdout, theirs.stdout, "{question}");
        assert!(ours.stdout.contains("relayed") || question.contains("2031"), "{question}: {}", ours.stdout);
    }
}

#[test]
fn a_database_without_the_tables_is_said_to_be_one() {
    let postgres = Postgres::start();
    postgres.create_database("ledger");
    let ended = command::exporter(&["usage", "--from", &postgres.url_of("postgres", "ledger")]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("coturn-exporter ledger schema | psql"), "{}", ended.stderr);
}

#[test]
fn views_say_what_usage_says() {
    let postgres = Postgres::start();
    postgres.create_database("ledger");
    let mut writer = Writer::new(&postgres.url_of("postgres", "ledger"));
    let mut random = fastrand::Rng::with_seed(7);
    let mut sessions: Vec<_> = (1..=300).map(|serial| random_session(&mut random, serial)).collect();
    // A sum of 2^64 and more is 2^64 - 1 in an answer of `usage`, and itself in a view.
    for session in &mut sessions {
        session.sums = session.sums.map(|sum| sum % (1 << 54));
    }
    writer.write(&sessions);
    let url = postgres.url_of("postgres", "ledger");
    for (view, by) in [("usage_by_realm_day", "day,realm"), ("usage_by_user_day", "day,user")] {
        let ended = command::exporter(&["usage", "--from", &url, "--by", by, "--format", "json"]);
        let answers: Vec<serde_json::Map<String, serde_json::Value>> =
            serde_json::from_str(&ended.stdout).unwrap();
        let figures: Vec<String> =
            answers[0].keys().filter(|key| !by.contains(key.as_str())).cloned().collect();
        let of_answer = |answer: &serde_json::Map<String, serde_json::Value>| {
            figures.iter().map(|figure| answer[figure].to_string()).collect::<Vec<_>>().join("|")
        };
        let mut expected: Vec<String> = answers.iter().map(of_answer).collect();
        expected.sort();
        let sql = format!("SELECT {} FROM coturn_ledger.{view}", figures.join(", "));
        let text = postgres.sql("ledger", &sql);
        let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
        rows.sort();
        let differ = rows.iter().zip(&expected).find(|(row, expected)| row != expected);
        assert_eq!((differ, rows.len()), (None, expected.len()), "{view}");
    }
}
