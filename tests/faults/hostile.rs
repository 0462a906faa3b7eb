//! A stream that means harm: a million names, payloads of ten megabytes, garbage. Memory stays within its bounds, and the
//! numbers of an honest realm stay right.

use std::io::Write;

use crate::common::models::balance::Books;
use crate::common::models::sums::legs;
use crate::common::models::traffic::{Legs, Traffic};
use crate::common::net::flood::Flood;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE, Stopwatch};
use crate::common::readers::page::Page;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use crate::common::turns;

const HONEST: &str = "honest.example";
const IN_HONEST: [(&str, &str); 1] = [("realm", HONEST)];
const UP: &str = "coturn_exporter_source_up";
const MIB: u64 = 1 << 20;

/// What a full table of 100,000 may take, in MiB: 256 bytes and names for each (50 MiB), the waiting traffic of 65,536 keys
/// (10), and as much again for the rest of the program.
const TABLE: u64 = 128;

/// What payloads of 10 MiB may take: nothing, for they are passed over as they come.
const PAYLOADS: u64 = 64;

/// What messages may take that mean nothing.
const NOTHING: u64 = 64;

/// The honest ones: how many, and what each relays before and after the attack.
const CALLS: u64 = 20;
const BEFORE: Traffic =
    Traffic { received_packets: 700, received_bytes: 120_400, sent_packets: 500, sent_bytes: 86_000 };
const AFTER: Traffic =
    Traffic { received_packets: 30, received_bytes: 5_160, sent_packets: 20, sent_bytes: 3_440 };

/// A Redis with an exporter and honest allocations, some of which have been relaying.
struct Scene {
    redis: Redis,
    exporter: Exporter,
    honest: Vec<Allocation>,
    books: Books,
}

impl Scene {
    fn new() -> Self {
        let redis = Redis::start();
        let exporter = Exporter::watching_with(
            &redis.url(0),
            &["--allocation.max-count", "100000", "--metrics.realm", HONEST],
        );
        let honest: Vec<Allocation> =
            (1..=CALLS).map(|id| Allocation::new(HONEST, &format!("user{id}"), id)).collect();
        let mut statsdb = Statsdb::connect(&redis, 0);
        for allocation in &honest {
            statsdb.open(allocation, 3600);
            statsdb.report(allocation, BEFORE, BEFORE);
        }
        let scene = Self { redis, exporter, honest, books: Books::default() };
        scene.exporter.until("the honest ones to be known", |page| match legs(page, HONEST, "relayed") {
            seen if seen == Legs { client: BEFORE * CALLS, peer: BEFORE * CALLS } => Ok(()),
            seen => Err(format!("{seen:?}")),
        });
        scene
    }

    /// What must hold while the attack goes on.
    #[track_caller]
    fn look(&mut self) -> Page {
        let page = self.exporter.page();
        self.books.look(&page);
        assert_eq!(page.count("coturn_allocations", &IN_HONEST), CALLS);
        assert_eq!(page.count("coturn_allocations_closed_total", &IN_HONEST), 0);
        page
    }

    /// Waits until the attack's messages have been taken in, or Redis has cut us off for being slow and that was noticed:
    /// what the honest ones say then is not lost behind them.
    #[track_caller]
    fn outlast(&self, messages: u64) {
        self.exporter.until("all to be taken in, or a gap", |page| {
            let accepted = page.count("coturn_exporter_messages_total", &[]);
            let rejected = page.count("coturn_exporter_rejected_messages_total", &[]);
            let gaps = page.count("coturn_exporter_gaps_total", &[]);
            if accepted + rejected >= messages || gaps > 0 {
                Ok(())
            } else {
                Err(format!("{accepted} {rejected}"))
            }
        });
        // Cut off again and not aware of it yet, it would not hear them.
        poll::until(PATIENCE, "the exporter to be subscribed", || match self.redis.subscribers() {
            1 => Ok(()),
            other => Err(other.to_string()),
        });
        self.exporter.until_value(UP, &[], 1.0);
    }

