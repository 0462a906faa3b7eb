//! The exporter with a database: what it is killed in, or the database, changes no row in the end.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::common::models::traffic::Traffic;
use crate::common::net::ports::Port;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::coturn_log;
use crate::common::servers::command;
use crate::common::servers::coturn::{Coturn, Settings};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::listener::listening;
use crate::common::servers::peer::EchoPeer;
use crate::common::servers::postgres::Postgres;
use crate::common::servers::postgres_cutter::{Cut, PostgresCutter};
use crate::common::servers::redis::Redis;
use crate::common::servers::uclient::{Job, Kind, Uclient, wait_for_all};
use crate::common::temp_dir::TempDir;
use coturn_exporter::clock::{Clock as _, SystemClock};

/// Sessions and relayed bytes of each user in the database.
fn in_database(postgres: &Postgres) -> Result<BTreeMap<String, (u64, u64)>, String> {
    let sql = "SELECT user_id, count(*), sum(relayed_bytes) FROM coturn_ledger.session GROUP BY user_id";
    let text = postgres.try_sql("ledger", sql)?;
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').collect();
        (cells[0].to_owned(), (cells[1].parse().unwrap(), cells[2].parse().unwrap()))
    };
    Ok(text.lines().map(row).collect())
}

/// What `usage` says of a place.
fn usage_of(place: &str) -> String {
    let args = ["usage", "--from", place, "--by", "realm,user,day", "--format", "json"];
    let ended = command::exporter(&args);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stdout
}

#[test]
fn sessions_of_a_real_coturn_arrive_once_each() {
    let users = ["a", "b", "c", "d"];
    let settings = Settings { ip: "127.0.0.1", realm: "one.example", users: &users, max_lifetime: 600 };
    let redis = Redis::start();
    let coturn = Coturn::start(&redis, 0, settings);
    let peer = EchoPeer::start();
    let mut postgres = Postgres::start();
    postgres.create_database("ledger");
    let dir = TempDir::new("store");
    let store = dir.path().join("store").to_str().unwrap().to_owned();
    let database = postgres.url_of("postgres", "ledger");
    let (redis_url, more) = (redis.url(0), ["--store.path", &store, "--ledger.postgres-url", &database]);
    let begin = || {
        let exporter =
            Exporter::watching_with(&redis_url, &[&more[..], &["--session.linger", "1s"]].concat());
        exporter.wait_ready();
        exporter
    };
    let talk = |user: &'static str| {
        let job = Job { kind: Kind::Tcp, user, messages: 100, ..Job::default() };
        wait_for_all(&mut [Uclient::start(&coturn, peer.port(), job)]);
        poll::until(PATIENCE, "coturn to end all", || {
            if coturn.log().all_ended() { Ok(()) } else { Err(coturn.log_text()) }
        });
    };
    let exporter = begin();
    talk("a");
    poll::until(PATIENCE, "the first to arrive", || match in_database(&postgres)? {
        rows if rows.is_empty() => Err(exporter.log()),
        _ => Ok(()),
    });
    postgres.stop();
    talk("b");
    exporter.until_logged(&["the sink takes nothing", "postgres"]);
    postgres.start_again();
    exporter.until_logged(&["takes sessions and events again"]);
    postgres.kill();
    talk("c");
    // What it has not read when it is killed is nowhere.
    let ended = coturn.log().allocations().count() as u64;
    exporter.until("the ends to be read", |page| match page.count("coturn_allocations_closed_total", &[]) {
        closed if closed == ended => Ok(()),
        closed => Err(format!("{closed} of {ended}")),
    });
    drop(exporter);
    postgres.start_again();
    let exporter = begin();
    talk("d");

    let log = coturn.log();
    let logged: BTreeMap<String, u64> = users
        .iter()
        .map(|user| {
            let of_user = coturn_log::sum(log.allocations().filter(|session| session.user == *user));
            ((*user).to_owned(), of_user.peer.received_bytes + of_user.peer.sent_bytes)
        })
        .collect();
    poll::until(PATIENCE, "the database to have what coturn logged", || {
        let rows = in_database(&postgres)?;
        let bytes: BTreeMap<_, _> = rows.iter().map(|(user, (_, bytes))| (user.clone(), *bytes)).collect();
        if bytes == logged {
            Ok(())
        } else {
            Err(format!("{bytes:?}\nlogged {logged:?}\n{}", exporter.log()))
        }
    });
    poll::until(PATIENCE, "the database to have what the ledger has", || {
        let (ours, theirs) = (usage_of(&store), usage_of(&database));
        if ours == theirs { Ok(()) } else { Err(format!("{ours}\n{theirs}")) }
    });
}

