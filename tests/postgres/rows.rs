//! What becomes of rows that come again, out of order, or from a connection that broke.

use super::made_up::{STORE, Writer, config, origin, rows, session};
use crate::common::servers::postgres::Postgres;
use crate::common::servers::postgres_cutter::{Cut, PostgresCutter};
use coturn_exporter::clock::Timestamp;
use coturn_exporter::sinks::postgres::PostgresError;
use coturn_exporter::sinks::{LedgerOrigin, SinkError as _};
use coturn_exporter::store::ledger::{FinishedSession, SUMS};

#[test]
fn a_session_is_one_row_as_it_was_changed_last() {
    let postgres = Postgres::start();
    postgres.create_database("ledger");
    let mut writer = Writer::new(&postgres.url_of("postgres", "ledger"));
    let first: Vec<FinishedSession> = (1..=3).map(|serial| session(serial, serial)).collect();
    writer.write(&first);
    writer.write(&first);
    assert_eq!(rows(&postgres, "ledger"), [(1, 1, 1000), (2, 2, 2000), (3, 3, 3000)]);

    // An amendment; the older one comes again behind it, and both come in one batch.
    let amended = FinishedSession { revision: 4, relayed_bytes: 7, ..session(2, 4) };
    writer.write(std::slice::from_ref(&amended));
    writer.try_write_of(&origin(4), &first).unwrap();
    assert_eq!(rows(&postgres, "ledger"), [(1, 1, 1000), (2, 4, 7), (3, 3, 3000)]);
    let later = FinishedSession { revision: 5, relayed_bytes: 8, ..session(2, 5) };
    writer.write(&[amended.clone(), later, amended]);
    assert_eq!(rows(&postgres, "ledger"), [(1, 1, 1000), (2, 5, 8), (3, 3, 3000)]);

    // The same numbers in another ledger are other sessions; the exporter's name may change.
    let other = STORE.replace("0001", "0002");
    let mut of_other = origin(3);
    other.clone_into(&mut of_other.store);
    "there|'; DROP SCHEMA coturn_ledger CASCADE; --".clone_into(&mut of_other.exporter);
    writer.try_write_of(&of_other, &first).unwrap();
    assert_eq!(rows(&postgres, "ledger").len(), 6);
    let stores =
        postgres.sql("ledger", "SELECT exporter, last_revision FROM coturn_ledger.store ORDER BY store_id");
    assert_eq!(stores, "here|5\nthere|'; DROP SCHEMA coturn_ledger CASCADE; --|3");
}

#[test]
fn an_older_copy_of_a_ledger_is_noticed_and_writes_nothing() {
    let postgres = Postgres::start();
    postgres.create_database("ledger");
    let mut writer = Writer::new(&postgres.url_of("postgres", "ledger"));
    writer.write(&[session(1, 9)]);
    let error = writer.try_write_of(&origin(8), &[session(2, 8)]).unwrap_err();
    assert!(matches!(error, PostgresError::LedgerIsOlder { theirs: 9 }), "{error}");
    assert!(error.is_of_older_ledger());
    // With nothing to write as well.
    let error = writer.probe(&origin(8)).unwrap_err();
    assert!(error.is_of_older_ledger(), "{error}");
    assert!(writer.probe(&origin(9)).unwrap());
    assert_eq!(rows(&postgres, "ledger"), [(1, 9, 1000)]);
    writer.write(&[session(2, 10)]);
}

/// Put back from a backup, a standby that lacked the last rows, or a new one: it gets what it lacks.
#[test]
fn a_database_that_has_less_than_it_had_is_noticed_and_is_given_it_again() {
    let postgres = Postgres::start();
    postgres.create_database("ledger");
    let mut writer = Writer::new(&postgres.url_of("postgres", "ledger"));
    writer.write(&[session(1, 4)]);
    let after = |taken| LedgerOrigin { taken, ..origin(9) };
    let error = writer.try_write_of(&after(8), &[session(2, 9)]).unwrap_err();
    assert!(matches!(error, PostgresError::DatabaseIsOlder { theirs: 4, taken: 8 }), "{error}");
    assert_eq!((error.has_only(), error.is_of_older_ledger()), (Some(4), false));
    // With nothing to write as well.
    assert_eq!(writer.probe(&after(8)).unwrap_err().has_only(), Some(4));
    assert_eq!(rows(&postgres, "ledger"), [(1, 4, 1000)]);
    writer.try_write_of(&after(4), &[session(3, 8), session(2, 9)]).unwrap();
    assert_eq!(rows(&postgres, "ledger").len(), 3);
    // The copy of another ledger is given nothing of that one's, which has an identity of its own there.
    let of_copy = LedgerOrigin { store: STORE.replace("0001", "0003"), copied_event: 8, ..after(8) };
    writer.try_write_of(&of_copy, &[session(5, 9)]).unwrap();
    assert_eq!(rows(&postgres, "ledger").len(), 4);
}

