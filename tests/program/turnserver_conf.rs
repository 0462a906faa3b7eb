//! `--coturn.config-file`: what the exporter takes from coturn's own file, that real coturns read it alike, and what
//! `doctor` says of files that are broken.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;

use super::doctor::Report;
use crate::common::net::ports::{Port, RelayPorts};
use crate::common::net::rights::{LEAST, grant};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::coturn::{Coturn, Settings, TURNSERVER};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::listener::listening;
use crate::common::servers::process::Process;
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;

/// What a real coturn says of a value of `redis-statsdb`: whether it can use it.
fn does_coturn_take(statsdb: &str) -> bool {
    let dir = TempDir::new("turnserver-conf");
    let (port, relays) = (Port::claim(), RelayPorts::claim());
    let mut text =
        format!("redis-statsdb={statsdb}\nlistening-ip=127.0.0.1\nlistening-port={}\n", port.number);
    let _ = writeln!(text, "min-port={}\nmax-port={}\nno-cli\nno-tls\nno-dtls", relays.first, relays.last);
    let _ = writeln!(text, "simple-log\nrealm=r.example\nlt-cred-mech\nuser=a:b");
    let _ = writeln!(text, "userdb={0}/db\npidfile={0}/pid", dir.path().display());
    let conf = dir.write("turnserver.conf", &text);
    let log = dir.path().join("log");
    let args = ["-c".to_owned(), conf.display().to_string(), format!("--log-file={}", log.display())];
    let mut coturn = Process::tool(TURNSERVER, &args, dir.path(), "turnserver");
    let is_taken = poll::until(PATIENCE, "coturn's word on its statsdb", || {
        let said = fs::read_to_string(&log).unwrap_or_default();
        if said.contains("connection string format error") {
            return Ok(false);
        }
        if said.contains("Redis DB async connection to be used") {
            return Ok(true);
        }
        assert_eq!(coturn.exited(), None, "{said}");
        Err(said)
    });
    coturn.kill();
    is_taken
}

/// The file with this `redis-statsdb`, and what `doctor` says of it.
#[test]
fn a_statsdb_that_coturn_refuses_is_a_fault_and_no_other_is() {
    let redis = Redis::start();
    let dir = TempDir::new("statsdb-lines");
    let port = redis.port();
    for (statsdb, is_taken) in [
        (format!("\"ip=127.0.0.1 dbname=0 port={port} connect_timeout=30\""), true),
        (format!("ip=127.0.0.1 p={port} timeout=3"), true),
        (format!("\"host=127.0.0.1 db=0 uname=x username=y port={port} \""), true),
        (format!("\"ip=127.0.0.1 password=two words port={port}\""), false),
        (format!("\"ip=127.0.0.1 port={port}  \""), false),
        (format!("'ip=127.0.0.1 port={port}'"), false),
        (format!("\"ip=127.0.0.1 port={port}\" # local"), false),
        (format!("\"ip=127.0.0.1 port={port} usr=x\""), false),
        (format!("127.0.0.1:{port}"), false),
    ] {
        assert_eq!(does_coturn_take(&statsdb), is_taken, "coturn: {statsdb}");
        let conf = dir.write("turnserver.conf", &format!("redis-statsdb={statsdb}\nrealm=r.example\n"));
        let report = Report::with(&[
            "--coturn.config-file",
            &conf.display().to_string(),
            "--redis.url",
            &redis.url(0),
        ]);
        let faults = report.faults();
        assert_eq!(
            !faults.contains(&"coturn-statsdb"),
            is_taken,
            "doctor: {statsdb}: {:#?}",
            report.findings
        );
        if !is_taken {
            let message = report.text("coturn-statsdb", "message");
            assert!(!message.contains("port=6379"), "one line to write, that of the fix: {message}");
        }
        let words = report.findings.iter().map(ToString::to_string).collect::<String>();
        assert!(!words.contains("two"), "a part of a password: {words}");
    }
}