/// Lives of the exporter, and sessions in each.
const LIVES: u64 = 20;

/// How long the database is away, in seconds.
const AWAY: u64 = 60;

const SESSIONS: u64 = 20;

fn traffic(id: u64) -> (Traffic, Traffic) {
    let of =
        |bytes| Traffic { received_packets: 10, received_bytes: bytes, sent_packets: 10, sent_bytes: bytes };
    (of(1000 + id), of(2000 + id))
}

#[test]
fn killed_twenty_times_each_session_is_one_row() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut postgres = Postgres::start();
    postgres.create_database("ledger");
    let cutter = PostgresCutter::start(postgres.address());
    let database = Postgres::tcp_url(cutter.address, "ledger", "sslmode=disable");
    let (page, listener) = (Port::claim(), Port::claim());
    let at = |port: &Port| SocketAddr::from((Ipv4Addr::LOCALHOST, port.number));
    let dir = TempDir::new("store");
    let store = dir.path().join("store").to_str().unwrap().to_owned();
    let listen = at(&listener).to_string();
    let mut args = vec!["--statsdb.listen-address", &listen, "--store.path", &store];
    args.extend(["--ledger.postgres-url", &database, "--session.linger", "200ms", "--exporter.name", "here"]);
    for life in 0..LIVES {
        let mut exporter = Exporter::start_at(at(&page), &args);
        exporter.wait_loaded();
        // What is cut is a batch with sessions, not the one without that is tried first.
        exporter.until_value("coturn_exporter_sink_up", &[("sink", "postgres")], 1.0);
        let words = ["COMMIT", "INSERT INTO coturn_ledger.session", "UPDATE coturn_ledger.store"];
        let cut = if random.bool() { Cut::AnswerLost } else { Cut::BeforeItIsSent };
        cutter.cut_at(words[random.usize(..words.len())], cut);
        let mut coturn = Statsdb::at(at(&listener));
        for id in life * SESSIONS..(life + 1) * SESSIONS {
            let allocation = Allocation::new("r", &format!("user{id}"), id + 1);
            coturn.open(&allocation, 600);
            let (client, peer) = traffic(id);
            coturn.close(&allocation, client, peer);
        }
        // What the page says is written; what comes later may be lost with the process.
        exporter.until("all to be over", |page| match page.count("coturn_allocations_closed_total", &[]) {
            closed if closed == (life + 1) * SESSIONS => Ok(()),
            closed => Err(format!("{closed} in life {life}")),
        });
        if life == 7 {
            postgres.kill();
        }
        if life == 13 {
            postgres.stop();
        }
        // At any moment: before the ledger has them, within a batch, after it.
        poll::pass(Duration::from_millis(random.u64(..800)));
        exporter.kill();
        if life == 7 || life == 13 {
            postgres.start_again();
        }
    }
    let exporter = Exporter::start_at(at(&page), &args);
    let expected: BTreeMap<String, (u64, u64)> = (0..LIVES * SESSIONS)
        .map(|id| (format!("user{id}"), (1, traffic(id).1.received_bytes + traffic(id).1.sent_bytes)))
        .collect();
    poll::until(PATIENCE, "all sessions to be there", || {
        let rows = in_database(&postgres)?;
        if rows.len() == expected.len() {
            Ok(())
        } else {
            Err(format!("{} rows\n{}", rows.len(), exporter.log()))
        }
    });
    poll::until(PATIENCE, "their sums to be whole", || {
        let rows = in_database(&postgres)?;
        let differ = rows.iter().find(|(user, row)| expected.get(*user) != Some(*row));
        differ.map_or(Ok(()), |differ| Err(format!("{differ:?}")))
    });
    assert_eq!(usage_of(&store), usage_of(&database), "{}", Path::new(&store).display());
    assert_eq!(postgres.sql("ledger", "SELECT exporter FROM coturn_ledger.store"), "here");
    drop(exporter);
}