#[test]
fn every_value_is_in_the_table_as_it_was() {
    let postgres = Postgres::start();
    postgres.create_database("ledger");
    let mut writer = Writer::new(&postgres.url_of("postgres", "ledger"));
    let at = Timestamp::from_millis;
    let plain = session(1, 1);
    let odd = FinishedSession {
        realm: "a\0b'\"\\".to_owned(),
        user: b"\xff\0'); DROP TABLE coturn_ledger.session; --".to_vec(),
        user_id: "o'Brien; \u{1f41f} {\"a\",NULL}".as_bytes().to_vec(),
        client: None,
        started: at(0),
        ended: at(u64::MAX),
        relay: None,
        allocations: u64::MAX,
        is_partial: true,
        relayed_bytes: (1 << 53) + 1,
        sums: [(1 << 53) + 1, u64::MAX >> 1, u64::MAX, 0, 1, (1 << 62) + 3, 7, 8],
        ..session(2, 2)
    };
    let long = FinishedSession {
        user: vec![0xfe; 1024],
        user_id: "\u{e9}".repeat(512).into_bytes(),
        ..session(3, 3)
    };
    let beyond = FinishedSession { realm: "\u{fffd}".repeat(341), ..session(4, 4) };
    writer.write(&[plain, odd, long, beyond]);
    let value = |serial: u32, sql: &str| {
        postgres.sql(
            "ledger",
            &format!(
                "SET timezone = 'UTC'; SELECT {sql} FROM coturn_ledger.session WHERE session = {serial}"
            ),
        )
    };
    let times = "started, ended, relay_started, relay_ended";
    assert_eq!(
        value(1, times),
        "2026-02-28 23:59:00.999+00|2026-03-01 00:00:01+00|2026-02-28 23:59:11+00|2026-03-01 00:00:00.999+00"
    );
    let names = "store_id, source, realm, user_name, user_name_bytes, user_id, user_id_bytes, client, server, transport, cause";
    assert_eq!(
        value(1, names),
        format!(
            "{STORE}|redis://h:6379/0|example.org|1764000000:user1||user1||192.0.2.1:5000|192.0.2.9|udp|released"
        )
    );
    let sums = SUMS.join(", ");
    assert_eq!(value(1, &sums), "1|2|3|4|5|6|7|8");
    assert_eq!(value(2, times), "1970-01-01 00:00:00+00|9999-12-31 23:59:59.999+00||");
    assert_eq!(value(2, "realm"), "a\u{fffd}b'\"\\");
    assert_eq!(value(2, "user_name"), "\u{fffd}\u{fffd}'); DROP TABLE coturn_ledger.session; --");
    assert_eq!(
        value(2, "convert_from(substr(user_name_bytes, 3), 'UTF8'), substr(user_name_bytes, 1, 2)"),
        "'); DROP TABLE coturn_ledger.session; --|\\xff00"
    );
    assert_eq!(
        value(2, "user_id, user_id_bytes IS NULL, client IS NULL"),
        "o'Brien; \u{1f41f} {\"a\",NULL}|t|t"
    );
    let most = i64::MAX;
    assert_eq!(value(2, "allocations, is_partial, relayed_bytes"), format!("{most}|t|9007199254740993"));
    assert_eq!(value(2, &sums), format!("9007199254740993|{most}|{most}|0|1|4611686018427387907|7|8"));
    assert_eq!(
        value(
            3,
            "octet_length(user_name), octet_length(user_name_bytes), octet_length(user_id), octet_length(user_id_bytes)"
        ),
        "999|1024|1000|1024"
    );
    assert_eq!(value(4, "octet_length(realm)"), "999");
}

#[test]
fn a_cut_connection_loses_nothing_and_writes_nothing_twice() {
    let postgres = Postgres::start();
    postgres.create_database("ledger");
    let cutter = PostgresCutter::start(postgres.address());
    let mut writer = Writer::of(config(&Postgres::tcp_url(cutter.address, "ledger", "sslmode=disable")));
    writer.write(&[session(1, 1)]);
    let mut serial = 1;
    for words in ["COMMIT", "INSERT INTO coturn_ledger.session", "UPDATE coturn_ledger.store", "BEGIN"] {
        for cut in [Cut::BeforeItIsSent, Cut::AnswerLost] {
            serial += 1;
            cutter.cut_at(words, cut);
            let batch = [session(serial, serial), session(serial + 1000, serial)];
            let error = writer.try_write(&batch).unwrap_err();
            assert!(cutter.has_cut(), "{words} {cut:?}: {error}");
            let count =
                rows(&postgres, "ledger").iter().filter(|(number, ..)| number % 1000 == serial).count();
            let is_done = words == "COMMIT" && cut == Cut::AnswerLost;
            assert_eq!(count, if is_done { 2 } else { 0 }, "{words} {cut:?}: all of a batch or nothing");
            writer.write(&batch);
        }
    }
    let numbers: Vec<u64> = rows(&postgres, "ledger").iter().map(|(number, ..)| *number).collect();
    let expected: Vec<u64> = (1..=serial).chain(1002..=1000 + serial).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn a_server_that_stops_or_is_killed_takes_the_rest_afterwards() {
    let mut postgres = Postgres::start();
    postgres.create_database("ledger");
    let mut writer = Writer::new(&postgres.url_of("postgres", "ledger"));
    writer.write(&[session(1, 1)]);
    postgres.stop();
    let error = writer.try_write(&[session(2, 2)]).unwrap_err().to_string();
    assert!(error.contains("PostgreSQL"), "{error}");
    postgres.start_again();
    writer.write(&[session(2, 2)]);
    postgres.kill();
    // Its other processes end a moment later: one of them may still take this.
    drop(writer.try_write(&[session(3, 3)]));
    postgres.start_again();
    writer.write(&[session(3, 3)]);
    assert_eq!(rows(&postgres, "ledger"), [(1, 1, 1000), (2, 2, 2000), (3, 3, 3000)]);
}
