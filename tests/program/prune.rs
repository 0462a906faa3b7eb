//! `prune` against a real Redis: it finds what is stale by idle time alone, deletes nothing unless told to, and never
//! deletes a key that came back to life.

use std::time::Duration;

use coturn_exporter::config::RedisSource;
use coturn_exporter::doctor::MOST_IDLE;
use coturn_exporter::source::connect::locate;
use coturn_exporter::source::prune::{Guard, PruneError, Pruned, Pruner};
use coturn_exporter::source::resync::FoundKey;

use crate::common::net::rights::{LEAST, PRUNE_BY_SCRIPT, PRUNE_BY_TRANSACTION, grant, in_db};
use crate::common::net::statsdb::Allocation;
use crate::common::servers::command::{Ended, exporter};
use crate::common::servers::redis::{Redis, restore_idle};

/// What the defaults make of the longest grant and the grace.
const LIMIT: u64 = 3690;

fn key(user: &str, id: u64) -> Vec<u8> {
    Allocation::new("one.example", user, id).key().into_bytes()
}

fn idle_time(connection: &mut redis::Connection, key: &[u8]) -> Option<u64> {
    redis::cmd("OBJECT").arg("IDLETIME").arg(key).query(connection).expect("OBJECT IDLETIME")
}

fn exists(connection: &mut redis::Connection, key: &[u8]) -> bool {
    redis::cmd("EXISTS").arg(key).query(connection).expect("EXISTS")
}

fn db_size(connection: &mut redis::Connection) -> u64 {
    redis::cmd("DBSIZE").query(connection).expect("DBSIZE")
}

#[track_caller]
fn prune(redis: &Redis, more: &[&str]) -> String {
    let Ended { code, stdout, stderr } =
        exporter(&[["prune", "--redis.url", &user(redis, 0, more)].as_slice(), more].concat());
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    stdout
}

/// As `--apply` does it, with a listing of the caller's choice.
fn delete(url: &str, limit: u64, listing: &[(Vec<u8>, u64)]) -> (Result<Pruned, PruneError>, Guard) {
    let source: RedisSource = url.parse().expect("a URL");
    let listing: Vec<FoundKey> = listing
        .iter()
        .map(|(key, idle)| FoundKey { key: key.clone(), idle: Some(Duration::from_secs(*idle)) })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut deleting =
            Pruner::begin(&source, &locate(&source).await.expect("a server"), Duration::from_secs(limit))
                .await
                .expect("a connection");
        let pruned = deleting.delete(&listing).await;
        (pruned, deleting.guard())
    })
}

/// The URL of a user with the documented rights for `prune` with these flags.
fn user(redis: &Redis, db: u8, flags: &[&str]) -> String {
    let apply = flags.contains(&"--apply").then_some(PRUNE_BY_SCRIPT);
    let rights: Vec<_> = [LEAST].into_iter().chain(apply).collect();
    redis.url_with(&grant(redis, "pruner", &in_db(db, &rights)), db)
}

/// The URL of one who may delete with a script.
fn user_with_scripts(redis: &Redis) -> String {
    user(redis, 0, &["--apply"])
}

/// The URL of one who may delete, but call no script.
fn user_without_scripts(redis: &Redis) -> String {
    redis.url_with(&grant(redis, "changer", &[LEAST, PRUNE_BY_TRANSACTION]), 0)
}