    /// The honest ones go on and come to their end; each byte of theirs was counted once, those of a gap too.
    #[track_caller]
    fn end(mut self, name: &str, bound: u64) {
        let mut statsdb = Statsdb::connect(&self.redis, 0);
        for allocation in &self.honest {
            statsdb.report(allocation, AFTER, AFTER);
            statsdb.close(allocation, BEFORE + AFTER, BEFORE + AFTER);
        }
        let sum = (BEFORE + AFTER) * CALLS;
        self.exporter.until("the honest ones to have ended, to the byte", |page| {
            self.books.look(page);
            let live = page.count("coturn_allocations", &IN_HONEST);
            match (live, legs(page, HONEST, "relayed")) {
                (0, seen) if seen == Legs { client: sum, peer: sum } => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        });
        let page = self.exporter.page();
        let (now, peak) =
            (page.count("process_resident_memory_bytes", &[]) / MIB, self.exporter.peak_memory() / MIB);
        println!(
            "{name}: {now} MiB now, {peak} MiB at most; messages {}, rejected {}, refused {}, folded {}, gaps {}",
            page.count("coturn_exporter_messages_total", &[]),
            page.count("coturn_exporter_rejected_messages_total", &[]),
            page.count("coturn_exporter_refused_allocations_total", &[]),
            page.count("coturn_exporter_folded_label_values_total", &[]),
            page.count("coturn_exporter_gaps_total", &[]),
        );
        assert!(peak < bound, "{peak} MiB resident at most, {bound} MiB are allowed");
    }
}

/// Each message names a realm and a user that no other names.
#[test]
fn a_million_realms_and_users() {
    const NAMES: u64 = 1_000_000;
    let _turn = turns::take();
    let mut scene = Scene::new();
    let mut flood = Flood::connect(&scene.redis);
    let stopwatch = Stopwatch::start();
    let (mut channel, mut payload) = (Vec::new(), Vec::new());
    for number in 0..NAMES {
        let (kind, word) = match number % 8 {
            0..4 => ("status", "new "),
            4 => ("status", "refreshed "),
            5 => ("traffic", ""),
            6 => ("traffic/peer", ""),
            _ => ("total_traffic", ""),
        };
        channel.clear();
        write!(
            channel,
            "turn/realm/r{number}.example/user/1795343956:u{number}/allocation/{number:018}/{kind}"
        )
        .expect("memory");
        payload.clear();
        payload.extend_from_slice(word.as_bytes());
        if word.is_empty() {
            payload.extend_from_slice(b"rcvp=60, rcvb=6000, sentp=60, sentb=6000");
        } else {
            // A server of its own as well, for each of some ten thousand.
            let (net, host) = (number / 250 % 250, number % 250);
            write!(
                payload,
                "lifetime=600, type=UDP, local=198.51.{net}.{host}:3478, remote=192.0.2.7:4000, ssl=NONE, cipher=NONE"
            )
            .expect("memory");
        }
        flood.publish(&channel, &payload);
        // Faster than the exporter of a debug build, and Redis would cut it off: then the table is never full.
        if number % 40_000 == 39_999 {
            flood.settle();
            scene.outlast(number + 1);
        }
        if number % 200_000 == 199_999 {
            let page = scene.look();
            let resident = page.count("process_resident_memory_bytes", &[]) / MIB;
            println!("{} names after {:?}: {resident} MiB", number + 1, stopwatch.elapsed());
        }
    }
    flood.settle();
    let published = stopwatch.elapsed();
    scene.outlast(NAMES);
    println!("{NAMES} published in {published:?}, taken in after {:?}", stopwatch.elapsed());
    let page = scene.look();
    let realms = page.label_values("coturn_allocations", "realm");
    assert!(realms.len() <= 101, "{} realms on the page", realms.len());
    let servers = page.label_values("coturn_server_allocations", "server");
    assert!(servers.len() <= 101, "{} servers on the page", servers.len());
    assert!(page.count("coturn_allocations", &[]) <= 100_000);
    for cap in [
        "more allocations are refused",
        "that have ended give way",
        "--metrics.max-realms",
        "--metrics.max-servers",
    ] {
        scene.exporter.until_logged(&[cap]);
        let log = scene.exporter.log();
        assert_eq!(log.matches(cap).count(), 1, "said once, however often:\n{log}");
    }
    scene.end("names", TABLE);
}

/// Nobody means well who sends ten megabytes where two hundred bytes belong.
#[test]
fn payloads_of_ten_megabytes() {
    const MESSAGES: u64 = 40;
    let _turn = turns::take();
    let mut scene = Scene::new();
    let mut flood = Flood::connect(&scene.redis);
    let honest = scene.honest[0].clone();
    let large = vec![b'7'; 10 << 20];
    for number in 0..MESSAGES {
        match number % 4 {
            // Of an honest allocation's own channels: nothing of it is believed.
            0 => flood.publish(honest.channel("traffic").as_bytes(), &large),
            1 => flood.publish(honest.channel("status").as_bytes(), &large),
            2 => flood.publish(b"turn/realm/x/user/y/allocation/000000000000000001/status", &large),
            _ => flood.publish(&[b"turn/", &large[..]].concat(), b"new lifetime=600"),
        }
        flood.flush();
        scene.look();
    }
    flood.settle();
    scene.outlast(MESSAGES);
    scene.end("payloads", PAYLOADS);
}

/// Bytes without sense, on channels that match the pattern and on some that look right for a while.
#[test]
fn binary_garbage() {
    const MESSAGES: u64 = 200_000;
    let _turn = turns::take();
    let mut scene = Scene::new();
    let mut flood = Flood::connect(&scene.redis);
    let mut random = fastrand::Rng::with_seed(3);
    let beginnings: [&[u8]; 4] = [
        b"turn/",
        b"turn/realm/",
        b"turn/realm/honest.example/user/user1/allocation/",
        b"turn/user//allocation/",
    ];
    let endings: [&[u8]; 4] = [b"", b"/status", b"/traffic", b"/total_traffic/peer"];
    for number in 0..MESSAGES {
        let bytes: Vec<u8> = (0..random.usize(0..80)).map(|_| random.u8(..)).collect();
        let channel = [beginnings[random.usize(..4)], &bytes, endings[random.usize(..4)]].concat();
        let payload: Vec<u8> = (0..random.usize(0..200)).map(|_| random.u8(..)).collect();
        flood.publish(&channel, &payload);
        if number % 20_000 == 0 {
            flood.flush();
            scene.look();
        }
    }
    flood.settle();
    scene.outlast(MESSAGES);
    scene.end("garbage", NOTHING);
}
