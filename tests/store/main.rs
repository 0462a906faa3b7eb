//! The store, opened and closed again and again in one process, on a clock of the test.
//!
//! No test here may start a program: between its fork and its exec a child holds every file of the process that starts it,
//! the lock of a store as well, and the store that is opened again at that moment is in use.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only; helpers of a test are part of it"
)]

#[path = "../common/mod.rs"]
pub mod common;

mod ledger;
mod twins;
