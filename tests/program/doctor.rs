//! `doctor` against real servers: what it says of a Redis that is well, and of each that is not; that its commands fix
//! what it says they fix; that it changes nothing by looking.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::common::net::ports::Port;
use crate::common::net::rights::{FORWARD, LEAST, ROLE, grant, in_db};
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::command::{Ended, exporter, shell};
use crate::common::servers::coturn::{Coturn, Settings};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::listener::listening;
use crate::common::servers::redis::{Redis, restore_idle};
use crate::common::temp_dir::TempDir;

/// What `doctor --json` said.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) code: Option<i32>,
    pub(crate) findings: Vec<Value>,
}

impl Report {
    #[track_caller]
    fn of(url: &str) -> Self {
        Self::with(&["--redis.url", url])
    }

    /// With flags of the caller's choice.
    #[track_caller]
    pub(crate) fn with(flags: &[&str]) -> Self {
        let Ended { code, stdout, stderr } = exporter(&[&["doctor", "--json"], flags].concat());
        let value: Value = serde_json::from_str(&stdout)
            .unwrap_or_else(|error| panic!("{error}; code {code:?}\n{stdout}\n{stderr}"));
        assert_eq!(value["ok"].as_bool(), Some(code == Some(0)), "{value:#}");
        assert_eq!(stderr, "", "{value:#}");
        Self { code, findings: value["findings"].as_array().expect("an array").clone() }
    }

    /// The one finding of this id.
    #[track_caller]
    pub(crate) fn finding(&self, id: &str) -> &Value {
        let mut found = self.findings.iter().filter(|finding| finding["id"] == id);
        let first = found.next().unwrap_or_else(|| panic!("no {id} in {:#?}", self.findings));
        assert!(found.next().is_none(), "{id} twice in {:#?}", self.findings);
        first
    }

    #[track_caller]
    pub(crate) fn severity(&self, id: &str) -> &str {
        self.finding(id)["severity"].as_str().expect("a text")
    }

    /// The ids of all faults.
    pub(crate) fn faults(&self) -> Vec<&str> {
        let faults = self.findings.iter().filter(|finding| finding["severity"] == "fault");
        faults.filter_map(|finding| finding["id"].as_str()).collect()
    }

    #[track_caller]
    pub(crate) fn text<'a>(&'a self, id: &str, field: &str) -> &'a str {
        self.finding(id)[field].as_str().unwrap_or_default()
    }
}

fn config_set(redis: &Redis, name: &str, value: &str) {
    redis::cmd("CONFIG").arg(&["SET", name, value]).query::<()>(&mut redis.connect(0)).expect("CONFIG SET");
}

