//! The listener against clients that are not coturn: Redis' own tools, those who mean harm, those who do not listen,
//! and a Redis that is told the same.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};

use crate::common::models::traffic::Traffic;
use crate::common::net::certificates::Authority;
use crate::common::net::ports::Port;
use crate::common::net::statsdb::{Allocation, Statsdb, counters};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::command::{exporter as run, shell};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::listener::listening;
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;
use crate::common::turns;

const REALM: &str = "one.example";
const IN_REALM: [(&str, &str); 1] = [("realm", REALM)];
const CONNECTIONS: &str = "coturn_exporter_statsdb_connections";
const REFUSED: &str = "coturn_exporter_statsdb_refused_commands_total";
const MIB: u64 = 1 << 20;

const CALL: Traffic =
    Traffic { received_packets: 250, received_bytes: 43_000, sent_packets: 240, sent_bytes: 41_280 };

/// Waits until what the peers of the realm sent is this much, to the byte, and so many allocations are live.
#[track_caller]
fn until_told(exporter: &Exporter, calls: u64, live: u64) {
    let labels = [IN_REALM[0], ("leg", "peer"), ("direction", "received")];
    exporter.until_value("coturn_relayed_bytes_total", &labels, (calls * CALL.received_bytes) as f64);
    exporter.until("those that live", |page| match page.count("coturn_allocations", &IN_REALM) {
        seen if seen == live => Ok(()),
        seen => Err(seen.to_string()),
    });
}

/// A whole call.
fn call(statsdb: &mut Statsdb, id: u64) {
    let allocation = Allocation::new(REALM, "alice", id);
    statsdb.open(&allocation, 600);
    statsdb.report(&allocation, CALL, CALL);
    statsdb.close(&allocation, CALL, CALL);
}

#[test]
fn the_tools_of_redis_get_along_with_it() {
    let dir = TempDir::new("password");
    let file = dir.write("password", "secret\n").display().to_string();
    let (exporter, address) = listening(&["--statsdb.password-file", &file]);
    let port = address.port();
    let benchmark = shell(&format!("redis-benchmark -p {port} -a secret -t set,ping -n 20000 -c 20 -P 4 -q"));
    assert_eq!(benchmark.code, Some(0), "install redis-tools? {benchmark:?}");
    for test in ["PING_INLINE", "PING_MBULK", "SET"] {
        assert!(benchmark.stdout.contains(&format!("{test}: ")), "{benchmark:?}");
    }
    let ask = |password: &str, words: &str| {
        shell(&format!("REDISCLI_AUTH={password} redis-cli -p {port} {words}")).stdout.trim().to_owned()
    };
    assert_eq!(ask("secret", "PING"), "PONG");
    assert_eq!(ask("secret", "-3 PING"), "PONG");
    // Both as one who speaks RESP3 from the start, and as the tool that says if it may not.
    let hello = shell(&format!("redis-cli -3 -p {port} -a secret --no-auth-warning PING"));
    assert_eq!((hello.stdout.trim(), hello.stderr.as_str()), ("PONG", ""), "{hello:?}");
    assert_eq!(ask("secret", "SET a b"), "OK");
    assert_eq!(ask("secret", "KEYS '*'"), "");
    assert!(ask("secret", "INFO").contains("redis_version"));
    assert_eq!(ask("secret", "GET a"), "ERR unknown command 'GET'");
    assert!(ask("wrong", "PING").contains("NOAUTH"));
    let channel = Allocation::new(REALM, "alice", 1);
    let status = channel.status("new", 600);
    assert_eq!(ask("secret", &format!("PUBLISH {} '{status}'", channel.key())), "1");
    exporter.until_value("coturn_allocations_opened_total", &[IN_REALM[0], ("transport", "udp")], 1.0);
    // It hung up, and so would coturn that dies.
    until_told(&exporter, 0, 0);
    exporter.until("no connection", |page| match page.count(CONNECTIONS, &[]) {
        0 => Ok(()),
        some => Err(some.to_string()),
    });
    assert!(exporter.page().count(REFUSED, &[("reason", "unknown")]) >= 1);
    assert!(exporter.page().count(REFUSED, &[("reason", "login")]) >= 1);
}

