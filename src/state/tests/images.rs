//! A table that is written and read goes on as if it had not been: at whatever moment, and whatever comes then.

use std::convert::Infallible;

use super::super::{FrozenTable, ImageError, Settings};
use super::audit::audit;
use super::*;

fn blocks_of(frozen: &FrozenTable) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    let written: Result<(), Infallible> = frozen.encode(|block| {
        blocks.push(block.to_vec());
        Ok(())
    });
    written.unwrap();
    blocks
}

fn image_of(table: &mut Table) -> Vec<Vec<u8>> {
    blocks_of(&table.freeze())
}

fn read(blocks: &[Vec<u8>]) -> Result<Table, ImageError<Infallible>> {
    let mut blocks = blocks.iter().cloned();
    Table::from_image(|| Ok(blocks.next()))
}

fn read_back(table: &mut Table) -> Table {
    read(&image_of(table)).unwrap()
}

/// A table with something of each kind: live, ended and settling allocations, sessions, an address of IPv6, a scan that goes on.
fn of_each_kind() -> Table {
    let mut table = table(Settings { linger: secs(30), are_rates_kept: false, ..Settings::default() });
    table.track_changes(1);
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
    let mut back = read_back(&mut table);
    audit(&back).unwrap();
    assert_eq!(format!("{:?}", table.snapshot()), format!("{:?}", back.snapshot()));
    assert_eq!(table.records.users.stored(), back.records.users.stored());
    assert_eq!(image_of(&mut table), image_of(&mut back));
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
