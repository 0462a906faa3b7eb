//! Attacks on the listener for coturn, bounded in number and time. During each an honest coturn reports over a connection
//! of its own and comes with new ones, and an honest scraper opens a connection for each page: both get on with it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};

use super::honest::{Honest, MIB, MOST_MEMORY};
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::listener::listening;
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;
use crate::common::turns;
use redis::io::tcp::socket2::{Domain, Socket, Type};

const REFUSED_COMMANDS: &str = "coturn_exporter_statsdb_refused_commands_total";
const REFUSED_CONNECTIONS: &str = "coturn_exporter_statsdb_refused_connections_total";

fn until_counted(exporter: &Exporter, name: &str, reason: &str, least: u64) {
    exporter.until(&format!("{least} of {reason}"), |page| match page.count(name, &[("reason", reason)]) {
        count if count >= least => Ok(()),
        count => Err(count.to_string()),
    });
}

/// A connection that comes from that address of this host.
fn connect_from(host: [u8; 2], address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((Ipv4Addr::new(127, 0, host[0], host[1]), 0)).into())
        .expect("all of 127/8 is ours");
    socket.connect(&address.into()).expect("it listens");
    socket.into()
}

/// Sends bytes and reads to the end, which must come; gives what was answered.
fn say(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    say_over(TcpStream::connect(address).expect("it listens"), bytes)
}

fn say_over(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    // It may well be closed in the middle.
    drop(stream.write_all(bytes));
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "no end");
    }
    answer
}

/// The message of a birth.
fn birth(allocation: &Allocation) -> Vec<u8> {
    let (key, status) = (allocation.key(), allocation.status("new", 3600));
    let mut bytes = Vec::new();
    coturn_exporter::resp::command(&mut bytes, &[b"PUBLISH", key.as_bytes(), status.as_bytes()]);
    bytes
}

fn secret(dir: &TempDir) -> String {
    dir.write("password", "secret\n").display().to_string()
}

