//! Servers, clients and programs that run beside a test: each on a loopback port of its own, in a directory of its own,
//! ended with the test. One concept per file; nothing here knows what a test wants to show.

pub mod alertmanager;
pub mod cluster;
pub mod command;
pub mod coturn;
pub mod exporter;
pub mod fake_redis;
pub mod fleet;
pub mod format_proxy;
pub mod idle_cutter;
pub mod listener;
pub mod page_server;
pub mod peer;
pub mod postgres;
pub mod postgres_cutter;
pub mod process;
pub mod prometheus;
pub mod redis;
pub mod scraper;
pub mod sentinel;
pub mod uclient;
pub mod webdriver;
pub mod webhook;
