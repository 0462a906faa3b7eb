//! The program as its users meet it: flags, documents, signals, the log, and the subcommands.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only; helpers of a test are part of it"
)]

#[path = "../common/mod.rs"]
pub mod common;

mod api;
mod certificates;
mod cli;
mod closed_pipe;
mod commands;
mod dependencies;
mod deploy;
mod details;
mod doctor;
mod documents;
mod healthcheck;
mod log_reader;
mod packages;
mod prune;
mod record;
mod signals;
mod systemd;
mod translation;
mod turnserver_conf;
mod usage;
mod web_config;
