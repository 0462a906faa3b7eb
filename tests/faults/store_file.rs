//! The store's file: what is not ours stays as it is, and a file that cannot be written stops nothing.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::common::models::traffic::Traffic;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;
use rusqlite::Connection;

const REALM: &str = "one.example";
const IN_REALM: [(&str, &str); 1] = [("realm", REALM)];
const SENT_TO_PEERS: [(&str, &str); 3] = [IN_REALM[0], ("leg", "peer"), ("direction", "sent")];
const SOME: Traffic =
    Traffic { received_packets: 100, received_bytes: 9000, sent_packets: 70, sent_bytes: 7000 };

/// What an exporter says that cannot use its store; it must end by itself, with code 1 and one line.
#[track_caller]
fn refusal(store: &Path) -> String {
    let args = ["--web.listen-address", "127.0.0.1:0", "--redis.url", "redis://127.0.0.1:1", "--store.path"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_coturn-exporter"));
    let output = command.args(args).arg(store).output().expect("the exporter starts");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains(&store.display().to_string()), "which file? {said}");
    said
}

/// A store that an exporter has made, and closed.
fn some_store(dir: &TempDir) -> std::path::PathBuf {
    let store = dir.path().join("store.db");
    let mut exporter =
        Exporter::start(&["--redis.url", "redis://127.0.0.1:1", "--store.path", store.to_str().unwrap()]);
    assert_eq!(exporter.stop(rustix::process::Signal::TERM).code(), Some(0));
    store
}

#[test]
fn what_is_no_store_of_ours_stays_as_it_is() {
    let dir = TempDir::new("foreign");
    let text = dir.write("notes.txt", "somebody's notes\n");
    let database = dir.path().join("other.db");
    Connection::open(&database).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let newer = some_store(&dir);
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    for (file, reason) in
        [(&text, "is no store"), (&database, "is no store"), (&newer, "newer coturn-exporter")]
    {
        let before = fs::read(file).unwrap();
        let said = refusal(file);
        assert!(said.contains(reason), "{said}");
        assert!(fs::read(file).unwrap() == before, "{} was changed", file.display());
    }
    assert!(refusal(dir.path()).contains("cannot open the store"), "a directory");
    let nowhere = dir.path().join("no/such/dir.db");
    assert!(refusal(&nowhere).contains("No such file or directory"));
    assert!(!nowhere.exists());
}

#[test]
fn a_damaged_store_is_a_clear_error_and_stays_as_it_is() {
    let dir = TempDir::new("damaged");
    let store = some_store(&dir);
    let mut bytes = fs::read(&store).unwrap();
    // The header stays; all that it speaks of is gone.
    bytes[100..].fill(0xa5);
    fs::write(&store, &bytes).unwrap();
    let said = refusal(&store);
    assert!(said.contains("move it away"), "{said}");
    assert!(fs::read(&store).unwrap() == bytes, "it was changed");
}

#[test]
fn a_store_has_one_exporter_and_any_reader() {
    let dir = TempDir::new("shared");
    let store = dir.path().join("store.db");
    let url = "redis://127.0.0.1:1";
    let _exporter = Exporter::start(&["--redis.url", url, "--store.path", store.to_str().unwrap()]);
    assert!(refusal(&store).contains("in use by another"));
    let mut usage = Command::new(env!("CARGO_BIN_EXE_coturn-exporter"));
    let output = usage.args(["usage", "--store.path"]).arg(&store).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.starts_with(b"user  sessions"), "{output:?}");
    assert_eq!(fs::metadata(&store).unwrap().permissions().mode() & 0o077, 0, "names are in it");
}

