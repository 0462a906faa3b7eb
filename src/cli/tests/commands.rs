//! What the subcommands take, and which flags they refuse.

use std::time::Duration;

use super::{config, error};
use crate::clock::Timestamp;
use crate::config::{
    Command, LedgerPlace, LogLevel, PostgresSettings, ReportForm, Secret, UsageColumns, UsageFormat,
    UsageQuery, UsageTime,
};
use crate::store::ledger::By;

#[test]
fn usage_asks_the_ledger() {
    let asked =
        config("usage --store.path=s.db --by realm,user --since 2d --until 1970-01-01T00:00:01Z --top 5");
    let expected = UsageQuery {
        place: LedgerPlace::Store("s.db".into()),
        by: vec![By::Realm, By::User],
        since: Some(UsageTime::Ago(Duration::from_secs(2 * 86_400))),
        until: Some(UsageTime::At(Timestamp::from_millis(1000))),
        top: Some(5),
        columns: UsageColumns::Usual,
        format: UsageFormat::Table,
    };
    assert_eq!(asked.command, Command::Usage(expected));
    assert_eq!(
        error("usage"),
        "--store.path: it is not given; usage reads the ledger of a store: give the directory of the store, or say with \
         --from which store or database to read"
    );
    for (line, beginning) in [
        ("usage --store.path=s --by=peer", "--by: \"peer\" is not accepted"),
        ("usage --store.path=s --since=x", "--since: \"x\" is not a moment"),
        ("usage --store.path=s --until=x", "--until: \"x\" is not a moment"),
        ("usage --store.path=s --top=0", "--top: \"0\" is not a whole number"),
        (
            "usage --store.path=s --columns=sessions,x",
            "--columns: \"x\" is not a column; the columns are sessions, ",
        ),
        ("usage --store.path=s --format=xml", "--format: \"xml\" is not accepted"),
        ("usage --store.path=s --redis.url=redis://a", "--redis.url has no effect on usage"),
        ("--ledger.postgres-url=postgres://a usage --from=s", "--ledger.postgres-url has no effect on usage"),
        ("ledger prune --from=s --keep=1d", "--from: it names no database"),
        ("ledger prune --from=postgres://a --keep=0s", "--keep: "),
        ("ledger schema --store.path=s", "--store.path has no effect on ledger"),
    ] {
        assert!(error(line).starts_with(beginning), "{line}: {}", error(line));
    }
}

#[test]
fn a_ledger_may_be_in_a_database() {
    let place = |line: &str| match config(line).command {
        Command::Usage(query) => query.place,
        other => panic!("{other:?}"),
    };
    assert_eq!(place("usage --from /s"), LedgerPlace::Store("/s".into()));
    let database = PostgresSettings { url: Secret::new("postgres://a@b/c"), password: None };
    assert_eq!(
        place("usage --from postgres://a@b/c --store.path=s"),
        LedgerPlace::Postgres(database.clone())
    );
    assert_eq!(config("ledger schema").command, Command::LedgerSchema);
    let keep = Duration::from_secs(400 * 86_400);
    let prune = |apply| Command::LedgerPrune { database: database.clone(), keep, apply };
    assert_eq!(config("ledger prune --from postgres://a@b/c --keep 400d").command, prune(false));
    assert_eq!(config("ledger prune --from postgres://a@b/c --keep 400d --apply").command, prune(true));
}

#[test]
fn flags_may_stand_before_and_after_a_subcommand() {
    for line in [
        "--metrics.max-realms=7 --log.level=warn --metrics.realm=x replay a b --until 12.5",
        "replay --metrics.max-realms 7 a --until=12.5 b --log.level=warn --metrics.realm=x",
        "--metrics.max-realms 7 replay --metrics.realm x --until=12.5 a b --log.level warn",
    ] {
        let config = config(line);
        let until = Some(Timestamp::from_millis(12_500));
        assert_eq!(config.command, Command::Replay { files: vec!["a".into(), "b".into()], until }, "{line}");
        assert_eq!((config.table.max_realms, config.log.level), (7, LogLevel::Warn), "{line}");
        assert_eq!(config.table.realms, [b"x"], "{line}");
        assert!(config.sources.is_empty(), "{line}");
    }
}

#[test]
fn record_watches_one_redis() {
    let recording = config("record --redis.url redis://h --output a.jsonl --duration 1m");
    let duration = Some(Duration::from_secs(60));
    assert_eq!(recording.command, Command::Record { output: Some("a.jsonl".into()), duration });
    assert_eq!(recording.sources[0].name, "redis://h:6379/0");
    assert_eq!(config("record").command, Command::Record { output: None, duration: None });
    assert_eq!(config("record --output -").command, Command::Record { output: None, duration: None });
    assert!(
        error("record --redis.url redis://a --redis.url redis://b")
            .contains("--redis.url: record watches one")
    );
}

#[test]
fn doctor_and_prune_take_the_redis_and_the_longest_lifetime() {
    for (line, report) in [
        ("doctor", ReportForm::Short),
        ("doctor --verbose", ReportForm::Verbose),
        ("doctor --json", ReportForm::Json),
    ] {
        assert_eq!(config(line).command, Command::Doctor { report }, "{line}");
    }
    // It listens nowhere itself, so it needs neither a password nor --statsdb.open; and no Redis was named.
    let listener = config("doctor --statsdb.listen-address=:6390");
    assert_eq!(listener.statsdb.map(|statsdb| statsdb.name), Some("statsdb://:6390".to_owned()));
    assert!(listener.sources.is_empty());
    let both = config("doctor --statsdb.listen-address=:6390 --redis.url=redis://h");
    assert_eq!((both.statsdb.is_some(), both.sources.len()), (true, 1));
    assert_eq!(config("prune").command, Command::Prune { apply: false });
    let pruning =
        config("prune --apply --redis.url redis://h/2 --allocation.max-lifetime 2h --allocation.grace=0s");
    assert_eq!(pruning.command, Command::Prune { apply: true });
    assert_eq!(pruning.sources[0].name, "redis://h:6379/2");
    assert_eq!(
        (pruning.table.max_lifetime, pruning.table.grace),
        (Duration::from_secs(7200), Duration::ZERO)
    );
    assert!(
        error("doctor --allocation.grace=90")
            .starts_with("--allocation.grace: \"90\" has no unit; write 90s")
    );
    assert!(error("doctor x").starts_with("unexpected argument 'x'"));
    // In front of it, all flags of an exporter.
    let asked = config(
        "--statsdb.listen-address=:6390 --store.path=s --web.max-requests=1 --session.linger=1s doctor",
    );
    assert_eq!(asked.sources, listener.sources);
}

#[test]
fn flags_that_would_do_nothing_are_refused() {
    for (line, flag, command) in [
        ("prune --statsdb.listen-address=:1", "statsdb.listen-address", "prune"),
        ("prune --allocation.idle-after=1m", "allocation.idle-after", "prune"),
        ("prune --metrics.realm=x", "metrics.realm", "prune"),
    ] {
        assert_eq!(error(line), format!("--{flag} has no effect on {command}; leave it out"));
    }
    assert_eq!(
        error("--web.max-requests=1 replay a"),
        "--web.max-requests has no effect on replay; leave it out"
    );
    assert_eq!(error("replay a --redis.url=redis://h"), "--redis.url has no effect on replay; leave it out");
    assert_eq!(error("record --session.by user"), "--session.by has no effect on record; leave it out");
}