/// What a web page can make a browser send to a port of the host on which it runs: a POST of any text, and over
/// `turn:127.0.0.1:PORT?transport=tcp` a message of TURN.
#[test]
fn a_web_page_has_no_command_run() {
    const TRIES: u64 = 200;
    let redis = Redis::start();
    let (exporter, address) = listening(&["--statsdb.forward-url", &redis.url(0)]);
    exporter.until_value("coturn_exporter_statsdb_forward_up", &[], 1.0);
    let honest = Honest::begin(&exporter, address, None);
    let evil = Allocation::new("evil.example", "mallory", 7);
    let mut body = Vec::new();
    for (command, payload) in [("SET", evil.status("new", 600)), ("PUBLISH", evil.status("new", 600))] {
        coturn_exporter::resp::command(
            &mut body,
            &[command.as_bytes(), evil.key().as_bytes(), payload.as_bytes()],
        );
    }
    body.extend_from_slice(
        format!(
            "PUBLISH {} rcvp=1,rcvb=18446744073709551615,sentp=1,sentb=1\r\n",
            evil.channel("traffic/peer")
        )
        .as_bytes(),
    );
    let turn = b"\x00\x03\x00\x08\x21\x12\xa4\x42 0123456789ab\r\n";
    for number in 0..TRIES {
        let head = match number % 4 {
            0 => format!("POST / HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n", body.len())
                .into_bytes(),
            // As behind a proxy that eats the request line, and as another method that needs no leave.
            1 => format!("PING\r\nHost: {address}\r\n\r\n").into_bytes(),
            2 => format!("PUT / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes(),
            _ => turn.to_vec(),
        };
        let answer = say(address, &[&head[..], &body].concat());
        assert!(answer.len() < 128, "{}", answer.escape_ascii());
    }
    honest.end(&exporter, ());
    let page = exporter.page();
    assert_eq!(page.count(REFUSED_COMMANDS, &[("reason", "attack")]), TRIES / 2);
    assert_eq!(page.count(REFUSED_COMMANDS, &[("reason", "unknown")]), TRIES / 2);
    assert!(!page.label_values("coturn_allocations", "realm").contains("evil.example"), "it was run");
    let keys: Vec<String> = redis::cmd("KEYS").arg("*evil*").query(&mut redis.connect(0)).expect("KEYS");
    assert!(keys.is_empty(), "{keys:?}");
    // One line, not two hundred.
    let line = exporter.until_logged(&["a client that is no coturn was cut off"]);
    assert!(line.contains("peer=127.0.0.1") && line.contains("protocol=HTTP"), "{line}");
    assert_eq!(exporter.log().matches("is no coturn").count(), 1);
}

#[test]
fn answers_that_are_not_read_take_no_memory_before_the_password() {
    const TRIES: usize = 64;
    let dir = TempDir::new("password");
    let (exporter, address) = listening(&["--statsdb.password-file", &secret(&dir)]);
    let honest = Honest::begin(&exporter, address, Some("secret"));
    // Each answer is six times as long as the question.
    let pings = b"PING\r\n".repeat(10_000);
    for _ in 0..TRIES {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket option");
        // 64 MB at most, and nothing is read.
        let is_cut_off = (0..1_000).any(|_| stream.write_all(&pings).is_err());
        assert!(is_cut_off, "it goes on and on");
    }
    until_counted(&exporter, REFUSED_CONNECTIONS, "unread", 1);
    honest.end(&exporter, ());
}

/// All places are taken by clients that have said a first command. None of them reads its answers, and each leaves a
/// command half said.
#[test]
fn a_thousand_clients_that_read_nothing_take_bounded_memory() {
    const CLIENTS: usize = 1000;
    let (exporter, address) = listening(&[]);
    let half = [b"*2\r\n$4\r\nECHO\r\n$4000\r\n", &[b'7'; 4_000][..]].concat();
    // More answers than the system keeps of them here and there.
    let questions = [&half[..], b"\r\n"].concat().repeat(120);
    let idle = exporter.peak_memory();
    // Their buffers are too small for glibc to give them all back. It must use them again: the bound is that of both.
    for _ in 0..2 {
        let honest = Honest::begin(&exporter, address, None).may_keep(MOST_MEMORY);
        let mut open = Vec::new();
        for _ in 0..CLIENTS {
            let mut stream = connect_from([0, 2], address);
            Socket::from(stream.try_clone().expect("a handle"))
                .set_recv_buffer_size(4096)
                .expect("a socket option");
            stream.set_write_timeout(Some(PATIENCE)).expect("a socket option");
            stream.write_all(b"PING\r\n").expect("it is read");
            stream.read_exact(&mut [0; 7]).expect("an answer");
            stream.write_all(&questions).and_then(|()| stream.write_all(&half)).expect("all of it is read");
            open.push(stream);
        }
        exporter.until_value("coturn_exporter_statsdb_connections", &[], (CLIENTS + 1) as f64);
        honest.end(&exporter, open);
        exporter.until_value("coturn_exporter_statsdb_connections", &[], 0.0);
    }
    let grown = exporter.peak_memory() - idle;
    assert!(grown < MOST_MEMORY, "{} MiB", grown / MIB);
}

/// More than there is room for, from one address and from many, with a password and without.
#[test]
fn silent_connections_lock_nobody_out() {
    let _turn = turns::take();
    let dir = TempDir::new("password");
    let file = secret(&dir);
    for password in [Some("secret"), None] {
        let flags = if password.is_some() { vec!["--statsdb.password-file", &file] } else { vec![] };
        let (exporter, address) = listening(&flags);
        let honest = Honest::begin(&exporter, address, password);
        let mut silent = Vec::new();
        for host in [2, 3, 4, 5, 6, 7, 8, 9, 10, 11] {
            for number in 0..150 {
                let mut stream = connect_from([0, host], address);
                // Half of them begin to say something.
                if number % 2 == 0 {
                    drop(stream.write_all(b"*2\r\n$4\r\nAUTH\r\n$4000\r\n"));
                }
                silent.push(stream);
            }
        }
        until_counted(&exporter, REFUSED_CONNECTIONS, "gave_way", silent.len() as u64 - 1024);
        // The others stay ten seconds, and no longer.
        exporter.until("all silent connections to be gone", |page| {
            let closed =
                ["gave_way", "silent"].map(|reason| page.count(REFUSED_CONNECTIONS, &[("reason", reason)]));
            if closed.iter().sum::<u64>() >= silent.len() as u64 {
                Ok(())
            } else {
                Err(format!("{closed:?}"))
            }
        });
        honest.end(&exporter, silent);
        let page = exporter.page();
        assert_eq!(page.count(REFUSED_CONNECTIONS, &[("reason", "full")]), 0, "nobody was turned away");
        let lines = exporter.log().matches("connections that do not log in").count();
        assert_eq!(lines, 10, "one for each address");
    }
}

#[test]
fn guesses_of_the_password_take_a_second_each() {
    const CONNECTIONS: u64 = 20;
    let dir = TempDir::new("password");
    let (exporter, address) = listening(&["--statsdb.password-file", &secret(&dir)]);
    let honest = Honest::begin(&exporter, address, Some("secret"));
    let guesses: Vec<u8> =
        (0..1_000).flat_map(|guess| format!("AUTH guess{guess}\r\n").into_bytes()).collect();
    let guessing: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let guesses = guesses.clone();
            std::thread::spawn(move || say_over(connect_from([0, 2], address), &guesses))
        })
        .collect();
    // Ten seconds each: by then they should have logged in.
    for thread in guessing {
        thread.join().expect("an end");
    }
    honest.end(&exporter, ());
    let looked_at = exporter.page().count(REFUSED_COMMANDS, &[("reason", "password")]);
    assert!((CONNECTIONS..=11 * CONNECTIONS).contains(&looked_at), "{looked_at} guesses");
    assert_eq!(exporter.page().count("coturn_exporter_statsdb_refused_clients", &[]), 1);
}

