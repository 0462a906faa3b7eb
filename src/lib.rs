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
//! * [`source`]: where messages come from: Redis, captures; when to connect again.
//! * [`wire`]: bytes of a channel and a payload into typed events.
//! * [`state`]: the table of allocations and sessions, and every sum about them.
//! * [`store`]: what outlives the process: the checkpoint and the ledger; the only user of `rusqlite`.
//! * [`metrics`]: the page; the only user of `prometheus`.
//! * [`details`]: who holds what, for people: JSON and a page over rows of the table; pure.
//! * [`net`]: binds addresses and accepts connections, for [`http`] and for the listener of [`source`].
//! * [`http`]: serves the page, the landing page and the probes, whatever clients do; the only user of `hyper`.
//! * [`doctor`]: judges how a Redis is set up, for coturn and for us; pure.
//! * [`app`]: joins them; one message's way, start and stop.
//! * [`cli`]: flags and variables, raw; the only user of `clap`.
//! * [`config`]: what they ask for, validated and typed.
//! * [`clock`]: time as a value; the only reader of clocks.
//! * [`shutdown`]: one cancel signal for every task.
//! * [`logging`]: the log on standard error.
//! * [`resp`]: the protocol of Redis, as frames in a buffer.
//! * [`percent`]: percent-decoding of URLs and queries.
//! * [`plain`]: names from strangers, made harmless for a terminal or a page.
//! * [`version`]: what was built.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod details;
pub mod doctor;
pub mod escape;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod net;
pub mod percent;
pub mod resp;
pub mod shutdown;
pub mod source;
pub mod state;
pub mod store;
pub mod version;
pub mod wire;
