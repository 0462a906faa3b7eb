//! Real coturn servers behind a Redis, with real clients: coturn's log is the judge.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only; helpers of a test are part of it"
)]

#[path = "../common/mod.rs"]
pub mod common;

mod exact;
mod published;
mod reconcile;
mod session_by_hand;
mod turn_rest;