/// What haproxy's `option tcp-check` sends to a Redis, in the order of its manual, and what it must find.
#[test]
fn a_health_check_of_a_load_balancer_finds_a_master() {
    let dir = TempDir::new("password");
    let file = dir.write("password", "secret\n").display().to_string();
    let (exporter, address) = listening(&["--statsdb.password-file", &file]);
    for _ in 0..3 {
        let mut check = TcpStream::connect(address).expect("it listens");
        check.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        let mut answers = Vec::new();
        for (line, found) in [
            ("AUTH secret", "+OK\r\n"),
            ("PING", "+PONG\r\n"),
            ("INFO replication", "\r\nrole:master\r\n"),
            ("QUIT", "+OK\r\n"),
        ] {
            check.write_all(format!("{line}\r\n").as_bytes()).expect("it is listened to");
            let begin = answers.len();
            while !String::from_utf8_lossy(&answers[begin..]).contains(found) {
                let mut some = [0; 512];
                let length = check.read(&mut some).expect("an answer in time");
                assert!(length > 0, "{line}: {:?}", String::from_utf8_lossy(&answers[begin..]));
                answers.extend_from_slice(&some[..length]);
            }
        }
        assert_eq!(check.read(&mut [0; 8]).expect("an end"), 0);
    }
    // A check is neither a coturn nor a stranger.
    let page = exporter.page();
    assert_eq!(page.value("coturn_exporter_statsdb_coturn_seen", &[]), Some(0.0));
    assert_eq!(page.value("coturn_exporter_statsdb_refused_clients", &[]), Some(0.0));
    assert_eq!(page.count(REFUSED, &[]), 0);
    assert_eq!(page.count("coturn_exporter_gaps_total", &[]), 0);
}

/// What a stranger may send: never of use, sometimes half, sometimes endless.
fn harm() -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut harm: Vec<Vec<u8>> = [
        &b"*3\r\n$7\r\nPUBLISH\r\n$1073741824\r\n"[..],
        b"*1073741824\r\n",
        b"*3\r\n$7\r\nPUBLISH\r\n$6\r\nturn/x\r\n$536870912\r\n",
        b"*3\r\n$7\r\nPUBLISH\r\n$6\r\ntur",
        b"*-5\r\n",
        b"$5\r\nhello\r\n",
        b"*1\r\n:5\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"*2\r\n$4\r\nPING\r\n*2\r\n",
    ]
    .map(<[u8]>::to_vec)
    .into();
    harm.push(
        [&b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nx\r\n$50000000\r\n"[..], &vec![b'7'; 50_000_000], b"\r\n"].concat(),
    );
    harm.push(vec![b'x'; 1_000_000]);
    harm.push(b"*1\r\n$4\r\nKEYS\r\n".repeat(10_000));
    harm.extend((0..200).map(|_| (0..random.usize(1..2_000)).map(|_| random.u8(..)).collect()));
    harm
}

#[test]
fn harm_is_refused_and_the_honest_are_counted() {
    let (exporter, address) = listening(&[]);
    let mut honest = Statsdb::at(address);
    call(&mut honest, 1);
    let open = Allocation::new(REALM, "bob", 1);
    honest.open(&open, 600);
    let harm = harm();
    let mut left_open = Vec::new();
    for (number, bytes) in harm.iter().enumerate() {
        let mut stream = TcpStream::connect(address).expect("it listens");
        // It may well be closed in the middle.
        drop(stream.write_all(bytes));
        if number % 2 == 0 {
            drop(stream.shutdown(Shutdown::Write));
        } else {
            left_open.push(stream);
        }
    }
    call(&mut honest, 2);
    until_told(&exporter, 2, 1);
    for reason in ["malformed", "too_long", "unknown"] {
        exporter.until(reason, |page| match page.count(REFUSED, &[("reason", reason)]) {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        });
    }
    let page = exporter.page();
    assert_eq!(page.count("coturn_allocations_closed_total", &[IN_REALM[0], ("cause", "abandoned")]), 0);
    let peak = exporter.peak_memory() / MIB;
    assert!(peak < 64, "{peak} MiB");
}

#[test]
fn ten_thousand_connections_are_too_many_and_do_no_harm() {
    const MANY: usize = 10_000;
    const ROOM: usize = 600;
    let _turn = turns::take();
    allow_files(MANY as u64 + 2_000);
    let (exporter, address) = listening(&["--statsdb.max-connections", "600"]);
    let mut honest = Statsdb::at(address);
    call(&mut honest, 1);
    let many: Vec<TcpStream> = (0..MANY).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    exporter.until("those without room to be turned away", |page| {
        let away = page.count("coturn_exporter_statsdb_refused_connections_total", &[]);
        if away > (MANY - ROOM) as u64 { Ok(()) } else { Err(away.to_string()) }
    });
    assert!(exporter.page().count(CONNECTIONS, &[]) <= ROOM as u64);
    call(&mut honest, 2);
    until_told(&exporter, 2, 0);
    let peak = exporter.peak_memory() / MIB;
    assert!(peak < 128, "{peak} MiB");
    drop(many);
    exporter.until("room again", |page| match page.count(CONNECTIONS, &[]) {
        1 => Ok(()),
        some => Err(some.to_string()),
    });
    call(&mut Statsdb::at(address), 3);
    until_told(&exporter, 3, 0);
}

