//! TLS to Redis: whom the exporter believes, who it says it is, and what it says when there is no connection.

use std::path::Path;
use std::process::Command;

use crate::common::net::certificates::{Authority, Pair};
use crate::common::net::ports::Port;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::PATIENCE;
use crate::common::servers::command;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::process::Process;
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;

const REALM: &str = "one.example";

/// Whom the certificates of the servers are for.
const HERE: [&str; 2] = ["127.0.0.1", "localhost"];

/// A Redis with TLS on a port of its own; the test itself comes over the plain one.
struct TlsRedis {
    redis: Redis,
    port: Port,
}

impl TlsRedis {
    fn start(authority: &Authority, pair: &Pair, settings: &[(&str, &str)]) -> Self {
        Self::start_with_files(&authority.cert_file, pair, settings)
    }

    fn start_with_files(ca_file: &Path, pair: &Pair, settings: &[(&str, &str)]) -> Self {
        let port = Port::claim();
        let number = port.number.to_string();
        let [ca, cert, key] = [ca_file, &pair.cert_file, &pair.key_file].map(text);
        let mut all = vec![("tls-port", number.as_str()), ("tls-ca-cert-file", &ca)];
        all.extend([("tls-cert-file", cert.as_str()), ("tls-key-file", &key)]);
        all.extend(settings);
        Self { redis: Redis::start_with_settings(&all), port }
    }

    /// One that asks its clients for nothing.
    fn open_to_all(authority: &Authority, pair: &Pair) -> Self {
        Self::start(authority, pair, &[("tls-auth-clients", "no")])
    }