#[test]
fn exactly_the_stale_keys_are_listed_and_then_deleted() {
    const STALE: u64 = 10_000;
    const FRESH: u64 = 100;
    let redis = Redis::start();
    let mut connection = redis.connect(0);
    let stale: Vec<_> = (0..STALE).map(|id| (key("gone", id), LIMIT + 10 + id)).collect();
    let fresh: Vec<_> = (0..FRESH).map(|id| (key("here", id), 30 * id)).collect();
    // Old as well, but none of coturn's: the id has too few digits, the name is another, or the kind is.
    let foreign: Vec<_> = [
        "turn/user/x/allocation/7/status",
        "turn/x/allocation/000000000000000001/status",
        "turn/user/x/allocation/000000000000000001/traffic",
        "sessions",
    ]
    .iter()
    .map(|name| (name.as_bytes().to_vec(), 1_000_000))
    .collect();
    for keys in [&stale, &fresh, &foreign] {
        restore_idle(&mut connection, keys.iter().map(|(key, idle)| (key.as_slice(), *idle)));
    }
    let all = STALE + FRESH + foreign.len() as u64;

    let listing = prune(&redis, &[]);
    assert!(
        listing.contains("10000 of 10100 status keys have been idle for more than 3690 s\n"),
        "{listing}"
    );
    assert!(listing.ends_with("run again with --apply to delete them\n"));
    assert_eq!(listing.matches("/user/gone/").count() as u64, STALE);
    assert!(!listing.contains("/user/here/") && !listing.contains("/user/x/"));
    assert_eq!(db_size(&mut connection), all, "a dry run deletes nothing");
    for (key, idle) in stale.iter().chain(&fresh).chain(&foreign) {
        let now = idle_time(&mut connection, key);
        assert!(now >= Some(*idle), "{now:?} was {idle} s");
    }
    assert_eq!(redis.calls("get") + redis.calls("keys") + redis.calls("eval") + redis.calls("unlink"), 0);

    let applied = prune(&redis, &["--apply"]);
    assert!(
        applied.contains("deleted: 10000; came back to life meanwhile: 0; already gone: 0\n"),
        "{applied}"
    );
    assert_eq!(db_size(&mut connection), all - STALE);
    for (key, _) in fresh.iter().chain(&foreign) {
        assert!(exists(&mut connection, key));
    }
    assert_eq!(redis.calls("get") + redis.calls("keys"), 0);
    assert!(prune(&redis, &["--apply"]).contains("deleted: 0;"));
}

#[test]
fn the_flags_say_what_is_stale_and_other_dbs_are_left_alone() {
    let redis = Redis::start();
    let (mut ours, mut other) = (redis.connect(0), redis.connect(3));
    restore_idle(&mut ours, [(key("a", 1).as_slice(), 50), (&key("a", 2), 150)]);
    restore_idle(&mut other, [(key("a", 1).as_slice(), 100_000)]);
    let flags = ["--apply", "--allocation.max-lifetime", "100s", "--allocation.grace", "0s"];
    assert!(prune(&redis, &flags).contains("deleted: 1;"));
    assert!(exists(&mut ours, &key("a", 1)) && !exists(&mut ours, &key("a", 2)));
    assert!(exists(&mut other, &key("a", 1)));
}

#[test]
fn the_documented_rights_do_for_every_db_and_both_guards() {
    let redis = Redis::start();
    for (db, by) in
        [(0, PRUNE_BY_SCRIPT), (0, PRUNE_BY_TRANSACTION), (2, PRUNE_BY_SCRIPT), (2, PRUNE_BY_TRANSACTION)]
    {
        let mut connection = redis.connect(db);
        restore_idle(&mut connection, [(key("a", 1).as_slice(), LIMIT + 10)]);
        let url = redis.url_with(&grant(&redis, "pruner", &in_db(db, &[LEAST, by])), db);
        let ended = exporter(&["prune", "--apply", "--redis.url", &url]);
        assert!(ended.code == Some(0) && ended.stdout.contains("deleted: 1;"), "{by} in db {db}: {ended:?}");
        assert!(!exists(&mut connection, &key("a", 1)));
    }
    // db 0 is where every connection begins, so nothing was refused there; without the right, the other is named.
    let url = redis.url_with(&grant(&redis, "pruner", &[LEAST]), 2);
    let ended = exporter(&["prune", "--redis.url", &url]);
    assert!(ended.code == Some(1) && ended.stderr.contains("needs +select"), "{ended:?}");
}

