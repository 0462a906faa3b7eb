//! What a life leaves that had no clean end, and what the next one makes of it.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use super::killed_store::{IN_REALM, Killed, LOOKS, REALM, SOME, content, refusal, sent};
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::servers::command;
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
        statsdb.open(&Allocation::new(REALM, &format!("user{life}"), life), 600);
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

/// Bytes of a copy in the state file, and of a header; each ends with a check sum over the rest of it.
const STATE_COPY: usize = 4096;
const HEADER: usize = 128;

/// Where a state or a header has the version of its format, and a state the boot that wrote it.
const VERSION: usize = 8;
const BOOT: usize = 52;

/// Writes these bytes into a block with a check sum at its end, as somebody would who knows the format.
fn edit(file: &Path, block: (usize, usize), at: usize, bytes: &[u8]) {
    let (start, length) = block;
    let content = fs::read(file).unwrap();
    let mut block = content[start..start + length].to_vec();
    let (body, sum) = block.split_at_mut(length - 4);
    assert_eq!(sum, crc32fast::hash(body).to_le_bytes(), "{}: no block", file.display());
    body[at..at + bytes.len()].copy_from_slice(bytes);
    sum.copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(&block, start as u64).unwrap();
}

fn edit_state(store: &Killed, at: usize, bytes: &[u8]) {
    for copy in [0, STATE_COPY] {
        edit(&store.path().join("state"), (copy, STATE_COPY), at, bytes);
    }
}

/// All end, and coturn says what they relayed as a whole: what was counted and what was `unseen` is that, once.
#[track_caller]
fn assert_each_byte_is_counted_once(store: &Killed, exporter: &Exporter) {
    let mut statsdb = Statsdb::connect(&store.redis, 0);
    for id in 1..=2 * LOOKS {
        statsdb.close(&Allocation::new(REALM, &format!("user{id}"), id), SOME, SOME);
    }
    exporter.until("all to end, with their totals", |page| {
        let unseen =
            page.count("coturn_unseen_bytes_total", &[IN_REALM[0], ("leg", "peer"), ("direction", "sent")]);
        match (page.count("coturn_allocations", &IN_REALM), sent(page) + unseen) {
            (0, bytes) if bytes == store.bytes => Ok(()),
            (live, bytes) => Err(format!("{live} live; {bytes} of {}", store.bytes)),
        }
    });
    assert_eq!(exporter.page().count("coturn_exporter_accounting_anomalies_total", &[]), 0);
}

#[test]
fn a_torn_tail_is_left_out_and_nothing_is_counted_twice() {
    let store = Killed::new();
    let segment = store.tear();
    let exporter = store.begin(&[]);
    exporter.until_logged(&["level=warn", "not written in full", segment.to_str().unwrap()]);
    let page = exporter.page();
    let sent = sent(&page);
    assert!((store.bytes - SOME.sent_bytes..=store.bytes).contains(&sent), "{sent} of {}", store.bytes);
    let of = |name: &str| page.count(name, &IN_REALM);
    let [opened, adopted] = ["opened", "adopted"].map(|how| of(&format!("coturn_allocations_{how}_total")));
    assert!(opened + adopted == 2 * LOOKS && adopted <= 1, "{opened} opened, {adopted} adopted");
    assert_eq!((of("coturn_allocations"), page.count("coturn_exporter_store_ok", &[])), (2 * LOOKS, 1));
    assert_each_byte_is_counted_once(&store, &exporter);
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_stays_as_it_is() {
    let store = Killed::new();
    let newer = 77_u32.to_le_bytes();
    for name in ["state", "snapshot", "journal"] {
        let whole = fs::read(store.file(name)).unwrap();
        match name {
            "state" => edit_state(&store, VERSION, &newer),
            _ => edit(&store.file(name), (0, HEADER), VERSION, &newer),
        }
        let before = content(&store.path());
        let said = refusal(&store.path());
        assert!(said.contains("newer") && said.contains("77") && said.contains("run that one"), "{said}");
        assert!(said.contains(store.file(name).to_str().unwrap()), "which file? {said}");
        assert!(content(&store.path()) == before, "{name}: it was changed");
        fs::write(store.file(name), whole).unwrap();
    }
    assert_eq!(sent(&store.begin(&[]).page()), store.bytes, "and the exporter that can goes on from it");
}

/// What was written and not synced may be gone: coturn's totals are `unseen`.
#[test]
fn another_boot_without_a_clean_end_begins_at_zero() {
    let store = Killed::new();
    edit_state(&store, BOOT, &[7; 16]);
    let exporter = store.begin(&[]);
    exporter.until_logged(&["level=warn", "booted without a clean end", "counters begin at 0"]);
    let page = exporter.page();
    let of = |name: &str| page.count(name, &IN_REALM);
    assert_eq!((sent(&page), of("coturn_allocations_opened_total")), (0, 0));
    assert_eq!((of("coturn_allocations"), of("coturn_allocations_adopted_total")), (2 * LOOKS, 2 * LOOKS));
    assert_eq!(page.count("coturn_exporter_store_ok", &[]), 1);
    assert_each_byte_is_counted_once(&store, &exporter);
    assert_eq!(sent(&exporter.page()), 0, "another may have shown it");
}

/// Needs a mount of one's own: root may write whatever the modes say.
#[test]
fn a_store_on_read_only_media_is_an_error_and_can_be_read() {
    let store = Killed::new();
    let path = store.path().display().to_string();
    let read_only = |line: &str| {
        let mount = format!("mount --bind {path} {path} && mount -o remount,bind,ro {path}");
        command::shell(&format!("unshare -rm sh -c '{mount} && {line}'"))
    };
    if read_only(&format!("! touch {path}/x")).code != Some(0) {
        println!("no mount of one's own here");
        return;
    }
    let program = env!("CARGO_BIN_EXE_coturn-exporter");
    let before = content(&store.path());
    let watch = "--web.listen-address 127.0.0.1:0 --redis.url redis://127.0.0.1:1";
    let refused = read_only(&format!("{program} {watch} --store.path {path}"));
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let said = refused.stderr.lines().last().unwrap_or_default();
    for words in [&path, "Read-only file system", "let its user read and write there"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    for reads in [format!("replay {path}"), format!("usage --store.path {path}")] {
        let ended = read_only(&format!("{program} {reads}"));
        assert_eq!(ended.code, Some(0), "{reads}: {}", ended.stderr);
    }
    assert!(content(&store.path()) == before, "it was changed");
}