/// Raises this process' limit of open files.
fn allow_files(count: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < count) {
        assert!(maximum.is_none_or(|most| most >= count), "at most {maximum:?} open files; raise ulimit -Hn");
        setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum }).expect("below the maximum");
    }
}

/// coturn that had to connect again reads no answers any more.
#[test]
fn one_who_reads_no_answers_is_listened_to_all_the_same() {
    let (exporter, address) = listening(&[]);
    let mut deaf = TcpStream::connect(address).expect("it listens");
    deaf.set_write_timeout(Some(PATIENCE)).expect("a socket option");
    let mut echo = b"*2\r\n$4\r\nECHO\r\n$3000\r\n".to_vec();
    echo.extend(vec![b'7'; 3_000]);
    echo.extend_from_slice(b"\r\n");
    // Far more than all buffers on the way hold.
    for _ in 0..20_000 {
        deaf.write_all(&echo).expect("it is listened to");
    }
    let allocation = Allocation::new(REALM, "alice", 1);
    let mut publish = Vec::new();
    for (kind, payload) in [("status", allocation.status("new", 600)), ("traffic/peer", counters(CALL))] {
        let channel = allocation.channel(kind);
        let parts = [b"PUBLISH", channel.as_bytes(), payload.as_bytes()];
        coturn_exporter::resp::command(&mut publish, &parts);
    }
    deaf.write_all(&publish).expect("it is listened to");
    until_told(&exporter, 1, 1);
    let peak = exporter.peak_memory() / MIB;
    assert!(peak < 64, "{peak} MiB");
    drop(deaf);
    until_told(&exporter, 1, 0);
}

#[test]
fn tls_is_spoken_where_there_is_a_certificate() {
    let ca = Authority::new("statsdb CA");
    let pair = ca.issue("server", &["127.0.0.1", "localhost"]);
    let (cert, key) = (pair.cert_file.display().to_string(), pair.key_file.display().to_string());
    let (exporter, address) = listening(&["--statsdb.tls-cert-file", &cert, "--statsdb.tls-key-file", &key]);
    let allocation = Allocation::new(REALM, "alice", 1);
    let ask = |options: &str| {
        let (port, ca) = (address.port(), ca.cert_file.display());
        let words = format!("PUBLISH {} '{}'", allocation.key(), allocation.status("new", 600));
        shell(&format!("redis-cli -h localhost -p {port} {} {words}", options.replace("CA", &ca.to_string())))
    };
    assert_eq!(ask("--tls --cacert CA").stdout.trim(), "1");
    exporter.until_value("coturn_allocations_opened_total", &[IN_REALM[0], ("transport", "udp")], 1.0);
    // Without TLS it is no talk at all.
    assert_ne!(ask("").stdout.trim(), "1");
    assert_eq!(exporter.page().count("coturn_allocations_opened_total", &IN_REALM), 1);
}

#[test]
fn who_may_listen_where_is_asked_before_anything_else() {
    for (args, says) in [
        (vec!["--statsdb.listen-address", "0.0.0.0:0"], "can be reached from other hosts"),
        (vec!["--statsdb.password-file", "x"], "without --statsdb.listen-address it has no effect"),
        (vec!["--statsdb.listen-address", "127.0.0.1:0", "--statsdb.tls-cert-file", "x"], "come together"),
    ] {
        let refused = run(&args);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(says), "{refused:?}");
    }
    let exporter = Exporter::start(&["--statsdb.listen-address", "0.0.0.0:0", "--statsdb.open"]);
    // No Redis was asked for, so none is watched.
    exporter.wait_ready();
    assert_eq!(exporter.page().label_values("coturn_exporter_source_up", "source").len(), 1);
}

