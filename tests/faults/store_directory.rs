//! The store's directory: whose it is, who may read it, and what is not ours, newer, damaged or in use stays as it is.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rustix::process::Signal;

use super::killed_store::{IN_REALM, Killed, LOOKS, content, refusal, sent};
use crate::common::readers::page::Page;
use crate::common::servers::command;
use crate::common::servers::exporter::Exporter;
use crate::common::temp_dir::TempDir;

#[test]
fn what_is_no_store_of_ours_stays_as_it_is() {
    let dir = TempDir::new("foreign");
    let text = dir.write("notes.txt", "somebody's notes\n");
    let database = dir.path().join("other.db");
    Connection::open(&database).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("letter.txt"), "somebody's letter\n").unwrap();
    for (path, reason) in [(&text, "no store"), (&database, "no store"), (&folder, "no store")] {
        let before = content(path);
        let said = refusal(path);
        assert!(said.contains(reason) && said.contains("--store.path"), "{said}");
        assert!(content(path) == before, "{} was changed", path.display());
    }
}

/// One wrong byte, in the middle of the newest journal or snapshot.
#[test]
fn a_damaged_store_is_a_clear_error_and_stays_as_it_is() {
    for kind in ["journal", "snapshot"] {
        let store = Killed::new();
        let path = store.file(kind);
        let bytes = fs::read(&path).unwrap();
        // A segment has room behind its last batch.
        let length = bytes.iter().rposition(|&byte| byte != 0).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[!bytes[length / 2]], (length / 2) as u64).unwrap();
        let before = content(&store.path());
        let said = refusal(&store.path());
        assert!(
            said.contains("damaged") && said.contains("move the directory away") && said.contains("usage"),
            "{said}"
        );
        assert!(content(&store.path()) == before, "{kind}: it was changed");
        // The ledger is read all the same, as the error says.
        let ledger = command::exporter(&["usage", "--store.path", store.path().to_str().unwrap()]);
        assert_eq!(ledger.code, Some(0), "{}", ledger.stderr);
    }
}

#[test]
fn a_store_has_one_exporter_and_any_reader() {
    let dir = TempDir::new("shared");
    let store = dir.path().join("store");
    let url = "redis://127.0.0.1:1";
    let exporter = Exporter::start(&["--redis.url", url, "--store.path", store.to_str().unwrap()]);
    exporter.wait_loaded();
    exporter.until_value("coturn_exporter_store_ok", &[], 1.0);
    let before = content(&store).into_keys().collect::<Vec<_>>();
    assert!(refusal(&store).contains("in use by another"));
    assert_eq!(content(&store).into_keys().collect::<Vec<_>>(), before);
    let ledger = command::exporter(&["usage", "--store.path", store.to_str().unwrap()]);
    assert_eq!(ledger.code, Some(0), "{}", ledger.stderr);
    assert!(ledger.stdout.starts_with("There are no finished sessions"), "{}", ledger.stdout);
}

/// Names of users are in it: others see nothing, also where somebody let them.
#[test]
fn only_its_owner_may_look_into_a_store() {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let store = Killed::new();
    let assert_closed = || {
        assert_eq!(mode(&store.path()), 0o700);
        for file in content(&store.path()).keys() {
            assert_eq!(mode(file), 0o600, "{}", file.display());
        }
    };
    assert_closed();
    for file in content(&store.path()).keys() {
        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    }
    fs::set_permissions(store.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut exporter = store.begin(&[]);
    exporter.until_logged(&["level=warn", store.path().to_str().unwrap()]);
    assert_closed();
    assert_eq!(exporter.stop(Signal::TERM).code(), Some(0));
    assert_closed();
}

/// A copy after a stop goes on as the original would; one of a store in use begins anew, for the original may have gone on:
/// what it had told is unseen.
#[test]
fn a_copy_of_the_directory_is_a_backup() {
    let store = Killed::new();
    for is_stopped in [false, true] {
        if is_stopped {
            assert_eq!(store.begin(&[]).stop(Signal::TERM).code(), Some(0));
        }
        let copy = TempDir::new("copy");
        for (file, bytes) in content(&store.path()) {
            fs::write(copy.path().join(file.strip_prefix(store.path()).unwrap()), bytes).unwrap();
        }
        let args = ["--store.path", copy.path().to_str().unwrap()];
        let exporter = Exporter::watching_with(&store.redis.url(0), &args);
        let page = exporter.page();
        let of = |name: &str| page.count(name, &IN_REALM);
        let all = 2 * LOOKS;
        let (told, adopted) = if is_stopped { (store.bytes, 0) } else { (0, all) };
        assert_eq!((sent(&page), of("coturn_allocations_adopted_total")), (told, adopted));
        assert_eq!(of("coturn_allocations_opened_total"), all - adopted);
        assert_eq!(of("coturn_allocations"), all);
    }
}

/// A bug report may be a copy of the directory: it gives the page that the exporter gave last.
#[test]
fn the_page_of_a_store_is_replayed_from_a_copy() {
    let store = Killed::new();
    let before = content(&store.path());
    let replayed = command::exporter(&["replay", store.path().to_str().unwrap()]);
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    let page = Page::parse(&replayed.stdout);
    assert_eq!(sent(&page), store.bytes);
    let of = |name: &str| page.count(name, &IN_REALM);
    assert_eq!((of("coturn_allocations"), of("coturn_allocations_opened_total")), (2 * LOOKS, 2 * LOOKS));
    assert!(content(&store.path()) == before, "it was changed");
    let path = store.file("snapshot");
    let bytes = fs::read(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[!bytes[bytes.len() / 2]], bytes.len() as u64 / 2).unwrap();
    let refused = command::exporter(&["replay", store.path().to_str().unwrap()]);
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    assert!(refused.stderr.contains(path.to_str().unwrap()), "{}", refused.stderr);
}

/// A stop leaves a snapshot and nothing behind it; the next start replays nothing.
#[test]
fn a_stop_leaves_nothing_to_replay() {
    let store = Killed::new();
    let mut exporter = store.begin(&[]);
    assert_eq!(sent(&exporter.page()), store.bytes);
    assert_eq!(exporter.stop(Signal::TERM).code(), Some(0), "{}", exporter.log());
    let journals = content(&store.path()).into_iter().filter(|(file, bytes)| {
        let name = file.file_name().unwrap().to_str().unwrap();
        name.starts_with("journal") && bytes.len() > 4096
    });
    assert_eq!(journals.map(|(file, _)| file).collect::<Vec<_>>(), Vec::<PathBuf>::new());
    let exporter = store.begin(&[]);
    assert_eq!(sent(&exporter.page()), store.bytes);
}
