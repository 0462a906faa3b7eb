//! Finished sessions in a real `PostgreSQL`: each once, as the ledger has it, whatever breaks in between.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only; helpers of a test are part of it"
)]

#[path = "../common/mod.rs"]
pub mod common;

mod exporter;
mod made_up;
mod months;
mod rows;
mod tables;
mod tls;
mod usage;
