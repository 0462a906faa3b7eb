//! Months as partitions: rows are in theirs, those that came before it move in, and whole months go.

use super::made_up::{MARCH, Writer, rows, session};
use crate::common::servers::command;
use crate::common::servers::postgres::Postgres;
use coturn_exporter::clock::{Clock as _, SystemClock, Timestamp};
use coturn_exporter::sinks::postgres::schema_sql;
use coturn_exporter::store::ledger::FinishedSession;

const DAY: u64 = 86_400_000;

fn ended(serial: u64, at: u64) -> FinishedSession {
    FinishedSession { ended: Timestamp::from_millis(at), ..session(serial, serial) }
}

fn places(postgres: &Postgres) -> String {
    let sql = "SELECT session, tableoid::regclass FROM coturn_ledger.session ORDER BY session";
    postgres.sql("ledger", sql).replace("coturn_ledger.", "")
}

#[test]
fn rows_are_in_their_months_by_utc() {
    let postgres = Postgres::start_with(&["timezone=Pacific/Auckland"]);
    postgres.create_database("ledger");
    let mut writer = Writer::new(&postgres.url_of("postgres", "ledger"));
    let sessions = [
        ended(1, MARCH - 1),
        ended(2, MARCH),
        ended(3, MARCH + 31 * DAY - 1),
        ended(4, MARCH + 31 * DAY),
        // Moments that only damaged data or a wrong clock has.
        ended(5, 0),
        ended(6, MARCH + 4000 * DAY),
        ended(7, u64::MAX),
    ];
    writer.write(&sessions);
    let expected = "1|session_202602\n2|session_202603\n3|session_202603\n4|session_202604\n\
        5|session_default\n6|session_default\n7|session_default";
    assert_eq!(places(&postgres), expected);
}

#[test]
fn rows_that_came_before_their_month_move_into_it() {
    let postgres = Postgres::start();
    postgres.create_database("ledger");
    postgres.sql("ledger", &schema_sql());
    let mut writer = Writer::new(&postgres.url_of("postgres", "ledger"));
    writer.write(&[session(1, 1), session(2, 2)]);
    // As a restored backup has it: rows, and no month.
    let sql = "CREATE TABLE old AS SELECT * FROM coturn_ledger.session; DROP TABLE coturn_ledger.session_202603; \
        INSERT INTO coturn_ledger.session SELECT * FROM old";
    postgres.sql("ledger", sql);
    assert_eq!(places(&postgres), "1|session_default\n2|session_default");
    // A new connection asks for its months anew; the sessions keep their numbers, an amendment finds its row.
    let mut writer = Writer::new(&postgres.url_of("postgres", "ledger"));
    writer.write(&[session(3, 3), session(1, 4)]);
    assert_eq!(places(&postgres), "1|session_202603\n2|session_202603\n3|session_202603");
    assert_eq!(rows(&postgres, "ledger"), [(1, 4, 1000), (2, 2, 2000), (3, 3, 3000)]);
    // Its month has the indexes of the others.
    let sql = "SELECT count(*) FROM pg_indexes WHERE schemaname = 'coturn_ledger' AND tablename = ";
    let of_month = postgres.sql("ledger", &format!("{sql}'session_202603'"));
    assert_eq!(of_month, postgres.sql("ledger", &format!("{sql}'session_default'")));
    assert_eq!(of_month, "4");
}

#[test]
fn months_that_are_over_go_as_a_whole() {
    let postgres = Postgres::start();
    postgres.create_database("ledger");
    let printed = command::exporter(&["ledger", "schema"]);
    assert_eq!((printed.code, printed.stdout), (Some(0), schema_sql()));
    let url = postgres.url_of("postgres", "ledger");
    let now = SystemClock::new().now().as_millis();
    let mut writer = Writer::new(&url);
    let young = [ended(1, now), ended(2, now - 40 * DAY)];
    let old = [ended(3, now - 500 * DAY), ended(4, now - 700 * DAY), ended(5, 1)];
    writer.write(&[&young[..], &old[..]].concat());
    let prune = |more: &[&str]| {
        let args = ["ledger", "prune", "--from", &url, "--keep", "400d"];
        let ended = command::exporter(&[&args, more].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout
    };
    let listed = prune(&[]);
    assert_eq!(listed.matches("would drop coturn_ledger.session_20").count(), 2, "{listed}");
    assert!(listed.contains("would delete 1 sessions") && listed.contains("--apply"), "{listed}");
    assert_eq!(rows(&postgres, "ledger").len(), 5);
    let dropped = prune(&["--apply"]);
    assert_eq!(dropped.matches("\ndropped ").count() + 1, 2, "{dropped}");
    assert_eq!(rows(&postgres, "ledger").iter().map(|(number, ..)| *number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(prune(&["--apply"]), "deleted 0 sessions of no month\n");
    // The connection that was open goes on; a session of a month that is gone makes it again.
    writer.write(&[ended(6, now), ended(7, now - 500 * DAY)]);
    assert_eq!(rows(&postgres, "ledger").len(), 4);
}
