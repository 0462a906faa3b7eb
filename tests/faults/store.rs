//! The exporter killed and ended at random moments, with a store and a real Prometheus that scrapes it: no counter falls, and
//! each is what coturn logged. And the ledger, whatever is killed while it is written. Real coturn, Redis and clients
//! throughout.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::usage;
use crate::common::models::traffic::{Legs, Traffic};
use crate::common::net::ports::Port;
use crate::common::poll::{self, PATIENCE};
use crate::common::readers::coturn_log::{self, CoturnLog};
use crate::common::servers::coturn::{Coturn, Settings};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::peer::EchoPeer;
use crate::common::servers::prometheus::Prometheus;
use crate::common::servers::redis::Redis;
use crate::common::servers::uclient::{Job, Kind, Uclient, wait_for_all};
use crate::common::temp_dir::TempDir;

const REALM: &str = "one.example";
const IN_REALM: [(&str, &str); 1] = [("realm", REALM)];

/// More messages than any test waits for.
const ENDLESS: u32 = 1_000_000;

/// A coturn whose clients come by TCP, so that an allocation ends with its client.
const SERVER: Settings<'static> = Settings {
    ip: "127.0.0.1",
    realm: REALM,
    users: &["long", "short", "a", "b", "c", "d"],
    max_lifetime: 600,
};

fn job(user: &str) -> Job<'_> {
    Job { kind: Kind::Tcp, user, ..Job::default() }
}

/// One exporter after the other, at one address and with one store.
struct Lives {
    _port: Port,
    address: SocketAddr,
    dir: TempDir,
    url: String,
}

impl Lives {
    fn new(redis: &Redis) -> Self {
        let port = Port::claim();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number));
        Self { _port: port, address, dir: TempDir::new("store"), url: redis.url(0) }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn begin(&self) -> Exporter {
        let store = self.store();
        let args = [
            "--redis.url",
            &self.url,
            "--store.path",
            store.to_str().unwrap(),
            "--metrics.realm",
            REALM,
            "--allocation.grace",
            "5s",
        ];
        let exporter = Exporter::start_at(self.address, &args);
        exporter.wait_ready();
        exporter
    }
}

/// What Prometheus has added up of what was relayed.
fn relayed(prometheus: &Prometheus) -> Legs {
    let of = |unit: &str| {
        let selector = format!("coturn_relayed_{unit}_total{{realm=\"{REALM}\"}}[1h]");
        let increments = prometheus.increments(&selector);
        move |leg: &str, direction: &str| {
            let is_it = |labels: &BTreeMap<String, String>| {
                labels.get("leg").is_some_and(|it| it == leg)
                    && labels.get("direction").is_some_and(|it| it == direction)
            };
            increments.iter().filter(|(series, _)| is_it(&series.labels)).map(|(_, &sum)| sum).sum::<u64>()
        }
    };
    let (bytes, packets) = (of("bytes"), of("packets"));
    let leg = |leg: &str| Traffic {
        received_packets: packets(leg, "received"),
        received_bytes: bytes(leg, "received"),
        sent_packets: packets(leg, "sent"),
        sent_bytes: bytes(leg, "sent"),
    };
    Legs { client: leg("client"), peer: leg("peer") }
}

/// Waits until the page knows all ends that coturn logged: what was answered once is not lost.
fn until_all_ends_are_known(exporter: &Exporter, coturn: &Coturn) {
    exporter.until("the page to know the ends that coturn logged", |page| {
        let seen = (page.count("coturn_allocations", &IN_REALM), coturn.log().live());
        if seen.0 == seen.1 { Ok(()) } else { Err(format!("live, page and log: {seen:?}")) }
    });
}

