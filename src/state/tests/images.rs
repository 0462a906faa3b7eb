//! A table that is written and read goes on as if it had not been: at whatever moment, and whatever comes then.

use std::convert::Infallible;

use proptest::prelude::*;

use super::super::{FrozenTable, IMAGE_VERSION, ImageError, Phase, SessionBy, Settings};
use super::audit::audit;
use super::details::{allocations, sessions, wanted};
use super::fuzz::Storm;
use super::random::{any_pause, anything, config, take};
use super::*;
use crate::state::rows::AllocationRow;

type Blocks = Vec<Vec<u8>>;

fn into(blocks: &mut Blocks) -> impl FnMut(&[u8]) -> Result<(), Infallible> {
    |block| {
        blocks.push(block.to_vec());
        Ok(())
    }
}

fn blocks_of(frozen: &FrozenTable) -> Blocks {
    let mut blocks = Vec::new();
    frozen.encode(into(&mut blocks)).unwrap();
    blocks
}

pub(super) fn image_of(table: &mut Table) -> Blocks {
    let mut unfrozen = Vec::new();
    table.encode(into(&mut unfrozen)).unwrap();
    let image = blocks_of(&table.freeze());
    assert!(image == unfrozen, "what is frozen lacks something of the table");
    image
}

pub(super) fn read(blocks: &[Vec<u8>]) -> Result<Table, ImageError<Infallible>> {
    let mut blocks = blocks.iter().cloned();
    Table::from_image(|| Ok(blocks.next()))
}

pub(super) fn read_back(table: &mut Table) -> Table {
    let image = image_of(table);
    let mut back = read(&image).unwrap();
    audit(&back).unwrap();
    assert_eq!(image_of(&mut back), image, "its own image is another");
    back
}

/// What can be seen of a table.
pub(super) fn shown(table: &Table) -> String {
    let rows = (allocations(table, wanted()), sessions(table, wanted()));
    format!("{:?}\n{rows:?}", table.snapshot())
}

fn without_rates(settings: Settings) -> Settings {
    Settings { are_rates_kept: false, ..settings }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_table_that_was_read_goes_on_as_the_one_that_was_written(
        steps in prop::collection::vec((any_pause(), anything(), prop::bool::weighted(0.1)), 1..120),
        linger in prop::sample::select(&[0_u64, 5, 700][..]),
        by_client: bool,
        small: bool,
    ) {
        let settings = Settings {
            linger: secs(linger),
            session_by: if by_client { SessionBy::Client } else { SessionBy::User },
            max_lifetime: secs(60),
            idle_after: secs(100),
            max_allocations: if small { 4 } else { 1000 },
            max_realms: if small { 1 } else { 10 },
            max_servers: if small { 1 } else { 10 },
            ..Settings::default()
        };
        let mut live = Table::new(without_rates(settings), &["test"]);
        live.begin_store(1, 1);
        live.link_up(Timestamp::ZERO, SOURCE);
        let mut twin = read_back(&mut live);
        let mut now = Timestamp::from_millis(1_000_000);
        for (pause, step, is_written) in steps {
            if is_written {
                twin = read_back(&mut live);
            }
            now = now.plus(Duration::from_millis(pause));
            take(&mut live, now, &step);
            take(&mut twin, now, &step);
            prop_assert_eq!(shown(&live), shown(&twin));
        }
        audit(&twin).map_err(TestCaseError::fail)?;
        prop_assert_eq!(image_of(&mut live), image_of(&mut twin));
    }
}

/// The seed of this run, or the one that `FUZZ_SEED` says.
fn seed() -> u64 {
    let seed = std::env::var("FUZZ_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("FUZZ_SEED={seed}");
    seed | 1
}

const EVENTS: u64 = 20_000;

/// Each table hashes with seeds of its own. The twin is read anew from its own image again and again.
#[test]
fn hostile_inputs_leave_equal_images_of_tables_with_other_hash_seeds() {
    let seed = seed();
    let settings = || without_rates(Settings::default());
    let ((mut storm, live), (_, twin)) = (Storm::begin(seed, settings()), Storm::begin(seed, settings()));
    let (mut live, mut twin) = (live.with_key_secret([1, 2]), twin.with_key_secret([1, 2]));
    let mut copies = 0;
    for event in 1..=EVENTS {
        storm.clone().step(&mut twin);
        storm.step(&mut live);
        if event % 500 == 0 {
            assert_eq!(shown(&live), shown(&twin), "event {event}");
            assert_eq!(image_of(&mut live), image_of(&mut twin), "event {event}");
        }
        if event % 1500 == 0 {
            twin = read_back(&mut twin);
            copies += 1;
        }
    }
    assert!(copies > 10 && live.records.len() > 10);
}

/// More than a few chunks of each kind, and names of all lengths.
fn crowd(users: u64) -> Table {
    let settings = Settings { linger: secs(30), ..Settings::default() };
    let mut table = Table::new(without_rates(settings), &["test"]).with_key_secret([3, 4]);
    table.link_up(Timestamp::ZERO, SOURCE);
    for number in 0..users {
        for (id, second) in [(2 * number, 0), (2 * number + 1, number % 3)] {
            come(&mut table, number, id, second);
        }
    }
    table
}

/// The key of an allocation of a user; every fifth user shares the name of the one before.
fn crowd_key(name: &mut String, number: u64, id: u64) -> Key<'_> {
    let number = number - u64::from(number % 5 == 1);
    *name = format!("1795343956:{}{number}", "x".repeat(usize::try_from(number % 100).unwrap()));
    Key { realm: Some(b"r"), user: name.as_bytes(), id: AllocationId(id) }
}