/// What is wrong with the way to the database is seen without a session, at once, and so is its end.
#[test]
fn a_wrong_password_is_seen_before_the_first_session() {
    let mut postgres = Postgres::start();
    postgres.sql("postgres", "CREATE ROLE turn LOGIN PASSWORD 'swordfish'");
    postgres.sql("postgres", "CREATE DATABASE ledger OWNER turn");
    let password = postgres.keep("password of turn", "guessed\n");
    let url = format!("postgres://turn@{}/ledger?sslmode=disable", postgres.address());
    let dir = TempDir::new("store");
    let store = dir.path().join("store").to_str().unwrap().to_owned();
    let mut args = vec!["--store.path", &store, "--ledger.postgres-url", &url];
    args.extend(["--ledger.postgres-password-file", password.to_str().unwrap()]);
    let (exporter, _) = listening(&args);
    let of_postgres = [("sink", "postgres")];
    exporter.until_logged(&["the sink takes nothing", "password authentication failed"]);
    exporter.until_value("coturn_exporter_sink_up", &of_postgres, 0.0);
    // It goes on to try.
    exporter.until("the failures to be counted", |page| {
        match page.count("coturn_exporter_sink_failed_total", &of_postgres) {
            2.. => Ok(()),
            failed => Err(format!("{failed} failed")),
        }
    });
    let page = exporter.page();
    assert_eq!(page.count("coturn_exporter_sink_pending_events", &of_postgres), 0);
    assert_eq!(exporter.log().matches("the sink takes nothing").count(), 1, "{}", exporter.log());

    std::fs::write(&password, "swordfish\n").unwrap();
    exporter.signal(Signal::HUP);
    exporter.until_value("coturn_exporter_sink_up", &of_postgres, 1.0);
    exporter.until_logged(&["takes sessions and events again"]);
    assert_eq!(postgres.sql("ledger", "SELECT count(*) FROM coturn_ledger.store"), "0", "nothing is written");
    // A connection that is lost while nothing waits is noticed, too, and made again.
    postgres.stop();
    exporter.until_value("coturn_exporter_sink_up", &of_postgres, 0.0);
    postgres.start_again();
    exporter.until_value("coturn_exporter_sink_up", &of_postgres, 1.0);
    let log = exporter.log();
    assert!(!log.contains("swordfish") && !log.contains("guessed"), "{log}");
}

/// Sessions go on while the database is away for a minute: none is lost, none is written twice, and the page says since when.
#[test]
fn a_minute_without_the_database_loses_nothing() {
    let mut postgres = Postgres::start();
    postgres.create_database("ledger");
    let database = postgres.url_of("postgres", "ledger");
    let dir = TempDir::new("store");
    let store = dir.path().join("store").to_str().unwrap().to_owned();
    let (exporter, address) =
        listening(&["--store.path", &store, "--ledger.postgres-url", &database, "--session.linger", "200ms"]);
    let mut coturn = Statsdb::at(address);
    let mut expected = BTreeMap::new();
    let mut call = |id: u64| {
        let allocation = Allocation::new("r", &format!("user{id}"), id + 1);
        coturn.open(&allocation, 600);
        let (client, peer) = traffic(id);
        coturn.close(&allocation, client, peer);
        expected.insert(format!("user{id}"), (1, peer.received_bytes + peer.sent_bytes));
    };
    call(0);
    poll::until(PATIENCE, "the first row", || match in_database(&postgres)?.len() {
        1 => Ok(()),
        rows => Err(rows.to_string()),
    });
    postgres.stop();
    for second in 1..=AWAY {
        call(second);
        poll::pass(Duration::from_secs(1));
    }
    let page = exporter.page();
    let waiting = page.count("coturn_exporter_sink_pending_events", &[]);
    assert!(waiting >= AWAY - 5, "{waiting} wait");
    let since = page.value("coturn_exporter_sink_oldest_pending_timestamp_seconds", &[]).expect("since when");
    let now = SystemClock::new().now().as_secs_f64();
    assert!(now - since > AWAY as f64 - 5.0, "{now} {since}");
    postgres.start_again();
    poll::until(PATIENCE, "all rows", || {
        let rows = in_database(&postgres)?;
        if rows == expected { Ok(()) } else { Err(format!("{} of {}", rows.len(), expected.len())) }
    });
    let log = exporter.log();
    assert_eq!(log.matches("level=warn").count(), 1, "one line for each change of state: {log}");
}