/// Whoever may speak to the listener may not run commands on the Redis behind it.
#[test]
fn forwarding_runs_no_command_of_others_and_loses_none_of_coturns() {
    const TRIES: u64 = 100;
    let redis = Redis::start();
    let mut there = redis.connect(0);
    for key in ["secret", "turn/secret"] {
        redis::cmd("SET").arg(key).arg("of others").query::<()>(&mut there).expect("SET");
    }
    let (exporter, address) = listening(&["--statsdb.forward-url", &redis.url(0)]);
    exporter.until_value("coturn_exporter_statsdb_forward_up", &[], 1.0);
    let idle = exporter.peak_memory();
    let honest = Honest::begin(&exporter, address, None);
    let key = Allocation::new("evil.example", "mallory", 7).key();
    let status = "new lifetime=600";
    let lines = [
        "SET secret mine".to_owned(),
        "DEL secret".to_owned(),
        "DEL turn/secret".to_owned(),
        format!("DEL {key} secret"),
        format!("SET {key} {status}"),
        format!("SET {key}x new"),
        "PUBLISH secret mine".to_owned(),
        // Redis finds no end of this line's quotes, and hangs up on whoever says it.
        "SET \"secret mine".to_owned(),
    ];
    for _ in 0..TRIES {
        let mut text = lines.join("\r\n");
        text.push_str("\r\nQUIT\r\n");
        let answer = say(address, text.as_bytes());
        assert!(answer.ends_with(b"+OK\r\n"), "{}", answer.escape_ascii());
    }
    honest.end(&exporter, ());
    for key in ["secret", "turn/secret"] {
        let value: String = redis::cmd("GET").arg(key).query(&mut there).expect("GET");
        assert_eq!(value, "of others");
    }
    exporter.until_value(
        "coturn_exporter_statsdb_forward_withheld_commands_total",
        &[],
        (TRIES * lines.len() as u64) as f64,
    );
    assert!(!exporter.log().contains("not forwarding"), "{}", exporter.log());

    // It refuses what takes memory: each such command is lost there, and nothing else is.
    redis.run(&["CONFIG", "SET", "maxmemory", "1"]);
    let before = redis.rejected_calls("set");
    let mut coturn = Statsdb::at(address);
    let open: Vec<Allocation> = (1..=11).map(|id| Allocation::new("honest.example", "bob", id)).collect();
    for allocation in &open {
        coturn.open(allocation, 600);
    }
    exporter.until_value("coturn_exporter_statsdb_forward_dropped_commands_total", &[], 11.0);
    assert_eq!(redis.rejected_calls("set") - before, 11);
    redis.run(&["CONFIG", "SET", "maxmemory", "0"]);
    for allocation in &open {
        coturn.refresh(allocation, 600);
    }
    poll::until(PATIENCE, "all keys to be there", || {
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg("turn/realm/honest.example/user/bob/*")
            .query(&mut there)
            .map_err(|error| error.to_string())?;
        if keys.len() == 11 { Ok(()) } else { Err(keys.len().to_string()) }
    });
    let page = exporter.page();
    assert_eq!(page.count("coturn_exporter_statsdb_forward_dropped_commands_total", &[]), 11);
    assert_eq!(exporter.log().matches("refuses a command").count(), 1);
    assert!(!exporter.log().contains("not forwarding"), "{}", exporter.log());
    assert!(exporter.peak_memory() - idle < MOST_MEMORY);
}

