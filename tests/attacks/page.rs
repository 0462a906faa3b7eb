//! Attacks on the page over real sockets, each bounded, each beside an honest scraper that connects anew each time and must
//! be answered every time.
//!
//! Attackers come from other loopback addresses than the scraper.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use super::honest::{Honest, MOST_MEMORY};
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::PATIENCE;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::listener::listening;
use crate::common::turns;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

pub(super) const REFUSALS: &str = "coturn_exporter_http_refusals_total";

/// A connection from an address of its own choice that reads no faster than it must.
pub(super) fn attacker(address: SocketAddr, from: Ipv4Addr) -> TcpStream {
    let SocketAddr::V4(address) = address else { panic!("an IPv4 address: {address}") };
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    set_socket_recv_buffer_size(&socket, 4096).expect("a socket option");
    bind(&socket, &SocketAddrV4::new(from, 0)).expect("all of 127.0.0.0/8 is here");
    connect(&socket, &address).expect("it listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    stream.set_write_timeout(Some(PATIENCE)).expect("a socket option");
    stream
}

/// What an honest scraper, and the probes of a supervisor, do each time.
#[track_caller]
pub(super) fn honest_round(exporter: &Exporter) -> usize {
    let page = exporter.get("/metrics").expect("a scrape is answered");
    assert_eq!(page.status, 200, "{}", page.body);
    assert_eq!(exporter.status("/-/healthy"), 200);
    assert_eq!(exporter.status("/-/ready"), 200);
    page.body.len()
}

/// Waits until so many allocations of the realm are live.
#[track_caller]
fn until_live(exporter: &Exporter, realm: &str, wanted: u64) {
    exporter.until("those that live", |page| match page.count("coturn_allocations", &[("realm", realm)]) {
        live if live == wanted => Ok(()),
        live => Err(live.to_string()),
    });
}

/// Realms that have their series from the start make the page large.
fn with_realms(count: usize) -> (Exporter, SocketAddr) {
    // One more for the honest coturn.
    let max = format!("--metrics.max-realms={}", count + 1);
    let realms: Vec<String> = (0..count).map(|n| format!("--metrics.realm=realm{n}.example")).collect();
    let args: Vec<&str> = [max.as_str()].into_iter().chain(realms.iter().map(String::as_str)).collect();
    listening(&args)
}

#[test]
fn idle_and_half_asked_connections_shut_nobody_out() {
    const MANY: u8 = 6;
    let (exporter, statsdb) = listening(&[]);
    let honest = Honest::begin(&exporter, statsdb, None);
    let mut open = Vec::new();
    // 768 from six addresses, in turn silent, half-asked and idle: more than there is room for.
    for n in 0..128 {
        for from in 0..MANY {
            let mut stream = attacker(exporter.address, Ipv4Addr::new(127, 0, 1, from));
            // One that was closed meanwhile has been noticed.
            let _ = match n % 3 {
                0 => Ok(()),
                1 => stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "),
                _ => stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"),
            };
            open.push(stream);
        }
    }
    for _ in 0..20 {
        honest_round(&exporter);
        // The attack goes on: whoever was closed comes again.
        for from in 0..MANY {
            open.push(attacker(exporter.address, Ipv4Addr::new(127, 0, 1, from)));
        }
    }
    honest.end(&exporter, open);
    let page = exporter.page();
    let gave_way = page.count(REFUSALS, &[("reason", "connection_limit")]);
    assert!(gave_way >= 768 - 512, "{gave_way} gave way");
    let lines = exporter.log().lines().filter(|line| line.contains("too many connections")).count();
    assert_eq!(lines, 1, "once, not for each:\n{}", exporter.log());
}

#[test]
fn one_address_takes_no_more_than_its_share() {
    let (exporter, statsdb) = listening(&[]);
    let honest = Honest::begin(&exporter, statsdb, None);
    let greedy: Vec<TcpStream> =
        (0..200).map(|_| attacker(exporter.address, Ipv4Addr::new(127, 0, 1, 1))).collect();
    honest_round(&exporter);
    exporter.until_value(REFUSALS, &[("reason", "address_limit")], 200.0 - 128.0);
    honest.end(&exporter, greedy);
}

#[test]
fn sixty_gzip_clients_at_once_leave_the_scraper_its_turn() {
    const CLIENTS: u8 = 60;
    let _turn = turns::take();
    let (exporter, statsdb) = with_realms(100);
    let honest = Honest::begin(&exporter, statsdb, None);
    let address = exporter.address;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for n in 0..CLIENTS {
            let stop = &stop;
            scope.spawn(move || {
                // At most so many; the scraper is done long before.
                for _ in 0..500 {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let mut stream = attacker(address, Ipv4Addr::new(127, 0, 1, 1 + n % 4));
                    let ask = b"GET /metrics HTTP/1.0\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n";
                    let mut answer = Vec::new();
                    let _ = stream.write_all(ask).and_then(|()| stream.read_to_end(&mut answer));
                }
            });
        }
        let rounds: Vec<_> = (0..14)
            .map(|_| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| honest_round(&exporter))))
            .collect();
        stop.store(true, Ordering::Relaxed);
        let answered = rounds.iter().filter(|round| round.is_ok()).count();
        assert_eq!(answered, rounds.len(), "every scrape is answered");
    });
    honest.end(&exporter, ());
    assert_eq!(exporter.page().count(REFUSALS, &[("reason", "busy")]), 0);
}