/// The database is emptied while the exporter runs, as by one that takes its place after a failover, and while it does not.
#[test]
fn a_database_that_lost_its_rows_has_all_of_them_again() {
    let mut postgres = Postgres::start();
    postgres.create_database("ledger");
    let database = postgres.url_of("postgres", "ledger");
    let dir = TempDir::new("store");
    let store = dir.path().join("store").to_str().unwrap().to_owned();
    let args = ["--store.path", &store, "--ledger.postgres-url", &database, "--session.linger", "200ms"];
    let mut expected = BTreeMap::new();
    for life in 0..2 {
        let (mut exporter, address) = listening(&args);
        if life == 1 {
            // Nothing new is needed for it.
            all_there(&postgres, &expected, &exporter);
        }
        let mut coturn = Statsdb::at(address);
        for id in life * 10..life * 10 + 10 {
            let allocation = Allocation::new("r", &format!("user{id}"), id + 1);
            coturn.open(&allocation, 600);
            let (client, peer) = traffic(id);
            coturn.close(&allocation, client, peer);
            expected.insert(format!("user{id}"), (1, peer.received_bytes + peer.sent_bytes));
        }
        all_there(&postgres, &expected, &exporter);
        if life == 0 {
            let sql = "DELETE FROM coturn_ledger.session WHERE revision > 5; UPDATE coturn_ledger.store SET last_revision = 5";
            postgres.sql("ledger", sql);
            // The exporter must connect again, which is when it looks.
            postgres.kill();
            postgres.start_again();
            exporter.until_logged(&["the sink lacks what it had taken", "revision 5"]);
            all_there(&postgres, &expected, &exporter);
            postgres.sql("ledger", "DROP SCHEMA coturn_ledger CASCADE");
        }
        assert_eq!(exporter.stop(Signal::TERM).code(), Some(0), "{}", exporter.log());
    }
}

fn all_there(postgres: &Postgres, expected: &BTreeMap<String, (u64, u64)>, exporter: &Exporter) {
    poll::until(PATIENCE, "all rows", || {
        let rows = in_database(postgres)?;
        if rows == *expected {
            Ok(())
        } else {
            Err(format!("{} of {}\n{}", rows.len(), expected.len(), exporter.log()))
        }
    });
}

/// Where the disk of the ledger is full, sessions wait in memory; with room again they go on to the database.
#[test]
fn a_full_disk_holds_sessions_up_and_loses_none() {
    let postgres = Postgres::start();
    postgres.create_database("ledger");
    let database = postgres.url_of("postgres", "ledger");
    let dir = TempDir::new("store");
    let store = dir.path().join("store").to_str().unwrap().to_owned();
    let (page, listener) = (Port::claim(), Port::claim());
    let at = |port: &Port| SocketAddr::from((Ipv4Addr::LOCALHOST, port.number));
    let listen = at(&listener).to_string();
    let ledger = ["--store.path", &store, "--ledger.postgres-url", &database, "--session.linger", "200ms"];
    let args = [&["--statsdb.listen-address", &listen], &ledger[..]].concat();
    let exporter = Exporter::start_heedless_of_limits_at(at(&page), None, &args);
    exporter.wait_loaded();
    let mut coturn = Statsdb::at(at(&listener));
    let mut expected = BTreeMap::new();
    for id in 0..3 * SESSIONS {
        if id == SESSIONS {
            poll::until(PATIENCE, "the rows before", || match in_database(&postgres)?.len() as u64 {
                SESSIONS => Ok(()),
                rows => Err(rows.to_string()),
            });
            exporter.limit_files(Some(0));
        }
        let allocation = Allocation::new("r", &format!("user{id}"), id + 1);
        coturn.open(&allocation, 600);
        let (client, peer) = traffic(id);
        coturn.close(&allocation, client, peer);
        expected.insert(format!("user{id}"), (1, peer.received_bytes + peer.sent_bytes));
    }
    exporter.until_value("coturn_exporter_store_ok", &[], 0.0);
    exporter.until("all to be closed", |page| match page.count("coturn_sessions_closed_total", &[]) {
        closed if closed == 3 * SESSIONS => Ok(()),
        closed => Err(closed.to_string()),
    });
    assert_eq!(in_database(&postgres).unwrap().len() as u64, SESSIONS, "nothing passes by the ledger");
    exporter.limit_files(None);
    poll::until(PATIENCE, "all rows", || {
        let rows = in_database(&postgres)?;
        if rows == expected { Ok(()) } else { Err(format!("{} of {}", rows.len(), expected.len())) }
    });
    exporter.until_value("coturn_exporter_store_ok", &[], 1.0);
    assert_eq!(usage_of(&store), usage_of(&database));
}
