//! Attacks on the page over TLS and HTTP/2, with logins and client certificates, each bounded, each beside an honest scraper
//! that shakes hands anew each time and must be answered every time.
//!
//! Attackers come from other loopback addresses than the scraper.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::honest::Honest;
use super::page::{REFUSALS, attacker, honest_round};
use crate::common::net::certificates::{Authority, Pair};
use crate::common::net::tls::{Scraper, TlsClient, TlsStream};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::listener::{ANYWHERE, listening};
use crate::common::temp_dir::TempDir;
use crate::common::turns;

/// HTTP/2: what a client says first, with empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

const END_OF_STREAM_AND_HEAD: u8 = 5;

/// `GET` of `/metrics` from `localhost` in HPACK: indexed fields, and one authority that is written out.
const ASK: &[u8] = b"\x82\x87\x04\x08/metrics\x01\x09localhost";

/// An exporter whose web config file asks for TLS and a login, and for `more` of TLS.
struct Secured {
    exporter: Exporter,
    statsdb: SocketAddr,
    ca: Authority,
    _dir: TempDir,
}

impl Secured {
    fn start(clients: Option<&Authority>) -> Self {
        Self::with(clients, listening)
    }

    fn with(clients: Option<&Authority>, start: impl FnOnce(&[&str]) -> (Exporter, SocketAddr)) -> Self {
        let (dir, ca) = (TempDir::new("secured"), Authority::new("ca"));
        let Pair { cert_file, key_file } = ca.issue("server", &["localhost"]);
        let hash = bcrypt::hash_with_salt("geheim", 8, [7; 16]).unwrap();
        let mut text = format!(
            "basic_auth_users: {{prometheus: {hash}}}\ntls_server_config:\n  cert_file: {}\n  key_file: {}\n",
            cert_file.display(),
            key_file.display()
        );
        let mut tls = TlsClient::trusting(&ca.cert_file);
        if let Some(clients) = clients {
            let more = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file:";
            text = format!("{text}{more} {}\n", clients.cert_file.display());
            tls = TlsClient::showing(
                &ca.cert_file,
                &clients.issue_for_clients("client", &["prometheus.example"]),
            );
        }
        let file = dir.write("web.yml", &text).display().to_string();
        let (exporter, statsdb) = start(&["--web.config.file", &file]);
        let scraper = Scraper { tls: Some(tls), login: Some("prometheus:geheim".to_owned()) };
        Self { exporter: exporter.asked_by(scraper), statsdb, ca, _dir: dir }
    }

    fn honest(&self) -> Honest {
        Honest::begin(&self.exporter, self.statsdb, None)
    }

    /// A connection of an attacker's after its handshake, which chooses one of these protocols.
    fn shaken(&self, host: u8, protocols: &[&str]) -> std::io::Result<TlsStream> {
        let client = TlsClient::new(&self.ca.cert_file, None, protocols, rustls::DEFAULT_VERSIONS);
        let stream = attacker(self.exporter.address, Ipv4Addr::new(127, 0, 1, host));
        let mut stream = client.over(stream)?;
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    /// One of HTTP/2 that has said its first words.
    fn http2(&self, host: u8) -> std::io::Result<TlsStream> {
        let mut stream = self.shaken(host, &["h2"])?;
        stream.write_all(PREFACE)?;
        Ok(stream)
    }

    fn refused(&self, reason: &str) -> u64 {
        self.exporter.page().count(REFUSALS, &[("reason", reason)])
    }
}

/// What is written next, by its number.
type Flood<'a> = &'a (dyn Fn(u32) -> Vec<u8> + Sync);

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// Asks by a stream of this number.
fn ask(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_OF_STREAM_AND_HEAD, stream, ASK)
}

/// Files that the exporter has open.
fn open_files(exporter: &Exporter) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", exporter.process_id())).expect("it runs").count()
}

#[track_caller]
fn until_files(exporter: &Exporter, most: usize) {
    crate::common::poll::until(crate::common::poll::PATIENCE, "files to be closed", || {
        match open_files(exporter) {
            open if open <= most => Ok(()),
            open => Err(format!("{open} are open, {most} before")),
        }
    });
}

