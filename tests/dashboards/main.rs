//! Dashboards, alerts and runbooks, with a real Prometheus and Alertmanager.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only; helpers of a test are part of it"
)]

#[path = "../common/mod.rs"]
pub mod common;

mod alertmanager;
mod alerts;
mod contracts;
mod demo;
mod files;
mod fleet;
mod history;
mod live;
mod migration;
mod pair;
mod panels;
mod scrape;
mod stories;
