//! Sentinel: the exporter watches whichever Redis is the master, and follows when another becomes it.

use crate::common::models::traffic::Traffic;
use crate::common::net::certificates::Authority;
use crate::common::net::ports::Port;
use crate::common::net::rights::{LEAST, ROLE, grant};
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::command;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::{Redis, restore_idle};
use crate::common::servers::sentinel::{MASTER, Sentinel};
use crate::common::temp_dir::TempDir;

const REALM: &str = "one.example";

const LIVE: [(&str, &str); 2] = [("realm", REALM), ("transport", "udp")];

/// What a call of a few seconds relays.
const CALL: Traffic =
    Traffic { received_packets: 250, received_bytes: 43_000, sent_packets: 240, sent_bytes: 41_280 };

/// A master, its replica, and a sentinel that watches both.
struct House {
    master: Redis,
    /// A connection to the master from before anything happened to it.
    admin: redis::Connection,
    replica: Redis,
    sentinel: Sentinel,
}

impl House {
    fn start() -> Self {
        let master = Redis::start_with_settings(&[("repl-diskless-sync-delay", "0")]);
        let replica = Redis::start_replica(&master);
        let sentinel = Sentinel::start(master.port(), 1);
        let admin = master.connect(0);
        Self { master, admin, replica, sentinel }
    }

    /// The exporter's URL, which is the name of the source too. The first sentinel of it does not exist.
    fn url(&self, nobody: &Port) -> String {
        format!("redis+sentinel://127.0.0.1:{},127.0.0.1:{}/{MASTER}/0", nobody.number, self.sentinel.port())
    }
}

/// Waits until it is subscribed to this one.
#[track_caller]
fn until_on(exporter: &Exporter, redis: &Redis) {
    exporter.until_logged(&["msg=subscribed", &format!("server=127.0.0.1:{}", redis.port())]);
}

