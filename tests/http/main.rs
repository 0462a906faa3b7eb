//! The HTTP server over real sockets: what it answers, what it withstands, how it ends.
//!
//! Nothing here sleeps: whatever takes time is waited for, with [`support::PATIENCE`] as the end of waiting, and
//! renderings are held and let go by the tests.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that fails fails the test"
)]

#[path = "../common/mod.rs"]
pub mod common;

mod answers;
mod clients;
mod details;
mod hostile;
mod http2;
mod limits;
mod logins;
mod stop;
mod support;
mod tls;