#[test]
fn half_open_and_slow_handshakes_shut_nobody_out() {
    let _turn = turns::take();
    let secured = Secured::start(None);
    let honest = secured.honest();
    let files = open_files(&secured.exporter);
    let mut open = Vec::new();
    for n in 0..128_u32 {
        for host in 0..6 {
            let mut stream = attacker(secured.exporter.address, Ipv4Addr::new(127, 0, 1, host));
            // One that was closed meanwhile has been noticed.
            let _ = match n % 3 {
                0 => Ok(()),
                1 => stream.write_all(&[0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb]),
                _ => stream.write_all(&[0x16]),
            };
            open.push(stream);
        }
    }
    for _ in 0..20 {
        honest_round(&secured.exporter);
        for stream in &mut open {
            // A byte at a time.
            let _ = stream.write_all(&[0]);
        }
        for host in 0..6 {
            open.push(attacker(secured.exporter.address, Ipv4Addr::new(127, 0, 1, host)));
        }
    }
    honest.end(&secured.exporter, open);
    let gave_way = secured.refused("connection_limit");
    assert!(gave_way >= 768 - 512, "{gave_way} gave way");
    until_files(&secured.exporter, files + 2);
}

#[test]
fn two_thousand_idle_connections_of_tls_shut_nobody_out() {
    let _turn = turns::take();
    let secured = Secured::start(None);
    let honest = secured.honest();
    let files = open_files(&secured.exporter);
    let mut open = Vec::new();
    for n in 0..2000_u32 {
        let host = u8::try_from(n % 16).unwrap();
        let protocols = if n % 2 == 0 { ["h2"] } else { ["http/1.1"] };
        let mut stream = secured.shaken(host, &protocols).expect("a newcomer is let in");
        let _ = match n % 4 {
            0 => stream.write_all(PREFACE),
            1 => stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "),
            _ => Ok(()),
        };
        open.push(stream);
    }
    honest_round(&secured.exporter);
    honest.end(&secured.exporter, open);
    assert!(secured.refused("connection_limit") >= 2000 - 512);
    until_files(&secured.exporter, files + 2);
}

#[test]
fn few_open_files_are_enough_for_tls() {
    const LIMIT: u32 = 300;
    let _turn = turns::take();
    let secured = Secured::with(None, |args| {
        let exporter = Exporter::start_with_few_files(LIMIT, &[&ANYWHERE[..], args].concat());
        let line = exporter.until_logged(&["waiting for coturn", "statsdb="]);
        let address = line.split("statsdb=").nth(1).and_then(|rest| rest.split_whitespace().next());
        (exporter, address.and_then(|address| address.trim_matches('"').parse().ok()).expect("an address"))
    });
    let honest = secured.honest();
    let mut open = Vec::new();
    for n in 0..2 * LIMIT {
        open.push(attacker(secured.exporter.address, Ipv4Addr::new(127, 0, 1, u8::try_from(n % 3).unwrap())));
    }
    for _ in 0..20 {
        honest_round(&secured.exporter);
        open.push(attacker(secured.exporter.address, Ipv4Addr::new(127, 0, 1, 1)));
    }
    assert!(!secured.exporter.log().contains("cannot accept connections"), "{}", secured.exporter.log());
    honest.end(&secured.exporter, open);
}

#[test]
fn other_protocols_and_wrong_certificates_get_nothing_but_a_line_a_minute() {
    let _turn = turns::take();
    let (clients, others) = (Authority::new("clients"), Authority::new("others"));
    let secured = Secured::start(Some(&clients));
    let honest = secured.honest();
    let files = open_files(&secured.exporter);
    let wrong = others.issue_for_clients("wrong", &["prometheus.example"]);
    let wrong = TlsClient::showing(&secured.ca.cert_file, &wrong);
    for n in 0..400_u32 {
        let mut stream =
            attacker(secured.exporter.address, Ipv4Addr::new(127, 0, 1, u8::try_from(n % 4).unwrap()));
        let mut answer = Vec::new();
        if n % 2 == 0 {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("it fits");
            stream.read_to_end(&mut answer).expect("an answer");
            assert!(answer.starts_with(b"HTTP/1.0 400"), "{}", String::from_utf8_lossy(&answer));
        } else {
            let mut stream = wrong.over(stream).expect("it begins");
            let asked = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
            assert!(asked.and_then(|()| stream.read_to_end(&mut answer)).is_err() && answer.is_empty());
        }
        if n % 40 == 0 {
            honest_round(&secured.exporter);
        }
    }
    honest.end(&secured.exporter, ());
    assert_eq!(secured.refused("tls_handshake"), 400);
    let log = secured.exporter.log();
    let lines = log.lines().filter(|line| line.contains("no TLS handshake")).count();
    assert!((1..=3).contains(&lines), "{lines} lines:\n{log}");
    until_files(&secured.exporter, files + 2);
}