/// Connections that report something and end in garbage: what the honest coturn holds is judged as if they did not exist.
#[test]
fn a_connection_that_ends_in_garbage_is_a_gap_of_its_own() {
    const IDLE: u64 = 50;
    const MOST: u64 = 400;
    let flags = ["--allocation.max-lifetime", "5s", "--allocation.idle-after", "5s"];
    let (exporter, address) = listening(&flags);
    let honest = Honest::begin(&exporter, address, None);
    let mut coturn = Statsdb::at(address);
    let idle: Vec<Allocation> =
        (1..=IDLE).map(|id| Allocation::new("idle.example", &format!("user{id}"), id)).collect();
    let mut tries = 0;
    let labels = [("realm", "idle.example"), ("reason", "idle")];
    for allocation in &idle {
        coturn.open(allocation, 600);
    }
    // It goes on for as long as nobody is seen to be idle, but not for ever.
    while exporter.page().count("coturn_orphaned_allocations", &labels) < IDLE {
        tries += 1;
        assert!(tries < MOST, "{tries} connections, and idle allocations are not seen");
        let evil = Allocation::new("evil.example", "mallory", tries);
        let mut bytes = birth(&evil);
        bytes.extend_from_slice(b"*1\r\n$-7\r\n");
        say(address, &bytes);
        poll::pause();
    }
    honest.end(&exporter, ());
    assert!(
        exporter.page().count("coturn_exporter_gaps_total", &[]) >= tries,
        "of each something may be missing"
    );
}

/// Connections of an attack that are short.
const SHORT: u64 = 400;

/// Connections that report an allocation each, with an id above `from`, and close.
fn come_and_go(exporter: &Exporter, address: SocketAddr, from: u64) {
    for number in 0..SHORT {
        let allocation = Allocation::new("short.example", "mallory", from + number + 1);
        let bytes = birth(&allocation);
        // Each of another address: one that comes anew would say that its process lives.
        let mut stream = connect_from(
            [number / 200 + 1, number % 200 + 1].map(|part| u8::try_from(part).expect("small")),
            address,
        );
        stream.write_all(&bytes).expect("it is listened to");
        stream.read_exact(&mut [0; 4]).expect("an answer");
        stream.shutdown(Shutdown::Both).expect("a socket");
    }
    // The death of each is seen all the same.
    exporter.until("what they reported to be over", |page| {
        let labels = [("realm", "short.example"), ("cause", "abandoned")];
        match page.count("coturn_allocations_closed_total", &labels) {
            seen if seen == from + SHORT => Ok(()),
            seen => Err(seen.to_string()),
        }
    });
}

/// What they reported is looked for in the whole table: once for all that closed, not once for each.
#[test]
fn short_connections_cost_no_walk_of_the_table_each() {
    const LIVE: u64 = 200_000;
    let _turn = turns::take();
    let cost = |live: u64| {
        let (exporter, address) = listening(&[]);
        let mut many = TcpStream::connect(address).expect("it listens");
        let mut answers = many.try_clone().expect("a second handle");
        let reading = std::thread::spawn(move || drop(std::io::copy(&mut answers, &mut std::io::sink())));
        for from in (0..live).step_by(1_000) {
            let mut bytes = Vec::new();
            for id in from..from + 1_000 {
                let allocation = Allocation::new("many.example", "user", id + 1);
                bytes.extend(birth(&allocation));
            }
            many.write_all(&bytes).expect("it is listened to");
        }
        exporter.until("all to live", |page| match page.count("coturn_allocations", &[]) {
            seen if seen == live => Ok(()),
            seen => Err(seen.to_string()),
        });
        let before = exporter.cpu_seconds();
        come_and_go(&exporter, address, 0);
        let cost = exporter.cpu_seconds() - before;
        let honest = Honest::begin(&exporter, address, None);
        come_and_go(&exporter, address, SHORT);
        honest.end(&exporter, ());
        drop(many.shutdown(Shutdown::Both));
        drop(reading.join());
        cost
    };
    let (few, many) = (cost(0), cost(LIVE));
    println!(
        "{SHORT} short connections: {few:.2} s of CPU with an empty table, {many:.2} s with {LIVE} live"
    );
    assert!(many < 3.0 * few + 0.5, "{few} s of CPU, and {many} s beside {LIVE} live allocations");
}