fn come(table: &mut Table, number: u64, id: u64, second: u64) {
    let remote = if id.is_multiple_of(7) { "[2001:db8::1]:2" } else { REMOTE };
    let mut name = String::new();
    let key = crowd_key(&mut name, number, id);
    table.apply(at(100 + second), SOURCE, &key, &Event::New(grant(600, LOCAL, remote)));
    table.apply(at(130 + second), SOURCE, &key, &delta(Leg::Peer, [100, 90_000, 80, id]));
}

#[test]
fn what_is_frozen_does_not_change_while_the_table_goes_on() {
    let mut table = crowd(2500);
    let frozen = table.freeze();
    let before = blocks_of(&frozen);
    let mut twin = read(&before).unwrap();
    let mut dice = fastrand::Rng::with_seed(seed());
    for step in 0..1000 {
        let (number, now) = (dice.u64(..2600), at(200 + step / 10));
        let mut name = String::new();
        let key = crowd_key(&mut name, number, 2 * number);
        let events = [Event::Deleted, new(600), refreshed(600), delta(Leg::Client, [5, 600, 5, 600])];
        let event = events[dice.usize(..events.len())];
        for table in [&mut table, &mut twin] {
            table.apply(now, SOURCE, &key, &event);
        }
    }
    assert!(blocks_of(&frozen) == before, "the frozen table has changed");
    assert!(image_of(&mut table) == image_of(&mut twin), "the table that went on is another");
    assert!(image_of(&mut table) != before);
    audit(&table).unwrap();
    drop(frozen);
    audit(&table).unwrap();
}

#[test]
fn blocks_are_of_one_size_and_each_is_needed_in_its_place() {
    let mut table = crowd(4000);
    let image = image_of(&mut table);
    let [blocks @ .., last, digest] = &image[..] else { panic!() };
    let sizes: Vec<usize> = image.iter().map(Vec::len).collect();
    let is_whole = |block: &Vec<u8>| (256 * 1024..257 * 1024).contains(&block.len());
    assert!(
        blocks.len() > 2 && blocks.iter().all(is_whole) && last.len() < 257 * 1024 && digest.len() == 8,
        "{sizes:?}"
    );
    for number in 0..image.len() {
        let (mut without, mut twice, mut swapped) = (image.clone(), image.clone(), image.clone());
        without.remove(number);
        twice.insert(number, image[number].clone());
        swapped.swap(number, (number + 1) % image.len());
        for wrong in [without, twice, swapped] {
            assert!(read(&wrong).is_err(), "block {number}");
        }
    }
    let mut dice = fastrand::Rng::with_seed(seed());
    for _ in 0..20 {
        let mut changed = image.clone();
        let block = &mut changed[dice.usize(..image.len())];
        let at = dice.usize(..block.len());
        block[at] ^= 1 << dice.u32(..8);
        assert!(read(&changed).is_err());
    }
}

#[test]
fn errors_of_who_writes_and_who_reads_are_theirs() {
    let mut table = crowd(5000);
    let mut calls = 0;
    let written = table.freeze().encode(|_| {
        calls += 1;
        if calls == 2 { Err("disk full") } else { Ok(()) }
    });
    assert_eq!((written, calls), (Err("disk full"), 2), "none is offered after the one that failed");

    let mut image = image_of(&mut table).into_iter().take(2);
    let read = Table::from_image(|| image.next().map(Some).ok_or("disk gone"));
    assert!(matches!(read, Err(ImageError::Blocks("disk gone"))));

    let mut newer = image_of(&mut table);
    newer[0][8] += 1;
    assert!(
        matches!(super::images::read(&newer), Err(ImageError::Newer(version)) if version == IMAGE_VERSION + 1)
    );
}

