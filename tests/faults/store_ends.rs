//! What a life leaves that had no clean end, and what the next one makes of it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::killed_store::{IN_REALM, content};
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::redis::Redis;
use crate::common::temp_dir::TempDir;

/// Room that is reserved for a segment.
const SEGMENT: u64 = 16 << 20;

/// Each life is killed before its first snapshot, or soon after it.
#[test]
fn a_crash_loop_does_not_fill_the_disk() {
    let (redis, dir) = (Redis::start(), TempDir::new("crash-loop"));
    let store = dir.path().join("store");
    let mut statsdb = Statsdb::connect(&redis, 0);
    for life in 1..=20 {
        let args = ["--store.path", store.to_str().unwrap()];
        let mut exporter = Exporter::watching_with(&redis.url(0), &args);
        statsdb.open(&Allocation::new(IN_REALM[0].1, &format!("user{life}"), life), 600);
        exporter.until("the allocation to be counted", |page| {
            match page.count("coturn_allocations_opened_total", &IN_REALM) {
                opened if opened == life => Ok(()),
                opened => Err(format!("{opened} of {life}")),
            }
        });
        let shown = exporter.page().count("coturn_exporter_store_bytes", &[]);
        exporter.kill();
        let taken: u64 = content(&store).keys().map(|file| fs::metadata(file).unwrap().blocks() * 512).sum();
        for bytes in [shown, taken] {
            assert!((SEGMENT..SEGMENT * 3 / 2).contains(&bytes), "life {life}: {bytes} bytes");
        }
    }
}
