//! The source Redis: a real one in every state, and false ones that answer what no Redis does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only; helpers of a test are part of it"
)]

#[path = "../common/mod.rs"]
pub mod common;

mod acl;
mod link;
mod loading;
mod managed;
mod retention;
mod sentinel;
mod stream;
mod tls;
mod unix;