#[test]
fn each_broken_file_is_named_with_its_fix() {
    let redis = Redis::start();
    let dir = TempDir::new("broken-files");
    let (port, url) = (redis.port(), redis.url(0));
    let good =
        format!("redis-statsdb=\"ip=127.0.0.1 dbname=0 port={port} connect_timeout=30\"\nrealm=r.example\n");
    let elsewhere = Port::claim();
    let with = |more: &str| format!("{good}{more}\n");
    let statsdb = |value: &str| format!("redis-statsdb=\"{value}\"\nrealm=r.example\n");
    for (text, flags, id, severity, fix) in [
        (good.clone(), vec![], "coturn-statsdb", "ok", ""),
        ("realm=r.example\n".to_owned(), vec![], "coturn-statsdb", "fault", "redis-statsdb="),
        (
            statsdb(&format!("ip=127.0.0.1 dbname=3 port={port} connect_timeout=30")),
            vec![],
            "coturn-statsdb",
            "fault",
            "dbname=0",
        ),
        (
            statsdb(&format!("ip=127.0.0.1 password=my secret port={port}")),
            vec![],
            "coturn-statsdb",
            "fault",
            "redis-statsdb=",
        ),
        (
            statsdb(&format!("ip=127.0.0.1 port={} connect_timeout=30", elsewhere.number)),
            vec![],
            "coturn-statsdb",
            "fault",
            "--redis.url",
        ),
        (
            statsdb(&format!("ip=127.0.0.1 port={port}")),
            vec![],
            "coturn-connect-timeout",
            "advice",
            "connect_timeout=30",
        ),
        (with("realm="), vec![], "coturn-realm", "advice", "realm="),
        (with("user=alice:x"), vec![], "coturn-users", "advice", "--session.by client"),
        (with("user=alice:x"), vec!["--session.by", "client"], "coturn-users", "ok", ""),
        (
            with("max-allocate-lifetime=7200"),
            vec!["--allocation.max-lifetime", "1h"],
            "coturn-max-lifetime",
            "fault",
            "7200s",
        ),
        (with("max-allocate-lifetime=7200"), vec![], "coturn-max-lifetime", "ok", ""),
        (
            with("min-port=50000\nmax-port=50099\ntotal-quota=500"),
            vec![],
            "coturn-ports",
            "advice",
            "min-port",
        ),
        (
            with("use-auth-secret\nrest-api-separator=|"),
            vec!["--session.rest-separator", ":"],
            "coturn-rest-separator",
            "fault",
            "'|'",
        ),
        (with("mobility"), vec!["--allocation.grace", "30s"], "coturn-mobility", "fault", "90s"),
        (with("prometheus"), vec![], "coturn-prometheus", "info", ""),
    ] {
        let conf = dir.write("turnserver.conf", &text).display().to_string();
        let report =
            Report::with(&[&["--coturn.config-file", &conf, "--redis.url", &url], &flags[..]].concat());
        assert_eq!(report.severity(id), severity, "{text}{flags:?}: {:#?}", report.findings);
        assert!(report.text(id, "fix").contains(fix), "{text}{flags:?}: {}", report.finding(id));
        assert_eq!(report.code, Some(i32::from(!report.faults().is_empty())), "{text}");
        let expected: &[&str] = if severity == "fault" { &[id] } else { &[] };
        assert_eq!(report.faults(), expected, "{text}{flags:?}");
    }
}

