//! What an attacker does who reaches the listener, the page or the Redis, and who is served all the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only; helpers of a test are part of it"
)]

#[path = "../common/mod.rs"]
pub mod common;

mod honest;
mod listener;
mod page;
mod replies;
mod tls;