#[test]
fn sixty_answers_that_nobody_reads_take_bounded_memory() {
    const UNREAD: usize = 60;
    let _turn = turns::take();
    let (exporter, statsdb) = with_realms(250);
    let page = honest_round(&exporter);
    let honest = Honest::begin(&exporter, statsdb, None);
    assert!((page * UNREAD) as u64 > 2 * MOST_MEMORY, "{page} bytes: too little to show anything");
    let mut unread = Vec::new();
    for n in 0..UNREAD {
        let mut stream = attacker(exporter.address, Ipv4Addr::new(127, 0, 1, 1));
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request fits");
        // Begun, so that the next one gets a rendering of its own.
        assert!(stream.peek(&mut [0]).expect("an answer begins") > 0);
        unread.push(stream);
        if n % 6 == 0 {
            honest_round(&exporter);
        }
    }
    let cut_off = exporter.page().count(REFUSALS, &[("reason", "unsent_limit")]);
    assert!(cut_off > 0, "the slowest are cut off");
    let lines = exporter.log().lines().filter(|line| line.contains("clients do not read the page")).count();
    assert_eq!(lines, 1, "{}", exporter.log());
    honest.end(&exporter, unread);
    honest_round(&exporter);
}

#[test]
fn names_without_end_do_not_make_the_page_large() {
    let (exporter, statsdb) = listening(&[]);
    let before = honest_round(&exporter);
    let honest = Honest::begin(&exporter, statsdb, None);
    let mut coturn = Statsdb::at(statsdb);
    for n in 0..100_u64 {
        // U+FFFD takes three bytes on the page for each of these.
        let mut channel = b"turn/realm/".to_vec();
        channel.extend(std::iter::repeat_n(0xff, 930));
        channel.extend(format!("{n:03}/user/u/allocation/{n:018}/status").bytes());
        coturn.tell(&channel, "new lifetime=600");
    }
    coturn.open(&Allocation::new("one.example", "alice", 1000), 600);
    until_live(&exporter, "_other", 100);
    honest.end(&exporter, ());
    let grown = honest_round(&exporter) - before;
    // Three more realms, each of which takes some 20 KiB.
    assert!(grown < 128 << 10, "the page grew by {grown} bytes");
    assert_eq!(
        exporter.page().count("coturn_exporter_folded_label_values_total", &[("label", "realm")]),
        100
    );
}

