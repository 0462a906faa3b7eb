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
//! * [`config`]: what they ask for, validated and typed.
//! * [`source`]: where messages come from; captures, and when to connect again.
//! * [`state`]: the table, and how it is told to judge.

pub mod clock;
pub mod config;
pub mod metrics;
pub mod source;
pub mod state;
