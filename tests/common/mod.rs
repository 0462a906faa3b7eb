//! Real servers for the black-box tests: each on a loopback port of its own, in a directory of its own, gone at the
//! end of the test. One concept per file; nothing here knows what a test wants to show.

#![allow(dead_code, reason = "every test file is a crate of its own and uses its own part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these in test functions only; a broken harness must fail the test just as loudly"
)]

pub(crate) mod alertmanager;
pub(crate) mod balance;
pub(crate) mod capture;
pub(crate) mod certificates;
pub(crate) mod chronicle;
pub(crate) mod cluster;
pub(crate) mod command;
pub(crate) mod coturn;
pub(crate) mod coturn_log;
pub(crate) mod dashboards;
pub(crate) mod exporter;
pub(crate) mod fake_redis;
pub(crate) mod flood;
pub(crate) mod golden;
pub(crate) mod grafana;
pub(crate) mod hostile;
pub(crate) mod http;
pub(crate) mod idle_cutter;
pub(crate) mod listener;
pub(crate) mod lives;
pub(crate) mod naive;
pub(crate) mod own_labels;
pub(crate) mod page;
pub(crate) mod page_server;
pub(crate) mod peer;
pub(crate) mod poll;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod promql;
pub(crate) mod promtool;
pub(crate) mod published;
pub(crate) mod redis;
pub(crate) mod rights;
pub(crate) mod sentinel;
pub(crate) mod stale;
pub(crate) mod statsdb;
pub(crate) mod story;
pub(crate) mod sums;
pub(crate) mod temp_dir;
pub(crate) mod traffic;
pub(crate) mod turns;
pub(crate) mod uclient;
pub(crate) mod update;
pub(crate) mod vocabulary;
pub(crate) mod webdriver;
pub(crate) mod webhook;
pub(crate) mod witness;
