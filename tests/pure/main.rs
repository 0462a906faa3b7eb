//! What needs no server: captures and made-up streams, replayed through the library on a clock of the tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only; helpers of a test are part of it"
)]

#[path = "../common/mod.rs"]
pub mod common;

mod browser;
mod cardinality;
mod cases;
mod fast_path;
mod formats;
pub(crate) mod golden;
mod harness;
mod properties;
mod reference;
mod truth;
