//! `usage` wherever the ledger lies: after a clean stop, beside a running exporter, after a kill, as a copy; and where
//! nothing can be written, neither beside it nor for temporary files.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;

use crate::common::temp_dir::TempDir;
use coturn_exporter::store::ledger::{FILE, SessionLedger};
use coturn_exporter::store::takeover::take_over;

/// As an earlier exporter made it: five sessions that are over.
const OLD_STORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store/version-1.db");
const EXPORTER: &str = env!("CARGO_BIN_EXE_coturn-exporter");

/// Nobody, who owns no file of ours.
const NOBODY: u32 = 65534;

/// So many sessions that a sort of them would need temporary files.
const MANY: u32 = 40_000;

/// What the program answers as somebody who may write no file at all.
fn answer(store: &Path) -> Result<String, String> {
    let program = "trap '' XFSZ; ulimit -f 0; exec /proc/self/fd/0 usage --by credential --format csv --store.path \"$0\"";
    let mut command = Command::new("sh");
    // The folders above it may be closed to others.
    command.args(["-c", program]).arg(store).stdin(File::open(EXPORTER).unwrap());
    command.env("TMPDIR", "/nonexistent").env("SQLITE_TMPDIR", "/nonexistent");
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    let [said, complaint] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    if output.status.success() { Ok(said) } else { Err(complaint) }
}

/// Sessions and relayed bytes in an answer.
fn sums(answer: &str) -> (u64, u64) {
    let number = |line: &str, column: usize| line.split(',').nth(column).unwrap().parse::<u64>().unwrap();
    let lines = || answer.lines().skip(1);
    (lines().map(|line| number(line, 1)).sum(), lines().map(|line| number(line, 7)).sum())
}

/// A folder that nobody but its owner may write, and nobody at all may add files to.
struct Closed {
    folder: PathBuf,
}

impl Closed {
    fn new(folder: &Path) -> Self {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            fs::set_permissions(path, Permissions::from_mode(0o444)).unwrap();
        }
        fs::set_permissions(folder, Permissions::from_mode(0o555)).unwrap();
        Self { folder: folder.to_owned() }
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        fs::set_permissions(&self.folder, Permissions::from_mode(0o755)).unwrap();
        for path in fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path()) {
            fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        }
    }
}

/// A store's directory with a ledger of many sessions.
fn store(dir: &TempDir) -> PathBuf {
    let path = dir.path().join("store");
    fs::copy(OLD_STORE, &path).unwrap();
    drop(take_over(&path, &["redis://one"]).unwrap().unwrap());
    add_sessions(&Connection::open(path.join(FILE)).unwrap(), 1000, MANY);
    path
}

/// Sessions of one user each, with 100 relayed bytes.
fn add_sessions(connection: &Connection, first: u32, count: u32) {
    let sql = "
        WITH RECURSIVE number (n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1 + ?2 - 1)
        INSERT INTO session SELECT n, 0, '', 'r', 'a user with a name that takes some room ' || n, '', '', '', '', '',
            0, 1000, NULL, NULL, 1, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM number";
    connection.execute(sql, [first, count]).unwrap();
}

/// A folder beside the store with some of its files.
fn copy(dir: &TempDir, store: &Path, name: &str, endings: &[&str]) -> PathBuf {
    let folder = dir.path().join(name);
    fs::create_dir(&folder).unwrap();
    for ending in endings {
        let file = format!("{FILE}{ending}");
        fs::copy(store.join(&file), folder.join(&file)).unwrap();
    }
    folder
}

#[track_caller]
fn assert_read(path: &Path, folder: &Path, expected: (u64, u64)) {
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (before, closed) = (names(), Closed::new(folder));
    let answer = answer(path);
    assert_eq!(answer.as_deref().map(sums), Ok(expected), "{answer:?}");
    assert_eq!(names(), before);
    drop(closed);
}

#[test]
fn the_ledger_is_read_where_nothing_can_be_written() {
    let dir = TempDir::short();
    let old = dir.path().join("old");
    fs::create_dir(&old).unwrap();
    let old_file = old.join("store.db");
    fs::copy(OLD_STORE, &old_file).unwrap();
    let of_old = answer_of_owner(&old_file);
    assert_eq!(of_old.0, 4, "that it has sessions");
    assert_read(&old_file, &old, of_old);

    let store = store(&dir);
    let all = (of_old.0 + u64::from(MANY), of_old.1 + 100 * u64::from(MANY));
    assert_read(&store, &store, all);
    let bare = copy(&dir, &store, "bare", &[""]);
    assert_read(&bare.join(FILE), &bare, all);

    // Beside one who writes: the last sessions are in the log.
    let ledger = SessionLedger::open(&store, &["redis://one"], b':').unwrap();
    add_sessions(&Connection::open(store.join(FILE)).unwrap(), 500_000, 10);
    let all = (all.0 + 10, all.1 + 1000);
    assert_read(&store, &store, all);
    // What one who was killed leaves, and a copy of it without what only that machine knows.
    let killed = copy(&dir, &store, "killed", &["", "-wal", "-shm"]);
    assert_read(&killed, &killed, all);
    let killed = copy(&dir, &store, "killed-copy", &["", "-wal"]);
    assert_read(&killed, &killed, all);
    // A leftover of somebody who only read.
    let left = copy(&dir, &store, "left", &["-shm"]);
    fs::set_permissions(&store, Permissions::from_mode(0o755)).unwrap();
    ledger.close().unwrap();
    fs::copy(store.join(FILE), left.join(FILE)).unwrap();
    assert_read(&left, &left, all);
}

fn answer_of_owner(store: &Path) -> (u64, u64) {
    let mut command = Command::new(EXPORTER);
    let args = ["usage", "--by", "credential", "--format", "csv", "--store.path"];
    let output = command.args(args).arg(store).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    sums(&String::from_utf8(output.stdout).unwrap())
}

/// Only a file that SQLite calls damaged is to be moved away, and it is the ledger that is named.
#[test]
fn no_advice_to_move_a_file_that_is_whole() {
    let dir = TempDir::short();
    let store = store(&dir);
    let file = store.join(FILE);
    fs::set_permissions(&file, Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(&store, Permissions::from_mode(0o755)).unwrap();
    let said = answer(&store).unwrap_err();
    assert!(said.contains(file.to_str().unwrap()) && !said.contains("away"), "{said}");

    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[100..].fill(0xa5);
    fs::write(&file, &bytes).unwrap();
    let said = answer(&store).unwrap_err();
    assert!(said.contains(&format!("the ledger {} is damaged", file.display())), "{said}");
    assert!(said.contains(".recover"), "{said}");
}