    fn url(&self, host: &str) -> String {
        format!("rediss://{host}:{}/0", self.port.number)
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Waits until it is up, then for an event.
#[track_caller]
fn must_watch(exporter: &Exporter, redis: &Redis, url: &str) {
    exporter.wait_ready();
    let source = [("source", url)];
    exporter.until_value("coturn_exporter_source_up", &source, 1.0);
    exporter.until_value("coturn_exporter_resync_ok", &source, 1.0);
    Statsdb::connect(redis, 0).open(&Allocation::new(REALM, "alice", 1), 600);
    exporter.until_value("coturn_allocations", &[("realm", REALM), ("transport", "udp")], 1.0);
}

/// What it says of a source that it cannot watch.
#[track_caller]
fn complaint(args: &[&str]) -> String {
    let exporter = Exporter::start(args);
    let said = exporter.until_logged(&["not watching"]);
    exporter.until_value("coturn_exporter_source_up", &[], 0.0);
    assert_eq!(exporter.status("/-/ready"), 503);
    said
}

#[test]
fn a_server_that_our_ca_vouches_for_is_watched_by_address_and_by_name() {
    let ours = Authority::new("ours");
    let server = TlsRedis::open_to_all(&ours, &ours.issue("server", &HERE));
    for host in HERE {
        let url = server.url(host);
        let exporter = Exporter::start(&["--redis.url", &url, "--redis.tls-ca-file", &text(&ours.cert_file)]);
        must_watch(&exporter, &server.redis, &url);
        server.redis.run(&["FLUSHALL"]);
    }
}

#[test]
fn without_a_file_the_cas_of_the_system_decide() {
    let ours = Authority::new("ours");
    let server = TlsRedis::open_to_all(&ours, &ours.issue("server", &HERE));
    let url = server.url("localhost");
    // The variables that OpenSSL knows too name the system's store.
    let store = text(&ours.cert_file);
    let variables = [
        ("SSL_CERT_FILE", store.as_str()),
        ("SSL_CERT_DIR", ""),
        ("COTURN_EXPORTER_REDIS_URL", url.as_str()),
    ];
    must_watch(&Exporter::start_with_variables(&variables, &[]), &server.redis, &url);

    let said = complaint(&["--redis.url", &url]);
    assert!(said.contains("--redis.tls-ca-file"), "{said}");

    let nothing = [("SSL_CERT_FILE", "/nowhere/ca.pem"), ("SSL_CERT_DIR", "")];
    let output = run(&nothing, &["--redis.url", &url]);
    assert!(
        output.contains("no CA certificates that can be read") && output.contains("/nowhere"),
        "{output}"
    );
}

#[test]
fn a_login_goes_over_tls_too() {
    let ours = Authority::new("ours");
    let server = TlsRedis::open_to_all(&ours, &ours.issue("server", &HERE));
    server.redis.run(&["ACL", "SETUSER", "exporter", "on", ">geheim", "~*", "&*", "+@all"]);
    let url = server.url("localhost");
    let with_login = url.replace("://", "://exporter:geheim@");
    let ca = text(&ours.cert_file);
    let exporter = Exporter::start(&["--redis.url", &with_login, "--redis.tls-ca-file", &ca]);
    must_watch(&exporter, &server.redis, &url);
    let wrong = url.replace("://", "://exporter:falsch@");
    let said = complaint(&["--redis.url", &wrong, "--redis.tls-ca-file", &ca]);
    assert!(said.contains("Redis refuses the login") && !said.contains("falsch"), "{said}");
}

#[test]
fn a_server_that_wants_a_client_certificate_gets_it_or_is_said_to_want_it() {
    let (ours, strangers) = (Authority::new("ours"), Authority::new("strangers"));
    let pair = ours.issue("server", &HERE);
    let (good, bad) = (ours.issue("client", &["exporter"]), strangers.issue("client", &["exporter"]));
    let ca = text(&ours.cert_file);
    for versions in ["TLSv1.3", "TLSv1.2"] {
        let server = TlsRedis::start(&ours, &pair, &[("tls-protocols", versions)]);
        let url = server.url("localhost");
        let with = |client: &Pair| {
            let [cert, key] = [&client.cert_file, &client.key_file].map(|file| text(file));
            ["--redis.url", &url, "--redis.tls-ca-file", &ca]
                .map(str::to_owned)
                .into_iter()
                .chain(["--redis.tls-cert-file".to_owned(), cert, "--redis.tls-key-file".to_owned(), key])
                .collect::<Vec<_>>()
        };
        let args = with(&good);
        let exporter = Exporter::start(&args.iter().map(String::as_str).collect::<Vec<_>>());
        must_watch(&exporter, &server.redis, &url);

        let said = complaint(&["--redis.url", &url, "--redis.tls-ca-file", &ca]);
        assert!(
            said.contains("wants a client certificate; give --redis.tls-cert-file"),
            "{versions}: {said}"
        );
        let args = with(&bad);
        let said = complaint(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(said.contains("refuses our client certificate"), "{versions}: {said}");
    }
}

#[test]
fn a_certificate_that_proves_nothing_is_refused_and_the_reason_said() {
    let (ours, strangers) = (Authority::new("ours"), Authority::new("strangers"));
    let ca = text(&ours.cert_file);
    for (pair, says) in [
        (strangers.issue("server", &HERE), "is not signed by a CA in "),
        (ours.issue("other", &["redis.example", "10.0.0.7"]), "is not for that name, but for "),
        (ours.issue_expired("old", &HERE), "has expired on 2021-01-01T00:00:00Z; renew it"),
    ] {
        let server = TlsRedis::open_to_all(&ours, &pair);
        let said = complaint(&["--redis.url", &server.url("localhost"), "--redis.tls-ca-file", &ca]);
        assert!(said.contains(says), "{says}: {said}");
        if says.contains("name") {
            assert!(said.contains("redis.example"), "{said}");
        }
    }
}

#[test]
fn a_flaw_of_the_servers_certificate_is_named_and_the_printed_command_mends_it() {
    let ours = Authority::new("ours");
    let ca = text(&ours.cert_file);
    for (host, pair, says) in [
        ("localhost", ours.pair(), "is that of a CA (basicConstraints CA:TRUE"),
        ("127.0.0.1", ours.issue_version_1("first", "127.0.0.1"), "is of X.509 version 1"),
        ("localhost", ours.issue_expired("old", &HERE), "has expired on 2021-01-01T00:00:00Z"),
        ("localhost", ours.issue_for_later("new", &HERE), "is not valid yet, but from 2090-01-01T00:00:00Z"),
        ("127.0.0.1", ours.issue("other", &["redis.example"]), "is not for that name, but for "),
        ("localhost", ours.issue("nobody", &[]), "is not for that name, but for no name at all"),
        ("localhost", ours.issue_for_clients("client", &HERE), "is not for servers"),
    ] {
        let server = TlsRedis::open_to_all(&ours, &pair);
        let url = server.url(host);
        let flags = ["--redis.url", &url, "--redis.tls-ca-file", &ca];
        let ended = command::exporter(&[&["doctor", "--json"], flags.as_slice()].concat());
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        let [finding] = report["findings"].as_array().unwrap().as_slice() else { panic!("{report:#}") };
        let [message, fix] = ["message", "fix"].map(|field| finding[field].as_str().unwrap());
        let subject = format!("the certificate of {host}:{}", server.port.number);
        assert!(message.contains(&subject) && message.contains(says), "{says}: {message}");
        assert!(fix.starts_with("openssl ") && !ended.stdout.contains("start Redis"), "{fix}");

        let exporter = Exporter::start(&flags);
        exporter.until_logged(&["not watching", &subject, says, fix]);
        exporter.until_value("coturn_exporter_source_up", &[], 0.0);
        let ready = exporter.get("/-/ready").unwrap().body;
        assert!(ready.contains(says) && ready.contains(fix), "{ready}");

        // With the CA's key beside it, as the command wants it.
        let dir = TempDir::new("fixed");
        std::fs::copy(&ours.key_file, dir.path().join("ca.key")).unwrap();
        let made = command::shell(&format!("cd {} && {fix}", text(dir.path())));
        assert_eq!(made.code, Some(0), "{fix}: {made:?}");
        let pair = Pair { cert_file: dir.path().join("redis.crt"), key_file: dir.path().join("redis.key") };
        let server = TlsRedis::open_to_all(&ours, &pair);
        let url = server.url(host);
        must_watch(&Exporter::start(&["--redis.url", &url, "--redis.tls-ca-file", &ca]), &server.redis, &url);
    }
}

/// Nothing is wrong with the certificate: what is missing is the flag for its CA, or the right file there.
#[test]
fn a_ca_that_is_not_known_is_mended_by_its_flag() {
    let (ours, strangers) = (Authority::new("ours"), Authority::new("strangers"));
    let server = TlsRedis::open_to_all(&ours, &strangers.issue("server", &HERE));
    let url = server.url("localhost");
    let given = text(&ours.cert_file);
    for (flags, says) in [
        (vec![], "is not signed by a CA that this system trusts"),
        (vec!["--redis.tls-ca-file", given.as_str()], "is not signed by a CA in "),
    ] {
        let flags = [vec!["--redis.url", &url], flags].concat();
        let ended = command::exporter(&[&["doctor", "--json"], flags.as_slice()].concat());
        let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        let [message, fix] = ["message", "fix"].map(|field| report["findings"][0][field].as_str().unwrap());
        assert!(message.contains(says), "{message}");
        assert!(fix.starts_with("--redis.tls-ca-file FILE ") && !fix.contains("openssl"), "{fix}");
        let said = complaint(&flags);
        assert!(said.contains(says) && said.contains(fix) && !said.contains("openssl"), "{said}");
    }
    let ca = text(&strangers.cert_file);
    must_watch(&Exporter::start(&["--redis.url", &url, "--redis.tls-ca-file", &ca]), &server.redis, &url);
}

#[test]
fn the_certificates_that_the_documentation_makes_are_accepted_and_its_ca_is_not_one_of_them() {
    let document = include_str!("../../docs/redis.md");
    let script = document.split("```sh\n").find(|block| block.starts_with("openssl req -x509")).unwrap();
    let script = script.split("```").next().unwrap().replace("redis.example", "localhost");
    let dir = TempDir::new("documented");
    let made = command::shell(&format!("set -e; cd {}; {script}", text(dir.path())));
    assert_eq!(made.code, Some(0), "{script}: {made:?}");
    let file = |name: &str| dir.path().join(name);
    let ca = text(&file("ca.crt"));
    let flags = |url: &str| ["--redis.url", url, "--redis.tls-ca-file", &ca].map(str::to_owned);
    let start = |cert: &str, key: &str| {
        let pair = Pair { cert_file: file(cert), key_file: file(key) };
        TlsRedis::start_with_files(&file("ca.crt"), &pair, &[("tls-auth-clients", "no")])
    };
    let server = start("redis.crt", "redis.key");
    let url = server.url("localhost");
    must_watch(&Exporter::start(&flags(&url).each_ref().map(String::as_str)), &server.redis, &url);
    let server = start("ca.crt", "ca.key");
    let said = complaint(&flags(&server.url("localhost")).each_ref().map(String::as_str));
    assert!(said.contains("is that of a CA"), "{said}");
}

#[test]
fn a_plain_port_and_a_tls_port_taken_for_each_other_are_said() {
    let ours = Authority::new("ours");
    let server = TlsRedis::open_to_all(&ours, &ours.issue("server", &HERE));
    let ca = text(&ours.cert_file);
    let plain = format!("rediss://127.0.0.1:{}/0", server.redis.port());
    let said = complaint(&["--redis.url", &plain, "--redis.tls-ca-file", &ca]);
    assert!(said.contains("does not answer in TLS"), "{said}");
    let tls = format!("redis://127.0.0.1:{}/0", server.port.number);
    let said = complaint(&["--redis.url", &tls]);
    assert!(said.contains("needs rediss://"), "{said}");
}

#[test]
fn renewed_files_are_taken_up_without_a_restart() {
    let (ours, next) = (Authority::new("ours"), Authority::new("next"));
    let server = TlsRedis::open_to_all(&next, &next.issue("server", &HERE));
    let (url, ca) = (server.url("localhost"), text(&ours.cert_file));
    let exporter = Exporter::start(&["--redis.url", &url, "--redis.tls-ca-file", &ca]);
    exporter.until_logged(&["not watching", "is not signed by a CA in "]);
    std::fs::write(&ours.cert_file, "half a file").unwrap();
    exporter.until_logged(&["not watching", "holds no certificate in PEM"]);
    std::fs::copy(&next.cert_file, &ours.cert_file).unwrap();
    must_watch(&exporter, &server.redis, &url);
}

/// As a coturn from 4.14 on has it.
#[test]
fn coturns_own_file_may_lead_to_a_redis_over_tls() {
    let ours = Authority::new("ours");
    let server = TlsRedis::open_to_all(&ours, &ours.issue("server", &HERE));
    let dir = TempDir::new("turnserver-conf");
    let write = |tls: &str| {
        let port = server.port.number;
        let text = format!(
            "redis-statsdb=\"ip=localhost port={port} connect_timeout=30 {tls}\"\nrealm=one.example\n"
        );
        dir.write("turnserver.conf", &text).display().to_string()
    };
    let conf = write(&format!("tls=1 ca={}", text(&ours.cert_file)));
    let url = server.url("localhost");
    must_watch(&Exporter::start(&["--coturn.config-file", &conf]), &server.redis, &url);
    let of_tls = |flags: &[&str]| {
        let ended = command::exporter(&[&["doctor", "--json"], flags].concat());
        let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap().clone();
        findings.into_iter().find(|finding| finding["id"] == "coturn-statsdb-tls").unwrap_or_default()
    };
    let says = of_tls(&["--coturn.config-file", &conf]);
    assert!(says["severity"] == "info" && says["message"].as_str().unwrap().contains("4.14"), "{says}");
    let conf = write("db=0");
    let ca = text(&ours.cert_file);
    let flags = ["--coturn.config-file", &conf, "--redis.url", &url, "--redis.tls-ca-file", &ca];
    assert_eq!(of_tls(&flags)["severity"], "fault");
}

#[test]
fn doctor_and_prune_go_over_tls_too() {
    let ours = Authority::new("ours");
    let server = TlsRedis::open_to_all(&ours, &ours.issue("server", &HERE));
    server.redis.run(&["CONFIG", "SET", "timeout", "5"]);
    let (url, ca) = (server.url("localhost"), text(&ours.cert_file));
    let doctor = command::exporter(&["doctor", "--redis.url", &url, "--redis.tls-ca-file", &ca]);
    // What it advises must reach the server in the same way.
    let way = format!("redis-cli -h localhost -p {} --tls --cacert {ca} ", server.port.number);
    assert!(doctor.stdout.contains(&way), "{doctor:?}");
    let prune = command::exporter(&["prune", "--redis.url", &url, "--redis.tls-ca-file", &ca]);
    assert!(prune.code == Some(0) && prune.stdout.contains("0 of 0 status keys"), "{prune:?}");
}

/// A run that must end by itself with code 1 and one line, which is given.
#[track_caller]
fn run(variables: &[(&str, &str)], args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coturn-exporter"));
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("COTURN_EXPORTER"))
    {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).args(args).args(["--web.listen-address", "127.0.0.1:0"]);
    let dir = TempDir::new("exporter");
    let mut process = Process::spawn(command, dir.path(), "coturn-exporter").expect("the exporter runs");
    let status = process.wait(PATIENCE);
    let text = process.stderr();
    assert_eq!(status.code(), Some(1), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn a_file_that_cannot_be_used_ends_it_with_one_line() {
    let ours = Authority::new("ours");
    let (first, second) = (ours.issue("first", &HERE), ours.issue("second", &HERE));
    let [ca, cert, key] = [&ours.cert_file, &first.cert_file, &first.key_file].map(|file| text(file));
    let other_key = text(&second.key_file);
    for (flags, says) in [
        (
            ["--redis.tls-ca-file", "/nowhere/ca.pem"].as_slice(),
            "\"/nowhere/ca.pem\" (--redis.tls-ca-file): No such",
        ),
        (&["--redis.tls-ca-file", &key], "(--redis.tls-ca-file) holds no certificate in PEM"),
        (
            &["--redis.tls-cert-file", &cert, "--redis.tls-key-file", &ca],
            "holds no private key without a passphrase",
        ),
        (&["--redis.tls-cert-file", &cert, "--redis.tls-key-file", &other_key], "cannot be used together"),
    ] {
        let mut args = vec!["--redis.url", "rediss://localhost"];
        if flags[0] != "--redis.tls-ca-file" {
            args.extend(["--redis.tls-ca-file", &ca]);
        }
        args.extend(flags);
        let line = run(&[], &args);
        assert!(line.contains(says), "{says}: {line}");
    }
}