/// Where the file is all that is given, its statsdb is looked at, be it a Redis or an exporter.
#[test]
fn the_file_alone_leads_to_the_redis_or_to_the_listener() {
    let dir = TempDir::new("file-alone");
    let report = |port: u16| {
        let text =
            format!("redis-statsdb=\"ip=127.0.0.1 port={port} connect_timeout=30\"\nrealm=r.example\n");
        let conf = dir.write("turnserver.conf", &text).display().to_string();
        Report::with(&["--coturn.config-file", &conf])
    };
    let gone = report(Port::claim().number);
    assert_eq!(gone.faults(), ["reachable"], "{:#?}", gone.findings);
    let redis = Redis::start();
    assert_eq!(report(redis.port()).severity("reachable"), "ok");
    let nothing = dir.write("nothing.conf", "realm=r.example\n").display().to_string();
    let nothing = Report::with(&["--coturn.config-file", &nothing]);
    let fix = nothing.text("coturn-statsdb", "fix");
    for part in ["--statsdb.listen-address 127.0.0.1:6390", "port=6390", "port=6379"] {
        assert!(fix.contains(part), "{part}: {fix}");
    }
    let (_exporter, address) = listening(&[]);
    let listener = report(address.port());
    assert_eq!(listener.severity("coturn-statsdb"), "ok", "{:#?}", listener.findings);
    assert_eq!(listener.faults(), ["listener-coturn"], "no coturn has connected");
    let file = dir.write("password", "open-sesame\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let (_exporter, address) = listening(&["--statsdb.password-file", &file.display().to_string()]);
    let guarded = report(address.port());
    assert_eq!(guarded.faults(), ["listener-login"], "{:#?}", guarded.findings);
    assert!(guarded.text("listener-login", "message").contains("redis-statsdb has none"), "{guarded:?}");
    assert!(guarded.text("turnserver-conf", "fix").contains("password=SECRET"), "{guarded:?}");
}

/// Two loopback addresses are two places: what listens on one is not found on the other.
#[test]
fn another_loopback_address_than_that_of_the_exporter_is_a_fault() {
    let dir = TempDir::new("other-loopback");
    let (_exporter, address) = listening(&[]);
    let redis = Redis::start();
    for (port, flag, place) in [
        (address.port(), "--statsdb.listen-address", address.to_string()),
        (redis.port(), "--redis.url", redis.url(0)),
    ] {
        let text = format!(
            "redis-statsdb=\"ip=127.0.0.2 dbname=0 port={port} connect_timeout=30\"\nrealm=r.example\n"
        );
        let conf = dir.write("turnserver.conf", &text).display().to_string();
        let report = Report::with(&["--coturn.config-file", &conf, flag, &place]);
        assert_eq!(report.severity("coturn-statsdb"), "fault", "{:#?}", report.findings);
        let message = report.text("coturn-statsdb", "message");
        assert!(message.contains("127.0.0.2") && message.contains("nothing answers there"), "{message}");
    }
}

/// The password stands in two files; neither is shown.
#[test]
fn the_password_of_the_line_is_compared_with_that_of_the_listener() {
    let dir = TempDir::new("two-passwords");
    let secret = |name: &str| {
        let path = dir.write(name, &format!("{name}-sesame\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let (right, wrong) = (secret("right"), secret("wrong"));
    let (_guarded, guarded) = listening(&["--statsdb.password-file", &right]);
    let (_open, open) = listening(&[]);
    let conf = |port: u16, password: Option<&str>| {
        let password = password.map_or_else(String::new, |password| format!("password={password} "));
        let text = format!(
            "redis-statsdb=\"ip=127.0.0.1 dbname=0 {password}port={port} connect_timeout=30\"\nrealm=r.example\n"
        );
        dir.write("turnserver.conf", &text).display().to_string()
    };
    let (right_word, wrong_word) = (Some("right-sesame"), Some("wrong-sesame"));
    for (listener, word, file, severity) in [
        (guarded, right_word, Some(&right), Some("ok")),
        (guarded, wrong_word, Some(&right), Some("fault")),
        (guarded, right_word, Some(&wrong), Some("fault")),
        (guarded, None, Some(&right), Some("fault")),
        (guarded, None, None, Some("fault")),
        // What the listener's is, is not known.
        (guarded, right_word, None, None),
        (open, right_word, None, Some("advice")),
        (open, None, None, None),
    ] {
        let (conf, listen) = (conf(listener.port(), word), listener.to_string());
        let mut flags = vec!["--coturn.config-file", &conf, "--statsdb.listen-address", &listen];
        flags.extend(file.iter().flat_map(|file| ["--statsdb.password-file", file]));
        let report = Report::with(&flags);
        let found = report.findings.iter().find(|finding| finding["id"] == "coturn-statsdb-password");
        assert_eq!(found.map(|found| found["severity"].as_str().unwrap()), severity, "{word:?} {flags:?}");
        assert!(!format!("{report:?}").contains("sesame"), "{report:?}");
        if severity == Some("fault") {
            assert!(report.text("coturn-statsdb-password", "fix").contains("password=SECRET"), "{report:?}");
        }
    }
    // A file without a line is told the whole of it.
    let conf = dir.write("nothing.conf", "realm=r.example\n").display().to_string();
    let report =
        Report::with(&["--coturn.config-file", &conf, "--statsdb.listen-address", &guarded.to_string()]);
    assert!(report.text("coturn-statsdb", "fix").contains("password=SECRET"), "{report:?}");
}

/// coturn runs with a password that Redis refuses, and says so in its own log alone: `doctor` tries it.
#[test]
fn the_login_of_the_line_is_tried_at_the_redis_that_is_watched() {
    let dir = TempDir::new("redis-login");
    let (guarded, open) = (Redis::start_with_password("right-sesame"), Redis::start());
    guarded.run(&["ACL", "SETUSER", "relay", "on", ">relay-sesame", "~*", "&*", "+@all"]);
    let exporter = grant(&guarded, "watcher", &[LEAST]);
    for (redis, login, severity, says) in [
        (&guarded, "password=right-sesame", "ok", "accepts"),
        (&guarded, "password=wrong-sesame", "fault", "wrong password in redis-statsdb: WRONGPASS"),
        (&guarded, "", "fault", "no password in redis-statsdb"),
        // Whom coturn logs in as depends on its version.
        (&guarded, "username=relay password=relay-sesame", "info", "for one of"),
        (&guarded, "username=relay password=right-sesame", "info", "for one of"),
        (&guarded, "username=relay password=wrong-sesame", "fault", "wrong password"),
        (&open, "password=wrong-sesame", "info", "wants none"),
    ] {
        let text = format!(
            "redis-statsdb=\"ip=127.0.0.1 dbname=0 {login} port={} connect_timeout=30\"\nrealm=r.example\n",
            redis.port()
        );
        let conf = dir.write("turnserver.conf", &text).display().to_string();
        // As an administrator, with the least rights, and with a wrong password of its own.
        let is_guarded = redis.port() == guarded.port();
        let others = [redis.url_with(&exporter, 0), redis.url_with(":another@", 0)];
        for url in [redis.url(0)].iter().chain(others.iter().filter(|_| is_guarded)) {
            let report = Report::with(&["--coturn.config-file", &conf, "--redis.url", url]);
            assert_eq!(report.severity("coturn-statsdb-login"), severity, "{login}: {:#?}", report.findings);
            let message = report.text("coturn-statsdb-login", "message");
            assert!(message.contains(says), "{login}: {message}");
            assert!(!format!("{report:?}").contains("sesame"), "{report:?}");
            if severity == "fault" {
                assert!(report.text("coturn-statsdb-login", "fix").contains("password=SECRET"), "{report:?}");
            }
        }
    }
}

/// Where the file is all that is given, the wrong password is in the file, and no flag of ours mends it.
#[test]
fn a_login_from_the_file_that_is_refused_is_mended_in_the_file() {
    let dir = TempDir::new("login-of-file");
    let redis = Redis::start_with_password("right-sesame");
    let own = dir.write("own", "right-sesame\n");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o600)).unwrap();
    let flag = ["--redis.password-file", &own.display().to_string()];
    for (login, flags, id, says) in [
        ("password=wrong-sesame", &[][..], "login", "wrong password in redis-statsdb in "),
        ("", &[], "login", "Redis wants a password, and redis-statsdb in "),
        ("", &flag, "coturn-statsdb-login", "no password in redis-statsdb"),
    ] {
        let text = format!(
            "redis-statsdb=\"ip=127.0.0.1 dbname=0 {login} port={} connect_timeout=30\"\nrealm=r.example\n",
            redis.port()
        );
        let conf = dir.write("turnserver.conf", &text).display().to_string();
        let report = Report::with(&[&["--coturn.config-file", &conf], flags].concat());
        assert_eq!(report.faults(), [id], "{login}: {:#?}", report.findings);
        assert!(report.text(id, "message").starts_with(says), "{}", report.finding(id));
        let fix = report.text(id, "fix");
        assert!(fix.contains("in redis-statsdb") && !fix.contains("--redis.password-file"), "{fix}");
        assert!(!format!("{report:?}").contains("sesame"), "{report:?}");
    }
}

/// It is logged in as coturn does, and nothing more is tried: Redis has nothing to forbid, also where a password is missing.
#[test]
fn the_login_that_is_tried_needs_no_right() {
    let dir = TempDir::new("redis-login-alone");
    let redis = Redis::start_with_password("right-sesame");
    redis.run(&["ACL", "SETUSER", "watcher", "on", ">pw", "~*", "&*", "+@all"]);
    redis.run(&["ACL", "SETUSER", "default", "-@all"]);
    for (login, severity) in [("password=right-sesame", "ok"), ("", "fault")] {
        let text = format!(
            "redis-statsdb=\"ip=127.0.0.1 dbname=0 {login} port={} connect_timeout=30\"\nrealm=r.example\n",
            redis.port()
        );
        let conf = dir.write("turnserver.conf", &text).display().to_string();
        let url = redis.url_with("watcher:pw@", 0);
        let report = Report::with(&["--coturn.config-file", &conf, "--redis.url", &url]);
        assert_eq!(report.severity("coturn-statsdb-login"), severity, "{login}: {:#?}", report.findings);
        let mut watcher = redis::Client::open(url).unwrap().get_connection().unwrap();
        let log: Vec<redis::Value> = redis::cmd("ACL").arg("LOG").query(&mut watcher).expect("ACL LOG");
        assert!(log.is_empty(), "{login}: {log:?}");
    }
}

/// The file is the one that a real coturn runs with.
#[test]
fn the_file_of_a_real_coturn_is_all_that_an_exporter_needs() {
    let redis = Redis::start();
    let settings = Settings { ip: "127.0.0.1", realm: "one.example", users: &["alice"], max_lifetime: 600 };
    let coturn = Coturn::start(&redis, 0, settings);
    let conf = coturn.config().display().to_string();
    let exporter = Exporter::start(&["--coturn.config-file", &conf]);
    exporter.wait_ready();
    assert!(exporter.text().contains("coturn_sessions{realm=\"one.example\"} 0"), "{}", exporter.text());
    let ports = exporter.page().value("coturn_server_relay_ports", &[("relay_ip", "127.0.0.1")]);
    assert!(ports.is_some_and(|ports| ports > 1.0 && ports < 1000.0), "{ports:?}");
    exporter.until_logged(&["coturn's file was read", "max_allocate_lifetime=600", "static_users=1"]);
    let report = Report::with(&["--coturn.config-file", &conf]);
    assert_eq!(report.faults(), [""; 0], "{:#?}", report.findings);
    assert_eq!(report.severity("coturn-users"), "advice");
}

/// The exporter finds coturn by its file, shows its limits, follows a change, and logs no secret.
#[test]
fn an_exporter_with_nothing_but_the_file_watches_that_coturn() {
    let redis = Redis::start_with_password("open-sesame");
    let dir = TempDir::new("file-watched");
    let write = |more: &str| {
        let port = redis.port();
        let text = format!(
            "redis-statsdb=\"ip=127.0.0.1 dbname=0 password=open-sesame port={port} connect_timeout=30\"\n\
             realm=one.example\nstatic-auth-secret=hidden\nmin-port=50000\nmax-port=50099\n{more}\n"
        );
        // As an editor does it.
        let path = dir.write("new", &text);
        let conf = dir.path().join("turnserver.conf");
        fs::rename(path, &conf).unwrap();
        conf.display().to_string()
    };
    let conf = write("relay-ip=127.0.0.1\nrelay-ip=127.0.0.2\ntotal-quota=120\nmax-allocate-lifetime=900");
    let exporter = Exporter::start(&["--coturn.config-file", &conf]);
    exporter.wait_ready();
    let page = exporter.page();
    for ip in ["127.0.0.1", "127.0.0.2"] {
        assert_eq!(page.value("coturn_server_relay_ports", &[("relay_ip", ip)]), Some(100.0));
    }
    assert_eq!(page.value("coturn_server_quota_allocations", &[]), Some(120.0));
    assert!(
        exporter.text().contains("coturn_sessions{realm=\"one.example\"} 0"),
        "the realm's series are there"
    );
    exporter.until_logged(&["coturn's file was read", "used_for=", "redis.url", "max_allocate_lifetime=900"]);

    write("relay-ip=127.0.0.1\ntotal-quota=240\nmax-allocate-lifetime=1800");
    exporter.signal(Signal::HUP);
    exporter.until_value("coturn_server_quota_allocations", &[], 240.0);
    assert_eq!(exporter.page().value("coturn_server_relay_ports", &[("relay_ip", "127.0.0.2")]), None);
    exporter.until_logged(&["restart it to use them", "max-allocate-lifetime"]);
    let log = exporter.log();
    assert!(!log.contains("open-sesame") && !log.contains("hidden"), "{log}");
}