/// Exact: the page, all the time; after it, a restart. Bounded: a kill while the file cannot be written may count again.
#[test]
fn a_full_disk_stops_nothing_and_is_told() {
    const BEFORE: u64 = 10;
    const ALL: u64 = 2000;
    let redis = Redis::start();
    let dir = TempDir::new("full");
    let store = dir.path().join("store.db");
    let url = redis.url(0);
    let args = ["--redis.url", &url, "--store.path", store.to_str().unwrap()];
    let mut exporter = Exporter::start_heedless_of_limits(&args);
    exporter.wait_ready();
    let mut statsdb = Statsdb::connect(&redis, 0);
    let mut open = |ids: std::ops::RangeInclusive<u64>| {
        for id in ids {
            let allocation = Allocation::new(REALM, &format!("user{id}"), id);
            statsdb.open(&allocation, 600);
            statsdb.report(&allocation, SOME, SOME);
        }
    };
    let until_live = |exporter: &Exporter, live: u64| {
        poll::until(PATIENCE, "so many live", || {
            let page = exporter.scrape();
            match (
                page.count("coturn_allocations", &IN_REALM),
                page.count("coturn_relayed_bytes_total", &SENT_TO_PEERS),
            ) {
                (seen, bytes) if seen == live && bytes == live * SOME.sent_bytes => Ok(page),
                other => Err(format!("{other:?} of {live}")),
            }
        })
    };
    open(1..=BEFORE);
    let page = until_live(&exporter, BEFORE);
    assert_eq!(page.count("coturn_exporter_store_ok", &[]), 1);

    let size =
        |suffix: &str| fs::metadata(format!("{}{suffix}", store.display())).map_or(0, |file| file.len());
    exporter.limit_files(Some(size("").max(size("-wal"))));
    open(BEFORE + 1..=ALL);
    until_live(&exporter, ALL);
    poll::until(PATIENCE, "the store to fail", || {
        match exporter.scrape().count("coturn_exporter_store_ok", &[]) {
            0 => Ok(()),
            ok => Err(format!("{ok}")),
        }
    });
    for _ in 0..20 {
        assert_eq!(exporter.scrape().count("coturn_allocations", &IN_REALM), ALL);
    }
    let complaints = |exporter: &Exporter| exporter.log().matches("the store cannot be written").count();
    assert_eq!(complaints(&exporter), 1, "once, not at each scrape:\n{}", exporter.log());

    exporter.limit_files(None);
    poll::until(PATIENCE, "the store to work again", || {
        match exporter.scrape().count("coturn_exporter_store_ok", &[]) {
            1 => Ok(()),
            ok => Err(format!("{ok}")),
        }
    });
    exporter.until_logged(&["the store is written again"]);
    exporter.kill();
    let exporter = Exporter::watching_with(&url, &args[2..]);
    let page = exporter.page();
    let of = |name: &str| page.count(name, &IN_REALM);
    assert_eq!((of("coturn_allocations"), of("coturn_allocations_adopted_total")), (ALL, ALL));
    assert_eq!(of("coturn_relayed_bytes_total"), 0, "all of it was told");
}

/// SQLite goes on in a file that nobody will find again. It is noticed in time for the alert, said once with what to do, and
/// nothing is written until it is right again.
#[test]
fn a_file_that_is_taken_away_or_changed_is_noticed() {
    struct Case {
        what: &'static str,
        harm: fn(&Path),
        mend: Option<fn(&Path)>,
        exporter: Exporter,
        store: std::path::PathBuf,
    }
    fn aside(store: &Path) -> std::path::PathBuf {
        store.with_extension("aside")
    }
    type Harm = (&'static str, fn(&Path), Option<fn(&Path)>);
    let dir = TempDir::new("taken");
    let harms: [Harm; 5] = [
        ("the file is gone", |store| fs::remove_file(store).unwrap(), None),
        (
            "the file is gone",
            |store| fs::rename(store, aside(store)).unwrap(),
            Some(|store| fs::rename(aside(store), store).unwrap()),
        ),
        (
            "another file is in its place",
            |store| {
                fs::copy(store, aside(store)).unwrap();
                fs::rename(store, store.with_extension("old")).unwrap();
                fs::rename(aside(store), store).unwrap();
            },
            Some(|store| fs::rename(store.with_extension("old"), store).unwrap()),
        ),
        (
            "truncated or overwritten",
            |store| {
                let file = fs::OpenOptions::new().write(true).open(store).unwrap();
                file.set_len(file.metadata().unwrap().len() - 4096).unwrap();
            },
            None,
        ),
        (
            "truncated or overwritten",
            |store| {
                let mut file = fs::OpenOptions::new().write(true).open(store).unwrap();
                file.write_all(&[b'x'; 4096]).unwrap();
            },
            None,
        ),
    ];
    let cases = harms.into_iter().enumerate().map(|(number, (what, harm, mend))| {
        let store = dir.path().join(format!("store{number}.db"));
        let args = ["--redis.url", "redis://127.0.0.1:1", "--store.path", store.to_str().unwrap()];
        Case { what, harm, mend, exporter: Exporter::start(&args), store: store.clone() }
    });
    let mut cases: Vec<Case> = cases.collect();
    let until_ok = |exporter: &Exporter, wanted: u64| {
        poll::until(PATIENCE, "coturn_exporter_store_ok", || {
            let ok = exporter.scrape().count("coturn_exporter_store_ok", &[]);
            if ok == wanted { Ok(()) } else { Err(format!("{ok}")) }
        });
    };
    for case in &cases {
        until_ok(&case.exporter, 1);
        (case.harm)(&case.store);
    }
    for case in &cases {
        until_ok(&case.exporter, 0);
        case.exporter.until_logged(&["level=error", case.what]);
    }
    for case in &mut cases {
        if let Some(mend) = case.mend {
            mend(&case.store);
            until_ok(&case.exporter, 1);
            case.exporter.until_logged(&["the store is written again"]);
        }
        assert_eq!(case.exporter.stop(rustix::process::Signal::TERM).code(), Some(0), "{}", case.what);
        assert_eq!(case.exporter.log().matches(case.what).count(), 1, "{}", case.exporter.log());
        if case.mend.is_some() {
            let store = Connection::open(&case.store).unwrap();
            let whole: String = store.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(whole, "ok");
        }
    }
}
