//! A store whose exporter was killed, and what one says that cannot use a store.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::common::models::traffic::Traffic;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::readers::page::Page;
use crate::common::servers::command;
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;

pub(super) const REALM: &str = "one.example";
pub(super) const IN_REALM: [(&str, &str); 1] = [("realm", REALM)];
pub(super) const SOME: Traffic =
    Traffic { received_packets: 100, received_bytes: 9000, sent_packets: 70, sent_bytes: 7000 };

/// What an exporter says that cannot use its store; it must end by itself, with code 1.
#[track_caller]
pub(super) fn refusal(store: &Path) -> String {
    let store = store.to_str().unwrap();
    let args = ["--web.listen-address", "127.0.0.1:0", "--redis.url", "redis://127.0.0.1:1", "--store.path"];
    let ended = command::exporter(&[&args[..], &[store]].concat());
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let said = ended.stderr.lines().last().unwrap_or_default().to_owned();
    assert!(said.contains(store), "which directory? {said}");
    said
}

/// Everything that is under a path, byte for byte.
pub(super) fn content(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    if !path.is_dir() {
        return BTreeMap::from([(path.to_owned(), fs::read(path).unwrap())]);
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|entry| content(&entry)).collect()
}

/// A store with a snapshot and a journal behind it, whose exporter was killed; with the Redis of its allocations.
pub(super) struct Killed {
    pub(super) redis: Redis,
    pub(super) dir: TempDir,
    pub(super) bytes: u64,
}

/// How often each life of it was looked at, and so how many batches there are at least.
pub(super) const LOOKS: u64 = 40;

impl Killed {
    pub(super) fn new() -> Self {
        let mut store = Self { redis: Redis::start(), dir: TempDir::new("killed"), bytes: 0 };
        let mut statsdb = Statsdb::connect(&store.redis, 0);
        for life in 0..2 {
            let mut exporter = store.begin(&[]);
            for look in 1..=LOOKS {
                let id = life * LOOKS + look;
                let allocation = Allocation::new(REALM, &format!("user{id}"), id);
                statsdb.open(&allocation, 600);
                statsdb.report(&allocation, SOME, SOME);
                store.bytes += SOME.sent_bytes;
                exporter.until("the report to be counted", |page| match sent(page) {
                    bytes if bytes == store.bytes => Ok(()),
                    bytes => Err(format!("{bytes}")),
                });
            }
            if life == 0 {
                assert_eq!(exporter.stop(Signal::TERM).code(), Some(0), "{}", exporter.log());
            } else {
                exporter.kill();
            }
        }
        store
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub(super) fn begin(&self, args: &[&str]) -> Exporter {
        let path = self.path();
        let args = [&["--store.path", path.to_str().unwrap()], args].concat();
        Exporter::watching_with(&self.redis.url(0), &args)
    }

    /// Cuts the last batch of its journal, as a kill within the write does; gives the segment.
    pub(super) fn tear(&self) -> PathBuf {
        let segment = self.file("journal");
        let bytes = fs::read(&segment).unwrap();
        let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() as u64;
        let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
        file.write_all_at(&[0; 4], end - 3).unwrap();
        segment
    }

    /// The newest of its files of this kind.
    #[track_caller]
    pub(super) fn file(&self, kind: &str) -> PathBuf {
        let files = content(&self.path()).into_keys();
        let is_it = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().starts_with(kind);
        files.filter(is_it).max().unwrap_or_else(|| panic!("no {kind}: {:?}", content(&self.path()).keys()))
    }
}

pub(super) fn sent(page: &Page) -> u64 {
    page.count("coturn_relayed_bytes_total", &[IN_REALM[0], ("leg", "peer"), ("direction", "sent")])
}
