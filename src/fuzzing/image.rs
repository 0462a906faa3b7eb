//! Images of a table: whatever stands in the blocks, a table comes of them or an error.

use std::convert::Infallible;
use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use super::choices::Choices;
use crate::state::Table;

/// Blocks, each behind its length. The first byte says whether their digest is put behind them.
pub(super) fn run(bytes: &[u8]) {
    let mut input = Choices::new(bytes);
    let has_digest = input.byte() & 1 == 1;
    let mut blocks = Vec::new();
    while !input.is_over() {
        blocks.push(input.part().to_vec());
    }
    if !has_digest {
        blocks.push(digest(&blocks));
    }
    let Some(table) = table_of(blocks) else { return };
    let image = image_of(table);
    let again = table_of(image.clone()).expect("an image of its own");
    assert!(image_of(again) == image, "a table that was read gives the same image again");
}

/// The last block of an image.
fn digest(blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut digest = SipHasher13::new();
    for block in blocks {
        digest.write(&(block.len() as u64).to_le_bytes());
        digest.write(block);
    }
    digest.finish().to_le_bytes().to_vec()
}

pub(super) fn table_of(blocks: Vec<Vec<u8>>) -> Option<Table> {
    let mut blocks = blocks.into_iter();
    Table::from_image(|| Ok::<_, Infallible>(blocks.next())).ok()
}

pub(super) fn image_of(mut table: Table) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    let take = |block: &[u8]| -> Result<(), Infallible> {
        blocks.push(block.to_vec());
        Ok(())
    };
    let encoded = table.freeze().encode(take);
    assert!(encoded.is_ok());
    blocks
}