/// coturn's line has `ip=127.0.0.1`, whatever the name of this host resolves to first.
#[test]
fn a_name_and_a_bare_port_are_listened_to_on_both_families() {
    let has_ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    let port = Port::claim();
    let everywhere = format!(":{}", port.number);
    let name = format!("localhost:{}", port.number);
    let named: Vec<SocketAddr> = name.to_socket_addrs().expect("localhost has an address").collect();
    for (args, reached) in [
        (vec!["--statsdb.listen-address", &name], named),
        (
            vec!["--statsdb.listen-address", &everywhere, "--statsdb.open"],
            vec![([127, 0, 0, 1], port.number).into(), (Ipv6Addr::LOCALHOST, port.number).into()],
        ),
    ] {
        let exporter = Exporter::start(&args);
        exporter.wait_ready();
        for address in reached.into_iter().filter(|address| address.is_ipv4() || has_ipv6) {
            call(&mut Statsdb::at(address), 1);
        }
        drop(exporter);
    }
}

#[test]
fn a_redis_is_told_the_same_and_holds_nobody_up() {
    let mut redis = Redis::start();
    let url = redis.url(2);
    let (exporter, address) = listening(&["--statsdb.forward-url", &url]);
    exporter.until_value("coturn_exporter_statsdb_forward_up", &[], 1.0);
    // Others who read there: here another exporter.
    let reader = Exporter::watching(&url);
    let mut coturn = Statsdb::at(address);
    call(&mut coturn, 1);
    let open = Allocation::new(REALM, "bob", 1);
    coturn.open(&open, 600);
    until_told(&exporter, 1, 1);
    until_told(&reader, 1, 1);
    let value: String = redis::cmd("GET").arg(open.key()).query(&mut redis.connect(2)).expect("GET");
    assert_eq!(value, open.status("new", 600));

    redis.freeze();
    // Nothing to count, but to be passed on: more than is kept, and than the system keeps.
    let mut filler = Vec::new();
    let nothing = open.channel("traffic");
    for _ in 0..1_000 {
        coturn_exporter::resp::command(&mut filler, &[b"PUBLISH", nothing.as_bytes(), &[b'7'; 200]]);
    }
    let mut stream = TcpStream::connect(address).expect("it listens");
    for _ in 0..100 {
        stream.write_all(&filler).expect("it is listened to");
        stream.read_exact(&mut [0; 4_000]).expect("an answer of four bytes for each");
    }
    exporter.until("something to be thrown away", |page| {
        match page.count("coturn_exporter_statsdb_forward_dropped_commands_total", &[]) {
            0 => Err("nothing".to_owned()),
            _ => Ok(()),
        }
    });
    call(&mut coturn, 2);
    until_told(&exporter, 2, 1);
    redis.thaw();
    redis.kill();
    exporter.until_value("coturn_exporter_statsdb_forward_up", &[], 0.0);
    call(&mut coturn, 3);
    until_told(&exporter, 3, 1);
    assert_eq!(exporter.page().count("coturn_exporter_gaps_total", &[]), 0);

    redis.start_again();
    exporter.until_value("coturn_exporter_statsdb_forward_up", &[], 1.0);
    coturn.refresh(&open, 600);
    poll::until(PATIENCE, "the key to be there again", || {
        let value: Option<String> = redis::cmd("GET")
            .arg(open.key())
            .query(&mut redis.connect(2))
            .map_err(|error| error.to_string())?;
        value.map(drop).ok_or_else(|| "no key".to_owned())
    });
    let page = exporter.page();
    assert!(page.count("coturn_exporter_statsdb_forwarded_commands_total", &[]) > 0);
    // It has counted all of it itself.
    assert!(page.has_family("coturn_exporter_dropped_messages_total"));
    assert_eq!(page.count("coturn_exporter_dropped_messages_total", &[]), 0);
}

#[test]
fn half_of_a_command_is_none() {
    let (exporter, address) = listening(&[]);
    let allocation = Allocation::new(REALM, "alice", 1);
    let mut bytes = Vec::new();
    let (channel, status) = (allocation.key(), allocation.status("new", 600));
    let parts = [&b"publish"[..], channel.as_bytes(), status.as_bytes()];
    coturn_exporter::resp::command(&mut bytes, &parts);
    say(address, &bytes[..bytes.len() - 1]);
    let mut answer = say(address, &bytes);
    assert_eq!(answer.split_off(answer.len().min(4)), "");
    assert_eq!(answer, ":1\r\n");
    exporter.until("one birth", |page| match page.count("coturn_allocations_opened_total", &IN_REALM) {
        1 => Ok(()),
        other => Err(other.to_string()),
    });
    until_told(&exporter, 0, 0);
}

/// Says it, and gives what is answered up to the end.
fn say(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    stream.write_all(bytes).expect("it is listened to");
    stream.shutdown(Shutdown::Write).expect("a socket");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an end");
    answer
}
