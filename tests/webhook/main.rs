//! Web hooks against receivers of the tests' own, which fail in every way that HTTP has.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only; helpers of a test are part of it"
)]

#[path = "../common/mod.rs"]
pub mod common;

mod calling;
mod documents;
mod exporter;
mod faults;
mod hangs;
mod judges;
mod receiver;
mod signatures;
mod tls;