#[test]
fn a_key_that_came_back_to_life_survives_under_both_guards() {
    const FOUND: u64 = 5_000;
    let redis = Redis::start();
    let mut connection = redis.connect(0);
    for (url, guard) in
        [(user_with_scripts(&redis), Guard::Script), (user_without_scripts(&redis), Guard::Transaction)]
    {
        let listing: Vec<_> = (0..250).map(|id| (key("a", id), FOUND)).collect();
        restore_idle(&mut connection, listing.iter().map(|(key, idle)| (key.as_slice(), *idle)));
        // Since the listing: one was refreshed, one was read, one ended; one was set and is old again, as its limit goes.
        let at = |id: usize| listing[id].0.as_slice();
        redis::cmd("SET").arg(at(7)).arg("refreshed lifetime=600").query::<()>(&mut connection).expect("SET");
        redis::cmd("GET").arg(at(100)).query::<()>(&mut connection).expect("GET");
        redis::cmd("DEL").arg(at(249)).query::<()>(&mut connection).expect("DEL");
        restore_idle(&mut connection, [(at(101), FOUND - 1)]);

        let (pruned, used) = delete(&url, LIMIT, &listing);
        assert_eq!(used, guard);
        assert_eq!(pruned.expect("deleted"), Pruned { deleted: 246, revived: 3, gone: 1 }, "{guard:?}");
        assert_eq!(db_size(&mut connection), 3);
        for id in [7, 100, 101] {
            assert!(exists(&mut connection, at(id)), "{guard:?}: {id}");
        }
    }
}

#[test]
fn looking_through_either_guard_leaves_idle_times_alone() {
    const FOUND: u64 = 5_000;
    let redis = Redis::start();
    let mut connection = redis.connect(0);
    for url in [user_with_scripts(&redis), user_without_scripts(&redis)] {
        restore_idle(&mut connection, [(key("a", 1).as_slice(), FOUND)]);
        // Found older than it is now: it is looked at and left.
        let (pruned, _) = delete(&url, LIMIT, &[(key("a", 1), 2 * FOUND)]);
        assert_eq!(pruned.expect("looked"), Pruned { revived: 1, ..Pruned::default() });
        assert!(idle_time(&mut connection, &key("a", 1)) >= Some(FOUND));
    }
}

#[test]
fn one_key_that_changes_all_the_time_keeps_no_other_from_being_deleted() {
    const FOUND: u64 = 5_000;
    const KEYS: u64 = 100;
    let redis = Redis::start();
    let mut connection = redis.connect(0);
    let url = user_without_scripts(&redis);
    let listing: Vec<_> = (0..KEYS).map(|id| (key("a", id), FOUND)).collect();
    restore_idle(&mut connection, listing.iter().map(|(key, idle)| (key.as_slice(), *idle)));
    let pruned = std::thread::scope(|scope| {
        let deleting = scope.spawn(|| delete(&url, LIMIT, &listing).0.expect("deleted"));
        // Always stale to look at, and mostly another one by the time of EXEC.
        while !deleting.is_finished() {
            restore_idle(&mut connection, [(listing[50].0.as_slice(), FOUND)]);
        }
        deleting.join().expect("it does not panic")
    });
    assert_eq!(pruned.deleted + pruned.revived + pruned.gone, KEYS, "{pruned:?}");
    assert!(pruned.deleted >= KEYS - 1, "{pruned:?}");
    for (key, _) in listing.iter().filter(|(key, _)| *key != listing[50].0) {
        assert!(!exists(&mut connection, key));
    }
}

#[test]
fn a_transaction_gives_way_to_a_key_that_is_set_meanwhile() {
    // What the second guard rests on: EXEC does nothing once a watched key was set or deleted, by whomever.
    let redis = Redis::start();
    let (mut ours, mut theirs) = (redis.connect(0), redis.connect(0));
    for change in [redis::cmd("SET").arg("k").arg("new"), redis::cmd("DEL").arg("k")] {
        restore_idle(&mut theirs, [(b"k".as_slice(), 5_000)]);
        redis::cmd("WATCH").arg("k").query::<()>(&mut ours).expect("WATCH");
        assert!(idle_time(&mut ours, b"k") >= Some(5_000), "WATCH leaves the idle time alone");
        change.query::<()>(&mut theirs).expect("the change");
        let done: Option<Vec<u64>> =
            redis::pipe().atomic().cmd("UNLINK").arg("k").query(&mut ours).expect("EXEC");
        assert_eq!(done, None);
    }
}