/// A table with something of each kind: live, ended and settling allocations, sessions, an address of IPv6, a scan that goes on.
fn of_each_kind() -> Table {
    let settings = Settings { linger: secs(30), ..Settings::default() };
    let mut table = Table::new(without_rates(settings), &["test"]).with_key_secret([1, 2]);
    table.link_up(Timestamp::ZERO, SOURCE);
    table.begin_store(1, 1);
    for (number, user) in (1..).zip(["alice", "alice", "bob", "", "1795343956:carol"]) {
        let grant = grant(600, LOCAL, if number % 2 == 0 { "[2001:db8::1]:2" } else { REMOTE });
        table.apply(at(100 + number), SOURCE, &key("r", user, number), &Event::New(grant));
        for leg in Leg::ALL {
            table.apply(
                at(130 + number),
                SOURCE,
                &key("r", user, number),
                &delta(leg, [100, 90_000, 80, 70_000]),
            );
        }
    }
    table.apply(at(140), SOURCE, &key("r", "dave", 9), &delta(Leg::Client, [1, 2, 3, 4]));
    table.apply(at(150), SOURCE, &key("r", "bob", 3), &Event::Deleted);
    table.scan_begins(at(151), SOURCE);
    table.apply(at(152), SOURCE, &key("s", "alice", 2), &Event::Deleted);
    table
}

#[test]
fn a_table_comes_back_as_it_was() {
    let mut table = of_each_kind();
    let back = read_back(&mut table);
    assert_eq!(shown(&table), shown(&back));
    // Those of a session are one.
    assert_eq!(table.records.users.stored(), back.records.users.stored());
    assert_eq!(
        (table.records.users.name_bytes(), table.realms.name_bytes()),
        (back.records.users.name_bytes(), back.realms.name_bytes())
    );
}

#[test]
fn an_image_that_is_cut_or_changed_is_an_error() {
    let image = image_of(&mut of_each_kind());
    let [body, digest] = &image[..] else { panic!("{} blocks", image.len()) };
    for len in 0..body.len() {
        assert!(read(&[body[..len].to_vec(), digest.clone()]).is_err(), "the first {len} bytes");
    }
    for len in 0..digest.len() {
        assert!(read(&[body.clone(), digest[..len].to_vec()]).is_err(), "{len} bytes of the digest");
    }
    assert!(read(&[]).is_err() && read(&image[..1]).is_err());
    for bit in 0..8 * body.len() {
        let mut changed = body.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&[changed, digest.clone()]).is_err(), "bit {bit}");
    }
}

/// A file of each released format stays for ever, and each exporter reads them all. A change of the format raises
/// [`IMAGE_VERSION`], and `NEW_IMAGE=1 cargo test --lib images` writes the file of the new one; the others stay as they are.
/// Only the file of a format that was never released may be deleted and written anew.
#[test]
fn a_table_of_each_format_is_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images");
    for version in 1..=IMAGE_VERSION {
        let file = folder.join(version.to_string());
        if version == IMAGE_VERSION && !file.exists() && std::env::var_os("NEW_IMAGE").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, image_of(&mut of_each_kind()).concat()).unwrap();
        }
        let bytes = std::fs::read(&file).unwrap();
        // It is short: one block, and the digest.
        let (body, digest) = bytes.split_at(bytes.len() - 8);
        let image = [body.to_vec(), digest.to_vec()];
        let mut table = read(&image).unwrap();
        audit(&table).unwrap();
        let rows = allocations(&table, wanted());
        let shown = |row: &AllocationRow| {
            (String::from_utf8_lossy(&row.user).into_owned(), row.id.0, row.state, row.bytes)
        };
        let expected = [
            ("alice", 1, Phase::Live, 160_000),
            ("alice", 2, Phase::Live, 160_000),
            ("", 4, Phase::Live, 160_000),
            ("1795343956:carol", 5, Phase::Live, 160_000),
            ("bob", 3, Phase::Closing, 160_000),
            ("alice", 2, Phase::Closing, 0),
        ];
        let expected = expected.map(|(user, id, state, bytes)| (user.to_owned(), id, state, bytes));
        assert_eq!(rows.iter().map(shown).collect::<Vec<_>>(), expected, "format {version}");
        assert_eq!(rows[1].client.unwrap().to_string(), "[2001:db8::1]:2");
        assert_eq!((table.now, sessions(&table, wanted()).len()), (at(152), 5));
        // Bob's 18 s; a format without native buckets had them as up to 30 s, and did not say when it began.
        let snapshot = table.snapshot();
        let native = snapshot.realms[0].series.allocation_durations.native().unwrap();
        assert_eq!(native.iter().collect::<Vec<_>>(), [(if version == 1 { 40 } else { 34 }, 1)]);
        assert_eq!((snapshot.created == Timestamp::ZERO, native.count()), (version == 1, 1));
        if version == IMAGE_VERSION {
            assert!(image_of(&mut table) == image, "what is written is another format");
        }
    }
}