/// Waits until this one is the master; what is published elsewhere reaches nobody.
#[track_caller]
fn until_master(redis: &Redis) {
    poll::until(PATIENCE, "the replica to become the master", || {
        let mut connection = redis.try_connect(0).map_err(|error| error.to_string())?;
        match redis::cmd("ROLE").query(&mut connection).map_err(|error| error.to_string())? {
            redis::Role::Primary { .. } => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

/// An allocation that begins on one master and goes on on the next: nothing of it is lost that was published to either.
/// Gives the exporter's log.
#[track_caller]
fn must_follow(house: &mut House, fail_over: impl FnOnce(&mut House)) -> String {
    let nobody = Port::claim();
    let url = house.url(&nobody);
    let source = [("source", url.as_str())];
    let exporter = Exporter::watching(&url);
    until_on(&exporter, &house.master);
    let (old, new) = (Allocation::new(REALM, "alice", 1), Allocation::new(REALM, "bob", 2));
    let mut statsdb = Statsdb::connect(&house.master, 0);
    statsdb.open(&old, 600);
    statsdb.report(&old, CALL, CALL);
    exporter.until_value("coturn_allocations", &LIVE, 1.0);
    // What the replica has not got yet is looked at below.
    redis::cmd("WAIT").arg(&["1", "0"]).query::<()>(&mut house.master.connect(0)).expect("WAIT");
    assert_eq!(exporter.page().value("coturn_exporter_gaps_total", &source), Some(0.0));

    fail_over(house);
    until_master(&house.replica);
    until_on(&exporter, &house.replica);
    exporter.until("the resync on the new master", |page| {
        match page.value("coturn_exporter_source_up", &source) {
            Some(up) if up > 0.0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let page = exporter.page();
    assert!(page.value("coturn_exporter_gaps_total", &source) >= Some(1.0), "no gap is told");
    assert!(page.value("coturn_exporter_resyncs_total", &source) >= Some(2.0), "no resync");
    assert_eq!(page.value("coturn_exporter_resync_ok", &source), Some(1.0));
    assert_eq!(page.value("coturn_allocations", &LIVE), Some(1.0), "it lives on");

    let mut statsdb = Statsdb::connect(&house.replica, 0);
    statsdb.open(&new, 600);
    exporter.until_value("coturn_allocations", &LIVE, 2.0);
    statsdb.report(&old, CALL, CALL);
    let twice = |bytes: u64| (2 * bytes) as f64;
    for (direction, bytes) in [("received", CALL.received_bytes), ("sent", CALL.sent_bytes)] {
        let labels = [("realm", REALM), ("leg", "peer"), ("direction", direction)];
        exporter.until_value("coturn_relayed_bytes_total", &labels, twice(bytes));
    }
    let page = exporter.page();
    assert_eq!(page.count("coturn_allocations_opened_total", &[("realm", REALM)]), 2);
    assert_eq!(page.count("coturn_allocations_adopted_total", &[("realm", REALM)]), 0);
    assert_eq!(page.count("coturn_allocations_closed_total", &[("realm", REALM)]), 0);
    exporter.log()
}

#[test]
fn a_failover_by_command_is_followed() {
    must_follow(&mut House::start(), |house| house.sentinel.fail_over());
}

#[test]
fn a_killed_master_is_left_for_its_successor() {
    must_follow(&mut House::start(), |house| house.master.kill());
}

#[test]
fn a_master_that_is_cut_off_from_its_sentinels_is_left_too() {
    let log = must_follow(&mut House::start(), |house| {
        // To the sentinel it is gone; to us it is as it was, and nobody tells it to drop its subscribers.
        house.master.run(&["CONFIG", "SET", "requirepass", "not-for-sentinels"]);
        redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "normal"])
            .query::<()>(&mut house.admin)
            .expect("CLIENT KILL");
    });
    assert!(log.contains("the master has moved from "), "{log}");
}

/// Replication is asynchronous: what a master took last is not on its replica yet when it dies.
#[test]
fn what_the_new_master_had_not_got_yet_lives_on() {
    let mut house = House::start();
    let nobody = Port::claim();
    let url = house.url(&nobody);
    let exporter = Exporter::watching(&url);
    until_on(&exporter, &house.master);
    let (old, new) = (Allocation::new(REALM, "alice", 1), Allocation::new(REALM, "bob", 2));
    let mut statsdb = Statsdb::connect(&house.master, 0);
    statsdb.open(&old, 600);
    statsdb.open(&new, 600);
    exporter.until_value("coturn_allocations", &LIVE, 2.0);
    // A key of that server that was there before bob's: no coturn has deleted all of them since.
    restore_idle(&mut house.master.connect(0), [(old.key().as_bytes(), 100)]);
    redis::cmd("WAIT").arg(&["1", "0"]).query::<()>(&mut house.master.connect(0)).expect("WAIT");
    house.replica.run(&["CONFIG", "SET", "replica-read-only", "no"]);
    house.replica.run(&["DEL", &new.key()]);

    house.master.kill();
    until_on(&exporter, &house.replica);
    let source = [("source", url.as_str())];
    exporter.until_value("coturn_exporter_source_up", &source, 1.0);
    // Nor at the next gap: the key is missing until bob refreshes.
    house.replica.kill_clients("pubsub");
    exporter.until_value("coturn_exporter_gaps_total", &source, 2.0);
    exporter.until_value("coturn_exporter_source_up", &source, 1.0);
    let mut statsdb = Statsdb::connect(&house.replica, 0);
    statsdb.report(&new, CALL, CALL);
    let labels = [("realm", REALM), ("leg", "peer"), ("direction", "sent")];
    exporter.until_value("coturn_relayed_bytes_total", &labels, CALL.sent_bytes as f64);
    let page = exporter.page();
    assert_eq!(page.value("coturn_allocations", &LIVE), Some(2.0));
    assert_eq!(page.count("coturn_allocations_adopted_total", &[("realm", REALM)]), 0);
    assert_eq!(page.count("coturn_allocations_closed_total", &[("realm", REALM)]), 0);
}

/// What it says of a source that it cannot watch.
#[track_caller]
fn complaint(args: &[&str]) -> String {
    let exporter = Exporter::start(args);
    let said = exporter.until_logged(&["not watching"]);
    exporter.until_value("coturn_exporter_source_up", &[], 0.0);
    said
}

#[test]
fn passwords_of_redis_and_of_the_sentinel_are_two() {
    let master = Redis::start_with(Some("for-redis"), &[]);
    let auth = format!("sentinel auth-pass {MASTER} for-redis");
    let sentinel = Sentinel::start_with(master.port(), 0, Some("for-sentinel"), &auth);
    let place = format!("127.0.0.1:{}/{MASTER}/0", sentinel.port());
    let dir = TempDir::new("passwords");
    let file = dir.write("sentinel-password", "for-sentinel\n").display().to_string();
    let name = format!("redis+sentinel://{place}");

    for args in [
        [
            "--redis.url",
            &format!("redis+sentinel://:for-redis@{place}"),
            "--redis.sentinel-password-file",
            &file,
        ]
        .as_slice(),
        &["--redis.url", &format!("redis+sentinel://:for-redis@{place}?sentinel-pass=for-sentinel")],
    ] {
        let exporter = Exporter::start(args);
        exporter.wait_ready();
        exporter.until_value("coturn_exporter_resync_ok", &[("source", &name)], 1.0);
        let told = exporter.text() + &exporter.log();
        assert!(!told.contains("for-redis") && !told.contains("for-sentinel"), "{told}");
    }

    let said = complaint(&["--redis.url", &format!("redis+sentinel://:for-redis@{place}")]);
    assert!(said.contains("--redis.sentinel-password-file"), "{said}");
    let said = complaint(&["--redis.url", &name, "--redis.sentinel-password-file", &file]);
    assert!(said.contains("--redis.password-file"), "{said}");
}

#[test]
fn sentinels_that_know_nothing_are_told_one_by_one() {
    let master = Redis::start();
    let sentinel = Sentinel::start(master.port(), 0);
    let nobody = Port::claim();
    let url = format!(
        "redis+sentinel://127.0.0.1:{},127.0.0.1:{},127.0.0.1:{}/other/0",
        nobody.number,
        sentinel.port(),
        master.port()
    );
    let said = complaint(&["--redis.url", &url]);
    for part in [
        format!("127.0.0.1:{}: cannot connect: Connection refused", nobody.number),
        format!("127.0.0.1:{}: it does not know this name", sentinel.port()),
        format!("127.0.0.1:{}: ", master.port()),
        "is this a sentinel?".to_owned(),
    ] {
        assert!(said.contains(&part), "{part}: {said}");
    }
}

#[test]
fn a_replica_that_is_called_the_master_is_not_watched() {
    let master = Redis::start();
    let sentinel = Sentinel::start(master.port(), 0);
    // As a failover that the sentinel has not heard of; it repairs that, but not at once.
    let elsewhere = Redis::start();
    master.run(&["REPLICAOF", "127.0.0.1", &elsewhere.port().to_string()]);
    let said =
        complaint(&["--redis.url", &format!("redis+sentinel://127.0.0.1:{}/{MASTER}", sentinel.port())]);
    assert!(said.contains(&format!("127.0.0.1:{} is a replica", master.port())), "{said}");
}

#[test]
fn a_user_who_may_not_ask_for_the_role_watches_what_the_sentinel_says() {
    let master = Redis::start();
    let sentinel = Sentinel::start(master.port(), 0);
    for rights in [[LEAST].as_slice(), &[LEAST, ROLE]] {
        let credentials = grant(&master, "exporter", rights);
        let url = format!("redis+sentinel://{credentials}127.0.0.1:{}/{MASTER}", sentinel.port());
        let exporter = Exporter::watching(&url);
        exporter.until_value("coturn_exporter_resync_ok", &[], 1.0);
    }
}

#[test]
fn a_sentinel_that_forbids_the_question_is_said_with_the_right_to_grant() {
    let master = Redis::start();
    let user = "user watcher on >pw resetchannels -@all +ping";
    let sentinel = Sentinel::start_with(master.port(), 0, None, user);
    let dir = TempDir::new("passwords");
    let file = dir.write("sentinel-password", "pw\n").display().to_string();
    let url = format!("redis+sentinel://127.0.0.1:{}/{MASTER}?sentinel-user=watcher", sentinel.port());
    let args = ["--redis.url", &url, "--redis.sentinel-password-file", &file];
    let said = complaint(&args);
    assert!(said.contains("needs +sentinel|get-master-addr-by-name"), "{said}");
    let doctor = command::exporter(&[&["doctor"], args.as_slice()].concat());
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    assert!(doctor.stdout.contains("+sentinel|get-master-addr-by-name"), "{}", doctor.stdout);
    assert!(!doctor.stdout.contains("start Redis"), "{}", doctor.stdout);
}

#[test]
fn doctor_and_prune_look_at_the_master() {
    let house = House::start();
    house.master.run(&["CONFIG", "SET", "timeout", "5"]);
    let nobody = Port::claim();
    let url = house.url(&nobody);
    let doctor = command::exporter(&["doctor", "--redis.url", &url]);
    let way = format!("redis-cli -h 127.0.0.1 -p {} ", house.master.port());
    assert!(doctor.stdout.contains(&way), "{doctor:?}");
    Statsdb::connect(&house.master, 0).leave_key(&Allocation::new(REALM, "alice", 1), 600);
    let prune = command::exporter(&["prune", "--apply", "--redis.url", &url]);
    assert!(prune.code == Some(0) && prune.stdout.contains("0 of 1 status keys"), "{prune:?}");
}

#[test]
fn tls_is_for_the_sentinel_and_for_the_master() {
    let ours = Authority::new("ours");
    let pair = ours.issue("server", &["127.0.0.1"]);
    let [ca, cert, key] =
        [&ours.cert_file, &pair.cert_file, &pair.key_file].map(|file| file.display().to_string());
    let (redis_port, sentinel_port) = (Port::claim(), Port::claim());
    let master = Redis::start_with_settings(&[
        ("tls-port", &redis_port.number.to_string()),
        ("tls-ca-cert-file", &ca),
        ("tls-cert-file", &cert),
        ("tls-key-file", &key),
    ]);
    let settings = format!(
        "tls-port {}\ntls-ca-cert-file {ca}\ntls-cert-file {cert}\ntls-key-file {key}\ntls-replication yes",
        sentinel_port.number
    );
    let sentinel = Sentinel::start_with(redis_port.number, 0, None, &settings);
    let url = format!("rediss+sentinel://127.0.0.1:{}/{MASTER}/0", sentinel_port.number);
    let mut args = vec!["--redis.url", &url, "--redis.tls-ca-file", &ca];
    args.extend(["--redis.tls-cert-file", &cert, "--redis.tls-key-file", &key]);
    let exporter = Exporter::start(&args);
    exporter.wait_ready();
    exporter.until_logged(&["msg=subscribed", &format!("server=127.0.0.1:{}", redis_port.number)]);
    Statsdb::connect(&master, 0).open(&Allocation::new(REALM, "alice", 1), 600);
    exporter.until_value("coturn_allocations", &LIVE, 1.0);
    drop(sentinel);
}
