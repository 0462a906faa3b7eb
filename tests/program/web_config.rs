//! The web config file with real tools: Prometheus scrapes by it, promtool checks the examples, files are renewed while the
//! exporter runs, and systemd's way to hand over sockets.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::common::net::certificates::{Authority, Pair};
use crate::common::net::statsdb::Statsdb;
use crate::common::net::tls::{Scraper, TlsClient};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::listener::{ANYWHERE, listening};
use crate::common::servers::process::Process;
use crate::common::servers::prometheus::{Prometheus, promtool_check_web_config};
use crate::common::temp_dir::TempDir;
use rustix::process::Signal;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coturn-exporter");

/// Of `change-me`, as in the examples.
const HASH: &str = "$2b$10$OaU90y4rUd3hl.xdB26IBe42Taod0X9.QVza.qUX68leUy3iGDB3e";

fn hash(password: &str) -> String {
    bcrypt::hash_with_salt(password, 4, [7; 16]).unwrap().to_string()
}

/// Puts a file in the place of another, as tools that renew certificates do.
pub(crate) fn put(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let next = dir.write(&format!("{name}.next"), text);
    let path = dir.path().join(name);
    std::fs::rename(next, &path).unwrap();
    path
}

pub(crate) fn put_pair(dir: &TempDir, name: &str, pair: &Pair) {
    for (ending, path) in [("crt", &pair.cert_file), ("key", &pair.key_file)] {
        put(dir, &format!("{name}.{ending}"), &std::fs::read_to_string(path).unwrap());
    }
}

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/web-config");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 4, "{files:?}");
    files
}

#[test]
fn promtool_and_the_exporter_accept_every_example() {
    let (dir, ca) = (TempDir::new("examples"), Authority::new("ca"));
    put_pair(&dir, "server", &ca.issue("server", &["localhost"]));
    put(&dir, "client-ca.crt", &std::fs::read_to_string(&ca.cert_file).unwrap());
    let client = ca.issue_for_clients("client", &["prometheus.example"]);
    let tls = TlsClient::showing(&ca.cert_file, &client);
    for example in examples() {
        let text = std::fs::read_to_string(&example).unwrap();
        let file = dir.write(example.file_name().unwrap().to_str().unwrap(), &text);
        let (is_content, said) = promtool_check_web_config(&file);
        assert!(is_content, "{}: {said}", example.display());
        let exporter = Exporter::start(&["--web.config.file", file.to_str().unwrap()]);
        let scraper = Scraper {
            tls: text.contains("tls_server_config").then(|| tls.clone()),
            login: text.contains("basic_auth_users").then(|| "prometheus:change-me".to_owned()),
        };
        let without_login = Scraper { login: None, ..scraper.clone() };
        assert_eq!(
            without_login.get(exporter.address, "/metrics").unwrap().status == 401,
            scraper.login.is_some()
        );
        let exporter = exporter.asked_by(scraper);
        assert_eq!(exporter.status("/metrics"), 200, "{}", example.display());
    }
    let shipped = examples().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect::<String>();
    assert!(shipped.contains(HASH), "the tests know the password of another hash");
}

#[test]
fn the_documentation_has_the_examples_of_the_file_and_of_prometheus() {
    let text = include_str!("../../docs/web-config.md");
    let blocks: Vec<&str> =
        text.split("```yaml\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 2);
    let file = coturn_exporter::config::web_file::WebFile::parse(blocks[0].as_bytes()).unwrap();
    assert!(file.tls.is_some() && !file.users.is_empty() && file.rate_limit.is_some());
}

#[test]
fn half_a_configuration_does_not_start_and_says_what_is_missing() {
    let dir = TempDir::new("half");
    for (text, says) in [
        ("tls_server_config: {cert_file: server.crt}", "give key or key_file"),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAndVerifyClientCert}",
            "give client_ca_file",
        ),
        ("tls_config: {}", "tls_config"),
        ("tls_server_config: {cert_file: no.crt, key_file: no.key}", "No such file"),
    ] {
        let file = dir.write("web.yml", text);
        let output = Command::new(PROGRAM)
            .args(["--web.listen-address=127.0.0.1:0", "--web.config.file"])
            .arg(&file)
            .output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(says) && said.contains(file.to_str().unwrap()), "{said}");
    }
}

