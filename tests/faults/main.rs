//! What breaks, and what the page is worth afterwards (the table in `tests/README.md`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only; helpers of a test are part of it"
)]

#[path = "../common/mod.rs"]
pub mod common;

mod continuity;
mod coturn;
mod exporter;
mod hostile;
mod keys;
mod killed_store;
mod ledger_upgrade;
mod redis;
mod restarts;
mod store;
mod store_directory;
mod store_ends;
mod store_failures;
mod store_replay;
mod store_settings;
mod store_start;
mod usage;
