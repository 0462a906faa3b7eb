//! Who makes the tables, and who may not.

use super::made_up::{STORE, Writer, config, origin, rows, session};
use crate::common::servers::postgres::Postgres;
use coturn_exporter::sinks::Sink as _;
use coturn_exporter::sinks::postgres::schema_sql;

/// The blocks of SQL in docs/postgres.md below a heading.
fn documented(heading: &str) -> Vec<String> {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/postgres.md")).unwrap();
    let (_, section) =
        document.split_once(&format!("# {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n#").next().unwrap();
    let blocks = section.split("```sql\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned());
    blocks.collect()
}

#[test]
fn twenty_exporters_start_at_once() {
    let postgres = Postgres::start();
    postgres.create_database("ledger");
    let url = postgres.url_of("postgres", "ledger");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let tasks: Vec<_> = (10..30)
        .map(|number| {
            let config = config(&url);
            runtime.spawn(async move {
                let mut sink = coturn_exporter::sinks::postgres::PostgresSink::new(config);
                let mut origin = origin(1);
                origin.store = format!("{}{number}", &STORE[..STORE.len() - 2]);
                // Months that nobody has made yet, and each asks for at once.
                let mut sessions = vec![session(1, 1), session(40 * 86_400, 1), session(100 * 86_400, 1)];
                sessions.reverse();
                sink.deliver(&origin, &sessions).await.map(|_| ()).map_err(|error| error.to_string())
            })
        })
        .collect();
    for task in tasks {
        runtime.block_on(task).unwrap().unwrap_or_else(|error| panic!("{error}"));
    }
    assert_eq!(rows(&postgres, "ledger").len(), 60);
    assert_eq!(postgres.sql("ledger", "SELECT count(*) FROM coturn_ledger.session_default"), "0");
    assert_eq!(postgres.sql("ledger", "SELECT version FROM coturn_ledger.schema_version"), "1");
}

#[test]
fn a_role_without_rights_to_make_tables_works_once_they_are_made() {
    let postgres = Postgres::start();
    postgres.create_database("ledger");
    let documented = documented("Exporters without rights on the tables");
    let [exporter, reader] = &documented[..] else { panic!("{documented:?}") };
    let (role, grants) = exporter.split_once('\n').unwrap();
    postgres.sql("postgres", role);
    let mut writer = Writer::new(&postgres.url_of("coturn_exporter", "ledger"));
    let refusal = writer.refusal();
    assert!(refusal.contains("coturn-exporter ledger schema | psql"), "{refusal}");

    // As the operator does; once more is no harm.
    postgres.sql("ledger", &schema_sql());
    postgres.sql("ledger", &schema_sql());
    let refusal = writer.refusal();
    assert!(refusal.contains("docs/postgres.md"), "{refusal}");
    postgres.sql("ledger", grants);
    writer.write(&[session(1, 1), session(40 * 86_400, 2)]);
    assert_eq!(
        postgres.sql("ledger", "SELECT count(*) FROM coturn_ledger.session_default"),
        "0",
        "it has months"
    );
    // Twice: an amendment is an update.
    writer.write(&[session(1, 3)]);
    for forbidden in [
        "DELETE FROM coturn_ledger.session",
        "DROP TABLE coturn_ledger.session",
        "CREATE TABLE coturn_ledger.mine ()",
        "UPDATE coturn_ledger.schema_version SET version = 9",
    ] {
        let sql = format!("SET ROLE coturn_exporter; {forbidden}");
        let error = postgres.try_sql("ledger", &sql).unwrap_err();
        assert!(
            error.contains("permission denied") || error.contains("must be owner"),
            "{forbidden}: {error}"
        );
    }
    // Whoever reads may ask the usual questions, and have no months made.
    postgres.sql("ledger", reader);
    let as_reader = |sql: &str| postgres.try_sql("ledger", &format!("SET ROLE turn_reader; {sql}"));
    for question in self::documented("The usual questions") {
        as_reader(&question).unwrap_or_else(|error| panic!("{question}: {error}"));
    }
    let refused = as_reader("SELECT coturn_ledger.make_months(ARRAY[now()])").unwrap_err();
    assert!(refused.contains("permission denied"), "{refused}");
}

#[test]
fn a_missing_right_shows_with_nothing_to_write() {
    let postgres = Postgres::start();
    postgres.create_database("ledger");
    postgres.sql("ledger", &schema_sql());
    let documented = documented("Exporters without rights on the tables");
    postgres.sql("ledger", &documented[0]);
    let probe = || Writer::new(&postgres.url_of("coturn_exporter", "ledger")).probe(&origin(1));
    for right in [
        "USAGE ON SCHEMA coturn_ledger",
        "SELECT ON coturn_ledger.schema_version",
        "SELECT ON coturn_ledger.store",
        "INSERT ON coturn_ledger.store",
        "UPDATE ON coturn_ledger.store",
        "SELECT ON coturn_ledger.session",
        "INSERT ON coturn_ledger.session",
        "UPDATE ON coturn_ledger.session",
        "EXECUTE ON FUNCTION coturn_ledger.make_months",
    ] {
        postgres.sql("ledger", &format!("REVOKE {right} FROM coturn_exporter"));
        let refusal = probe().unwrap_err().to_string();
        assert!(refusal.contains("docs/postgres.md"), "without {right}: {refusal}");
        postgres.sql("ledger", &format!("GRANT {right} TO coturn_exporter"));
        assert!(probe().unwrap(), "{right}");
    }
    assert_eq!(postgres.sql("ledger", "SELECT count(*) FROM coturn_ledger.store"), "0", "nothing is written");
}

#[test]
fn a_role_that_owns_its_database_makes_the_tables() {
    let postgres = Postgres::start();
    let documented = documented("The short way");
    for statement in documented[0].lines() {
        postgres.sql("postgres", statement);
    }
    Writer::new(&postgres.url_of("coturn_exporter", "turn")).write(&[session(1, 1)]);
    assert_eq!(rows(&postgres, "turn"), [(1, 1, 1000)]);
}

#[test]
fn tables_of_a_newer_exporter_and_other_encodings_are_refused() {
    let postgres = Postgres::start();
    postgres.create_database("ledger");
    postgres.sql("ledger", &schema_sql());
    postgres.sql("ledger", "INSERT INTO coturn_ledger.schema_version (version) VALUES (2)");
    let refusal = Writer::new(&postgres.url_of("postgres", "ledger")).refusal();
    assert!(refusal.contains("version 2") && refusal.contains("use a newer exporter"), "{refusal}");

    postgres.sql("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'");
    let refusal = Writer::new(&postgres.url_of("postgres", "latin")).refusal();
    assert!(refusal.contains("LATIN1") && refusal.contains("UTF8"), "{refusal}");
}

#[test]
fn everything_has_a_comment() {
    let postgres = Postgres::start();
    postgres.create_database("ledger");
    postgres.sql("ledger", &schema_sql());
    let sql = "SELECT c.relname || coalesce('.' || a.attname, '') FROM pg_class c \
        JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'coturn_ledger' \
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND c.relname IN ('session', 'store') \
        WHERE c.relkind IN ('r', 'p', 'v') AND col_description(c.oid, coalesce(a.attnum, 0)) IS NULL";
    let missing = postgres.sql("ledger", sql);
    let missing: Vec<&str> = missing.lines().collect();
    // `session` and `store` as such are looked at by their columns.
    assert!(missing.is_empty(), "{missing:?}");
}
