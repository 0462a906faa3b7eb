//! Where messages come from. It reads bytes and hands them on; what they mean is `wire`'s business.

pub mod backoff;
mod bounded;
pub mod capture;
pub mod certificate;
pub mod connect;
mod dial;
pub mod error;
pub mod forward;
mod handshake;
mod login;
pub mod pipeline;
pub mod probe;
pub mod prune;
pub mod pubsub;
mod reply_error;
pub mod resync;
pub mod sentinel;
pub mod server;
pub mod setup;
pub mod statsdb;
pub mod subscription;
pub mod tls;