/// Exact: the increments of all lives are coturn's own sums, byte for byte and packet for packet, and no sample falls.
#[test]
fn killed_and_ended_at_random_moments_each_byte_is_told_once() {
    let seed = RandomState::new().hash_one(0);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let redis = Redis::start();
    let coturn = Coturn::start(&redis, 0, SERVER);
    let peer = EchoPeer::start();
    let lives = Lives::new(&redis);
    let mut exporter = lives.begin();
    let prometheus = Prometheus::scraping(lives.address);
    let mut talkers =
        vec![Uclient::start(&coturn, peer.port(), Job { clients: 2, messages: ENDLESS, ..job("long") })];
    // Each way to go at least once: killed or ended, and unheard reports after it or none.
    let mut ends =
        [(true, true), (true, false), (false, true), (false, false), (random.bool(), random.bool())];
    random.shuffle(&mut ends);
    for (life, (is_kill, is_unheard)) in ends.into_iter().enumerate() {
        let mut short = [Uclient::start(&coturn, peer.port(), Job { messages: 300, ..job("short") })];
        wait_for_all(&mut short);
        until_all_ends_are_known(&exporter, &coturn);
        // A random moment: after so many more reports of those that go on.
        let target = coturn.log().reports() + random.u64(1..8);
        poll::until(PATIENCE, "a moment to kill it", || match coturn.log().reports() {
            reports if reports >= target => Ok(()),
            reports => Err(format!("{reports} of {target}")),
        });
        if is_kill {
            exporter.kill();
        } else {
            let status = exporter.stop(Signal::TERM);
            assert_eq!(status.code(), Some(0), "{status}\n{}", exporter.log());
        }
        println!("life {life} {}, unheard reports: {is_unheard}", if is_kill { "killed" } else { "ended" });
        drop(exporter);
        if is_unheard {
            // Some that nobody hears: the totals will tell. coturn's threads, one for each of the two that go on at most,
            // write a line after they published it: so many lines may be of reports that were heard.
            let target = coturn.log().reports() + 2 + random.u64(1..4);
            poll::until(PATIENCE, "reports that no exporter hears", || match coturn.log().reports() {
                reports if reports >= target => Ok(()),
                reports => Err(format!("{reports} of {target}")),
            });
        }
        exporter = lives.begin();
        let page = exporter.page();
        assert_eq!(page.count("coturn_allocations", &IN_REALM), coturn.log().live());
        assert_eq!(page.count("coturn_unseen_bytes_total", &IN_REALM), 0, "all of it is known");
        assert_eq!(page.count("coturn_allocations_adopted_total", &IN_REALM), 0, "they are the same ones");
    }
    talkers.clear();
    let log = poll::until(PATIENCE, "coturn to end all allocations", || {
        let log = coturn.log();
        if log.all_ended() { Ok(log) } else { Err(format!("{} live", log.live())) }
    });
    poll::until(PATIENCE, "Prometheus' sums over all lives to be what coturn logged", || {
        let (told, logged) = (relayed(&prometheus), log.relayed());
        if told == logged { Ok(()) } else { Err(format!("told   {told:?}\nlogged {logged:?}")) }
    });
    let page = exporter.page();
    assert!(
        page.count("coturn_recovered_bytes_total", &IN_REALM) > 0,
        "what nobody heard came from the totals"
    );
    assert_eq!(page.count("coturn_exporter_accounting_anomalies_total", &[]), 0);
    assert_eq!(page.count("coturn_exporter_store_ok", &[]), 1);
    let opened = page.count("coturn_allocations_opened_total", &IN_REALM);
    assert_eq!(page.count("coturn_allocation_duration_seconds_count", &IN_REALM), opened, "all were whole");
    // And they stay: nothing is settled twice.
    drop(exporter);
    let exporter = lives.begin();
    let started = exporter.page().value("process_start_time_seconds", &[]).expect("a start time");
    poll::until(PATIENCE, "three scrapes of one more life", || {
        let query = format!("count_over_time((process_start_time_seconds == {started})[1h:1s])");
        match prometheus.query(&query).values().next() {
            Some(&scrapes) if scrapes >= 3.0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(relayed(&prometheus), log.relayed(), "told again");
    for (series, (_, falls)) in
        prometheus.last_and_falls("{__name__=~\"coturn_.+(_total|_bucket|_sum|_count)\"}[1h]")
    {
        assert_eq!(falls, 0, "{series}");
    }
    let used = usage(&lives.store(), &["--by", "user"]);
    for user in ["long", "short"] {
        assert_eq!(used.get(user).copied(), Some(of_user(&[&log], user)), "{user}");
    }
}

/// The ledger's sums of each user.
fn usage(store: &Path, args: &[&str]) -> BTreeMap<String, Legs> {
    let legs = |row: &usage::Row| {
        let of = |leg: &str, rest: &str| row.count(&format!("{leg}_{rest}"));
        let leg = |leg: &str| Traffic {
            received_packets: of(leg, "received_packets"),
            received_bytes: of(leg, "received_bytes"),
            sent_packets: of(leg, "sent_packets"),
            sent_bytes: of(leg, "sent_bytes"),
        };
        Legs { client: leg("client"), peer: leg("peer") }
    };
    usage::usage(store, args).iter().map(|row| (row.text("user").to_owned(), legs(row))).collect()
}

/// What coturn logged of a user's allocations, in all its lives.
fn of_user(logs: &[&CoturnLog], user: &str) -> Legs {
    let sessions = logs.iter().flat_map(|log| log.allocations()).filter(|session| session.user == user);
    coturn_log::sum(sessions)
}

/// Of user d, who had one session, with one allocation, and whose client relayed `peer`.
fn assert_a_row_says_who_how_and_for_how_long(store: &Path, peer: Traffic) {
    let ledger = rusqlite::Connection::open(store.join("ledger.sqlite")).unwrap();
    let row =
        "SELECT realm, user_id, client, server, transport, cause, is_partial, relayed_bytes, ended - started,
        relay_ended - relay_started FROM session WHERE NOT is_open AND user = 'd'";
    let text = |row: &rusqlite::Row<'_>, at| row.get::<_, String>(at).unwrap();
    let number = |row: &rusqlite::Row<'_>, at| row.get::<_, i64>(at).unwrap().cast_unsigned();
    let rows: Vec<_> = ledger
        .prepare(row)
        .unwrap()
        .query_map([], |row| {
            let texts: Vec<String> = (0..6).map(|at| text(row, at)).collect();
            Ok((texts, (6..10).map(|at| number(row, at)).collect::<Vec<u64>>()))
        })
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    let [(texts, numbers)] = &rows[..] else { panic!("one session of user d: {rows:?}") };
    assert!(texts[2].starts_with("127.0.0.1:"), "{texts:?}");
    assert_eq!([&texts[0], &texts[1], &texts[3], &texts[4]], [REALM, "d", "127.0.0.1", "tcp"]);
    assert!(["released", "disconnected"].contains(&&*texts[5]), "{texts:?}");
    assert_eq!(numbers[..2], [0, peer.received_bytes + peer.sent_bytes], "not partial, and what was relayed");
    assert!(numbers[2] >= numbers[3] && numbers[3] > 0, "seconds: {numbers:?}");
}

/// Redis, coturn and the exporter killed in turn. Exact: every session that coturn reported to its end. Bounded: those
/// that died with their coturn are in the ledger with what they had reported.
#[test]
fn the_ledger_is_what_coturn_logged_whatever_was_killed() {
    let mut redis = Redis::start();
    let mut coturn = Coturn::start(&redis, 0, SERVER);
    let peer = EchoPeer::start();
    let lives = Lives::new(&redis);
    let exporter = lives.begin();
    let talk = |coturn: &Coturn, user: &'static str| {
        Uclient::start(coturn, peer.port(), Job { messages: ENDLESS, ..job(user) })
    };
    let reports_of = |coturn: &Coturn, user: &str| -> u64 {
        coturn.log().allocations().filter(|session| session.user == user).map(|session| session.reports).sum()
    };
    let more_reports = |coturn: &Coturn, user: &str, more: u64| {
        let target = reports_of(coturn, user) + more;
        poll::until(PATIENCE, "reports", || match reports_of(coturn, user) {
            reports if reports >= target => Ok(()),
            reports => Err(format!("{reports} of {target} of {user}")),
        });
    };
    let ended = |coturn: &Coturn, user: &str| {
        let open = |log: &CoturnLog| {
            log.sessions.values().filter(|one| one.user == user && one.reason.is_none()).count()
        };
        poll::until(PATIENCE, "coturn to end a user's allocations", || match open(&coturn.log()) {
            0 => Ok(()),
            open => Err(format!("{open} open of {user}")),
        });
    };

    // The exporter dies under user a, is back, and hears the end.
    let client = talk(&coturn, "a");
    more_reports(&coturn, "a", 2);
    exporter.until("the page to have some of it", |page| {
        match page.count("coturn_relayed_bytes_total", &[]) {
            0 => Err("nothing".to_owned()),
            _ => Ok(()),
        }
    });
    drop(exporter);
    more_reports(&coturn, "a", 2);
    let exporter = lives.begin();
    drop(client);
    ended(&coturn, "a");

    // Redis dies under user b, and comes back empty.
    let client = talk(&coturn, "b");
    more_reports(&coturn, "b", 2);
    redis.kill();
    more_reports(&coturn, "b", 2);
    redis.start_again();
    exporter.wait_ready();
    let heard = exporter.page().count("coturn_exporter_messages_total", &[("kind", "traffic")]);
    exporter.until("coturn to publish again", |page| {
        match page.count("coturn_exporter_messages_total", &[("kind", "traffic")]) {
            now if now > heard => Ok(()),
            now => Err(format!("{now}")),
        }
    });
    drop(client);
    ended(&coturn, "b");

    // coturn dies under user c.
    let client = talk(&coturn, "c");
    more_reports(&coturn, "c", 2);
    coturn.kill();
    drop(client);
    let first = coturn.log();
    coturn.start_again(&redis);
    let mut client = [Uclient::start(&coturn, peer.port(), Job { messages: 500, ..job("d") })];
    wait_for_all(&mut client);
    ended(&coturn, "d");

    let logs = [&first, &coturn.log()];
    let used = poll::until(PATIENCE, "the ledger to have what coturn logged", || {
        let used = usage(&lives.store(), &["--by", "user"]);
        for user in ["a", "b", "d"] {
            let (told, logged) = (used.get(user).copied().unwrap_or_default(), of_user(&logs, user));
            if told != logged {
                return Err(format!("{user}: told {told:?}\nlogged {logged:?}\n{}", exporter.log()));
            }
        }
        Ok(used)
    });
    println!("{used:#?}");
    // Nobody has ended c: it is not over for the exporter before its lifetime is.
    let told = used.get("c").copied().unwrap_or_default();
    crate::common::models::sums::assert_between(Legs::default(), told, of_user(&logs, "c"));
    assert_a_row_says_who_how_and_for_how_long(&lives.store(), of_user(&logs, "d").peer);
    let since = usage(&lives.store(), &["--since", "1h", "--top", "1"]);
    assert_eq!(since.len(), 1, "{since:?}");
    assert!(usage(&lives.store(), &["--until", "2020-01-01"]).is_empty());
}