/// What Prometheus scrapes with; the files have the names of its configuration.
struct Scraped {
    ca: Authority,
    clients: Authority,
    dir: TempDir,
}

impl Scraped {
    fn new() -> Self {
        let scraped = Self {
            ca: Authority::new("ca"),
            clients: Authority::new("clients"),
            dir: TempDir::new("scraped"),
        };
        put(&scraped.dir, "ca.crt", &std::fs::read_to_string(&scraped.ca.cert_file).unwrap());
        put(&scraped.dir, "client-ca.crt", &std::fs::read_to_string(&scraped.clients.cert_file).unwrap());
        put(&scraped.dir, "password", "change-me");
        scraped.renew_server("server");
        scraped.renew_client("client");
        scraped.write_config(&[("prometheus", "change-me")]);
        scraped
    }

    fn renew_server(&self, file: &str) {
        put_pair(&self.dir, "server", &self.ca.issue(file, &["localhost", "127.0.0.1"]));
    }

    fn renew_client(&self, file: &str) -> Pair {
        let pair = self.clients.issue_for_clients(file, &["prometheus.example"]);
        put_pair(&self.dir, "client", &pair);
        pair
    }

    /// The web config file, with these users.
    fn write_config(&self, users: &[(&str, &str)]) -> PathBuf {
        let users: Vec<String> =
            users.iter().map(|(user, password)| format!("  {user}: {}", hash(password))).collect();
        let users = users.join("\n");
        let text = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_auth_type: \
                    RequireAndVerifyClientCert\n  client_ca_file: client-ca.crt\n  client_allowed_sans: \
                    [prometheus.example]\n";
        put(&self.dir, "web.yml", &format!("{text}basic_auth_users:\n{users}"))
    }

    fn prometheus(&self, exporter: &Exporter, user: &str) -> Prometheus {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let config = format!(
            "global: {{scrape_interval: 2s, scrape_timeout: 2s}}\n\
             scrape_configs:\n  - job_name: coturn\n    scheme: https\n    basic_auth: {{username: {user}, \
             password_file: {}}}\n    tls_config: {{ca_file: {}, cert_file: {}, key_file: {}}}\n    static_configs: \
             [{{targets: ['{}']}}]\n",
            at("password"),
            at("ca.crt"),
            at("client.crt"),
            at("client.key"),
            exporter.address
        );
        Prometheus::with_config(TempDir::new("prometheus"), &config)
    }

    fn scraper(&self, pair: &Pair, login: &str) -> Scraper {
        let tls = TlsClient::showing(&self.ca.cert_file, pair);
        Scraper { tls: Some(tls), login: Some(login.to_owned()) }
    }
}

/// Waits until so many more scrapes have been stored. They have two seconds each: none of them may fail for a busy machine.
fn until_scraped(prometheus: &Prometheus, more: f64) {
    let count = || prometheus.query("count_over_time(up[1h])").into_values().next().unwrap_or_default();
    let wanted = count() + more;
    poll::until(PATIENCE, "scrapes of Prometheus", || match count() {
        count if count >= wanted => Ok(()),
        count => Err(count.to_string()),
    });
}

/// Scrapes of Prometheus that failed.
fn failed(prometheus: &Prometheus) -> f64 {
    prometheus
        .query("count_over_time(up[1h]) - sum_over_time(up[1h])")
        .into_values()
        .next()
        .expect("it scrapes")
}

