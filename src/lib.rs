//! coturn-exporter: coturn's Redis event stream (`redis-statsdb`) as Prometheus metrics.
//!
//! # Layout
//!
//! One way through the house, nothing points back:
//!
//! ```text
//! source ──bytes──▶ wire ──Event──▶ state ──Snapshot──▶ metrics ──text──▶ http
//! (I/O)             (pure)          (pure, time passed in)                (I/O)
//! ```
//!
//! * [`clock`]: time as a value; the only reader of clocks.
//! * [`cli`]: flags and variables, raw; the only user of `clap`.
//! * [`config`]: what they ask for, validated and typed.
//! * [`logging`]: the log on standard error.
//! * [`source`]: where messages come from; captures, and when to connect again.
//! * [`state`]: the table, and how it is told to judge.
//! * [`app`]: joins them.
//! * [`version`]: what was built.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod logging;
pub mod metrics;
pub mod source;
pub mod state;
pub mod version;