#[test]
fn guesses_of_a_login_keep_no_honest_scraper_waiting() {
    let _turn = turns::take();
    let secured = Secured::start(None);
    honest_round(&secured.exporter);
    let honest = secured.honest();
    let stop = AtomicBool::new(false);
    let [refused, sent_away] = std::thread::scope(|scope| {
        let guessers: Vec<_> = (0..40_u8)
            .map(|n| {
                let (secured, stop) = (&secured, &stop);
                scope.spawn(move || {
                    let mut statuses = [0_u64; 2];
                    for guess in 0..200 {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let Ok(stream) = secured.shaken(n % 4, &["http/1.1"]) else { continue };
                        let login = format!("prometheus:{n}-{guess}");
                        let login = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, login);
                        let request = format!(
                            "GET /metrics HTTP/1.0\r\nHost: x\r\nAuthorization: Basic {login}\r\n\r\n"
                        );
                        match crate::common::net::http::exchange_over(stream, &request) {
                            Ok(answer) if answer.status == 401 => statuses[0] += 1,
                            Ok(answer) if answer.status == 429 => statuses[1] += 1,
                            // Closed for another of the same address.
                            other => assert!(other.is_err(), "{other:?}"),
                        }
                    }
                    statuses
                })
            })
            .collect();
        for _ in 0..20 {
            honest_round(&secured.exporter);
        }
        stop.store(true, Ordering::Relaxed);
        let all = guessers.into_iter().map(|thread| thread.join().expect("it guesses"));
        all.fold([0, 0], |sum, statuses| [sum[0] + statuses[0], sum[1] + statuses[1]])
    });
    assert!(refused > 0, "{refused} refused, {sent_away} sent away");
    println!("guesses: {refused} refused, {sent_away} sent away");
    honest.end(&secured.exporter, ());
    let log = secured.exporter.log();
    assert!(log.matches("no or a wrong login").count() <= 3 && !log.contains("prometheus:"), "{log}");
}

#[test]
fn floods_of_http2_end_their_connection_or_wait_their_turn() {
    let _turn = turns::take();
    let secured = Secured::start(None);
    let honest = secured.honest();
    let files = open_files(&secured.exporter);
    // Each is written until the exporter closes the connection or has read all of it.
    let resets = |n: u32| [ask(2 * n + 1), frame(RESET, 0, 2 * n + 1, &8_u32.to_be_bytes())].concat();
    let floods: [(&str, u32, Flood<'_>); 7] = [
        ("rapid reset", 20_000, &resets),
        ("streams that nobody reads", 5_000, &|n| ask(2 * n + 1)),
        ("settings", 20_000, &|_| frame(SETTINGS, 0, 0, &[])),
        ("pings", 50_000, &|_| frame(PING, 0, 0, &[0; 8])),
        ("a head without end", 5_000, &|n| match n {
            0 => frame(HEADERS, 1, 1, ASK),
            _ => frame(CONTINUATION, 0, 1, &[0x40, 1, b'a', 1, b'b'].repeat(200)),
        }),
        ("windows", 20_000, &|_| frame(8, 0, 0, &1_u32.to_be_bytes())),
        ("empty data", 20_000, &|n| if n == 0 { frame(HEADERS, 4, 1, ASK) } else { frame(0, 0, 1, &[]) }),
    ];
    std::thread::scope(|scope| {
        for (host, (name, times, flood)) in (1..).zip(&floods) {
            let secured = &secured;
            scope.spawn(move || {
                for _ in 0..3 {
                    let mut stream = secured.http2(host).expect("a newcomer is let in");
                    stream.sock.set_write_timeout(Some(Duration::from_secs(1))).expect("a socket option");
                    let written = (0..*times).find(|n| stream.write_all(&flood(*n)).is_err());
                    println!("{name}: {written:?} of {times} until it was closed or not read any more");
                }
            });
        }
        for _ in 0..40 {
            honest_round(&secured.exporter);
        }
    });
    honest.end(&secured.exporter, ());
    until_files(&secured.exporter, files + 2);
    assert!(!secured.exporter.log().contains("crashed"), "{}", secured.exporter.log());
}

#[test]
fn pages_that_nobody_reads_over_http2_take_bounded_memory() {
    let _turn = turns::take();
    let secured = Secured::start(None);
    let honest = secured.honest();
    let login = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "prometheus:geheim");
    let value = format!("Basic {login}");
    // `authorization` from the table of HPACK, its value written out.
    let field = [&[0x0f, 8, u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    let head = [ASK, &field].concat();
    let mut open = Vec::new();
    for n in 0..200_u32 {
        let mut stream = secured.http2(u8::try_from(n % 8).unwrap()).expect("a newcomer is let in");
        for n in 0..16 {
            stream.write_all(&frame(HEADERS, END_OF_STREAM_AND_HEAD, 2 * n + 1, &head)).expect("it fits");
        }
        open.push(stream);
        if n % 20 == 0 {
            honest_round(&secured.exporter);
        }
    }
    honest.end(&secured.exporter, open);
}
