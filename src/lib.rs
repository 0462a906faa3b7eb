//! coturn-exporter: coturn's event stream (`redis-statsdb`) as Prometheus metrics.
//!
//! # Map
//!
//! Data goes one way, from left to right:
//!
//! ```text
//! source ──bytes──▶ wire ──Event──▶ state ──Snapshot──▶ metrics ──text──▶ http
//! (I/O)             (pure)          (pure, time passed in)                (I/O)
//! ```
//!
//! * [`source`]: where messages come from: Redis, coturn itself, captures; the only user of `redis`.
//! * [`wire`]: bytes of a channel and a payload into typed events. Pure.
//! * [`state`]: the table of allocations and sessions, and every rule about them. Pure.
//! * [`metrics`]: the page of metrics; the only user of `prometheus`.
//! * [`http`]: the web server; the only user of `hyper`.
//! * [`store`]: what survives a restart: the journal with its snapshots, and the ledger; the only user of `rusqlite`.
//! * [`details`]: lists of allocations and sessions as JSON and HTML. Pure.
//! * [`live`]: the live page: what is there now, and the last hour. Pure.
//! * [`markup`]: what all pages for people share. Pure.
//! * [`doctor`]: judges how a Redis is set up, for coturn and for this exporter. Pure.
//! * [`app`]: joins them: start, stop, tasks, subcommands.
//! * [`cli`]: flags and variables as given; the only user of `clap`.
//! * [`config`]: flags and variables, validated and typed.
//! * [`clock`]: time as a value; the only reader of clocks.
//! * [`net`]: binds addresses, accepts connections and sets up TLS, for [`http`] and the listener of [`source`].
//! * [`reload`]: values that are read from files, and read again when those change.
//! * [`resp`]: the protocol of Redis, as frames in a buffer.
//! * [`percent`]: percent coding of URLs and queries.
//! * [`shutdown`]: one stop signal for every task.
//! * [`logging`]: the log on standard error.
//! * [`escape`]: bytes from outside, made safe for a terminal or HTML.
//! * [`version`]: what was built.
//! * `fuzzing`: what a fuzzer runs; there in tests and with the feature of that name only.
//!
//! `docs/architecture.md` has the way of one event and where to change what, `docs/semantics.md` every rule behind a
//! number.
//!
//! # Glossary
//!
//! * **Allocation**: one relay address that a TURN server holds for a client, from `new` to `deleted`.
//! * **Lifetime, refresh**: coturn grants an allocation for a time; each refresh of the client grants it again.
//! * **Realm**: coturn's name for a tenant; the label by which nearly everything is counted.
//! * **Relay**: the address on the server that peers send to. To *relay* is to pass payload through it.
//! * **Leg**: one side of a relay: *client* (between client and server) or *peer* (between relay and peers).
//! * **Session**: all allocations of one user at a time; what a person calls a connection.
//! * **Gathering**: the allocations that one peer connection asks for at once; it uses one of them, or none.
//! * **Scrape**: one request of Prometheus for the page; it gets one consistent snapshot.
//! * **Gap, resync**: a time in which events were not received, and the scan of the status keys in Redis after it.
//! * **Orphan**: an allocation that nobody uses: *idle* (refreshed without traffic) or *overdue* (no end reported).

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod details;
pub mod doctor;
pub mod escape;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod http;
pub mod live;
pub mod logging;
pub mod markup;
pub mod metrics;
pub mod net;
pub mod percent;
pub mod reload;
pub mod resp;
pub mod shutdown;
pub mod simulation;
pub mod sinks;
pub mod source;
pub mod state;
pub mod store;
pub mod validity;
pub mod version;
pub mod wire;