#[test]
fn another_name_in_host_reads_no_details() {
    let (exporter, statsdb) = listening(&["--web.enable-details", "--web.details-host=Turn.example"]);
    Statsdb::at(statsdb).open(&Allocation::new("one.example", "alice", 1), 600);
    until_live(&exporter, "one.example", 1);
    let ask = |host: &str, path: &str| {
        let mut stream = attacker(exporter.address, Ipv4Addr::new(127, 0, 1, 1));
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").expect("a request fits");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let port = exporter.address.port();
    for (host, served) in [
        (format!("evil.example:{port}"), false),
        ("127.0.0.1.evil.example".to_owned(), false),
        (format!("127.0.0.1:{port}"), true),
        ("localhost".to_owned(), true),
        ("[::1]".to_owned(), true),
        ("turn.EXAMPLE:80".to_owned(), true),
    ] {
        for path in [
            "/allocations",
            "/sessions",
            "/api/v1/allocations",
            "/api/v1/sessions",
            "/api/v1/allocations.csv",
        ] {
            let answer = ask(&host, path);
            assert_eq!(answer.contains("alice"), served, "{host} {path}: {answer}");
            assert_eq!(answer.contains("--web.details-host"), !served, "{host} {path}: {answer}");
            assert!(answer.contains("frame-ancestors 'none'"), "{answer}");
        }
        assert!(ask(&host, "/metrics").starts_with("HTTP/1.0 200"), "{host}");
        honest_round(&exporter);
    }
    assert_eq!(exporter.page().count(REFUSALS, &[("reason", "host")]), 10);
}

#[test]
fn at_the_limit_of_open_files_each_server_keeps_its_share() {
    const LIMIT: u32 = 300;
    let _turn = turns::take();
    let args = ["--statsdb.listen-address", "127.0.0.1:0"];
    let exporter = Exporter::start_with_few_files(LIMIT, &args);
    let line = exporter.until_logged(&["limit of open files is too low", "needed=1664"]);
    assert!(line.contains("limit=300"), "{line}");
    let line = exporter.until_logged(&["waiting for coturn", "statsdb="]);
    let (_, statsdb) = line.split_once("statsdb=").expect("as waited for");
    let statsdb: SocketAddr = statsdb
        .split_whitespace()
        .next()
        .and_then(|text| text.trim_matches('"').parse().ok())
        .expect("an address");
    let honest = Honest::begin(&exporter, statsdb, None);
    // From several threads: faster than those that give way can end.
    let attackers: Vec<_> = [statsdb, exporter.address].repeat(2).into_iter().zip(1..).collect();
    let mut open: Vec<TcpStream> = std::thread::scope(|scope| {
        let all = attackers.iter().map(|&(server, host)| {
            scope.spawn(move || -> Vec<_> {
                (0..2 * LIMIT).map(|_| attacker(server, Ipv4Addr::new(127, 0, 1, host))).collect()
            })
        });
        let all: Vec<_> = all.collect();
        all.into_iter().flat_map(|thread| thread.join().expect("it connects")).collect()
    });
    for _ in 0..20 {
        honest_round(&exporter);
        open.push(attacker(statsdb, Ipv4Addr::new(127, 0, 1, 1)));
        open.push(attacker(exporter.address, Ipv4Addr::new(127, 0, 1, 2)));
    }
    assert!(exporter.page().value("process_open_fds", &[]).expect("it is Linux") < f64::from(LIMIT));
    assert!(!exporter.log().contains("cannot accept connections"), "{}", exporter.log());
    honest.end(&exporter, open);
    exporter.until_value("coturn_exporter_statsdb_connections", &[], 0.0);
    Statsdb::at(statsdb).open(&Allocation::new("r", "u", 1), 600);
    until_live(&exporter, "r", 1);
}

/// Every connection that ends lets one in; the next fails again.
#[test]
fn accepting_at_the_limit_of_open_files_is_said_once() {
    let (exporter, _) = listening(&[]);
    honest_round(&exporter);
    let files = std::fs::read_dir(format!("/proc/{}/fd", exporter.process_id())).expect("it runs").count();
    // So that two or three connections have room.
    exporter.limit_open_files(files as u64 + 3);
    for _ in 0..50 {
        let open: Vec<TcpStream> =
            (0..6).map(|_| attacker(exporter.address, Ipv4Addr::new(127, 0, 1, 1))).collect();
        drop(open);
        assert_eq!(exporter.status("/-/healthy"), 200);
    }
    let log = exporter.log();
    let lines =
        log.lines().filter(|line| line.contains("accept connections") || line.contains("accepting")).count();
    assert_eq!(lines, 1, "once, not for each connection:\n{log}");
}