#[test]
fn a_redis_that_is_set_up_as_recommended_is_well() {
    let redis = Redis::start();
    config_set(&redis, "tcp-keepalive", "60");
    Statsdb::connect(&redis, 0).open(&Allocation::new("one.example", "alice", 1), 600);
    let report = Report::of(&redis.url(0));
    assert_eq!((report.code, report.faults()), (Some(0), vec![]));
    for id in [
        "reachable",
        "version",
        "role",
        "timeout",
        "tcp-keepalive",
        "client-output-buffer-limit",
        "maxmemory-policy",
        "cluster-enabled",
        "subscribe",
        "scan",
        "get",
        "idle-time",
        "dbname",
        "stale-keys",
    ] {
        assert_eq!(report.severity(id), "ok", "{id}: {}", report.finding(id));
    }
    // The default user may do everything, which is worth knowing.
    assert_eq!(report.severity("excess-rights"), "info");
    assert!(
        report.text("excess-rights", "message").contains("FLUSHALL"),
        "{}",
        report.finding("excess-rights")
    );

    let ended = exporter(&["doctor", "--redis.url", &redis.url(0)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("\nNothing is wrong. Faults: 0, advice: "), "{}", ended.stdout);
    for line in ended.stdout.lines().filter(|line| !line.starts_with("          fix ")) {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn every_bad_setting_is_found_and_its_command_mends_it() {
    let redis = Redis::start();
    for (name, bad) in [
        ("timeout", "60"),
        ("tcp-keepalive", "0"),
        ("client-output-buffer-limit", "pubsub 1048576 65536 5"),
        ("maxmemory-policy", "allkeys-lfu"),
    ] {
        config_set(&redis, name, bad);
        let report = Report::of(&redis.url(0));
        assert_eq!((report.code, report.faults()), (Some(1), vec![name]), "{:#?}", report.findings);
        let fix = report.text(name, "fix");
        let ended = shell(fix);
        assert!(ended.code == Some(0) && ended.stdout.trim() == "OK", "{fix}: {ended:?}");
        let report = Report::of(&redis.url(0));
        assert_eq!((report.code, report.severity(name)), (Some(0), "ok"), "{:#?}", report.findings);
    }
}

#[test]
fn no_redis_is_a_finding() {
    let mut redis = Redis::start();
    redis.kill();
    let report = Report::of(&redis.url(0));
    assert_eq!((report.code, report.faults()), (Some(1), vec!["reachable"]));
}

/// What answers is no Redis: the words are those of an operator, not of a client library.
#[test]
fn a_web_server_in_place_of_a_redis_is_a_finding_in_plain_words() {
    let exporter = Exporter::start(&["--statsdb.listen-address", "127.0.0.1:0"]);
    let report = Report::of(&format!("redis://{}/0", exporter.address));
    assert_eq!((report.code, report.faults()), (Some(1), vec!["reachable"]));
    let message = report.text("reachable", "message");
    let said = ["what comes is not what a Redis answers", "the other side closed the connection"];
    assert!(said.iter().any(|said| message == format!("no Redis answers: {said}")), "{message}");
    assert!(report.text("reachable", "fix").contains("the port of Redis"), "{:#?}", report.findings);
}

#[test]
fn a_db_that_does_not_exist_is_a_finding() {
    let redis = Redis::start();
    let report = Report::of(&redis.url(99));
    assert_eq!((report.code, report.faults()), (Some(1), vec!["select"]));
    assert!(report.text("select", "message").contains("out of range"), "{:#?}", report.findings);
    assert!(report.text("select", "fix").contains("--redis.url"), "{:#?}", report.findings);
    assert_eq!((report.severity("reachable"), report.severity("timeout")), ("ok", "ok"));
}

#[test]
fn a_wrong_or_missing_password_is_a_finding_and_not_shown() {
    let redis = Redis::start_with_password("right-one");
    for db in [0, 3] {
        for credentials in ["", ":not-the-one@", "nobody:not-the-one@"] {
            let url = redis.url_with(credentials, db);
            let report = Report::of(&url);
            assert_eq!((report.code, report.faults()), (Some(1), vec!["login"]), "{url}");
            // In the words of Redis, and what to do.
            let code = if credentials.is_empty() { "NOAUTH " } else { "WRONGPASS " };
            let message = report.text("login", "message");
            assert!(message.starts_with(&format!("the login is refused: {code}")), "{message}");
            assert!(report.text("login", "fix").contains("--redis.password-file"), "{:#?}", report.findings);
            let text = exporter(&["doctor", "--redis.url", &url]);
            assert_eq!(text.code, Some(1));
            assert!(!text.stdout.contains("not-the-one") && text.stderr.is_empty(), "{text:?}");
        }
    }
    assert_eq!(Report::of(&redis.url(0)).code, Some(0));
}

#[test]
fn the_documented_rights_are_enough_and_what_they_do_not_show_is_said() {
    for (db, rights) in [(0, [LEAST].as_slice()), (0, &[LEAST, ROLE]), (2, &[LEAST]), (2, &[LEAST, ROLE])] {
        let redis = Redis::start();
        let url = redis.url_with(&grant(&redis, "watcher", &in_db(db, rights)), db);
        Statsdb::connect(&redis, db).open(&Allocation::new("one.example", "alice", 1), 600);
        let report = Report::of(&url);
        assert_eq!((report.code, report.faults()), (Some(0), vec![]), "{:#?}", report.findings);
        for id in [
            "reachable",
            "version",
            "ping",
            "cluster-enabled",
            "maxmemory-policy",
            "subscribe",
            "scan",
            "get",
            "idle-time",
            "dbname",
        ] {
            assert_eq!(report.severity(id), "ok", "db {db}: {}", report.finding(id));
        }
        // INFO says both, without a right to ROLE, and with no db to select but those that have keys.
        assert_eq!(report.severity("role"), "ok", "db {db}: {}", report.finding("role"));
        assert!(report.findings.iter().all(|finding| finding["id"] != "other-dbs"), "{:#?}", report.findings);
        let unseen = [("config", "CONFIG GET"), ("clients", "CLIENT LIST"), ("excess-rights", "ACL DRYRUN")];
        for (id, what) in unseen {
            let right = format!("+{}", what.to_ascii_lowercase().replace(' ', "|"));
            let message = format!("{what} is forbidden to this user, who lacks {right}; not judged: ");
            assert_eq!(report.severity(id), "info");
            assert!(report.text(id, "message").starts_with(&message), "{}", report.finding(id));
        }
        let text = format!("{:?}", report.findings);
        assert!(!text.contains("start Redis"), "{text}");
    }
}

#[test]
fn db_0_takes_no_select() {
    let redis = Redis::start();
    Statsdb::connect(&redis, 0).open(&Allocation::new("one.example", "alice", 1), 600);
    let before = redis.calls("select");
    assert_eq!(Report::of(&redis.url(0)).code, Some(0));
    assert_eq!(redis.calls("select"), before, "no other db has keys to look at");
    Report::of(&redis.url_with(&grant(&redis, "watcher", &[LEAST]), 0));
    assert_eq!(redis.rejected_calls("select"), 0, "INFO says as much");
    let without_info = LEAST.replace(" +info", "");
    Report::of(&redis.url_with(&grant(&redis, "watcher", &[&without_info]), 0));
    assert_eq!(redis.rejected_calls("select"), 1, "the look into another db, and no more");
}

#[test]
fn another_db_without_the_right_to_select_it_is_said_and_the_rest_looked_at() {
    let redis = Redis::start();
    let url = redis.url_with(&grant(&redis, "watcher", &[LEAST, "+config|get"]), 2);
    config_set(&redis, "timeout", "60");
    let report = Report::of(&url);
    assert_eq!(
        (report.code, report.faults()),
        (Some(1), vec!["timeout", "select"]),
        "{:#?}",
        report.findings
    );
    assert_eq!(report.text("select", "message"), "SELECT of db 2 is forbidden to this user");
    for id in ["reachable", "version", "ping", "subscribe", "scan", "get", "idle-time"] {
        assert_eq!(report.severity(id), "ok", "{}", report.finding(id));
    }
    for id in ["select", "timeout"] {
        let fix = report.text(id, "fix");
        let ended = shell(fix);
        assert_eq!(ended.stdout.trim(), "OK", "{fix}: {ended:?}");
    }
    assert!(report.text("select", "fix").ends_with(" ACL SETUSER watcher +select"));
    let report = Report::of(&url);
    assert_eq!((report.code, report.severity("select")), (Some(0), "ok"), "{:#?}", report.findings);
}

#[test]
fn a_right_that_is_missing_is_found_and_its_command_mends_it() {
    let redis = Redis::start();
    for (id, taken) in [
        ("ping", "-ping"),
        ("subscribe", "resetchannels &turn/realm/*"),
        ("subscribe", "-psubscribe"),
        ("scan", "-scan"),
        ("get", "-get"),
        ("idle-time", "-object"),
    ] {
        let url = redis.url_with(&grant(&redis, "watcher", &[LEAST, taken]), 0);
        let report = Report::of(&url);
        assert_eq!((report.code, report.faults()), (Some(1), vec![id]), "{:#?}", report.findings);
        let fix = report.text(id, "fix");
        let ended = shell(fix);
        assert_eq!(ended.stdout.trim(), "OK", "{fix}: {ended:?}");
        assert_eq!(Report::of(&url).faults(), Vec::<&str>::new(), "{fix}");
    }
}

#[test]
fn the_user_that_doctor_recommends_has_the_documented_rights_and_may_do_nothing_else() {
    let redis = Redis::start();
    for db in [0, 2] {
        let fix = Report::of(&redis.url(db)).text("excess-rights", "fix").to_owned();
        let words = fix.replace('\'', "");
        let (_, rules) = words.split_once(" resetkeys ").expect("the rules");
        assert_eq!(rules, in_db(db, &[LEAST]).join(" ") + " " + ROLE);
        let ended = shell(&fix.replace(">PASSWORD", ">pw"));
        assert_eq!(ended.stdout.trim(), "OK", "{fix}: {ended:?}");
        let url = redis.url_with("coturn-exporter:pw@", db);
        assert_eq!(Report::of(&url).faults(), Vec::<&str>::new());
        // It may not look at its own rights; given that, none of the dangerous ones is found.
        redis.run(&["ACL", "SETUSER", "coturn-exporter", "+acl|dryrun"]);
        assert_eq!(Report::of(&url).severity("excess-rights"), "ok");
    }
}

#[test]
fn keys_in_another_db_are_a_fault_that_names_it() {
    let redis = Redis::start();
    grant(&redis, "watcher", &in_db(3, &[LEAST]));
    Statsdb::connect(&redis, 3).open(&Allocation::new("one.example", "alice", 1), 600);
    // Redis tells the one user which dbs hold keys; for the other, doctor looks into each.
    for credentials in ["", "watcher:pw@"] {
        let report = Report::of(&redis.url_with(credentials, 0));
        assert_eq!((report.code, report.faults()), (Some(1), vec!["dbname"]), "{:#?}", report.findings);
        let message = report.text("dbname", "message");
        assert!(message.contains("in db 3;") && message.contains("reads db 0"), "{message}");
        assert!(report.text("dbname", "fix").contains(&redis.url(3)), "{:#?}", report.findings);
        assert_eq!(Report::of(&redis.url_with(credentials, 3)).code, Some(0));
    }
    // A user who may look into no other db knows all the same that one holds keys.
    let least = redis.url_with(&grant(&redis, "least", &[LEAST]), 0);
    let report = Report::of(&least);
    assert_eq!((report.code, report.severity("other-dbs")), (Some(0), "advice"), "{:#?}", report.findings);
    let ended = exporter(&["doctor", "--redis.url", &least]);
    assert!(!ended.stdout.contains("Nothing is wrong"), "{}", ended.stdout);
}

#[test]
fn looking_leaves_idle_times_as_they_are_and_leftovers_are_advice() {
    const IDLE: u64 = 5_000;
    let redis = Redis::start();
    let mut connection = redis.connect(0);
    let key = Allocation::new("one.example", "alice", 1).key();
    restore_idle(&mut connection, [(key.as_bytes(), IDLE)]);
    let report = Report::of(&redis.url(0));
    assert_eq!((report.code, report.severity("stale-keys")), (Some(0), "advice"), "{:#?}", report.findings);
    assert_eq!(redis::cmd("DBSIZE").query::<u64>(&mut connection).expect("DBSIZE"), 1);
    let idle: u64 = redis::cmd("OBJECT").arg("IDLETIME").arg(&key).query(&mut connection).expect("idle time");
    assert!(idle >= IDLE, "{idle}");
    let fix = report.text("stale-keys", "fix");
    let args: Vec<&str> = fix.strip_prefix("coturn-exporter ").expect(fix).split(' ').collect();
    assert_eq!(exporter(&[args.as_slice(), &["--apply"]].concat()).code, Some(0), "{fix}");
    assert_eq!(redis::cmd("DBSIZE").query::<u64>(&mut connection).expect("DBSIZE"), 0);
}

#[test]
fn a_replica_without_its_master_is_a_fault() {
    let mut master = Redis::start_with_settings(&[("repl-diskless-sync-delay", "0")]);
    let replica = Redis::start_replica(&master);
    master.kill();
    let lost = |credentials: &str| {
        poll::until(PATIENCE, "the replica to notice", || {
            let report = Report::of(&replica.url_with(credentials, 0));
            match report.text("role", "message") {
                "Redis is a replica that has lost its master" => Ok(report),
                other => Err(other.to_owned()),
            }
        })
    };
    let report = lost("");
    assert_eq!((report.code, report.faults()), (Some(1), vec!["role"]), "{:#?}", report.findings);
    // To whom ROLE is forbidden and INFO is not.
    assert_eq!(lost(&grant(&replica, "watcher", &[LEAST, "+info"])).faults(), ["role"]);
}

#[test]
fn a_replica_that_is_syncing_is_called_so_and_nothing_is_held_against_it() {
    for stale_data in ["yes", "no"] {
        let (master, replica) = Redis::start_syncing(stale_data);
        for rights in [&["~* &* +@all"], &["~* &* +@all -role"]] {
            let url = replica.url_with(&grant(&replica, "watcher", rights), 0);
            let report = Report::of(&url);
            let message = report.text("role", "message");
            assert!(message.contains("being synchronized with its master"), "{:#?}", report.findings);
            assert_eq!(report.severity("role"), "advice");
            assert!(report.text("role", "fix").starts_with("run doctor again"));
            assert_eq!((report.code, report.faults()), (Some(0), vec![]), "{:#?}", report.findings);
            let ping = if stale_data == "yes" { "ok" } else { "info" };
            assert_eq!(report.severity("ping"), ping, "{}", report.finding("ping"));
        }
        drop((master, replica));
    }
}

#[test]
fn an_exporter_that_forwards_is_not_taken_for_coturn() {
    for rights in [FORWARD, &FORWARD.replace(" +client|setname", "")] {
        let redis = Redis::start();
        let forward = redis.url_with(&grant(&redis, "forwarder", &[rights]), 0);
        let flags = ["--statsdb.listen-address", "127.0.0.1:0", "--statsdb.forward-url", &forward];
        let relay = Exporter::start(&flags);
        relay.until_value("coturn_exporter_statsdb_forward_up", &[], 1.0);
        let logged = relay.until_logged(&["waiting for coturn", "statsdb=127.0.0.1:"]);
        let (_, address) = logged.split_once("statsdb=").expect("an address");
        let address = address.split_whitespace().next().and_then(|word| word.parse().ok()).expect(address);
        Statsdb::at(address).open(&Allocation::new("one.example", "alice", 1), 600);
        poll::until(PATIENCE, "the event to be forwarded", || match redis.calls("publish") {
            0 => Err(relay.log()),
            _ => Ok(()),
        });
        relay.until_value("coturn_exporter_statsdb_forward_up", &[], 1.0);
        let report = Report::of(&redis.url(0));
        if rights == FORWARD {
            let message = report.text("forwarders", "message");
            assert!(
                message.starts_with("1 connection(s) of exporters that forward to this Redis"),
                "{message}"
            );
            assert_eq!(report.severity("coturn"), "info", "{}", report.finding("coturn"));
            let message = report.text("coturn", "message");
            assert!(message.contains("no coturn itself is connected"), "{message}");
        } else {
            // It cannot say who it is, and forwards all the same.
            assert_eq!(report.severity("coturn"), "ok", "{}", report.finding("coturn"));
        }
    }
}

#[test]
fn a_publisher_is_judged_by_the_age_of_its_last_command() {
    let redis = Redis::start();
    let mut coturn = Statsdb::connect(&redis, 0);
    coturn.open(&Allocation::new("one.example", "alice", 1), 600);
    let report = Report::of(&redis.url(0));
    let message = report.text("coturn", "message");
    assert!(
        message.starts_with("1 connection(s) published, last ") && message.ends_with("as coturn does"),
        "{message}"
    );
    assert_eq!(report.severity("coturn"), "ok");

    let url = redis.url(0);
    let flags = ["--redis.url", &url, "--allocation.max-lifetime", "1s", "--allocation.grace", "0s"];
    poll::until(PATIENCE, "the publication to be older than a lifetime", || {
        let report = Report::with(&flags);
        let message = report.text("coturn", "message").to_owned();
        match report.severity("coturn") {
            "info" if message.starts_with("1 connection(s) published, but nothing for ") => Ok(()),
            severity => Err(format!("{severity}: {message}")),
        }
    });
    drop(coturn);
}

/// CLIENT LIST shows PUBLISH as the last command also where Redis has refused it.
#[test]
fn a_coturn_whose_commands_are_refused_does_not_report() {
    let redis = Redis::start_with_password("right-one");
    let mut stranger = redis::Client::open(redis.url_with("", 0)).unwrap().get_connection().unwrap();
    let publish = || redis::cmd("PUBLISH").arg(&["turn/realm/one.example/x", "new"]).clone();
    let refused = publish().query::<u64>(&mut stranger).unwrap_err();
    assert_eq!(refused.code(), Some("NOAUTH"), "{refused}");
    let report = Report::of(&redis.url(0));
    assert_eq!((report.code, report.faults()), (Some(1), vec!["coturn"]), "{:#?}", report.findings);
    assert!(report.text("coturn", "message").contains("refused 1"), "{}", report.finding("coturn"));
    assert!(report.text("coturn", "fix").contains("password=SECRET in redis-statsdb"), "{report:?}");
    // With the least rights nobody's connections are seen, and the numbers are.
    let least = Report::of(&redis.url_with(&grant(&redis, "watcher", &[LEAST]), 0));
    assert_eq!((least.code, least.severity("coturn")), (Some(0), "advice"), "{:#?}", least.findings);

    redis::cmd("AUTH").arg("right-one").exec(&mut stranger).unwrap();
    publish().exec(&mut stranger).unwrap();
    let report = Report::of(&redis.url(0));
    assert_eq!((report.code, report.severity("coturn")), (Some(0), "info"), "{:#?}", report.findings);
    assert!(report.text("coturn", "message").ends_with("has accepted 1 and refused 1"), "{report:?}");
}

#[test]
fn a_real_coturn_is_seen_with_its_keys() {
    let redis = Redis::start();
    let settings = Settings { ip: "127.0.0.1", realm: "one.example", users: &["alice"], max_lifetime: 600 };
    let coturn = Coturn::start(&redis, 0, settings);
    let report = Report::of(&redis.url(0));
    assert_eq!(report.code, Some(0), "{:#?}", report.findings);
    // Connected, and silent as yet: that much can be known and no more.
    assert_eq!(report.severity("coturn"), "info", "{}", report.finding("coturn"));
    drop(coturn);
}

#[test]
fn several_sources_are_each_looked_at() {
    let (one, other) = (Redis::start(), Redis::start());
    config_set(&other, "timeout", "9");
    let args = ["doctor", "--json", "--redis.url", &one.url(0), "--redis.url", &other.url(0)];
    let ended = exporter(&args);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let value: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let faults: Vec<_> = value["findings"]
        .as_array()
        .expect("an array")
        .iter()
        .filter(|finding| finding["severity"] == "fault")
        .map(|finding| finding["source"].as_str().expect("a text").to_owned())
        .collect();
    assert_eq!(faults, [other.url(0)]);
}

/// What a coturn would find at the listener; no Redis is asked.
#[test]
fn the_listener_is_looked_at_as_a_coturn_would() {
    let dir = TempDir::new("passwords");
    let secret = |name: &str, text: &str| {
        let path = dir.write(name, text);
        // Any other mode is warned of.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let right = secret("right", "open-sesame\n");
    let wrong = secret("wrong", "close sesame\n");
    let (service, address) = listening(&["--statsdb.password-file", &right]);
    let listen = address.to_string();
    let report = |file: Option<&str>| {
        let mut args = vec!["--statsdb.listen-address", &listen];
        args.extend(file.iter().flat_map(|file| ["--statsdb.password-file", file]));
        Report::with(&args)
    };

    let before = report(Some(&right));
    assert_eq!((before.code, before.faults()), (Some(1), vec!["listener-coturn"]), "{:#?}", before.findings);
    let ids = before.findings.iter().map(|finding| finding["id"].as_str().unwrap());
    assert_eq!(
        ids.collect::<Vec<_>>(),
        ["listener", "listener-login", "listener-coturn", "turnserver-conf"],
        "no Redis was named"
    );
    // It is none of those who are refused.
    assert_eq!(service.page().value("coturn_exporter_statsdb_refused_clients", &[]), Some(0.0));

    // The line that it prints is one that a coturn can use.
    let line = before.text("turnserver-conf", "fix").replace("SECRET", "open-sesame");
    let expected = format!(
        "redis-statsdb=\"ip=127.0.0.1 dbname=0 password=open-sesame port={} connect_timeout=30\"",
        address.port()
    );
    assert_eq!(line, expected);
    let settings = Settings { ip: "127.0.0.1", realm: "one.example", users: &["alice"], max_lifetime: 600 };
    let _coturn = Coturn::start_reporting_to(address.port(), Some("open-sesame"), settings);
    service.until_value("coturn_exporter_statsdb_coturn_seen", &[], 1.0);
    // All of its threads have logged in: one that did so later would excuse who is refused from its address.
    service.until("coturn's connections", |page| {
        match page.count("coturn_exporter_statsdb_connections", &[]) {
            6.. => Ok(()),
            some => Err(some.to_string()),
        }
    });
    let connected = report(Some(&right));
    assert_eq!(connected.severity("listener-coturn"), "ok");
    assert!(
        connected.findings.iter().all(|finding| finding["id"] != "turnserver-conf"),
        "nothing is to be done"
    );

    let refused = report(Some(&wrong));
    assert_eq!(refused.faults(), ["listener-login", "listener-password"], "{:#?}", refused.findings);
    let without = report(None);
    assert_eq!(without.faults(), ["listener-login"]);
    assert!(without.text("turnserver-conf", "fix").contains("dbname=0 password=SECRET port="), "{without:?}");
    // Those two are what it says of itself, and of every client that is refused.
    assert_eq!(report(Some(&right)).faults(), ["listener-clients"]);

    for redis in [Redis::start(), Redis::start_with_password("right-one")] {
        let stranger = format!("127.0.0.1:{}", redis.port());
        for password in [&[][..], &["--statsdb.password-file", &right]] {
            let report = Report::with(&[&["--statsdb.listen-address", &stranger], password].concat());
            assert_eq!(report.faults(), ["listener"], "{:#?}", report.findings);
            assert!(report.text("listener", "message").contains("is a Redis"), "{:#?}", report.findings);
            let fix = report.text("listener", "fix");
            assert!(fix.contains(&format!("--redis.url redis://{stranger}/0")), "{fix}");
        }
    }
    let nobody = format!("127.0.0.1:{}", Port::claim().number);
    let nobody = Report::with(&["--statsdb.listen-address", &nobody]);
    assert_eq!(nobody.faults(), ["listener"]);
    assert!(nobody.text("listener", "message").contains("refused"), "{:#?}", nobody.findings);
}

/// The listener speaks as a Redis does, and is none.
#[test]
fn an_exporter_in_place_of_a_redis_is_called_one() {
    let dir = TempDir::new("passwords");
    let file = dir.write("right", "open-sesame\n");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let guarded = file.display().to_string();
    for flags in [&[][..], &["--statsdb.password-file", &guarded]] {
        let (_service, address) = listening(flags);
        for credentials in ["", ":wrong@", ":open-sesame@"] {
            let report = Report::of(&format!("redis://{credentials}{address}/0"));
            assert_eq!((report.code, report.faults()), (Some(1), vec!["reachable"]), "{report:?}");
            let [message, fix] = ["message", "fix"].map(|field| report.text("reachable", field));
            assert!(message.contains("no Redis: a coturn-exporter listens there"), "{message}");
            assert!(
                fix.contains(&format!("--statsdb.listen-address {address} in place of --redis.url")),
                "{fix}"
            );
        }
    }
}

/// coturn 4.17 refuses its statsdb host as a peer: an address that may be a relay's is named.
#[test]
fn an_address_that_may_be_a_relays_own_is_named() {
    let exporter = Exporter::start(&["--statsdb.listen-address", ":0", "--statsdb.open"]);
    let line = exporter.until_logged(&["waiting for coturn", "statsdb="]);
    let port = line.rsplit_once(':').unwrap().1.trim_matches('"').to_owned();
    let local = Report::with(&["--statsdb.listen-address", &format!(":{port}")]);
    assert!(local.findings.iter().all(|finding| finding["id"] != "statsdb-host"), "{:#?}", local.findings);
    assert!(local.text("turnserver-conf", "why").contains("auto denied-peer-ip"));
    let named = Report::with(&["--statsdb.listen-address", &format!("0.0.0.0.nip.invalid:{port}")]);
    let host = named.finding("statsdb-host");
    assert!(host["message"].as_str().unwrap().contains("4.17"), "{host}");
    assert!(host["fix"].as_str().unwrap().contains("127.0.0.1"), "{host}");
}