#[test]
fn an_idle_time_that_a_clock_set_back_would_give_is_not_believed() {
    let redis = Redis::start();
    let mut connection = redis.connect(0);
    let most = MOST_IDLE.as_secs();
    restore_idle(&mut connection, [(key("a", 1).as_slice(), most + 3_600)]);
    assert!(prune(&redis, &["--apply"]).contains("0 of 1 status keys"));
    for url in [user_with_scripts(&redis), user_without_scripts(&redis)] {
        let (pruned, _) = delete(&url, LIMIT, &[(key("a", 1), LIMIT + 1)]);
        assert_eq!(pruned.expect("looked"), Pruned { revived: 1, ..Pruned::default() });
    }
}

#[test]
fn without_idle_times_it_refuses() {
    let redis = Redis::start();
    let mut connection = redis.connect(0);
    restore_idle(&mut connection, [(key("a", 1).as_slice(), 100_000)]);
    redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory-policy", "allkeys-lfu"])
        .query::<()>(&mut connection)
        .expect("CONFIG SET");
    for more in [[].as_slice(), &["--apply"]] {
        let ended = exporter(&[["prune", "--redis.url", &user(&redis, 0, more)].as_slice(), more].concat());
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("LFU") && ended.stderr.lines().count() == 1, "{}", ended.stderr);
    }
    for url in [user_with_scripts(&redis), user_without_scripts(&redis)] {
        let (pruned, _) = delete(&url, LIMIT, &[(key("a", 1), LIMIT + 1)]);
        assert!(matches!(pruned, Err(PruneError::NoIdleTime)), "{pruned:?}");
    }
    assert_eq!(db_size(&mut connection), 1);
}

#[test]
fn without_the_right_to_delete_it_says_which_is_missing() {
    let redis = Redis::start();
    let mut connection = redis.connect(0);
    restore_idle(&mut connection, [(key("a", 1).as_slice(), 100_000)]);
    for (user, rights) in [
        ("reader", [LEAST].as_slice()),
        ("scripter", &[LEAST, "+eval"]),
        ("changer", &[LEAST, "+watch +unwatch +multi +exec"]),
    ] {
        let url = redis.url_with(&grant(&redis, user, rights), 0);
        assert_eq!(exporter(&["prune", "--redis.url", &url]).code, Some(0), "to list is allowed");
        let ended = exporter(&["prune", "--apply", "--redis.url", &url]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("+unlink and +eval"), "{}", ended.stderr);
        assert!(exists(&mut connection, &key("a", 1)), "{user}");
    }
}

#[test]
fn names_from_strangers_are_harmless_on_the_terminal() {
    let redis = Redis::start();
    let mut connection = redis.connect(0);
    let name =
        [b"turn/user/".as_slice(), b"\x1b[2J\xff\xe2\x80\xae", b"/allocation/000000000000000001/status"]
            .concat();
    restore_idle(&mut connection, [(name.as_slice(), 100_000)]);
    let listing = prune(&redis, &[]);
    assert!(!listing.chars().any(|c| c.is_control() && c != '\n'), "{listing:?}");
    assert!(listing.contains(r"turn/user/\u{1b}[2J\xff\u{202e}/allocation/"), "{listing}");
    assert!(prune(&redis, &["--apply"]).contains("deleted: 1;"));
}

#[test]
fn a_redis_that_is_not_there_keeps_no_other_from_its_turn() {
    let (mut dead, alive) = (Redis::start(), Redis::start());
    dead.kill();
    let mut connection = alive.connect(0);
    restore_idle(&mut connection, [(key("a", 1).as_slice(), 100_000)]);
    let urls = [dead.url(0), alive.url(0)];
    let ended = exporter(&["prune", "--apply", "--redis.url", &urls[0], "--redis.url", &urls[1]]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(&urls[0]) && !ended.stderr.contains(&urls[1]), "{}", ended.stderr);
    assert_eq!(db_size(&mut connection), 0);
}
