//! TLS to the database, and passwords: whom the sink believes, and what it says when it cannot.

use std::path::Path;

use super::made_up::{Writer, rows, session};
use crate::common::net::certificates::{Authority, Pair};
use crate::common::servers::postgres::{PASSWORD, Postgres};
use coturn_exporter::config::{Password, PostgresSettings, Secret};
use coturn_exporter::reload::Reload as _;
use coturn_exporter::sinks::postgres::PostgresConfig;

/// One that speaks TLS with this certificate.
fn with_tls(pair: &Pair) -> Postgres {
    let mut postgres = Postgres::start();
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    let certificate = postgres.keep("server.crt", &text(&pair.cert_file));
    let key = postgres.keep("server.key", &text(&pair.key_file));
    let set =
        |name: &str, value: &str| postgres.sql("postgres", &format!("ALTER SYSTEM SET {name} = '{value}'"));
    set("ssl_cert_file", certificate.to_str().unwrap());
    set("ssl_key_file", key.to_str().unwrap());
    set("ssl", "on");
    postgres.create_database("ledger");
    postgres.stop();
    postgres.start_again();
    postgres
}

#[test]
fn a_certificate_must_be_of_a_trusted_ca_and_for_the_name() {
    let authority = Authority::new("ca");
    let stranger = Authority::new("stranger");
    let postgres = with_tls(&authority.issue("server", &["localhost"]));
    let port = postgres.address().port();
    let writer = |host: &str, query: &str| {
        let url =
            format!("postgres://postgres:{}@{host}:{port}/ledger?{query}", PASSWORD.replace(' ', "%20"));
        Writer::new(&url)
    };
    let (ca, other) = (authority.cert_file.display(), stranger.cert_file.display());
    writer("localhost", &format!("sslrootcert={ca}")).write(&[session(1, 1)]);
    writer("127.0.0.1", &format!("sslmode=verify-ca&sslrootcert={ca}")).write(&[session(2, 2)]);
    writer("127.0.0.1", "sslmode=require").write(&[session(3, 3)]);
    writer("127.0.0.1", "sslmode=disable").write(&[session(4, 4)]);
    assert_eq!(rows(&postgres, "ledger").len(), 4);

    for (host, query, said) in [
        ("127.0.0.1", format!("sslrootcert={ca}"), "use the host name that the certificate is for"),
        ("localhost", format!("sslrootcert={other}"), "has not signed it"),
        ("localhost", format!("sslmode=verify-ca&sslrootcert={other}"), "has not signed it"),
        ("localhost", format!("sslmode=require&sslrootcert={other}"), "has not signed it"),
        ("localhost", String::new(), "sslrootcert"),
        ("localhost", "sslrootcert=/nowhere/ca".to_owned(), "/nowhere/ca"),
    ] {
        let refusal = writer(host, &query).refusal();
        assert!(refusal.contains(said), "{host} {query}: {refusal}");
        assert!(!refusal.contains(PASSWORD), "{refusal}");
    }
    assert_eq!(rows(&postgres, "ledger").len(), 4);
}

#[test]
fn a_server_without_tls_is_not_spoken_to_in_the_clear() {
    let postgres = Postgres::start();
    postgres.create_database("ledger");
    let refusal = Writer::new(&Postgres::tcp_url(postgres.address(), "ledger", "sslmode=require")).refusal();
    assert!(refusal.contains("has no TLS") && refusal.contains("sslmode=disable"), "{refusal}");
    Writer::new(&Postgres::tcp_url(postgres.address(), "ledger", "sslmode=disable")).write(&[session(1, 1)]);
}

#[test]
fn a_client_certificate_logs_in() {
    let authority = Authority::new("ca");
    let mut postgres = with_tls(&authority.issue("server", &["localhost"]));
    let ca = postgres.keep("ca.crt", &std::fs::read_to_string(&authority.cert_file).unwrap());
    postgres.sql("postgres", &format!("ALTER SYSTEM SET ssl_ca_file = '{}'", ca.display()));
    let rule = "local all all trust\nhostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n";
    postgres.keep("data/pg_hba.conf", rule);
    postgres.stop();
    postgres.start_again();
    let url = |more: &str| {
        let port = postgres.address().port();
        format!(
            "postgres://postgres@127.0.0.1:{port}/ledger?sslmode=verify-ca&sslrootcert={}{more}",
            authority.cert_file.display()
        )
    };
    let refusal = Writer::new(&url("")).refusal();
    assert!(refusal.contains("certificate"), "{refusal}");
    let us = authority.issue_for_clients("us", &["postgres"]);
    let more = format!("&sslcert={}&sslkey={}", us.cert_file.display(), us.key_file.display());
    Writer::new(&url(&more)).write(&[session(1, 1)]);
}

#[test]
fn a_password_is_that_of_the_file_at_each_connection() {
    let mut postgres = Postgres::start();
    postgres.create_database("ledger");
    postgres.sql("postgres", "CREATE ROLE turn LOGIN SUPERUSER PASSWORD 'first'");
    let file = postgres.keep("password of turn", "first\n");
    let password = Password::from_file("--ledger.postgres-password-file", &file).unwrap();
    let url = format!("postgres://turn@{}/ledger?sslmode=disable", postgres.address());
    let settings =
        PostgresSettings { url: Secret::new(url), password: Some(Password::File(password.clone())) };
    let mut writer = Writer::of(PostgresConfig::new(&settings).unwrap());
    writer.write(&[session(1, 1)]);

    postgres.sql("postgres", "ALTER ROLE turn PASSWORD 'second'");
    writer.write(&[session(2, 2)]);
    postgres.stop();
    postgres.start_again();
    assert!(writer.try_write(&[session(3, 3)]).is_err(), "the connection that was");
    let refusal = writer.refusal();
    assert!(refusal.contains("password authentication failed"), "{refusal}");
    assert!(!refusal.contains("first"), "{refusal}");
    std::fs::write(&file, "second\n").unwrap();
    password.reload(true);
    writer.write(&[session(3, 3)]);
}
