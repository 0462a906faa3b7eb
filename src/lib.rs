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
//! * [`http`]: serves the page, the landing page and the probes, whatever clients do.
//! * [`shutdown`]: one cancel signal for every task.

pub mod clock;
pub mod http;
pub mod metrics;
pub mod shutdown;