#[test]
fn prometheus_scrapes_by_tls_with_a_certificate_and_a_login_while_all_of_them_are_renewed() {
    let scraped = Scraped::new();
    let file = scraped.write_config(&[("prometheus", "change-me")]);
    let (exporter, _) = listening(&["--web.config.file", file.to_str().unwrap()]);
    let client = scraped.renew_client("client");
    let exporter = exporter.asked_by(scraped.scraper(&client, "prometheus:change-me"));
    let prometheus = scraped.prometheus(&exporter, "prometheus");
    until_scraped(&prometheus, 2.0);
    let build = prometheus.query("coturn_exporter_build_info");
    assert_eq!(build.len(), 1, "{build:?}");
    let (is_over, pages) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        // A connection for each page, as fast as they come: one of them meets each moment of a renewal.
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(exporter.status("/metrics"), 200);
                pages.fetch_add(1, Ordering::Relaxed);
            }
        });
        for n in 0..3 {
            let seen = exporter.log().matches("files have changed").count();
            scraped.renew_server(&format!("server{n}"));
            scraped.renew_client(&format!("client{n}"));
            let other = format!("other{n}");
            scraped.write_config(&[("prometheus", "change-me"), ("other", &other)]);
            poll::until(PATIENCE, "the new files to be in use", || {
                let log = exporter.log();
                let login = Scraper { login: Some(format!("other:{other}")), ..exporter.scraper.clone() };
                let is_new = login.get(exporter.address, "/metrics").is_ok_and(|page| page.status == 200);
                if is_new && log.matches("files have changed").count() > seen { Ok(()) } else { Err(log) }
            });
            until_scraped(&prometheus, 2.0);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(pages.load(Ordering::Relaxed) > 20, "{pages:?}");
    assert!(failed(&prometheus) < 0.5, "{}\n{}", failed(&prometheus), exporter.log());
    // A new password is put in place on both sides while both are right.
    scraped.write_config(&[("prometheus", "change-me"), ("second", "other")]);
    exporter.until_logged(&["files have changed", "web.yml"]);
    let second = Scraper { login: Some("second:other".to_owned()), ..exporter.scraper.clone() };
    poll::until(PATIENCE, "the second user", || match second.get(exporter.address, "/metrics") {
        Ok(page) if page.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    put(&scraped.dir, "password", "other");
    let next = scraped.prometheus(&exporter, "second");
    until_scraped(&next, 2.0);
    scraped.write_config(&[("second", "other")]);
    poll::until(PATIENCE, "the first user to be gone", || match exporter.get("/metrics") {
        Ok(page) if page.status == 401 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    until_scraped(&next, 2.0);
    assert!(failed(&next) < 0.5, "{}", exporter.log());
    let stranger = scraped.ca.issue_for_clients("stranger", &["prometheus.example"]);
    let stranger = scraped.scraper(&stranger, "second:other");
    assert!(stranger.get(exporter.address, "/metrics").is_err(), "another CA has signed its certificate");
}

#[test]
fn sighup_reads_all_files_again_and_says_what_changed() {
    let (dir, ca) = (TempDir::new("sighup"), Authority::new("ca"));
    put_pair(&dir, "statsdb", &ca.issue("statsdb", &["localhost"]));
    let web = put(&dir, "web.yml", &format!("basic_auth_users: {{alice: {}}}", hash("one")));
    let password = put(&dir, "password", "geheim\n");
    let at = |name: &str| dir.path().join(name).display().to_string();
    let args = [
        "--web.config.file",
        web.to_str().unwrap(),
        "--web.open-health-paths",
        "--statsdb.password-file",
        password.to_str().unwrap(),
        "--statsdb.tls-cert-file",
        &at("statsdb.crt"),
        "--statsdb.tls-key-file",
        &at("statsdb.key"),
    ];
    let (exporter, _) = listening(&args);
    exporter.signal(Signal::HUP);
    let line = exporter.until_logged(&["all files were read again"]);
    let all = "--statsdb.password-file,--web.config.file,--statsdb.tls-cert-file";
    assert!(
        line.contains(&format!("unchanged={all}"))
            && !line.contains(" changed=")
            && !line.contains("failed="),
        "{line}"
    );
    put(&dir, "web.yml", &format!("basic_auth_users: {{alice: {}}}", hash("two")));
    put_pair(&dir, "statsdb", &ca.issue("next", &["localhost"]));
    put(&dir, "password", "two\nlines\n");
    exporter.signal(Signal::HUP);
    let problem =
        exporter.until_logged(&["changed files cannot be used", "--statsdb.password-file", "level=error"]);
    assert!(problem.contains("must be one line"), "{problem}");
    exporter.until_logged(&["files have changed", "--web.config.file"]);
    exporter.until_logged(&["files have changed", "--statsdb.tls-cert-file"]);
    assert_eq!(exporter.status("/-/ready"), 200, "it goes on");
    let login = |login: &str| {
        Scraper { tls: None, login: Some(login.to_owned()) }.get(exporter.address, "/metrics").unwrap().status
    };
    assert_eq!((login("alice:one"), login("alice:two")), (401, 200));
    poll::until(PATIENCE, "one line about it, not one each second", || {
        let log = exporter.log();
        assert_eq!(log.matches("changed files cannot be used").count(), 1, "{log}");
        if log.matches("all files were read again").count() == 2 { Ok(()) } else { Err(log) }
    });
}

#[test]
fn the_listener_takes_a_new_password_and_shows_a_new_certificate() {
    let (dir, ca, next) = (TempDir::new("listener"), Authority::new("ca"), Authority::new("next"));
    put_pair(&dir, "statsdb", &ca.issue("statsdb", &["localhost"]));
    let password = put(&dir, "password", "one");
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (plain, plain_address) = listening(&["--statsdb.password-file", password.to_str().unwrap()]);
    let (exporter, address) = listening(&[
        "--statsdb.tls-cert-file",
        &at("statsdb.crt"),
        "--statsdb.tls-key-file",
        &at("statsdb.key"),
    ]);
    let mut coturn = Statsdb::with_password(plain_address, "one");
    put(&dir, "password", "two");
    put_pair(&dir, "statsdb", &next.issue("statsdb", &["localhost"]));
    plain.until_logged(&["files have changed", "--statsdb.password-file"]);
    exporter.until_logged(&["files have changed", "statsdb.crt,", "statsdb.key"]);
    Statsdb::with_password(plain_address, "two").tell(b"__XXX__", "__YYY__");
    // A connection that exists goes on.
    coturn.tell(b"__XXX__", "__YYY__");
    let shakes = |ca: &Authority| {
        let mut stream = TlsClient::trusting(&ca.cert_file).connect(address).unwrap();
        std::io::Write::write_all(&mut stream, b"PING\r\n").and_then(|()| {
            let mut answer = [0; 5];
            std::io::Read::read_exact(&mut stream, &mut answer).map(|()| answer)
        })
    };
    assert_eq!(shakes(&next).unwrap(), *b"+PONG");
    assert!(shakes(&ca).is_err());
}

#[test]
fn sockets_of_systemd_are_taken_and_without_them_it_does_not_start() {
    let output = Command::new(PROGRAM).arg("--web.systemd-socket").env_remove("LISTEN_FDS").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("systemd has handed over no socket"), "{said}");
    let dir = TempDir::new("systemd");
    // What systemd does: the sockets are the files from 3 on, and the process id is that of the program.
    let hand_over = "import os, socket, sys\n\
                     sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(2)]\n\
                     fds = [os.dup(s.fileno()) for s in sockets]\n\
                     for place, fd in enumerate(fds): os.dup2(fd, 3 + place)\n\
                     os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2')\n\
                     os.execv(sys.argv[1], sys.argv[1:])";
    let mut command = Command::new("python3");
    command.args(["-c", hand_over, PROGRAM, "--web.systemd-socket"]).args(ANYWHERE);
    let process = Process::spawn(command, dir.path(), "coturn-exporter").unwrap();
    let addresses = poll::until(PATIENCE, "two addresses", || {
        let log = process.stderr();
        let lines = log.lines().filter(|line| line.contains("msg=listening"));
        let addresses: Vec<std::net::SocketAddr> = lines
            .filter_map(|line| line.split("address=").nth(1)?.split_whitespace().next()?.parse().ok())
            .collect();
        if addresses.len() == 2 { Ok(addresses) } else { Err(log) }
    });
    for address in addresses {
        assert_eq!(Scraper::default().get(address, "/-/healthy").unwrap().status, 200);
    }
}
